"""The table of training steps: its rows, what is left out, and what is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.networks import CIFAR_SHAPE, CLASSES, MEASURED
from benchmarks.peers import catalogue
from benchmarks.training import _peak_in_child
from benchmarks.training_variants import RELU, TANDEM, Task, _model, _step, delayed
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.spiking_options import SpikingOptions
from tests.helpers.benchmark_runs import PEERS, measured, run_benchmark

TINY = ("--batch", 2, "--num-steps", 2, "--repeats", 2, "--no-memory")


@pytest.fixture(autouse=True)
def _fake_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "PEERS", PEERS)
    monkeypatch.setattr("benchmarks.training_variants.PEERS", PEERS)


def test_a_table_has_a_row_for_each_way_and_a_line_for_each_that_is_left_out(
    tmp_path: Path,
) -> None:
    delays = ("--firing-delay", 0, "--firing-delay", "phased")
    content = measured(tmp_path, "training-step", *TINY, *delays, "--peers")
    rows = {row["trained as"]: row for row in content["rows"]}
    waiting = ["tandem, firing delay 0", "tandem, firing delay phased"]
    assert list(rows) == [RELU, *TANDEM, *waiting, "fake"]
    for row in rows.values():
        assert (row["network"], row["T"], row["batch"]) == ("3-conv", 2, 2)
        assert row["ms"] > 0
        assert row["times ReLU"] == pytest.approx(row["ms"] / rows[RELU]["ms"])
        assert row["peak MiB"] is None
    assert rows["fake"]["version"] == f"numpy {metadata.version('numpy')}"
    assert rows[RELU]["version"] == f"torch {torch.__version__}"
    assert content["left out"] == [
        "absent: not installed: pip install no-such-package (a moon)",
        "broken, 3-conv: failed: RuntimeError: its kernel did not compile",
    ]
    assert content["machine"]["device"] == "cpu"
    assert content["machine"]["threads"] == torch.get_num_threads()


def test_each_network_is_trained_at_its_own_length_of_window_and_no_peer_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Task]] = []

    def no_step(variant: str, task: Task) -> Callable[[], None]:
        asked.append((variant, task))
        return lambda: None

    monkeypatch.setattr("benchmarks.training.training_step", no_step)
    names = ",".join(MEASURED)
    content = measured(tmp_path, "training-step", "--no-memory", "--networks", names)
    assert [(row["network"], row["trained as"]) for row in content["rows"]] == [
        (name, variant) for name in MEASURED for variant in (RELU, *TANDEM)
    ]
    assert asked == [
        (variant, Task(name, network.num_steps, 64, torch.device("cpu")))
        for name, network in MEASURED.items()
        for variant in (RELU, *TANDEM)
    ]
    assert "left out" not in content


def test_our_own_failure_is_no_row_that_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr("benchmarks.training.training_step", fail)
    result = run_benchmark("training-step", *TINY)
    assert isinstance(result.exception, RuntimeError)
    assert str(result.exception) == "ours"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--networks", "3-conv,alexnet"), "alexnet: not measured; there are 3-conv, vgg16"),
        (("--device", "cuda:99"), "device cuda:99 cannot be used .*; use --device cpu"),
        (("--batch", 0), "--batch"),
        (("--firing-delay", 8), "firing_delay is 8; allowed are 0 to 7"),
        (("--firing-delay", "later"), "--firing-delay"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_line(
    arguments: tuple[object, ...], message: str
) -> None:
    result = run_benchmark("training-step", *arguments)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    output = " ".join(result.output.split())
    assert re.search(message, output), output


def test_a_variant_that_waits_is_a_network_that_waits() -> None:
    task = Task("3-conv", 4, 2, torch.device("cpu"))
    for delay, steps in ((0, 0), (2, 2), ("phased", 3)):
        model = _model(delayed(delay), task)  # type: ignore[arg-type]
        assert isinstance(model, TandemNetwork)
        assert model.architecture.options == SpikingOptions(4, "subtract", firing_delay=steps)


def test_a_step_moves_every_weight() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(CIFAR_SHAPE), CLASSES))
    before = [one.detach().clone() for one in model.parameters()]
    _step(model, torch.rand(2, *CIFAR_SHAPE))()
    for one, old in zip(model.parameters(), before, strict=True):
        assert bool((one != old).all())


@pytest.mark.exhaustive
def test_the_peak_of_a_process_grows_with_the_batch() -> None:
    small, large = (
        _peak_in_child(RELU, Task("3-conv", 1, batch, torch.device("cpu"))) for batch in (1, 32)
    )
    # A layer's output of 64 channels, 32x32, in float32, of 31 images more, is held for the
    # gradient three times over: after the convolution, the normalisation and the ReLU.
    assert large - small > 31 * 64 * 32 * 32 * 4
