"""All samples through a network on SANA-FE's chip: what is set and read in which step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.errors import BackendError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.sana_fe import job
from tandem_hw.sim.sana_fe.neuron_values import NEVER
from tandem_hw.sim.sana_fe.placement import group_name
from tandem_hw.sim.sana_fe.schedule import LayerSchedule, schedule

if TYPE_CHECKING:
    from tandem_hw.sim.sana_fe.chip_network import ChipNetwork

#: SANA-FE's model of the network between the cores that follows every message.
_TIMING: Final = "detailed"


class LayerRun:
    """One layer of a run: its neurons are told new values, and what they did is kept."""

    def __init__(
        self,
        network: QuantizedNetwork,
        built: ChipNetwork,
        index: int,
        when: LayerSchedule,
        inputs: npt.NDArray[np.uint8],
        folder: Path,
        *,
        keep_state: bool,
    ) -> None:
        self.layer, self.when = network.layers[index], when
        self.neurons, self.values = built.neurons[index], built.values[index]
        self.synapses = built.from_input[index]
        self.frames = network.input.frames(inputs, network.num_steps)
        self._bias: list[int] = [0] * len(self.neurons)
        self._threshold = NEVER
        self._fired = np.zeros(len(self.neurons), np.bool_)
        shape = (when.samples, len(self.neurons))
        self.counts = self.states = None
        if self.layer.fires:
            self.counts = _array(job.counts_path(folder, index), shape)
        if keep_state:
            self.states = _array(job.state_path(folder, index), shape)

    def before(self, step: int) -> None:
        """Set what the neurons need in a step."""
        sample, place = self.when.place(step)
        if sample == self.when.samples:
            if place == 0:
                self._set(bias=[0] * len(self.neurons), threshold=NEVER)
            return
        if sample < 0:
            return
        bias = self._bias_of(sample, place)
        since_release = place - self.when.delay
        may_fire = self.layer.fires and 0 <= since_release < self.when.num_steps
        threshold = self.values.threshold if may_fire else NEVER
        self._set(bias, threshold, self.values.start.tolist() if place == 0 else None)

    def _bias_of(self, sample: int, place: int) -> list[int]:
        """Return what is added in a step: biases, and what the network's input brings."""
        if place and (not self.synapses or place > self.frames.shape[1]):
            return self._bias
        bias = self.values.step_bias.astype(np.float64)
        if self.synapses and place < self.frames.shape[1]:
            frame = self.frames[sample, place].reshape(-1)
            for synapses in self.synapses:
                sums = synapses.weight * frame[synapses.source].astype(np.float64)
                bias += np.bincount(synapses.target, sums, len(bias))
        return bias.astype(np.int64).tolist()  # type: ignore[no-any-return]

    def _set(self, bias: list[int], threshold: float, start: list[float] | None = None) -> None:
        """Tell the neurons what is new."""
        news: list[dict[str, float]] = [{} for _ in self.neurons]
        given: list[tuple[str, Sequence[float]]] = []
        if start is not None:
            given.append(("potential", start))
        if bias != self._bias:
            given.append(("bias", bias))
        if threshold != self._threshold:
            given.append(("threshold", [threshold] * len(news)))
        if not given:
            return
        for name, numbers in given:
            for new, number in zip(news, numbers, strict=True):
                new[name] = number
        for neuron, new in zip(self.neurons, news, strict=True):
            neuron.set_attributes(model_attributes=new)
        self._bias, self._threshold = bias, threshold

    def reads_potential(self, step: int) -> bool:
        """Whether the potentials after a step are what is kept."""
        sample, place = self.when.place(step)
        last = self.when.delay + self.when.num_steps - 1
        return self.states is not None and 0 <= sample < self.when.samples and place == last

    def take_spikes(self, step: int, neurons: Sequence[int]) -> None:
        """Count the neurons that fired in a step, each once."""
        sample = self.when.firing_sample(step)
        if sample is None or self.counts is None:
            raise BackendError(
                f"layer {self.layer.name} fired in step {step}, outside of its windows; SANA-FE "
                f"does not what this version of it was seen to do: use version 2.2.9"
            )
        self._fired[:] = False
        self._fired[list(neurons)] = True
        self.counts[sample] += self._fired

    def take_potentials(self, step: int, potentials: npt.NDArray[np.float64], fired: bool) -> None:
        """Keep the states after a window's last step."""
        assert self.states is not None  # it was asked for
        sample, _ = self.when.place(step)
        nobody = np.zeros_like(self._fired)
        state = self.values.final_state(potentials, self._fired if fired else nobody)
        if not np.array_equal(state, np.rint(state)):
            raise BackendError(f"layer {self.layer.name}: SANA-FE's potentials are no integers")
        self.states[sample] = state.astype(np.int32)


def run(
    network: QuantizedNetwork,
    built: ChipNetwork,
    inputs: npt.NDArray[np.uint8],
    folder: Path,
    logged: frozenset[int],
) -> dict[str, Any]:
    """Run all samples and leave counts and states in a folder.

    Args:
        network: what runs.
        built: the same on SANA-FE's chip.
        inputs: uint8 [samples, *network.sample_shape].
        folder: of the job.
        logged: indices of the layers whose potentials are read.

    Returns:
        What SANA-FE's model says of time and energy, as plain data.
    """
    layers = [
        LayerRun(network, built, index, when, inputs, folder, keep_state=index in logged)
        for index, when in enumerate(schedule(network, len(inputs)))
    ]
    of_group = {group_name(index): index for index in range(len(layers))}
    progress = _array(folder / job.PROGRESS, (1,), np.int64)
    totals: dict[str, float] = {}
    steps = 1 + max(layer.when.last for layer in layers)
    for step in range(steps):
        for layer in layers:
            layer.before(step)
        read = any(layer.reads_potential(step) for layer in layers)
        result = built.chip.sim(
            1,
            timing_model=_TIMING,
            processing_threads=1,
            spike_trace=True,
            potential_trace=True if read else None,
        )
        fired: dict[int, list[int]] = {}
        for address in result["spike_trace"][0]:
            fired.setdefault(of_group[address.group_name], []).append(address.neuron_offset)
        for index, neurons in fired.items():
            layers[index].take_spikes(step, neurons)
        if read:
            _share_potentials(step, result["potential_trace"][0], layers, fired)
        _add(totals, result)
        progress[0] = step + 1
    return {"steps": steps, **totals}


def _share_potentials(
    step: int, trace: Sequence[float], layers: Sequence[LayerRun], fired: dict[int, list[int]]
) -> None:
    """Give every logged layer its part of the trace, which follows the order of the groups."""
    potentials, start = np.array(trace, np.float64), 0
    for index, layer in enumerate(layers):
        if layer.states is not None:
            stop = start + len(layer.neurons)
            if layer.reads_potential(step):
                layer.take_potentials(step, potentials[start:stop], index in fired)
            start = stop
    assert start == len(potentials)


def _add(totals: dict[str, float], result: dict[str, Any]) -> None:
    """Add up the time in seconds, the energy in joules and the messages of a step."""
    news = {
        "seconds": result["sim_time"],
        "messages": result["packets_sent"],
        **{f"joules_{part}": joules for part, joules in result["energy"].items()},
    }
    for name, number in news.items():
        assert math.isfinite(number)
        totals[name] = totals.get(name, 0) + number


def _array(path: Path, shape: tuple[int, ...], dtype: type = np.int32) -> Any:
    """Return an array of zeros that is a file."""
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
