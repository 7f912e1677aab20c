"""The grid: all combinations, what cannot be, and which trainings are the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem_hw.errors import DataError
from tandem_hw.sweep.axes import read_variants, read_vary, seeds
from tandem_hw.sweep.grid import Axis, Choice, Point, Skipped, described, plan

DEFAULTS = {"a": "1", "b": "1", "seed": "0", "later": None}
OPTIONS = {"a": False, "b": False, "seed": False}


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """Take pairs of an option and a value; of what is given twice the last one counts."""
    settings: dict[str, Any] = dict(DEFAULTS)
    pairs = zip(arguments[::2], arguments[1::2], strict=True)
    settings |= {name.removeprefix("--"): value for name, value in pairs}
    if settings["a"] == settings["b"] == "9":
        raise DataError("two nines")
    return settings


def planned(*axes: Axis, base: Sequence[str] = ()) -> tuple[list[Point], list[Skipped]]:
    return plan(base, axes, parse, DEFAULTS)


def test_every_combination_is_a_point_and_what_cannot_be_is_skipped() -> None:
    points, skipped = planned(read_vary("a=2,9", OPTIONS), read_vary("b=9,3", OPTIONS))
    assert [point.labels for point in points] == [
        {"a": "2", "b": "9"},
        {"a": "2", "b": "3"},
        {"a": "9", "b": "3"},
    ]
    assert [(point.run.settings["a"], point.run.settings["b"]) for point in points] == [
        ("2", "9"), ("2", "3"), ("9", "3")
    ]  # fmt: skip
    assert skipped == [Skipped({"a": "9", "b": "9"}, "two nines")]
    assert described(skipped[0].labels) == "a 9, b 9"


def test_without_axes_there_is_one_training() -> None:
    (point,), skipped = planned(base=["--a", "5"])
    assert (point.labels, skipped, point.run.arguments) == ({}, [], ("--a", "5"))
    assert described(point.labels) == "the only run"


def test_a_training_is_told_by_its_settings_and_not_by_how_they_were_given() -> None:
    (one, other, same), _ = planned(read_vary("a=2,3,1", OPTIONS))
    assert len({one.run.name, other.run.name, same.run.name}) == 3
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in (one.run.name, other.run.name))
    (again,), _ = planned(base=["--a", "3", "--b", "1", "--a", "2"])
    assert again.run.name == one.run.name
    (plain,), _ = planned()
    assert plain.run.name == same.run.name
    (later,), _ = plan([], [], lambda _: {**DEFAULTS, "new": 7}, {**DEFAULTS, "new": 7})
    assert later.run.name == plain.run.name  # a later version's option has its default


def test_of_two_axes_that_set_one_option_the_first_wins() -> None:
    variants = read_variants(["fixed=--b 7", "free="])
    points, _ = planned(variants, read_vary("b=2,3", OPTIONS))
    assert [point.run.settings["b"] for point in points] == ["7", "7", "2", "3"]
    assert points[0].run.name == points[1].run.name


def test_a_training_that_starts_from_another_is_another() -> None:
    variants = read_variants(["tuned=--a 2 then --a 3", "fresh=--a 3", "first=--a 2"])
    points, _ = planned(variants, read_vary("b=4,5", OPTIONS), seeds(2, 0))
    assert len(points) == 12
    tuned, fresh, first = (points[index] for index in (0, 4, 8))
    assert tuned.labels == {"variant": "tuned", "b": "4", "seed": "0"}
    before = tuned.run.after
    assert before is not None
    assert before == first.run
    assert tuned.run.with_before == (before, tuned.run)
    assert tuned.run.settings == fresh.run.settings
    assert tuned.run.name != fresh.run.name
    assert before.settings == {**DEFAULTS, "a": "2", "b": "4"}
    assert tuned.run.arguments == ("--seed", "0", "--b", "4", "--a", "3")
    assert {point.row for point in points[:2]} == {(("variant", "tuned"), ("b", "4"))}


def test_a_first_training_that_cannot_be_is_skipped_with_what_follows() -> None:
    points, skipped = planned(read_variants(["bad=--a 9 --b 9 then --a 1", "good="]))
    assert [point.labels["variant"] for point in points] == ["good"]
    assert [one.reason for one in skipped] == ["two nines"]


def test_what_has_fewer_stages_is_the_same_in_all() -> None:
    axes = [
        Axis("x", (Choice("x", (("--a", "1"), ("--a", "2"), ("--a", "3"))),)),
        Axis("y", (Choice("y", (("--b", "4"), ("--b", "5"))),)),
    ]
    (point,), _ = planned(*axes)
    stages = [(run.settings["a"], run.settings["b"]) for run in point.run.with_before]
    assert stages == [("1", "4"), ("2", "5"), ("3", "5")]
