"""Sums of integers are exact, whatever algorithm a library would choose for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tandem_hw.arithmetic import exact_sums, sum_trials
from tandem_hw.arithmetic import synapses as synapses_module
from tandem_hw.arithmetic.chosen_ways import chosen_ways
from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.arithmetic.exact_sums import exact_arithmetic, exact_sum
from tandem_hw.arithmetic.library_settings import library_settings
from tandem_hw.arithmetic.sum_trials import Problem, _extreme_operands
from tandem_hw.arithmetic.synapses import (
    _convolve_unfolded,
    convolve,
    convolve_fast,
    convolve_transposed,
    dense,
)
from tandem_hw.network.fixed_point import ACCUMULATOR_LIMIT
from tandem_hw.network.synapses.geometry import Geometry, TransposedGeometry
from tests.helpers.onednn import onednn

SAME = Geometry((1, 1), (1, 1))
needs_nnpack = pytest.mark.skipif(
    not torch.backends.nnpack.is_available(), reason="this PyTorch has no NNPACK on this machine"
)


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    sum_trials.exact_way.cache_clear()
    yield
    sum_trials.exact_way.cache_clear()


def operands(batch: int, channels: int = 14, size: int = 8) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(0)
    signal = random.integers(250, 256, (batch, channels, size, size))
    weight = 2 * random.integers(-127, 128, (16, channels, 3, 3))
    weight[8:] = 254
    return torch.from_numpy(signal).float(), torch.from_numpy(weight).float()


def exact(signal: Tensor, weight: Tensor, geometry: Geometry = SAME) -> Tensor:
    return _convolve_unfolded(signal.double(), weight.double(), geometry).float()


def nnpack_is_on() -> bool:
    before: tuple[bool] = torch.backends.nnpack.set_flags(True)
    torch.backends.nnpack.set_flags(before[0])
    return before[0]


@needs_nnpack
@pytest.mark.parametrize("batch", [16, 64])
def test_nnpack_rounds_and_is_kept_away(batch: int) -> None:
    signal, weight = operands(batch)
    with torch.no_grad(), onednn(False):
        assert not torch.equal(convolve_fast(signal, weight, SAME), exact(signal, weight))
        assert torch.equal(convolve(signal, weight, SAME), exact(signal, weight))
    assert nnpack_is_on()


@needs_nnpack
@pytest.mark.parametrize("on", [True, False])
def test_nnpack_is_as_it_was_afterwards_even_after_an_error(on: bool) -> None:
    torch.backends.nnpack.set_flags(on)
    try:
        with exact_arithmetic("cpu"):
            assert not nnpack_is_on()
            with exact_arithmetic("cpu"):
                assert not nnpack_is_on()
            assert not nnpack_is_on()
        assert nnpack_is_on() == on
        with pytest.raises(ZeroDivisionError), exact_arithmetic("cpu"):
            1 / 0  # noqa: B018
        assert nnpack_is_on() == on
    finally:
        torch.backends.nnpack.set_flags(True)


@needs_nnpack
def test_nnpack_stays_off_while_any_thread_adds() -> None:
    entered, leave = threading.Event(), threading.Event()

    def add() -> None:
        with exact_arithmetic("cpu"):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=add)
    with exact_arithmetic("cpu"):
        thread.start()
        assert entered.wait(10)
    assert not nnpack_is_on()  # the other one is still inside
    leave.set()
    thread.join()
    assert nnpack_is_on()


def by_fourier(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Convolve as a transform does."""
    (py, px), (ky, kx) = geometry.padding, weight.shape[2:]
    size = [n + 2 * p + k for n, p, k in zip(signal.shape[2:], (py, px), (ky, kx), strict=True)]
    spectrum = torch.fft.rfft2(F.pad(signal, (px, px, py, py)), s=size)
    product = torch.einsum("bihw,oihw->bohw", spectrum, torch.fft.rfft2(weight, s=size).conj())
    full = torch.fft.irfft2(product, s=size)
    height, width = (n - 2 * k + 1 for n, k in zip(size, (ky, kx), strict=True))
    kept: Tensor = full[:, :, :height, :width]
    return kept


def by_fourier_and_rounded(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Hide the fractions; the sums are wrong all the same."""
    return by_fourier(signal, weight, geometry).round()


def by_short_sums(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Give results in the 8 digits of bfloat16."""
    return convolve_fast(signal, weight, geometry).bfloat16().float()


def by_short_factors(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Take operands of 7 bits, one too few."""
    return convolve_fast((signal / 2).trunc() * 2, weight, geometry)


def wrong_in_the_last_sample(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    result = convolve_fast(signal, weight, geometry)
    result[-1] += 1 / 64
    return result


def wrong_from_16_samples_on(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    return convolve_fast(signal, weight, geometry) * (1 if len(signal) < 16 else 1 + 2**-20)


def wrong_in_one_channel(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    result = convolve_fast(signal, weight, geometry)
    result[:, 2] += (result[:, 2] > 1 << 20).float()
    return result


ROUNDING = [
    by_fourier,
    by_fourier_and_rounded,
    by_short_sums,
    by_short_factors,
    wrong_in_the_last_sample,
    wrong_from_16_samples_on,
    wrong_in_one_channel,
]


@pytest.mark.parametrize("rounding", ROUNDING)
def test_an_algorithm_that_rounds_is_not_used(
    rounding: Any, caplog: pytest.LogCaptureFixture
) -> None:
    signal, weight = operands(16)
    expected = exact(signal, weight)
    with caplog.at_level(logging.DEBUG, "tandem_hw.arithmetic.sum_trials"):
        found = exact_sum((rounding, _convolve_unfolded), signal, weight, SAME)
    assert torch.equal(found, expected)
    assert found.dtype == torch.float32
    (record,) = caplog.records
    assert record.getMessage().startswith(
        f"{rounding.__name__} is not exact for signals (16, 14, 8, 8) and weights (16, 14, 3, 3)"
    )


def test_what_rounds_for_large_batches_alone_is_used_for_small_ones() -> None:
    calls: list[int] = []

    def spied(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        calls.append(len(signal))
        return wrong_from_16_samples_on(signal, weight, geometry)

    for batch in (15, 16, 15, 16):
        signal, weight = operands(batch)
        found = exact_sum((spied, _convolve_unfolded), signal, weight, SAME)
        assert torch.equal(found, exact(signal, weight))
    assert calls == [15, 15, 16, 15]  # tried and used, tried, used


def rounding_in_float32(signal: Tensor, weight: Tensor, geometry: None) -> Tensor:
    product = F.linear(signal, weight)
    return product if product.dtype == torch.float64 else product * (1 + 2**-20)


def test_where_everything_rounds_float64_takes_its_place() -> None:
    signal, weight = torch.full((4, 99), 255.0), torch.full((5, 99), 254.0)
    found = exact_sum((rounding_in_float32,), signal, weight, None)
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.full((4, 5), 255.0 * 254 * 99))


def test_each_problem_is_tried_once_and_again_when_a_setting_changes() -> None:
    calls = 0

    def counted(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        nonlocal calls
        calls += 1
        return convolve_fast(signal, weight, geometry)

    signal, weight = operands(3)

    def added(geometry: Geometry = SAME, signal: Tensor = signal) -> int:
        before = calls
        exact_sum((counted, _convolve_unfolded), signal, weight, geometry)
        return calls - before

    assert [added(), added(), added()] == [2, 1, 1]
    assert [added(Geometry()), added(Geometry())] == [2, 1]
    last = signal.to(memory_format=torch.channels_last)
    assert [added(signal=last), added(signal=last), added()] == [2, 1, 1]
    with onednn(False):
        assert [added(), added()] == [2, 1]
    torch.set_num_threads(2)
    try:
        assert [added(), added()] == [2, 1]
    finally:
        torch.set_num_threads(1)
    assert added() == 1
    with exact_arithmetic("cpu"):
        assert added() == 1
    assert sum_trials.exact_way.cache_info().maxsize == 4096


def test_trying_uses_up_no_random_number_and_keeps_no_graph() -> None:
    state = torch.get_rng_state()
    signal, weight = operands(2)
    found = convolve(signal, weight, SAME)
    assert sum_trials.exact_way.cache_info().misses == 1
    assert torch.equal(torch.get_rng_state(), state)
    assert not found.requires_grad


@pytest.mark.parametrize("shape", [(16, 3, 3, 3), (8, 128, 3, 3), (2, 1, 5), (5, 25088), (1, 7)])
@pytest.mark.parametrize("last", [False, True])
def test_the_operands_of_a_trial_are_extreme(shape: tuple[int, ...], last: bool) -> None:
    signal_shape = {4: (3, shape[1], 9, 9), 3: (3, shape[1], 9), 2: (3, shape[1])}[len(shape)]
    problem = Problem(
        (),
        None,
        torch.Size(signal_shape),
        torch.Size(shape),
        (last and len(shape) == 4, False),
        torch.float32,
        torch.device("cpu"),
        (),
    )
    signal, weight = _extreme_operands(problem)
    assert signal.shape == signal_shape
    assert signal.dtype == weight.dtype == torch.float32
    if len(shape) == 4:
        assert signal.is_contiguous(memory_format=torch.channels_last) == last
    assert (weight.remainder(2) == 1).all()
    assert (signal[signal != 0].remainder(2) == 1).all()
    strong = signal[0][signal[0] != 0]
    assert ((strong >= 225) & (strong <= 255)).all()
    assert 0 <= signal.min() < signal.max() <= 255
    rows = weight.flatten(1)
    assert rows[0].abs().max() <= 255
    assert rows[0].abs().min() >= 225
    assert rows[0].min() < 0 < rows[0].max()
    if len(rows) > 3:
        assert (rows[1].abs() == 1).all()
        assert (rows[2] >= 225).all()
        assert (rows[3] <= -225).all()


@pytest.mark.parametrize("fan_in", [1, 100, 512, 3000, 100_000])
def test_sums_of_a_trial_stay_below_what_float32_holds(fan_in: int) -> None:
    problem = Problem(
        (),
        None,
        torch.Size((64, fan_in)),
        torch.Size((8, fan_in)),
        (False, False),
        torch.float32,
        torch.device("cpu"),
        (),
    )
    signal, weight = _extreme_operands(problem)
    largest = float((signal.double() @ weight.double().abs().T).max())
    assert largest < 1 << 24
    assert largest > min(ACCUMULATOR_LIMIT, fan_in * 225 * 225)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_reach_the_sums(dtype: torch.dtype) -> None:
    signal, weight = operands(4)
    flat, rows = signal.flatten(1), weight[:, :, 0, 0].repeat(1, 64)
    transposed = TransposedGeometry((2, 2), (1, 1))
    sums: list[Callable[[], Tensor]] = [
        lambda: convolve(signal, weight, SAME),
        lambda: convolve_transposed(signal, weight, transposed),
        lambda: dense(flat % 16, rows),
    ]
    plain = [one() for one in sums]
    with torch.autocast("cpu", dtype):
        short = [one() for one in sums]
    for one, other in zip(plain, short, strict=True):
        assert one.any()
        assert other.dtype == torch.float32
        assert torch.equal(one, other)


@pytest.mark.parametrize("precision", ["high", "medium"])
@pytest.mark.parametrize("batch", [1, 16, 64])
def test_short_products_of_real_values_do_not_touch_integers(precision: str, batch: int) -> None:
    signal, weight = operands(batch)
    flat, rows = signal.flatten(1) % 16, weight[:, :, 0, 0].repeat(1, 64)
    torch.set_float32_matmul_precision(precision)
    try:
        assert torch.equal(convolve(signal, weight, SAME), exact(signal, weight))
        expected = flat.double() @ rows.double().T
        assert torch.equal(dense(flat, rows).double(), expected)
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(
    not hasattr(torch.backends.mkldnn, "matmul"), reason="this PyTorch has no such setting"
)
def test_settings_by_the_new_and_the_old_interface_at_once_are_read() -> None:
    signal, weight = operands(16)
    flat, rows = signal.flatten(1) % 16, weight[:, :, 0, 0].repeat(1, 64)
    onednn: Any = torch.backends.mkldnn
    matmul = onednn.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        with pytest.raises(RuntimeError, match="mix of the legacy and new"):
            torch.get_float32_matmul_precision()
        assert torch.equal(dense(flat, rows).double(), flat.double() @ rows.double().T)
        assert "mixed" in library_settings("cpu")
        assert "bf16" in library_settings("cpu")
    finally:
        matmul.fp32_precision = before


def test_signals_in_any_order_in_memory_give_the_same_sums() -> None:
    signal, weight = operands(4)
    expected = exact(signal, weight)
    orders = [
        signal.to(memory_format=torch.channels_last),
        signal.transpose(2, 3).contiguous().transpose(2, 3),
        torch.stack([signal, signal], 1)[:, 1],
        signal.flip(0).flip(0)[:, :, :, :],
    ]
    for one in orders:
        for kernel in (weight, weight.to(memory_format=torch.channels_last)):
            assert torch.equal(convolve(one, kernel, SAME), expected)
    repeated = signal[:1].expand(4, -1, -1, -1)
    assert torch.equal(convolve(repeated, weight, SAME), exact(repeated, weight))


def test_an_empty_batch_gives_an_empty_result() -> None:
    signal, weight = operands(1)
    assert convolve(signal[:0], weight, SAME).shape == (0, 16, 8, 8)
    assert dense(torch.zeros(0, 7), torch.ones(3, 7)).shape == (0, 3)


def test_sums_are_the_same_in_inference_mode_and_after_it() -> None:
    signal, weight = operands(4)
    with torch.inference_mode():
        inside = convolve(signal, weight, SAME).clone()
    assert torch.equal(convolve(signal, weight, SAME), inside)
    assert torch.equal(inside, exact(signal, weight))


def test_a_sum_that_is_no_longer_whole_is_noticed_where_all_are_watched() -> None:
    off = [0.0]

    def changing(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        return convolve_fast(signal, weight, geometry) + off[0]

    signal, weight = operands(4)
    for wrong, failed in ((0.0, None), (0.125, frozenset[str]())):
        off[0] = wrong
        checks = DeferredChecks()
        with exact_arithmetic("cpu", checks):
            exact_sum((changing, _convolve_unfolded), signal, weight, SAME)
        assert checks.failed() == failed


def test_a_silent_sample_hides_no_other_one() -> None:
    off = [0.0]

    def changing(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        found = convolve_fast(signal, weight, geometry)
        return found + off[0] * (found != 0)

    signal, weight = operands(4)
    signal[:3] = 0
    for wrong, failed in ((0.0, None), (0.125, frozenset[str]())):
        off[0] = wrong
        checks = DeferredChecks()
        with exact_arithmetic("cpu", checks):
            exact_sum((changing, _convolve_unfolded), signal, weight, SAME)
        assert checks.failed() == failed


def test_away_from_a_cpu_every_sum_is_looked_at_before_it_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    off = [0.0]

    def changing(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
        found = convolve_fast(signal, weight, geometry)
        found[-1, 0, -1, -1] += off[0]
        return found

    monkeypatch.setattr(exact_sums, "_may_choose_anew", lambda device: True)
    signal, weight = operands(4)
    for off[0] in (0.0, 0.125, 0.0):
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "tandem_hw"), onednn(False):
            found = exact_sum((changing, _convolve_unfolded), signal, weight, SAME)
        assert torch.equal(found, exact(signal, weight))
        assert ("changing gave sums that are not whole" in caplog.text) == (off[0] > 0)


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize("outputs", [1, 10])
@pytest.mark.parametrize("last", [False, True])
def test_a_dense_layer_as_points_is_the_dense_layer(
    batch: int, outputs: int, last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = torch.Generator().manual_seed(1)
    signal = torch.randint(0, 256, (batch, 4, 3, 5), generator=random).float()
    if last:
        signal = signal.contiguous(memory_format=torch.channels_last)
    weight = 2 * torch.randint(-127, 128, (outputs, 60), generator=random).float()
    with onednn(False):
        expected = dense(signal, weight)
        monkeypatch.setattr(synapses_module, "_for_cudnn", lambda _: True)
        found = dense(signal, weight)
    assert chosen_ways()[-1].way == "_dense_as_points"
    assert torch.equal(found, expected)
    assert torch.equal(found, signal.flatten(1) @ weight.T)
    assert found.is_contiguous()
    rows = synapses_module._points(weight)
    assert rows.shape == (outputs, 60, 1, 1)
    assert rows.is_contiguous(memory_format=torch.channels_last)


def out_of_memory(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    raise RuntimeError("no such algorithm")


def test_an_algorithm_that_this_machine_lacks_is_not_used() -> None:
    signal, weight = operands(4)
    found = exact_sum((out_of_memory, _convolve_unfolded), signal, weight, SAME)
    assert torch.equal(found, exact(signal, weight))
    sum_trials.exact_way.cache_clear()
    with pytest.raises(RuntimeError, match="no such algorithm"):
        exact_sum((out_of_memory,), signal, weight, SAME)


def test_cudnn_s_convolution_is_tried_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signal, weight = operands(3)
    for elsewhere in (torch.empty((1, 1, 1, 1), device="meta"), signal):
        assert not synapses_module._for_cudnn(elsewhere)
    monkeypatch.setattr(synapses_module, "_for_cudnn", lambda _: True)
    with onednn(False):
        found = convolve(signal, weight, SAME)
    assert torch.equal(found, exact(signal, weight))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert chosen_ways()[-1].way == "_convolve_channels_last"
