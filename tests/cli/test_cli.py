from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tandem_hw.cli.group import COMMANDS
from tandem_hw.cli.work import arithmetic_tables
from tandem_hw.cli.work import simulate as simulate_command
from tandem_hw.cli.work.network_tables import window_words
from tandem_hw.conformance.layers import changed
from tandem_hw.export.net_file import read_net, write_net
from tandem_hw.network.fixed_point import STATE_LIMIT
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim import registry
from tandem_hw.sim.backend import Progress, SimulationResult
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.command_line import run, succeed, written_json
from tests.helpers.networks import small_graph_network, small_network
from tests.helpers.row_images import SAMPLES, write_data

TRAINING = ("--model", "mlp", "--epochs", "3", "--batch-size", "8", "--num-steps", "4")


@dataclass
class Workspace:
    """What a user has after training and exporting on a few small images."""

    folder: Path

    @property
    def data(self) -> str:
        return f"npz:{self.folder / 'data.npz'}"

    @property
    def trained(self) -> Path:
        return self.folder / "run"

    @property
    def checkpoint(self) -> Path:
        return self.trained / "checkpoint.pt"

    @property
    def net(self) -> Path:
        return self.folder / "model.net"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads only wait for each other on networks as small as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("workspace"))
    write_data(made.folder / "data.npz")
    succeed("train", made.data, *TRAINING, "--out", made.trained)
    succeed("export", made.checkpoint, "--out", made.net)
    return made


class Twin(ReferenceBackend):
    """Another backend with the reference's results, one potential of it changed if asked for."""

    name = "twin"
    change = 0
    digests: ClassVar[dict[str, str]] = {}
    peaks: ClassVar[dict[str, int]] = {}

    def simulate(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
    ) -> SimulationResult:
        result = super().simulate(network, inputs, progress, keep_final_state=keep_final_state)
        assert result.potential is not None
        potential = result.potential.copy()
        potential[1, 2] += self.change
        digests = {**result.parameter_digest, **self.digests}
        peak = {**result.peak, **self.peaks}
        return replace(result, potential=potential, peak=peak, parameter_digest=digests)


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> type[Twin]:
    monkeypatch.setitem(registry.BACKENDS, Twin.name, Twin)
    return Twin


def test_help_lists_the_commands_in_the_order_of_the_work() -> None:
    output = succeed("--help").stdout
    listed = output[output.index("Commands:") :]
    places = [listed.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    assert "Usage: " in succeed(name, "--help").stdout


def test_train_leaves_checkpoints_and_metrics(workspace: Workspace, tmp_path: Path) -> None:
    result = succeed("train", workspace.data, *TRAINING, "--out", tmp_path / "run")
    found = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert found == ["checkpoint.pt", "last.pt", "metrics.json", "run.toml"]
    metrics = written_json(tmp_path / "run" / "metrics.json")
    assert len(metrics["epochs"]) == 3
    assert metrics["epochs"][0]["spike_rate"] > 0
    shown = f"test accuracy {metrics['test_accuracy']:.2%} of the integer network (24 samples)"
    assert shown in result.stdout
    assert str(tmp_path / "run" / "checkpoint.pt") in result.stdout


def test_a_leak_goes_from_the_command_line_to_the_file(
    workspace: Workspace, tmp_path: Path
) -> None:
    leak = ("--reset", "zero", "--current-decay", 3000, "--voltage-decay", 200)
    succeed("train", workspace.data, *TRAINING, *leak, "--out", tmp_path / "run")
    succeed("export", tmp_path / "run" / "checkpoint.pt", "--out", tmp_path / "leaky.net")
    network = read_net(tmp_path / "leaky.net")
    decays = [
        (layer.neurons.current_decay, layer.neurons.voltage_decay) for layer in network.layers
    ]
    assert decays == [(3000, 200)] * (len(decays) - 1) + [(4096, 0)]
    succeed("inspect", tmp_path / "leaky.net", "--json", tmp_path / "leaky.json")
    first = written_json(tmp_path / "leaky.json")["layers"][0]
    assert (first["current_decay"], first["voltage_decay"]) == (3000, 200)
    succeed(
        "verify", tmp_path / "leaky.net", "--data", workspace.data, "--backends",
        "reference", "--checkpoint", tmp_path / "run" / "checkpoint.pt",
    )  # fmt: skip


def test_the_same_seed_trains_the_same_network(workspace: Workspace, tmp_path: Path) -> None:
    succeed("train", workspace.data, *TRAINING, "--out", tmp_path / "run")
    succeed("export", tmp_path / "run" / "checkpoint.pt", "--out", tmp_path / "again.net")
    assert (tmp_path / "again.net").read_bytes() == workspace.net.read_bytes()


def test_overwrite_replaces_a_training(workspace: Workspace, tmp_path: Path) -> None:
    succeed("train", workspace.data, *TRAINING, "--out", tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    succeed("train", workspace.data, *TRAINING, "--seed", 1, "--overwrite", "--out", tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() != before


def test_export_writes_the_network_and_shows_its_layers(
    workspace: Workspace, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "model.net"
    result = succeed("export", workspace.checkpoint, "--out", out)
    network = read_net(out)
    for layer in network:
        assert layer.name in result.stdout
    assert f"wrote {out}" in result.stdout


def test_inspect_shows_and_writes_what_is_in_the_file(workspace: Workspace, tmp_path: Path) -> None:
    result = succeed("inspect", workspace.net, "--json", tmp_path / "net.json")
    network = read_net(workspace.net)
    assert network.digest in result.stdout
    content = written_json(tmp_path / "net.json")
    assert content["digest"] == network.digest
    assert content["input"] == {
        "shape": [1, 6, 6],
        "bits": 4,
        "scale": network.input.scale,
        "encoding": "first_step",
    }
    for layer, described in zip(network, content["layers"], strict=True):
        assert described["name"] == layer.name
        assert described["neurons"] == layer.num_neurons
        assert described["threshold"] == layer.neurons.threshold
        assert described["weights"] == layer.synapses[0].weight.size


def test_inspect_cuts_no_name_where_it_is_no_terminal(tmp_path: Path) -> None:
    plain = small_graph_network("subtract")
    first, block, readout = plain.layers
    names = [f"{'a_very_long_name_of_a_path_' * 6}{number}" for number in range(2)]
    main, *skips = block.inputs
    renamed = [
        skip._replace(synapses=replace(skip.synapses, name=name))
        for skip, name in zip(skips, names, strict=True)
    ]
    network = replace(plain, layers=(first, replace(block, inputs=(main, *renamed)), readout))
    write_net(network, tmp_path / "long.net")
    shown = succeed("inspect", tmp_path / "long.net").stdout
    assert all(f"+ {name} " in shown for name in names)
    assert "…" not in shown


@pytest.mark.parametrize(
    ("num_steps", "delay", "reset", "words"),
    [
        (1, 0, "subtract", "num_steps 1, firing_delay 0 (phased)"),  # a step leaves none to wait
        (1, 0, "zero", "num_steps 1"),
        (4, 0, "subtract", "num_steps 4"),
        (4, 1, "subtract", "num_steps 4, firing_delay 1"),
        (4, 3, "subtract", "num_steps 4, firing_delay 3 (phased)"),
    ],
)
def test_a_window_is_said_in_words(num_steps: int, delay: int, reset: Any, words: str) -> None:
    network = replace(small_network(reset, num_steps), firing_delay=delay)
    assert window_words(network) == words


def test_verbose_says_which_algorithm_computed_each_sum(
    workspace: Workspace, tmp_path: Path
) -> None:
    simulate = ("simulate", workspace.net, "--data", workspace.data, "--samples", 5)
    train = ("train", workspace.data, *TRAINING, "--out", tmp_path / "run")
    for arguments in (simulate, train):
        assert "algorithm" in succeed(*arguments, "--verbose").stdout
    assert "algorithm" not in succeed(*simulate).stdout
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arithmetic_tables, "chosen_ways", list)  # as of a run in Lava alone
        assert "no sums of several spikes" in succeed(*simulate, "--verbose").stdout
    assert arithmetic_tables.describe_ways()


def test_simulate_writes_a_recording_and_a_summary_that_agree(
    workspace: Workspace, tmp_path: Path
) -> None:
    recording, summary = tmp_path / "run.npz", tmp_path / "run.json"
    result = succeed(
        *("simulate", workspace.net, "--data", workspace.data, "--samples", 20),
        *("--recording", recording, "--json", summary),
    )
    content = written_json(summary)
    network = read_net(workspace.net)
    with np.load(recording) as arrays:
        assert len(arrays["potential"]) == content["samples"] == 20
        assert content["accuracy"] == np.mean(arrays["prediction"] == arrays["label"])
        for layer in content["layers"][:-1]:
            counts = arrays[f"counts/{layer['name']}"]
            assert layer["spikes"] == counts.sum() > 0
            assert layer["spike_rate"] == pytest.approx(counts.mean() / network.num_steps)
    assert content["layers"][-1]["spikes"] is None
    assert content["network_digest"] == network.digest
    assert content["synops_per_sample"] > 0
    assert [sorted(one) for one in content["arithmetic"]] == [
        ["algorithm", "device", "signal", "weights"]
    ] * len(content["arithmetic"])
    shapes = [list(layer.inputs[0].synapses.weight.shape) for layer in network.layers]
    assert {tuple(one["weights"]) for one in content["arithmetic"]} >= set(map(tuple, shapes))
    assert f"accuracy {content['accuracy']:.2%}" in result.stdout


def test_states_at_the_window_s_end_are_kept_where_they_are_asked_for(
    workspace: Workspace, tmp_path: Path
) -> None:
    told = ("simulate", workspace.net, "--data", workspace.data, "--recording")
    succeed(*told, tmp_path / "plain.npz")
    succeed(*told, tmp_path / "states.npz", "--final-states")
    network = read_net(workspace.net)
    kept = {f"final_state/{layer.name}" for layer in network.spiking_layers}
    with np.load(tmp_path / "plain.npz") as plain, np.load(tmp_path / "states.npz") as states:
        assert set(states) - set(plain) == kept
        for layer in network.spiking_layers:
            assert states[f"final_state/{layer.name}"].shape == (SAMPLES, *layer.output_shape)
            assert states[f"final_state/{layer.name}"].any()


@pytest.fixture
def saturating(workspace: Workspace, tmp_path: Path) -> Path:
    """A network whose readout leaves 24 bits, in a file."""
    network = read_net(workspace.net)
    readout = network.layers[-1]
    spec = replace(network.input, bits=8, encoding="constant")
    weight = np.full((3, 36), 254)
    layer = changed(
        readout,
        weight=weight,
        bias=[4000] * 3,
        input_shape=spec.shape,
        weight_bits=8,
        source="input",
    )
    path = tmp_path / "saturating.net"
    write_net(replace(network, input=spec, layers=(layer,)), path)
    return path


def test_commands_say_where_states_leave_24_bits(
    workspace: Workspace,
    saturating: Path,
    tmp_path: Path,
    twin: type[Twin],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "out.json"
    name = read_net(saturating).layers[0].name
    quiet = succeed("inspect", workspace.net, "--json", path).stdout
    assert "beyond 24 bits" not in quiet
    assert {layer["beyond"] for layer in written_json(path)["layers"]} == {0}
    shown = succeed("inspect", saturating, "--json", path, "--overwrite").stdout
    (layer,) = written_json(path)["layers"]
    assert layer["beyond"] == layer["state"][1] - (STATE_LIMIT - 1) > 0
    assert f"layer {name} is not proven: its state can reach" in shown
    assert f"{layer['beyond']} weight units beyond 24 bits" in shown

    told = (saturating, "--data", workspace.data, "--json", path, "--overwrite")
    shown = succeed("simulate", *told).stdout
    (counted,) = written_json(path)["saturation"]
    assert counted["name"] == name
    assert counted["values"] > counted["saturated_samples"] == counted["samples"] == SAMPLES
    line = f"readout {name} saturated in {SAMPLES} of {SAMPLES} samples: {counted['values']} values"
    assert f"{line} wrapped or clipped" in shown
    assert "converting with samples" in shown
    shown = succeed("verify", *told, "--backends", "reference,twin").stdout
    assert f"{line} wrapped or clipped" in shown
    assert written_json(path)["saturation"] == [counted]
    with monkeypatch.context() as patch:
        patch.setattr(simulate_command, "summarise_saturation", lambda *_: ())  # as of Lava
        shown = succeed("simulate", *told).stdout
    assert (
        f"reference does not count the values that leave 24 bits, which layers {name} are" in shown
    )
    assert written_json(path)["saturation"] == []
    for command in (("simulate",), ("verify", "--backends", "reference,twin")):
        shown = succeed(*command, workspace.net, "--data", workspace.data).stdout
        assert "saturated" not in shown
        assert "head room of" not in shown


def test_verify_explains_a_negative_head_room(
    workspace: Workspace, twin: type[Twin], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ("verify", workspace.net, "--data", workspace.data, "--backends", "reference,twin")
    name = read_net(workspace.net).layers[1].name
    for peak, bits in ((STATE_LIMIT - 1, 0), (STATE_LIMIT, -1)):
        monkeypatch.setattr(twin, "peaks", {name: peak})
        shown = succeed(*told).stdout
        explained = f"layer {name} has a head room of {bits} bits: a current and its bias together"
        assert (explained in shown) == (bits < 0)


def test_verify_finds_the_trained_model_and_the_exported_network_equal(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "verify.json"
    result = succeed(
        *("verify", workspace.net, "--data", workspace.data, "--backends", "reference"),
        *("--checkpoint", workspace.checkpoint, "--json", path),
    )
    assert "MATCH" in result.stdout
    content = written_json(path)
    assert content["match"] is True
    assert content["samples"] == SAMPLES
    assert content["backends"] == ["reference", "pytorch"]
    assert all(layer["spikes"] > 0 for layer in content["layers"])
    assert content["accuracy"]["reference"] == content["accuracy"]["pytorch"]
    assert [layer["mismatched_states"] for layer in content["layers"]] == [0, 0]
    assert content["checked_states"] == content["checked_parameters"] == content["backends"]
    assert content["other_parameters"] == []
    assert "states at the window's end compared on reference, pytorch; weights" in result.stdout


def test_verify_leaves_with_status_1_when_a_backend_ran_other_weights(
    workspace: Workspace, tmp_path: Path, twin: type[Twin], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = read_net(workspace.net).layers[1].name
    monkeypatch.setattr(twin, "digests", {name: "0" * 64})
    path = tmp_path / "verify.json"
    result = run(
        *("verify", workspace.net, "--data", workspace.data, "--json", path),
        *("--backends", f"reference,{twin.name}"),
    )
    assert result.exit_code == 1
    assert f"MISMATCH: twin: layer {name} ran with other weights, biases or" in result.stdout
    assert written_json(path)["other_parameters"] == [{"backend": "twin", "layer": name}]
    assert written_json(path)["match"] is False


def test_verify_leaves_with_status_1_when_a_backend_differs(
    workspace: Workspace, tmp_path: Path, twin: type[Twin], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("verify", workspace.net, "--data", workspace.data, "--backends", "reference,twin")
    succeed(*arguments)
    monkeypatch.setattr(twin, "change", 1)
    result = run(*arguments, "--json", tmp_path / "verify.json")
    assert result.exit_code == 1
    last = read_net(workspace.net).layers[-1].name
    assert f"MISMATCH: first in twin: layer {last}, sample 1, neuron [2]" in result.stdout
    content = written_json(tmp_path / "verify.json")
    assert content["match"] is False
    assert content["readout"]["mismatched"] == 1


def test_verify_leaves_with_status_1_when_a_layer_is_silent(
    workspace: Workspace, tmp_path: Path, twin: type[Twin]
) -> None:
    network = read_net(workspace.net)
    silent = changed(network.layers[1], threshold=1 << 17)
    layers = (network.layers[0], silent, *network.layers[2:])
    write_net(replace(network, layers=layers), tmp_path / "silent.net")
    result = run(
        *("verify", tmp_path / "silent.net", "--data", workspace.data),
        *("--backends", f"reference,{twin.name}"),
    )
    assert result.exit_code == 1
    assert f"SILENT: layers {silent.name} never fired and readout" in result.stdout


def test_results_are_on_standard_output_and_progress_is_not(workspace: Workspace) -> None:
    result = succeed("simulate", workspace.net, "--data", workspace.data)
    assert "SynOps" in result.stdout
    assert "SynOps" not in result.stderr
