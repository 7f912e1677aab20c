"""Files that ``torch.save`` wrote, read without trust: no code is run, and nothing grows.

``torch.load(weights_only=True)`` builds tensors and plain containers and runs no code, but for two
forms of files, which are refused here. Before version 2.6 it hands an archive with a program
(TorchScript) to ``torch.jit.load``, which runs it (CVE-2025-32434); a tar archive of the time
before version 0.4 it unpacks, links and devices included. And a few bytes can stand for a tensor of
any size, by strides of 0 or by an allocation that nothing fills.
"""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

#: Whether a file is an archive PyTorch sees by its first bytes, Python by its last ones.
_ARCHIVE_START: Final = b"PK\x03\x04"
#: A record that programs have and torch.save never writes; torch.load knows them by it.
_PROGRAM_RECORD: Final = "constants.pkl"
#: MS-DOS attribute in a zip archive's directory.
_FOLDER_ATTRIBUTE: Final = 0x10


def read_torch_file(path: Path, *, zipped: bool = False) -> Any:
    """Read plain data with tensors.

    Args:
        path: a zip archive, as ``torch.save`` writes it, or what it wrote before version 1.6.
        zipped: take nothing but a zip archive, whose records have checksums.

    Returns:
        The content, tensors on the CPU.

    Raises:
        Exception: of any class, the unpickler's own included: the file is damaged, or holds
            anything but plain data and tensors.
    """
    archive = is_archive(path)
    if archive or zipfile.is_zipfile(path):
        check_archive(path)
    if archive:
        _refuse_program(path)
    elif zipped or _is_tar(path):
        raise ValueError("it is no zip archive that torch.save wrote")
    return torch.load(path, map_location="cpu", weights_only=True)


def _refuse_program(path: Path) -> None:
    # Its own reader, since another might find other records in an archive that is made for that.
    reader: Any = torch._C.PyTorchFileReader(str(path))
    if _PROGRAM_RECORD in reader.get_all_records():
        raise ValueError("it holds a program (TorchScript), no plain data")


def _is_tar(path: Path) -> bool:
    """Whether torch.load would take a file for a tar archive."""
    try:
        tarfile.open(path, "r:").close()
    except tarfile.TarError:
        return False
    return True


def is_archive(path: Path) -> bool:
    """Whether ``torch.load`` takes a file for a zip archive, whose records have checksums.

    What it wrote before version 1.6 has none.
    """
    with path.open("rb") as file:
        return file.read(len(_ARCHIVE_START)) == _ARCHIVE_START


def check_archive(path: Path) -> None:
    """Check the records' lengths and checksums: torch.load hands out whatever memory held.

    Args:
        path: a zip archive, as torch.save writes it.

    Raises:
        zipfile.BadZipFile: a record is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        records, damaged = archive.infolist(), None
        for record in records:
            # torch.save does not compress, and its reader takes a record marked as a folder for
            # an empty one.
            is_folder = record.external_attr & _FOLDER_ATTRIBUTE
            if (
                record.file_size != record.compress_size
                or record.compress_type != zipfile.ZIP_STORED
                or is_folder
            ):
                damaged = record.filename
        # Records that overlap would be read over and over; of some Python warns, and of others not.
        places = {record.header_offset for record in records}
        size = sum(record.file_size for record in records)
        if len(places) < len(records) or size > path.stat().st_size:
            damaged = "the archive's directory"
        damaged = damaged or archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} is damaged")


def check_tensors(content: Any, size: int) -> None:
    """Refuse tensors that are larger than what is stored of them.

    Args:
        content: nested containers, as ``read_torch_file`` returns them.
        size: bytes of the file.

    Raises:
        ValueError: a tensor is not dense, or asks for more than the file holds.
    """
    waiting, seen, storages = [content], set[int](), dict[int, int]()
    while waiting:
        item = waiting.pop()
        if not isinstance(item, dict | list | tuple | set | Tensor) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            waiting += [*item.keys(), *item.values()]
        elif not isinstance(item, Tensor):
            waiting += item
        elif item.layout != torch.strided or item.device.type != "cpu" or item.is_quantized:
            raise ValueError(f"it holds a tensor of {item.layout} on {item.device}")
        else:
            storage = item.untyped_storage()
            if item.numel() * item.element_size() > storage.nbytes():
                raise ValueError(f"a tensor of shape {tuple(item.shape)} is not stored in full")
            storages[storage.data_ptr()] = storage.nbytes()
    if sum(storages.values()) > size:
        raise ValueError(f"its tensors ask for more than the {size} bytes of the file")
