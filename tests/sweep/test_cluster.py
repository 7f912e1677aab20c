"""Trainings on a cluster of Dask's, which is on this machine here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tandem_hw.errors import BackendUnavailableError
from tandem_hw.sim.child.watched_process import group_members
from tandem_hw.sweep import cluster
from tandem_hw.sweep.cluster import dask_cluster, train_on_worker
from tandem_hw.training.run_files import LAST_NAME
from tests.helpers.command_line import run, succeed, written_json
from tests.helpers.row_images import write_data
from tests.helpers.sweeps import SHARED
from tests.helpers.waiting import wait_for

distributed = pytest.importorskip("distributed")
# Dask's own, as it starts and ends.
pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Port .* is already in use:UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as local:
        yield local.scheduler_address


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_data(tmp_path / "data.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arguments(address: str, *more: object) -> tuple[object, ...]:
    return ("sweep", "npz:data.npz", *SHARED, "--out", "out", "--scheduler", address, *more)


def test_a_cluster_gives_what_this_machine_gives(here: Path, address: str) -> None:
    variants = ("--variant", "one=", "--variant", "two=--weight-bits 8 then --weight-bits 4")
    succeed(*arguments(address, *variants))
    succeed("sweep", "npz:data.npz", *SHARED, *variants, "--out", "alone", "--jobs", 1)
    found: list[Any] = []
    for folder in ("out", "alone"):
        trainings = written_json(here / folder / "sweep.json")["trainings"]
        found.append([(one["status"], one["network_digest"], one["metrics"]) for one in trainings])
    assert found[0] == found[1]
    assert found[0][0][0] == "finished"
    assert found[0][0][1] != found[0][1][1]


def test_one_that_fails_there_is_named(here: Path, address: str) -> None:
    result = run(*arguments(address, "--variant", "bad=--init no.pt", "--variant", "good="))
    assert result.exit_code == 1
    assert "FAILED variant bad (" in result.output
    assert "no.pt: " in result.output
    trainings = written_json(here / "out" / "sweep.json")["trainings"]
    assert [one["status"] for one in trainings] == ["failed", "finished"]


def test_ctrl_c_ends_the_trainings_there(here: Path, address: str) -> None:
    words = map(str, arguments(address, "--vary", "num-steps=3,4,5", "--epochs", 100_000))
    process = subprocess.Popen(
        [sys.executable, "-m", "tandem_hw", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(lambda: len(list(here.glob(f"out/runs/*/{LAST_NAME}"))) == 2, 200)
    locks = list(here.glob("out/runs/*/training.lock"))
    trainings = [int(lock.read_text(encoding="utf-8").split()[1]) for lock in locks]
    assert len(trainings) == 2
    assert all(group_members(os.getpgid(one)) for one in trainings)
    groups = [os.getpgid(one) for one in trainings]
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "Interrupted." in output
    wait_for(lambda: not any(group_members(one) for one in groups))
    assert len(list(here.glob("out/runs/*/output.txt"))) == 2  # the third one was never begun


def test_where_no_scheduler_answers_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 1)
    for address in ("tcp://127.0.0.1:1", "nowhere"):
        with (
            pytest.raises(BackendUnavailableError, match=f"no scheduler .* at {address}"),
            dask_cluster(address, 1),
        ):
            pass


def test_a_folder_that_is_not_shared_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "no")
    for given in ((missing, str(tmp_path)), (str(tmp_path), missing)):
        said = train_on_worker(*given, 1, "stop")
        assert said == (
            f"{missing}: is not there on the worker; a sweep needs a file system that is shared"
        )
