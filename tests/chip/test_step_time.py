"""How long a step and a sample last: by hand, and by property."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_hw.chip.budget import chip_budget
from tandem_hw.chip.constants import LOIHI1_STEP, LOIHI2_STEP
from tandem_hw.chip.step_time import CoreWork, Seconds, step_seconds
from tandem_hw.conformance.layers import network_of
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.run_summary import RunTally
from tests.helpers.chip_layers import chip_network, convolution, dense
from tests.helpers.networks import networks, random_inputs, small_network


def test_the_busiest_core_decides_and_not_the_sum() -> None:
    busiest, other = CoreWork(10_000, 100), CoreWork(2_000, 1_000)
    time = step_seconds([busiest, other])
    assert time.least == pytest.approx(6.6e-6, rel=1e-12)  # 10 000 * 0.66 ns
    assert time.expected == pytest.approx(6.6e-6 + 0.4e-6 + 1.8e-6, rel=1e-12)
    assert time.most == pytest.approx(7.0e-6 + 10e-6, rel=1e-12)
    assert step_seconds([busiest, other, CoreWork(9_999, 100)]) == time


def test_a_step_without_work_is_the_barrier() -> None:
    assert step_seconds([]) == Seconds(0.2e-6, 1.8e-6, 10e-6)
    assert step_seconds([], chips=2) == Seconds(0.2e-6, 10e-6, 10e-6)
    assert step_seconds([], costs=LOIHI1_STEP).least == LOIHI1_STEP.barrier_least


def test_a_busy_link_lasts_longer_than_the_cores() -> None:
    time = step_seconds([CoreWork(100, 10)], chips=2, link=50e-6, host_link=70e-6)
    assert (time.least, time.expected, time.most) == pytest.approx((50e-6, 60e-6, 80e-6))
    assert LOIHI2_STEP.graded_spike == pytest.approx(1 / 66.67e6, rel=1e-4)
    assert LOIHI2_STEP.binary_spike == pytest.approx(1 / 100e6, rel=1e-12)


works = st.builds(CoreWork, st.floats(0, 1e6), st.floats(0, 4095))


@given(st.lists(works, max_size=5), st.integers(1, 9), st.floats(0, 1e-3), st.floats(0, 1e-3))
def test_the_range_is_in_order_and_more_work_takes_no_less(
    cores: list[CoreWork], chips: int, link: float, host_link: float
) -> None:
    time = step_seconds(cores, chips=chips, link=link, host_link=host_link)
    assert time.least <= time.expected <= time.most
    assert time.holds(time.expected)
    assert not time.holds(time.most * 2)
    assert step_seconds([*cores, CoreWork(1e6, 0)], chips=chips).least >= 0.66e-3


def test_a_sample_by_hand() -> None:
    """20-100-10 with reset zero: T = 5, so P = 8."""
    layers = dense(20, 100), dense(100, 10, None, "readout")
    network = network_of(InputSpec((20,), 4, 1 / 15, "constant"), layers, 5, "zero")
    budget = chip_budget(network)
    assert (budget.period, budget.cores) == (8, 2)
    time = budget.time
    assert (time.recorded, time.busiest_layer) == (False, "dense")
    assert time.busiest_core == CoreWork(2000, 100)  # 20 inputs in every step of the window
    # The readout works one step later, on 100 spikes: 1000 SynOps and 10 neurons. So the first
    # layer decides in steps 0 to 4, the readout in step 5 (660 + 40 ns against 100 * 4), and the
    # first one's neurons in steps 6 and 7.
    window, then, rest = 1320 + 400, 700, 400
    expected = (5 * window + then + 2 * rest) * 1e-9 + 8 * 1.8e-6
    assert time.sample.expected == pytest.approx(expected, rel=1e-12)
    assert time.sample.least == pytest.approx((5 * 1320 + 660 + 2 * 400) * 1e-9, rel=1e-12)
    assert time.step.expected == pytest.approx(expected / 8, rel=1e-12)
    assert network.latency == 7
    assert time.latency.expected == pytest.approx(expected / 8 * 7, rel=1e-12)
    rates = time.samples_per_second
    assert rates.expected == pytest.approx(1 / expected, rel=1e-12)
    assert rates.least == 1 / time.sample.most < 1 / time.sample.least == rates.most
    assert time.as_dict()["work"] == "upper bound"


@settings(max_examples=20)
@given(networks())
def test_what_was_recorded_takes_no_longer_than_the_upper_bound(network: QuantizedNetwork) -> None:
    inputs = random_inputs(network, 3)
    recording = ReferenceBackend().run(network, inputs)
    recorded, most = chip_budget(network, recording).time, chip_budget(network).time
    assert recorded.recorded
    assert recorded.sample.least <= recorded.sample.expected <= recorded.sample.most
    assert recorded.sample.expected <= most.sample.expected * (1 + 1e-12)
    tally = RunTally(3)
    tally.add(recording)
    assert chip_budget(network, tally.summary()).time == recorded


def test_several_chips_take_their_links_and_their_barrier() -> None:
    layers = [
        convolution((3, 224, 224), 16, padding=(1, 1)),
        convolution((16, 224, 224), 16, name="second", padding=(1, 1)),
    ]
    budget = chip_budget(chip_network(*layers, num_steps=4))
    assert budget.chips > 1
    spikes_of_a_chip = 16 * 224 * 224 / budget.chips
    assert budget.time.step.least >= spikes_of_a_chip * LOIHI2_STEP.binary_spike
    assert budget.time.step.expected >= LOIHI2_STEP.barrier_most


def test_the_energy_holds_all_its_estimates() -> None:
    network = small_network()
    budget = chip_budget(network)
    energy = budget.energy
    least, most = energy.range_joules
    for joules in (energy.loihi1_joules, energy.hala_point_joules, *energy.core_joules):
        assert 0 < least <= joules <= most
    cores = budget.cores * budget.time.sample.expected
    assert energy.core_joules == pytest.approx((cores * 6.04e-3, cores * 11.36e-3), rel=1e-3)
    stated = budget.as_dict()["energy"]
    assert stated["dynamic_joules_range"] == [least, most]
    assert stated["static_joules"] == pytest.approx(0.232 * budget.time.sample.expected)
