"""What lies in the folder of a training as JSON, checked before it is shown; without PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem_hw.atomic_write import reported
from tandem_hw.errors import FileFormatError
from tandem_hw.training.run_files import METRICS_NAME

#: Beyond what metrics of any training take.
_BYTES_MAX = 1 << 26
#: Beyond what fits 64 bits; such a number could not even be drawn.
_LARGEST = 1 << 63
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class RunFolder:
    """What ``metrics.json`` says, and results of other commands beside it.

    Attributes:
        run: id of the training, "" where it has none.
        data: the data set that it was trained on, as it was named.
        options: of the training, by name.
        epochs: the numbers of each epoch, one at least.
        tested: numbers of the test set by name, none before the training ended.
        silent_layers: layers that never fired on it.
        simulated: what ``simulate --json`` wrote, or None.
        verified: what ``verify --json`` wrote, or None.
    """

    run: str
    data: str
    options: Mapping[str, Any]
    epochs: Sequence[Mapping[str, Any]]
    tested: Mapping[str, float]
    silent_layers: Sequence[str]
    simulated: Mapping[str, Any] | None
    verified: Mapping[str, Any] | None


def read_run_folder(folder: Path) -> RunFolder:
    """Read what a training has left.

    Args:
        folder: ``--out`` of ``train``.

    Raises:
        FileFormatError: there is no training, or a file of it is truncated or something else.
    """
    path = folder / METRICS_NAME
    if not path.is_file():
        raise FileFormatError(
            f"{folder}: holds no training, {METRICS_NAME} is missing; give the folder that "
            f"tandem-hw train was given as --out, after its first epoch"
        )
    content = _read(path)
    _require(path, "run", content.get("run", ""), str)
    for name, kind in (("data", str), ("options", dict), ("epochs", list)):
        _require(path, name, content.get(name), kind)
    epochs = content["epochs"]
    for epoch in epochs:
        _require(path, "an epoch", epoch, dict)
        _require(path, "the number of an epoch", epoch.get("epoch"), int)
        _require(path, "an epoch's loss", epoch.get("loss"), (int, float))
        for name, value in epoch.items():
            _require(path, f"an epoch's {name}", value, _PLAIN)
    if not epochs:
        raise FileFormatError(f"{path}: has no epoch; train for one at least")
    silent = content.get("silent_layers", [])
    _require(path, "silent_layers", silent, list)
    tested = {
        name.removeprefix("test_"): value
        for name, value in content.items()
        if name.startswith("test_")
    }
    for name, value in tested.items():
        _require(path, f"test_{name}", value, (int, float))
    return RunFolder(
        content.get("run", ""),
        content["data"],
        content["options"],
        epochs,
        tested,
        [str(name) for name in silent],
        _read_result(folder / "simulate.json", ("backend", "samples", "layers")),
        _read_result(folder / "verify.json", ("match", "backends", "samples", "layers")),
    )


def _read_result(path: Path, names: Sequence[str]) -> Mapping[str, Any] | None:
    """Read what another command wrote; its layers are rows of a table."""
    if not path.is_file():
        return None
    content = _read(path)
    kinds = {"layers": list, "backends": list, "match": bool, "samples": int, "backend": str}
    for name in names:
        _require(path, name, content.get(name), kinds[name])
    for layer in content["layers"]:
        _require(path, "a layer", layer, dict)
        for name, value in layer.items():
            _require(path, f"a layer's {name}", value, _PLAIN)
    return content


def _read(path: Path) -> dict[str, Any]:
    with reported(path, "read"):
        if path.stat().st_size > _BYTES_MAX:
            raise FileFormatError(f"{path}: is larger than any result of a training")
        text = path.read_bytes()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise FileFormatError(
            f"{path}: is truncated or no JSON ({reason}); write it anew, a training's with "
            f"tandem-hw train --resume"
        ) from error
    _require(path, "the file", content, dict)
    assert isinstance(content, dict)  # just checked
    return content


def _require(path: Path, what: str, value: object, kinds: type | tuple[type, ...]) -> None:
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise FileFormatError(
            f"{path}: {what} has more digits than any number that tandem-hw wrote"
        )
    if not isinstance(value, kinds):
        names = " or ".join(
            kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,))
        )
        raise FileFormatError(
            f"{path}: {what} is {type(value).__name__}, not {names}; this is no file that "
            f"tandem-hw wrote"
        )
