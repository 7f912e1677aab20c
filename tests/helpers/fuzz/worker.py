"""A process that reads some damaged files and prints what came of each, a JSON line a case."""

from __future__ import annotations

import json
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from types import FrameType

from tests.helpers.fuzz import case

#: Cases of a process, and what each may take.
BATCH = 500
SECONDS_MAX = 10
BYTES_MAX = 1 << 30


class TookTooLong(BaseException):
    """A case took longer than it may; no ``except Exception`` holds it up."""


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise TookTooLong(f"took more than {SECONDS_MAX} seconds")


def _place(error: BaseException) -> str:
    """Return the innermost line of ours that an exception came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "tandem_hw" in frame.filename] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"


def main(name: str, start: int, stop: int, folder: Path) -> None:
    """Run the cases from ``start`` to below ``stop``."""
    tempfile.tempdir = str(folder)
    case.seeds(name)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES_MAX, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, _too_long)
    for number in range(start, stop):
        outcome, what = "read", ""
        # Of the processor: on a busy machine a clock on the wall says nothing of a case.
        signal.setitimer(signal.ITIMER_PROF, SECONDS_MAX)
        try:
            with tempfile.TemporaryDirectory() as place:
                message = case.run(name, number, Path(place))
            outcome, what = ("read", "") if message is None else ("refused", message)
        except (Exception, TookTooLong) as error:
            outcome, what = (
                "fault",
                f"{type(error).__name__}: {str(error)[:200]!r} in {_place(error)}",
            )
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        result = {"format": name, "number": number, "outcome": outcome, "what": what}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
