from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from tandem_hw.errors import ConversionError
from tandem_hw.learning.quantizer import (
    OPTIMAL_RANGE,
    IntegerParameters,
    _floor_threshold,
    _nearest_threshold,
    quantize_layer,
)
from tandem_hw.network.fixed_point import (
    BIAS_EXPONENT_MAX,
    BIAS_MANTISSA_MAX,
    STATE_FRACTION_BITS,
    VTH_MAX,
    bias_exponent,
    check_weights,
    floor_threshold,
    threshold_parts,
    weight_limit,
)

BITS = range(2, 9)
#: Largest bias in weight units that a register can hold.
BIAS_LIMIT = BIAS_MANTISSA_MAX << (BIAS_EXPONENT_MAX - STATE_FRACTION_BITS)


@dataclass(frozen=True)
class Problem:
    weight: Tensor
    bias: Tensor
    input_scale: float
    real_threshold: float | None
    bits: int

    def solve(self) -> IntegerParameters:
        return quantize_layer(
            self.weight,
            self.bias,
            input_scale=self.input_scale,
            real_threshold=self.real_threshold,
            weight_bits=self.bits,
            name="conv3",
        )


def problem(
    rows: list[list[float]],
    bias: list[float],
    threshold: float | None = 0.25,
    bits: int = 8,
    input_scale: float = 0.25,
) -> Problem:
    weight = torch.tensor(rows, dtype=torch.float64)
    return Problem(weight, torch.tensor(bias, dtype=torch.float64), input_scale, threshold, bits)


scales = st.integers(-200, 200).map(lambda exponent: 2.0**exponent)
usual_scales = st.integers(-12, 6).map(lambda exponent: 2.0**exponent)
# A parameter is a float32; so small a float64 that its square is zero cannot come up.
units = st.floats(-1, 1, width=32) | st.sampled_from([-1.0, 0.0, 1.0])


@st.composite
def problems(draw: st.DrawFn, bits: tuple[int, ...] = tuple(BITS), extreme: bool = True) -> Problem:
    outputs, inputs = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    size = draw(scales if extreme else usual_scales)
    bias_size = draw(scales if extreme else usual_scales)
    rows = draw(
        st.lists(
            st.lists(units.map(lambda x: x * size), min_size=inputs, max_size=inputs),
            min_size=outputs,
            max_size=outputs,
        )
    )
    bias = draw(st.lists(units.map(lambda x: x * bias_size), min_size=outputs, max_size=outputs))
    threshold = draw(st.none() | (scales if extreme else usual_scales))
    return problem(rows, bias, threshold, draw(st.sampled_from(bits)), draw(usual_scales))


def whole(tensor: Tensor) -> NDArray[np.int64]:
    integers: NDArray[np.int64] = tensor.numpy().astype(np.int64)
    assert np.array_equal(integers, tensor.numpy())
    return integers


@given(problems())
@example(problem([[0.0, 0.0]], [0.0]))
@example(problem([[0.0, 0.0]], [0.0], None, 2))
@example(problem([[0.0]], [-5.0], None, 3))
@example(problem([[-1.0, -0.25]], [-0.5], 0.25, 2))
@example(problem([[-1.0, -1.0]], [0.0], 1e-30))
@example(problem([[1e-9, -1e-9]], [1e9]))
@example(problem([[1e-9, -1e-9]], [-1e9], None))
@example(problem([[1.0]], [0.0], 1e30))
@settings(deadline=None, max_examples=150)
def test_every_result_fits_the_registers(case: Problem) -> None:
    found = case.solve()
    check_weights(whole(found.weight), case.bits)
    assert np.abs(whole(found.weight)).max() <= weight_limit(case.bits)
    assert bias_exponent(whole(found.bias)) in (6, 7)
    assert (found.threshold is None) == (case.real_threshold is None)
    if found.threshold is not None:
        mantissa, exponent = threshold_parts(found.threshold)
        assert mantissa << exponent == found.threshold
    assert math.isfinite(found.unit)
    assert found.unit > 0


def fits_its_threshold(case: Problem) -> bool:
    """Whether the threshold is at least one weight unit, so that it can be told from zero."""
    if case.real_threshold is None:
        return True
    weights = float(case.weight.abs().max()) * case.input_scale / weight_limit(case.bits)
    return max(weights, float(case.bias.abs().max()) / BIAS_LIMIT) <= case.real_threshold


@given(problems(bits=(8,), extreme=False).filter(fits_its_threshold))
@settings(deadline=None, max_examples=100)
def test_the_unit_is_the_real_value_of_one_weight_unit_at_8_bits(case: Problem) -> None:
    found = case.solve()
    real = found.weight * found.unit / case.input_scale
    slack = 1 + 1e-9  # float64 rounds on the way; the bound is half a step, which is two units
    assert (real - case.weight).abs().max() <= found.unit / case.input_scale * slack
    step = 2 if found.bias.abs().max() > BIAS_MANTISSA_MAX else 1
    assert (found.bias * found.unit - case.bias).abs().max() <= found.unit * step / 2 * slack
    if found.threshold is not None:
        assert found.threshold * found.unit == pytest.approx(case.real_threshold, rel=1e-12)


@given(problems(extreme=False).filter(fits_its_threshold))
@settings(deadline=None, max_examples=100)
def test_only_weights_outside_of_the_optimal_range_are_clipped(case: Problem) -> None:
    found = case.solve()
    reach = float(case.weight.abs().max())
    if case.bits in OPTIMAL_RANGE:
        reach = OPTIMAL_RANGE[case.bits] * float(case.weight.square().mean().sqrt())
    inside = case.weight.abs() <= reach
    step = found.unit / case.input_scale
    error = (found.weight * step - case.weight).abs()
    assert inside.any()
    assert (error[inside] <= step * (1 + 1e-9)).all()
    # What is outside goes to the end of the range or near its own value, never past zero.
    assert (found.weight * case.weight.sign() >= 0).all()


@pytest.mark.parametrize("bits", BITS)
def test_one_large_weight_fills_the_range_of_8_bits_and_is_clipped_below(bits: int) -> None:
    rows = [[1.0] + [0.01] * 63]
    found = problem(rows, [0.0], bits=bits).solve()
    assert found.weight[0, 0] == weight_limit(bits)
    value = float(found.weight[0, 0]) * found.unit / 0.25
    assert value == pytest.approx(1.0, rel=0.01) if bits == 8 else value < 0.6


@pytest.mark.parametrize("bits", BITS)
def test_the_unit_is_no_larger_than_weights_and_biases_need(bits: int) -> None:
    random = torch.randn(16, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = problem(random.tolist(), [0.0] * 16, threshold=30.0, bits=bits).solve()
    limit = weight_limit(bits)
    assert found.weight.abs().max() > limit * (1 - 1 / 64)  # a threshold has 8 significant bits
    huge = problem([[1e-6, -1e-6]], [3.0], threshold=30.0, bits=bits).solve()
    assert huge.bias.abs().max() > BIAS_LIMIT * (1 - 1 / 64)
    small = problem([[1e-9, -1e-9]], [0.0], threshold=1.0, bits=bits).solve()
    assert small.threshold == VTH_MAX + 1


@pytest.mark.parametrize("threshold", [None, 0.25])
def test_weights_of_zero_become_zero(threshold: float | None) -> None:
    found = problem([[0.0, -0.0], [0.0, 0.0]], [0.0, 0.0], threshold).solve()
    assert not found.weight.any()
    assert not found.bias.any()
    assert found.unit > 0


def test_negative_weights_keep_their_sign_and_order() -> None:
    found = problem([[-1.0, -0.5, -0.25]], [-0.125]).solve()
    assert found.threshold == 254
    assert found.weight.tolist() == [[-254, -128, -64]]
    assert found.bias.tolist() == [-127]


def test_biases_that_need_the_larger_exponent_are_all_even() -> None:
    found = problem([[0.1, -0.1]] * 3, [500.0, 100.03, -333.3], threshold=1.0).solve()
    biases = whole(found.bias)
    assert np.abs(biases).max() > BIAS_MANTISSA_MAX
    assert not np.any(biases % 2)
    assert bias_exponent(biases) == BIAS_EXPONENT_MAX


def test_a_readouts_unit_does_not_hang_on_the_last_bit_of_a_weight() -> None:
    one = problem([[0.7, -0.3]], [0.1], None).solve()
    other = problem([[math.nextafter(0.7, 1), -0.3]], [0.1], None).solve()
    assert one.unit == other.unit
    assert torch.equal(one.weight, other.weight)
    mantissa, _ = math.frexp(one.unit)
    assert mantissa * 256 == int(mantissa * 256)


@pytest.mark.parametrize("potential", [math.inf, math.nan])
def test_a_potential_that_no_unit_makes_room_for_is_refused(potential: float) -> None:
    weight = torch.ones((2, 3), dtype=torch.float64)
    message = r"layer dense1: a weight or bias is infinite or not a number"
    with pytest.raises(ConversionError, match=message):
        quantize_layer(
            weight,
            torch.zeros(2, dtype=torch.float64),
            input_scale=1.0,
            real_threshold=None,
            weight_bits=8,
            name="dense1",
            largest_potential=potential,
        )


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("part", ["weight", "bias"])
def test_values_that_are_not_finite_are_refused_by_the_layers_name(part: str, value: float) -> None:
    rows, bias = [[0.5, 0.1], [0.2, 0.3]], [0.0, 0.1]
    if part == "weight":
        rows[1][0] = value
    else:
        bias[1] = value
    message = r"layer conv3: a weight or bias is infinite or not a number; lower the learning rate"
    with pytest.raises(ConversionError, match=message):
        problem(rows, bias).solve()


def test_thresholds_on_a_device_are_those_of_numbers() -> None:
    every = torch.arange(1, VTH_MAX + 3, dtype=torch.float64)
    values = torch.cat([every, every + 0.5, every * 1e-6, every * 1e6])
    found = _floor_threshold(values).tolist()
    assert found == [floor_threshold(value) for value in values.tolist()]


def test_the_nearest_threshold_is_the_nearest() -> None:
    allowed = sorted({floor_threshold(value) for value in range(1, VTH_MAX + 2)})
    values = np.random.default_rng(0).uniform(0, 1.1 * VTH_MAX, 2000)
    values = np.concatenate([values, np.arange(1, 1100), np.array(allowed)])
    nearest = _nearest_threshold(torch.from_numpy(values)).numpy()
    assert set(nearest) <= set(allowed)
    least = np.abs(np.array(allowed)[None] - values[:, None]).min(axis=1)
    assert np.array_equal(np.abs(nearest - values), least)
