"""The reference backend computes what the oracle in plain Python integers computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import oracle
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from networks import networks, random_inputs, small_network

from tandem_hw.errors import BackendUnavailableError, DataError
from tandem_hw.network import QuantizedNetwork
from tandem_hw.recording import Recording
from tandem_hw.sim.backend import require_available
from tandem_hw.sim.reference import ReferenceBackend

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


@relaxed
@given(network=networks(), seed=st.integers(0, 1000))
def test_every_count_and_potential_is_the_oracles(network: QuantizedNetwork, seed: int) -> None:
    inputs = random_inputs(network, seed=seed)
    expected = oracle.record(network, inputs)
    event(f"active: {any(counts.any() for counts in expected.counts.values())}")
    event(f"proven: {all(bounds.proven for bounds in network.bounds)}")
    assert_equal(ReferenceBackend().run(network, inputs), expected)


@settings(relaxed, max_examples=60)
@given(network=networks(overflowing=True), seed=st.integers(0, 1000))
def test_states_beyond_24_bits_wrap_and_clip_as_the_oracles(
    network: QuantizedNetwork, seed: int
) -> None:
    inputs = random_inputs(network, seed=seed)
    assert_equal(ReferenceBackend().run(network, inputs), oracle.record(network, inputs))


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_overflowing_networks_really_wrap(reset: str) -> None:
    wrapped = []

    @settings(relaxed, max_examples=40)
    @given(network=networks(overflowing=True).filter(lambda network: network.reset == reset))
    def look(network: QuantizedNetwork) -> None:
        for sample in random_inputs(network):
            first = oracle.run_sample(network, sample.reshape(-1).tolist())[0]
            assert not (first.wrapped and network.bounds[0].proven)
            wrapped.append(first.wrapped)

    look()
    assert wrapped.count(True) > 10


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
    whole = ReferenceBackend().run(network, inputs)
    assert all(counts.any() for counts in whole.counts.values())
    for size in (1, 3, 100):
        assert_equal(ReferenceBackend(batch_size=size).run(network, inputs), whole)


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
    damage: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    network = small_network()
    with pytest.raises(DataError, match=message):
        ReferenceBackend().run(network, damage(random_inputs(network)))


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(BackendUnavailableError, match="--device cpu"):
        require_available(ReferenceBackend("cuda"))
