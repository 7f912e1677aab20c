from __future__ import annotations

import hashlib
import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from tandem_hw.cli import main
from tandem_hw.conversion.convert import convert
from tandem_hw.data.datasets import load_dataset
from tandem_hw.data.event_data import EventDataset
from tandem_hw.data.images import read_digits
from tandem_hw.data.moving_digits import INSTANTS, moving_digits
from tandem_hw.errors import DataError
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import write_net
from tandem_hw.learning.checkpoint import Checkpoint, save_checkpoint

SENSOR = 24


def load(num_steps: int, input_bits: int, **keywords: Any) -> EventDataset:
    data = load_dataset("moving-digits", num_steps=num_steps, input_bits=input_bits, **keywords)
    assert isinstance(data, EventDataset)
    return data


@pytest.fixture(scope="module")
def seven() -> EventDataset:
    return moving_digits(7, 4)


def test_digits_become_events_of_two_polarities(seven: EventDataset) -> None:
    assert (seven.name, seven.classes, seven.num_steps) == ("moving-digits", 10, 7)
    assert seven.shape == (2, SENSOR, SENSOR)
    assert seven.x_train.shape == (4 * 1438, 7, 2, SENSOR, SENSOR)
    assert seven.x_test.shape == (359, 7, 2, SENSOR, SENSOR)
    assert seven.x_train.dtype == np.uint8
    assert seven.clipped == 0
    for channel in (0, 1):  # some hundred events in each step of each sample
        assert seven.x_test[:, :, channel].sum((2, 3)).min() > 20


def test_the_split_is_that_of_the_digits(seven: EventDataset) -> None:
    digits = load_dataset("digits")
    assert np.array_equal(seven.y_train, np.tile(digits.y_train, 4))
    assert np.array_equal(seven.y_test, digits.y_test)


def test_a_training_digit_is_recorded_from_several_starts(seven: EventDataset) -> None:
    recordings = seven.x_train.reshape(4, 1438, -1)
    for other in range(1, 4):
        assert (recordings[0] != recordings[other]).any(1).mean() > 0.95
    events = recordings.sum(2, dtype=np.int64)
    assert np.allclose(events, events.mean(0), rtol=0.2)


def test_the_test_part_alone_is_the_same_and_needs_no_tonic(
    seven: EventDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tonic", None)
    test = load(7, 4, need="test")
    assert test.x_train.shape == (0, 7, 2, SENSOR, SENSOR)
    assert np.array_equal(test.x_test, seven.x_test)


def test_every_machine_makes_the_same_events(seven: EventDataset) -> None:
    digest = hashlib.sha256(seven.x_test.tobytes()).hexdigest()
    assert digest == "8576989dc3e5828e60ebfcde7ed1d536f5bca08146306eeee27b74c86351ee52"


def test_what_rises_falls_again_where_a_digit_ends_where_it_began(seven: EventDataset) -> None:
    fallen, risen = seven.x_train.sum(1, dtype=np.int64).transpose(1, 0, 2, 3)
    assert np.array_equal(fallen, risen)


def test_bins_divide_the_same_events() -> None:
    whole = load(1, 8, need="test")
    assert whole.clipped == 0
    for num_steps in (2, 15, INSTANTS):
        parts = load(num_steps, 8, need="test")
        assert np.array_equal(parts.x_test.sum(1), whole.x_test[:, 0])
        assert parts.x_test.sum((0, 2, 3, 4)).min() > 0


def test_another_seed_moves_the_starts_alone() -> None:
    first, second = moving_digits(3, 4, need="test"), moving_digits(3, 4, need="test", seed=1)
    assert np.array_equal(first.y_test, second.y_test)
    moved = (first.x_test != second.x_test).any((1, 2, 3, 4))
    assert moved.mean() > 0.9


def test_full_counts_are_clipped_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    narrow, wide = load(2, 1, need="test"), load(2, 8, need="test")
    assert wide.clipped == 0
    assert np.array_equal(narrow.x_test, np.minimum(wide.x_test, 1))
    lost = int(wide.x_test.sum(dtype=np.int64) - narrow.x_test.sum(dtype=np.int64))
    assert narrow.clipped == lost > 0
    assert f"moving-digits: {lost} of {wide.x_test.sum()} events" in caplog.text


# By the definition, one pixel and one instant at a time -------------------------------------------


def intensity(digit: npt.NDArray[Any], y: int, x: int) -> int:
    """Intensity, in 1/64, at a place in quarters of a sensor pixel from the digit's first pixel."""
    total = 64
    for row in range(8):
        for column in range(8):
            tent = max(8 - abs(y - 8 * row), 0) * max(8 - abs(x - 8 * column), 0)
            total += int(digit[row, column]) * tent
    return total


def path() -> list[tuple[int, int]]:
    """Where the digit is at every instant, in quarters of a sensor pixel."""
    down_right = [(k, math.ceil(k / 2)) for k in range(25)]
    up_right = [(24 - k, 12 + math.ceil(k / 2)) for k in range(1, 25)]
    left = [(0, 24 - k) for k in range(1, 25)]
    return down_right + up_right + left


def test_a_pixel_sends_an_event_for_every_step_of_its_log_intensity(seven: EventDataset) -> None:
    digits, _, _, test = read_digits()
    starts = np.random.RandomState(0).randint(-4, 5, (4, len(digits), 2))[0]
    places = path()
    assert len(places) == INSTANTS + 1
    for sample, (row, column) in enumerate([(11, 8), (5, 12), (17, 16)]):
        digit, (dy, dx) = digits[test[sample]], starts[test[sample]]
        # The digit's centre on the sensor's at the middle of the way.
        first_pixel = (SENSOR * 4 - 1) // 2 - 28 - 12
        levels = []
        for y, x in places:
            light = intensity(
                digit, row * 4 + int(dy) - first_pixel - y, column * 4 + int(dx) - first_pixel - x
            )
            levels.append(math.floor(math.log(light / 64) / math.log(1.4)))
        counts = np.zeros((7, 2), int)
        for instant, (before, after) in enumerate(itertools.pairwise(levels)):
            counts[instant * 7 // INSTANTS, int(after > before)] += abs(after - before)
        assert counts.sum() > 0
        assert seven.x_test[sample, :, :, row, column].tolist() == counts.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((73, 4, 0), "num_steps is 73; a recording has 72 instants"),
        ((0, 4, 0), "num_steps is 0; allowed are 1 to 4096"),
        ((7, 9, 0), "input_bits is 9; allowed are 1 to 8"),
        ((7, 4, -1), "seed is -1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: tuple[int, int, int], message: str) -> None:
    num_steps, input_bits, seed = arguments
    with pytest.raises(DataError, match=message):
        moving_digits(num_steps, input_bits, seed=seed)


def test_the_commands_take_moving_digits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = convert(
        nn.Sequential(nn.Conv2d(2, 4, 3, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)),
        input_shape=(2, SENSOR, SENSOR),
        num_steps=5,
        encoding="events",
    )
    save_checkpoint(Checkpoint(model, "moving-digits", []), tmp_path / "m.pt")
    write_net(freeze(model.eval()), tmp_path / "m.net")
    arguments = ["verify", "m.net", "--data", "moving-digits", "--backends", "reference"]
    arguments += ["--checkpoint", "m.pt", "--samples", "20", "--json", "m.json"]
    result = CliRunner().invoke(
        main, [str(tmp_path / name) if name.startswith("m.") else name for name in arguments]
    )
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "m.json").read_text())
    assert report["match"] is True
    assert report["samples"] == 20
    assert report["layers"][0]["spikes"] > 100
