"""What follows from a row of ``ENCODINGS`` holds everywhere, and for a new row as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast, get_args

import click
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tandem_hw import convert, freeze
from tandem_hw.chip.timing import board_period
from tandem_hw.cli.train import command as train_command
from tandem_hw.conformance import oracle
from tandem_hw.data.dataset import ImageDataset, Labels
from tandem_hw.data.event_data import EventDataset
from tandem_hw.export.nir_writer import step_inputs
from tandem_hw.network import choices
from tandem_hw.network.choices import (
    ENCODINGS,
    Encoding,
    EncodingRule,
    Reset,
    default_encoding,
    encodings_for,
)
from tandem_hw.network.input_spec import InputSpec
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.loihi2.calibration import choose_marker
from tandem_hw.sim.loihi2.schedule import Schedule, repeated_order
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.networks import networks, random_inputs, small_network

#: Rules that no encoding has: silent in the first step, at the end, and in between.
NEW_RULES = {
    "last_step": EncodingRule(lambda num_steps: range(num_steps - 1, num_steps)),
    "first_half": EncodingRule(lambda num_steps: range((num_steps + 1) // 2)),
    "every_second_step": EncodingRule(lambda num_steps: range(0, num_steps, 2)),
}
NEW = cast(Encoding, "new")
OLD: tuple[Encoding, ...] = ("first_step", "constant", "events")


@contextmanager
def new_encoding(
    rule: EncodingRule, encodings: Mapping[Encoding, EncodingRule] = ENCODINGS
) -> Iterator[None]:
    """Add a row to ``ENCODINGS``, and nothing else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(encodings, NEW, rule)
        yield


def with_encoding(network: QuantizedNetwork, encoding: Encoding) -> QuantizedNetwork:
    return replace(network, input=replace(network.input, encoding=encoding))


def stepwise(rule: EncodingRule, images: npt.NDArray[np.uint8], num_steps: int) -> npt.NDArray[Any]:
    """Return as events what images send by a rule, which the oracle knows nothing of."""
    events = np.zeros((len(images), num_steps, *images.shape[1:]), np.uint8)
    for step in rule.sent_steps(num_steps):
        events[:, step] = images
    return events


@pytest.mark.parametrize("encoding", get_args(Encoding))
@pytest.mark.parametrize("num_steps", [1, 2, 3, 8])
def test_every_encoding_has_a_rule_that_keeps_to_the_window(
    encoding: Encoding, num_steps: int
) -> None:
    assert tuple(ENCODINGS) == get_args(Encoding)
    rule = ENCODINGS[encoding]
    steps = list(rule.sent_steps(num_steps))
    assert steps
    assert steps == sorted(set(steps) & set(range(num_steps)))
    assert not rule.takes_events or steps == list(range(num_steps))


@pytest.mark.parametrize("encoding", get_args(Encoding))
@pytest.mark.parametrize("num_steps", [1, 3])
def test_frames_and_numbers_of_every_encoding_are_the_oracles(
    encoding: Encoding, num_steps: int
) -> None:
    network = replace(small_network(num_steps=num_steps), num_steps=num_steps)
    network = with_encoding(network, encoding)
    spec, inputs = network.input, random_inputs(network, samples=4)
    inputs[0] = 0
    trains = np.array(
        [oracle.input_train(network, sample.reshape(-1).tolist()) for sample in inputs]
    ).reshape(4, num_steps, *spec.shape)
    assert trains.any()
    assert inputs.shape[1:] == spec.sample_shape(num_steps)

    frames = spec.frames(inputs, num_steps)
    silent = num_steps - frames.shape[1]
    padding = [(0, 0), (0, silent), *[(0, 0)] * len(spec.shape)]
    np.testing.assert_array_equal(np.pad(frames, padding), trains)
    steps = list(spec.sent_steps(num_steps))
    assert frames.shape[1] == steps[-1] + 1
    if steps == list(range(frames.shape[1])):
        assert np.shares_memory(frames, inputs)  # nothing is unrolled in memory
    np.testing.assert_array_equal(step_inputs(network, inputs), trains.swapaxes(0, 1))

    np.testing.assert_array_equal(spec.spikes(inputs, num_steps), (trains > 0).sum(axis=1))
    sent = inputs.sum(axis=1) if spec.takes_events else inputs.astype(np.int64)
    np.testing.assert_array_equal(sent * spec.sends(num_steps), trains.sum(axis=1))


def test_frames_between_silent_steps_are_where_the_encoding_sends() -> None:
    with new_encoding(EncodingRule(lambda num_steps: range(1, num_steps, 2))):
        spec = InputSpec((2,), 4, 1 / 15, NEW)
        frames = spec.frames(np.array([[3, 0], [1, 2]], np.uint8), 5)
    assert frames.dtype == np.uint8
    assert frames.tolist() == [
        [[0, 0], [3, 0], [0, 0], [3, 0]],
        [[0, 0], [1, 2], [0, 0], [1, 2]],
    ]


@pytest.mark.parametrize("rule", NEW_RULES.values(), ids=NEW_RULES)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(drawn=st.one_of(networks(), networks(overflowing=True)), seed=st.integers(0, 99))
def test_a_new_row_alone_runs_in_the_reference_as_the_oracle_says(
    rule: EncodingRule, drawn: QuantizedNetwork, seed: int
) -> None:
    told = with_encoding(drawn, "events")
    with new_encoding(rule):
        network = with_encoding(drawn, NEW)
        inputs = random_inputs(network, seed=seed)
        found = ReferenceBackend().run(network, inputs, keep_final_state=True)
        bounds = network.bounds
    events = stepwise(rule, inputs, network.num_steps)
    expected = oracle.record(told, events)
    for name, counts in expected.counts.items():
        np.testing.assert_array_equal(found.counts[name], counts, err_msg=name)
        np.testing.assert_array_equal(found.final_state[name], expected.final_state[name])
    np.testing.assert_array_equal(found.output, expected.output)
    assert dict(found.peak) == dict(expected.peak)
    assert {name: synops.tolist() for name, synops in found.synops.items()} == oracle.synops(
        told, events
    )
    assert all(
        expected.peak[layer.name] <= max(-bound.low, bound.high)
        for layer, bound in zip(network, bounds, strict=True)
        if bound.proven
    )


@pytest.mark.parametrize("reset", get_args(Reset))
@pytest.mark.parametrize("rule", NEW_RULES.values(), ids=NEW_RULES)
def test_a_new_row_alone_trains_on_what_the_oracle_says(rule: EncodingRule, reset: Reset) -> None:
    torch.manual_seed(0)
    ordinary = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3)
    )
    images = np.random.default_rng(0).integers(0, 16, (6, 1, 6, 6)).astype(np.uint8)
    with new_encoding(rule):
        model = convert(
            ordinary,
            input_shape=(1, 6, 6),
            num_steps=5,
            reset=reset,
            encoding=NEW,
            activation_max=0.5,
        )
        logits = model(torch.from_numpy(images))
        logits.sum().backward()
        recorded, network = model.record(torch.from_numpy(images)), freeze(model)
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert any(bool(gradient.any()) for gradient in gradients)
    expected = oracle.record(with_encoding(network, "events"), stepwise(rule, images, 5))
    assert all(counts.any() for counts in expected.counts.values())
    for name, counts in expected.counts.items():
        np.testing.assert_array_equal(recorded.counts[name].numpy(), counts, err_msg=name)
    assert recorded.potential is not None
    np.testing.assert_array_equal(recorded.potential.numpy(), expected.output)


def test_defaults_suit_the_reset_and_the_samples() -> None:
    assert [default_encoding(reset) for reset in ("subtract", "zero")] == ["first_step", "constant"]
    assert {default_encoding(reset, events=True) for reset in get_args(Reset)} == {"events"}


def test_a_data_set_says_which_encoding_suits_it() -> None:
    images, labels = np.ones((4, 1, 2, 2), np.uint8), Labels(np.arange(4) % 2, classes=2)
    of_images = ImageDataset("images", images, labels, images, labels)
    assert [of_images.default_encoding(reset) for reset in ("subtract", "zero")] == [
        "first_step",
        "constant",
    ]
    counts = np.ones((4, 3, 1, 2, 2), np.uint8)
    of_events = EventDataset("events", counts, labels, counts, labels, input_bits=1, clipped=0)
    assert {of_events.default_encoding(reset) for reset in get_args(Reset)} == {"events"}


def test_the_help_says_which_encoding_is_the_default() -> None:
    (option,) = [one for one in train_command.params if one.name == "encoding"]
    assert isinstance(option, click.Option)
    assert option.help == (
        "How the input is sent [default: events for event data, otherwise first_step with "
        "reset subtract, constant with reset zero]."
    )


def test_a_marker_has_no_two_frames_in_a_row_where_an_encoding_sends_none() -> None:
    with new_encoding(NEW_RULES["every_second_step"]):
        network = with_encoding(small_network(), NEW)
        schedule = Schedule(network.depth, 4, board_period(network), repeated_order(3))
        frames = network.input.frames(random_inputs(network), 4)
        sent = np.flatnonzero(choose_marker(network, frames, schedule).pattern)
    assert len(sent) > 1
    assert np.diff(sent).min() > 1


def test_messages_name_all_encodings_of_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "ENCODINGS", {name: ENCODINGS[name] for name in OLD})
    assert encodings_for(events=True) == '"events"'
    assert encodings_for(events=False) == '"first_step" or "constant"'
    with new_encoding(EncodingRule(range), choices.ENCODINGS):
        assert encodings_for(events=False) == '"first_step", "constant" or "new"'
