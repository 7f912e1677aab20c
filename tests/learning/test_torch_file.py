"""Tensors of foreign files hold what they say, or are refused."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tandem_hw.errors import FileFormatError
from tandem_hw.learning.checkpoint import load_checkpoint
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


class Program(torch.nn.Module):
    """Says something as it is loaded, and could write files."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export  # type: ignore[untyped-decorator]
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return torch.zeros(1), self.training

    @torch.jit.export  # type: ignore[untyped-decorator]
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        print("code from a file runs")
        self.training = state[1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*torch.jit:FutureWarning")
def test_a_program_is_refused_and_does_not_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.pt"
    torch.jit.save(torch.jit.script(Program()), tmp_path / "program.pt")
    with zipfile.ZipFile(tmp_path / "program.pt") as saved, zipfile.ZipFile(path, "w") as plain:
        for info in saved.infolist():
            plain.writestr(info.filename, saved.read(info))  # uncompressed, as torch.save has it
    torch.jit.load(path)
    assert capfd.readouterr().out == "code from a file runs\n"
    for zipped in (False, True):
        with pytest.raises(ValueError, match=r"it holds a program \(TorchScript\), no plain data"):
            read_torch_file(path, zipped=zipped)
    with pytest.raises(FileFormatError, match="is damaged or not a checkpoint"):
        load_checkpoint(path)
    assert capfd.readouterr().out == ""


def test_a_tar_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("storages")
        link.type, link.linkname = tarfile.SYMTYPE, "/dev/zero"
        archive.addfile(link)
    with pytest.raises(ValueError, match=r"no zip archive that torch\.save wrote"):
        read_torch_file(path)


def test_what_torch_save_wrote_before_version_1_6_is_read_where_no_checksum_is_asked_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.pt"
    torch.save({"x": torch.arange(5)}, path, _use_new_zipfile_serialization=False)
    assert read_torch_file(path)["x"].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"no zip archive that torch\.save wrote"):
        read_torch_file(path, zipped=True)


def test_an_archive_behind_other_bytes_is_refused(tmp_path: Path) -> None:
    """PyTorch goes by the first bytes of a file, Python by the last."""
    content = io.BytesIO()
    torch.save({"x": torch.arange(5)}, content)
    (tmp_path / "a.pt").write_bytes(b"#!/bin/sh\n" + content.getvalue())
    with pytest.raises(ValueError, match=r"no zip archive that torch\.save wrote"):
        read_torch_file(tmp_path / "a.pt", zipped=True)


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
