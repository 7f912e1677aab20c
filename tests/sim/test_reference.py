"""The reference backend computes what the oracle in plain Python integers computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tandem_hw.arithmetic.chosen_ways import chosen_ways
from tandem_hw.conformance import oracle
from tandem_hw.conformance.layers import dense_layer, network_of
from tandem_hw.errors import BackendUnavailableError, DataError
from tandem_hw.network.choices import Readout
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork, Reset
from tandem_hw.network.recording import Recording
from tandem_hw.sim import worker_threads
from tandem_hw.sim.backend import require_available
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.byte_products import bytes_preferred, needs_bytes
from tests.helpers.networks import networks, random_inputs, small_network
from tests.helpers.torch_threads import torch_threads

relaxed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def assert_equal(found: Recording, expected: Recording) -> None:
    assert found.counts.keys() == expected.counts.keys()
    for name, counts in expected.counts.items():
        np.testing.assert_array_equal(found.counts[name], counts, err_msg=name)
    np.testing.assert_array_equal(found.output, expected.output)
    np.testing.assert_array_equal(found.prediction, expected.prediction)
    assert dict(found.peak) == dict(expected.peak)
    assert found.final_state.keys() == expected.final_state.keys() == expected.counts.keys()
    for name, states in expected.final_state.items():
        np.testing.assert_array_equal(found.final_state[name], states, err_msg=name)
    for name, values in expected.saturation.items():
        assert found.saturation[name].tolist() == values.tolist(), name


@relaxed
@given(network=networks(), seed=st.integers(0, 1000))
def test_every_count_and_potential_is_the_oracles(network: QuantizedNetwork, seed: int) -> None:
    inputs = random_inputs(network, seed=seed)
    expected = oracle.record(network, inputs)
    assert_equal(ReferenceBackend().run(network, inputs, keep_final_state=True), expected)


@settings(relaxed, max_examples=60)
@given(network=networks(overflowing=True), seed=st.integers(0, 1000))
def test_states_beyond_24_bits_wrap_and_clip_as_the_oracles(
    network: QuantizedNetwork, seed: int
) -> None:
    inputs = random_inputs(network, seed=seed)
    found = ReferenceBackend().run(network, inputs, keep_final_state=True)
    assert_equal(found, oracle.record(network, inputs))


@pytest.mark.parametrize("overflowing", [False, True])
def test_layers_that_wait_before_they_fire_give_what_the_oracle_does(overflowing: bool) -> None:
    phased: list[bool] = []
    active: list[bool] = []

    @settings(relaxed, max_examples=100)
    @given(network=networks(overflowing=overflowing, delayed=True), seed=st.integers(0, 1000))
    def check(network: QuantizedNetwork, seed: int) -> None:
        inputs = random_inputs(network, seed=seed)
        expected = oracle.record(network, inputs)
        assert_equal(ReferenceBackend().run(network, inputs, keep_final_state=True), expected)
        phased.append(network.firing_delay == network.num_steps - 1)
        active.append(any(counts.any() for counts in expected.counts.values()))

    check()
    assert 10 <= phased.count(True) <= 90
    assert active.count(True) >= 20


@needs_bytes
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("overflowing", [False, True])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_products_of_bytes_give_what_the_oracle_does(
    reset: Reset, overflowing: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_threads, "cores", lambda: 2)
    used: list[set[str]] = []

    @settings(relaxed, max_examples=20)
    @given(
        network=networks(overflowing=overflowing).filter(lambda network: network.reset == reset),
        seed=st.integers(0, 1000),
    )
    def check(network: QuantizedNetwork, seed: int) -> None:
        inputs = random_inputs(network, seed=seed)
        with bytes_preferred(), torch_threads(threads):
            found = ReferenceBackend().run(network, inputs, keep_final_state=True)
            used.append({choice.way for choice in chosen_ways()})
        assert_equal(found, oracle.record(network, inputs))

    check()
    byte_ways = {"convolve_bytes", "multiply_bytes", "multiply_bytes_as_points"}
    assert sum(not ways.isdisjoint(byte_ways) for ways in used) >= 10


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_drawn_networks_fire_in_some_steps_and_not_in_others(reset: Reset) -> None:
    firing: list[bool] = []

    @settings(relaxed, max_examples=120)
    @given(network=networks().filter(lambda network: network.reset == reset))
    def look(network: QuantizedNetwork) -> None:
        counts = oracle.record(network, random_inputs(network)).counts.values()
        firing.append(any(np.any((c > 0) & (c < network.num_steps)) for c in counts))

    look()
    assert firing.count(True) >= 10


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_overflowing_networks_really_wrap_and_clip(reset: Reset) -> None:
    wrapped: list[bool] = []
    clipped: list[bool] = []

    @settings(relaxed, max_examples=40)
    @given(network=networks(overflowing=True).filter(lambda network: network.reset == reset))
    def look(network: QuantizedNetwork) -> None:
        for sample in random_inputs(network):
            first = oracle.run_sample(network, sample.reshape(-1).tolist())[0]
            assert not (network.bounds[0].proven and (first.wrapped or first.clipped))
            wrapped.append(first.wrapped)
            clipped.append(first.clipped)

    look()
    assert wrapped.count(True) >= 10
    assert clipped.count(True) >= 10


def one_neuron(
    weights: list[int], bias: int, threshold: int | None, reset: Reset, num_steps: int
) -> QuantizedNetwork:
    spec = InputSpec((len(weights),), 8, 1 / 255, "constant")
    layer = dense_layer("only", np.array([weights]), 8, np.array([bias]), threshold, spec.shape)
    readout: Readout = "potential" if threshold is None else "count"
    return network_of(spec, (layer,), num_steps, reset, readout)


# 2^23 of Lava's units are 131072 weight units, and one weight of 254 at full input adds 64770.
@pytest.mark.parametrize(
    ("network", "expected"),
    [
        # 3 * 64770 = 194310 wraps to 194310 - 262144, and a second step brings it back.
        (one_neuron([254] * 3, 100, None, "subtract", 1), -67834 + 100),
        (one_neuron([254] * 3, 100, None, "zero", 2), 126476 + 100),
        (one_neuron([-254] * 3, 100, None, "subtract", 1), 67834 + 100),
        # 2 * 64770 = 129540 is within 24 bits; with the bias it is not, and is clipped.
        (one_neuron([254] * 2, 4000, None, "subtract", 1), 131071),
        (one_neuron([-254] * 2, -4000, None, "zero", 1), -131072),
        # Unwrapped, the sum would reach the threshold in every step.
        (one_neuron([254] * 3, 0, 1024, "zero", 5), 0),
        # -67834, then 126476 (fires and falls to 125452), then beyond the limit again, ...
        (one_neuron([254] * 3, 0, 1024, "subtract", 4), 2),
    ],
)
def test_a_neuron_that_leaves_24_bits_ends_where_it_does_by_hand(
    network: QuantizedNetwork, expected: int
) -> None:
    assert not network.bounds[0].proven
    inputs = np.full((2, *network.input.shape), 255, dtype=np.uint8)
    (neuron,) = oracle.run_sample(network, inputs[0].tolist())
    assert neuron.wrapped or neuron.clipped
    assert ReferenceBackend().run(network, inputs).output.tolist() == [[expected]] * 2


@settings(relaxed, max_examples=50)
@given(network=networks())
def test_synops_are_the_synapses_that_spikes_pass(network: QuantizedNetwork) -> None:
    inputs = random_inputs(network)
    found = ReferenceBackend().run(network, inputs).synops
    expected = oracle.synops(network, inputs)
    assert {name: values.tolist() for name, values in found.items()} == expected


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_the_size_of_a_batch_changes_nothing(reset: str) -> None:
    network = small_network(reset)  # type: ignore[arg-type]
    inputs = random_inputs(network, 7)
    whole = ReferenceBackend().run(network, inputs, keep_final_state=True)
    assert all(counts.any() for counts in whole.counts.values())
    for size in (1, 3, 100):
        batches = ReferenceBackend(batch_size=size)
        assert_equal(batches.run(network, inputs, keep_final_state=True), whole)


def test_progress_ends_at_all_samples() -> None:
    network = small_network()
    told: list[tuple[int, int]] = []
    ReferenceBackend(batch_size=2).run(
        network, random_inputs(network, 5), progress=lambda *step: told.append(step)
    )
    assert told == [(2, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda inputs: inputs.astype(np.int64), "int64"),
        (lambda inputs: inputs[:, :1], r"\(1, 5, 5\)"),
        (lambda inputs: inputs[:0], "no samples"),
        (lambda inputs: inputs + 16, "4-bit"),
    ],
    ids=["dtype", "shape", "empty", "bits"],
)
def test_inputs_that_do_not_fit_are_refused(
    damage: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], message: str
) -> None:
    network = small_network()
    with pytest.raises(DataError, match=message):
        ReferenceBackend().run(network, damage(random_inputs(network)))


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(BackendUnavailableError, match="--device cpu"):
        require_available(ReferenceBackend("cuda"))
