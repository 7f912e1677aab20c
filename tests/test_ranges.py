"""Ranges: what lies in them, what is refused in which words, and that the options ask them."""

from __future__ import annotations

import math
from typing import Any

import click
import numpy as np
import pytest

from tandem_hw.cli.convert_options import convert_options
from tandem_hw.cli.options import real_numbers, whole_numbers
from tandem_hw.cli.train_options import train_options
from tandem_hw.errors import DataError, NetworkError
from tandem_hw.learning.spiking_options import PERCENTILES
from tandem_hw.network.fixed_point import (
    DECAY_RANGE,
    INPUT_BITS_RANGE,
    NUM_STEPS_RANGE,
    WEIGHT_BITS_RANGE,
)
from tandem_hw.ranges import NOT_NEGATIVE, POSITIVE, SEEDS, SHARE, RealRange, whole_number
from tandem_hw.training.objective_names import check_objective
from tandem_hw.training.options import BATCH_SIZE_MIN, EPOCHS_MAX, REAL_RANGES, TrainingOptions

LEAST = math.ulp(0.0)
#: What lies in a range, and what does not.
REAL: dict[str, tuple[RealRange, tuple[float, ...], tuple[float, ...]]] = {
    "share": (SHARE, (0, 0.5, math.nextafter(1, 0)), (-LEAST, 1, math.inf, math.nan)),
    "positive": (POSITIVE, (LEAST, 1e300), (0, -1, math.inf, -math.inf, math.nan)),
    "not negative": (NOT_NEGATIVE, (0, LEAST, 1e300), (-LEAST, math.inf, math.nan)),
    "percentile": (PERCENTILES, (LEAST, 100), (0, math.nextafter(100, 101), math.nan)),
}


@pytest.mark.parametrize("name", REAL)
def test_a_real_range_has_its_ends_or_not(name: str) -> None:
    allowed, inside, outside = REAL[name]
    for value in inside:
        allowed.check("the number", value, DataError)
    for value in outside:
        with pytest.raises(DataError, match=rf"^the number is {value}; give {allowed.words}$"):
            allowed.check("the number", value, DataError)


def test_a_whole_number_of_any_type_becomes_a_plain_one() -> None:
    for value in (3, np.int8(3), np.uint64(3), np.array(3)):
        assert type(whole_number("n", value, range(1, 4), DataError)) is int
        assert whole_number("n", value, range(1, 4), DataError) == 3


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, r"^n is 0; allowed are 1 to 3$"),
        (np.int64(4), r"^n is 4; allowed are 1 to 3$"),
        (10**30, r"^n is 10{30}; allowed are 1 to 3$"),
        (2.0, r"^n is 2\.0; allowed are 1 to 3, as a whole number$"),
        ("2", r"^n is '2'; allowed are 1 to 3, as a whole number$"),
        (None, r"^n is None; allowed are 1 to 3, as a whole number$"),
    ],
)
def test_what_is_no_whole_number_of_a_range_is_refused(value: Any, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        whole_number("n", value, range(1, 4), NetworkError)


def test_a_seed_is_refused_where_the_options_of_a_training_are_made() -> None:
    assert TrainingOptions(seed=SEEDS[-1]).seed == SEEDS[-1]
    for seed in (-1, SEEDS[-1] + 1):
        with pytest.raises(DataError, match=rf"^seed is {seed}; allowed are 0 to 4294967295$"):
            TrainingOptions(seed=seed)


def test_a_label_smoothing_is_refused_wherever_an_objective_is_named() -> None:
    check_objective("classification", 0.9)
    with pytest.raises(DataError, match=r"label_smoothing is -0\.1; give a share from 0 to below"):
        check_objective("classification", -0.1)


@click.command()
@train_options
def train(**_: Any) -> None:
    """Have the options of a training."""


@click.command()
@convert_options
def convert(**_: Any) -> None:
    """Have the options of a conversion."""


def ends(kind: object) -> tuple[float | None, float | None, bool, bool]:
    assert isinstance(kind, click.IntRange | click.FloatRange)
    return kind.min, kind.max, kind.min_open, kind.max_open


def test_the_command_line_asks_the_same_ranges() -> None:
    expected: dict[str, tuple[click.Command, range | RealRange]] = {
        "input_bits": (train, INPUT_BITS_RANGE),
        "current_decay": (train, DECAY_RANGE),
        "voltage_decay": (train, DECAY_RANGE),
        "seed": (train, SEEDS),
        "validation": (train, SHARE),
        "label_smoothing": (train, SHARE),
        "weight_decay": (train, REAL_RANGES["weight_decay"]),
        "synop_weight": (train, REAL_RANGES["synop_weight"]),
        "num_steps": (convert, NUM_STEPS_RANGE),
        "percentile": (convert, PERCENTILES),
    }
    for name, (command, allowed) in expected.items():
        (option,) = (one for one in command.params if one.name == name)
        if isinstance(allowed, range):
            assert ends(option.type) == (allowed[0], allowed[-1], False, False), name
        else:
            most = None if allowed.most == math.inf else allowed.most
            opens = (allowed.without_least, most is not None and allowed.without_most)
            assert ends(option.type) == (allowed.least, most, *opens), name
    kinds = {one.name: one.type for one in train.params}
    assert ends(kinds["num_steps"]) == (1, None, False, False)
    assert ends(kinds["epochs"]) == (1, EPOCHS_MAX, False, False)
    assert ends(kinds["batch_size"]) == (BATCH_SIZE_MIN, None, False, False)


def taken(kind: click.IntRange | click.FloatRange, text: str) -> Any:
    """Return what an option of a type makes of what was typed."""
    return kind(text)


def test_an_option_takes_its_range_and_no_more() -> None:
    assert taken(whole_numbers(range(2, 9)), "8") == 8
    with pytest.raises(click.BadParameter, match="9 is not in the range 2<=x<=8"):
        taken(whole_numbers(range(2, 9)), "9")
    assert taken(real_numbers(SHARE), "0") == 0
    with pytest.raises(click.BadParameter, match=r"1\.0 is not in the range 0<=x<1"):
        taken(real_numbers(SHARE), "1")
    with pytest.raises(click.BadParameter, match=r"0\.0 is not in the range x>0"):
        taken(real_numbers(POSITIVE), "0")


@pytest.mark.parametrize("command", [train, convert])
def test_widths_of_weights_have_the_same_range(command: click.Command) -> None:
    (option,) = [one for one in command.params if one.name == "weight_bits"]
    for bits in WEIGHT_BITS_RANGE:
        assert option.type.convert(str(bits), option, None) == bits
        assert option.type.convert(f"{bits},8", option, None) == (bits, 8)
    for bits in (WEIGHT_BITS_RANGE[0] - 1, WEIGHT_BITS_RANGE[-1] + 1):
        for text in (str(bits), f"{bits},8", f"conv1={bits}"):
            with pytest.raises(click.BadParameter, match=r"is not in the range|allowed are 2 to 8"):
                option.type.convert(text, option, None)
