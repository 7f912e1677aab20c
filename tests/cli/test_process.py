"""A command as a process: its output, the signals that it gets, and what its exit status says."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tandem_hw.cli import group, main
from tandem_hw.cli.process.signals import ENDING, Interruption, signals_raised
from tandem_hw.cli.process.streams import standard_streams
from tandem_hw.cli.terminal import make_console
from tandem_hw.cli.work import verify as verify_work
from tandem_hw.export.net_file import write_net
from tandem_hw.plain_text import LONGEST, plain
from tests.helpers import early_interrupts
from tests.helpers.project import ROOT
from tests.helpers.recordings import small_network


def status_of(*arguments: object) -> int:
    """Run a command as the program of this process."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Have standard output lead to a pipe that nobody reads, or to a full disk."""
    opened: list[io.TextIOWrapper] = []

    def lead_to(what: str) -> None:
        if what == "nobody":
            reading, writing = os.pipe()
            os.close(reading)
        else:
            writing = os.open("/dev/full", os.O_WRONLY)
        opened.append(io.TextIOWrapper(io.FileIO(writing, "w"), "utf-8", write_through=True))
        monkeypatch.setattr(sys, "stdout", opened[-1])

    yield lead_to
    for stream in opened:
        stream.close()


@pytest.fixture
def network(tmp_path: Path) -> Path:
    write_net(small_network(), tmp_path / "small.net")
    return tmp_path / "small.net"


# Exit statuses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "is_equal", "status"),
    [("nobody", True, 0), ("nobody", False, 1), ("full", True, 2), ("full", False, 2)],
)
def test_a_comparison_whose_output_is_cut_keeps_its_status_and_one_that_is_not_told_has_2(
    network: Path,
    output: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    where: str,
    is_equal: bool,
    status: int,
) -> None:
    said: list[str] = []

    def compare(*_: Any) -> bool:
        for _line in range(3):
            said.append("a line")
            make_console().print("a line")
        return is_equal

    monkeypatch.setattr(verify_work, "verify", compare)
    output(where)
    assert status_of("verify", network, "--backends", "reference,lava-cpu") == status
    assert said == ["a line"] * 3
    told = capsys.readouterr().err
    full = "Error: standard output: cannot be written (No space left on device)\n"
    assert (told.splitlines()[-1:] == [full.strip()]) == (where == "full")
    assert "Traceback" not in told


@pytest.mark.parametrize("arguments", [("--help",), ("train", "--help"), ("--version",)])
def test_help_is_told_or_not_told(
    output: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
) -> None:
    output("nobody")
    assert status_of(*arguments) == 0
    output("full")
    assert status_of(*arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_work_goes_on_when_nobody_reads_its_output(
    network: Path, output: Callable[[str], None]
) -> None:
    output("nobody")
    written = network.with_suffix(".json")
    assert status_of("inspect", network, "--json", written) == 0
    assert written.stat().st_size > 100


@pytest.mark.parametrize("closed", [1, 2])
def test_a_standard_stream_that_is_closed_changes_nothing(network: Path, closed: int) -> None:
    script = "import os, sys; os.close(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
    command = Path(sys.executable).with_name("tandem-hw")
    written = network.with_suffix(".json")
    arguments = [str(command), "inspect", str(network), "--json", str(written)]
    done = subprocess.run(
        [sys.executable, "-c", script, str(closed), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert ("hidden" in done.stdout) == (closed != 1)
    # It would begin with the table if it had the number of standard output.
    assert written.read_text().startswith("{\n")


def test_an_encoding_that_lacks_characters_gets_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as file:
        monkeypatch.setattr(sys, "stdout", file)
        with standard_streams() as failures:
            print("±1 × 2 → 3… é \udcff \U0001f600")
        assert failures == []
    assert (tmp_path / "out").read_text() == "+-1 x 2 -> 3... \\xe9 \\udcff \\U0001f600\n"


def test_a_stream_that_another_program_has_made_non_blocking_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    reader = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; time.sleep(0.3); print(len(sys.stdin.read()))"],
        stdin=reading,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(reading)
    with os.fdopen(writing, "w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        with standard_streams() as failures:
            print("x" * (1 << 20))
    assert reader.communicate(timeout=60)[0] == f"{(1 << 20) + 1}\n"
    assert failures == []


# Signals ------------------------------------------------------------------------------------------


@pytest.fixture
def arriving() -> Iterator[None]:
    """Let signals arrive also where the tests run in the background of a script, or by nohup."""
    usual: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("arriving")
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_is_raised_once(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in ENDING]
    again = []
    with signals_raised() as interruptions:
        try:
            os.kill(os.getpid(), number)
        except Interruption as error:
            again.append(error.number)
            for other in ENDING:  # they would interrupt what takes things back
                os.kill(os.getpid(), other)
                again.append(other)
            time.sleep(0.5)  # as would what reminds of the first one
        interruptions.arrived()
        time.sleep(0.5)
    assert again == [number, *ENDING]
    assert [signal.getsignal(one) for one in ENDING] == before


def test_a_signal_that_is_lost_is_raised_again() -> None:
    lost: list[Interruption | None] = []
    with signals_raised() as interruptions:
        for _ in range(3):
            with contextlib.suppress(Interruption):
                if not lost:
                    os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(60)
            lost.append(interruptions.pending)
        interruptions.arrived()
    assert [str(error) for error in lost] == ["SIGTERM"] * 3
    assert len(set(map(id, lost))) == 3


def test_a_signal_that_comes_while_pytorch_is_loaded_is_not_lost(network: Path) -> None:
    script = """
import os, signal, sys, threading
class Loading:
    def find_spec(self, name, *_):
        if name == "torch":
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
sys.meta_path.insert(0, Loading())
from tandem_hw.cli import main
main(sys.argv[1:])
"""
    done = subprocess.run(
        [sys.executable, "-c", script, "simulate", str(network), "--data", "digits"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (143, "Ended by SIGTERM.\n")
    assert done.stdout == ""


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with signals_raised():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("arriving")
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGINT, 130, "Interrupted."),
        (signal.SIGTERM, 143, "Ended by SIGTERM."),
        (signal.SIGHUP, 129, "Ended by SIGHUP."),
    ],
)
def test_a_signal_ends_a_command_in_a_line(
    network: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int, said: str
) -> None:
    def work(*_: Any) -> bool:
        os.kill(os.getpid(), number)
        return True

    monkeypatch.setattr(verify_work, "verify", work)
    result = CliRunner().invoke(main, ["verify", str(network)])
    assert result.exit_code == status
    assert result.stderr == f"{said}\n"


@pytest.mark.parametrize("module", ["click", "tandem_hw.cli.group", "tandem_hw.cli.verify"])
def test_ctrl_c_while_the_command_is_imported_is_quiet(module: str) -> None:
    script = f"""
import sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
from tandem_hw.cli import main
main(["verify", "--help"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stdout == ""
    assert done.stderr in ("", "Interrupted.\n")


def test_ctrl_c_waits_till_what_is_imported_is_whole() -> None:
    script = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Interrupt:
    def find_spec(self, name, *_):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)
        if name == "tandem_hw.cli.group":
            print("whole", flush=True)
sys.meta_path.insert(0, Interrupt())
import tandem_hw.cli
print("not reached")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "whole\n", "")


@pytest.mark.parametrize("name", ["tandem-hw", "other"])
@pytest.mark.parametrize("module", ["tandem_hw.cli", "after"])
def test_ctrl_c_outside_of_what_handles_it_is_quiet_in_the_command_alone(
    tmp_path: Path, name: str, module: str
) -> None:
    """The launcher that pip writes, interrupted before and after our own handlers are there."""
    script = tmp_path / name
    script.write_text(f"""
import sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
import tandem_hw
from tandem_hw.cli import main
import after
""")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert done.returncode == -signal.SIGINT
    assert done.stdout == ""
    assert ("Traceback" in done.stderr) == (name == "other")
    assert (done.stderr == "") == (name == "tandem-hw")


@pytest.mark.parametrize("module", ["tandem_hw", "another"])
def test_ctrl_c_before_a_module_that_is_run_handles_it_is_quiet_in_ours_alone(
    tmp_path: Path, module: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text("""
import sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == "tandem_hw.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupt())
""")
    (tmp_path / "another.py").write_text("import tandem_hw.cli")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == -signal.SIGINT
    assert ("Traceback" in done.stderr) == (module == "another")
    assert (done.stderr == "") == (module == "tandem_hw")


@pytest.mark.usefixtures("arriving")
@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Ended by SIGTERM.")],
)
def test_a_signal_while_the_streams_take_their_places_ends_in_a_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    status: int,
    said: str,
) -> None:
    @contextlib.contextmanager
    def interrupted() -> Iterator[list[str]]:
        os.kill(os.getpid(), number)
        yield []

    monkeypatch.setattr(group, "standard_streams", interrupted)
    assert status_of("--version") == status
    assert capsys.readouterr().err == f"{said}\n"


@pytest.mark.exhaustive
def test_ctrl_c_at_many_early_moments_shows_nothing_of_ours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert early_interrupts.main(60) == 0
    assert f"'{early_interrupts.QUIET}': " in capsys.readouterr().out


# Texts of files -----------------------------------------------------------------------------------


def test_what_steers_a_terminal_is_shown_and_does_not_act() -> None:
    text = "a\x1b[31m\nMATCH\r\x9b1A\u202e\udcff\x00ä→ "
    assert plain(text) == r"a\x1b[31m\nMATCH\r\x9b1A\u202e\udcff\x00ä→ "


def test_a_long_text_loses_its_middle() -> None:
    shown = plain(f"begin{'x' * 100_000}end")
    assert LONGEST < len(shown) < LONGEST + 100
    assert shown.startswith("beginx")
    assert shown.endswith("xend")
    assert f"({100_008 - LONGEST} characters left out)" in shown


def test_an_error_stays_one_line_whatever_a_file_holds(network: Path) -> None:
    name = network.with_name("bad\x1b]0;title\x07\nMATCH: all.net")
    name.write_bytes(b"no network")
    result = CliRunner().invoke(main, ["inspect", str(name)])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert r"bad\x1b]0;title\x07\nMATCH: all.net: not an HDF5 file" in result.stderr


def test_the_console_lets_its_own_colours_through_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    console = make_console()
    console.file = shown = io.StringIO()
    console.print("a\x1b[5mlayer", style="red")
    assert shown.getvalue() == "\x1b[31ma\\x1b[5mlayer\x1b[0m\n"
