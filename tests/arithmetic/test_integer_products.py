"""Products of bytes: what they add, when they are used, and what is told of it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tandem_hw.arithmetic import exact_sums, integer_products, sum_trials, synapses
from tandem_hw.arithmetic.chosen_ways import chosen_ways
from tandem_hw.arithmetic.exact_sums import exact_sum
from tandem_hw.arithmetic.integer_products import (
    convolve_bytes,
    multiply_bytes,
    multiply_bytes_as_points,
)
from tandem_hw.arithmetic.memory_order import MemoryOrder, columns_of_image
from tandem_hw.arithmetic.sum_trials import _even, _extreme_operands
from tandem_hw.arithmetic.synapses import _convolve_unfolded, convolve, dense
from tandem_hw.network.synapses.geometry import Geometry
from tests.helpers.byte_products import bytes_preferred, has_bytes, needs_bytes, seconds_of
from tests.helpers.onednn import onednn
from tests.helpers.project import ROOT

SAME = Geometry((1, 1), (1, 1))


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    with bytes_preferred():
        yield


def operands(batch: int = 4, channels: int = 8) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    signal = torch.randint(0, 256, (batch, channels, 8, 8), generator=random).to(torch.uint8)
    weight = 2.0 * torch.randint(-128, 128, (16, channels, 3, 3), generator=random)
    return signal, weight


def exact(signal: Tensor, weight: Tensor) -> Tensor:
    return _convolve_unfolded(signal.double(), weight.double(), SAME).float()


def ways() -> list[str]:
    return [choice.way for choice in chosen_ways()]


@needs_bytes
@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    outputs=st.integers(1, 40),
    inputs=st.integers(1, 300),
    batch=st.integers(1, 9),
    lowest=st.sampled_from([0, 255]),
)
def test_both_matrix_products_add_what_integers_add(
    outputs: int, inputs: int, batch: int, lowest: int
) -> None:
    random = torch.Generator().manual_seed(outputs * inputs)
    signal = torch.randint(lowest, 256, (batch, inputs), generator=random).to(torch.uint8)
    weight = 2.0 * torch.randint(-128, 128, (outputs, inputs), generator=random)
    weight[0] = -256
    expected = signal.long() @ weight.long().T
    for product in (multiply_bytes, multiply_bytes_as_points):
        found = product(signal, weight, None)
        assert found is not None
        assert found.dtype == torch.float32
        assert torch.equal(found.long(), expected), product.__name__


@needs_bytes
@pytest.mark.parametrize("last", [True, False])
def test_a_convolution_runs_on_bytes_and_says_so(last: bool) -> None:
    signal, weight = operands()
    if last:
        signal = signal.to(memory_format=torch.channels_last)
    assert torch.equal(convolve(signal, weight, SAME), exact(signal, weight))
    assert ways() == ["convolve_bytes"]
    (choice,) = chosen_ways()
    assert choice.device == "cpu"
    assert (choice.signal_shape, choice.weight_shape) == ((4, 8, 8, 8), (16, 8, 3, 3))
    assert choice.geometry == SAME
    assert torch.equal(convolve(signal.float(), weight, SAME), exact(signal, weight))


@needs_bytes
def test_a_convolution_over_one_axis_runs_on_bytes() -> None:
    signal, weight = operands()
    rows, kernels = signal.flatten(2), weight.flatten(2)[..., :5]
    found = convolve(rows, kernels, Geometry((2,), (1,), (1,)))
    plain = _convolve_unfolded(
        rows.double().unsqueeze(2), kernels.double().unsqueeze(2), Geometry((1, 2), (0, 1))
    )
    assert torch.equal(found.double(), plain.squeeze(2))
    assert ways() == ["convolve_bytes"]


def test_bytes_are_not_used_where_they_are_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sum_trials, "_seconds", seconds_of(bytes_are=2.0))
    signal, weight = operands()
    assert torch.equal(convolve(signal, weight, SAME), exact(signal, weight))
    assert ways() == ["_convolve_channels_last"]


def test_bytes_are_not_tried_for_few_products(monkeypatch: pytest.MonkeyPatch) -> None:
    signal, weight = operands()
    monkeypatch.setattr(exact_sums, "_LEAST_PRODUCTS", signal.numel() * len(weight) + 1)
    assert torch.equal(convolve(signal, weight, SAME), exact(signal, weight))
    assert ways() == ["_convolve_channels_last"]


def test_without_onednn_there_are_no_bytes() -> None:
    signal, weight = operands()
    with onednn(False):
        assert torch.equal(convolve(signal, weight, SAME), exact(signal, weight))
        columns = weight.flatten(1)[:, :512].repeat(1, 8)[:, :512]
        expected = signal.flatten(1).double() @ columns.double().T
        assert torch.equal(dense(signal, columns).double(), expected)
    assert "convolve_bytes" not in ways()
    assert "multiply_bytes" not in ways()


def test_weights_whose_half_is_no_byte_go_another_way() -> None:
    signal, weight = operands()
    for wrong in (weight + 1, weight * 2):
        assert torch.equal(convolve(signal, wrong, SAME), exact(signal, wrong))


@needs_bytes
def test_weights_that_are_changed_in_place_are_packed_again() -> None:
    signal, weight = operands()
    first = convolve(signal, weight, SAME)
    assert torch.equal(first, exact(signal, weight))
    known = integer_products._PACKED[weight]
    assert convolve(signal, weight, SAME).equal(first)
    assert integer_products._PACKED[weight] is known
    weight.mul_(-1).clamp_(-254, 254)
    assert torch.equal(convolve(signal, weight, SAME), exact(signal, weight))
    with torch.inference_mode():
        inside = weight.clone()
        before = convolve(signal, inside, SAME)
        inside.mul_(-1).clamp_(-254, 254)
        assert torch.equal(convolve(signal, inside, SAME), exact(signal, inside))
        assert not torch.equal(before, convolve(signal, inside, SAME))


def wrong_bytes(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Lose what is large, even of small signals."""
    return _convolve_unfolded(signal.float().clamp_max(100), weight, geometry)


def bytes_in_pairs(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Cut pairs of products off at 16 bits, as processors without VNNI do."""
    assert geometry == SAME
    patches = torch.nn.functional.unfold(signal.float(), 3, padding=1)
    halves = weight.flatten(1) / 2
    products = patches[:, None] * halves[:, :, None]
    pairs = (products[:, :, ::2] + products[:, :, 1::2]).clamp(-(2**15), 2**15 - 1)
    sums: Tensor = pairs.sum(2).unflatten(2, signal.shape[2:])
    return 2 * sums


def absent_bytes(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    raise RuntimeError("no such operator")


@pytest.mark.parametrize("way", [wrong_bytes, absent_bytes])
def test_bytes_that_are_wrong_or_not_there_are_not_used(
    way: Any, caplog: pytest.LogCaptureFixture
) -> None:
    signal, weight = operands()
    with caplog.at_level(logging.DEBUG, "tandem_hw.arithmetic.sum_trials"):
        found = exact_sum((_convolve_unfolded,), signal, weight, SAME, (way,))
    assert torch.equal(found, exact(signal, weight))
    assert ways() == ["_convolve_unfolded"]
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{way.__name__} is not exact for signals (4, 8, 8, 8)")


def test_bytes_that_add_in_pairs_are_used_for_signals_that_do_not_saturate() -> None:
    signal, weight = operands()
    assert not torch.equal(bytes_in_pairs(signal, weight, SAME), exact(signal, weight))
    small = signal.clamp_max(127)
    for one, used in ((small, True), (signal, False), (small.clamp_max(1), True)):
        calls = []

        def counted(signal: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
            calls.append(signal)  # noqa: B023
            return bytes_in_pairs(signal, weight, geometry)

        found = exact_sum((_convolve_unfolded,), one, weight, SAME, (counted,))
        assert torch.equal(found, exact(one, weight))
        assert any(given is one for given in calls) == used
    assert ways()[-1] == "counted"


@needs_bytes
@pytest.mark.exhaustive
def test_without_vnni_every_signal_is_summed_exactly() -> None:
    """oneDNN takes the instructions that it may use from the environment, as it is loaded."""
    program = (
        "from tests.arithmetic.test_integer_products import *\n"
        "with bytes_preferred():\n"
        "    signal, weight = operands(channels=64)\n"
        "    for one in (signal, signal.clamp_max(127), signal.clamp_max(1)):\n"
        "        assert torch.equal(convolve(one, weight, SAME), exact(one, weight))\n"
        "        rows, columns = one.flatten(1), weight.flatten(1).repeat(1, 8)[:, : 64 * 64]\n"
        "        expected = rows.double() @ columns.double().T\n"
        "        assert torch.equal(dense(rows, columns).double(), expected)\n"
        "    print(*ways())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "convolve_bytes" in done.stdout


def test_the_weights_of_a_trial_are_even_and_reach_the_ends_of_a_byte() -> None:
    problem = sum_trials.Problem(
        (),
        None,
        torch.Size((3, 90)),
        torch.Size((8, 90)),
        (False, False),
        torch.float32,
        torch.device("cpu"),
        (),
    )
    odd = _extreme_operands(problem)[1]
    even = _even(odd)
    assert (even % 2 == 0).all()
    assert torch.equal(even.sign(), odd.sign())
    assert (int(even.min()), int(even.max())) == (-256, 254)
    assert (odd - even).abs().max() == 1
    assert (even[1].abs() == 2).all()
    assert ((even / 2) % 2 == 1)[even > -256].all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_dense_layer_takes_images_as_they_lie(channels: int) -> None:
    random = torch.Generator().manual_seed(0)
    signal = torch.randint(0, 2, (5, channels, 4, 6), generator=random).to(torch.uint8)
    weight = 2.0 * torch.randint(-128, 128, (7, channels * 24), generator=random)
    expected = signal.flatten(1).double() @ weight.double().T
    last = signal.to(memory_format=torch.channels_last)
    for image in (signal, last, signal.float(), last.float()):
        assert torch.equal(dense(image, weight).double(), expected)
    order = MemoryOrder.of(last)
    assert order.channels_last == (channels > 1)
    assert order.flat(last).data_ptr() == last.data_ptr()
    assert torch.equal(order.image(order.flat(last)), last)
    columns = columns_of_image(weight, order.image_shape)
    assert torch.equal(order.flat(last).double() @ columns.double().T, expected)


@pytest.mark.exhaustive
def test_no_geometry_that_is_tried_ends_the_process_or_is_wrong_unseen() -> None:
    random = torch.Generator().manual_seed(0)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=random))

    used = 0
    for _ in range(2000):
        groups, kernel = draw(1, 3), (draw(1, 4), draw(1, 4))
        inputs, outputs = groups * draw(1, 9), groups * draw(1, 20)
        padding = (draw(0, kernel[0] - 1), draw(0, kernel[1] - 1))
        size = [max(1, k - 2 * p) + draw(0, 9) for k, p in zip(kernel, padding, strict=True)]
        geometry = Geometry((draw(1, 3), draw(1, 3)), padding, (1, 1), groups)
        signal = torch.randint(0, 256, (draw(1, 4), inputs, *size), generator=random)
        weight = 2.0 * torch.randint(-128, 128, (outputs, inputs // groups, *kernel))
        found = convolve(signal.to(torch.uint8), weight, geometry)
        plain = _convolve_unfolded(signal.double(), weight.double(), geometry)
        assert torch.equal(found.double(), plain), geometry
        used += ways()[-1] == convolve_bytes.__name__
    assert used > 1000 or not has_bytes()
    assert (convolve_bytes,) == synapses._CONVOLUTION_BYTES
