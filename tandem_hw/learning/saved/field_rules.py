"""What a field of saved data may be: rules, and the one function that asks them.

A file can hold anything in the place of anything: a text for a number, a number no network has, a
tensor. A table says for each field what it may be; ``check_fields`` compares.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Final

from tandem_hw.errors import ConversionError
from tandem_hw.ranges import RealRange

#: Characters of a value that a message shows.
_SHOWN_LENGTH: Final = 60
#: Members of a tuple that a message shows.
_SHOWN_ITEMS: Final = 4
#: Bits of a number that a message shows; Python itself writes no number of any length.
_SHOWN_BITS: Final = 128
#: Larger whole numbers are no floating-point number.
_REAL_MAX: Final = sys.float_info.max


@dataclass(frozen=True)
class Rule:
    """What a field may be.

    Attributes:
        words: what is allowed, for messages.
        fits: whether a value is, which may be of any type.
        is_needed: whether the field has to be there.
    """

    words: str
    fits: Callable[[Any], bool]
    is_needed: bool = True


Rules = Mapping[str, Rule]


def whole(allowed: range) -> Rule:
    """Return the rule of a whole number, which a truth value is none of."""
    return Rule(f"{allowed[0]} to {allowed[-1]}, as a whole number", lambda one: _in(one, allowed))


def whole_numbers(allowed: range, lengths: range) -> Rule:
    """Return the rule of several whole numbers, as a tuple or a list.

    Args:
        allowed: where each must lie.
        lengths: how many there may be.
    """
    return Rule(
        f"numbers from {allowed[0]} to {allowed[-1]}, {lengths[0]} to {lengths[-1]} of them",
        lambda found: (
            isinstance(found, list | tuple)
            and len(found) in lengths
            and all(_in(one, allowed) for one in found)
        ),
    )


def real(allowed: RealRange) -> Rule:
    """Return the rule of a real number."""
    return Rule(allowed.words, lambda one: is_real(one) and one in allowed)


def one_of(*texts: str) -> Rule:
    """Return the rule of a text among some."""
    return Rule(", ".join(texts), lambda one: isinstance(one, str) and one in texts)


def of_type(kind: type[Any] | tuple[type[Any], ...], words: str) -> Rule:
    """Return the rule of any value of a type, or of one of some types."""
    return Rule(words, lambda one: isinstance(one, kind))


def or_none(rule: Rule) -> Rule:
    """Return a rule that None keeps as well."""
    return replace(rule, words=f"{rule.words}, or None", fits=lambda x: x is None or rule.fits(x))


def optional(rule: Rule) -> Rule:
    """Return the rule of a field that may be missing."""
    return replace(rule, is_needed=False)


TRUTH: Final = of_type(bool, "True and False")
TEXT: Final = of_type(str, "texts")


def is_real(value: Any) -> bool:
    """Whether a value is a real number that floating point has, be it infinite or no number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return not isinstance(value, Integral) or abs(int(value)) <= _REAL_MAX


def _in(value: Any, allowed: range) -> bool:
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    return is_whole and int(value) in allowed


def check_fields(found: Any, rules: Rules, owner: str = "") -> None:
    """Refuse data of which a field is missing, not known, or not what it may be.

    Args:
        found: fields by name.
        rules: what each may be.
        owner: what the fields are of, for messages, such as " of layer 3".

    Raises:
        ConversionError: names the first such field, what it is and what is allowed.
    """
    if not isinstance(found, Mapping):
        raise ConversionError(f"the fields{owner} are {shown(found)}; names with values are needed")
    unknown = [name for name in found if name not in rules]
    missing = [name for name, rule in rules.items() if rule.is_needed and name not in found]
    if unknown or missing:
        name = shown(unknown[0]) if unknown else missing[0]
        raise ConversionError(f"the {name}{owner} is {'not known' if unknown else 'missing'}")
    for name, value in found.items():
        if not rules[name].fits(value):
            raise ConversionError(
                f"the {name}{owner} is {shown(value)}; allowed are {rules[name].words}"
            )


def shown(value: Any) -> str:
    """Return a value for a message: a short one as Python writes it, of others the type."""
    if isinstance(value, list | tuple) and 0 < len(value) <= _SHOWN_ITEMS:
        items = ", ".join(map(_shown_single, value))
        return f"[{items}]" if isinstance(value, list) else f"({items})"
    return _shown_single(value)


def _shown_single(value: Any) -> str:
    if isinstance(value, Integral) and int(value).bit_length() > _SHOWN_BITS:
        return f"a number of {int(value).bit_length()} bits"
    if isinstance(value, list | tuple | dict):
        return f"a {type(value).__name__} of {len(value)}"
    if not (value is None or isinstance(value, str | Real)):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"
