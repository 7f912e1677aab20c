"""What a field may be: what keeps a rule, what does not, and in which words it is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from tandem_hw.errors import ConversionError
from tandem_hw.learning.saved.field_rules import (
    TEXT,
    TRUTH,
    Rule,
    Rules,
    check_fields,
    is_real,
    of_type,
    one_of,
    optional,
    or_none,
    real,
    shown,
    whole,
    whole_numbers,
)
from tandem_hw.ranges import SHARE

WHOLE = whole(range(2, 9))
AXES = whole_numbers(range(1, 100), range(1, 3))
#: A rule, what keeps it, and what does not.
RULES: dict[str, tuple[Rule, tuple[Any, ...], tuple[Any, ...]]] = {
    "whole": (
        WHOLE,
        (2, 8, np.int64(3)),
        (1, 9, True, 2.0, "2", None, math.nan, 1 << 1200, torch.tensor(3), [2], np.bool_(True)),
    ),
    "whole numbers": (
        AXES,
        ((1,), [99, 1], (np.int16(5), 6)),
        ((), (1, 2, 3), (0,), (100, 1), (1.0,), (True,), 5, "12", {1: 1}, torch.ones(2), None),
    ),
    "real": (
        real(SHARE),
        (0, 0.5, np.float32(0.25)),
        (1, -0.1, math.nan, math.inf, "0", False, None, torch.tensor(0.5), 1 << 1200, [0.5]),
    ),
    "one of": (one_of("a", "b"), ("a", "b"), ("c", "", None, 3, ["a"], torch.ones(2))),
    "truth": (TRUTH, (True, False), (0, 1, "True", None, torch.tensor(True))),
    "text": (TEXT, ("", "x"), (None, 3, b"x")),
    "type": (of_type((list, tuple), "several"), ([], ()), ({}, "x", None)),
    "or none": (or_none(WHOLE), (None, 2), (1, "x")),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_kept_or_not(name: str) -> None:
    rule, kept, broken = RULES[name]
    assert all(rule.fits(value) is True for value in kept)
    assert not any(rule.fits(value) for value in broken)
    for value in kept:
        check_fields({"x": value}, {"x": rule})
    for value in broken:
        with pytest.raises(ConversionError, match=r"the x of it is .*; allowed are ") as caught:
            check_fields({"x": value}, {"x": rule}, " of it")
        assert str(caught.value).endswith(f"; allowed are {rule.words}")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (WHOLE, "2 to 8, as a whole number"),
        (or_none(WHOLE), "2 to 8, as a whole number, or None"),
        (AXES, "numbers from 1 to 99, 1 to 2 of them"),
        (real(SHARE), "a share from 0 to below 1"),
        (one_of("a", "b"), "a, b"),
        (TRUTH, "True and False"),
    ],
)
def test_rules_say_what_is_allowed(rule: Rule, words: str) -> None:
    assert rule.words == words


FIELDS: Rules = {"a": WHOLE, "b": optional(TEXT)}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({}, "the a of layer 3 is missing"),
        ({"b": "x"}, "the a of layer 3 is missing"),
        ({"a": 2, "c": 1}, "the 'c' of layer 3 is not known"),
        ({"a": 2, None: 1}, "the None of layer 3 is not known"),
        ({"a": 2, "b": 1}, "the b of layer 3 is 1; allowed are texts"),
        ([("a", 2)], r"the fields of layer 3 are \[a tuple of 2\]; names with values are needed"),
        (None, "the fields of layer 3 are None; names"),
        (torch.ones(2), "the fields of layer 3 are a Tensor; names"),
    ],
)
def test_fields_that_are_missing_unknown_or_wrong_are_named(found: Any, message: str) -> None:
    check_fields({"a": 2}, FIELDS)
    check_fields({"a": 2, "b": "x"}, FIELDS)
    with pytest.raises(ConversionError, match=message):
        check_fields(found, FIELDS, " of layer 3")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *(
            (None, "None"),
            (3, "3"),
            (True, "True"),
            (0.5, "0.5"),
            ("x", "'x'"),
            ("\x1b", r"'\x1b'"),
        ),
        ("x" * 99, f"'{'x' * 59}…"),
        (1 << 1200, "a number of 1201 bits"),
        *(((), "a tuple of 0"), ((1, "x"), "(1, 'x')"), ([1, None], "[1, None]")),
        *(([1] * 5, "a list of 5"), ([[1]], "[a list of 1]"), ({"a": 1}, "a dict of 1")),
        *((torch.ones(2), "a Tensor"), (b"x", "a bytes")),
    ],
)
def test_values_are_shown_shortly(value: Any, text: str) -> None:
    assert shown(value) == text


def test_a_list_that_holds_itself_is_shown() -> None:
    found: list[Any] = []
    found.append(found)
    assert shown(found) == "[a list of 1]"


def test_real_numbers_are_those_of_floating_point() -> None:
    assert all(map(is_real, (0, -1.5, math.inf, math.nan, np.float64(1), 1 << 1000)))
    assert not any(map(is_real, (True, "1", None, 1j, 1 << 1100, torch.tensor(1.0))))
