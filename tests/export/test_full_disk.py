"""Networks on a disk without room: one line, the old file whole, no crash as the program ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tandem_hw.errors import FileFormatError
from tandem_hw.export.files import read_network, write_network
from tests.helpers.full_disk import FillingDisk, files_no_larger_than
from tests.helpers.project import ROOT
from tests.helpers.recordings import small_network


@pytest.mark.parametrize("suffix", [".net", ".nir"])
def test_a_disk_that_fills_leaves_the_old_network(tmp_path: Path, suffix: str) -> None:
    if suffix == ".nir":
        pytest.importorskip("nir")
    path = tmp_path / f"model{suffix}"
    with pytest.MonkeyPatch.context() as watched:
        disk = FillingDisk(watched)
        write_network(small_network(), path, tandem_only=True)
    before = path.read_bytes()
    assert disk.steps >= 4
    for step in range(disk.steps):
        with pytest.MonkeyPatch.context() as full:
            FillingDisk(full, full_from=step)
            with pytest.raises(FileFormatError, match=r"cannot be written \(No space left on dev"):
                write_network(small_network(), path, tandem_only=True)
        assert path.read_bytes() == before
        assert [found.name for found in tmp_path.iterdir()] == [path.name]
    with (
        files_no_larger_than(len(before) // 2),
        pytest.raises(FileFormatError, match=rf"model{suffix}: cannot be written \(File too large"),
    ):
        write_network(small_network(), path, tandem_only=True)
    assert read_network(path).digest == small_network().digest


def test_a_program_that_could_not_write_a_network_ends_without_a_crash(tmp_path: Path) -> None:
    pytest.importorskip("nir")
    script = """
import resource, sys
from tandem_hw.errors import FileFormatError
from tandem_hw.export.files import write_network
from tests.helpers.recordings import small_network
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
for name in sys.argv[1:]:
    try:
        write_network(small_network(), name, tandem_only=True)
    except FileFormatError as error:
        print(error)
"""
    names = [str(tmp_path / name) for name in ("a.net", "a.nir")]
    done = subprocess.run(
        [sys.executable, "-c", script, *names], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")  # HDF5 itself ends by a segmentation fault
    assert done.stdout.count("cannot be written (File too large)") == 2
    assert list(tmp_path.iterdir()) == []
