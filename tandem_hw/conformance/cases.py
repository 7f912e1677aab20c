"""The networks and inputs of the conformance suite; every backend runs all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from tandem_hw.conformance.case_networks import (
    RESETS,
    SAMPLES,
    Case,
    case_inputs,
    convolutional,
    dense,
)
from tandem_hw.conformance.delay_cases import delay_cases
from tandem_hw.conformance.graph_cases import graph_cases
from tandem_hw.conformance.layer_cases import layer_cases
from tandem_hw.conformance.layers import changed, dense_layer, network_of
from tandem_hw.conformance.padded_cases import padded_cases
from tandem_hw.network.fixed_point import floor_threshold
from tandem_hw.network.quantized import Encoding, InputSpec, Reset


def cases() -> Iterator[Case]:
    """Yield every case of the suite, at the shortest period first and then at a board's."""
    at_once = list(_cases_without_delays())
    shortest = [*at_once, *delay_cases(at_once)]
    yield from shortest
    yield from padded_cases(shortest)


def _cases_without_delays() -> Iterator[Case]:
    for reset in RESETS:
        for num_steps in (1, 4, 7):
            network = convolutional(reset, num_steps)
            yield Case(f"{reset}-T{num_steps}", network, case_inputs(network))
        yield from _synapse_cases(reset)
        yield from _weight_and_bias_cases(reset)
        yield from _input_cases(reset)
        yield from _readout_cases(reset)
        yield _overflow_case(reset)
        yield from layer_cases(reset)
        yield from graph_cases(reset)
    yield from _leak_cases()


def _synapse_cases(reset: Reset) -> Iterator[Case]:
    geometries: dict[str, dict[str, Any]] = {
        "odd-stride-and-padding": {"stride": (3, 2), "padding": (0, 2)},
        "dilation": {"dilation": (2, 1), "padding": (2, 1)},
        "groups": {"groups": 2, "stride": (1, 2), "padding": (1, 0)},
        "wide-kernel": {"kernel": (5, 3), "padding": (2, 1)},
    }
    for name, geometry in geometries.items():
        network = convolutional(reset, 4, **geometry)
        yield Case(f"{reset}-{name}", network, case_inputs(network))
    for bits in (2, 4):
        network = convolutional(reset, 4, weight_bits=bits)
        yield Case(f"{reset}-{bits}-bit-weights", network, case_inputs(network))


def _weight_and_bias_cases(reset: Reset) -> Iterator[Case]:
    generator = np.random.default_rng(5)
    weights = 2 * generator.integers(-40, 41, (6, 12))
    ramp = np.array([-900, -90, 0, 45, 90, 900])
    fires, silent = (weights, ramp), (np.zeros_like(weights), np.zeros_like(ramp))
    yield _two_layers(f"{reset}-biases-of-both-signs", reset, *fires)
    yield _two_layers(f"{reset}-bias-of-both-extremes", reset, weights, 9 * ramp + ramp % 2)
    yield _two_layers(f"{reset}-zero-weights", reset, silent[0], ramp)
    yield _two_layers(f"{reset}-zero-weights-and-biases", reset, *silent, fires=False)
    yield _two_layers(f"{reset}-all-negative-weights", reset, -abs(weights) - 2, 4 * abs(ramp))
    yield _two_layers(
        f"{reset}-only-inhibition", reset, -abs(weights) - 2, -np.abs(ramp), fires=False
    )


def _input_cases(reset: Reset) -> Iterator[Case]:
    for encoding in get_args(Encoding):
        network = convolutional(reset, 4, encoding=encoding)
        dark = np.zeros((SAMPLES, *network.sample_shape), dtype=np.uint8)
        bright = np.full_like(dark, network.input.largest)
        yield Case(f"{reset}-{encoding}-saturated", network, bright)
        mixed = np.concatenate([bright[:1], dark[:1], case_inputs(network)])
        yield Case(f"{reset}-{encoding}-silent-between-others", network, mixed)
        # Without biases nothing comes out of nothing.
        unbiased = convolutional(reset, 4, encoding=encoding, bias_reach=0)
        yield Case(f"{reset}-{encoding}-silent", unbiased, dark, fires=False)


def _readout_cases(reset: Reset) -> Iterator[Case]:
    generator = np.random.default_rng(8)
    spec = InputSpec((12,), bits=4, scale=1 / 15, encoding="constant")
    for readout, threshold in (("potential", None), ("count", 96)):
        layer = dense("only", (12,), 5, threshold, generator)
        network = network_of(spec, (layer,), 4, reset, readout)  # type: ignore[arg-type]
        yield Case(f"{reset}-one-layer-{readout}", network, case_inputs(network))


def _leak_cases() -> Iterator[Case]:
    """Yield cases of Loihi's integer decay of current and voltage, one of them or both."""
    for current, voltage, num_steps in (
        *((4096, 123, 8), (1024, 0, 8), (3000, 1024, 8), (1, 4095, 8)),
        (4096, 1000, 4),  # short enough that no state can leave 24 bits
    ):
        plain = convolutional("zero", num_steps, encoding="events")
        layers = tuple(
            changed(layer, current_decay=current, voltage_decay=voltage) if layer.fires else layer
            for layer in plain.layers
        )
        network = replace(plain, layers=layers)
        yield Case(f"zero-decays-{current}-and-{voltage}", network, case_inputs(network))


def _overflow_case(reset: Reset) -> Case:
    """Return a case whose sums leave 24 bits, so that the current wraps and the voltage clips."""
    generator = np.random.default_rng(4)
    spec = InputSpec((40,), bits=8, scale=1 / 255, encoding="constant")
    first = dense_layer(
        "first",
        2 * generator.integers(-127, 128, (30, 40)),
        8,
        generator.integers(-4000, 4000, 30),
        floor_threshold(40_000),
        spec.shape,
    )
    readout = dense("readout", first.output_shape, 5, None, generator)
    network = network_of(spec, (first, readout), 7, reset)
    assert not network.bounds[0].proven
    return Case(f"{reset}-overflow", network, case_inputs(network), overflows=True)


def _two_layers(
    name: str,
    reset: Reset,
    weight: npt.NDArray[np.int64],
    bias: npt.NDArray[np.int64],
    fires: bool = True,
) -> Case:
    """Return a case whose first layer is given and whose readout is random."""
    spec = InputSpec((weight.shape[1],), bits=4, scale=1 / 15, encoding="constant")
    first = dense_layer("first", weight, 8, bias, 320, spec.shape)
    readout = dense("readout", first.output_shape, 4, None, np.random.default_rng(2))
    network = network_of(spec, (first, readout), 4, reset)
    return Case(name, network, case_inputs(network), fires)
