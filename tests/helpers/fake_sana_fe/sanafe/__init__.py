"""What the backend sana-fe uses of SANA-FE, in plain Python."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

#: With this in the environment, something goes wrong as a test wants it.
FAULT = os.environ.get("FAKE_SANA_FE", "")


class _Address:
    def __init__(self, group_name: str, neuron_offset: int) -> None:
        self.group_name, self.neuron_offset = group_name, neuron_offset


class _Edge:
    def __init__(self, target: _Neuron, weight: int) -> None:
        self.target = target
        self.post_neuron = target.address
        self.synapse_attributes = {"weight": weight + (FAULT == "weights")}


class _Neuron:
    def __init__(self, group: str, offset: int, attributes: Mapping[str, Any]) -> None:
        self.address = _Address(group, offset)
        self.edges_out: list[_Edge] = []
        self.core: int | None = None
        self.potential = self.bias = self.arrived = 0.0
        self.attributes: dict[str, Any] = dict(attributes)

    def map_to_core(self, core: int) -> None:
        self.core = core

    def set_attributes(self, model_attributes: Mapping[str, float]) -> None:
        values = dict(model_attributes)
        self.potential = values.pop("potential", self.potential)
        self.bias = values.pop("bias", self.bias)
        self.attributes.update(values)

    def step(self) -> bool:
        """Do a step, and return whether the neuron fires."""
        kept = self.potential * self.attributes["leak_decay"]
        self.potential = int(kept * 64) / 64 + self.bias + self.arrived
        self.arrived = 0.0
        threshold = self.attributes["threshold"]
        if self.potential <= threshold or FAULT == "silence":
            return FAULT == "noise"
        if self.attributes["reset_mode"] == "soft":
            self.potential -= threshold
        elif self.attributes["reset_mode"] == "hard":
            self.potential = 0.0
        return True


class _Group:
    def __init__(self, neurons: Sequence[_Neuron], spikes: bool, potentials: bool) -> None:
        self.neurons, self.log_spikes, self.log_potential = neurons, spikes, potentials

    def __len__(self) -> int:
        return len(self.neurons)

    def __iter__(self) -> Iterator[_Neuron]:
        return iter(self.neurons)

    def connect_neurons_sparse(
        self,
        target: _Group,
        attributes: Mapping[str, Sequence[int]],
        pairs: Sequence[tuple[int, int]],
    ) -> None:
        for (before, behind), weight in zip(pairs, attributes["weight"], strict=True):
            self.neurons[before].edges_out.append(_Edge(target.neurons[behind], weight))


class Network:
    """Groups of neurons by their names."""

    def __init__(self) -> None:
        self.groups: dict[str, _Group] = {}

    def __getitem__(self, name: str) -> _Group:
        return self.groups[name]

    def create_neuron_group(
        self,
        group_name: str,
        neuron_count: int,
        *,
        model_attributes: Mapping[str, Any],
        log_spikes: bool,
        log_potential: bool,
        **units: str,
    ) -> _Group:
        assert set(units) == {
            "default_synapse_hw_name", "default_dendrite_hw_name", "soma_hw_name",
        }  # fmt: skip
        neurons = [_Neuron(group_name, offset, model_attributes) for offset in range(neuron_count)]
        self.groups[group_name] = _Group(neurons, log_spikes, log_potential)
        return self.groups[group_name]


class _Architecture:
    def cores(self) -> list[int]:
        return list(range(128))


def load_arch(path: Path) -> _Architecture:
    assert "loihi_inputs[0..0]" in path.read_text(encoding="utf-8")
    return _Architecture()


class SpikingChip:
    """Runs a network step by step: a spike reaches its targets in the next step."""

    def __init__(self, architecture: _Architecture) -> None:
        self.mapped_neuron_groups: dict[str, list[_Neuron]] = {}

    def load(self, network: Network) -> None:
        self.network = network
        for name, group in sorted(network.groups.items()):
            on_cores = [neuron.core for neuron in group]
            assert None not in on_cores
            assert all(on_cores.count(core) <= 1024 for core in set(on_cores))
            self.mapped_neuron_groups[name] = list(group)

    def sim(
        self,
        timesteps: int,
        *,
        timing_model: str,
        processing_threads: int,
        spike_trace: bool,
        potential_trace: bool | None,
    ) -> dict[str, Any]:
        assert (timesteps, spike_trace) == (1, True)
        print("Executed steps: [1/1]")
        groups = [group for _, group in sorted(self.network.groups.items())]
        fired = [[neuron for neuron in group if neuron.step()] for group in groups]
        for neuron in (neuron for group in fired for neuron in group):
            for edge in neuron.edges_out:
                edge.target.arrived += edge.synapse_attributes["weight"]
        spikes = [
            n.address for g, some in zip(groups, fired, strict=True) if g.log_spikes for n in some
        ]
        trace = [neuron.potential for group in groups if group.log_potential for neuron in group]
        return {
            "sim_time": 1e-6,
            "packets_sent": len(spikes),
            "energy": {"total": 2e-9, "synapse": 1e-9},
            "spike_trace": [spikes],
            "potential_trace": [trace] if potential_trace else None,
        }
