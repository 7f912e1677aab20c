"""Signals that ask a command to end: Ctrl-C, what batch systems send, and a terminal that is gone.

Each becomes an exception in the main thread, so that whatever is half done is taken back and what
is left behind is removed. Imported before anything that takes time, this imports next to nothing.
"""

from __future__ import annotations

import atexit
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

#: The signals that are handled, where nobody has said that they be ignored, as ``nohup`` does.
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds that are left for taking things back: another signal within them changes nothing. Ending
#: Lava's processes takes six at most.
_GRACE_SECONDS: Final = 10.0


class Interruption(KeyboardInterrupt):
    """A signal that asks the process to end; whoever takes care of Ctrl-C takes care of it.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def signals_raised() -> Iterator[None]:
    """Turn the signals that ask the process to end into ``Interruption``, until the end.

    Then they have the effect that they had before. While the interpreter ends they end it at once
    and without a word: what was to be done is done. Outside of the main thread nothing changes.
    """
    since: float | None = None

    def raise_once(number: int, _: FrameType | None) -> None:
        nonlocal since
        now = time.monotonic()
        if since is None or now - since > _GRACE_SECONDS:
            since = now
            raise Interruption(number)

    before: dict[int, Any] = {}
    is_main = threading.current_thread() is threading.main_thread()
    try:
        for number in ENDING if is_main else ():
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, raise_once)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        atexit.unregister(_let_end)
        atexit.register(_let_end)


def _let_end() -> None:
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
