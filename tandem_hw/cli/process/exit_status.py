"""The exit statuses of all commands: what a script may rely on."""

from __future__ import annotations

from typing import Final

#: Everything was done, and all that was compared is equal.
EXIT_DONE: Final = 0
#: What was compared differs, or equal silence proves nothing.
EXIT_MISMATCH: Final = 1
#: It could not be done, or what came out could not be told.
EXIT_ERROR: Final = 2


def exit_after(signal_number: int) -> int:
    """Return the exit status after a signal, as shells have it: 130, 143 or 129."""
    return 128 + signal_number
