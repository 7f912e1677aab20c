"""The warnings that tandem-hw gives where something is allowed and seldom meant.

Every message names the object, what was found and what to do. Python's ``warnings`` carries them;
the command line prints each as one line on standard error.
"""

from __future__ import annotations

import sys
import warnings
from typing import Final

#: Modules that a user's line is not in: our own, and those that call our functions for us.
_NOT_THE_CALLER: Final = ("tandem_hw", "torch")


class TandemWarning(UserWarning):
    """Base of all warnings of tandem-hw."""


class ConversionWarning(TandemWarning):
    """A conversion leaves something out that changes what the network returns."""


class UncalibratedWarning(TandemWarning):
    """A network is frozen that no sample has passed: potentials may leave the chip's registers."""


class InputWarning(TandemWarning):
    """Inputs are in another range than is meant: nearly nothing of them reaches the network."""


class UncheckedFileWarning(TandemWarning):
    """A file has no checksums: a value that was damaged is taken for the right one."""


class UnusedParametersWarning(TandemWarning):
    """A file holds parameters beside those of the network that is loaded."""


class SilentLayerWarning(TandemWarning):
    """A layer does nothing on the samples that a network is measured with."""


def warn_caller(message: str, category: type[TandemWarning]) -> None:
    """Give a warning that points at the line outside of tandem-hw that it comes from.

    Args:
        message: names the object, what was found and what to do.
        category: its class.
    """
    level = 2  # of whoever called this function
    frame = sys._getframe(1)
    while (outer := frame.f_back) is not None:
        if frame.f_globals.get("__name__", "").split(".")[0] not in _NOT_THE_CALLER:
            break
        frame, level = outer, level + 1
    warnings.warn(message, category, stacklevel=level)
