"""Several processes train one network together, as ``torchrun`` starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import distributed as dist

from tandem_hw.cli import main
from tandem_hw.errors import DataError
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.training.distributed import Processes, own_device, started_processes
from tandem_hw.training.loop import train
from tandem_hw.training.samples import TrainingData
from tests.helpers.present import present
from tests.helpers.project import ROOT
from tests.helpers.rounding import rounding_bound
from tests.helpers.two_processes import ONE_STEP, SEVERAL_STEPS, make_data, make_model, trained

CPU = torch.device("cpu")
PROCESSES = 2


def environment(**settings: object) -> dict[str, str]:
    """Return an environment in which Python finds this copy of tandem_hw."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    own = {"PYTHONPATH": path.rstrip(os.pathsep), "OMP_NUM_THREADS": 1, **settings}
    return os.environ | {name: str(value) for name, value in own.items()}


def gradient_bound() -> float:
    """Return how far the gradients of ONE_STEP may differ because they were summed otherwise.

    They are a mean over 24 samples, in one sum or in two. A sample's share in the readout's is a
    difference of probabilities times an activation, at most 1; in the first layer's it is the sum
    of three such differences times a weight, and of the penalty's part, times an input below 1.
    """
    model = make_model(normalised=False)
    penalty = ONE_STEP.synop_weight * 3 / (16 * 6 + 6 * 3) / model.tandem_layers[0].spike_value
    magnitude = 1 + 3 * float(present(model.tandem_layers[1].weight).detach().abs().max()) + penalty
    # Some forty operations to and from the loss, the softmax included.
    return 2 * rounding_bound(24 + 40, magnitude)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Run two_processes.py twice at the same time, and return what each process ended with."""
    folder = tmp_path_factory.mktemp("ranks")
    group: dict[str, object] = {"WORLD_SIZE": PROCESSES}
    if "lo" in dict(socket.if_nameindex()).values():
        group["GLOO_SOCKET_IFNAME"] = "lo"  # no look-up of this machine's name
    store = dist.TCPStore(  # type: ignore[attr-defined]
        "127.0.0.1", 0, is_master=True, wait_for_workers=False
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.two_processes", str(folder), str(store.port)],
            env=environment(RANK=rank, LOCAL_RANK=rank, **group),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(PROCESSES)
    ]
    try:
        messages = [process.communicate(timeout=120)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], messages
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


def test_both_processes_end_with_the_same_parameters(ranks: list[dict[str, Any]]) -> None:
    for training in ("one step", "several steps"):
        for kind in ("parameters", "gradients"):
            first, second = (rank[training][kind] for rank in ranks)
            assert first.keys() == second.keys()
            assert len(first) >= 4
            for name, value in first.items():
                assert torch.equal(value, second[name]), name
                assert value.isfinite().all()
    start = dict(make_model(normalised=True).named_parameters())
    after = ranks[0]["several steps"]["parameters"]
    assert not torch.equal(start["layers.0.weight"], after["layers.0.weight"])


def test_gradients_are_the_mean_over_the_whole_batch(
    ranks: list[dict[str, Any]], tmp_path: Path
) -> None:
    alone = trained(ONE_STEP, tmp_path / "alone")
    together = ranks[0]["one step"]["gradients"]
    assert together.keys() == alone["gradients"].keys()
    for name, value in alone["gradients"].items():
        assert value.abs().max() > 100 * gradient_bound()
        torch.testing.assert_close(together[name], value, rtol=0, atol=gradient_bound())


def test_a_half_of_the_batch_alone_would_have_another_gradient(
    ranks: list[dict[str, Any]],
) -> None:
    halves = []
    for rank in range(PROCESSES):
        model = make_model(normalised=False)
        objective = ONE_STEP.make_objective()
        data = TrainingData(
            make_data(),
            objective,
            ONE_STEP,
            model.architecture.input,
            CPU,
            Processes(rank, PROCESSES),
        )
        inputs, labels = data.take(next(data.order(1)))
        assert len(labels) == 12
        objective.loss(model(inputs), labels).backward()
        halves.append(model.layers[-1].bias.grad)  # the SynOps do not reach it
    mean = ranks[0]["one step"]["gradients"]["layers.1.bias"]
    whole = (halves[0] + halves[1]) / 2
    torch.testing.assert_close(whole, mean, rtol=0, atol=gradient_bound())
    assert (halves[0] - mean).abs().max() > 1e-3


def test_only_the_first_process_reports_and_each_drops_neurons_of_its_own(
    ranks: list[dict[str, Any]],
) -> None:
    first, second = (rank["several steps"] for rank in ranks)
    assert [epoch["epoch"] for epoch in first["epochs"]] == [1, 2]
    assert second["epochs"] == []
    assert not torch.equal(first["dropout"], second["dropout"])


def test_all_processes_know_the_id_and_refuse_what_the_first_refuses(
    ranks: list[dict[str, Any]],
) -> None:
    first, second = ranks
    assert first["one step"]["run"] == second["one step"]["run"]
    assert first["one step"]["run"] != first["several steps"]["run"]
    assert first["refused"] == second["refused"]
    assert "one: holds a training already; continue it with" in first["refused"]


def test_a_batch_is_shared_without_overlap_and_augmented_differently() -> None:
    spec = make_model(normalised=True).architecture.input

    def data(rank: int, count: int) -> TrainingData:
        objective = SEVERAL_STEPS.make_objective()
        processes = Processes(rank, count)
        return TrainingData(make_data(), objective, SEVERAL_STEPS, spec, CPU, processes)

    whole, *shares = [data(rank, count) for rank, count in ((0, 1), (0, 2), (1, 2))]
    for batch, first, second in zip(*(one.order(1) for one in (whole, *shares)), strict=True):
        assert len(first) == len(second) == 4
        assert torch.equal(torch.stack([first, second], 1).flatten(), batch)
    same = torch.zeros(4, dtype=torch.int64)
    for one in shares:
        next(one.order(1))
    first, second = (one.take(same)[0] for one in shares)
    assert not torch.equal(first, second)


def test_seeds_of_many_processes_differ_in_the_bits_that_the_generator_reads() -> None:
    seeds = {Processes(rank, 4096).own_seed(5 * 100_003 + 7) & 0xFFFF_FFFF for rank in range(4096)}
    assert len(seeds) == 4096
    assert Processes().own_seed(123) == 123
    drawn = [
        torch.rand(3, generator=torch.Generator().manual_seed(Processes(rank, 3).own_seed(9)))
        for rank in range(3)
    ]
    assert len(torch.stack(drawn).unique(dim=0)) == 3


TRAIN = ("--model", "mlp", "--num-steps", "3", "--epochs", "4", "--batch-size", "8")


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    labels = np.arange(96) % 3
    images = random.integers(0, 90, (96, 6, 6), dtype=np.uint8)
    images[np.arange(96), labels] += 140
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, x_train=images[24:], y_train=labels[24:], x_test=images[:24], y_test=labels[:24])
    return path


@pytest.mark.exhaustive
def test_torchrun_trains_one_network_and_leaves_one_set_of_files(npz: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    launch = (
        *("-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"),
        *("--nproc-per-node", str(PROCESSES)),
    )
    result = subprocess.run(
        [sys.executable, *launch, "-m", "tandem_hw", "train", f"npz:{npz}", *TRAIN, "--out", out],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("test accuracy") == 1
    reported = [line.split(":")[0] for line in result.stderr.splitlines() if "epoch" in line]
    assert reported == ["epoch 1", "epoch 2", "epoch 3", "epoch 4"]
    names = sorted(path.name for path in out.iterdir())
    assert names == ["checkpoint.pt", "last.pt", "metrics.json", "run.toml"]
    last = load_checkpoint(out / "last.pt")
    assert last.training["processes"] == PROCESSES
    assert last.training["schedule"]["last_epoch"] == 4 * 8
    net = tmp_path / "model.net"
    for arguments in (
        ("export", out / "checkpoint.pt", "--out", net),
        ("verify", net, "--data", f"npz:{npz}", "--backends", "reference", "--checkpoint",
         out / "checkpoint.pt"),
    ):  # fmt: skip
        done = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert done.exit_code == 0, done.output
    assert "MATCH" in done.stdout
    # One process would continue with other random numbers.
    alone = CliRunner().invoke(main, ["train", f"npz:{npz}", *TRAIN, "--resume", "--out", str(out)])
    assert alone.exit_code == 2
    assert alone.stderr.splitlines()[-1:] == [
        f"Error: {out / 'last.pt'}: was trained by 2 processes together, not by 1; resume with "
        f"torchrun --nproc-per-node 2, or the result would be another"
    ]


@pytest.mark.parametrize(("batch_size", "count"), [(15, 2), (2, 2), (16, 3), (16, 16)])
def test_a_batch_that_cannot_be_shared_is_refused_in_one_line(
    npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int, count: int
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", str(count))
    arguments = ["train", f"npz:{npz}", *TRAIN, "--batch-size", str(batch_size)]
    result = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"Error: a batch of {batch_size} cannot be shared by {count} processes; give a multiple "
        f"of {count} with at least 2 samples for each"
    ]
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError, match="cannot be shared"):
        train(
            make_model(normalised=True),
            make_data(),
            replace(SEVERAL_STEPS, batch_size=batch_size),
            tmp_path / "run",
        )


def test_one_process_of_torchrun_is_a_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uuid.uuid4", lambda: UUID(int=7))  # files without chance
    plain = trained(SEVERAL_STEPS, tmp_path / "plain")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with started_processes(CPU, 3) as processes:
        assert processes == Processes()
        assert processes.is_first
        assert processes.parallel(model := make_model(normalised=False), CPU) is model
        with processes.first_goes_ahead():
            processes.wait()  # for nobody
    one = trained(SEVERAL_STEPS, tmp_path / "one")
    for name, value in plain["parameters"].items():
        assert torch.equal(one["parameters"][name], value)
    files = [(tmp_path / run / "last.pt").read_bytes() for run in ("plain", "one")]
    assert files[0] == files[1]


def test_every_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert own_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device("cuda") == "cuda:3"
    assert own_device("cuda:1") == "cuda:1"
    assert own_device("cpu") == "cpu"
