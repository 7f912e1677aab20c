"""A quantized network as a network of SANA-FE, mapped to the cores of its Loihi.

This module imports SANA-FE, which is under the GPL: import it only in the child process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sanafe

from tandem_hw.network.digests.parameter_digest import parameter_digest
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.synapses.convolutions import CONVOLUTIONS
from tandem_hw.network.synapses.dense import Dense, OneToOne
from tandem_hw.network.synapses.kind import Synapses, row_of
from tandem_hw.sim.sana_fe.neuron_values import NeuronValues, neuron_values, relay_attributes
from tandem_hw.sim.sana_fe.placement import Group, group_name, place
from tandem_hw.sim.sana_fe.synapse_list import SynapseList, list_synapses

#: The units of a core in SANA-FE's ``loihi.yaml``.
_SOMA: Final = "loihi_lif"
_DENDRITE: Final = "loihi_dendrites"
_SPARSE: Final = "loihi_sparse_synapse"
_SYNAPSE: Final[Mapping[type[Any], str]] = {
    Dense: "loihi_dense_synapse",
    OneToOne: _SPARSE,
    **dict.fromkeys(CONVOLUTIONS, "loihi_conv_synapse"),
}


@dataclass(frozen=True, eq=False)
class ChipNetwork:
    """What was built.

    Attributes:
        chip: SANA-FE's simulated chip, with the network in it.
        neurons: per layer its neurons, as they are told new values.
        values: per layer the numbers that they compute with.
        from_input: per layer the synapses that take the network's input; none where it takes none.
        digests: per layer the ``parameter_digest`` of what stands in SANA-FE's network.
        cores: how many cores are in use.
        compartments: how many neurons, relays included.
    """

    chip: Any
    neurons: tuple[Sequence[Any], ...]
    values: tuple[NeuronValues, ...]
    from_input: tuple[tuple[SynapseList, ...], ...]
    digests: dict[str, str]
    cores: int
    compartments: int


def build(network: QuantizedNetwork, logged: frozenset[int], folder: Path) -> ChipNetwork:
    """Build a network that ``check_exact`` has let pass.

    Args:
        network: what runs.
        logged: indices of the layers whose potentials are read.
        folder: of the job.
    """
    architecture = _load_loihi(folder)
    cores = architecture.cores()  # a copy of all of them
    made = sanafe.Network()
    values = tuple(neuron_values(layer, network.reset) for layer in network.layers)
    groups = place(network)
    for group in groups:
        _make_group(made, cores, network, values, group, log=group.layer in logged)
    _connect_relays(made, groups)
    from_input, digests = [], {}
    for index, (layer, connections) in enumerate(
        zip(network.layers, network.wiring.connections, strict=True)
    ):
        lists = [list_synapses(connection.synapses) for connection in connections]
        weights = []
        for connection, synapses in zip(connections, lists, strict=True):
            if connection.source is None:
                found: npt.NDArray[Any] = synapses.weight
            else:
                source = made[group_name(connection.source, connection.delay)]
                _connect(source, made[group_name(index)], synapses)
                found = _read_back(source, group_name(index), synapses)
            weights.append(synapses.weights_of(found))
        takes_input = network.wiring.takes_input(index)
        from_input.append(tuple(lists) if takes_input else ())
        bias, threshold = values[index].bias_and_threshold(network.reset)
        shape = layer.output_shape
        digests[layer.name] = parameter_digest(
            weights, bias.reshape(shape), None if threshold is None else int(threshold), shape
        )
    chip = sanafe.SpikingChip(architecture)
    chip.load(made)
    mapped = chip.mapped_neuron_groups
    neurons = tuple(list(mapped[group_name(index)]) for index in range(len(network.layers)))
    used, compartments = sum(g.cores for g in groups), sum(g.neurons for g in groups)
    return ChipNetwork(chip, neurons, values, tuple(from_input), digests, used, compartments)


def _load_loihi(folder: Path) -> Any:
    """Return the Loihi that comes with SANA-FE, with one of the units for inputs a core.

    None is used here, and making all 1024 of every core takes seconds.
    """
    text = resources.files("sanafe.examples").joinpath("loihi.yaml").read_text(encoding="utf-8")
    path = folder / "loihi.yaml"
    path.write_text(text.replace("loihi_inputs[0..1023]", "loihi_inputs[0..0]"), encoding="utf-8")
    return sanafe.load_arch(path)


def _make_group(
    made: Any,
    cores: Sequence[Any],
    network: QuantizedNetwork,
    values: Sequence[NeuronValues],
    group: Group,
    *,
    log: bool,
) -> None:
    is_layer = group.stage == 0
    first: Synapses = network.layers[group.layer].synapses[0]
    neurons = made.create_neuron_group(
        group.name,
        group.neurons,
        model_attributes=values[group.layer].attributes if is_layer else relay_attributes(),
        default_synapse_hw_name=row_of(_SYNAPSE, first, "SANA-FE") if is_layer else _SPARSE,
        default_dendrite_hw_name=_DENDRITE,
        soma_hw_name=_SOMA,
        log_spikes=is_layer,
        log_potential=is_layer and log,
    )
    for index, neuron in enumerate(neurons):
        neuron.map_to_core(cores[group.core_of(index)])


def _connect_relays(made: Any, groups: Sequence[Group]) -> None:
    """Let each relay take the spikes of the neuron, or of the relay, one step before it."""
    for group in groups:
        if group.stage:
            before = made[group_name(group.layer, group.stage - 1)]
            pairs = [(index, index) for index in range(group.neurons)]
            before.connect_neurons_sparse(made[group.name], {"weight": [1] * len(pairs)}, pairs)


def _connect(source: Any, target: Any, synapses: SynapseList) -> None:
    pairs = list(zip(synapses.source.tolist(), synapses.target.tolist(), strict=True))
    source.connect_neurons_sparse(target, {"weight": synapses.weight.tolist()}, pairs)


def _read_back(source: Any, target: str, synapses: SynapseList) -> npt.NDArray[np.float64]:
    """Return the weights that stand in SANA-FE's network, in the order of the list.

    The connection must be the last one that was made from its source to this target: there may be
    several between the same layers.
    """
    order = np.argsort(synapses.source, kind="stable")
    per_source = np.bincount(synapses.source, minlength=len(source))
    found, targets = [], []
    for neuron, number in zip(source, per_source.tolist(), strict=True):
        for edge in neuron.edges_out[-number:] if number else ():
            assert edge.post_neuron.group_name == target
            targets.append(edge.post_neuron.neuron_offset)
            found.append(edge.synapse_attributes["weight"])
    weights = np.full(len(order), np.nan)
    if len(found) == len(order) and np.array_equal(targets, synapses.target[order]):
        weights[order] = found
    return weights
