"""How many values left 24 bits, in a run and in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tandem_hw.arithmetic.neurons import Incoming, NeuronParameters, SpikeTrain, simulate_layer
from tandem_hw.conformance.layers import dense_layer, network_of
from tandem_hw.network.bounds import StateBounds
from tandem_hw.network.fixed_point import STATE_LIMIT
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork, Reset
from tandem_hw.network.saturation import (
    ADVICE,
    LayerSaturation,
    beyond,
    saturation_lines,
    summarise_saturation,
    uncounted_lines,
    unproven_lines,
)
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.networks import random_inputs, small_network


def saturated(
    *inputs: list[int],
    bias: int = 0,
    threshold: int | None = None,
    reset: str = "subtract",
    proven: bool = False,
) -> list[int]:
    """Return the saturated values of samples, each with its synaptic input in every step."""
    values = torch.tensor(inputs, dtype=torch.float32).reshape(-1, 1)
    places = torch.arange(len(values), dtype=torch.uint8).reshape(len(inputs), -1, 1)
    steps = SpikeTrain(places.transpose(0, 1))  # looked up below
    neurons = NeuronParameters(torch.tensor(float(bias)), threshold, reset, proven)
    incoming = [Incoming(steps, lambda sent: values[sent[:, 0].long()])]
    found: list[int] = simulate_layer(incoming, neurons, len(inputs[0])).saturated().tolist()
    return found


def test_a_current_that_wraps_counts_once_a_step() -> None:
    # 2^17 stays; one more wraps, and wraps back.
    assert saturated([STATE_LIMIT, 1 - STATE_LIMIT], [131_073, 0], [131_073, -2], [5, 5]) == [
        0,
        1,
        2,
        0,
    ]
    assert saturated([131_073, 0], threshold=1024) == [1]


def test_a_readout_s_clip_counts_where_it_is_read() -> None:
    # 131000 + 200 is clipped in the first step, but nobody reads it then.
    assert saturated([131_000, -500], [131_000, 0], bias=200) == [0, 1]
    assert saturated([-131_000, 0], bias=-200) == [1]
    # 2^17 itself is a current that stays and a voltage that does not.
    assert saturated([0, STATE_LIMIT]) == [1]
    # A current that wraps to 2^17 in the last step is one value.
    assert saturated([-STATE_LIMIT]) == [1]


def test_a_clip_changes_nothing_where_the_voltage_forgets_at_once() -> None:
    assert saturated([131_000, 0], bias=200, threshold=1024) == [0]


def test_a_kept_voltage_that_is_clipped_counts() -> None:
    assert saturated([-131_000, -131_000, 5], threshold=1024, reset="zero") == [1]
    # Both the current and the voltage leave 24 bits, in one value.
    assert saturated([-100, 131_073], threshold=1024, reset="zero", bias=-200) == [1]


def test_a_proven_layer_has_nothing_to_count() -> None:
    assert saturated([100, 200], [1, 2], threshold=64, proven=True) == [0, 0]


def overflowing(reset: Reset) -> tuple[QuantizedNetwork, npt.NDArray[np.uint8]]:
    """Return a network whose readout leaves 24 bits, and samples of which some make it."""
    spec = InputSpec((40,), 8, 1 / 255, "constant")
    layer = dense_layer("out", np.full((2, 40), 100), 8, np.zeros(2, int), None, spec.shape)
    network = network_of(spec, (layer,), 4, reset)
    inputs = random_inputs(network, 6)
    inputs[::2] //= 32
    return network, inputs


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_a_run_says_how_many_values_of_which_layer_in_how_many_samples(reset: Reset) -> None:
    network, inputs = overflowing(reset)
    recording = ReferenceBackend().run(network, inputs)
    per_sample = recording.saturation["out"]
    assert (per_sample[::2] == 0).all()
    assert (per_sample[1::2] > 0).all()
    (found,) = summarise_saturation(network, [replace(recording, saturation={}), recording])
    assert found == LayerSaturation("out", int(per_sample.sum()), 3, 6, readout=True)
    line = f"readout out saturated in 3 of 6 samples: {per_sample.sum()} values wrapped or clipped"
    assert saturation_lines([found]) == [line, ADVICE]


def test_nothing_is_said_of_layers_that_never_left_24_bits() -> None:
    network = small_network()
    recording = ReferenceBackend().run(network, random_inputs(network))
    found = summarise_saturation(network, [recording])
    assert [layer.name for layer in found] == ["conv", "hidden", "readout"]
    assert not any(layer.values for layer in found)
    assert saturation_lines(found) == []
    assert summarise_saturation(network, [replace(recording, saturation={})]) == ()


def test_one_value_is_said_in_the_singular() -> None:
    line = str(LayerSaturation("conv1", 1, 1, 9, readout=False))
    assert line == "layer conv1 saturated in 1 of 9 samples: 1 value wrapped or clipped"


def test_how_far_a_state_can_leave_is_0_exactly_where_it_is_proven() -> None:
    for low, high in ((1 - STATE_LIMIT, STATE_LIMIT - 1), (0, 0)):
        assert StateBounds(low, high).proven
        assert beyond(StateBounds(low, high)) == 0
    assert beyond(StateBounds(-STATE_LIMIT, 0)) == 1
    assert beyond(StateBounds(0, STATE_LIMIT + 6)) == 7
    assert beyond(StateBounds(-STATE_LIMIT - 9, STATE_LIMIT)) == 10


def test_layers_that_are_not_proven_are_named_with_how_far_they_can_leave() -> None:
    assert unproven_lines(small_network()) == []
    network, _ = overflowing("subtract")
    high = 40 * 100 * 255 * 4
    assert unproven_lines(network) == [
        f"layer out is not proven: its state can reach 0 to {high}, {high - 131_071} weight units "
        f"beyond 24 bits, where values wrap or clip; simulate and verify count in how many samples "
        f"it saturated"
    ]


def test_a_backend_that_does_not_count_says_so_where_there_could_be_something() -> None:
    assert uncounted_lines(small_network(), "lava-cpu") == []
    assert uncounted_lines(overflowing("zero")[0], "lava-cpu") == [
        "lava-cpu does not count the values that leave 24 bits, which layers out are not proven to "
        "stay within; the reference does"
    ]
