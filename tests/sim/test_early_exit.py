"""Samples that end early: the readout after each step is the oracle's, and so is where they end."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_hw.conformance import oracle
from tandem_hw.errors import BackendError, ComparisonRefusedError, NetworkError
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import write_net
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.early_exit import (
    Leads,
    accuracy_by_step,
    check_early_exit,
    early_exits,
    find_leads,
    margin_in_units,
)
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tandem_hw.sim.reference import ReferenceBackend, readout_by_step
from tests.helpers.command_line import run, succeed, written_json
from tests.helpers.networks import networks, random_inputs, small_network
from tests.helpers.row_images import save_model, write_data


def by_step(network: QuantizedNetwork, inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    return np.concatenate(list(readout_by_step(network, inputs)))


def by_step_of_oracle(network: QuantizedNetwork, inputs: npt.NDArray[np.uint8]) -> list[Any]:
    found = []
    for sample in inputs:
        last = oracle.run_sample(network, sample.reshape(-1).tolist())[-1]
        steps = last.potentials
        if network.readout == "count":
            steps = [list(map(sum, zip(*last.spikes[: n + 1], strict=True)))
                     for n in range(network.num_steps)]  # fmt: skip
        found.append(steps)
    return found


def sparse_inputs(network: QuantizedNetwork, samples: int) -> npt.NDArray[np.uint8]:
    """Return inputs of which most are 0, so that samples and steps differ."""
    inputs = random_inputs(network, samples)
    return inputs * (random_inputs(network, samples, seed=1) > 13)


KINDS = ("any", "overflowing", "delayed", "overflowing and delayed")


@pytest.mark.parametrize(
    ("kind", "examples"),
    [
        ("any", 8),
        ("overflowing and delayed", 6),
        *[pytest.param(kind, 150, marks=pytest.mark.exhaustive) for kind in KINDS],
    ],
)
def test_the_readout_after_each_step_is_the_oracles(kind: str, examples: int) -> None:
    moved = []

    @settings(max_examples=examples)
    @given(
        network=networks(overflowing="overflowing" in kind, delayed="delayed" in kind),
        seed=st.integers(0, 1000),
    )
    def check(network: QuantizedNetwork, seed: int) -> None:
        inputs = random_inputs(network, seed=seed)
        found = by_step(network, inputs)
        assert found.tolist() == by_step_of_oracle(network, inputs)
        assert np.array_equal(found[:, -1], ReferenceBackend().run(network, inputs).output)
        moved.append(bool((found != found[:, :1]).any()))

    check()
    assert sum(moved) > 2


def test_without_a_delay_a_prefix_is_a_shorter_window() -> None:
    network = small_network(num_steps=6)
    inputs = sparse_inputs(network, 20)
    found = by_step(network, inputs)
    assert len(np.unique(found[:, :, 0])) > 20
    for step in range(1, 7):
        shorter = ReferenceBackend().run(replace(network, num_steps=step), inputs)
        assert np.array_equal(found[:, step - 1], shorter.output)


def test_samples_that_come_in_batches_are_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_network()
    inputs = random_inputs(network, 11)
    whole = by_step(network, inputs)
    monkeypatch.setattr("tandem_hw.sim.reference._BATCH_VALUES", 3 * 36)
    assert [len(one) for one in readout_by_step(network, inputs)] == [3, 3, 3, 2]
    assert np.array_equal(by_step(network, inputs), whole)


def exits_by_definition(leads: npt.NDArray[np.int64], margin: int) -> list[int]:
    """Return the step after which each sample ends, counted from 1."""
    return [
        next((step for step, lead in enumerate(sample, 1) if lead >= margin), len(sample))
        for sample in leads.tolist()
    ]


@pytest.mark.parametrize("readout", ["potential", "count"])
def test_samples_end_where_their_class_leads(readout: str) -> None:
    network = small_network(num_steps=5)
    if readout == "count":
        *before, last = network.layers
        counted = replace(last, neurons=replace(last.neurons, threshold=64))
        network = replace(network, layers=(*before, counted), readout="count")
    inputs, label = sparse_inputs(network, 40), np.arange(40) % 3
    run_of_all = ReferenceBackend().run(network, inputs, label)
    leads = find_leads(network, inputs, run_of_all)
    found = by_step(network, inputs)
    for sample, step in itertools.product(range(40), range(5)):
        second, best = sorted(found[sample, step].tolist())[-2:]
        assert leads.lead[sample, step] == best - second
        assert leads.prediction[sample, step] == found[sample, step].argmax()
    margins = [0, 1, 2, 3] if readout == "count" else [0, 100, 1000, 10_000, 10**7]
    ends = early_exits(network, leads, label, [float(margin) for margin in margins])
    for margin, one in zip(margins, ends, strict=True):
        steps = exits_by_definition(leads.lead, margin)
        right = [leads.prediction[n, step - 1] == label[n] for n, step in enumerate(steps)]
        assert one.units == margin  # readout_scale is 1
        assert one.mean_steps == pytest.approx(np.mean(steps), rel=1e-15)
        assert one.accuracy == np.mean(right)
        assert one.share_by_step == tuple(steps.count(step) / 40 for step in range(1, 6))
    assert ends[0].mean_steps == 1
    assert len({one.mean_steps for one in ends}) >= 3
    if readout == "potential":  # nobody leads by so much
        assert (ends[-1].mean_steps, ends[-1].accuracy) == (5, run_of_all.accuracy)


def test_a_curve_goes_from_the_first_step_to_whole_windows() -> None:
    network = replace(small_network(num_steps=6), readout_scale=0.01)
    inputs, label = sparse_inputs(network, 60), np.arange(60) % 3
    leads = find_leads(network, inputs, ReferenceBackend().run(network, inputs, label))
    curve = early_exits(network, leads, label, None)
    steps = [one.mean_steps for one in curve]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (1, 6)
    assert len(set(steps)) > 5
    by_hand = accuracy_by_step(leads, label)
    assert (curve[0].accuracy, curve[-1].accuracy) == (by_hand[0], by_hand[-1])
    assert [margin_in_units(network, one.margin) for one in curve] == [one.units for one in curve]


@settings(max_examples=30)
@given(
    scale=st.floats(1e-6, 10, allow_nan=False),
    margin=st.floats(0, 1000),
    exact=st.integers(0, 10**6),
)
def test_a_margin_is_the_least_integer_that_reaches_it(
    scale: float, margin: float, exact: int
) -> None:
    network = replace(small_network(), readout_scale=scale)
    units = margin_in_units(network, margin)
    assert units * scale >= margin
    assert units == 0 or (units - 1) * scale < margin
    assert abs(units - Fraction(margin) / Fraction(scale)) <= 2
    assert margin_in_units(network, exact * scale) in (exact, exact - 1)


def test_spikes_are_whole() -> None:
    network = small_network()
    *before, last = network.layers
    counted = replace(last, neurons=replace(last.neurons, threshold=64))
    network = replace(network, layers=(*before, counted), readout="count", readout_scale=0.5)
    assert [margin_in_units(network, one) for one in (0, 0.2, 1, 1.5)] == [0, 1, 1, 2]


def test_what_has_no_classes_or_steps_is_refused() -> None:
    network, reference = small_network(), ReferenceBackend()
    check_early_exit(network, reference, "classification")
    with pytest.raises(NetworkError, match=r"two best classes, and this is a regression with 3"):
        check_early_exit(network, reference, "regression")
    with pytest.raises(NetworkError, match="num_steps is 1; leave it out"):
        check_early_exit(replace(network, num_steps=1), reference, "classification")
    with pytest.raises(
        ComparisonRefusedError, match=r"backend lava-cpu does not give; use the backend"
    ):
        check_early_exit(network, LavaCpuBackend(), "classification")


def test_a_last_step_that_differs_from_the_window_is_found() -> None:
    network = small_network()
    inputs = random_inputs(network, 4)
    found = ReferenceBackend().run(network, inputs)
    with pytest.raises(BackendError, match="not that of the whole window; this is a defect"):
        find_leads(network, inputs, replace(found, output=found.output + 1))


def test_ties_go_to_the_lowest_index_as_predictions_do() -> None:
    leads = Leads(np.array([[0, 5]]), np.array([[1, 2]]))
    (one,) = early_exits(small_network(), leads, np.array([1]), [0])
    assert (one.accuracy, one.mean_steps) == (1, 1)


# The command -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folder")
    write_data(folder / "data.npz")
    write_net(freeze(save_model(folder / "model.pt", seed=0)), folder / "model.net")
    return folder


def simulate(folder: Path, *arguments: object) -> Any:
    json_path = folder / "result.json"
    succeed("simulate", folder / "model.net", "--data", f"npz:{folder / 'data.npz'}",
            "--json", json_path, "--overwrite", *arguments)  # fmt: skip
    return written_json(json_path)


def test_simulate_shows_a_curve_and_writes_it(folder: Path) -> None:
    plain = simulate(folder)
    assert "early_exit" not in plain
    told = simulate(folder, "--early-exit")
    early = told["early_exit"]
    apart = ("seconds", "samples_per_second", "early_exit", "arithmetic", "command")
    assert told.keys() - plain.keys() == {"early_exit"}
    assert all(told[name] == value for name, value in plain.items() if name not in apart)
    assert (early["unit"], early["num_steps"]) == ("logit", 4)
    assert early["accuracy_by_step"][-1] == plain["accuracy"]
    whole = early["exits"][-1]
    assert (whole["accuracy"], whole["mean_steps"]) == (plain["accuracy"], 4)
    assert whole["mean_latency"] == early["result_start"] + 4
    assert early["exits"][0]["mean_steps"] == 1


def test_margins_that_are_given_are_those_that_are_tried(folder: Path) -> None:
    early = simulate(folder, "--early-exit", "0,0.25,1e9")["early_exit"]
    assert [one["margin"] for one in early["exits"]] == [0, 0.25, 1e9]
    assert [one["mean_steps"] for one in early["exits"]][::2] == [1, 4]
    result = succeed("simulate", folder / "model.net", "--data", f"npz:{folder / 'data.npz'}",
                     "--early-exit", "0.5")  # fmt: skip
    assert "margin (logits)" in result.output
    assert "0.5" in result.output


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("1,,2", "'' is no margin: give numbers of 0 or more"),
        ("1,-1", "'-1' is no margin"),
        ("inf", "'inf' is no margin"),
        ("nan", "'nan' is no margin"),
        ("model.net", "'model.net' is no margin"),
    ],
)
def test_what_is_no_margin_is_refused(folder: Path, value: str, reason: str) -> None:
    result = run("simulate", folder / "model.net", f"--early-exit={value}")
    assert result.exit_code == 2
    assert reason in result.output


def test_the_command_refuses_other_backends_before_it_runs(folder: Path) -> None:
    pytest.importorskip("lava.magma")
    result = run("simulate", folder / "model.net", "--data", f"npz:{folder / 'data.npz'}",
                 "--backend", "lava-cpu", "--early-exit")  # fmt: skip
    assert result.exit_code == 2
    assert "which backend lava-cpu does not give" in result.output
