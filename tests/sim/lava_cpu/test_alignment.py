"""Which step belongs to which sample: counts and potentials on Lava are the reference's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.chip.timing import default_period
from tandem_hw.conformance.layers import dense_layer, network_of
from tandem_hw.conformance.random_layers import random_layer
from tandem_hw.network.quantized import Encoding, InputSpec, Layer, QuantizedNetwork, Readout
from tandem_hw.network.recording import Recording
from tandem_hw.network.synapses.convolutions import Conv2d
from tandem_hw.network.synapses.dense import Dense
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import compare

_ABSENT = LavaCpuBackend().why_unavailable()
pytestmark = [
    pytest.mark.usefixtures("warm_lava"),
    pytest.mark.skipif(_ABSENT is not None, reason=str(_ABSENT)),
    pytest.mark.timeout(240),
]

_STEPS = 4
_WEIGHTS: dict[str, Any] = {"weights": (-60, 60), "bias_reach": 40}


def _relay(name: str, width: int, threshold: int, weight: int = 2) -> Layer:
    """Return a layer that hands every input to the neuron of the same place."""
    return dense_layer(
        name=name,
        weight=weight * np.eye(width, dtype=np.int64),
        weight_bits=8,
        bias=np.zeros(width, dtype=np.int64),
        threshold=threshold,
        input_shape=(width,),
    )


def _mixing(name: str, shape: tuple[int, ...], out: int, threshold: int | None, seed: int) -> Layer:
    return random_layer(
        *(Dense, name, (out, math.prod(shape)), shape, threshold),
        **_WEIGHTS,
        generator=np.random.default_rng(seed),
    )


def _deep(encoding: Encoding, readout: Readout) -> QuantizedNetwork:
    """Return a network of four layers whose shapes all differ along every axis."""
    spec = InputSpec((2, 5, 4), bits=4, scale=1 / 15, encoding=encoding)
    first = random_layer(
        *(Conv2d, "conv", (3, 2, 3, 2), spec.shape, 240),
        **_WEIGHTS,
        generator=np.random.default_rng(1),
        stride=(2, 1),
        padding=(1, 1),
    )
    layers: list[Layer] = [first, _mixing("dense1", first.output_shape, 9, 120, seed=2)]
    layers.append(_mixing("dense2", (9,), 8, 120, seed=3))
    layers.append(_mixing("last", (8,), 6, 120 if readout == "count" else None, seed=4))
    return network_of(spec, tuple(layers), _STEPS, "subtract", readout)


def _inputs(network: QuantizedNetwork, samples: int) -> npt.NDArray[np.uint8]:
    """Return random samples, the last of which is the brightest."""
    shape = (samples, *network.input.shape)
    inputs = np.random.default_rng(5).integers(0, network.input.largest + 1, shape)
    inputs[-1] |= (network.input.largest + 1) >> 1
    return inputs.astype(np.uint8)


def _require_same(
    network: QuantizedNetwork, inputs: npt.NDArray[np.uint8], lava: Recording
) -> Recording:
    """Compare Lava with the reference; every layer must fire, in the last sample as well."""
    reference = ReferenceBackend().run(network, inputs)
    for layer in network.spiking_layers:
        assert reference.counts[layer.name][-1].any(), f"{layer.name} is silent in the last sample"
        np.testing.assert_array_equal(lava.counts[layer.name], reference.counts[layer.name])
    np.testing.assert_array_equal(lava.output, reference.output)
    compare(network, [reference, lava]).require_match()
    return reference


@pytest.mark.parametrize(
    ("encoding", "readout", "longer"),
    [("constant", "potential", 0), ("first_step", "count", 0), ("constant", "count", 3)],
)
def test_samples_back_to_back_in_four_layers_give_the_counts_of_the_reference(
    encoding: Encoding, readout: Readout, longer: int
) -> None:
    network = _deep(encoding, readout)
    inputs = _inputs(network, samples=5)
    period = default_period(network) + longer
    lava = LavaCpuBackend(period=period).run(network, inputs)
    reference = _require_same(network, inputs, lava)
    # Neighbours differ, so a count in the wrong row would show.
    assert (np.diff(reference.counts["dense2"], axis=0) != 0).any(axis=1).all()


def test_potential_is_read_in_the_right_step_when_the_period_is_longer() -> None:
    network = _deep("constant", "potential")
    inputs = _inputs(network, samples=3)
    lava = LavaCpuBackend(period=default_period(network) + 2).run(network, inputs)
    reference = _require_same(network, inputs, lava)
    assert len(np.unique(reference.output, axis=0)) == len(inputs)


@pytest.mark.parametrize("readout", ["potential", "count"])
def test_network_of_one_layer_gives_the_output_of_the_reference(readout: Readout) -> None:
    spec = InputSpec((7,), bits=3, scale=1 / 7, encoding="constant")
    layer = _mixing("only", spec.shape, 5, 200 if readout == "count" else None, seed=6)
    network = network_of(spec, (layer,), _STEPS, "zero", readout)
    inputs = _inputs(network, samples=4)
    lava = LavaCpuBackend().run(network, inputs)
    reference = _require_same(network, inputs, lava)
    assert len(np.unique(reference.output, axis=0)) == len(inputs)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_spikes_in_the_last_step_of_the_last_sample_are_not_lost(reset: str) -> None:
    spec = InputSpec((2,), bits=1, scale=1.0, encoding="constant")
    relays = [_relay(f"relay{index}", 2, threshold=2) for index in range(3)]
    # The last layer reaches its threshold with the spike of its last step and not before.
    late = _relay("late", 2, threshold=2 * _STEPS)
    network = network_of(spec, (*relays, late), _STEPS, reset, "count")  # type: ignore[arg-type]
    inputs = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.uint8)
    lava = LavaCpuBackend().run(network, inputs)
    for relay in relays:
        np.testing.assert_array_equal(lava.counts[relay.name], _STEPS * inputs)
    np.testing.assert_array_equal(lava.counts["late"], inputs)
    _require_same(network, inputs, lava)


def test_only_spikes_of_the_first_step_reach_all_layers_in_their_first_step() -> None:
    spec = InputSpec((3,), bits=2, scale=1.0, encoding="first_step")
    layers = tuple(_relay(f"relay{index}", 3, threshold=2) for index in range(4))
    network = network_of(spec, layers, 1, "subtract", "count")
    inputs = np.array([[3, 0, 1], [0, 2, 0], [1, 1, 0]], dtype=np.uint8)
    lava = LavaCpuBackend().run(network, inputs)
    for layer in layers:
        np.testing.assert_array_equal(lava.counts[layer.name], inputs > 0)


def test_progress_counts_the_samples_that_have_left_the_last_layer() -> None:
    spec = InputSpec((2,), bits=1, scale=1.0, encoding="constant")
    network = network_of(spec, (_relay("only", 2, 2),), 100, "subtract", "count")
    inputs = np.ones((30, 2), dtype=np.uint8)
    seen: list[tuple[int, int]] = []
    lava = LavaCpuBackend().run(network, inputs, progress=lambda *done: seen.append(done))
    assert (lava.counts["only"] == 100).all()
    done = [samples for samples, _ in seen]
    assert {total for _, total in seen} == {30}
    assert done == sorted(done)
    assert any(0 < samples < 30 for samples in done)
