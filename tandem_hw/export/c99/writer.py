"""Write a network as C99: a source of its own and the header beside it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from tandem_hw.atomic_write import require_writable, write_whole
from tandem_hw.errors import FileFormatError
from tandem_hw.export.c99.identifiers import prefix_of
from tandem_hw.export.c99.self_test import SelfTest
from tandem_hw.export.c99.source import SourceFiles, source_files
from tandem_hw.export.c99.written_files import C_SUFFIX, header_path, is_c
from tandem_hw.network.quantized import QuantizedNetwork, require_quantized

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9._+-]+")


def check_c_name(path: str | os.PathLike[str]) -> None:
    """Refuse the name of a source that says no C, or that no source could include as a header.

    Raises:
        FileFormatError: the name does not end in ``.c``, or has other characters than letters,
            digits and a few marks.
    """
    path = Path(path)
    if not is_c(path):
        raise FileFormatError(f"{path}: C is written to a file named *{C_SUFFIX}; give such a name")
    if not _PLAIN_NAME.fullmatch(path.name):
        raise FileFormatError(
            f"{path}: the name of a C file goes into its source; give one of letters without "
            f"accents, digits and ._+-"
        )


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
        FileFormatError: as ``check_c_name``, or a path cannot be written to.
    """
    require_quantized(network)
    path, header = Path(path), header_path(path)
    check_c_name(path)
    for one in (path, header):
        require_writable(one)
    prefix = prefix_of(path)
    files = source_files(network, prefix, header.name, self_test)
    for target, text in ((header, files.header), (path, files.source)):
        write_whole(target, text.encode("ascii"))
    return files
