"""The progress of a training: where it is shown, how much it says, and the time that is left."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from tandem_hw.training.progress import StepReport
from tandem_hw.training.watching import bar
from tandem_hw.training.watching.bar import NotebookOutput, TrainingBar, training_columns
from tandem_hw.training.watching.words import describe_epoch, duration
from tests.helpers.trainings import run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Let standard error be a terminal."""
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")

    def console(**how: object) -> Console:
        assert how.pop("stderr") is True
        return Console(file=stream, width=80, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(bar, "Console", console)
    return stream


def test_a_training_is_shown_where_somebody_looks_on(tmp_path: Path, terminal: Terminal) -> None:
    run(tmp_path)
    shown = terminal.getvalue()
    for part in ("epoch 3/3", "epoch 1: loss", "epoch 3: loss", "validation accuracy", " s\n"):
        assert part in shown


@pytest.mark.parametrize("how", [{"quiet": True}, {"report": lambda _: None}])
def test_a_training_is_silent_where_that_is_wanted_or_somebody_shows_it(
    tmp_path: Path, terminal: Terminal, how: dict[str, Any]
) -> None:
    run(tmp_path, **how)
    assert terminal.getvalue() == ""


def test_nothing_is_shown_in_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(tmp_path)
    assert capfd.readouterr() == ("", "")


class Output:
    """Stands for the output of a notebook's cell, and keeps what it has shown."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def display(self, content: dict[str, str], **how: object) -> Output:
        assert how == {"raw": True, "display_id": True}
        assert not self.texts, "a second output"
        return self.update(content, raw=True)

    def update(self, content: dict[str, str], *, raw: bool) -> Output:
        assert raw
        assert list(content) == ["text/plain"]
        self.texts.append(content["text/plain"])
        return self


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Output:
    """Let standard error be a notebook's."""
    display = pytest.importorskip("IPython.display")
    output = Output()
    monkeypatch.setattr(display, "display", output.display)
    monkeypatch.setattr(bar, "Console", lambda **_: Console(force_jupyter=True))
    return output


def test_a_notebook_has_one_output_with_a_line_for_each_epoch(
    tmp_path: Path, notebook: Output, capfd: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path)
    assert notebook.texts[0].startswith("epoch 1/3, 1/")
    *lines, last = notebook.texts[-1].splitlines()
    assert [line.partition(":")[0] for line in (*lines, last)] == ["epoch 1", "epoch 2", "epoch 3"]
    assert last.endswith(" s")
    assert capfd.readouterr() == ("", "")


def test_a_quiet_training_leaves_a_notebook_alone(tmp_path: Path, notebook: Output) -> None:
    run(tmp_path, quiet=True)
    assert notebook.texts == []


def test_the_line_of_a_notebook_moves_twice_a_second(notebook: Output) -> None:
    now = [100.0]
    output = NotebookOutput(clock=lambda: now[0])
    for batch in range(1, 7):
        output.step(step(3, batch))
        now[0] += 0.25  # no rounding
    state = "loss 0.1234 accuracy 98.76% spike rate 0.123"
    assert notebook.texts == [
        f"epoch 3/12, 1/100: {state}",
        f"epoch 3/12, 3/100: 4:09 left {state}",
        f"epoch 3/12, 5/100: 4:09 left {state}",
    ]
    epoch = {"epoch": 3, "loss": 0.5, "accuracy": 0.75, "spike_rate": 0.1}
    line = "epoch 3: loss 0.5000, accuracy 75.00%, spike rate 0.100, 1.5 s"
    output.epoch_done({**epoch, "validation_accuracy": None})
    assert notebook.texts[-1] == line
    now[0] += 1
    output.step(step(4, 1))
    assert notebook.texts[-1].splitlines()[0] == line
    assert notebook.texts[-1].splitlines()[1].startswith("epoch 4/12, 1/100: ")


def step(epoch: int, batch: int) -> StepReport:
    return StepReport(epoch, 12, batch, 100, 0.1234, 0.9876, "accuracy", 0.1234)


def test_the_time_that_is_left_goes_by_the_steps_so_far() -> None:
    now = [100.0]
    stream = Terminal()
    console = Console(file=stream, width=80, force_terminal=True, color_system=None)
    with Progress(*training_columns(), console=console, auto_refresh=False) as progress:
        shown = TrainingBar(progress, clock=lambda: now[0])
        (task,) = progress.tasks
        shown.step(step(3, 1))
        assert task.fields["state"].startswith("loss 0.1234 accuracy 98.76% spike rate 0.123")
        now[0] += 10
        shown.step(step(3, 11))  # ten steps in ten seconds, and 989 to go
        assert task.fields["state"].startswith("16:29 left loss 0.1234")
        progress.refresh()
        assert shown.seconds_of_epoch() == 10
        now[0] += 3
        assert shown.seconds_of_epoch() == 3
    line = next(part for part in stream.getvalue().splitlines() if "16:29 left" in part)
    assert "epoch 3/12" in line
    assert "spike rate 0.123" in line  # nothing is cut in 80 characters


def test_words_of_an_epoch_tell_its_seconds_where_they_are_known() -> None:
    epoch = {"epoch": 2, "loss": 0.5, "accuracy": 0.75, "validation_accuracy": None}
    line = "epoch 2: loss 0.5000, accuracy 75.00%, spike rate 0.100"
    assert describe_epoch(epoch | {"spike_rate": 0.1}) == line
    assert describe_epoch(epoch | {"spike_rate": 0.1}, 2.345) == f"{line}, 2.3 s"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:00"), (59.6, "1:00"), (61, "1:01"), (3723, "1:02:03")]
)
def test_a_duration_is_hours_minutes_and_seconds(seconds: float, text: str) -> None:
    assert duration(seconds) == text
