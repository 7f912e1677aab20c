"""What is varied, as it is written on the command line."""

from __future__ import annotations

import pytest

from tandem_hw.errors import TandemError
from tandem_hw.sweep.axes import read_variants, read_vary, seeds
from tandem_hw.sweep.grid import Axis, Choice

OPTIONS = {"num-steps": False, "weight-bits": False, "learn-thresholds": True, "out": False}


@pytest.mark.parametrize(
    ("text", "name", "choices"),
    [
        ("num-steps=2,4", "num-steps", [("2", "--num-steps 2"), ("4", "--num-steps 4")]),
        ("--num_steps= 2 , 4", "num-steps", [("2", "--num-steps 2"), ("4", "--num-steps 4")]),
        (
            "weight-bits=8;8,4,8",
            "weight-bits",
            [("8", "--weight-bits 8"), ("8,4,8", "--weight-bits 8,4,8")],
        ),
        (
            "learn-thresholds=no,yes",
            "learn-thresholds",
            [("no", ""), ("yes", "--learn-thresholds")],
        ),
    ],
)
def test_an_option_and_its_values(text: str, name: str, choices: list[tuple[str, str]]) -> None:
    wanted = tuple(Choice(label, (tuple(words.split()),)) for label, words in choices)
    assert read_vary(text, OPTIONS) == Axis(name, wanted)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("num-steps", r'--vary "num-steps" has no values; give --vary num-steps=2,4,7'),
        ("num-steps=", "has no values"),
        ("steps=2", r'"steps" is no option of train that can be varied: num-steps, weight-bits'),
        ("out=a,b", r'"out" is no option of train that can be varied'),
        ("num-steps=2,,4", "a value is empty or given twice"),
        ("num-steps=2,4,2", "a value is empty or given twice"),
        ("learn-thresholds=1", r'"1" is no value of it; give no, yes or both'),
    ],
)
def test_what_cannot_be_varied_is_refused(text: str, reason: str) -> None:
    with pytest.raises(TandemError, match=reason):
        read_vary(text, OPTIONS)


def test_variants_have_a_name_and_options_of_one_training_or_several() -> None:
    axis = read_variants(
        ["none=", "both= --learn-thresholds --init 'my net.pt'", "tuned=--lr 1 then --lr 2 then"]
    )
    assert axis == Axis(
        "variant",
        (
            Choice("none", ((),)),
            Choice("both", (("--learn-thresholds", "--init", "my net.pt"),)),
            Choice("tuned", (("--lr", "1"), ("--lr", "2"), ())),
        ),
    )


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["--weight-bits 4"], "has no name; give a name, =, and options of train"),
        (["--weight-bits=4"], "has no name"),
        (["=--weight-bits 4"], "has no name"),
        (["a='--weight-bits 4"], r"cannot be read \(No closing quotation\)"),
        (["a=", "b=", "a=--x"], "two have one name; there are a, b, a"),
    ],
)
def test_what_is_no_variant_is_refused(texts: list[str], reason: str) -> None:
    with pytest.raises(TandemError, match=reason):
        read_variants(texts)


def test_seeds_follow_each_other() -> None:
    assert seeds(2, 5) == Axis(
        "seed", (Choice("5", (("--seed", "5"),)), Choice("6", (("--seed", "6"),)))
    )
