"""Write a network as C99: a source of its own and the header beside it."""

from __future__ import annotations

import os
from pathlib import Path

from tandem_hw.atomic_write import atomic_path, require_writable
from tandem_hw.errors import FileFormatError
from tandem_hw.export.c99.identifiers import prefix_of
from tandem_hw.export.c99.self_test import SelfTest
from tandem_hw.export.c99.source import SourceFiles, source_files
from tandem_hw.network.quantized import QuantizedNetwork, require_quantized

SUFFIX = ".c"


def header_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of the header that is written with a source."""
    return Path(path).with_suffix(".h")


def write_c(
    network: QuantizedNetwork,
    path: str | os.PathLike[str],
    *,
    self_test: SelfTest | None = None,
) -> SourceFiles:
    """Write a network as C99 that needs ``stdint.h`` and ``string.h`` alone.

    The same network gives the same text under the same name. Each file is written whole or not at
    all, the header first.

    Args:
        network: what to write.
        path: the source, ``*.c``; all its symbols begin with the file's name.
        self_test: samples and results for a ``main`` behind ``#ifdef NAME_SELF_TEST``.

    Returns:
        What was written.

    Raises:
        NetworkError: it is no quantized network, or has synapses that C does not know.
        DataError: the self-test does not fit the network.
        FileFormatError: the name does not end in ``.c``, or a path cannot be written to.
    """
    require_quantized(network)
    path, header = Path(path), header_path(path)
    if path.suffix != SUFFIX:
        raise FileFormatError(f"{path}: C is written to a file named *{SUFFIX}; give such a name")
    for one in (path, header):
        require_writable(one)
    prefix = prefix_of(path)
    files = source_files(network, prefix, header.name, self_test)
    for target, text in ((header, files.header), (path, files.source)):
        with atomic_path(target) as temporary:
            temporary.write_text(text, encoding="ascii")
    return files
