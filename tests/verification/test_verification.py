from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.conformance.layers import changed, dense_layer, network_of
from tandem_hw.errors import BackendUnavailableError, ComparisonRefusedError, TandemError
from tandem_hw.network.quantized import QuantizedNetwork, Readout
from tandem_hw.network.recording import Recording
from tandem_hw.sim.backend import Backend, Progress, SimulationResult
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import VerificationError, compare, verify
from tests.helpers.networks import small_graph_network
from tests.helpers.recordings import (
    FIRST,
    LABELS,
    NETWORK,
    copy_of,
    reference,
    samples,
    small_network,
)


def test_the_network_of_these_tests_is_active() -> None:
    assert all(counts.any() for counts in FIRST.counts.values())
    assert len(np.unique(FIRST.prediction)) > 1


def test_equal_recordings_match() -> None:
    report = compare(NETWORK, [FIRST, copy_of(FIRST), copy_of(FIRST, "third")])
    assert report.match
    assert report.difference is None
    assert report.backends == ("reference", "other", "third")
    report.require_match()


def changeable(recording: Recording, layer: str, index: int = 0) -> tuple[int, ...]:
    """Return the place of a count that can be one more and one less."""
    counts = recording.counts[layer]
    places = np.argwhere((counts > 0) & (counts < NETWORK.num_steps))
    return tuple(int(number) for number in places[index])


@pytest.mark.parametrize(("layer", "index"), [("conv", 0), ("conv", -1), ("hidden", 0)])
@pytest.mark.parametrize("step", [1, -1])
def test_one_spike_more_or_less_is_found_where_it_is(layer: str, index: int, step: int) -> None:
    place = changeable(FIRST, layer, index)
    other = copy_of(FIRST)
    other.counts[layer][place] += step
    report = compare(NETWORK, [FIRST, other])
    assert not report.match
    assert {found.name: found.mismatched for found in report.layers} == {
        name: int(name == layer) for name in ("conv", "hidden")
    }
    assert report.readout.mismatched == 0
    expected = int(FIRST.counts[layer][place])
    difference = report.difference
    assert difference is not None
    assert (difference.backend, difference.layer) == ("other", layer)
    assert (difference.sample, *difference.neuron) == place
    assert (difference.expected, difference.found) == (expected, expected + step)
    message = (
        f"other: layer {layer}, sample {place[0]}, neuron {list(place[1:])}: {expected + step} "
        f"instead of {expected}"
    )
    with pytest.raises(VerificationError) as caught:
        report.require_match()
    assert message in str(caught.value)


def test_one_potential_that_differs_is_found() -> None:
    other = copy_of(FIRST)
    other.output[3, 2] += 1
    report = compare(NETWORK, [FIRST, other])
    assert not report.match
    assert [layer.mismatched for layer in report.layers] == [0, 0]
    assert report.readout.mismatched == 1
    expected = int(FIRST.output[3, 2])
    with pytest.raises(
        VerificationError,
        match=rf"layer out, sample 3, neuron \[2\]: {expected + 1} instead of {expected}",
    ):
        report.require_match()


@pytest.mark.parametrize("readout", ["potential", "count"])
def test_a_difference_in_an_image_is_found_where_it_is(readout: Readout) -> None:
    threshold = None if readout == "potential" else 64
    image = changed(NETWORK.layers[0], threshold=threshold)
    network = replace(NETWORK, layers=(image,), readout=readout)
    first = reference(network)
    assert first.output.shape == (5, 2 * 4 * 4)
    assert len(np.unique(first.prediction)) > 1
    other = copy_of(first)
    other.output[3, 16 + 4 + 2] += 1  # channel 1, row 1, column 2
    if readout == "count":
        assert first.output.tolist() == first.counts["conv"].reshape(5, -1).tolist()
        other.counts["conv"][3, 1, 1, 2] += 1
    report = compare(network, [first, other])
    assert report.readout.mismatched == 1
    expected = int(first.output[3, 22])
    with pytest.raises(
        VerificationError,
        match=rf"conv, sample 3, neuron \[1, 1, 2\]: {expected + 1} instead of {expected}",
    ):
        report.require_match()


def test_recordings_of_a_graph_are_compared_layer_by_layer() -> None:
    network = small_graph_network("subtract")
    inputs = np.random.default_rng(1).integers(0, 16, (5, 2, 6), dtype=np.uint8)
    first = ReferenceBackend().run(network, inputs)
    other = copy_of(first)
    compare(network, [first, other]).require_match()
    other.counts["block"][4, 1, 5] += 1
    with pytest.raises(VerificationError, match=r"layer block, sample 4, neuron \[1, 5\]"):
        compare(network, [first, other]).require_match()


def test_predictions_that_differ_with_their_outputs_are_counted() -> None:
    other = copy_of(FIRST)
    expected = int(FIRST.prediction[2])
    other.output[2, (expected + 1) % 3] = FIRST.output[2].max() + 1
    other = replace(other, prediction=other.output.argmax(axis=1))
    report = compare(NETWORK, [FIRST, other])
    assert not report.match
    assert report.mismatched_predictions == report.readout.mismatched == 1


def test_one_state_that_differs_at_the_window_s_end_is_found() -> None:
    first = reference(NETWORK, keep=True)
    states = {name: state.copy() for name, state in first.final_state.items()}
    other = copy_of(first, final_state=states)
    assert compare(NETWORK, [first, other]).match
    states["hidden"][3, 2] += 1
    report = compare(NETWORK, [first, copy_of(first, final_state=states)])
    assert not report.match
    assert [layer.mismatched_states for layer in report.layers] == [0, 1]
    assert [layer.mismatched for layer in report.layers] == [0, 0]
    expected = int(first.final_state["hidden"][3, 2])
    with pytest.raises(
        VerificationError,
        match=rf"other: layer hidden, sample 3, neuron \[2\]: state at the window's end \(in 1/64 "
        rf"weight unit\) {expected + 1} instead of {expected}$",
    ):
        report.require_match()


def test_states_are_compared_where_two_recordings_have_them() -> None:
    first = reference(NETWORK, keep=True)
    report = compare(NETWORK, [copy_of(FIRST, "bare"), first])
    assert report.match
    assert [layer.mismatched_states for layer in report.layers] == [None, None]
    assert report.checked_states == ()
    states = {name: state + 64 for name, state in first.final_state.items()}
    last = copy_of(first, "third", final_state=states)
    report = compare(NETWORK, [copy_of(FIRST, "bare"), first, last])
    assert [layer.mismatched_states for layer in report.layers] == [5 * 32, 5 * 5]
    assert report.checked_states == ("reference", "third")
    assert report.difference is not None
    assert (report.difference.backend, report.difference.layer) == ("third", "conv")


def test_synaptic_operations_that_differ_are_found() -> None:
    synops = {name: values.copy() for name, values in FIRST.synops.items()}
    synops["hidden"][4] += 7
    report = compare(NETWORK, [FIRST, copy_of(FIRST, synops=synops)])
    assert not report.match
    assert [layer.mismatched_synops for layer in report.layers] == [0, 1]
    expected = int(FIRST.synops["hidden"][4])
    with pytest.raises(
        VerificationError,
        match=f"layer hidden, sample 4: synaptic operations {expected + 7} instead of {expected}",
    ):
        report.require_match()


def test_other_integers_are_found_though_every_result_is_equal() -> None:
    digests = dict(FIRST.parameter_digest) | {"hidden": "0" * 64}
    report = compare(NETWORK, [FIRST, copy_of(FIRST, parameter_digest=digests)])
    assert not report.match
    assert report.difference is None
    assert report.checked_parameters == ("reference", "other")
    assert compare(NETWORK, [FIRST, copy_of(FIRST, parameter_digest={})]).match
    with pytest.raises(
        VerificationError, match=r"^other: layer hidden ran with other weights, biases or threshold"
    ):
        report.require_match()


def test_a_digest_that_lacks_a_layer_is_no_match() -> None:
    digests = {name: FIRST.parameter_digest[name] for name in ("conv", "out")}
    with pytest.raises(ComparisonRefusedError, match="no digest of the parameters of layer hidden"):
        compare(NETWORK, [FIRST, copy_of(FIRST, parameter_digest=digests)])


def test_the_first_difference_is_in_the_layer_that_spikes_pass_first() -> None:
    other, third = copy_of(FIRST), copy_of(FIRST, "third")
    other.output[0, 0] += 5
    other.counts["hidden"][changeable(FIRST, "hidden")] += 1
    place = changeable(FIRST, "conv")
    for changeable_place in (changeable(FIRST, "conv", -1), place):
        third.counts["conv"][changeable_place] += 1
    report = compare(NETWORK, [FIRST, other, third])
    assert [layer.mismatched for layer in (*report.layers, report.readout)] == [2, 1, 1]
    difference = report.difference
    assert difference is not None
    assert (difference.backend, difference.layer) == ("third", "conv")
    assert (difference.sample, *difference.neuron) == place


def test_a_counted_readout_is_compared_as_well() -> None:
    network = small_network(readout="count")
    first = reference(network)
    assert first.output.any()
    report = compare(network, [first, copy_of(first)])
    assert report.match
    assert [layer.name for layer in report.layers] == ["conv", "hidden", "out"]
    other = copy_of(first)
    place = changeable(first, "out")
    other.counts["out"][place] -= 1
    other.output[place] -= 1
    other = replace(other, prediction=other.output.argmax(axis=1))
    report = compare(network, [first, other])
    assert report.readout.mismatched == 1
    with pytest.raises(VerificationError, match=rf"out, sample {place[0]}, neuron \[{place[1]}\]"):
        report.require_match()


def test_equal_silence_is_no_match_unless_it_is_allowed() -> None:
    network = small_network(thresholds=(6, 1 << 17))
    first = reference(network)
    assert first.counts["conv"].any()
    assert not first.counts["hidden"].any()
    report = compare(network, [first, copy_of(first)])
    assert report.silent_layers == ("hidden", "out")
    assert not report.match
    message = "layers hidden never fired and readout out holds nothing but its bias, and equal sil"
    with pytest.raises(VerificationError, match=message):
        report.require_match()
    allowed = compare(network, [first, copy_of(first)], allow_silence=True)
    assert allowed.match
    allowed.require_match()


def test_a_readout_alone_that_nothing_reaches_is_silent() -> None:
    layer = dense_layer(
        "only", 2 * np.arange(32).reshape(2, 16), 8, np.array([5, -3]), None, (1, 4, 4)
    )
    network = network_of(NETWORK.input, (layer,), 4, "subtract")
    dark = ReferenceBackend().run(network, np.zeros((5, 1, 4, 4), np.uint8))
    assert dark.output.tolist() == [[5, -3]] * 5
    with pytest.raises(
        VerificationError, match=r"^readout only holds nothing but its bias, and eq"
    ):
        compare(network, [dark, copy_of(dark)]).require_match()
    lit = ReferenceBackend().run(network, samples())
    compare(network, [lit, copy_of(lit)]).require_match()


def test_a_counted_readout_that_is_silent_never_fired() -> None:
    network = small_network(readout="count")
    last = changed(network.layers[-1], threshold=1 << 17)
    network = replace(network, layers=(*network.layers[:-1], last))
    first = reference(network)
    with pytest.raises(VerificationError, match=r"^layers out never fired, and equal silence"):
        compare(network, [first, copy_of(first)]).require_match()


def test_allowing_silence_does_not_allow_differences() -> None:
    network = small_network(thresholds=(6, 1 << 17))
    first = reference(network)
    other = copy_of(first)
    other.counts["hidden"][0, 0] = 1
    assert not compare(network, [first, other], allow_silence=True).match


def test_the_report_as_json_holds_what_is_documented() -> None:
    other = copy_of(FIRST)
    other.counts["conv"][changeable(FIRST, "conv")] += 1
    report = compare(NETWORK, [FIRST, other])
    content = json.loads(json.dumps(report.to_dict()))
    assert content["format_version"] == 1
    assert content["match"] is False
    assert content["samples"] == 5
    assert content["backends"] == ["reference", "other"]
    assert [layer["name"] for layer in content["layers"]] == ["conv", "hidden"]
    assert [layer["neurons"] for layer in content["layers"]] == [32, 5]
    spikes = [int(FIRST.counts[name].sum()) for name in ("conv", "hidden")]
    assert [layer["spikes"] for layer in content["layers"]] == spikes
    assert [layer["mismatched_counts"] for layer in content["layers"]] == [1, 0]
    rooms = [17 - FIRST.peak[name].bit_length() for name in ("conv", "hidden")]
    assert [layer["head_room_bits"] for layer in content["layers"]] == rooms
    assert content["readout"]["mismatched"] == 0
    assert content["mismatched_predictions"] == 0
    assert content["silent_layers"] == []
    assert content["first_difference"] == str(report.difference)
    assert content["accuracy"] == {"reference": FIRST.accuracy, "other": FIRST.accuracy}
    assert content["synops_per_sample"] == FIRST.synops_per_sample > 0
    assert content["seconds"] == {"reference": FIRST.seconds, "other": 2.0}


def test_a_matching_report_as_json_has_no_difference() -> None:
    content = compare(NETWORK, [FIRST, copy_of(FIRST)]).to_dict()
    assert content["match"] is True
    assert content["first_difference"] is None


def test_head_room_is_how_often_the_state_could_be_doubled() -> None:
    for peak, room in ((1, 16), (1000, 7), (65535, 1), (65536, 0), (131071, 0)):
        first = replace(FIRST, peak={"conv": peak})
        report = compare(NETWORK, [first, copy_of(FIRST)])
        assert report.layers[0].head_room_bits == room
        assert peak << room < 1 << 17 <= peak << room + 1
    assert report.layers[1].head_room_bits is None


class Faulty(Backend):
    """The reference under another name, with a potential of the first sample changed."""

    def __init__(self, name: str, change: int = 0, reason: str | None = None) -> None:
        self.name = name
        self.change = change
        self.reason = reason
        self.runs = 0
        self.asked_for_states = False

    def why_unavailable(self) -> str | None:
        return self.reason

    def check_network(self, network: QuantizedNetwork) -> None:
        pass

    def simulate(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
    ) -> SimulationResult:
        self.runs += 1
        self.asked_for_states = keep_final_state
        true = ReferenceBackend().run(network, inputs, progress=progress)
        output = true.output.copy()
        output[0, 0] += self.change
        return SimulationResult(true.counts, output)


def run_all(*backends: Backend, **options: Any) -> Any:
    return verify(NETWORK, samples(), LABELS, backends, **options)


def test_verify_runs_every_backend_once_and_compares() -> None:
    backends = [Faulty("one"), Faulty("two"), Faulty("three")]
    report = run_all(*backends)
    assert report.match
    assert [backend.runs for backend in backends] == [1, 1, 1]
    assert all(backend.asked_for_states for backend in backends)
    assert report.backends == ("one", "two", "three")


def test_verify_finds_the_backend_that_differs() -> None:
    report = run_all(ReferenceBackend(), Faulty("two", change=-3))
    assert not report.match
    assert str(report.difference).startswith("two: layer out, sample 0, neuron [0]: ")


def test_verify_tells_each_backend_s_progress() -> None:
    seen: list[tuple[int, int]] = []
    run_all(
        ReferenceBackend(),
        Faulty("two"),
        progress={"two": lambda done, total: seen.append((done, total))},
    )
    assert seen[-1] == (5, 5)


@pytest.mark.parametrize("names", [[], ["one"], ["one", "one"], ["one", "two", "one"]])
def test_fewer_than_two_different_backends_are_refused_before_any_runs(names: list[str]) -> None:
    backends = [Faulty(name) for name in names]
    found = ", ".join(names) or "none"
    with pytest.raises(
        ComparisonRefusedError, match=f"needs two or more different backends, found {found}$"
    ):
        run_all(*backends)
    assert [backend.runs for backend in backends] == [0] * len(names)


def test_an_unavailable_backend_is_refused_before_any_runs() -> None:
    first, missing = Faulty("one"), Faulty("two", reason="backend two: no board is connected")
    with pytest.raises(BackendUnavailableError, match=r"^backend two: no board is connected$"):
        run_all(first, missing)
    assert first.runs == missing.runs == 0


def test_a_mismatch_is_an_error_that_the_command_line_reports() -> None:
    assert issubclass(VerificationError, TandemError)
