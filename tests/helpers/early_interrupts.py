"""Ctrl-C in the first moments of a command, before there is anything of ours that would handle it.

``python -m tests.helpers.early_interrupts TIMES`` interrupts it at so many moments and prints what
came of it; ``make kill-test`` runs this too.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import tandem_hw

#: Seconds in which the moments lie: the command that is interrupted takes about as long.
SECONDS: Final = 0.3
#: What may come of it, in words; the last must not be.
QUIET: Final = "quiet"
BEFORE: Final = "Python's own words, before the first line of ours"
FAULT: Final = "a fault of ours"
_COMMAND: Final = "tandem-hw"
_ARGUMENTS: Final = ("verify", "--help")
_PACKAGE: Final = str(Path(tandem_hw.__file__).parent)


def interrupt_early(moment: float) -> tuple[str, str]:
    """Interrupt a command after so many seconds.

    Returns:
        What came of it, and what it said to standard error.
    """
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name(_COMMAND)), *_ARGUMENTS],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # It is ignored where this runs in the background of a script.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    if is_before_ours(said):
        return BEFORE, said
    allowed = {0, -signal.SIGINT, 128 + signal.SIGINT}
    is_quiet = said in ("", "Interrupted.\n") and process.returncode in allowed
    return QUIET if is_quiet else FAULT, f"status {process.returncode}: {said}"


def is_before_ours(said: str) -> bool:
    """Whether Python itself was interrupted as it started, before the first line of ours.

    Args:
        said: what a command that got SIGINT has written to standard error.
    """
    last = said.strip().rpartition("\n")[2]
    return last.startswith("KeyboardInterrupt") and _PACKAGE not in said


def main(times: int) -> int:
    """Interrupt a command so many times, print what came of it, and return the number of faults."""
    chosen = random.Random(0)
    tally = Counter[str]()
    for _ in range(times):
        moment = chosen.uniform(0, SECONDS)
        came, said = interrupt_early(moment)
        tally[came] += 1
        if came == FAULT:
            print(f"after {moment:.3f} s: {said}", flush=True)
    print(f"Ctrl-C in the first {SECONDS} s, {times} times: {dict(tally)}")
    return tally[FAULT]


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1])) else 0)
