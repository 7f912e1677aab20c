"""``tandem-hw trace`` shows what the reference does in each step, and where others differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.cli.work.look.raster_text import alphabet_of, potential_lines, raster_lines
from tandem_hw.export.net_file import write_net
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.report.page.steps import TracedNeuron
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.registry import BACKENDS
from tandem_hw.sim.step_trace import StepTrace, first_difference, trace_steps
from tests.helpers.command_line import run, succeed
from tests.helpers.networks import random_inputs, small_network
from tests.helpers.step_backends import Shortened

SAMPLES = 4


def sparser(network: QuantizedNetwork) -> QuantizedNetwork:
    """Return a network whose hidden neurons do not fire in every step."""
    first, hidden, last = network.layers
    hidden = replace(hidden, neurons=replace(hidden.neurons, threshold=1600))
    return replace(network, layers=(first, hidden, last))


NETWORK = sparser(small_network())


def integers() -> npt.NDArray[np.uint8]:
    return random_inputs(NETWORK, SAMPLES)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a network and samples for it."""
    write_net(NETWORK, tmp_path / "a.net")
    images = (integers() / NETWORK.input.largest).astype(np.float32)
    labels = np.arange(SAMPLES) % 3
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(BACKENDS, "c", lambda: Shortened(wrong_from=2, layer="hidden"))
    monkeypatch.setitem(BACKENDS, "lava-cpu", lambda **_: Shortened())
    return tmp_path


def traced(sample: int, network: QuantizedNetwork = NETWORK) -> StepTrace:
    return trace_steps(ReferenceBackend(), network, integers()[sample])


def test_rasters_and_potentials_are_those_of_the_trace(here: Path) -> None:
    trace = traced(2)
    lines = succeed("trace", "a.net", "--data", "npz:a.npz", "--sample", 2).output.splitlines()
    assert lines[0] == "sample 2 (class 2) on reference"
    spikes = trace.spikes["hidden"]
    assert 0 < spikes.sum() < spikes.size
    start = next(at for at, line in enumerate(lines) if line.startswith("hidden: "))
    fired = np.count_nonzero(spikes.any(axis=0))
    assert (
        lines[start] == f"hidden: {spikes.sum()} spikes, {fired} of 6 neurons fired; steps 1 to 4"
    )
    for neuron in range(6):
        cells = "".join("█" * 4 if one else "·" * 4 for one in spikes[:, neuron])
        assert lines[start + 1 + neuron] == f"{neuron:14d}  {cells}"
    best = int(trace.potentials["readout"][-1].argmax())
    start = next(at for at, line in enumerate(lines) if line.startswith("readout, neuron"))
    assert f"neuron {best} [{best}]: readout, never fires" in lines[start]
    for step, potential in enumerate(trace.potentials["readout"][:, best], start=1):
        assert lines[start + 2 + step].split() == [str(step), f"{potential:.10g}"]
    assert all(len(line) <= 80 for line in lines)


def test_neurons_that_are_named_are_shown_side_by_side(here: Path) -> None:
    line = "trace a.net --data npz:a.npz --layer conv --neurons 0,35 --backends reference,lava-cpu"
    told = succeed(*line.split()).output
    assert told.count("conv, neuron") == 2
    assert "conv, neuron 35 [3, 2, 2]: threshold 3072" in told
    assert "hidden" not in told
    assert told.splitlines()[-1].startswith("EQUAL: every spike and every potential")
    trace = traced(0)
    for step in range(4):
        value = f"{trace.potentials['conv'][step, 3, 2, 2]:.10g}"
        value += "*" if trace.spikes["conv"][step, 3, 2, 2] else ""
        assert [str(step + 1), value, value] in [one.split() for one in told.splitlines()]


def test_the_first_difference_is_marked_and_gives_exit_status_1(here: Path) -> None:
    result = run("trace", "a.net", "--data", "npz:a.npz", "--backends", "reference,c")
    assert result.exit_code == 1, result.output
    expected = traced(0).potentials["hidden"][1, 2]
    difference = (
        f"shortened: layer hidden, step 2, neuron [2]: potential {expected + 1:.10g} instead of "
        f"{expected:.10g}"
    )
    assert f"DIFFERENCE: first in {difference}" in result.output
    assert "hidden, neuron 2 [2]: threshold" in result.output
    marked = [line for line in result.output.splitlines() if "<-" in line]
    assert [line.split()[0] for line in marked] == ["2", "3", "4"]
    assert [line.endswith("<- first") for line in marked] == [True, False, False]
    (below,) = [line for line in result.output.splitlines() if "^ first difference" in line]
    assert below.index("^") == 16 + 4  # the second step's cells


def test_where_no_neuron_fires_equality_is_not_taken_for_a_proof(here: Path) -> None:
    images = np.zeros((1, 2, 5, 5), np.uint8)
    images[0, 0, 0, 0] = 255
    silent = replace(
        NETWORK,
        layers=tuple(
            replace(
                layer,
                neurons=replace(
                    layer.neurons,
                    bias=np.minimum(layer.neurons.bias, 0),
                    threshold=None if layer.neurons.threshold is None else 130048,
                ),
            )
            for layer in NETWORK.layers
        ),
    )
    write_net(silent, here / "silent.net")
    np.savez(here / "one.npz", x_train=images, y_train=[0], x_test=images, y_test=[0])
    line = "trace silent.net --data npz:one.npz --backends reference,lava-cpu"
    told = succeed(*line.split()).output
    assert "EQUAL, but no neuron fired, and equal silence proves nothing" in told


def test_letters_fit_the_terminal() -> None:
    assert alphabet_of("utf-8") == "·░▒▓█"
    assert alphabet_of("ascii") == alphabet_of(None) == alphabet_of("no-such-code") == ".:+*#"
    layer = NETWORK.layers[0]
    lines = list(raster_lines(layer, traced(0), None, alphabet_of("latin-1")))
    assert all(line.isascii() for line in lines)
    assert any("#" in line or "+" in line or ":" in line for line in lines[1:-1])


@pytest.mark.parametrize("backends", [1, 2, 5])
def test_long_windows_and_many_backends_fit_80_columns(backends: int) -> None:
    network = small_network(num_steps=200)
    trace = traced(0, network)
    other = StepTrace(
        "another-backend", trace.spikes, {"conv": trace.potentials["conv"] + 0.015625}
    )
    traces = [trace, *[other] * (backends - 1)]
    difference = first_difference(network, traces)
    assert (difference is None) == (backends == 1)
    layer = network.layers[0]
    neuron = TracedNeuron("conv", (3, 2, 2))
    lines = [
        *raster_lines(layer, trace, difference, alphabet_of("utf-8")),
        *potential_lines(layer, neuron, traces, difference),
    ]
    assert len(lines) > 200
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", ["out.svg", "out.png"])
def test_a_picture_is_written(here: Path, name: str) -> None:
    told = succeed("trace", "a.net", "--data", "npz:a.npz", "--plot", name).output
    assert told.splitlines()[-1] == f"wrote {name}"
    content = (here / name).read_bytes()
    if name.endswith("png"):
        assert content.startswith(b"\x89PNG")
        return
    texts = [one.text for one in ElementTree.fromstring(content).iter() if one.tag.endswith("text")]
    assert "conv: who fired when" in texts
    assert any((text or "").startswith("readout, neuron") for text in texts)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--sample 4", "npz:a.npz: has samples 0 to 3 to run, sample 4 was asked for"),
        ("--layer conv9", 'there is no layer "conv9"; there are conv, hidden, readout'),
        ("--layer conv --neurons 36", "layer conv has neurons 0 to 35, neuron 36 was asked for"),
        ("--plot a.pdf", "a.pdf: traces are drawn as SVG or PNG"),
        ("--plot a.net", "a.net: would be written over a.net"),
        ("--plot missing/x.svg/", "names a folder"),
        ("--backends loihi2", "loihi2 cannot be traced"),
        ("--backends reference,", "has an empty name"),
    ],
)
def test_mistakes_give_one_line_and_exit_status_2(here: Path, options: str, reason: str) -> None:
    before = sorted(here.iterdir())
    result = run("trace", "a.net", "--data", "npz:a.npz", *options.split())
    assert result.exit_code == 2, result.output
    assert reason in result.output
    assert "Traceback" not in result.output
    assert sorted(here.iterdir()) == before


def test_a_firing_delay_is_refused_by_the_name_of_the_backend(here: Path) -> None:
    write_net(replace(NETWORK, firing_delay=3), here / "late.net")
    line = "trace late.net --data npz:a.npz --backends reference,lava-cpu"
    result = run(*line.split())
    assert result.exit_code == 2
    assert "shortened cannot be traced on this network: layer conv has a firing" in result.output
    told = succeed("trace", "late.net", "--data", "npz:a.npz", "--layer", "conv").output
    assert "steps 1 to 7" in told  # those of the window and of the delay
