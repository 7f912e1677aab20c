"""What a sweep varies, as it is written on the command line.

--vary num-steps=2,4,7                    an option and its values
--vary 'weight-bits=8;4;8,4,4,8'          values that hold commas: semicolons between them
--vary learn-thresholds=no,yes            an option that takes no value
--variant 'both=--learn-thresholds --initial-potential 0.5'   a name and any options
--variant '0 from T-1=--firing-delay phased then --firing-delay 0'   one training after another
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from tandem_hw.errors import TandemError
from tandem_hw.sweep.grid import SEED, Axis, Choice

#: The axis of the variants.
VARIANT: Final = "variant"
#: Between the options of one training and those of the next, which starts from its result.
_THEN: Final = "then"
#: What is said of an option that takes no value.
_WITH_FLAG: Final[Mapping[str, bool]] = {"yes": True, "no": False}
#: Options of ``train`` that say where a training is and how it is shown, not what it is.
NOT_VARIED: Final = ("out", "resume", "overwrite", "verbose", "log", "help", "config")


def read_vary(text: str, options: Mapping[str, bool]) -> Axis:
    """Return the axis of an option.

    Args:
        text: NAME=VALUE,VALUE or NAME=VALUE;VALUE.
        options: of ``tandem-hw train``, by name without dashes in front; whether they are flags.

    Raises:
        TandemError: it is of another form, names no option, or a value twice.
    """
    name, separator, values_text = text.partition("=")
    name = name.strip().removeprefix("--").replace("_", "-")
    if not separator or not values_text.strip():
        raise TandemError(f'--vary "{text}" has no values; give --vary num-steps=2,4,7')
    if name not in options or name in NOT_VARIED:
        known = ", ".join(one for one in options if one not in NOT_VARIED)
        raise TandemError(f'--vary: "{name}" is no option of train that can be varied: {known}')
    values = [one.strip() for one in values_text.split(";" if ";" in values_text else ",")]
    if not all(values) or len(set(values)) < len(values):
        raise TandemError(f'--vary "{text}": a value is empty or given twice')
    return Axis(name, tuple(Choice(one, (_arguments(name, one, options[name]),)) for one in values))


def _arguments(name: str, value: str, is_flag: bool) -> tuple[str, ...]:
    if not is_flag:
        return (f"--{name}", value)
    if value not in _WITH_FLAG:
        raise TandemError(f'--vary {name}: "{value}" is no value of it; give no, yes or both')
    return (f"--{name}",) if _WITH_FLAG[value] else ()


def read_variants(texts: Sequence[str]) -> Axis:
    """Return the axis of variants.

    Args:
        texts: NAME=OPTIONS, or NAME=OPTIONS then OPTIONS; at least one.

    Raises:
        TandemError: one is of another form, or two have one name.
    """
    choices = [_variant(text) for text in texts]
    names = [choice.label for choice in choices]
    if len(set(names)) < len(names):
        raise TandemError(f"--variant: two have one name; there are {', '.join(names)}")
    return Axis(VARIANT, tuple(choices))


def _variant(text: str) -> Choice:
    name, separator, options = text.partition("=")
    if not separator or not name.strip() or name.strip().startswith("-"):
        raise TandemError(
            f'--variant "{text}" has no name; give a name, =, and options of train: '
            f"--variant 'few bits=--weight-bits 4'"
        )
    stages: list[list[str]] = [[]]
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise TandemError(f'--variant "{text}" cannot be read ({error})') from error
    for word in words:
        if word == _THEN:
            stages.append([])
        else:
            stages[-1].append(word)
    return Choice(name.strip(), tuple(map(tuple, stages)))


def seeds(number: int, first: int) -> Axis:
    """Return the axis of seeds that follow each other.

    Args:
        number: how many.
        first: the least.
    """
    values = [str(first + index) for index in range(number)]
    return Axis(SEED, tuple(Choice(one, ((f"--{SEED}", one),)) for one in values))
