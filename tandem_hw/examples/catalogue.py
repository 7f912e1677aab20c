"""The networks that come with the package: their names, files, data sets, and how good they are.

``python -m benchmarks examples`` trains them, and writes the files and ``record.json`` beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tandem_hw.errors import FileFormatError

#: What a NET begins with that is one of these.
PREFIX: Final = "example:"
FOLDER: Final = Path(__file__).parent
RECORD: Final = FOLDER / "record.json"


@dataclass(frozen=True)
class Example:
    """A trained network.

    Attributes:
        name: as in ``example:NAME``.
        data: the data set that it was trained on, as ``--data`` takes it.
        purpose: what it does, one line.
    """

    name: str
    data: str
    purpose: str

    @property
    def spec(self) -> str:
        """What a command takes for NET."""
        return f"{PREFIX}{self.name}"

    @property
    def path(self) -> Path:
        """Its ``.net`` file in the package."""
        return FOLDER / f"{self.name}.net"


EXAMPLES: Final[Mapping[str, Example]] = {
    example.name: example
    for example in (
        Example("digits", "digits", "8x8 images of digits, ten classes"),
        Example("moving-digits", "moving-digits", "events of digits that move, ten classes"),
        Example("autoencoder", "digits", "8x8 images of digits, and the image again as output"),
    )
}


def example_path(name: str) -> Path:
    """Return the file of a network that comes with the package, to be read and not written.

    Args:
        name: a key of ``EXAMPLES``, with ``example:`` before it or without.

    Raises:
        FileFormatError: there is no such network.
    """
    name = name.removeprefix(PREFIX)
    if name not in EXAMPLES:
        raise FileFormatError(
            f"{PREFIX}{name}: is no example; there are "
            f"{', '.join(example.spec for example in EXAMPLES.values())}"
        )
    return EXAMPLES[name].path


def read_record() -> dict[str, dict[str, Any]]:
    """Return what was written as the networks were made.

    By name of an example there are "digest" (of the network), "sha256" (of its file) and "metrics"
    (on all test samples).
    """
    record: dict[str, dict[str, Any]] = json.loads(RECORD.read_text(encoding="utf-8"))
    return record
