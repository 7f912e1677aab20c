"""The one way from floating point to integers: what is cast must be whole.

Integers pass through floating point wherever PyTorch computes them. A cast would cut a fraction
off, which hides that an algorithm rounded (``tandem_hw.arithmetic.exact_sums`` sees to it that none
does).
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import InexactError

Integer = TypeVar("Integer", bound=np.signedinteger[Any])


def whole_numbers(
    values: npt.NDArray[Any], dtype: type[Integer], what: str
) -> npt.NDArray[Integer]:
    """Return values as integers.

    Args:
        values: whole numbers in floating point, any shape.
        dtype: integers that hold them.
        what: names the values in the message, for instance "layer conv1: the spike counts".

    Raises:
        InexactError: a value has a fraction, is no number or does not fit the dtype.
    """
    with np.errstate(invalid="ignore"):  # what cannot be cast differs from what comes out
        integers = values.astype(dtype)
    if not np.array_equal(integers, values):
        place = tuple(int(index) for index in np.argwhere(integers != values)[0])
        raise InexactError(
            f"{what} have to be whole {np.dtype(dtype)} numbers, found {values[place]} at "
            f"{list(place)}: a library rounds sums of integers on this machine, and nothing that "
            f"was computed here holds. Please report it with the output of "
            f"python -m torch.utils.collect_env"
        )
    return integers
