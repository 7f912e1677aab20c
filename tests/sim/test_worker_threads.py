"""Batches that are shared out among threads: order, errors, and whose threads there are."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim import reference, worker_threads
from tandem_hw.sim.cores import cores
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.worker_threads import call_in_order, threads_for
from tests.helpers.networks import random_inputs, small_graph_network, small_network
from tests.helpers.torch_threads import torch_threads


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(worker_threads, "cores", lambda: 2)
    with torch_threads(2):
        yield


def test_results_come_in_order_whoever_is_first() -> None:
    both = threading.Barrier(2, timeout=30)
    threads: set[int] = set()

    def call(number: int) -> int:
        if number < 2:
            both.wait()  # two calls run at a time, or this would never end
        time.sleep(0.002 * (7 - number))
        threads.add(threading.get_ident())
        assert torch.get_num_threads() == 1
        return number**2

    taken: list[int] = []
    call_in_order(call, range(7), taken.append, threads=2)
    assert taken == [number**2 for number in range(7)]
    assert len(threads) == 2
    assert threading.get_ident() not in threads
    assert torch.get_num_threads() == 2


def test_a_single_thread_is_the_callers_with_all_that_pytorch_has() -> None:
    seen: list[tuple[int, int]] = []
    call_in_order(
        lambda _: (threading.get_ident(), torch.get_num_threads()), range(2), seen.append, threads=1
    )
    assert seen == [(threading.get_ident(), 2)] * 2


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_first_error_ends_it(threads: int, error: type[BaseException]) -> None:
    called: list[int] = []

    def call(number: int) -> int:
        called.append(number)
        if number == 3:
            raise ValueError(f"call {number}")
        return number

    def take(number: int) -> None:
        taken.append(number)
        if error is KeyboardInterrupt and number == 1:
            raise KeyboardInterrupt("call 1")

    taken: list[int] = []
    with pytest.raises(error, match="call 3" if error is ValueError else "call 1"):
        call_in_order(call, range(10_000), take, threads)
    assert taken == ([0, 1, 2] if error is ValueError else [0, 1])
    assert len(called) < 20
    assert torch.get_num_threads() == 2
    before = len(called)
    time.sleep(0.01)
    assert len(called) == before  # nobody goes on


def test_two_runs_at_a_time_leave_pytorchs_threads_as_they_were() -> None:
    def run(_: int) -> None:
        call_in_order(lambda number: time.sleep(0.001), range(5), lambda _: None, threads=2)

    callers = [threading.Thread(target=run, args=(0,)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert torch.get_num_threads() == 2


def test_threads_are_as_many_as_cores_calls_and_pytorch_allow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_threads, "cores", lambda: 64)
    with torch_threads(3):
        assert [threads_for(calls) for calls in (1, 2, 3, 100)] == [1, 2, 3, 3]
    with torch_threads(1):
        assert threads_for(100) == 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert threads_for(100) == worker_threads._MOST
    monkeypatch.undo()
    assert cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores() == os.cpu_count()


@pytest.mark.parametrize("network", [small_network("subtract"), small_graph_network("zero")])
@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_two_threads_record_what_one_does(
    network: QuantizedNetwork, batch_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = random_inputs(network, 11)
    told: list[int] = []
    used: list[int] = []

    def call(*arguments: object) -> None:
        used.append(int(str(arguments[3])))
        call_in_order(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reference, "call_in_order", call)
    found = ReferenceBackend(batch_size=batch_size).run(
        network, inputs, progress=lambda done, _: told.append(done), keep_final_state=True
    )
    with torch_threads(1):
        expected = ReferenceBackend().run(network, inputs, keep_final_state=True)
    assert used == [2, 1]
    assert told == {None: [6, 11], 1: list(range(1, 12)), 3: [3, 6, 9, 11]}[batch_size]
    assert all(counts.any() for counts in expected.counts.values())
    for kind in ("counts", "synops", "saturation", "final_state"):
        ours, theirs = getattr(found, kind), getattr(expected, kind)
        assert list(ours) == list(theirs)
        for name in theirs:
            assert ours[name].dtype == theirs[name].dtype
            assert ours[name].tolist() == theirs[name].tolist(), (kind, name)
    assert found.output.tolist() == expected.output.tolist()
    assert dict(found.peak) == dict(expected.peak)
