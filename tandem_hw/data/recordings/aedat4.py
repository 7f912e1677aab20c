"""AEDAT4, which the cameras of iniVation write, through the decoder of ``aedat``.

It reads in a process of its own: at a damaged file the decoder ends the process that it is in.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from tandem_hw.counted import counted
from tandem_hw.data.npz_arrays import read_arrays
from tandem_hw.data.recordings.recording import EventRecording, recording_of
from tandem_hw.deferred_import import is_installed
from tandem_hw.errors import DataError, how_to_install
from tandem_hw.temporaries import temporary_folder

_WORKER: Final = Path(__file__).with_name("aedat4_worker.py")
_FIELDS: Final = ("x", "y", "t", "p")
#: Seconds that a file may take, and bytes of it for which there is a second more.
_SECONDS: Final = 60
_BYTES_A_SECOND: Final = 1 << 20


def read_aedat4(path: Path) -> EventRecording:
    """Return the events of a file, which has one stream of them.

    Args:
        path: an AEDAT4 file.

    Raises:
        DataError: ``aedat`` is missing, or the file is damaged or is not of one camera.
    """
    with temporary_folder() as folder:
        out = folder / "events.npz"
        _run(path, out)
        arrays = read_arrays(out, (*_FIELDS, "sizes"))
    sizes = arrays["sizes"].tolist()
    if len(sizes) != 1:
        raise DataError(
            f"{path}: has {counted(len(sizes), 'stream')} of events; a recording of one camera is "
            f"needed"
        )
    width, height = sizes[0]
    return recording_of({name: arrays[name] for name in _FIELDS}, (width, height), path)


def _run(path: Path, out: Path) -> None:
    """Read a file in another process, which writes its events to ``out``."""
    if not is_installed("aedat"):
        raise DataError(
            f"{path}: AEDAT4 files need aedat, which is not installed; {how_to_install('events')}"
        )
    seconds = _SECONDS + path.stat().st_size // _BYTES_A_SECOND
    try:
        # -I: no module of the folder that the user is in is taken for one that is meant.
        done = subprocess.run(
            [sys.executable, "-I", str(_WORKER), str(path.absolute()), str(out)],
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"{path}: cannot be read as AEDAT4 ({error})") from error
    if done.returncode or not out.exists():
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        said = next((line for line in lines if line.strip()), f"status {done.returncode}")
        raise DataError(f"{path}: cannot be read as AEDAT4 ({said}); it is damaged, copy it again")
