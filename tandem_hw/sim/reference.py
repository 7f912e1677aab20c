"""The reference backend: the definition of the arithmetic, vectorised over samples.

It runs on the CPU or a GPU and follows Lava bit for bit, the 24-bit wrap of the current and the
clip of the voltage included. The plain Python oracle in the tests judges it; it judges the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tandem_hw.arithmetic.exact_sums import exact_arithmetic
from tandem_hw.arithmetic.neurons import (
    Incoming,
    LayerActivity,
    NeuronParameters,
    SpikeTrain,
    Train,
    simulate_layer,
)
from tandem_hw.arithmetic.spikes.trains import summed
from tandem_hw.arithmetic.states.exact_states import ExactState
from tandem_hw.arithmetic.synapses import synapse_of
from tandem_hw.network.bounds import reach
from tandem_hw.network.digests.parameter_digest import parameter_digest
from tandem_hw.network.quantized import Layer, QuantizedNetwork, check_inputs
from tandem_hw.sim.backend import Backend, Progress, SimulationResult
from tandem_hw.sim.batch_results import BatchResults
from tandem_hw.sim.worker_threads import call_in_order, threads_for

#: Values of one step and layer that a batch may hold. ``simulate_layer`` takes it in parts that fit
#: a core's cache; layers of few neurons are faster with many samples.
_BATCH_VALUES = 1 << 21
#: A layer and what it did.
Activity = tuple[Layer, LayerActivity]
#: A layer, what came in, and what it did.
Passed = tuple[Layer, Sequence[Incoming], LayerActivity]


class ReferenceBackend(Backend):
    """Integer-exact simulation in PyTorch.

    Attributes:
        device: where to compute, for instance "cpu" or "cuda".
        batch_size: samples simulated together; chosen by the size of the network when None.
    """

    name = "reference"
    starts_at_once = True

    def __init__(self, device: str = "cpu", batch_size: int | None = None) -> None:
        self.device = torch.device(device)
        self.batch_size = batch_size

    def why_unavailable(self) -> str | None:
        """Return why this backend cannot run here, or None if it can."""
        if self.device.type == "cuda" and not torch.cuda.is_available():
            return "device cuda: PyTorch finds no GPU here; use --device cpu"
        return None

    def check_network(self, network: QuantizedNetwork) -> None:
        """Accept every network."""

    def simulate(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
    ) -> SimulationResult:
        """Run the samples batch by batch, on a CPU several at a time; see ``Backend.simulate``."""
        simulation = _Simulation(network, self.device)
        results = BatchResults(len(inputs), keep_final_state)
        on_cpu = self.device.type == "cpu"

        @torch.no_grad()  # which is each thread's own
        def run(batch: range) -> int:
            samples = np.ascontiguousarray(inputs[batch.start : batch.stop])
            images = torch.from_numpy(samples).to(self.device)
            room = partial(results.room_for_counts, batch) if on_cpu else None
            for layer, activity in simulation.activities(images, room):
                results.add(layer.name, activity, batch.start)
            return batch.stop

        threads = threads_for(len(inputs)) if on_cpu else 1
        size = self.batch_size
        if size is None:
            size = _samples_of_a_batch(network, len(inputs), threads)
        starts = range(0, len(inputs), size)
        batches = [range(start, min(start + size, len(inputs))) for start in starts]
        call_in_order(
            run, batches, lambda done: progress(done, len(inputs)), min(threads, len(batches))
        )
        return results.together(simulation.parameter_digest(), simulation.peak)


def _samples_of_a_batch(network: QuantizedNetwork, samples: int, threads: int) -> int:
    """Return how large batches are that fit the memory and give every thread as much."""
    most = max(1, _BATCH_VALUES // max(layer.num_neurons for layer in network))
    rounds = -(-samples // (most * threads))
    return -(-samples // (rounds * threads))


class _Simulation:
    """The layers' parameters as tensors, and the largest states seen so far."""

    def __init__(self, network: QuantizedNetwork, device: torch.device) -> None:
        self.network = network
        self.device = device
        self.peak: dict[str, int] = {layer.name: 0 for layer in network}
        self._lock = threading.Lock()  # of the peak: several batches may run at a time
        self.synapses = [
            [synapse_of(connection.synapses, device) for connection in connections]
            for connections in network.wiring.connections
        ]
        self.neurons = [
            NeuronParameters.of_layer(
                layer,
                network.reset,
                proven=bounds.proven,
                input_reach=reach(interval),
                firing_delay=network.firing_delay,
                # On a GPU the states of 32 bits take no time that counts.
                bounds=(bounds.low, bounds.high) if device.type == "cpu" else None,
                device=device,
            )
            for layer, bounds, interval in zip(
                network.layers, network.bounds, network.step_intervals, strict=True
            )
        ]

    def activities(
        self,
        batch: Tensor,
        room: Callable[[Layer], Tensor | None] | None = None,
        keep_spikes: bool = False,
    ) -> Iterator[Activity]:
        """Run one batch and yield what each layer did.

        Args:
            batch: the samples.
            room: gives the memory that a layer's counts are written to.
            keep_spikes: keep the last layer's spikes as well.
        """
        for layer, incoming, activity in self.passed(batch, room, keep_spikes):
            del incoming  # or it would be kept while the next layer runs
            yield layer, activity

    def passed(
        self,
        batch: Tensor,
        room: Callable[[Layer], Tensor | None] | None = None,
        keep_spikes: bool = False,
    ) -> Iterator[Passed]:
        """Do what ``activities`` does, and yield for each layer what came in as well."""
        wiring = self.network.wiring
        trains: dict[int | None, Train] = {
            None: SpikeTrain.of_input(batch, self.network.input, self.network.num_steps)
        }
        for index, layer in enumerate(self.network.layers):
            incoming = [
                Incoming(trains[connection.source], synapse)
                for connection, synapse in zip(
                    wiring.connections[index], self.synapses[index], strict=True
                )
            ]
            activity = simulate_layer(
                incoming,
                self.neurons[index],
                self.network.num_steps,
                keep_spikes=keep_spikes or layer is not self.network.layers[-1],
                follow_peak=True,
                counts=None if room is None else room(layer),
            )
            assert activity.peak is not None  # it was asked for
            with self._lock:
                self.peak[layer.name] = max(self.peak[layer.name], activity.peak)
            if activity.train is not None:
                trains[index] = activity.train
            for source in [source for source in trains if source is not None]:
                if wiring.last_use(source) <= index:
                    del trains[source]  # nobody needs its spikes any more
            yield layer, incoming, activity

    def parameter_digest(self) -> dict[str, str]:
        """Return per layer the digest of the tensors that it computes with."""
        return {
            layer.name: parameter_digest(
                [synapse.weight.cpu().numpy() for synapse in synapses],
                neurons.bias.cpu().numpy(),
                neurons.whole_threshold,
                layer.output_shape,
            )
            for layer, synapses, neurons in zip(
                self.network.layers, self.synapses, self.neurons, strict=True
            )
        }


@torch.no_grad()
def trace(
    network: QuantizedNetwork, inputs: npt.NDArray[np.uint8], device: str = "cpu"
) -> dict[str, npt.NDArray[np.uint8]]:
    """Return when every neuron fired, for looking at a few samples step by step.

    Args:
        network: what to run.
        inputs: uint8 [samples, *network.sample_shape].
        device: where to compute, for instance "cpu" or "cuda".

    Returns:
        Per firing layer its spikes, uint8 [samples, num_steps, *output_shape], from the first step
        in which it may fire.

    Raises:
        DataError: the inputs do not fit the network.
    """
    check_inputs(network, inputs)
    simulation = _Simulation(network, torch.device(device))
    batch = torch.from_numpy(np.ascontiguousarray(inputs)).to(simulation.device)
    spikes = {}
    for layer, activity in simulation.activities(batch, keep_spikes=True):
        if activity.train is not None:
            spikes[layer.name] = activity.train.samples_first().cpu().numpy()
    return spikes


@torch.no_grad()
def readout_by_step(
    network: QuantizedNetwork, inputs: npt.NDArray[np.uint8], device: str = "cpu"
) -> Iterator[npt.NDArray[np.int32]]:
    """Yield what the result would be if the window ended after each of its steps.

    These are prefixes of the one exact window: a readout's potential u[t] + B after step t, or how
    often each neuron of a counted readout has fired by then. After step T they are
    ``Recording.output``.

    Args:
        network: what to run.
        inputs: uint8 [samples, *network.sample_shape].
        device: where to compute, for instance "cpu" or "cuda".

    Yields:
        int32 [samples of a batch, num_steps, outputs], the samples in their order.

    Raises:
        DataError: the inputs do not fit the network.
    """
    check_inputs(network, inputs)
    simulation = _Simulation(network, torch.device(device))
    size = _samples_of_a_batch(network, len(inputs), threads=1)
    for start in range(0, len(inputs), size):
        samples = np.ascontiguousarray(inputs[start : start + size])
        batch = torch.from_numpy(samples).to(simulation.device)
        *_, (_, incoming, activity) = simulation.passed(batch, keep_spikes=True)
        if activity.train is not None:
            found = activity.train.samples_first().cumsum(1, dtype=torch.int32)
        else:
            found = _potential_by_step(simulation.neurons[-1], incoming, network.num_steps)
        yield found.flatten(2).to(torch.int32).cpu().numpy()


def _potential_by_step(
    neurons: NeuronParameters, incoming: Sequence[Incoming], num_steps: int
) -> Tensor:
    """Return a readout's potential after each step, [batch, num_steps, *shape], by definition."""
    with exact_arithmetic(neurons.bias.device.type):
        inputs = summed(incoming, num_steps)
    state = ExactState(neurons, neurons.bias, follow_peak=False)
    potentials = []
    for synaptic_input in inputs:
        state.step(synaptic_input)
        potentials.append(state.potential())
    return torch.stack(potentials, dim=1)
