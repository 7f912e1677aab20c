"""``python -m tandem_hw``: the command line, also as ``torchrun -m tandem_hw`` starts it."""

import os
import sys

try:
    if sys.path[0] == os.getcwd():
        # ``-m`` puts the current folder first, where a queue.py would take the place of Python's
        # own; the command ``tandem-hw`` does not look there either.
        del sys.path[0]
except OSError:  # the current folder may have been removed
    pass

from tandem_hw.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
