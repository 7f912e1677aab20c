"""Checkpoints: everything that rebuilds a model and continues its training, as plain data.

A file is read with ``torch.load(weights_only=True)``, which builds tensors and plain containers and
runs no code from the file.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tandem_hw.atomic_write import atomic_path
from tandem_hw.errors import ConversionError, FileFormatError
from tandem_hw.learning.model import Architecture, TandemNetwork
from tandem_hw.learning.weights_in_effect import check_storable, restore_pruning

FORMAT = "tandem-hw checkpoint"
FORMAT_VERSION = 2
_OLDEST_VERSION = 1
#: MS-DOS attribute in a zip archive's directory.
_FOLDER_ATTRIBUTE = 0x10
#: What a file holds besides its format.
_KINDS = {"architecture": dict, "parameters": dict, "data": str, "metrics": list, "training": dict}


@dataclass
class Checkpoint:
    """A model and where its training stands.

    Attributes:
        model: the tandem network, on the CPU.
        data: the data set it was trained on, as it was named.
        metrics: plain data about the epochs so far.
        training: state of optimizer, schedule and random numbers, or empty where training ended.
    """

    model: TandemNetwork
    data: str = ""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        checkpoint: what to keep.
        path: where to write, usually ending in ``.pt``.

    Raises:
        FileFormatError: the path cannot be written to.
    """
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "architecture": checkpoint.model.architecture.to_dict(),
        "parameters": checkpoint.model.state_dict(),
        "data": checkpoint.data,
        "metrics": checkpoint.metrics,
        "training": checkpoint.training,
    }
    # Given a path, torch.save would write the temporary file's random name into the file.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)


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
    version = content.get("format_version")
    if not isinstance(version, int) or not _OLDEST_VERSION <= version <= FORMAT_VERSION:
        raise FileFormatError(
            f"{path}: checkpoint of format version {version}; this tandem-hw reads versions "
            f"{_OLDEST_VERSION} to {FORMAT_VERSION}. Read it with the version that wrote it, or "
            f"train again"
        )
    missing = [key for key, kind in _KINDS.items() if not isinstance(content.get(key), kind)]
    if missing:
        raise FileFormatError(f"{path}: lacks {', '.join(missing)}; the file is damaged")
    try:
        model = TandemNetwork(Architecture.from_dict(content["architecture"]))
        if version < FORMAT_VERSION:
            _add_thresholds(model, content["parameters"])
        restore_pruning(model, content["parameters"])
        model.load_state_dict(content["parameters"])
    except (
        ConversionError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise FileFormatError(f"{path}: the model cannot be rebuilt ({reason})") from error
    return Checkpoint(model.eval(), content["data"], content["metrics"], content["training"])


def _add_thresholds(model: TandemNetwork, parameters: dict[str, Any]) -> None:
    """Give the layers of version 1, which all had the same threshold, one each, and no peak."""
    for name, value in model.state_dict().items():
        if name.endswith((".activation_max", ".peak")):
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
    if not path.is_file():
        kind = "is not a file" if path.exists() else "does not exist"
        raise FileFormatError(f"{path}: {kind}; give a checkpoint that tandem-hw train wrote")
    try:
        check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may make the unpickler raise whatever there is
        raise FileFormatError(
            f"{path}: is damaged or not a checkpoint; train again or restore the file"
        ) from error
    if not isinstance(content, dict):
        raise FileFormatError(
            f"{path}: is not a tandem-hw checkpoint; train one with tandem-hw train"
        )
    return content


def check_archive(path: Path) -> None:
    """Check the records' lengths and checksums: torch.load hands out whatever memory held.

    Args:
        path: a zip archive, as torch.save writes it.

    Raises:
        zipfile.BadZipFile: a record is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
        for record in archive.infolist():
            # torch.save does not compress, and its reader takes a record marked as a folder for
            # an empty one.
            is_folder = record.external_attr & _FOLDER_ATTRIBUTE
            if record.file_size != record.compress_size or is_folder:
                damaged = record.filename
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} is damaged")
