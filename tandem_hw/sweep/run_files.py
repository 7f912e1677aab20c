"""The files of one training of a sweep, and when it is finished.

Its folder is that of any training (``tandem_hw.training.run_folder``) and holds besides:

| ``run.json``     | what is to be trained                                                  |
| ``session.json`` | when the process that trains began, and what those before it took      |
| ``output.txt``   | what it says                                                           |
| ``model.net``    | the integers, except of a network that does not spike                  |
| ``result.json``  | what was measured, and the digests of ``checkpoint.pt`` and model.net  |

``result.json`` is written last, under another name that is then changed. A training is finished
where it is whole, was made with the same settings, and the files are those whose digests it has.
Whatever moment a sweep is killed at, what is not finished goes on from ``last.pt``, if it is there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tandem_hw.atomic_write import reported, write_whole
from tandem_hw.errors import FileFormatError
from tandem_hw.sweep.grid import Run
from tandem_hw.temporaries import remove_abandoned
from tandem_hw.training.run_files import BEST_NAME, file_digest

RUN_NAME: Final = "run.json"
RESULT_NAME: Final = "result.json"
SESSION_NAME: Final = "session.json"
ERROR_NAME: Final = "error.txt"
NETWORK_NAME: Final = "model.net"
#: Where in a sweep's folder its trainings are.
RUNS: Final = "runs"
_FORMAT_VERSION: Final = 1
_NUMBER: Final = (int, float)
_MAYBE_NUMBER: Final = (int, float, type(None))
#: What a result holds, and of which type it is.
_RESULT: Final[Mapping[str, tuple[type, ...]]] = {
    "settings": (dict,),
    "after": (str, type(None)),
    "files": (dict,),
    "objective": (str,),
    "metrics": (dict,),
    "neurobench": (dict,),
    "test_samples": (int,),
    "network_digest": (str, type(None)),
    **dict.fromkeys(("num_steps", "latency", "period", "board_period"), (int, type(None))),
    "macs_per_sample": (int,),
    **dict.fromkeys(
        (
            *("synops_per_sample", "synops_per_mac", "spikes_per_sample"),
            *("validation", "training_seconds"),
        ),
        _MAYBE_NUMBER,
    ),
    "interruptions": (int,),
    "machine": (dict,),
}


def folder_of(sweep: Path, run: Run) -> Path:
    """Return the folder of a training in that of a sweep."""
    return sweep / RUNS / run.name


def write_run(folder: Path, run: Run) -> None:
    """Write what is to be trained, for the process that trains."""
    content = {
        "arguments": list(run.arguments),
        "settings": dict(run.settings),
        "after": run.after and run.after.name,
    }
    write_versioned(folder / RUN_NAME, content)


def read_run(folder: Path) -> dict[str, Any]:
    """Return what ``write_run`` wrote.

    Raises:
        FileFormatError: the file is missing, or no such file.
    """
    types = {"arguments": (list,), "settings": (dict,), "after": (str, type(None))}
    return read_versioned(folder / RUN_NAME, types)


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Write what was measured; with that the training is finished.

    Args:
        folder: of the training, in which all other files are written.
        result: all that a result holds but for "files".

    Raises:
        FileFormatError: a file is missing or cannot be written.
    """
    files = {name: file_digest(folder / name) for name in _files_of(result)}
    write_versioned(folder / RESULT_NAME, {**result, "files": files})


def read_result(folder: Path, run: Run) -> dict[str, Any] | None:
    """Return what was measured of a training that is finished, or None.

    Args:
        folder: of the training.
        run: what it has to be.

    Raises:
        FileFormatError: it was made with other settings.
    """
    try:
        result = read_versioned(folder / RESULT_NAME, _RESULT)
        whole = _holds_numbers(result) and all(
            file_digest(folder / name) == result["files"].get(name) for name in _files_of(result)
        )
    except FileFormatError:
        return None
    if not whole:
        return None
    _check_settings(result, run, folder / RESULT_NAME)
    return result


def _files_of(result: Mapping[str, Any]) -> list[str]:
    """Return the names of the files that a result is of; a network that spikes has integers."""
    return [BEST_NAME] + ([NETWORK_NAME] if result["network_digest"] is not None else [])


def _holds_numbers(result: Mapping[str, Any]) -> bool:
    """Whether all that was measured are numbers, or None where there is none."""
    operations = result["neurobench"].get("synaptic_operations")
    measured = [
        *result["metrics"].values(),
        *(value for value in result["neurobench"].values() if value is not operations),
        *(operations.values() if isinstance(operations, dict) else [operations]),
    ]
    return bool(result["metrics"]) and all(isinstance(one, _MAYBE_NUMBER) for one in measured)


def _check_settings(result: Mapping[str, Any], run: Run, path: Path) -> None:
    """Refuse a result of other settings; an option that it does not know had the default."""
    found = {"after": result["after"], **result["settings"]}
    wanted = {"after": run.after and run.after.name, **run.settings}
    for name, value in wanted.items():
        same = found[name] == value if name in found else name not in run.changed
        if not same:
            raise FileFormatError(
                f"{path}: was measured with {name} {found.get(name)}, not {value}; give the sweep "
                f"another folder, or move this one"
            )


def write_versioned(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain data as JSON with the version of the format, whole or not at all."""
    text = json.dumps({"format_version": _FORMAT_VERSION, **content}, indent=2, allow_nan=False)
    write_whole(path, (text + "\n").encode())


def clean(folder: Path) -> None:
    """Remove what processes that were killed have half written."""
    for name in (RESULT_NAME, SESSION_NAME, NETWORK_NAME):
        remove_abandoned(folder / name)


def read_versioned(path: Path, types: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """Return plain data that were written with ``write_versioned``, checked.

    Raises:
        FileFormatError: the file is missing, of another version, or holds something else.
    """
    with reported(path, "read"):
        text = path.read_bytes()
    try:
        content = json.loads(text)
    except ValueError as error:
        raise FileFormatError(f"{path}: is no JSON ({error}); remove it") from error
    if not isinstance(content, dict) or content.get("format_version") != _FORMAT_VERSION:
        raise FileFormatError(
            f"{path}: is not of format version {_FORMAT_VERSION}, the only one that can be read; "
            f"remove it"
        )
    for name, allowed in types.items():
        value = content.get(name, content)
        unfit = not isinstance(value, allowed) or isinstance(value, bool)
        if name not in content or unfit or (isinstance(value, float) and not math.isfinite(value)):
            raise FileFormatError(f"{path}: {name} is missing or of another type; remove it")
    return content
