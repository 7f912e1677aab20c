"""Checkpoints: everything that rebuilds a model and continues its training, as plain data.

A file is read with ``torch.load(weights_only=True)``, which builds tensors and plain containers and
runs no code from the file.
"""

from __future__ import annotations

import io
import json
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tandem_hw.atomic_write import write_whole
from tandem_hw.errors import ConversionError, FileFormatError, NetworkError
from tandem_hw.learning.model import Architecture, TandemNetwork, check_tandem
from tandem_hw.learning.saved.field_rules import shown, whole
from tandem_hw.learning.saved.parameters import check_parameters, check_values
from tandem_hw.learning.torch_file import check_tensors, read_torch_file
from tandem_hw.learning.weights_in_effect import check_storable, restore_pruning, without_pruning
from tandem_hw.network.output_meaning import OutputMeaning
from tandem_hw.plain_text import plain
from tandem_hw.pointer_file import refuse_pointer, refuse_unreachable

FORMAT = "tandem-hw checkpoint"
#: 4: networks whose layers have widths of weights or thresholds of channels of their own. 3: a
#: firing delay, max pooling, joined layers or ceilings. Others are written as version 2, which has
#: no place for these.
FORMAT_VERSION = 4
_DELAYS_VERSION = 3
#: 2: every layer has a threshold and a peak of its own.
_THRESHOLDS_VERSION = 2
_OLDEST_VERSION = 1
#: Parameters that layers of version 1 do not have.
_LATER_PARAMETERS = (".activation_max", ".peak")
#: What a file holds besides its format.
_KINDS = {
    "architecture": dict,
    "parameters": dict,
    "data": str,
    "metrics": list,
    "training": dict,
    "run": str,
}


@dataclass
class Checkpoint:
    """A model and where its training stands.

    Attributes:
        model: the tandem network, on the CPU.
        data: the data set it was trained on, as it was named.
        metrics: plain data about the epochs so far.
        training: state of optimizer, schedule and random numbers, or empty where training ended.
        run: id of the training that it comes from, "" where it has none.
    """

    model: TandemNetwork
    data: str = ""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    run: str = ""


def save_checkpoint(checkpoint: Checkpoint | TandemNetwork, path: str | os.PathLike[str]) -> None:
    """Write a checkpoint, whole or not at all; ``load_checkpoint`` reads it.

    Args:
        checkpoint: what to keep; a tandem network alone, of a training loop of your own, has no
            data set's name and no metrics.
        path: where to write, usually ending in ``.pt``.

    Raises:
        ConversionError: it is no tandem network, the model has been rounded to a format with too
            few digits, has values that no file may have, or parameters that its architecture does
            not give.
        FileFormatError: the path cannot be written to.
    """
    if not isinstance(checkpoint, Checkpoint):
        check_tandem(checkpoint)
        check_checkpoint(checkpoint)
        checkpoint = Checkpoint(checkpoint)
    checkpoint.model.check_precision()
    for name, value in checkpoint.model.state_dict().items():
        try:
            check_values(name, value, value)
        except ConversionError as error:
            raise ConversionError(
                f"{error}, and could not be read again from {path}; lower the learning rate, or go "
                f"back to an earlier state"
            ) from error
    architecture = checkpoint.model.architecture
    content = {
        "format": FORMAT,
        "format_version": _version_of(architecture),
        "architecture": architecture.to_dict(),
        "parameters": checkpoint.model.state_dict(),
        "data": checkpoint.data,
        "metrics": checkpoint.metrics,
        "training": checkpoint.training,
    }
    if checkpoint.run:
        content["run"] = checkpoint.run
    if checkpoint.model.meaning is not None:
        content["meaning"] = checkpoint.model.meaning.to_dict()
    # Given a path, torch.save would write the temporary file's random name into the file; given a
    # file on a full disk, it ends in an error of its own.
    in_memory = io.BytesIO()
    torch.save(content, in_memory)
    write_whole(path, in_memory.getvalue())


def _version_of(architecture: Architecture) -> int:
    """Return the earliest version that has a place for all of a network."""
    if architecture.differs_by_layer:
        return FORMAT_VERSION
    return _DELAYS_VERSION if architecture.is_later else _THRESHOLDS_VERSION


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint and rebuild its model.

    Args:
        path: a file that ``save_checkpoint`` wrote.

    Returns:
        The checkpoint, its model in evaluation mode on the CPU.

    Raises:
        FileFormatError: the file is missing, damaged, foreign or of another version.
    """
    content = _read(Path(path))
    if content.get("format") != FORMAT:
        raise FileFormatError(
            f"{path}: is not a tandem-hw checkpoint; train one with tandem-hw train"
        )
    version: Any = content.get("format_version")
    if not whole(range(_OLDEST_VERSION, FORMAT_VERSION + 1)).fits(version):
        raise FileFormatError(
            f"{path}: checkpoint of format version {shown(version)}; this tandem-hw reads versions "
            f"{_OLDEST_VERSION} to {FORMAT_VERSION}. Read it with the version that wrote it, or "
            f"train again"
        )
    content.setdefault("run", "")
    missing = [key for key, kind in _KINDS.items() if not isinstance(content.get(key), kind)]
    if missing:
        raise FileFormatError(f"{path}: lacks {', '.join(missing)}; the file is damaged")
    _check_metrics(content["metrics"], path)
    try:
        architecture = Architecture.from_dict(content["architecture"])
        model = rebuilt(architecture, content["parameters"], version)
        if "meaning" in content:
            model.meaning = OutputMeaning.from_dict(content["meaning"])
            model.meaning.check_outputs(model.outputs)
    except (
        ConversionError,
        NetworkError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = plain((str(error) or type(error).__name__).splitlines()[0])
        raise FileFormatError(f"{path}: the model cannot be rebuilt ({reason})") from error
    names = ("data", "metrics", "training", "run")
    return Checkpoint(model, *(content[name] for name in names))


def _check_metrics(metrics: list[Any], path: str | os.PathLike[str]) -> None:
    """Refuse metrics that are not names with values, or could not be written as JSON again."""
    try:
        if not all(isinstance(epoch, dict) for epoch in metrics):
            raise TypeError("an epoch has no names")
        json.dumps(metrics)
    except (TypeError, ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{path}: the metrics of its epochs are damaged; train again or restore the file"
        ) from error


def rebuilt(
    architecture: Architecture, parameters: dict[str, Any], version: int = FORMAT_VERSION
) -> TandemNetwork:
    """Return the model that some parameters are the state of, in evaluation mode.

    Args:
        architecture: what it is built from.
        parameters: its ``state_dict``, float32 or float64, pruned or not.
        version: version of the file that they come from.

    Raises:
        ConversionError: naming a parameter that is missing, unknown or of another shape.
        RuntimeError, TypeError, ValueError, AttributeError: they are no state of such a model.
    """
    _check_parameters(architecture, parameters, version)
    model = TandemNetwork(architecture)
    model.to(_dtype(parameters))
    if version < _THRESHOLDS_VERSION:
        _add_thresholds(model, parameters)
    restore_pruning(model, parameters)
    model.load_state_dict(parameters)
    return model.eval()


def _dtype(parameters: dict[str, Any]) -> torch.dtype:
    """Return what a model has to be made of to hold the parameters without rounding them."""
    dtypes = {value.dtype for value in parameters.values() if isinstance(value, torch.Tensor)}
    return torch.float64 if torch.float64 in dtypes else torch.float32


def _check_parameters(architecture: Architecture, parameters: dict[str, Any], version: int) -> None:
    """Refuse parameters of other shapes than a model's, before the model takes any memory.

    Raises:
        ConversionError: naming a parameter that is missing, unknown or not what it has to be.
    """
    for name in parameters:
        if not isinstance(name, str):
            raise ConversionError(f"{shown(name)} is not expected")
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch comments on layers without weights
        expected = TandemNetwork(architecture).state_dict()
    optional = _LATER_PARAMETERS if version < _THRESHOLDS_VERSION else ()
    check_parameters(without_pruning(parameters), expected, optional)


def _add_thresholds(model: TandemNetwork, parameters: dict[str, Any]) -> None:
    """Give the layers of version 1, which all had the same threshold, one each, and no peak."""
    for name, value in model.state_dict().items():
        if name.endswith(_LATER_PARAMETERS):
            parameters.setdefault(name, value)


def check_checkpoint(model: TandemNetwork) -> None:
    """Refuse before a training what could not be saved after its first epoch.

    Raises:
        ConversionError: its parameters are not those that its architecture gives, or pruned ones.
    """
    with torch.device("meta"):
        plain = TandemNetwork(model.architecture)
    check_storable(model, set(plain.state_dict()))


def _read(path: Path) -> dict[str, Any]:
    refuse_unreachable(path, FileFormatError)
    if not path.is_file():
        kind = "is not a file" if path.exists() else "does not exist"
        raise FileFormatError(f"{path}: {kind}; give a checkpoint that tandem-hw train wrote")
    refuse_pointer(path, FileFormatError)
    try:
        content = read_torch_file(path, zipped=True)
        check_tensors(content, path.stat().st_size)
    except Exception as error:  # a damaged pickle may make the unpickler raise whatever there is
        raise FileFormatError(
            f"{path}: is damaged or not a checkpoint; train again or restore the file"
        ) from error
    if not isinstance(content, dict):
        raise FileFormatError(
            f"{path}: is not a tandem-hw checkpoint; train one with tandem-hw train"
        )
    return content
