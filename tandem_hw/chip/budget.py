"""What a network takes of Loihi 2: cores, chips, a board, steps, time and energy, before it runs.

An estimate: the compiler is not public, its tables are. Cores follow ``partition``, capacities and
energies are in ``constants``. The network is counted as the chip gets it, with the stock
parts of its neurons and a period that is a power of two. See docs/chip-budget.md.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tandem_hw.chip.constants import (
    BOARDS,
    CORE_WATTS,
    CORES_PER_CHIP,
    HALA_POINT_SYNOP_PJ,
    LOIHI1_NEURON_UPDATE_PJ,
    LOIHI1_SYNOP_PJ,
    STATIC_WATTS_PER_CHIP,
    Board,
)
from tandem_hw.chip.guard import check_lowering, guard_of, needs_guard
from tandem_hw.chip.partition import (
    LayerBudget,
    NeuronParts,
    layer_budget,
    relay_budget,
)
from tandem_hw.chip.relays import relay_stages, with_relay_layers
from tandem_hw.chip.sample_time import SampleTime, sample_time
from tandem_hw.chip.timing import board_period
from tandem_hw.chip.workload import layer_workloads
from tandem_hw.counted import counted
from tandem_hw.errors import DataError, NetworkError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults

_JOULES_PER_PJ = 1e-12


@dataclass(frozen=True)
class EnergyEstimate:
    """Dynamic energy of one sample, from published constants of other machines.

    Attributes:
        synops: synaptic operations a sample, those of resets, clocks and relays included.
        recorded: whether they come from a recording; otherwise they are an upper bound, with every
            input and every neuron firing in every step that it can.
        neuron_updates: updates of neurons a sample: every neuron in every step of the period.
        core_seconds: cores times the time that a sample takes them.
    """

    synops: float
    recorded: bool
    neuron_updates: int
    core_seconds: float

    @property
    def loihi1_joules(self) -> float:
        """SynOps and neuron updates with Loihi 1 constants (Davies 2018), in J; no routing."""
        picojoules = self.synops * LOIHI1_SYNOP_PJ + self.neuron_updates * LOIHI1_NEURON_UPDATE_PJ
        return picojoules * _JOULES_PER_PJ

    @property
    def hala_point_joules(self) -> float:
        """SynOps at all that a fully loaded Hala Point draws, in J."""
        return self.synops * HALA_POINT_SYNOP_PJ * _JOULES_PER_PJ

    @property
    def core_joules(self) -> tuple[float, float]:
        """All cores at the least and the most dynamic power measured on Loihi 2, in J."""
        least, most = sorted(self.core_seconds * watts for watts in CORE_WATTS)
        return least, most

    @property
    def range_joules(self) -> tuple[float, float]:
        """From the least of all these estimates to the most, in J."""
        found = (self.loihi1_joules, self.hala_point_joules, *self.core_joules)
        return min(found), max(found)


@dataclass(frozen=True)
class ChipBudget:
    """What a network takes of Loihi 2.

    Attributes:
        layers: the layers in order.
        relays: the neurons that hold spikes back for skip paths, in the order of the layers.
        period: steps from one sample to the next on a board, a power of two.
        latency: steps from the first input spike of a sample to the last step of its readout, both
            included.
        time: how long a sample takes, and a step.
        energy: dynamic energy of a sample.
        obstacle: why the network cannot be built from stock processes, though its size fits; None
            if it can.
    """

    layers: tuple[LayerBudget, ...]
    relays: tuple[LayerBudget, ...]
    period: int
    latency: int
    time: SampleTime
    energy: EnergyEstimate
    obstacle: str | None

    @property
    def cores(self) -> int:
        """All cores."""
        return sum(part.total_cores for part in (*self.layers, *self.relays))

    @property
    def chips(self) -> int:
        """Chips that hold the cores."""
        return chips_for(self.cores)

    @property
    def board(self) -> Board:
        """The smallest known board that holds the chips."""
        return next(board for board in BOARDS if board.chips >= self.chips)

    @property
    def static_watts(self) -> float:
        """Static power of the chips in W, whether they work or not."""
        return self.chips * STATIC_WATTS_PER_CHIP

    @property
    def summary(self) -> str:
        """One line for the terminal, and a second one if there is an obstacle."""
        line = (
            f"Loihi 2 (estimate): {counted(self.cores, 'core')}, {counted(self.chips, 'chip')}, "
            f"fits {self.board.name}; a sample every {counted(self.period, 'step')}, latency "
            f"{counted(self.latency, 'step')}"
        )
        if self.obstacle is not None:
            line += f"\nnot for a board as it is: {self.obstacle}"
        return line

    def as_dict(self) -> dict[str, Any]:
        """Return the budget as plain data; times in s, energies in J a sample, power in W."""
        return {
            **self.totals_dict(),
            "layers": [asdict(layer) for layer in self.layers],
            "relays": [asdict(relay) for relay in self.relays],
        }

    def totals_dict(self) -> dict[str, Any]:
        """Return what ``as_dict`` does, without the single layers."""
        energy = self.energy
        return {
            "cores": self.cores,
            "chips": self.chips,
            "board": asdict(self.board),
            "steps_per_sample": self.period,
            "latency_steps": self.latency,
            "obstacle": self.obstacle,
            "time": self.time.as_dict(),
            "energy": {
                "synops_per_sample": energy.synops,
                "synops_source": "recording" if energy.recorded else "upper bound",
                "neuron_updates_per_sample": energy.neuron_updates,
                "dynamic_joules_loihi1_constants_davies_2018": energy.loihi1_joules,
                "joules_hala_point_bound": energy.hala_point_joules,
                "dynamic_joules_measured_core_power": list(energy.core_joules),
                "dynamic_joules_range": list(energy.range_joules),
                "static_watts": self.static_watts,
                "static_joules": self.static_watts * self.time.sample.expected,
            },
        }


def chip_budget(network: QuantizedNetwork, recording: RunResults | None = None) -> ChipBudget:
    """Estimate what a network takes of Loihi 2.

    Args:
        network: what shall be deployed.
        recording: what samples of this network did (a ``Recording`` or a ``RunSummary``), for time
            and energy; without one an upper bound is taken.

    Returns:
        The estimate.

    Raises:
        NetworkError: no known board holds the network.
        DataError: the recording is of another network.
    """
    if recording is not None and recording.network_digest != network.digest:
        raise DataError(
            f"the recording is of the network {recording.network_digest[:12]}, not of "
            f"{network.digest[:12]}; record this network or leave the recording out"
        )
    period = board_period(network)
    obstacle = _obstacle(network, period)
    relayed = with_relay_layers(network)
    placed = {
        layer.name: (layer_budget(layer, parts), parts)
        for layer, parts in zip(
            relayed.network.layers, neuron_parts(relayed.network, period, obstacle), strict=True
        )
    }
    layers = tuple(placed[layer.name][0] for layer in network.layers)
    relay_layers = [placed[name][0] for names in relayed.relays.values() for name in names]
    relays = [
        relay_budget(relayed.network.layers[index], stage)
        for index, stages in relay_stages(relayed.network.wiring).items()
        for stage in range(1, stages + 1)
    ]
    check_chips((*layers, *relay_layers, *relays))
    budgets = {name: budget for name, (budget, _) in placed.items()}
    parts = {name: carried for name, (_, carried) in placed.items()}
    workloads = layer_workloads(relayed, parts, period, recording)
    recorded = recording is not None
    time = sample_time(relayed, budgets, relays, workloads, period, recorded=recorded)
    cores = sum(part.total_cores for part in (*layers, *relay_layers, *relays))
    return ChipBudget(
        layers=layers,
        relays=(*relay_layers, *relays),
        period=period,
        latency=network.latency,
        time=time,
        energy=EnergyEstimate(
            synops=sum(work.all_synops for work in workloads),
            recorded=recorded,
            neuron_updates=sum(work.updates for work in workloads),
            core_seconds=cores * time.sample.expected,
        ),
        obstacle=obstacle,
    )


def chips_for(cores: int) -> int:
    """Return the chips that hold so many cores."""
    return -(-cores // CORES_PER_CHIP)


def check_chips(layers: tuple[LayerBudget, ...]) -> None:
    """Refuse layers that need more chips than the largest board holds.

    Raises:
        NetworkError: names the largest layer.
    """
    cores = sum(layer.total_cores for layer in layers)
    most = BOARDS[-1]
    if chips_for(cores) > most.chips:
        largest = max(layers, key=lambda layer: layer.total_cores)
        raise NetworkError(
            f"the network needs {cores} cores on {chips_for(cores)} chips, the largest board, "
            f"{most.name}, has {most.chips}; make layer {largest.name} smaller, it alone takes "
            f"{counted(largest.total_cores, 'core')}"
        )


def neuron_parts(
    network: QuantizedNetwork, period: int, obstacle: str | None = None
) -> list[NeuronParts]:
    """Return what each layer's neurons carry beside themselves at a period.

    Args:
        network: what shall be deployed.
        period: steps from one sample to the next.
        obstacle: not None where the strength of a guard is not defined; one clock is counted then.
    """
    parts = []
    for index, layer in enumerate(network.layers):
        clocks = int(needs_guard(network, layer, period))
        if clocks and obstacle is None:
            clocks = guard_of(network, index, period).clocks
        inhibits = network.reset == "subtract" and layer.fires
        parts.append(NeuronParts(inhibits, clocks))
    return parts


def _obstacle(network: QuantizedNetwork, period: int) -> str | None:
    try:
        check_lowering(network, period)
    except NetworkError as error:
        return str(error)
    return None
