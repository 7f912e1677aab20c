"""``tandem-hw export`` to C: from a .net file, with a self-test, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from tandem_hw import write_net
from tandem_hw.cli import main
from tests.helpers.c_programs import STRICT, compile_c, needs_compiler
from tests.helpers.networks import small_network


def invoke(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [*map(str, words)])
    return done.exit_code, done.output


@needs_compiler
def test_a_net_file_becomes_c_that_tests_itself(tmp_path: Path) -> None:
    write_net(small_network(), tmp_path / "a.net")
    code, output = invoke("export", tmp_path / "a.net", "--out", tmp_path / "a.c", "--self-test", 4)
    assert code == 0, output
    assert "bytes of constants and" in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.c", "a.h", "a.net"]
    program = compile_c(["gcc", *STRICT, "-DA_SELF_TEST"], tmp_path, "a.c")
    assert subprocess.run([program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "b.net", "--self-test", "3"), "--self-test is for .c files"),
        (("--out", "b.net", "--data", "digits"), "--data is for .c files"),
        (("--out", "b.c", "--data", "digits"), "--data is for a self-test"),
        (("--out", "b.c", "--tandem-only"), "--tandem-only is for .nir files"),
        (
            (
                "--out",
                "b c.c",
            ),
            "the name of a C file goes into its source",
        ),
        (
            (
                "--out",
                "a.c",
            ),
            "would be written over a.h",
        ),
    ],
)
def test_what_is_wrong_is_refused_before_any_work(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = "a.h" if "a.c" in words else "a.net"
    write_net(small_network(), source)
    code, output = invoke("export", source, *words)
    assert code == 2
    assert message in " ".join(output.split())
    assert [path.name for path in tmp_path.iterdir()] == [source]
