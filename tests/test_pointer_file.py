"""What git leaves in the place of a file is named as such by whoever reads files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tandem_hw.data.datasets import load_dataset
from tandem_hw.errors import DataError, TandemError
from tandem_hw.export.files import read_network
from tandem_hw.export.net_file import read_net
from tandem_hw.export.netx_reader import read_netx
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.pointer_file import refuse_pointer
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
