from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from networks import small_graph_network

from tandem_hw.errors import BackendUnavailableError, ComparisonRefusedError, TandemError
from tandem_hw.network import Conv2d, Dense, InputSpec, QuantizedNetwork, Readout
from tandem_hw.recording import Recording
from tandem_hw.sim.backend import Backend, Progress, make_recording
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification import VerificationError, compare, verify

LABELS = np.array([0, 1, 2, 0, 1])


def small_network(
    num_steps: int = 4, readout: Readout = "potential", thresholds: tuple[int, int] = (6, 10)
) -> QuantizedNetwork:
    random = np.random.default_rng(3)
    conv = Conv2d(
        name="conv",
        weight=2 * random.integers(-3, 8, (2, 1, 3, 3)),
        weight_bits=8,
        bias=np.array([1, -2]),
        threshold=thresholds[0],
        input_shape=(1, 4, 4),
        padding=(1, 1),
    )
    hidden = Dense(
        name="hidden",
        weight=2 * random.integers(-3, 6, (5, 32)),
        weight_bits=8,
        bias=np.array([0, 1, 2, 3, 4]),
        threshold=thresholds[1],
        input_shape=(2, 4, 4),
    )
    last = Dense(
        name="out",
        weight=2 * random.integers(-4, 8, (3, 5)),
        weight_bits=8,
        bias=np.array([0, 7, -7]),
        threshold=None if readout == "potential" else 4,
        input_shape=(5,),
    )
    spec = InputSpec((1, 4, 4), 4, 1 / 15)
    return QuantizedNetwork(spec, (conv, hidden, last), num_steps, "subtract", readout)


def samples(seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 16, (5, 1, 4, 4), dtype=np.uint8)


def reference(network: QuantizedNetwork, seed: int = 0) -> Recording:
    return ReferenceBackend().run(network, samples(seed), LABELS)


def copy_of(recording: Recording, backend: str = "other", **changes: Any) -> Recording:
    """Return what another backend could have recorded: the same arrays, none of them shared."""
    arrays = {
        "counts": {name: counts.copy() for name, counts in recording.counts.items()},
        "output": recording.output.copy(),
        "prediction": recording.prediction.copy(),
        "peak": {},
        "seconds": 2.0,
    }
    return replace(recording, backend=backend, **(arrays | changes))


NETWORK = small_network()
FIRST = reference(NETWORK)


def test_the_network_of_these_tests_is_active() -> None:
    assert all(counts.any() for counts in FIRST.counts.values())
    assert len(np.unique(FIRST.prediction)) > 1


def test_equal_recordings_match() -> None:
    report = compare(NETWORK, [FIRST, copy_of(FIRST), copy_of(FIRST, "third")])
    assert report.match
    assert report.difference is None
    assert report.backends == ("reference", "other", "third")
    report.require_match()


@pytest.mark.parametrize(
    ("layer", "place"), [("conv", (2, 1, 3, 0)), ("conv", (0, 0, 0, 0)), ("hidden", (4, 3))]
)
@pytest.mark.parametrize("step", [1, -1])
def test_one_spike_more_or_less_is_found_where_it_is(
    layer: str, place: tuple[int, ...], step: int
) -> None:
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
    image = replace(NETWORK.layers[0], threshold=threshold)
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


def test_one_prediction_that_differs_is_found() -> None:
    other = copy_of(FIRST)
    expected = int(FIRST.prediction[2])
    other.prediction[2] = found = (expected + 1) % 3
    report = compare(NETWORK, [FIRST, other])
    assert not report.match
    assert report.mismatched_predictions == 1
    assert [layer.mismatched for layer in (*report.layers, report.readout)] == [0, 0, 0]
    with pytest.raises(
        VerificationError, match=f"other: prediction of sample 2: {found} instead of {expected}"
    ):
        report.require_match()


def test_the_first_difference_is_in_the_layer_that_spikes_pass_first() -> None:
    other, third = copy_of(FIRST), copy_of(FIRST, "third")
    other.output[0, 0] += 5
    other.counts["hidden"][0, 0] += 1
    third.counts["conv"][4, 1, 3, 3] += 1
    third.counts["conv"][4, 1, 2, 3] += 1
    report = compare(NETWORK, [FIRST, other, third])
    assert [layer.mismatched for layer in (*report.layers, report.readout)] == [2, 1, 1]
    difference = report.difference
    assert difference is not None
    assert (difference.backend, difference.layer) == ("third", "conv")
    assert (difference.sample, difference.neuron) == (4, (1, 2, 3))


def test_a_counted_readout_is_compared_as_well() -> None:
    network = small_network(readout="count")
    first = reference(network)
    assert first.output.any()
    report = compare(network, [first, copy_of(first)])
    assert report.match
    assert [layer.name for layer in report.layers] == ["conv", "hidden", "out"]
    other = copy_of(first)
    other.counts["out"][1, 0] += 1
    other.output[1, 0] += 1
    report = compare(network, [first, other])
    assert report.readout.mismatched == 1
    with pytest.raises(VerificationError, match=r"layer out, sample 1, neuron \[0\]"):
        report.require_match()


def test_equal_silence_is_no_match_unless_it_is_allowed() -> None:
    network = small_network(thresholds=(6, 1 << 17))
    first = reference(network)
    assert first.counts["conv"].any()
    assert not first.counts["hidden"].any()
    report = compare(network, [first, copy_of(first)])
    assert report.silent_layers == ("hidden",)
    assert not report.match
    with pytest.raises(VerificationError, match="layers hidden never fired, and equal silence"):
        report.require_match()
    allowed = compare(network, [first, copy_of(first)], allow_silence=True)
    assert allowed.match
    allowed.require_match()


def test_allowing_silence_does_not_allow_differences() -> None:
    network = small_network(thresholds=(6, 1 << 17))
    first = reference(network)
    other = copy_of(first)
    other.counts["hidden"][0, 0] = 1
    assert not compare(network, [first, other], allow_silence=True).match


@pytest.mark.parametrize("change", ["num_steps", "weight"])
def test_a_recording_of_another_network_is_not_compared(change: str) -> None:
    if change == "num_steps":
        network = replace(NETWORK, num_steps=5)
    else:
        weight = NETWORK.layers[0].weight.copy()
        weight[0, 0, 0, 0] += 2
        network = replace(
            NETWORK, layers=(replace(NETWORK.layers[0], weight=weight), *NETWORK.layers[1:])
        )
    other = copy_of(reference(network))
    with pytest.raises(ComparisonRefusedError, match=r"of other is of another network.*num_steps"):
        compare(NETWORK, [FIRST, other])


def test_recordings_of_other_inputs_are_not_compared() -> None:
    other = copy_of(reference(NETWORK, seed=1))
    with pytest.raises(ComparisonRefusedError, match=r"of other saw other inputs than .* ref"):
        compare(NETWORK, [FIRST, other])


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"counts": {"conv": FIRST.counts["conv"]}}, "counts of layer hidden"),
        ({"counts": dict(FIRST.counts) | {"conv": FIRST.counts["conv"][:1]}}, "counts of layer"),
        ({"output": FIRST.output[:, :1]}, "outputs"),
        ({"prediction": FIRST.prediction[:1]}, "predictions"),
    ],
)
def test_an_incomplete_recording_is_refused_and_never_broadcast(
    changes: dict[str, Any], what: str
) -> None:
    other = copy_of(FIRST, **changes)
    with pytest.raises(ComparisonRefusedError, match=f"of other is incomplete: its {what}"):
        compare(NETWORK, [FIRST, other])
    with pytest.raises(ComparisonRefusedError, match="is incomplete: its"):
        compare(NETWORK, [other, FIRST])


def test_one_recording_alone_proves_nothing() -> None:
    with pytest.raises(ComparisonRefusedError, match="at least two recordings"):
        compare(NETWORK, [FIRST])


def test_the_report_as_json_holds_what_is_documented() -> None:
    other = copy_of(FIRST)
    other.counts["conv"][0, 0, 0, 0] += 1
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


class Faulty:
    """The reference under another name, with a potential of the first sample changed."""

    def __init__(self, name: str, change: int = 0, reason: str | None = None) -> None:
        self.name = name
        self.change = change
        self.reason = reason
        self.runs = 0

    def why_unavailable(self) -> str | None:
        return self.reason

    def check_network(self, network: QuantizedNetwork) -> None:
        pass

    def run(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64] | None = None,
        progress: Progress | None = None,
    ) -> Recording:
        self.runs += 1
        true = ReferenceBackend().run(network, inputs, labels, progress)
        output = true.output.copy()
        output[0, 0] += self.change
        return make_recording(self.name, network, inputs, labels, true.counts, output, 1.0)


def run_all(*backends: Backend, **options: Any) -> Any:
    return verify(NETWORK, samples(), LABELS, backends, **options)


def test_verify_runs_every_backend_once_and_compares() -> None:
    backends = [Faulty("one"), Faulty("two"), Faulty("three")]
    report = run_all(*backends)
    assert report.match
    assert [backend.runs for backend in backends] == [1, 1, 1]
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
