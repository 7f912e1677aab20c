"""The kernel of a window is what step by step gives, and only used where that was seen."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor

from tandem_hw.arithmetic.chosen_ways import chosen_ways
from tandem_hw.arithmetic.gpu import fused_window, window_kernel
from tandem_hw.arithmetic.gpu.fused_window import run_window, step_by_step
from tandem_hw.arithmetic.neuron_parameters import NeuronParameters
from tandem_hw.arithmetic.states.fast_states import FastState
from tests.helpers.project import ROOT

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="there is no Triton")


@needs_triton
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_the_kernel_is_what_step_by_step_and_the_equations_give(every: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.interpreted_windows", str(every)],
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["different"] == []
    assert found["windows"] > 250 // every
    assert found["spikes"] > 10_000 // every
    assert found["ways"] == ["fused window"]  # no window was run step by step instead
    assert found["lowest of no number"] == -float("inf")


@needs_triton
@pytest.mark.parametrize("zero", [False, True])
def test_the_kernel_compiles_for_a_gpu_to_loads_of_four_and_nothing_that_is_fused(
    zero: bool,
) -> None:
    triton = pytest.importorskip("triton")
    if not triton.__version__.startswith("2.3."):
        pytest.skip("compiling without a GPU is another version's own interface")
    backends = pytest.importorskip("triton.compiler.backends.cuda")
    compiler = pytest.importorskip("triton.compiler.compiler")

    kernel = window_kernel.compiled()
    names = kernel.arg_names
    constants = {
        "bias_stride": 1,
        "resting": 8,
        "num_steps": 9,
        "firing_delay": 2,
        "fires": True,
        "zero": zero,
        "keeps": True,
        "follows": True,
        "block": 1024,
    }
    types = {"counts": "*i16", "bits": "*u8", "neurons": "i32", "blocks": "i32"}
    types |= dict.fromkeys(("first_stride", "rest_stride", "step_stride"), "i32")
    even = {names.index(name) for name in names if name not in {*constants, "blocks"}}
    one = {names.index("bias_stride")}
    source = compiler.ASTSource(
        kernel,
        {names.index(name): types.get(name, "*fp32") for name in names if name not in constants},
        {names.index(name): value for name, value in constants.items()},
        compiler.AttrsDescriptor(divisible_by_16=even, equal_to_1=one, ids_of_folded_args=one),
    )
    target = ("cuda", 90)
    backend = backends.CUDABackend(target)
    options = backend.parse_options({"num_warps": 8})
    stages: dict[str, Any] = {}
    backend.add_stages(stages, options)
    code: Any = source.make_ir(options)
    metadata = {"target": target, **vars(options)}
    order = list(stages)
    found: dict[str, Any] = {}
    for name in order[order.index(source.ext) :]:
        found[name] = code = stages[name](code, metadata)
    assert found["ptx"].count("ld.global.v4") == 1 + 9  # bias, and one for each step
    assert "fma" not in found["ptx"]
    assert ".local" not in found["ptx"]  # all of a window is in registers
    assert len(found["cubin"]) > 1000


class _Kernel:
    """Stands in for a compiled kernel that fails, or writes zeros."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.launched = 0

    def __getitem__(self, grid: tuple[int]) -> _Kernel:
        assert grid[0] > 0
        return self

    def __call__(self, *arguments: Any, **constants: Any) -> None:
        self.launched += 1
        if self.error is not None:
            raise self.error
        for argument in arguments[4:9]:
            argument.zero_()


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fused_window, "_may_have_kernel", lambda device: True)
    fused_window._is_exact.cache_clear()
    fused_window._kernel.cache_clear()
    yield
    monkeypatch.undo()
    fused_window._is_exact.cache_clear()
    fused_window._kernel.cache_clear()


def window(reset: str = "subtract", neurons: int = 12) -> tuple[FastState, list[Tensor | None]]:
    values = torch.randint(-200, 500, (3, 9, neurons), generator=torch.Generator().manual_seed(1))
    bias = torch.arange(float(neurons))
    state = FastState(NeuronParameters(bias, 300, reset, proven=False), bias, follow_peak=True)
    return state, list(values.float().unbind(1))


def check_as_step_by_step(reset: str = "subtract") -> None:
    results = []
    for run in (run_window, step_by_step):
        state, inputs = window(reset)
        bits = torch.zeros((3, 2, 12), dtype=torch.uint8)
        counts = run(state, inputs, 9, bits)
        assert counts is not None
        assert counts.any()
        results.append([state.membrane, counts, bits, fused_window._peak(state)])
    for ours, expected in zip(*results, strict=True):
        assert ours is not None
        assert expected is not None
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("Failed to find C compiler"), "cannot be run (RuntimeError: Failed to find"),
        (subprocess.CalledProcessError(1, ["gcc"]), "cannot be run (CalledProcessError"),
        (None, "gives another number"),
    ],
)
def test_a_kernel_that_fails_or_errs_is_not_used_and_only_the_log_says_so(
    reset: str,
    error: Exception | None,
    message: str,
    as_on_a_gpu: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    kernel = _Kernel(error)
    monkeypatch.setattr(fused_window, "compiled", lambda: kernel)
    with caplog.at_level(logging.DEBUG, "tandem_hw"):
        check_as_step_by_step(reset)
        check_as_step_by_step(reset)
    assert kernel.launched == 1  # what was seen once is not tried again
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]
    assert message in caplog.text
    assert capfd.readouterr() == ("", "")
    assert chosen_ways()[-1].way == "window step by step"
    assert chosen_ways()[-1].signal_shape == (9, 12)


def test_without_triton_windows_run_step_by_step(
    as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    with caplog.at_level(logging.DEBUG, "tandem_hw"):
        check_as_step_by_step()
        check_as_step_by_step("zero")
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]
    assert "Triton cannot be used" in caplog.text


def test_a_cpu_never_asks_for_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise AssertionError("asked")

    monkeypatch.setattr(fused_window, "_kernel", refuse)
    check_as_step_by_step()


@pytest.mark.parametrize("kind", ["late", "double", "long", "empty"])
def test_what_the_kernel_is_not_made_for_never_reaches_it(
    kind: str, as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused_window, "_is_exact", lambda case: pytest.fail("asked"))
    state, inputs = window()
    if kind == "late":
        inputs[3] = None
    elif kind == "double":
        inputs[2] = inputs[2].double() if inputs[2] is not None else None
    elif kind == "long":
        inputs = inputs * 8
    else:
        inputs = [one[:0] if one is not None else None for one in inputs]
        state.follow_peak = False
    counts = run_window(state, inputs, len(inputs), None)
    assert counts is not None
    assert counts.any() == (kind != "empty")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine")
@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize("neurons", [5, 130, 4096])
def test_a_gpu_runs_the_kernel_and_it_is_what_step_by_step_gives(
    reset: str, delay: int, neurons: int
) -> None:
    random = torch.Generator().manual_seed(neurons)
    values = torch.randint(-900, 1500, (64, 9, neurons), generator=random).float().cuda()
    bias = torch.arange(float(neurons), device="cuda")
    parameters = NeuronParameters(bias, 300, reset, proven=False, firing_delay=delay)
    results = []
    for run in (run_window, step_by_step):
        state = FastState(parameters, bias, follow_peak=True)
        bits = torch.zeros((64, 2, neurons), dtype=torch.uint8, device="cuda")
        counts = run(state, list(values.unbind(1)), 9, bits)
        assert counts is not None
        assert counts.any()
        results.append([state.membrane, counts, bits, fused_window._peak(state)])
    for ours, expected in zip(*results, strict=True):
        assert ours is not None
        assert expected is not None
        assert torch.equal(ours, expected)
    assert chosen_ways()[-1].way == "fused window"
