"""No file makes a command take more than 5 seconds and 1 GB, or end in anything but a message."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tandem_hw.data.datasets import load_dataset
from tandem_hw.errors import FileFormatError
from tandem_hw.export.net_file import write_net
from tandem_hw.export.nir_file import read_nir_tree
from tests.helpers import tiny_files
from tests.helpers.networks import small_file_network
from tests.helpers.project import ROOT

SECONDS = 5


def _commands(folder: Path) -> list[tuple[list[Any], str]]:
    """Write all files; return what reads them, and the message that refuses each."""
    pytest.importorskip("nir")
    commands: list[tuple[list[Any], str]] = [
        (["export", str(folder / name), "--out", str(folder / "new.net")], message)
        for name, message in tiny_files.write_checkpoints(folder).items()
    ]
    for name, (write, message) in tiny_files.NIR_FILES.items():
        path = folder / f"{name}.nir"
        write(path)
        if name in ("heap", "bytes", "groups"):
            commands.append((["inspect", str(path)], message))
        if name != "groups":
            shape = [2, 8, 8] if name in ("window", "padding") else [5]
            commands.append((["from_nir", str(path), shape], message))
    tiny_files.write_zip_bomb(folder / "bomb.npz", 4000)
    tiny_files.write_wide_sensor(folder / "sensor.npz")
    write_net(small_file_network(), folder / "model.net")
    bomb = f"npz:{folder / 'bomb.npz'}"
    commands += [
        (["train", bomb, "--out", str(folder / "run")], "takes 4194304000 bytes, over 128 times"),
        (["simulate", str(folder / "model.net"), "--data", bomb], "takes 4194304000 bytes"),
        (["events", str(folder / "sensor.npz")], "are 2700000000 counts, far more than a file of"),
    ]
    return commands


@pytest.mark.timeout(120)
def test_tiny_files_take_little_time_and_memory(tmp_path: Path) -> None:
    commands = _commands(tmp_path)
    tiny_files.write_wide_net(tmp_path / "wide.net")
    lines = [json.dumps(arguments) for arguments, _ in commands]
    lines.append(json.dumps(["inspect", str(tmp_path / "wide.net")]))
    child = subprocess.run(
        [sys.executable, "-m", "tests.helpers.bounded_reads"],
        cwd=ROOT,
        input="\n".join(lines),
        capture_output=True,
        text=True,
        check=False,
    )
    found = [json.loads(line) for line in child.stdout.splitlines()]
    assert len(found) == len(lines), child.stderr
    for (arguments, message), (status, output, seconds, mebibytes) in zip(
        commands, found[:-1], strict=True
    ):
        assert (status, len(output.splitlines())) == (2, 1), (arguments, output)
        assert output.startswith("Error: ")
        assert re.search(message, output), (arguments, output)
        assert seconds < SECONDS, arguments
        assert mebibytes < 1024, arguments
    status, output, seconds, mebibytes = found[-1]  # it is valid, if large
    assert (status, "wide" in output) == (0, True)
    assert seconds < SECONDS
    assert mebibytes < 1024
    sizes = [path.stat().st_size for path in tmp_path.iterdir() if path.is_file()]
    assert max(sizes) < 5_000_000


@pytest.mark.timeout(20)
@pytest.mark.parametrize("size", tiny_files.HEAP_SIZES)
def test_a_damaged_heap_is_refused_at_once(tmp_path: Path, size: int) -> None:
    path = tiny_files.write_foreign(tmp_path / "foreign.nir")
    assert read_nir_tree(path)["type"] == "NIRGraph"
    tiny_files.damage_heap(path, size)
    with pytest.raises(FileFormatError, match=r"heap of its texts is damaged|not where"):
        read_nir_tree(path)


def test_a_data_set_that_compresses_well_is_still_read(tmp_path: Path) -> None:
    images = np.zeros((300, 1, 64, 64), np.uint8)  # 1.2 MB in 3 kB
    images[:, 0, 3, 4] = 200
    labels = np.arange(300) % 3
    path = tmp_path / "sparse.npz"
    np.savez_compressed(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert path.stat().st_size < images.size // 100
    assert np.array_equal(load_dataset(f"npz:{path}").x_test, images)
