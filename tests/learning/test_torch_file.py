"""Tensors of foreign files hold what they say, or are refused."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tandem_hw.learning.torch_file import check_archive, check_tensors, is_archive, read_torch_file


def test_tensors_that_share_memory_are_counted_once() -> None:
    whole = torch.zeros(100)
    content: dict[str, Any] = {"a": [whole, whole[3:], (whole.reshape(10, 10).T, {"b": whole})]}
    content["itself"] = content
    check_tensors(content, 400)
    with pytest.raises(ValueError, match="its tensors ask for more than the 399 bytes of the file"):
        check_tensors(content, 399)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(1).expand(5, 7), r"a tensor of shape \(5, 7\) is not stored in full"),
        (torch.zeros(3, device="meta"), "it holds a tensor of torch.strided on meta"),
        (torch.eye(3).to_sparse(), "it holds a tensor of torch.sparse_coo on cpu"),
    ],
)
def test_tensors_that_are_not_stored_in_full_are_refused(tensor: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_tensors({"x": [tensor]}, 1 << 20)


def test_records_that_overlap_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"x": torch.zeros(1000), "y": torch.zeros(1000)}, path)
    assert len(read_torch_file(path, zipped=True)) == 2
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: info for info in archive.infolist()}
        directory = archive.start_dir
    one, other = records["a/data/0"], records["a/data/1"]
    content = bytearray(path.read_bytes())
    place = content.index(b"a/data/1", directory) - 4  # where the record begins
    assert int.from_bytes(content[place : place + 4], "little") == other.header_offset
    content[place : place + 4] = one.header_offset.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(zipfile.BadZipFile):
        check_archive(path)


def test_an_archive_that_unpacks_to_more_than_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", bytes(1000))
        archive.filelist += archive.filelist * 99  # one record, a hundred times in the directory
        archive.NameToInfo.update({str(index): archive.filelist[0] for index in range(99)})
    with pytest.raises(zipfile.BadZipFile, match="the archive's directory is damaged"):
        check_archive(path)


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1000)}, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as plain,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for info in plain.infolist():
            packed.writestr(info.filename, plain.read(info))
    shutil.move(tmp_path / "b.pt", tmp_path / "a.pt")
    with pytest.raises(zipfile.BadZipFile, match="is damaged"):
        read_torch_file(tmp_path / "a.pt")


def test_an_archive_is_what_pytorch_takes_for_one(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"x": torch.zeros(2)}, path)
    assert is_archive(path)
    torch.save({"x": torch.zeros(2)}, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    assert not is_archive(tmp_path / "b.pt")
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"PK\x05\x06")])  # without its end
    assert not zipfile.is_zipfile(path)
    assert is_archive(path)
    with pytest.raises(zipfile.BadZipFile):
        read_torch_file(path)
