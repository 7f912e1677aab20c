"""Start a training from a network that was trained before: an ordinary one, or a tandem network."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from torch import nn

from tandem_hw.errors import ConversionError, FileFormatError
from tandem_hw.learning.calibration import calibrate_thresholds
from tandem_hw.learning.checkpoint import FORMAT, load_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.per_layer.assignment import without_own
from tandem_hw.learning.saved.foreign_parameters import (
    find_parameters,
    what_differs,
    without_wrapper,
)
from tandem_hw.learning.saved.parameters import check_values
from tandem_hw.learning.torch_file import is_archive, read_torch_file
from tandem_hw.learning.weights_in_effect import plain_state
from tandem_hw.pointer_file import refuse_pointer
from tandem_hw.user_warnings import UncheckedFileWarning, UnusedParametersWarning, warn_caller

__all__ = [
    "calibrate_thresholds",
    "is_tandem_checkpoint",
    "load_parameters",
    "load_tandem_parameters",
]


#: How PyTorch names what it does not take from a file.
_FOREIGN = re.compile(r"(?:GLOBAL|Unsupported class) ([\w.]+)")


def load_parameters(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load the parameters of an ordinary network, saved as ``torch.save(network.state_dict())``.

    They may lie in a dictionary within what was saved, such as ``{"state_dict": ...}``, and have
    the names that ``DataParallel``, ``torch.compile`` or a module around the network gives, as in a
    checkpoint of PyTorch Lightning ("module.", "_orig_mod.", "model.", "net." and so on). What
    stands beside the network there is named in an ``UnusedParametersWarning``. The file is read
    with ``torch.load(weights_only=True)``, which runs no code from it; a file of the format before
    PyTorch 1.6 has no checksums, which an ``UncheckedFileWarning`` says.

    Args:
        network: the network that they are loaded into.
        path: the file.

    Raises:
        FileFormatError: the file is missing, damaged, a tandem-hw checkpoint, or of another
            network (lines below the message name every parameter that does not fit, and one that
            is near), or a value in it is not finite.
    """
    content = _read(Path(path))
    if content.get("format") == FORMAT:
        raise FileFormatError(f"{path}: holds a tandem network; load_tandem_parameters takes it up")
    if not is_archive(Path(path)):
        warn_caller(
            f"{path}: is of the format before PyTorch 1.6, which has no checksums, so a damaged "
            f"value would not be noticed; load it once with torch.load and write it again with "
            f"torch.save",
            UncheckedFileWarning,
        )
    wanted = network.state_dict()
    try:
        found, left_over = without_wrapper(find_parameters(content), wanted)
    except ValueError as error:
        raise FileFormatError(
            f"{path}: {error}; save them with torch.save(network.state_dict())"
        ) from error
    try:
        network.load_state_dict(found)
    except (RuntimeError, TypeError, AttributeError, ValueError, LookupError) as error:
        summary, lines = what_differs(found, wanted)
        raise FileFormatError(
            f"{path}: holds parameters of another network ({summary}); give "
            f"the same --model as it was trained with; a network that is not of the zoo is named "
            f"as FILE.py:NAME, or turned into a tandem network in Python, by tandem_hw.convert",
            *lines,
        ) from error
    for name, value in network.state_dict().items():
        try:
            check_values(name, found.get(name, value), value)  # older norms count no batches
            check_values(name, value, value)  # a number of float64 may be too large for float32
        except ConversionError as error:
            reason = f"{path}: {error}; save an earlier state of the training"
            raise FileFormatError(reason) from error
    if left_over:
        warn_caller(
            f"{path}: {', '.join(left_over)} stand beside the network's parameters and are not "
            f"used; if they belong to the network, it is another one",
            UnusedParametersWarning,
        )


def load_tandem_parameters(model: TandemNetwork, path: str | os.PathLike[str]) -> None:
    """Load the parameters of a tandem network with the same layers, thresholds included.

    The number of steps, the reset, the firing delay, the weight bits and the other options may
    differ; one threshold is taken up by all channels. Weights that were pruned are taken up as
    zeros, without their masks.

    Args:
        model: the network that they are loaded into.
        path: a checkpoint.

    Raises:
        FileFormatError: the file is missing or damaged, or its network has other layers.
    """
    other = load_checkpoint(path).model
    if without_own(other.architecture.layers) != without_own(model.architecture.layers):
        raise FileFormatError(
            f"{path}: its network has other layers; give the same --model as it was trained with"
        )
    found, wanted = plain_state(other), model.state_dict()
    for name, value in found.items():
        if value.shape == wanted[name].shape:
            continue
        if value.dim():
            raise FileFormatError(
                f"{path}: its layers have a threshold for each channel; give "
                f"--thresholds-per-channel, as it was trained with"
            )
        found[name] = value.expand_as(wanted[name])
    model.load_state_dict(found)


def is_tandem_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a checkpoint of a tandem network, not parameters of an ordinary one.

    Raises:
        FileFormatError: the file is missing or damaged.
    """
    return _read(Path(path)).get("format") == FORMAT


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileFormatError(
            f"{path}: is no file; give what torch.save(network.state_dict()) wrote"
        )
    refuse_pointer(path, FileFormatError)
    try:
        content = read_torch_file(path)
    except Exception as error:  # a damaged pickle may make the unpickler raise whatever there is
        objects = sorted(set(_FOREIGN.findall(str(error))))
        holds = f" (it holds {', '.join(objects)}, and no code of a file is run)" if objects else ""
        raise FileFormatError(
            f"{path}: cannot be read as parameters{holds}; save them with "
            f"torch.save(network.state_dict())"
        ) from error
    if not isinstance(content, dict):
        raise FileFormatError(
            f"{path}: holds {type(content).__name__}, no parameters; save them with "
            f"torch.save(network.state_dict())"
        )
    return content
