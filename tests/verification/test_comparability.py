"""Recordings whose equality would mean nothing are refused, and the message says why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tandem_hw.conformance.layers import changed
from tandem_hw.errors import ComparisonRefusedError
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import compare
from tests.helpers.recordings import (
    FIRST,
    LABELS,
    NETWORK,
    copy_of,
    reference,
    samples,
    small_network,
)


@pytest.mark.parametrize("change", ["num_steps", "firing_delay", "weight"])
def test_a_recording_of_another_network_is_not_compared(change: str) -> None:
    if change == "num_steps":
        network = replace(NETWORK, num_steps=5)
    elif change == "firing_delay":
        network = replace(NETWORK, firing_delay=1)
    else:
        weight = NETWORK.layers[0].synapses[0].weight.copy()
        weight[0, 0, 0, 0] += 2
        network = replace(
            NETWORK, layers=(changed(NETWORK.layers[0], weight=weight), *NETWORK.layers[1:])
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


def test_a_recording_compared_with_itself_proves_nothing() -> None:
    for other in (FIRST, replace(FIRST, backend="other")):
        with pytest.raises(ComparisonRefusedError, match=r"of reference would .* with itself"):
            compare(NETWORK, [FIRST, other])
    for given in ([FIRST, copy_of(FIRST, "reference")], [copy_of(FIRST), FIRST, copy_of(FIRST)]):
        with pytest.raises(ComparisonRefusedError, match="with another of the same backend, which"):
            compare(NETWORK, given)


def test_labels_have_to_be_the_same() -> None:
    other = copy_of(FIRST, label=np.roll(LABELS, 1))
    with pytest.raises(ComparisonRefusedError, match="of other has other labels than that of refe"):
        compare(NETWORK, [FIRST, other])
    bare = copy_of(FIRST, "bare", label=None)
    for given in ([FIRST, bare], [bare, FIRST]):
        with pytest.raises(ComparisonRefusedError, match="of bare has no labels and that of ref"):
            compare(NETWORK, given)
    assert compare(NETWORK, [bare, copy_of(FIRST, label=None)]).match
    fractions = copy_of(FIRST, label=LABELS + 0.0)
    with pytest.raises(ComparisonRefusedError, match="its labels are float64"):
        compare(NETWORK, [FIRST, fractions])
    short: dict[str, Any] = {"label": LABELS[:2]}
    with pytest.raises(ComparisonRefusedError, match="is incomplete: its labels have shape"):
        compare(NETWORK, [copy_of(FIRST, **short), copy_of(FIRST, "third", **short)])


def test_recordings_without_samples_are_refused() -> None:
    empty = {
        "counts": {name: counts[:0] for name, counts in FIRST.counts.items()},
        "output": FIRST.output[:0],
        "prediction": FIRST.prediction[:0],
        "synops": {name: values[:0] for name, values in FIRST.synops.items()},
        "label": None,
    }
    given = [copy_of(FIRST, "one", **empty), copy_of(FIRST, "two", **empty)]
    given[1] = replace(given[1], output=given[1].output.copy())
    with pytest.raises(ComparisonRefusedError, match="of one holds no samples; record at least"):
        compare(NETWORK, given)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"output": np.where(FIRST.output == FIRST.output, np.nan, 0)}, "outputs are float64"),
        ({"output": FIRST.output + 0.5}, "outputs are float64"),
        ({"prediction": FIRST.prediction + 0.0}, "predictions are float64"),
        (
            {"counts": dict(FIRST.counts) | {"conv": FIRST.counts["conv"].astype(np.float32)}},
            "counts of layer conv are float32",
        ),
        (
            {"synops": dict(FIRST.synops) | {"out": FIRST.synops["out"] / 2}},
            "synaptic operations of layer out are float64",
        ),
        ({"final_state": {"conv": FIRST.counts["conv"] / 64}}, "final states of layer conv are"),
        (
            {"saturation": dict.fromkeys(("conv", "hidden", "out"), np.zeros(5))},
            "saturated values of layer conv are float64",
        ),
    ],
)
def test_what_is_no_integer_is_refused(changes: dict[str, Any], what: str) -> None:
    other = copy_of(FIRST, **changes)
    for given in ([FIRST, other], [other, FIRST]):
        with pytest.raises(ComparisonRefusedError, match=f"of other is not exact: its {what}"):
            compare(NETWORK, given)


@pytest.mark.parametrize("kind", ["synops", "saturation"])
def test_a_layer_that_is_left_out_is_noticed(kind: str) -> None:
    kept: Any = {name: values for name, values in getattr(FIRST, kind).items() if name != "hidden"}
    with pytest.raises(ComparisonRefusedError, match=r"of layer hidden have shape \(0,\); \(5,\)"):
        compare(NETWORK, [FIRST, copy_of(FIRST, **{kind: kept})])


def test_a_prediction_that_is_not_the_largest_output_is_refused() -> None:
    expected = int(FIRST.prediction[2])
    wrong = FIRST.prediction.copy()
    wrong[2] = found = (expected + 1) % 3
    # Both are wrong in the same way, which equality would not see.
    given = [copy_of(FIRST, name, prediction=wrong) for name in ("one", "two")]
    message = f"of one contradicts itself: it predicts {found} for sample 2, .* that of {expected}"
    with pytest.raises(ComparisonRefusedError, match=message):
        compare(NETWORK, given)


def test_a_counted_output_that_is_not_the_counts_is_refused() -> None:
    network = small_network(readout="count")
    first = ReferenceBackend().run(network, samples(), LABELS)
    assert first.output.any()
    other = copy_of(first, output=first.output + 1)
    with pytest.raises(ComparisonRefusedError, match=r"of other .* not the counts of layer out"):
        compare(network, [first, other])


FULL = reference(NETWORK, keep=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": {"hidden": FULL.counts["hidden"] + 5}}, "counts of layer hidden reach .*to 4,"),
        ({"counts": {"conv": FULL.counts["conv"] - 5}}, "counts of layer conv reach from -5 to "),
        ({"counts": {"conv": FULL.counts["conv"].tolist()}}, "counts of layer conv are a list; a "),
        ({"counts": {"other": FULL.counts["conv"]}}, "has counts of layer other, and .* no such"),
        ({"counts": {"out": FULL.output}}, "has counts of layer out, and the network has no such"),
        ({"synops": {"out": FULL.synops["out"] - 10**6}}, "synaptic operations of layer out reach"),
        ({"synops": {"other": FULL.synops["out"]}}, "has synaptic operations of layer other, and"),
        ({"saturation": {"conv": np.full(5, -1)}}, "saturated values of layer conv reach from -1"),
        ({"saturation": {"other": np.zeros(5, int)}}, "has saturated values of layer other, and"),
        (
            {"peak": {"conv": -1}},
            "largest state of layer conv reach from -1 to -1; allowed is 0 and",
        ),
        ({"peak": {"other": 1}}, "has a largest state of layer other, and the network has no such"),
        ({"final_state": {"out": FULL.output}}, "has final states of layer out, and the network"),
        ({"parameter_digest": {"other": "0"}}, "has a digest of parameters of layer other, and"),
    ],
)
def test_what_the_network_cannot_give_is_refused_though_both_say_it(
    changes: dict[str, Any], message: str
) -> None:
    changed = {name: dict(getattr(FULL, name)) | values for name, values in changes.items()}
    given = [copy_of(FULL, name, **changed) for name in ("one", "two")]
    with pytest.raises(ComparisonRefusedError, match=f"recording of one .*{message}"):
        compare(NETWORK, given)


def test_the_recording_that_those_are_made_of_is_comparable() -> None:
    assert compare(NETWORK, [copy_of(FULL, name) for name in ("one", "two")]).match


def test_another_readout_is_refused_though_both_say_it() -> None:
    given = [copy_of(FULL, name, readout="count") for name in ("one", "two")]
    with pytest.raises(ComparisonRefusedError, match="by count, and the network's is by potential"):
        compare(NETWORK, given)


def test_states_and_digests_are_of_all_layers_or_none() -> None:
    states = {"conv": FULL.final_state["conv"]}
    with pytest.raises(
        ComparisonRefusedError, match="incomplete: its final states of layer hidden"
    ):
        compare(NETWORK, [copy_of(FULL, name, final_state=states) for name in ("one", "two")])
    digests = {"conv": FULL.parameter_digest["conv"], "out": FULL.parameter_digest["out"]}
    with pytest.raises(ComparisonRefusedError, match="no digest of the parameters of layer hidden"):
        compare(NETWORK, [copy_of(FULL, name, parameter_digest=digests) for name in ("one", "two")])
