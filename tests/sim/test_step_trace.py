"""Traces hold what the oracle does in every step, whichever way a backend tells it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tandem_hw.conformance import oracle
from tandem_hw.errors import BackendUnavailableError, DataError, NetworkError
from tandem_hw.network.quantized import QuantizedNetwork, Reset
from tandem_hw.sim.backend import Backend
from tandem_hw.sim.c.backend import CBackend
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tandem_hw.sim.loihi2.backend import Loihi2Backend
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend, states_by_step
from tandem_hw.sim.step_trace import (
    StepTrace,
    TraceDifference,
    check_trace,
    first_difference,
    trace_steps,
)
from tests.helpers.networks import networks, random_inputs, small_graph_network, small_network
from tests.helpers.step_backends import Shortened
from tests.helpers.trainings import make_model

relaxed = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def steps_of_oracle(network: QuantizedNetwork, sample: npt.NDArray[np.uint8]) -> list[Any]:
    return oracle.run_sample(network, sample.reshape(-1).tolist())


@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("overflowing", [False, True])
def test_the_reference_fires_in_the_steps_of_the_oracle(delayed: bool, overflowing: bool) -> None:
    fired: list[bool] = []

    @relaxed
    @given(network=networks(overflowing=overflowing, delayed=delayed), seed=st.integers(0, 1000))
    def check(network: QuantizedNetwork, seed: int) -> None:
        (sample,) = random_inputs(network, 1, seed=seed)
        found = trace_steps(ReferenceBackend(), network, sample)
        for layer, expected in zip(network, steps_of_oracle(network, sample), strict=True):
            shape = (len(expected.potentials), *layer.output_shape)
            if layer.fires:
                steps = np.zeros((len(expected.potentials), layer.num_neurons), np.int8)
                # Without a first step that sends all, the oracle waits where nothing is to wait for
                steps[len(steps) - len(expected.spikes) :] = expected.spikes
                index = network.layers.index(layer)
                if network.wiring.firing_delays[index] == len(steps) - network.num_steps:
                    np.testing.assert_array_equal(found.spikes[layer.name], steps.reshape(shape))
                total = found.spikes[layer.name].sum(axis=0).reshape(-1)
                np.testing.assert_array_equal(total, expected.counts)
            else:
                potentials = np.reshape(expected.potentials, shape)
                np.testing.assert_array_equal(found.potentials[layer.name], potentials)
        fired.append(any(spikes.any() for spikes in found.spikes.values()))

    check()
    assert fired.count(True) >= 3


@pytest.mark.parametrize("overflowing", [False, True])
def test_windows_that_are_cut_short_tell_the_same_steps(overflowing: bool) -> None:
    fired: list[bool] = []

    @relaxed
    @given(network=networks(overflowing=overflowing), seed=st.integers(0, 1000))
    def check(network: QuantizedNetwork, seed: int) -> None:
        (sample,) = random_inputs(network, 1, seed=seed)
        by_steps = trace_steps(ReferenceBackend(), network, sample)
        shortened = trace_steps(Shortened(), network, sample)
        assert shortened.spikes.keys() == by_steps.spikes.keys()
        assert shortened.potentials.keys() == by_steps.potentials.keys()
        assert first_difference(network, [by_steps, shortened]) is None
        fired.append(any(spikes.any() for spikes in by_steps.spikes.values()))

    check()
    assert fired.count(True) >= 3


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_the_last_step_is_that_of_a_recording(reset: Reset) -> None:
    network = small_network(reset)
    inputs = random_inputs(network, 2)
    recording = ReferenceBackend().run(network, inputs, keep_final_state=True)
    for layer, spikes, states in states_by_step(network, inputs):
        if spikes is None:
            np.testing.assert_array_equal(states[:, -1], recording.output)
            continue
        assert spikes.any()
        np.testing.assert_array_equal(states[:, -1], recording.final_state[layer.name])
        np.testing.assert_array_equal(spikes.sum(axis=1), recording.counts[layer.name])


def test_a_potential_is_what_the_threshold_is_compared_with() -> None:
    network = small_network("subtract")
    (sample,) = random_inputs(network, 1)
    found = trace_steps(ReferenceBackend(), network, sample)
    for layer in network.spiking_layers:
        above = found.potentials[layer.name] >= (layer.neurons.threshold or 0)
        assert above.any()
        np.testing.assert_array_equal(above, found.spikes[layer.name] > 0)


@pytest.mark.parametrize("backend", [CBackend, LavaCpuBackend])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.exhaustive
def test_other_programs_do_the_same_in_every_step(backend: type[Backend], reset: Reset) -> None:
    other = backend()
    if other.why_unavailable() is not None:
        pytest.skip(str(other.why_unavailable()))
    network = small_network(reset, num_steps=3)
    (sample,) = random_inputs(network, 1)
    told: list[tuple[int, int]] = []
    found = trace_steps(other, network, sample, lambda *step: told.append(step))
    expected = trace_steps(ReferenceBackend(), network, sample)
    assert all(spikes.any() for spikes in expected.spikes.values())
    assert found.potentials.keys() == expected.potentials.keys()
    assert first_difference(network, [expected, found]) is None
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_first_difference_is_found_in_layer_and_step() -> None:
    network = small_network()
    (sample,) = random_inputs(network, 1)
    expected = trace_steps(ReferenceBackend(), network, sample)
    found = trace_steps(Shortened(wrong_from=2, layer="hidden"), network, sample)
    difference = first_difference(network, [expected, found])
    value = float(expected.potentials["hidden"][1, 2])
    assert difference == TraceDifference(
        "shortened", "hidden", 2, (2,), "potential", value, value + 1
    )
    assert str(difference) == (
        f"shortened: layer hidden, step 2, neuron [2]: potential {value + 1:.10g} instead of "
        f"{value:.10g}"
    )


def test_of_a_difference_in_spikes_the_earlier_step_counts() -> None:
    network = small_network()
    (sample,) = random_inputs(network, 1)
    expected = trace_steps(ReferenceBackend(), network, sample)
    spikes = {name: array.copy() for name, array in expected.spikes.items()}
    spikes["conv"][1, 0, 0, 1] ^= 1
    late = {name: array.copy() for name, array in expected.potentials.items()}
    late["conv"][3] += 1
    difference = first_difference(network, [expected, StepTrace("other", spikes, late)])
    assert difference is not None
    assert (difference.kind, difference.step, difference.neuron) == ("spikes", 2, (0, 0, 1))


def test_a_board_is_not_traced() -> None:
    with pytest.raises(BackendUnavailableError, match="loihi2 cannot be traced: a board would be"):
        check_trace(Loihi2Backend(), small_network())


def test_a_models_own_forward_pass_is_not_traced() -> None:
    with pytest.raises(BackendUnavailableError, match="pytorch cannot be traced: the model's own"):
        check_trace(PyTorchBackend(make_model()), small_network())


def test_a_firing_delay_is_refused_where_windows_are_cut_short() -> None:
    network = replace(small_network(), firing_delay=2)
    check_trace(ReferenceBackend(), network)
    with pytest.raises(
        NetworkError, match=r"shortened cannot be traced .*layer conv has a firing delay of 2"
    ):
        check_trace(Shortened(), network)


def test_a_sample_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match=r"a sample has shape \(3,\)"):
        trace_steps(ReferenceBackend(), small_graph_network(), np.zeros(3, np.uint8))
