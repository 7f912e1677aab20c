"""Networks in files of any kind: NIR and C by the suffix, else ours or lava-dl's."""

from __future__ import annotations

import os
from pathlib import Path

import h5py

from tandem_hw.errors import FileFormatError
from tandem_hw.export.c99.written_files import is_c
from tandem_hw.export.net_file import read_net, write_net
from tandem_hw.export.netx_reader import is_netx, read_netx
from tandem_hw.network.quantized import QuantizedNetwork


def read_network(path: str | os.PathLike[str]) -> QuantizedNetwork:
    """Read a network that tandem-hw or lava-dl wrote, from NIR where the name ends in ``.nir``.

    Raises:
        FileFormatError: as ``read_net``, ``read_netx`` and ``read_nir``.
    """
    if not is_nir(path):
        return read_netx(path) if is_netx(path) else read_net(path)
    from tandem_hw.export.nir_reader import read_nir

    return read_nir(path)


def write_network(
    network: QuantizedNetwork,
    path: str | os.PathLike[str],
    *,
    tandem_only: bool = False,
    soft_reset: bool = False,
) -> None:
    """Write a network, as NIR where the name ends in ``.nir``, as C where it ends in ``.c``.

    Args:
        network: what to write.
        path: the file.
        tandem_only: of NIR, as for ``write_nir``.
        soft_reset: of NIR, as for ``write_nir``.

    Raises:
        NetworkError: as ``write_net``, ``write_nir`` and ``write_c``.
        BackendUnavailableError: the package nir is needed and not installed.
        FileFormatError: the path cannot be written to.
    """
    if is_c(path):
        from tandem_hw.export.c99.writer import write_c

        write_c(network, path)
        return
    if not is_nir(path):
        write_net(network, path)
        return
    from tandem_hw.export.nir_writer import write_nir

    write_nir(network, path, tandem_only=tandem_only, soft_reset=soft_reset)


def check_name(path: str | os.PathLike[str]) -> None:
    """Refuse the name of a file to write that says no format.

    Raises:
        FileFormatError: its suffix is none of ``.net``, ``.nir`` and ``.c``, or what a C compiler
            could not include.
    """
    if is_c(path):
        from tandem_hw.export.c99.writer import check_c_name

        check_c_name(path)
    elif Path(path).suffix.lower() not in (".net", ".nir"):
        raise FileFormatError(f"{path}: networks are written as .net, .nir or .c; give such a name")


def is_nir(path: str | os.PathLike[str]) -> bool:
    """Whether the name of a file says that it is NIR."""
    return Path(path).suffix.lower() == ".nir"


def is_network(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one of a network's, by its name or as HDF5; a checkpoint is none."""
    return Path(path).suffix.lower() in (".net", ".nir") or bool(h5py.is_hdf5(path))
