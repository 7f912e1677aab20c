"""Runs in parts: the same numbers as in one, and never two parts in memory."""

from __future__ import annotations

import weakref
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.cli.work.simulate import Results, simulate
from tandem_hw.errors import BackendError, DataError
from tandem_hw.network.activity import summarise
from tandem_hw.network.inputs import quantize_inputs
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.network.saturation import summarise_saturation
from tandem_hw.sim import backend as backend_module
from tandem_hw.sim.backend import Backend, Progress, SimulationResult, samples_of_a_part
from tandem_hw.sim.lava_cpu import job as lava_job
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.run_summary import RunTally
from tandem_hw.verification.step import compare, run_and_compare
from tests.helpers.command_line import written_json
from tests.helpers.recordings import small_network

NETWORK = small_network()
SAMPLES = 11
INPUTS = np.random.default_rng(5).integers(0, 16, (SAMPLES, 1, 4, 4), dtype=np.uint8)
LABELS = np.arange(SAMPLES) % 3
ARRAYS = ("counts", "synops", "saturation", "final_state")


@pytest.fixture(autouse=True)
def _parts_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a part hold two samples with their states, and four without."""
    neurons = sum(layer.num_neurons for layer in NETWORK)
    monkeypatch.setattr(backend_module, "_PART_BYTES", 2 * 2 * 4 * neurons)
    monkeypatch.setattr(backend_module, "_PART_BYTES_OF_A_WEIGHT", 0)


class Watched(ReferenceBackend):
    """The reference, which looks whether the arrays of a part before are still there."""

    def __init__(self, name: str = "watched", change: Collection[int] = ()) -> None:
        super().__init__()
        self.name = name
        self.change = change
        self.sizes: list[int] = []
        self.made: list[weakref.ref[npt.NDArray[Any]]] = []

    def simulate(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
    ) -> SimulationResult:
        assert not any(array() is not None for array in self.made)
        result = super().simulate(network, inputs, progress, keep_final_state=keep_final_state)
        for sample in {sample - sum(self.sizes) for sample in self.change} & {*range(len(inputs))}:
            count = result.counts["hidden"][sample, 3]
            result.counts["hidden"][sample, 3] = count + 1 if count < network.num_steps else 0
        self.sizes.append(len(inputs))
        arrays = (*result.counts.values(), *result.final_state.values())
        # A slice of all rows is what the collected results are; what holds the memory is below.
        self.made += [weakref.ref(array if array.base is None else array.base) for array in arrays]
        return result


class AtOnce(Watched):
    """The same, but what a start costs allows for a single one."""

    starts_at_once = False


def joined(parts: list[Recording], name: str, layer: str) -> npt.NDArray[Any]:
    return np.concatenate([getattr(part, name)[layer] for part in parts])


@pytest.mark.parametrize("readout", ["potential", "count"])
@pytest.mark.parametrize(("kind", "sizes"), [(Watched, [2, 2, 2, 2, 2, 1]), (AtOnce, [SAMPLES])])
def test_the_parts_of_a_run_are_the_run(
    kind: type[Watched], sizes: list[int], readout: Any
) -> None:
    network, backend = small_network(readout=readout), kind()
    told: list[tuple[int, int]] = []
    whole = ReferenceBackend().run(network, INPUTS, LABELS, keep_final_state=True)
    run = backend.run_in_parts(
        network, INPUTS, LABELS, lambda *done: told.append(done), keep_final_state=True
    )
    parts = []
    if kind is AtOnce:
        parts = list(run)
    else:
        for part in run:
            parts.append(replace(part, **copies(part)))  # what was yielded has to go
            del part
    assert backend.sizes == sizes
    assert [len(part) for part in parts] == [2, 2, 2, 2, 2, 1]
    assert told[-1] == (SAMPLES, SAMPLES)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert all(counts.any() for counts in whole.counts.values())
    for name in ARRAYS:
        for layer, expected in getattr(whole, name).items():
            assert np.array_equal(joined(parts, name, layer), expected)
    for name in ("output", "prediction", "label"):
        together = np.concatenate([getattr(part, name) for part in parts])
        assert np.array_equal(together, getattr(whole, name))
    for part in parts:
        assert part.input_digest == whole.input_digest
        assert part.parameter_digest == whole.parameter_digest
        assert part.backend == "watched"
    for layer, peak in whole.peak.items():
        assert max(part.peak[layer] for part in parts) == peak


def copies(part: Recording) -> dict[str, Any]:
    """Return the large arrays of a part once more, and its output, which may be a view of one."""
    large = {
        name: {layer: array.copy() for layer, array in getattr(part, name).items()}
        for name in ("counts", "final_state")
    }
    return {**large, "output": part.output.copy()}


def test_what_is_kept_of_the_parts_is_what_the_whole_run_says() -> None:
    whole = ReferenceBackend().run(NETWORK, INPUTS, LABELS)
    tally = RunTally(SAMPLES)
    for part in Watched("reference").run_in_parts(NETWORK, INPUTS, LABELS):
        tally.add(part)
        del part
    found = tally.summary()
    assert len(found) == SAMPLES
    assert found.seconds > 0
    assert repr(found) == repr(whole).replace("Recording(", "RunSummary(")
    assert found.spikes_by_layer() == whole.spikes_by_layer()
    assert summarise(NETWORK, found) == summarise(NETWORK, whole)
    assert summarise_saturation(NETWORK, [found]) == summarise_saturation(NETWORK, [whole])
    assert found.accuracy == whole.accuracy
    assert found.peak == whole.peak
    assert np.array_equal(found.output, whole.output)


def test_runs_without_labels_have_none() -> None:
    tally = RunTally(SAMPLES)
    for part in ReferenceBackend().run_in_parts(NETWORK, INPUTS):
        tally.add(part)
    assert tally.summary().label is None
    assert tally.summary().accuracy is None


def test_what_is_refused_is_refused_by_the_call() -> None:
    with pytest.raises(DataError, match="takes 4-bit integers"):
        ReferenceBackend().run_in_parts(NETWORK, INPUTS * np.uint8(9))


def test_a_part_may_be_as_large_as_the_weights_and_has_a_sample_at_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert samples_of_a_part(NETWORK, keep_final_state=True) == 2
    assert samples_of_a_part(NETWORK, keep_final_state=False) == 4
    weights = sum(layer.synapses[0].weight.size for layer in NETWORK)
    neurons = sum(layer.num_neurons for layer in NETWORK)
    monkeypatch.setattr(backend_module, "_PART_BYTES_OF_A_WEIGHT", 400)
    assert samples_of_a_part(NETWORK, keep_final_state=True) == 400 * weights // (8 * neurons) > 4
    monkeypatch.setattr(backend_module, "_PART_BYTES_OF_A_WEIGHT", 0)
    monkeypatch.setattr(backend_module, "_PART_BYTES", 1)
    assert samples_of_a_part(NETWORK, keep_final_state=True) == 1


def report_of_parts(*backends: Backend) -> Any:
    report, runs = run_and_compare(NETWORK, INPUTS, LABELS, backends)
    assert [run.backend for run in runs] == [backend.name for backend in backends]
    return {**report.to_dict(), "seconds": None}


def report_of_the_whole(*backends: Watched) -> Any:
    recordings = [
        type(backend)(backend.name, backend.change).run(
            NETWORK, INPUTS, LABELS, keep_final_state=True
        )
        for backend in backends
    ]
    return {**compare(NETWORK, recordings).to_dict(), "seconds": None}


def test_a_comparison_of_parts_is_that_of_the_whole() -> None:
    backends = Watched("one"), Watched("two"), AtOnce("three")
    found = report_of_parts(*backends)
    assert found["match"] is True
    assert found["samples"] == SAMPLES
    assert found["checked_states"] == ["one", "two", "three"]
    assert found == report_of_the_whole(*backends)
    assert [len(backend.sizes) for backend in backends] == [6, 6, 1]


@pytest.mark.parametrize(
    ("two", "three"),
    [
        ({0}, {}),
        ({7, 9}, {}),
        ({10}, {1, 3}),
        ({4, 5, 8}, {0}),
        ({}, {2, 3, 6}),
    ],
)
def test_the_first_difference_of_parts_is_that_of_the_whole(
    two: Collection[int], three: Collection[int]
) -> None:
    backends = Watched("one"), Watched("two", two), Watched("three", three)
    found = report_of_parts(*backends)
    assert found["match"] is False
    first = "two" if two else "three"
    sample = min(two or three)
    assert found["first_difference"].startswith(f"{first}: layer hidden, sample {sample}, neuron")
    (hidden,) = [layer for layer in found["layers"] if layer["name"] == "hidden"]
    assert hidden["mismatched_counts"] == len(two) + len(three)
    assert found == report_of_the_whole(*backends)


class Dark(Watched):
    """A backend that computes with other integers from the fourth sample on."""

    def simulate(self, *given: Any, **asked: Any) -> SimulationResult:
        result = super().simulate(*given, **asked)
        if sum(self.sizes) < 4:
            return result
        return replace(result, parameter_digest={**result.parameter_digest, "hidden": "0" * 64})


def test_other_integers_in_a_later_part_are_found() -> None:
    report, _ = run_and_compare(NETWORK, INPUTS, LABELS, [Watched("one"), Dark("two")])
    assert not report.match
    assert [str(found)[:24] for found in report.other_parameters] == ["two: layer hidden ran wi"]


def test_a_layer_is_silent_only_if_it_is_in_every_part() -> None:
    inputs = INPUTS.copy()
    inputs[:9] = 0
    network = small_network(thresholds=(60, 10))
    dark = ReferenceBackend().run(network, inputs[:9])
    assert not dark.counts["conv"].any()
    report, _ = run_and_compare(network, inputs, None, [Watched("one"), Watched("two")])
    assert "conv" not in report.silent_layers
    report, _ = run_and_compare(network, inputs[:9], None, [Watched("one"), Watched("two")])
    assert "conv" in report.silent_layers


class Contradicting(Watched):
    """A backend whose last sample has more spikes than there are steps."""

    def simulate(self, *given: Any, **asked: Any) -> SimulationResult:
        result = super().simulate(*given, **asked)
        if sum(self.sizes) == SAMPLES:
            result.counts["hidden"][-1, 0] = NETWORK.num_steps + 1
        return result


def test_what_is_impossible_is_refused_in_a_later_part_as_well() -> None:
    with pytest.raises(Exception, match=r"is impossible: the counts of layer hidden reach .* to 5"):
        run_and_compare(NETWORK, INPUTS, LABELS, [Watched("one"), Contradicting("two")])


class Lava(LavaCpuBackend):
    """The backend of Lava whose child is played: it leaves what the reference found."""

    def _run_child(self, folder: Path, network: QuantizedNetwork, *_: Any) -> None:
        self.folder = folder
        found = ReferenceBackend().run(network, INPUTS, keep_final_state=True)
        for index, layer in enumerate(network.layers, start=1):
            np.save(lava_job.progress_path(folder, index), np.array([99, 0]))
            if layer.fires:
                counts, state = found.counts[layer.name], found.final_state[layer.name]
                np.save(lava_job.counts_path(folder, index), reversed_axes(counts))
            else:
                state = found.output << 6
            np.save(lava_job.state_path(folder, index), reversed_axes(state))
        (folder / lava_job.DIGESTS).write_text("{}", encoding="utf-8")


def reversed_axes(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return [samples, C, H, W] as Lava keeps it, [samples, W, H, C]."""
    return array.transpose(0, *range(array.ndim - 1, 0, -1))


def test_lava_s_records_are_read_from_the_disk_part_by_part() -> None:
    whole = ReferenceBackend().run(NETWORK, INPUTS, keep_final_state=True)
    backend = Lava()
    asked: dict[str, Any] = {"keep_final_state": True}
    parts = list(backend.simulate_in_parts(NETWORK, INPUTS, lambda *_: None, **asked, size=4))
    assert [len(part.counts["conv"]) for part in parts] == [4, 4, 3]
    once = backend.simulate(NETWORK, INPUTS, lambda *_: None, **asked)
    for found in (
        {name: np.concatenate([part.counts[name] for part in parts]) for name in whole.counts},
        once.counts,
    ):
        assert all(np.array_equal(found[name], whole.counts[name]) for name in whole.counts)
    for name, state in whole.final_state.items():
        states = np.concatenate([part.final_state[name] for part in parts])
        assert np.array_equal(states, state)
    potentials = [part.potential for part in parts if part.potential is not None]
    assert np.array_equal(np.concatenate(potentials), whole.output)
    assert not backend.folder.exists()


def test_lava_s_folder_goes_where_a_run_is_left_or_its_records_are_short() -> None:
    backend = Lava()
    run = backend.simulate_in_parts(
        NETWORK, INPUTS, lambda *_: None, keep_final_state=False, size=2
    )
    assert len(next(run).counts["conv"]) == 2
    assert backend.folder.exists()
    run.close()
    assert not backend.folder.exists()
    longer = np.concatenate([INPUTS, INPUTS])
    with pytest.raises(BackendError, match=r"left potentials of shape \(11, 3\)"):
        backend.simulate(NETWORK, longer, lambda *_: None, keep_final_state=False)
    assert not backend.folder.exists()


def test_the_command_writes_the_recording_of_the_whole_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.random.default_rng(2).integers(0, 256, (SAMPLES, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", x_test=images, y_test=LABELS)
    backend = Watched("reference")
    recording, summary = tmp_path / "parts.npz", tmp_path / "run.json"
    simulate(
        NETWORK,
        backend,
        f"npz:{tmp_path / 'data.npz'}",
        None,
        Results(recording, final_states=True, json=summary, plot=None),
    )
    assert backend.sizes == [2, 2, 2, 2, 2, 1]
    inputs = quantize_inputs(images[:, np.newaxis], NETWORK.input.bits, NETWORK.input.scale)
    whole = ReferenceBackend().run(NETWORK, inputs, LABELS, keep_final_state=True)
    whole.save(tmp_path / "whole.npz")
    assert recording.read_bytes() == (tmp_path / "whole.npz").read_bytes()
    content = written_json(summary)
    assert content["samples"] == SAMPLES
    assert content["accuracy"] == whole.accuracy
    assert content["layers"] == [asdict(layer) for layer in summarise(NETWORK, whole)]
    assert f"{SAMPLES} samples on reference" in capsys.readouterr().out
    names = {"data.npz", "parts.npz", "run.json", "whole.npz"}
    assert {path.name for path in tmp_path.iterdir()} == names
