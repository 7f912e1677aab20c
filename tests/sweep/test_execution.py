"""Trainings side by side, one after what it starts from, and what failures and breaks do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest

from tandem_hw.sim.cores import cores
from tandem_hw.sweep import execution
from tandem_hw.sweep.child import StoppedError
from tandem_hw.sweep.execution import execute, this_machine, threads_for
from tandem_hw.sweep.grid import Run
from tests.helpers.waiting import wait_for


def run_of(name: str, after: Run | None = None) -> Run:
    return Run((name,), {"name": name}, {"name": name}, after)


A, B = run_of("a"), run_of("b")
A_THEN, A_LAST = run_of("then", A), run_of("last", run_of("then", A))


def executed(
    runs: list[Run], train: Callable[[str], str | None], jobs: int = 2
) -> list[tuple[str, str | None]]:
    """Execute trainings by a function of their names; return what ended, in its order."""
    ended: list[tuple[str, str | None]] = []
    called = {run.name: run.arguments[0] for run in runs}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(execution, "train_in_child", lambda folder, *_: train(called[folder.name]))
        with this_machine(jobs, 1) as start:
            execute(
                runs,
                lambda run: Path(run.name),
                start,
                lambda run, failure: ended.append((run.arguments[0], failure)),
            )
    return ended


def test_as_many_run_at_a_time_as_there_are_jobs() -> None:
    together = threading.Barrier(2, timeout=30)

    def train(name: str) -> None:
        together.wait()

    assert sorted(executed([A, B], train)) == [("a", None), ("b", None)]


def test_a_training_waits_for_what_it_starts_from() -> None:
    begun: list[str] = []
    ended = executed([A_LAST, A_THEN, A, B], begun.append, jobs=4)
    assert sorted(begun) == ["a", "b", "last", "then"]
    assert [name for name in begun if name != "b"] == ["a", "then", "last"]
    assert [failure for _, failure in ended] == [None] * 4


def test_one_that_is_done_already_is_not_waited_for() -> None:
    assert executed([A_THEN], lambda _: None) == [("then", None)]


def test_one_that_fails_ends_what_starts_from_it_and_nothing_else() -> None:
    ended = executed([A, A_THEN, A_LAST, B], lambda name: "no data" if name == "a" else None)
    told = dict(ended)
    assert (told["a"], told["b"]) == ("no data", None)
    assert told["then"] == (f"was not begun: the training that it starts from, {A.name}, failed")
    assert told["last"] == (
        f"was not begun: the training that it starts from, {A_THEN.name}, failed"
    )


def test_a_defect_in_one_training_is_its_failure() -> None:
    def train(name: str) -> None:
        if name == "a":
            raise OSError("No space left on device")

    told = dict(executed([A, B], train))
    assert told == {"a": "OSError: No space left on device", "b": None}


def test_those_that_run_are_ended_and_no_others_begun_when_it_is_left() -> None:
    begun: list[str] = []
    stopped: list[str] = []

    def wait_until_stopped(folder: Path, threads: int, should_stop: Callable[[], bool]) -> None:
        begun.append(folder.name)
        wait_for(should_stop)
        stopped.append(folder.name)
        raise StoppedError

    def interrupted() -> None:
        with this_machine(2, 1) as start:
            futures = [start(Path(name)) for name in "abcd"]
            wait_for(lambda: len(begun) == 2)
            waiting.extend(futures)
            raise KeyboardInterrupt

    waiting: list[Future[str | None]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(execution, "train_in_child", wait_until_stopped)
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    assert sorted(stopped) == sorted(begun) == ["a", "b"]
    assert [future.cancelled() for future in waiting] == [False, False, True, True]


@pytest.mark.parametrize(
    ("number", "jobs", "environment", "wanted"),
    [
        (8, 1, {}, 8),
        (8, 3, {}, 2),
        (8, 8, {}, 1),
        (2, 5, {}, 1),
        (8, 2, {"OMP_NUM_THREADS": "3"}, 3),
        (8, 4, {"OMP_NUM_THREADS": "3"}, 2),
        (8, 2, {"OMP_NUM_THREADS": "many"}, 4),
        (8, 2, {"OMP_NUM_THREADS": "0"}, 4),
    ],
)
def test_threads_do_not_outnumber_the_cores(
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    jobs: int,
    environment: dict[str, str],
    wanted: int,
) -> None:
    monkeypatch.setattr(execution, "cores", lambda: number)
    assert threads_for(jobs, environment) == wanted


def test_there_is_a_core() -> None:
    assert cores() >= 1
    with pytest.MonkeyPatch.context() as patched:
        patched.delattr("os.sched_getaffinity", raising=False)
        assert cores() >= 1
