"""Paths that lead to no file are named by whoever reads files: pointers of git, names too long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tandem_hw.atomic_write import write_json
from tandem_hw.conversion.convert import convert
from tandem_hw.conversion.onnx.from_onnx import from_onnx
from tandem_hw.data.datasets import load_dataset
from tandem_hw.data.recordings.files import read_events
from tandem_hw.errors import DataError, FileFormatError, TandemError
from tandem_hw.export.files import read_network
from tandem_hw.export.net_file import read_net
from tandem_hw.export.netx_reader import read_netx
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.pointer_file import refuse_pointer
from tandem_hw.training.loop import train
from tandem_hw.training.options import TrainingOptions
from tandem_hw.training.warm_start import is_tandem_checkpoint, load_parameters

POINTERS = {
    "git lfs pull": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "git annex get": b"/annex/objects/SHA256E-s12345--4d7a.net\n",
}
READERS: dict[str, Callable[[Path], Any]] = {
    "network.net": read_net,
    "foreign.net": read_netx,
    "any.net": read_network,
    "any.nir": read_network,
    "checkpoint.pt": load_checkpoint,
    "parameters.pt": lambda path: load_parameters(nn.Linear(2, 2), path),
    "init.pt": is_tandem_checkpoint,
    "images.npz": lambda path: load_dataset(f"npz:{path}"),
    "events.npz": lambda path: load_dataset(f"events:{path}", num_steps=3, input_bits=1),
}


@pytest.mark.parametrize("command", POINTERS)
@pytest.mark.parametrize("name", READERS)
def test_a_pointer_is_named_with_the_command_that_fetches(
    tmp_path: Path, name: str, command: str
) -> None:
    (tmp_path / name).write_bytes(POINTERS[command])
    with pytest.raises(TandemError, match=f"{name}: is a pointer of git.*: {command}"):
        READERS[name](tmp_path / name)


def test_other_files_and_missing_ones_are_left_to_their_readers(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"version 1")
    for path in (tmp_path / "text", tmp_path, tmp_path / "missing"):
        refuse_pointer(path, DataError)


LONG_NAMES = {"a name": "a" * 300, "a path": "a/" * 3000 + "b"}
UNREACHABLE = READERS | {
    "network.onnx": from_onnx,
    "recording.aedat4": read_events,
    "images": lambda path: load_dataset(f"folder:{path}"),
    "labels.csv": lambda path: load_dataset(f"folder:{path}"),
    "arrays": lambda path: load_dataset(f"npy:{path}"),
    "size=3": lambda path: load_dataset(f"folder:{path},size=3"),
    "recordings": lambda path: load_dataset(f"events:{path}", num_steps=3, input_bits=1),
}


@pytest.mark.parametrize("long", LONG_NAMES)
@pytest.mark.parametrize("name", UNREACHABLE)
def test_a_name_that_is_too_long_is_refused_by_our_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, long: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(f"{LONG_NAMES[long]}{name}")
    with pytest.raises(TandemError, match=r"cannot be read \(File name too long\)") as told:
        UNREACHABLE[name](path)
    assert str(path) in str(told.value)


@pytest.mark.parametrize("long", LONG_NAMES)
def test_a_folder_for_a_training_that_cannot_be_is_refused_by_our_own_error(long: str) -> None:
    network = convert(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), input_shape=(1, 8, 8),
                      num_steps=2)  # fmt: skip
    with pytest.raises(FileFormatError, match=r"cannot be written \(File name too long\)"):
        train(network, load_dataset("digits"), TrainingOptions(epochs=1), LONG_NAMES[long])


def test_a_name_with_a_zero_byte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"cannot be written \(a name has no zero byte\)"):
        write_json(tmp_path / "a\0b", {})


def test_a_row_of_a_csv_file_that_names_no_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"path,label\n{'a' * 300},1\n")
    with pytest.raises(DataError, match=r"line 2 names 'a+', and there is no such file beside it"):
        load_dataset(f"folder:{tmp_path / 'labels.csv'}")
