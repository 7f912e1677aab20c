"""How long a sample takes on a Loihi 2, from what the layers do in which step of a period.

The layers work as a pipeline on samples that follow back to back (``tandem_hw.chip.timing``): a
layer takes spikes in during T of the P steps of a period, after that its clock silences it, and its
neurons are updated in every step. In each step the busiest core of all decides
(``tandem_hw.chip.step_time``).

    a sample   = sum over the P steps of a period
    latency    = (T + steps to the result) * mean step

A layer's work is taken as spread evenly over its neurons, so its fullest core has the share of them
that it holds, and over the steps in which it is done.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tandem_hw.chip.constants import CORES_PER_CHIP, LOIHI2_STEP, StepCosts
from tandem_hw.chip.partition import LayerBudget
from tandem_hw.chip.relays import RelayedNetwork
from tandem_hw.chip.step_time import CoreWork, Seconds, step_seconds
from tandem_hw.chip.workload import LayerWorkload
from tandem_hw.network.quantized import QuantizedNetwork

_NOTHING = Seconds(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class SampleTime:
    """How long a sample takes.

    Attributes:
        step: mean of a step.
        sample: from one sample to the next, when they follow back to back.
        latency: from a sample's first step to its result.
        busiest_layer: the layer of the core that works longest in a step.
        busiest_core: what that core does in that step.
        recorded: whether the work comes from a run; otherwise it is an upper bound.
    """

    step: Seconds
    sample: Seconds
    latency: Seconds
    busiest_layer: str
    busiest_core: CoreWork
    recorded: bool

    @property
    def samples_per_second(self) -> Seconds:
        """The throughput; ``least`` is that of the longest time."""
        return Seconds(1 / self.sample.most, 1 / self.sample.expected, 1 / self.sample.least)

    def as_dict(self) -> dict[str, Any]:
        """Return the times as plain data: seconds, and samples a second."""
        return {
            "work": "recording" if self.recorded else "upper bound",
            "seconds_per_step": asdict(self.step),
            "seconds_per_sample": asdict(self.sample),
            "latency_seconds": asdict(self.latency),
            "samples_per_second": asdict(self.samples_per_second),
            "busiest_layer": self.busiest_layer,
            "busiest_core_synops_per_step": self.busiest_core.synops,
            "busiest_core_neuron_updates_per_step": self.busiest_core.neuron_updates,
        }


def sample_time(
    relayed: RelayedNetwork,
    budgets: Mapping[str, LayerBudget],
    relay_budgets: Sequence[LayerBudget],
    workloads: Sequence[LayerWorkload],
    period: int,
    *,
    recorded: bool,
    costs: StepCosts = LOIHI2_STEP,
) -> SampleTime:
    """Return how long a sample takes.

    Args:
        relayed: the network, with its relay layers.
        budgets: by name of a layer, of relay layers too, what it takes of the chip.
        relay_budgets: the relays that are no layers.
        workloads: what the layers do with a sample.
        period: steps from one sample to the next.
        recorded: whether that was recorded.
        costs: the machine.
    """
    network = relayed.network
    placed = [budgets[layer.name] for layer in network.layers]
    chips = -(-sum(one.total_cores for one in (*placed, *relay_budgets)) // CORES_PER_CHIP)
    spike = costs.graded_spike if network.input.bits > 1 else costs.binary_spike
    idle = [CoreWork(0.0, one.core.neurons) for one in relay_budgets]
    crossing = _crossing_spikes(network, placed, workloads) * costs.binary_spike
    total, busiest, busiest_layer = _NOTHING, CoreWork(0.0, 0.0), network.layers[0].name
    sent = network.input.sent_steps(network.num_steps)
    for step in range(period):
        cores = _cores_in(step, network, placed, workloads, period)
        for name, core in cores.items():
            if core.seconds(costs) > busiest.seconds(costs):
                busiest, busiest_layer = core, name
        total += step_seconds(
            [*cores.values(), *idle],
            chips=chips,
            link=crossing,
            host_link=math.prod(network.input.shape) * spike if step in sent else 0.0,
            costs=costs,
        )
    mean = total * (1 / period)
    latency = mean * network.latency
    return SampleTime(mean, total, latency, busiest_layer, busiest, recorded)


def _cores_in(
    step: int,
    network: QuantizedNetwork,
    placed: Sequence[LayerBudget],
    workloads: Sequence[LayerWorkload],
    period: int,
) -> dict[str, CoreWork]:
    """Return by layer what its fullest core does in a step of a period, which is from 0 to P - 1.

    Steps are counted from the start of the input's window.
    """
    cores = {}
    wiring, num_steps = network.wiring, network.num_steps
    sent = network.input.sent_steps(num_steps)
    for index, (budget, work) in enumerate(zip(placed, workloads, strict=True)):
        share = min(1.0, budget.core.neurons / budget.neurons)
        since = (step - wiring.starts[index]) % period
        since_firing = (since - wiring.firing_delays[index]) % period
        arriving = sent if wiring.takes_input(index) else range(num_steps)
        synops = work.synops / len(arriving) if since in arriving else 0.0
        synops += work.own_synops / num_steps if since_firing < num_steps else 0.0
        # The clock inhibits in the first step after the window.
        synops += work.clock_synops if since_firing == num_steps % period else 0.0
        neurons = min(budget.core.neurons, budget.neurons)
        cores[budget.name] = CoreWork(synops * share, neurons)
    return cores


def _crossing_spikes(
    network: QuantizedNetwork,
    placed: Sequence[LayerBudget],
    workloads: Sequence[LayerWorkload],
) -> float:
    """Return the spikes that leave the chip with the most of them, in a step of their window.

    Cores are taken in the order of the layers, 120 a chip, and a spike passes the link once for
    every other chip that takes it.
    """
    chips_of, first = [], 0
    for budget in placed:
        last = first + budget.total_cores
        chips_of.append(range(first // CORES_PER_CHIP, (last - 1) // CORES_PER_CHIP + 1))
        first = last
    leaving: dict[int, float] = {}
    for index, connections in enumerate(network.wiring.connections):
        for connection in connections:
            if connection.source is None:
                continue
            source = chips_of[connection.source]
            each = workloads[connection.source].spikes / network.num_steps / len(source)
            for chip in source:
                others = len(set(chips_of[index]) - {chip})
                leaving[chip] = leaving.get(chip, 0.0) + each * others
    return max(leaving.values(), default=0.0)
