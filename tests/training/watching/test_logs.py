"""Logs of a training: a row or a point for each epoch, once, however often it was broken off."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tandem_hw.errors import BackendUnavailableError, DataError, FileFormatError
from tandem_hw.training.watching.epoch_times import EpochClock
from tandem_hw.training.watching.log_names import check_logs, logs_in
from tests.helpers.command_line import run as run_command
from tests.helpers.command_line import succeed
from tests.helpers.trainings import NEW, OLD, run


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = loading.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        name: [(one.step, one.value) for one in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def break_off(epoch: dict[str, Any]) -> None:
    if epoch["epoch"] == 2:
        raise KeyboardInterrupt


def test_csv_has_the_numbers_of_every_epoch(tmp_path: Path) -> None:
    summary = run(tmp_path, log=["csv"])
    found = rows(tmp_path)
    assert [int(row["epoch"]) for row in found] == [1, 2, 3]
    for row, epoch, seconds in zip(found, summary["epochs"], summary["seconds"], strict=True):
        assert float(row["loss"]) == epoch["loss"]
        assert float(row["validation_accuracy"]) == epoch["validation_accuracy"]
        assert row["spiking_layers"] == ""
        assert float(row["seconds"]) == seconds > 0


def test_a_resumed_training_has_every_epoch_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, log=["csv"], epoch_done=break_off)
    before = rows(tmp_path)
    assert [row["epoch"] for row in before] == ["1", "2"]
    summary = run(tmp_path, log=["csv"], resume=True)
    after = rows(tmp_path)
    assert after[:2] == before  # with the seconds that they took
    assert [row["epoch"] for row in after] == ["1", "2", "3"]
    assert json.loads((tmp_path / "metrics.json").read_text())["seconds"] == summary["seconds"]
    run(tmp_path, OLD, log=["csv"], overwrite=True)
    assert [row["epoch"] for row in rows(tmp_path)] == ["1", "2", "3"]
    assert rows(tmp_path) != after


def test_a_training_that_is_made_longer_goes_on_with_its_logs(tmp_path: Path) -> None:
    out = tmp_path / "run"
    succeed("train", "digits", "--model", "mlp", "--epochs", 1, "--log", "csv", "--out", out)
    assert [row["epoch"] for row in rows(out)] == ["1"]
    succeed("train", "--resume", out, "--epochs", 2)
    assert [row["epoch"] for row in rows(out)] == ["1", "2"]
    assert logs_in(out) == ("csv",)
    (out / "tensorboard").mkdir()
    assert logs_in(out) == ("tensorboard", "csv")


def test_tensorboard_has_the_numbers_of_every_epoch_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, log=["tensorboard"], epoch_done=break_off)
    assert [step for step, _ in scalars(tmp_path)["loss"]] == [1, 2]
    summary = run(tmp_path, log=["tensorboard"], resume=True)
    found = scalars(tmp_path)
    for name in ("loss", "accuracy", "validation_accuracy", "spike_rate"):
        expected = [(epoch["epoch"], epoch[name]) for epoch in summary["epochs"]]
        assert [step for step, _ in found[name]] == [step for step, _ in expected]
        for (_, value), (_, wanted) in zip(found[name], expected, strict=True):
            assert value == pytest.approx(wanted, rel=2**-23)  # events hold float32
    assert [step for step, _ in found["seconds"]] == [1, 2, 3]
    run(tmp_path, OLD, log=["tensorboard"], overwrite=True)
    assert [step for step, _ in scalars(tmp_path)["loss"]] == [1, 2, 3]


def test_nothing_is_logged_where_nobody_asks(tmp_path: Path) -> None:
    run(tmp_path, NEW)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint.pt", "last.pt", "metrics.json"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["xml"], 'log "xml" is not known; there are tensorboard, csv'),
        (["csv", "csv"], 'log "csv" is given twice'),
    ],
)
def test_what_cannot_be_logged_is_refused_before_the_training(
    tmp_path: Path, names: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        run(tmp_path / "run", log=names)
    assert not (tmp_path / "run").exists()


def test_a_table_that_is_there_is_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("precious", encoding="utf-8")
    message = r"metrics\.csv: is there already; replace it with --overwrite"
    with pytest.raises(FileFormatError, match=message):
        run(tmp_path, log=["csv"])
    assert (tmp_path / "metrics.csv").read_text(encoding="utf-8") == "precious"
    run(tmp_path, log=["csv"], overwrite=True)
    assert len(rows(tmp_path)) == 3


def test_a_missing_extra_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BackendUnavailableError, match=r"log tensorboard: .* '\.\[tensorboard\]'"):
        check_logs(["tensorboard"])
    check_logs(["csv"])
    out = tmp_path / "run"
    result = run_command("train", "nothing:there", "--log", "csv,tensorboard", "--out", out)
    assert result.exit_code == 2
    assert "tensorboard is not installed" in result.stderr
    assert not out.exists()


def test_a_folder_of_that_name_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorboard").mkdir()  # as a training into the current folder leaves it
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    for name in [one for one in sys.modules if one.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(BackendUnavailableError, match="tensorboard is not installed"):
        check_logs(["tensorboard"])


def test_a_package_that_does_not_fit_the_others_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "__init__.py").write_text("raise TypeError('old\\nsecond')")
    monkeypatch.syspath_prepend(str(tmp_path))
    names = [one for one in sys.modules if one.partition(".")[0] == "tensorboard"]
    for name in (*names, *(one for one in sys.modules if "torch.utils.tensorboard" in one)):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("torch.utils.tensorboard", raising=False)
    with pytest.raises(BackendUnavailableError, match=r"^log tensorboard: .* imported \(old\); in"):
        run(tmp_path / "run", log=["tensorboard"])
    assert not (tmp_path / "run").exists()


def test_a_mistyped_log_is_named(tmp_path: Path) -> None:
    result = run_command("train", "--log", "csv,xml", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "'xml' is no log; there are tensorboard, csv" in result.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"run": "a", "seconds": [1.5, 2]}', [1.5, 2.0]),
        ('{"run": "a", "seconds": [1.5]}', [1.5, None]),  # it lags behind
        ('{"run": "a", "seconds": [1.5, 2, 3]}', [1.5, 2.0]),
        ('{"run": "b", "seconds": [1.5, 2]}', [None, None]),
        ('{"run": "a", "seconds": ["x", true]}', [None, None]),
        ('{"run": "a"}', [None, None]),  # written before there were times
        ("[]", [None, None]),
        ("{", [None, None]),
    ],
)
def test_times_of_epochs_are_taken_up(
    tmp_path: Path, text: str, expected: list[float | None]
) -> None:
    (tmp_path / "metrics.json").write_text(text, encoding="utf-8")
    clock = EpochClock()
    clock.restore(tmp_path, "a", 2)
    assert clock.seconds == expected
