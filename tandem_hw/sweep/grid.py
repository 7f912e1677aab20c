"""The grid of a sweep: which trainings it consists of, and which of them are one and the same.

A training is what ``tandem-hw train`` would do with some arguments. Its identity is the digest of
the settings that these arguments come to, as far as they are not the defaults: so the same training
is found again whatever grid asks for it, and options that come with a later version change none.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tandem_hw.errors import TandemError

#: Digits of a digest by which a training is called.
_NAME_DIGITS: Final = 16
#: The axis of the seeds, over which rows of a table are means.
SEED: Final = "seed"
#: From arguments of ``tandem-hw train`` to the settings that they come to, as plain data. Raises
#: a ``TandemError`` where settings cannot be together.
Parse = Callable[[Sequence[str]], Mapping[str, Any]]


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        arguments: of ``tandem-hw train``, the data set among them, without those that say where.
        settings: all that they come to, by name, as plain data.
        changed: those of the settings that are not the defaults.
        after: the training whose result this one starts from, or None.
    """

    arguments: tuple[str, ...]
    settings: Mapping[str, Any]
    changed: Mapping[str, Any]
    after: Run | None = None

    @property
    def name(self) -> str:
        """By which the training is called: 16 hexadecimal digits of the digest of its settings."""
        said = {"settings": dict(self.changed), "after": self.after and self.after.name}
        text = json.dumps(said, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_NAME_DIGITS]

    @property
    def with_before(self) -> tuple[Run, ...]:
        """The trainings that have to be done first, in their order, and this one."""
        return (*(() if self.after is None else self.after.with_before), self)


@dataclass(frozen=True)
class Choice:
    """A value of an axis.

    Attributes:
        label: what it is called in tables.
        stages: the arguments that it adds, once for each training in a row of which the next one
            starts from the result of the one before.
    """

    label: str
    stages: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Axis:
    """What is varied.

    Attributes:
        name: what it is called in tables.
        choices: the values.
    """

    name: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Point:
    """A combination of choices and the training that it stands for.

    Attributes:
        labels: per axis the label of its choice; the seed, where there is one, among them.
        run: the training; several points may stand for the same one.
    """

    labels: Mapping[str, str]
    run: Run

    @property
    def row(self) -> tuple[tuple[str, str], ...]:
        """The labels but for the seed: points with the same ones are summed up together."""
        return tuple((name, label) for name, label in self.labels.items() if name != SEED)


@dataclass(frozen=True)
class Skipped:
    """A combination of choices that cannot be, and why."""

    labels: Mapping[str, str]
    reason: str


def described(labels: Mapping[str, str]) -> str:
    """Return labels in one line."""
    return ", ".join(f"{name} {label}" for name, label in labels.items()) or "the only run"


def plan(
    base: Sequence[str], axes: Sequence[Axis], parse: Parse, defaults: Mapping[str, Any]
) -> tuple[list[Point], list[Skipped]]:
    """Return all combinations of an axis' choices with those of the others.

    Args:
        base: arguments that all trainings share.
        axes: what is varied; of two that set the same option the one before wins.
        parse: see ``Parse``.
        defaults: the settings that no argument at all comes to.

    Returns:
        What is to be trained, and what cannot be.
    """
    points, skipped = [], []
    for choices in itertools.product(*(axis.choices for axis in axes)):
        labels = {axis.name: choice.label for axis, choice in zip(axes, choices, strict=True)}
        try:
            run: Run | None = None
            for arguments in _stages(base, choices):
                settings = parse(arguments)
                changed = {
                    name: value
                    for name, value in settings.items()
                    if name not in defaults or value != defaults[name]
                }
                run = Run(tuple(arguments), settings, changed, run)
            assert run is not None  # there is one stage at least
        except TandemError as error:
            skipped.append(Skipped(labels, str(error)))
        else:
            points.append(Point(labels, run))
    return points, skipped


def _stages(base: Sequence[str], choices: Sequence[Choice]) -> Iterator[list[str]]:
    """Yield the arguments of one training after another; what has fewer stages stays the same."""
    for stage in range(max((len(choice.stages) for choice in choices), default=1)):
        yield [
            *base,
            *(
                argument
                for choice in reversed(choices)  # of what is given twice the last one counts
                for argument in choice.stages[min(stage, len(choice.stages) - 1)]
            ),
        ]
