"""What the parameters of a saved network may be: those of its layers, with values that can be used.

A value that is infinite or no number, a variance below zero or half a batch would not be refused
where it is used: it gives another network, or an error far from the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from tandem_hw.counted import counted
from tandem_hw.errors import ConversionError

#: Buffers of which no value is below zero, by the ends of their names.
_NOT_NEGATIVE: Final = (".running_var", ".peak", ".num_batches_tracked")


def check_parameters(
    parameters: Mapping[str, Any], expected: Mapping[str, Tensor], optional: tuple[str, ...] = ()
) -> None:
    """Refuse parameters that are not those of a model.

    Args:
        parameters: by name, as a file holds them.
        expected: the state of such a model, on whatever device, "meta" included.
        optional: ends of the names that may be missing.

    Raises:
        ConversionError: naming a parameter that is missing, unknown, of another shape or type, or
            has a value that it cannot have.
    """
    missing = [name for name in expected.keys() - parameters if not name.endswith(optional)]
    if missing or parameters.keys() - expected:
        name = min(map(str, missing or parameters.keys() - expected))
        raise ConversionError(f"{name} is {'missing' if missing else 'not expected'}")
    for name, value in parameters.items():
        check_tensor(name, value, expected[name])


def check_tensor(name: str, value: Any, wanted: Tensor) -> None:
    """Refuse what is no tensor of another one's shape and kind of numbers, all of them finite.

    Args:
        name: of the tensor, for messages; its end may say that nothing in it is below zero.
        value: as a file holds it.
        wanted: has the shape, and floating-point numbers or others.

    Raises:
        ConversionError: says what it is.
    """
    shape = tuple(wanted.shape)
    if not isinstance(value, Tensor) or tuple(value.shape) != shape:
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ConversionError(f"{name} is {found}; {shape} is needed")
    check_values(name, value, wanted)


def check_values(name: str, value: Tensor, wanted: Tensor) -> None:
    """Refuse numbers of another kind, and values that a tensor of this name cannot have.

    Args:
        name: see ``check_tensor``.
        value: of whatever shape.
        wanted: has floating-point numbers or others.

    Raises:
        ConversionError: says what they are.
    """
    is_other = value.is_complex() or value.dtype == torch.bool
    if is_other or value.is_floating_point() != wanted.is_floating_point() or not value.numel():
        raise ConversionError(
            f"{name} holds {counted(value.numel(), 'value')} of type {value.dtype}"
        )
    if value.layout != torch.strided or value.is_meta:
        raise ConversionError(f"{name} holds a tensor of {value.layout} on {value.device}")
    if value.is_floating_point() and value.element_size() == 1:
        value = value.float()  # of which all is known, unlike of 8 bits
    if not value.isfinite().all():
        raise ConversionError(f"{name} holds values that are infinite or not a number")
    if name.endswith(_NOT_NEGATIVE) and (value < 0).any():
        raise ConversionError(f"{name} holds values below zero")
