from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from tandem_hw.atomic_write import atomic_file, require_writable
from tandem_hw.errors import FileFormatError
from tests.helpers.full_disk import files_no_larger_than


def write(target: Path, text: str) -> None:
    with atomic_file(target) as file:
        file.write(text.encode())


def write_half(target: Path, error: type[BaseException]) -> None:
    with atomic_file(target) as file:
        file.write(b"half")
        file.flush()
        raise error


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_is_there_when_the_block_ends_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "result.json", "whole")
    assert names(tmp_path) == ["result.json"]
    assert (tmp_path / "result.json").read_text() == "whole"


def test_a_reader_sees_the_old_file_until_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    with atomic_file(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_text() == "old"
    assert target.read_text() == "new"


def test_the_temporary_file_is_a_sibling_with_the_same_suffix(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "result.npz"):
        (temporary,) = tmp_path.iterdir()
        assert temporary.name.startswith(".result.")
        assert temporary.name.endswith(".tmp.npz")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_no_other(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "result.json"
    target.write_text("old")
    with pytest.raises(error):
        write_half(target, error)
    assert names(tmp_path) == ["result.json"]
    assert target.read_text() == "old"


def test_an_error_leaves_no_file_where_there_was_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_half(tmp_path / "result.json", ValueError)
    assert names(tmp_path) == []


def test_a_full_disk_is_reported_in_one_line(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    with pytest.raises(FileFormatError) as caught, atomic_file(target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value) == f"{target}: cannot be written (No space left on device)"
    assert names(tmp_path) == []


def test_missing_folders_are_created(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b" / "result.json", "whole")
    assert (tmp_path / "a" / "b" / "result.json").read_text() == "whole"


def test_a_result_has_the_permissions_of_an_ordinary_file(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_text("")
    write(tmp_path / "result.json", "whole")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names(tmp_path)}
    assert len(modes) == 1


def refused(tmp_path: Path, kind: str) -> Path:
    """Make a path that no file can be written to."""
    if kind == "folder":
        target = tmp_path / "folder"
        target.mkdir()
    elif kind == "below a file":
        (tmp_path / "file").write_text("kept")
        target = tmp_path / "file" / "below" / "result.json"
    elif kind == "pipe":
        target = tmp_path / "pipe"
        os.mkfifo(target)
    else:
        target = tmp_path / ("n" * 300)
    return target


KINDS = {
    "folder": "is a folder; give the name of a file to write",
    "below a file": r"cannot be written \((Not a directory|File exists)\)",
    "pipe": "is not an ordinary file",
    "long name": r"cannot be written \(File name too long\)",
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_written_is_refused_before_and_while_writing(
    tmp_path: Path, kind: str
) -> None:
    target = refused(tmp_path, kind)
    before = names(tmp_path)
    for attempt in (require_writable, lambda path: write(path, "text")):
        with pytest.raises(FileFormatError, match=KINDS[kind]) as caught:
            attempt(target)
        assert str(caught.value).startswith(f"{target}: ")
        assert len(str(caught.value).splitlines()) == 1
    assert names(tmp_path) == before


def test_a_symbolic_link_stays_and_leads_to_the_new_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("there.json", "not yet.json"):
        link = tmp_path / name
        link.symlink_to(Path("elsewhere") / name)
        require_writable(link)
        write(link, "old")
        write(link, "new")
        assert link.is_symlink()
        assert (tmp_path / "elsewhere" / name).read_text() == "new"
    assert names(tmp_path / "elsewhere") == ["not yet.json", "there.json"]


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for target in (tmp_path / "a", tmp_path / "a" / "result.json"):
        for attempt in (require_writable, lambda path: write(path, "text")):
            with pytest.raises(FileFormatError, match=r"cannot be written \(Too many levels of"):
                attempt(target)
    assert names(tmp_path) == ["a", "b"]


def test_a_name_as_long_as_can_be_is_written(tmp_path: Path) -> None:
    name = f"{'n' * 250}.json"
    require_writable(tmp_path / name)
    write(tmp_path / name, "whole")
    assert names(tmp_path) == [name]


def test_a_limit_of_the_size_of_files_is_reported(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("old")
    with (
        files_no_larger_than(1000),
        pytest.raises(FileFormatError, match=r"result.json: cannot be written \(File too large\)$"),
    ):
        write(tmp_path / "result.json", "x" * 5000)
    assert (tmp_path / "result.json").read_text() == "old"
    assert names(tmp_path) == ["result.json"]


def test_a_device_is_not_renamed_over() -> None:
    with pytest.raises(FileFormatError, match="is not an ordinary file"):
        write(Path(os.devnull), "text")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_refused_beforehand(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    with pytest.raises(FileFormatError, match=r"cannot be written \(Permission denied\)"):
        require_writable(locked / "deeper" / "result.json")


def test_the_check_beforehand_leaves_nothing_behind(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b" / "result.json")
    assert names(tmp_path) == []


def test_the_check_beforehand_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("old")
    require_writable(tmp_path / "result.json")
    assert names(tmp_path) == ["result.json"]
    assert (tmp_path / "result.json").read_text() == "old"


def test_the_check_beforehand_takes_a_bare_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    require_writable("result.json")
    write(Path("result.json"), "whole")
    assert names(tmp_path) == ["result.json"]
