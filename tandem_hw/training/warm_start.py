"""Start a training from a network that was trained before: an ordinary one, or a tandem network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from tandem_hw.errors import ConversionError, FileFormatError
from tandem_hw.learning.calibration import calibrate_thresholds
from tandem_hw.learning.checkpoint import FORMAT, load_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.per_layer.assignment import without_own
from tandem_hw.learning.saved.foreign_parameters import find_parameters, without_wrapper
from tandem_hw.learning.saved.parameters import check_values
from tandem_hw.learning.torch_file import is_archive, read_torch_file
from tandem_hw.learning.weights_in_effect import plain_state
from tandem_hw.pointer_file import refuse_pointer
from tandem_hw.user_warnings import UncheckedFileWarning, warn_caller

__all__ = [
    "calibrate_thresholds",
    "is_tandem_checkpoint",
    "load_parameters",
    "load_tandem_parameters",
]


#: So many names of parameters are listed in a message.
_NAMES_SHOWN = 3


def load_parameters(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load the parameters of an ordinary network, saved as ``torch.save(network.state_dict())``.

    They may lie in a dictionary within what was saved, such as ``{"state_dict": ...}``, and have
    the names that ``DataParallel`` or ``torch.compile`` gives. The file is read with
    ``torch.load(weights_only=True)``, which runs no code from it; a file of the format before
    PyTorch 1.6 has no checksums, which an ``UncheckedFileWarning`` says.

    Args:
        network: the network that they are loaded into.
        path: the file.

    Raises:
        FileFormatError: the file is missing, damaged, a tandem-hw checkpoint, or of another
            network, or a value in it is not finite.
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
    try:
        parameters = find_parameters(content)
    except ValueError as error:
        raise FileFormatError(
            f"{path}: {error}; save them with torch.save(network.state_dict())"
        ) from error
    wanted = network.state_dict()
    found = without_wrapper(parameters, wanted)
    try:
        network.load_state_dict(found)
    except (RuntimeError, TypeError, AttributeError, ValueError, LookupError) as error:
        raise FileFormatError(
            f"{path}: holds parameters of another network ({_what_differs(found, wanted)}); give "
            f"the same --model as it was trained with; a network that is not of the zoo is turned "
            f"into a tandem network in Python, by tandem_hw.convert"
        ) from error
    for name, value in network.state_dict().items():
        try:
            check_values(name, found.get(name, value), value)  # older norms count no batches
            check_values(name, value, value)  # a number of float64 may be too large for float32
        except ConversionError as error:
            reason = f"{path}: {error}; save an earlier state of the training"
            raise FileFormatError(reason) from error


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
        raise FileFormatError(
            f"{path}: cannot be read as parameters; save them with torch.save(network.state_dict())"
        ) from error
    if not isinstance(content, dict):
        raise FileFormatError(
            f"{path}: holds {type(content).__name__}, no parameters; save them with "
            f"torch.save(network.state_dict())"
        )
    return content


def _what_differs(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Say which parameters are missing, unexpected, or of another shape."""
    others = [
        f"{name} {list(getattr(found[name], 'shape', ()))} instead of {list(value.shape)}"
        for name, value in wanted.items()
        if name in found and getattr(found[name], "shape", None) != value.shape
    ]
    kinds = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [str(name) for name in found if name not in wanted],
        "of another shape": others,
    }
    return "; ".join(f"{what}: {_some(names)}" for what, names in kinds.items() if names)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
