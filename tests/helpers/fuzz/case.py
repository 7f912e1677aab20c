"""One damaged file: made from a format and a number, read, and judged."""

from __future__ import annotations

import shutil
import warnings
from functools import cache
from pathlib import Path
from random import Random
from tempfile import mkdtemp

from tandem_hw.errors import TandemError
from tandem_hw.plain_text import plain
from tests.helpers.fuzz.damage import damage_bytes
from tests.helpers.fuzz.formats import FORMATS


@cache
def seeds(name: str) -> tuple[Path, ...]:
    """Return the whole files of a format, which this process makes once."""
    return tuple(FORMATS[name].write(Path(mkdtemp(prefix=f"fuzz-{name}-"))))


def make(name: str, number: int, folder: Path) -> Path:
    """Write the damaged file of a case into a folder, and return it."""
    random = Random(f"{name} {number}")
    whole = random.choice(seeds(name))
    path = folder / whole.name
    shutil.copy(whole, path)
    if random.random() < 0.4:
        path.write_bytes(damage_bytes(path.read_bytes(), random))
    else:
        for _ in range(random.choice((1, 1, 2))):
            FORMATS[name].edit(path, random)
    return path


def run(name: str, number: int, folder: Path) -> str | None:
    """Read the damaged file of a case.

    Returns:
        The line in which the command line says why it was refused, or None where it holds what can
        be used.

    Raises:
        AssertionError: backends do not agree on what was read.
        Exception: whatever else came out is a fault.
    """
    path = make(name, number, folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            FORMATS[name].read(path)
    except TandemError as error:
        return plain(str(error))
    except MemoryError:  # the command line says it in a line
        return "out of memory"
    return None
