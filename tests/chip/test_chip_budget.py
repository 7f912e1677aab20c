"""The chip budget: against what the Loihi 2 compiler printed, by hand, and by property."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tandem_hw.chip.budget import chip_budget, chips_for, neuron_parts
from tandem_hw.chip.partition import (
    PLAIN,
    NeuronParts,
    input_budget,
    layer_budget,
)
from tandem_hw.chip.relays import relay_stages
from tandem_hw.chip.synapse_memory import dense_words
from tandem_hw.chip.timing import total_steps
from tandem_hw.conformance.layers import changed, network_of
from tandem_hw.conversion.convert import convert
from tandem_hw.errors import DataError, NetworkError
from tandem_hw.export.net_file import read_net, write_net
from tandem_hw.learning.checkpoint import Checkpoint, save_checkpoint
from tandem_hw.network.quantized import (
    InputSpec,
    Layer,
    QuantizedNetwork,
    Reset,
)
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.chip_layers import check_cores, chip_network, convolution, dense
from tests.helpers.command_line import run
from tests.helpers.networks import networks, random_inputs, small_network
from tests.helpers.project import ROOT

#: Convolutions in the compiler's tables: input (C, H, W), output channels, kernel, stride (y, x),
#: padding (y, x), printed cores, printed words of synapse memory of a core.
DOWN, SAME = ((2, 2), (1, 1)), ((1, 1), (1, 1))
PRINTED_CONVOLUTIONS = [
    ((3, 66, 200), 24, 3, (2, 2), (0, 0), 25, 81),
    ((24, 32, 99), 36, 3, (2, 2), (0, 0), 13, 864),
    ((36, 15, 49), 48, 3, (2, 2), (0, 0), 3, 1620),
    ((48, 7, 24), 64, 3, (2, 1), (1, 0), 3, 2592),
    ((64, 4, 22), 64, 3, (1, 1), (0, 0), 2, 2880),
    ((3, 448, 448), 16, 3, *DOWN, 224, 41),
    ((16, 224, 224), 32, 3, *DOWN, 112, 432),
    ((32, 112, 112), 64, 3, *DOWN, 56, 1296),
    ((64, 56, 56), 128, 3, *DOWN, 28, 4752),
    ((512, 14, 14), 48, 1, (1, 1), (0, 0), 4, 2304),
    # The compiler packed the kernels of these four more densely than the estimate assumes, and so
    # kept more channels together; the cores are the same.
    ((128, 28, 28), 256, 3, *SAME, 56, None),
    ((256, 28, 28), 256, 3, *DOWN, 16, None),
    ((256, 14, 14), 512, 3, *SAME, 32, None),
    ((512, 14, 14), 256, 1, (1, 1), (0, 0), 14, None),
]


@pytest.mark.parametrize("row", PRINTED_CONVOLUTIONS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_a_convolution_takes_the_cores_that_the_compiler_printed(row: tuple[Any, ...]) -> None:
    shape, channels, kernel, stride, padding, cores, words = row
    budget = layer_budget(convolution(shape, channels, kernel, stride=stride, padding=padding))
    assert budget.total_cores == budget.cores == cores
    assert words is None or budget.core.synapse_words >= words


def test_input_neurons_take_the_cores_that_the_compiler_printed() -> None:
    budget = input_budget((3, 66, 200))
    assert (budget.cores, budget.block, budget.core.neurons) == (13, (16, 66, 3), 3168)
    assert budget.core.synapse_words == 0


#: Dense layers in the compiler's tables: inputs, neurons of a core, words of synapse memory.
PRINTED_DENSE = [
    (10, 1, 10),
    (50, 10, 150),
    (100, 50, 1500),
    (2560, 100, 66560),
    (2560, 17, 12800),
    (2560, 9, 7253),
    (784, 50, 9408),
    (256, 200, 16128),
    (256, 100, 8064),
    (200, 256, 16200),
    (200, 86, 5400),
]


@pytest.mark.parametrize(("inputs", "neurons", "words"), PRINTED_DENSE)
def test_dense_memory_is_never_underestimated_and_at_most_half_too_high(
    inputs: int, neurons: int, words: int
) -> None:
    assert words <= inputs * dense_words(neurons) <= 1.5 * words


def test_the_benchmark_is_within_the_promised_bound_of_the_published_cores(tmp_path: Path) -> None:
    path = tmp_path / "budget.json"
    command = [sys.executable, "-m", "benchmarks", "chip-budget", "--json", str(path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    published = {row["network"]: (row["published cores"], row["estimate"]) for row in rows}
    assert published["MNIST 784-128-64-10"] == (5, 5)
    assert published["Oxford 200-256-200"] == (5, 4)
    assert published["PilotNet-LIF"] == (74, 78)
    assert published["YOLO-KP"] == (574, 574)
    assert all(abs(estimate / cores - 1) <= 0.3 for cores, estimate in published.values())


def test_a_dense_layer_is_split_as_often_as_its_worst_limit_is_exceeded() -> None:
    # 2560 * ceil(100 / 3.1) = 84480 words: 8 cores; 2560 * ceil(13 / 3.1) = 12800: twice as many.
    budget = layer_budget(dense(2560, 100))
    assert budget.cores == 16
    assert budget.core.neurons == 7
    assert budget.core.synapse_words == 2560 * 3
    assert (budget.core.axons_in, budget.core.axons_out) == (2560, 7)
    assert layer_budget(dense(1, 4096)).cores == 2  # by its neurons
    assert layer_budget(dense(1, 4095)).cores == 1


def test_resets_and_clocks_take_words_axons_and_a_core() -> None:
    parts = NeuronParts(self_inhibition=True, clocks=2)
    plain, whole = layer_budget(dense(20, 30)), layer_budget(dense(20, 30), parts)
    assert plain.core.synapse_words == 20 * 10
    assert whole.core.synapse_words == 20 * 10 + 30 + 2 * 10
    assert (plain.core.axons_in, whole.core.axons_in) == (20, 20 + 30 + 2)
    assert (plain.core.axons_out, whole.core.axons_out) == (30, 60)
    assert (plain.total_cores, whole.total_cores) == (1, 2)
    conv = layer_budget(convolution((1, 8, 8), 2, padding=(1, 1)), parts)
    assert conv.block == (8, 8, 2)
    assert conv.core.synapse_words == math.ceil(18 / 8) + 128 + 2 * 42
    assert conv.core.axons_in == 2 + 128 + 2


def test_channels_are_split_where_the_kernels_do_not_fit() -> None:
    budget = layer_budget(convolution((512, 4, 4), 512, padding=(1, 1)))
    # 512 * 9 * 16 / 8 = 9216 words hold 16 channels, 32 would need 18432.
    assert budget.block is not None
    assert budget.block[2] == 16
    assert budget.cores == 32
    grouped = layer_budget(convolution((512, 4, 4), 512, padding=(1, 1), groups=512))
    assert grouped.cores == 4  # by its 8192 neurons: halves of 4096 are one too many for a core
    assert grouped.core.synapse_words < 600


PARTS = st.builds(NeuronParts, st.booleans(), st.integers(0, 3))


@given(st.integers(1, 3000), st.integers(1, 400), PARTS)
def test_a_dense_layer_is_covered_within_every_limit(
    inputs: int, outputs: int, parts: NeuronParts
) -> None:
    check_cores(layer_budget(dense(inputs, outputs), parts), outputs)


@given(
    st.tuples(st.integers(1, 64), st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 64),
    st.sampled_from([1, 3]),
    PARTS,
)
def test_a_convolution_is_covered_within_every_limit(
    shape: tuple[int, int, int], channels: int, kernel: int, parts: NeuronParts
) -> None:
    layer = convolution(shape, channels, kernel, padding=(1, 1))
    budget = layer_budget(layer, parts)
    check_cores(budget, layer.num_neurons)
    block = budget.block
    assert block is not None
    assert block[0] & (block[0] - 1) == 0
    per_axis = zip(reversed(layer.output_shape), block, strict=True)
    assert math.prod(-(-length // piece) for length, piece in per_axis) == budget.cores


@given(networks())
def test_totals_are_those_of_the_layers(network: QuantizedNetwork) -> None:
    budget = chip_budget(network)
    assert [layer.name for layer in budget.layers] == [layer.name for layer in network]
    parts = (*budget.layers, *budget.relays)
    assert budget.cores == sum(part.total_cores for part in parts) >= len(network.layers)
    assert len(budget.relays) == sum(relay_stages(network.wiring).values())
    assert budget.chips == 1
    assert json.loads(json.dumps(budget.as_dict()))["cores"] == budget.cores
    least = network.num_steps + (network.reset == "subtract")
    assert budget.period & (budget.period - 1) == 0
    assert least <= budget.period < 2 * least
    # One step less than the whole run: Lava's source loads the sample in the first.
    assert budget.latency == total_steps(network, 1, budget.period) - 1


@pytest.mark.parametrize(
    ("reset", "num_steps", "period", "guarded"),
    [
        ("subtract", 7, 8, True),
        ("subtract", 8, 16, True),
        ("zero", 8, 8, False),
        ("zero", 5, 8, True),
    ],
)
def test_a_board_works_in_periods_of_a_power_of_two(
    reset: Reset, num_steps: int, period: int, guarded: bool
) -> None:
    layers = (dense(6, 5, name="a"), dense(5, 4, name="b"), dense(4, 3, None, name="readout"))
    spec = InputSpec((6,), 4, 1 / 15)
    biased = [changed(layer, bias=np.full(layer.num_neurons, 3)) for layer in layers]
    network = network_of(spec, biased, num_steps, reset, "potential")
    budget = chip_budget(network)
    assert budget.obstacle is None
    assert (budget.period, budget.latency) == (period, num_steps + 3)
    parts = neuron_parts(network, period)
    assert [item.self_inhibition for item in parts] == [reset == "subtract"] * 2 + [False]
    assert parts[2] == PLAIN  # a readout never fires
    assert reset == "subtract" or [item.clocks for item in parts] == [int(guarded)] * 2 + [0]


@pytest.mark.parametrize(
    ("cores", "chips"), [(1, 1), (120, 1), (121, 2), (960, 8), (961, 9), (138240, 1152)]
)
def test_chips_have_120_cores_and_boards_are_the_smallest_that_hold_them(
    cores: int, chips: int
) -> None:
    budget = chip_budget(chip_network(dense(4, 3)))
    layer = replace(budget.layers[0], cores=cores)
    budget = replace(budget, layers=(layer,))
    assert chips_for(cores) == budget.chips == chips
    names = {1: "Oheo Gulch", 2: "Kapoho Point", 8: "Kapoho Point", 9: "VPX", 1152: "Hala Point"}
    assert budget.board.name == names[chips]
    assert budget.static_watts == pytest.approx(0.232 * chips)


def test_energy_is_that_of_the_published_constants() -> None:
    layers = (dense(6, 5, name="a"), dense(5, 3, name="b"))
    energy = chip_budget(chip_network(*layers)).energy
    assert not energy.recorded
    # An input spike goes in once, neurons fire T times.
    assert energy.synops == 6 * 5 * 1 + 5 * 3 * 8
    assert energy.neuron_updates == (5 + 3) * 8
    assert energy.loihi1_joules == pytest.approx((150 * 23.6 + 64 * 81) * 1e-12)
    assert energy.hala_point_joules == pytest.approx(150 * 2600 / 380e12)
    clocked = chip_budget(chip_network(*layers, reset="subtract", num_steps=7))
    clocks = [part.clocks for part in neuron_parts(chip_network(*layers, reset="subtract"), 16)]
    resets = (5 + 3) * 7
    synops = 6 * 5 + 5 * 3 * 7 + resets + 5 * clocks[0] + 3 * clocks[1]
    assert clocked.energy.synops == synops


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_a_recording_gives_the_energy_of_its_spikes(reset: Reset) -> None:
    network = small_network(reset)
    recording = ReferenceBackend().run(network, random_inputs(network, 5))
    spikes = sum(counts.sum() for counts in recording.counts.values()) / 5
    assert spikes > 5
    bound, energy = chip_budget(network).energy, chip_budget(network, recording).energy
    parts = neuron_parts(network, 8 if reset == "subtract" else 4)
    clocks = sum(
        part.clocks * layer.num_neurons for part, layer in zip(parts, network.layers, strict=True)
    )
    resets = spikes if reset == "subtract" else 0
    assert energy.recorded
    assert energy.synops == pytest.approx(recording.synops_per_sample + resets + clocks)
    assert energy.synops < bound.synops
    assert energy.neuron_updates == bound.neuron_updates


def test_a_recording_of_another_network_is_refused() -> None:
    network = small_network()
    recording = ReferenceBackend().run(network, random_inputs(network))
    with pytest.raises(DataError, match=r"recording is of the network .* leave the recording out"):
        chip_budget(small_network("zero"), recording)


def test_what_cannot_be_built_from_stock_processes_is_said() -> None:
    budget = chip_budget(chip_network(dense(4, 3, threshold=1 << 17), reset="subtract"))
    assert budget.obstacle is not None
    assert budget.obstacle.startswith("layer dense: threshold 131072 needs a weight exponent")
    assert budget.summary.splitlines()[1] == f"not for a board as it is: {budget.obstacle}"
    assert len(chip_budget(small_network("zero")).summary.splitlines()) == 1


def too_many_cores() -> QuantizedNetwork:
    """Return a network of 2^32 neurons, more than 1152 chips hold, brought down to one."""
    large = convolution((1, 2048, 2048), 1024, 1, name="large")
    small = convolution((1024, 2048, 2048), 1, 1, name="small", stride=(2048, 2048))
    last = changed(dense(1, 1), input_shape=small.output_shape)
    return chip_network(large, small, last)


REFUSED = [
    (
        dense(12_001, 2),
        "layer dense: one neuron .* 12001 words of synapse memory, a core has 12000",
    ),
    (dense(16_001, 2), "layer dense: one neuron .* 16001 input axons, a core has 16000"),
    (
        convolution((10_700, 3, 3), 1),
        "layer conv: one output channel .* 96300 weights needs 12038 words .* smaller kernel",
    ),
]


@pytest.mark.parametrize(("layer", "message"), REFUSED)
def test_what_no_core_holds_is_refused(layer: Layer, message: str) -> None:
    with pytest.raises(NetworkError, match=message) as caught:
        layer_budget(layer)
    assert "\n" not in str(caught.value)


def test_the_last_that_fits_a_core_is_not_refused() -> None:
    assert layer_budget(dense(12_000, 3)).cores == 1
    assert layer_budget(dense(12_000, 4)).cores == 2
    assert layer_budget(convolution((10_666, 3, 3), 1)).cores == 1
    with pytest.raises(NetworkError, match="12001 words"):
        layer_budget(dense(12_000, 2), NeuronParts(self_inhibition=True))


def test_more_chips_than_the_largest_board_has_are_refused() -> None:
    message = "needs .* chips, the largest board, Hala Point, has 1152; make layer large smaller"
    with pytest.raises(NetworkError, match=message):
        chip_budget(too_many_cores())


def test_inspect_shows_and_writes_the_budget(tmp_path: Path) -> None:
    network = small_network("zero", num_steps=5)
    write_net(network, tmp_path / "model.net")
    plain = run("inspect", tmp_path / "model.net", "--json", tmp_path / "plain.json")
    result = run("inspect", tmp_path / "model.net", "--chip", "--json", tmp_path / "chip.json")
    assert plain.exit_code == result.exit_code == 0
    budget = chip_budget(network)
    content = json.loads((tmp_path / "chip.json").read_text(encoding="utf-8"))
    assert content.pop("chip") == json.loads(json.dumps(budget.as_dict()))
    others = json.loads((tmp_path / "plain.json").read_text(encoding="utf-8"))
    assert content.pop("command")["options"] == others.pop("command")["options"] | {"chip": True}
    assert content == others
    assert "Loihi 2" not in plain.stdout
    assert budget.summary in result.stdout
    assert "Loihi 1 constants (Davies 2018)" in result.stdout
    assert "1 + 1" in result.stdout  # the cores of a guarded layer and of its clock


def save_checkpoint_of(features: int, path: Path) -> None:
    linear = nn.Sequential(nn.Linear(features, 2))
    model = convert(linear, input_shape=(features,), num_steps=3, input_bits=2)
    save_checkpoint(Checkpoint(model.eval()), path)


def test_export_prints_the_budget(tmp_path: Path) -> None:
    save_checkpoint_of(20, tmp_path / "model.pt")
    result = run("export", tmp_path / "model.pt", "--out", tmp_path / "model.net")
    assert result.exit_code == 0
    assert "Loihi 2 (estimate): 1 core, 1 chip, fits Oheo Gulch" in result.stdout
    assert (tmp_path / "model.net").exists()


def test_export_refuses_what_no_chip_holds_and_writes_nothing(tmp_path: Path) -> None:
    save_checkpoint_of(12_100, tmp_path / "model.pt")
    result = run("export", tmp_path / "model.pt", "--out", tmp_path / "model.net")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "12100 words of synapse memory, a core has 12000" in result.stderr
    assert "--simulation-only" in result.stderr
    warning, _ = result.stderr.splitlines()
    assert warning.startswith("Warning: no sample has passed this network")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_export_writes_for_the_simulators_what_no_chip_holds(tmp_path: Path) -> None:
    save_checkpoint_of(12_100, tmp_path / "model.pt")
    out = tmp_path / "model.net"
    result = run("export", tmp_path / "model.pt", "--out", out, "--simulation-only")
    assert result.exit_code == 0
    assert "no Loihi 2 board can run it: layer dense1: one neuron" in result.stdout
    assert math.prod(read_net(out).input.shape) == 12_100
    refused = run("inspect", out, "--chip")
    assert refused.exit_code == 2
    assert "12100 words of synapse memory, a core has 12000" in refused.stderr
    assert run("inspect", out).exit_code == 0


def test_export_refuses_neurons_that_no_stock_process_runs_in_a_board_s_period(
    tmp_path: Path,
) -> None:
    leaky = convert(
        nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)),
        input_shape=(8,),
        num_steps=7,
        reset="zero",
        current_decay=3000,
    )
    save_checkpoint(Checkpoint(leaky.eval()), tmp_path / "model.pt")
    out = tmp_path / "model.net"
    refused = run("export", tmp_path / "model.pt", "--out", out)
    assert refused.exit_code == 2
    assert "layer dense1 leaks" in refused.stderr
    assert "--simulation-only" in refused.stderr
    assert not out.exists()
    written = run("export", tmp_path / "model.pt", "--out", out, "--simulation-only")
    assert written.exit_code == 0
    assert read_net(out).layers[0].neurons.current_decay == 3000
