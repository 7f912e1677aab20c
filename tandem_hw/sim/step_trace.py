"""One sample step by step: when every neuron fired, and its potential after each step.

The reference computes the steps one by one. Any other backend is asked for windows that are cut
short: the first t steps of a window are the whole window of a network with num_steps t, since a
neuron cannot know how long its window will be. What it gives for t = 1 ... T, one after the other,
are the counts and states after each step. A firing delay breaks that: a layer that waits d steps
takes in d steps of input more before each of its spikes, so such a network is refused there.

    s[t] = count of t steps - count of t - 1 steps
    potential after step t: u + B with reset "subtract" (before a spike of the step is subtracted),
    v with "zero" (which a spike has cleared), of a readout its result
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import BackendUnavailableError, NetworkError
from tandem_hw.network.fixed_point import STATE_FRACTION_BITS
from tandem_hw.network.quantized import Layer, QuantizedNetwork, check_inputs
from tandem_hw.network.recording import Recording
from tandem_hw.sim.backend import Backend, require_available
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend, states_by_step

#: Called with the number of steps finished and the number of all steps.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class StepTrace:
    """What one sample did on one backend, step by step.

    The steps of a layer are those of its window, the d of its firing delay included.

    Attributes:
        backend: its name.
        spikes: per firing layer how often each neuron fired in each step (0 or 1, unless a backend
            is wrong), int8 [T + d, *output_shape].
        potentials: per layer the potential after each step in weight units, float64
            [T + d, *output_shape]; only of the layers whose states the backend has.
    """

    backend: str
    spikes: Mapping[str, npt.NDArray[np.int8]]
    potentials: Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class TraceDifference:
    """Where a trace first differs from another one.

    Attributes:
        backend: the one that differs.
        layer: the first layer that does, in the order in which spikes pass them: what came in was
            the same.
        step: the first step of the layer's window that does, from 1.
        neuron: the first neuron, indices in ``output_shape``.
        kind: what differs.
        expected: the other trace's value.
        found: the differing one.
    """

    backend: str
    layer: str
    step: int
    neuron: tuple[int, ...]
    kind: Literal["spikes", "potential"]
    expected: float
    found: float

    def __str__(self) -> str:
        """Say where and what."""
        return (
            f"{self.backend}: layer {self.layer}, step {self.step}, neuron {list(self.neuron)}: "
            f"{self.kind} {self.found:.10g} instead of {self.expected:.10g}"
        )


def check_trace(backend: Backend, network: QuantizedNetwork) -> None:
    """Refuse a backend that cannot tell what a network does step by step, before anything runs.

    Raises:
        BackendUnavailableError: it cannot run here, is a board, or a model's own forward pass.
        NetworkError: it cannot run this network, or not in windows that are cut short.
    """
    if backend.needs_board:
        raise BackendUnavailableError(
            f"{backend.name} cannot be traced: a board would be compiled for once for every step; "
            f"compare its spike counts by tandem-hw deploy --verify, and trace on the reference"
        )
    if isinstance(backend, PyTorchBackend):
        raise BackendUnavailableError(
            f"{backend.name} cannot be traced: the model's own forward pass has the window that it "
            f"was trained with; trace the network on the reference"
        )
    require_available(backend)
    backend.check_network(network)
    delays = network.wiring.firing_delays
    if any(delays) and not isinstance(backend, ReferenceBackend):
        name = network.layers[int(np.argmax(delays))].name
        raise NetworkError(
            f"{backend.name} cannot be traced on this network: layer {name} has a firing delay of "
            f"{max(delays)}, and a window that is cut short would take less input before the same "
            f"spike; the backend reference can"
        )


def trace_steps(
    backend: Backend,
    network: QuantizedNetwork,
    sample: npt.NDArray[np.uint8],
    progress: Progress | None = None,
) -> StepTrace:
    """Run one sample and return what every neuron did in each step.

    Args:
        backend: where; other than on the reference, it runs once for every step of the window.
        network: what to run.
        sample: uint8 [*network.sample_shape].
        progress: told how many steps are done.

    Raises:
        BackendUnavailableError: as ``check_trace`` does.
        NetworkError: as ``check_trace`` does.
        DataError: the sample does not fit the network.
        BackendError: a run failed.
    """
    check_inputs(network, sample[None])
    check_trace(backend, network)
    if isinstance(backend, ReferenceBackend):
        return _trace_of_reference(backend, network, sample)
    return _trace_by_prefixes(backend, network, sample, progress)


def first_difference(
    network: QuantizedNetwork, traces: Sequence[StepTrace]
) -> TraceDifference | None:
    """Return where a trace first differs from the first one, or None where all are equal.

    Layers come first, then steps, then backends: in the first layer that differs the same came in.

    Args:
        network: what ran.
        traces: of the same sample.
    """
    for layer in network:
        found = [
            difference
            for other in traces[1:]
            if (difference := _difference_in(layer.name, traces[0], other)) is not None
        ]
        if found:
            return min(found, key=lambda one: one.step)
    return None


def _difference_in(layer: str, first: StepTrace, other: StepTrace) -> TraceDifference | None:
    """Return the first difference in a layer; in the same step, that of the potential."""
    earliest: TraceDifference | None = None
    kinds: tuple[tuple[Literal["spikes", "potential"], Any, Any], ...] = (
        ("potential", first.potentials, other.potentials),
        ("spikes", first.spikes, other.spikes),
    )
    for kind, expected, found in kinds:
        if layer not in expected or layer not in found:
            continue
        differs = expected[layer] != found[layer]
        if differs.any():
            place = tuple(
                int(index) for index in np.unravel_index(int(differs.argmax()), differs.shape)
            )
            step, *neuron = place
            if earliest is None or step + 1 < earliest.step:
                values = float(expected[layer][place]), float(found[layer][place])
                earliest = TraceDifference(
                    other.backend, layer, step + 1, tuple(neuron), kind, *values
                )
    return earliest


def _trace_of_reference(
    backend: ReferenceBackend, network: QuantizedNetwork, sample: npt.NDArray[np.uint8]
) -> StepTrace:
    spikes, potentials = {}, {}
    for layer, fired, states in states_by_step(network, sample[None], str(backend.device)):
        if fired is not None:
            spikes[layer.name] = fired[0]
        potentials[layer.name] = _potential(network, layer, states[0])
    return StepTrace(backend.name, spikes, potentials)


def _trace_by_prefixes(
    backend: Backend,
    network: QuantizedNetwork,
    sample: npt.NDArray[np.uint8],
    progress: Progress | None,
) -> StepTrace:
    counts: dict[str, list[npt.NDArray[np.int32]]] = {}
    states: dict[str, list[npt.NDArray[np.float64]]] = {}
    for steps in range(1, network.num_steps + 1):
        # No layer waits, so a delay is none.
        shorter = replace(network, num_steps=steps, firing_delay=0)
        given = sample[:steps] if network.input.takes_events else sample
        run = backend.run(shorter, given[None], keep_final_state=True)
        for name, counted in run.counts.items():
            counts.setdefault(name, []).append(counted[0])
        for layer in network:
            state = _state_at_the_end(network, layer, run)
            if state is not None:
                states.setdefault(layer.name, []).append(_potential(network, layer, state))
        if progress is not None:
            progress(steps, network.num_steps)
    return StepTrace(
        backend.name,
        {
            name: np.diff(np.stack(steps), axis=0, prepend=0).astype(np.int8)
            for name, steps in counts.items()
        },
        {name: np.stack(steps) for name, steps in states.items()},
    )


def _state_at_the_end(
    network: QuantizedNetwork, layer: Layer, run: Recording
) -> npt.NDArray[Any] | None:
    """Return a sample's states after the last step, a readout's as its result, or None."""
    if not layer.fires:
        result: npt.NDArray[np.int32] = run.output[0].reshape(layer.output_shape)
        return result
    state = run.final_state.get(layer.name)
    return None if state is None else state[0]


def _potential(
    network: QuantizedNetwork, layer: Layer, states: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """Return potentials in weight units.

    Args:
        network: what ran.
        layer: of these states.
        states: of a firing layer as ``Recording.final_state``, of a readout its potentials;
            [..., *output_shape].
    """
    values = states.astype(np.float64)
    if not layer.fires:
        return values
    values /= 1 << STATE_FRACTION_BITS
    if network.reset == "subtract":
        values += layer.bias_image()
    return values
