"""Signals that ask a command to end: Ctrl-C, what batch systems send, and a terminal that is gone.

Each becomes an exception in the main thread, so that whatever is half done is taken back and what
is left behind is removed. An exception that is raised in the wrong place is lost: PyTorch's
library, as it is loaded, calls Python and drops what that raises, for as long as the loading takes.
So the exception is raised again until somebody says that it has arrived.
"""

from __future__ import annotations

import _thread
import atexit
import signal
import sys
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
#: Seconds after which an exception that has not arrived is raised again.
_REMINDER_SECONDS: Final = 0.2


class Interruption(KeyboardInterrupt):
    """A signal that asks the process to end; whoever takes care of Ctrl-C takes care of it.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interruptions:
    """What became of the signals.

    Attributes:
        pending: the interruption that was raised and has not arrived, or None.
    """

    def __init__(self) -> None:
        self.pending: Interruption | None = None
        self._raised: list[Interruption] = []
        self._since = 0.0
        self._is_reminding = False

    def arrived(self) -> None:
        """Say that the command is about to end because of the signal."""
        self.pending = None

    def handle(self, number: int, _: FrameType | None) -> None:
        """Raise an interruption, unless one is on its way; called as a signal comes."""
        now = time.monotonic()
        is_reminder, self._is_reminding = self._is_reminding, False
        may_be_taking_back = is_reminder or now - self._since < _GRACE_SECONDS
        if self._raised and may_be_taking_back and self._is_on_its_way():
            return
        is_first = self.pending is None
        if is_first:
            self._since = now
            self._raised.clear()
        self.pending = Interruption(number)
        self._raised.append(self.pending)
        if is_first:
            # ``threading`` has locks that the interrupted code may hold.
            _thread.start_new_thread(self._remind, (number, threading.get_ident()))
        raise self.pending

    def _is_on_its_way(self) -> bool:
        """Whether the code that runs now does so because of an interruption: it takes back."""
        handled = sys.exc_info()[1]
        while handled is not None:
            if handled in self._raised:
                return True
            handled = handled.__context__
        return self.pending is None  # it has arrived

    def _remind(self, number: int, main_thread: int) -> None:
        while True:
            time.sleep(_REMINDER_SECONDS)
            if self.pending is None:
                return
            self._is_reminding = True
            signal.pthread_kill(main_thread, number)


@contextmanager
def signals_raised() -> Iterator[Interruptions]:
    """Turn the signals that ask the process to end into ``Interruption``, until the end.

    Then they have the effect that they had before. While the interpreter ends they end it at once
    and without a word: what was to be done is done. Outside of the main thread nothing changes.

    Yields:
        What knows of them, and has to be told when one has arrived.
    """
    interruptions = Interruptions()
    before: dict[int, Any] = {}
    is_main = threading.current_thread() is threading.main_thread()
    try:
        for number in ENDING if is_main else ():
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, interruptions.handle)
        yield interruptions
    finally:
        interruptions.arrived()
        for taken, handler in before.items():
            signal.signal(taken, handler or signal.SIG_DFL)
        atexit.unregister(_let_end)
        atexit.register(_let_end)


def _let_end() -> None:
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
