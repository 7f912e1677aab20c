"""Start a training from a network that was trained before: an ordinary one, or a tandem network."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

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
from tandem_hw.pointer_file import refuse_pointer, refuse_unreachable
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
            is near), or a value in it is not finite; the network is then as it was.
        ConversionError: the network is on the meta device, where parameters have no values.
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
    with _as_it_was_where_refused(network):
        _load(network, found, path)
    if left_over:
        warn_caller(
            f"{path}: {', '.join(left_over)} stand beside the network's parameters and are not "
            f"used; if they belong to the network, it is another one",
            UnusedParametersWarning,
        )


@contextmanager
def _as_it_was_where_refused(network: nn.Module) -> Iterator[None]:
    """Put back all values of a network at an error."""
    tensors = {
        name: value
        for name, value in network.state_dict().items()
        if isinstance(value, Tensor) and not is_lazy(value)  # what has no values gets none back
    }
    for name, value in tensors.items():
        if value.is_meta:
            raise ConversionError(
                f"{name} of the network is on the meta device, where it has no values; give it "
                f"some with network.to_empty(device='cpu') before parameters are loaded"
            )
    before = {name: value.clone() for name, value in tensors.items()}
    try:
        yield
    except BaseException:
        for name, value in tensors.items():
            value.copy_(before[name])
        raise


def _load(network: nn.Module, found: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Load parameters by name, and refuse those of another network and values of no use."""
    wanted = network.state_dict()
    summary, lines = what_differs(found, wanted)
    if not summary:
        _check_values(found, wanted, path)  # PyTorch would take the real part of complex numbers
    try:
        network.load_state_dict(found)
    except (RuntimeError, TypeError, AttributeError, ValueError, LookupError) as error:
        reason = summary or " ".join(str(error).split())
        raise FileFormatError(
            f"{path}: holds parameters of another network ({reason}); give "
            f"the same --model as it was trained with; a network that is not of the zoo is named "
            f"as FILE.py:NAME, or turned into a tandem network in Python, by tandem_hw.convert",
            *lines,
        ) from error
    loaded = network.state_dict()
    _check_values(found, loaded, path)
    _check_values(loaded, loaded, path)  # a number of float64 may be too large for float32


def _check_values(
    found: Mapping[str, Any], wanted: Mapping[str, Any], path: str | os.PathLike[str]
) -> None:
    for name, value in wanted.items():
        if not isinstance(value, Tensor) or not isinstance(found.get(name), Tensor):
            continue  # what modules save besides; and older norms count no batches
        try:
            check_values(name, found[name], value)
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
    refuse_unreachable(path, FileFormatError)
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
