"""SynOps in the loss: those that the backends count, with a gradient that saves spikes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tandem_hw.chip.budget import chip_budget
from tandem_hw.conversion.convert import convert
from tandem_hw.errors import DataError, NetworkError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.activity import summarise, total
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.methods.core_share import core_share
from tandem_hw.training.options import TrainingOptions
from tandem_hw.training.synop_penalty import SynOpPenalty, fan_out
from tests.helpers.graph_networks import NETWORKS, converted, inputs_of
from tests.helpers.present import present
from tests.helpers.rounding import rounding_bound


def settled(name: str, **options: Any) -> tuple[TandemNetwork, Tensor]:
    """Return a network whose running statistics are those of its inputs, in evaluation."""
    model = converted(name, **options)
    inputs = inputs_of(model)
    with torch.no_grad():
        for _ in range(30):
            model(inputs)
    return model.eval(), inputs


@pytest.mark.parametrize("name", NETWORKS)
def test_the_fan_out_is_that_of_the_exported_network(name: str) -> None:
    model = converted(name)
    network = freeze(model)
    shapes = [network.input.shape, *(layer.output_shape for layer in network.layers)]
    kinds = set()
    for layer, connections in zip(model.tandem_layers, network.wiring.connections, strict=True):
        for path, connection in zip(layer.paths, connections, strict=True):
            source = 0 if connection.source is None else connection.source + 1
            found = fan_out(path, torch.zeros(3, *shapes[source]))
            wanted = connection.synapses.fan_out
            assert found.shape == shapes[source]
            assert found.dtype == torch.float32
            assert not found.requires_grad
            assert wanted.any()
            assert np.array_equal(found.numpy().reshape(-1), wanted.reshape(-1))
            kinds.add(type(path.synapses).__name__)
    assert len(kinds) > 1


def test_all_kinds_of_synapses_have_been_seen() -> None:
    kinds = {
        type(synapses).__name__
        for name in NETWORKS
        for layer in converted(name).tandem_layers
        for synapses in layer.synapses
    }
    assert kinds == {
        "TandemAvgPool", "TandemConv", "TandemConvTranspose2d", "TandemLinear", "TandemOneToOne",
    }  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "options", [{"reset": "subtract"}, {"reset": "zero"}, {"firing_delay": "phased"}], ids=str
)
def test_the_penalty_is_what_the_reference_counts_without_the_inputs_part(
    name: str, options: dict[str, Any]
) -> None:
    model, inputs = settled(name, activation_max=0.06, **options)
    penalty = SynOpPenalty(model)
    model(inputs)
    found = penalty.take().item()
    network = freeze(model)
    recording = ReferenceBackend().run(network, inputs.numpy())
    spent, macs = 0.0, 0
    for connections in network.wiring.connections:
        for connection in connections:
            macs += int(connection.synapses.fan_out.sum())
            if connection.source is not None:
                counts = recording.counts[network.layers[connection.source].name]
                spikes = counts.reshape(len(inputs), -1).astype(np.int64)
                spent += float((spikes @ connection.synapses.fan_out.reshape(-1)).mean())
    by_layer = {layer: synops.mean() for layer, synops in recording.synops.items()}
    from_input = sum(
        by_layer[layer.name]
        for layer, connections in zip(network.layers, network.wiring.connections, strict=True)
        if all(connection.source is None for connection in connections)
    )
    assert spent == pytest.approx(sum(by_layer.values()) - from_input)  # in float64
    assert spent > 0
    assert macs == total(summarise(network, recording)).macs_per_sample
    # Sums of whole numbers are exact; each layer's mean is rounded, their sum, and the quotient.
    rounded = rounding_bound(len(network.layers) + 8, 1.0)
    assert found == pytest.approx(spent / macs, rel=rounded)


def test_each_call_takes_what_was_spent_since_the_last_one() -> None:
    model, inputs = settled("residual")
    penalty = SynOpPenalty(model)
    assert penalty.take().item() == 0
    model(inputs)
    once = penalty.take()
    assert once.item() > 0
    assert penalty.take().item() == 0
    model(inputs)
    model(inputs)
    # The second pass adds its terms, a few a layer, to the sum of the first.
    rounded = rounding_bound(4 * len(model.tandem_layers), 1.0)
    assert penalty.take().item() == pytest.approx(2 * once.item(), rel=rounded)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_forward_pass_and_other_gradients_are_as_without(name: str) -> None:
    results = []
    for watched in (False, True):
        model = converted(name)
        if watched:
            SynOpPenalty(model)
        torch.manual_seed(7)  # of the dropout
        outputs = model(inputs_of(model))
        outputs.square().sum().backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        results.append([outputs.detach(), *gradients, *model.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert results[0][0].abs().sum() > 0


def test_nothing_is_watched_after_the_end() -> None:
    model, inputs = settled("functional")
    before = [len(layer._forward_pre_hooks) for layer in model.tandem_layers]
    penalty = SynOpPenalty(model)
    assert [len(layer._forward_pre_hooks) for layer in model.tandem_layers] == [
        1 + number for number in before
    ]
    model(inputs)
    penalty.remove()
    assert [len(layer._forward_pre_hooks) for layer in model.tandem_layers] == before
    assert penalty.take().item() > 0
    model(inputs)
    assert penalty.take().item() == 0


def test_mixed_precision_does_not_round_the_penalty() -> None:
    model, inputs = settled("depthwise and pooling")
    penalty = SynOpPenalty(model)
    model(inputs)
    exact = penalty.take()
    with torch.autocast("cpu", torch.bfloat16):
        model(inputs)
        found = penalty.take()
    assert found.dtype == torch.float32
    assert found.item() == exact.item() > 0


def test_a_network_of_one_layer_spends_nothing_that_it_could_save() -> None:
    model = convert(nn.Sequential(nn.Linear(4, 3)), input_shape=(4,), num_steps=4)
    penalty = SynOpPenalty(model)
    model(torch.full((2, 4), 15, dtype=torch.uint8))
    assert penalty.take().item() == 0


def test_an_input_is_not_counted_behind_a_dropout_either() -> None:
    torch.manual_seed(0)
    plain = [nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)]
    found = []
    for layers in (plain, [nn.Dropout(0.5), *plain]):
        model = convert(
            nn.Sequential(*layers), input_shape=(6,), num_steps=4, activation_max=0.5
        ).eval()
        penalty = SynOpPenalty(model)
        model(torch.full((2, 6), 15, dtype=torch.uint8))
        found.append(penalty.take().item())
    assert found[0] == found[1] > 0


def spikes_of(model: TandemNetwork, inputs: Tensor) -> float:
    """Count the spikes in evaluation, once the running statistics are those of the inputs."""
    model.train()
    for _ in range(30):
        model.record(inputs)
    recorded = model.eval().record(inputs)
    model.train()
    return float(sum(counts.sum() for counts in recorded.counts.values()))


@pytest.mark.parametrize("name", ["functional", "autoencoder", "one axis"])
def test_its_gradient_lowers_the_spikes(name: str) -> None:
    model = converted(name, activation_max=1.0)  # a neuron at its ceiling has no gradient
    inputs = inputs_of(model)
    before = spikes_of(model, inputs)
    penalty = SynOpPenalty(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    values = []
    for _ in range(40):
        model(inputs)
        loss = penalty.take()
        values.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    penalty.remove()
    assert before > 0
    assert values[0] > 0
    assert values[-1] < 0.7 * values[0]
    assert spikes_of(model, inputs) < 0.8 * before


def test_layers_that_do_not_spike_count_their_activations() -> None:
    model, inputs = settled("functional")
    penalty = SynOpPenalty(model)
    model(inputs, spiking=0)
    value = penalty.take()
    assert value.item() > 0
    value.backward()
    assert present(present(model.tandem_layers[0].weight).grad).abs().sum() > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_the_share_of_a_core_is_that_of_the_chip_budget(name: str) -> None:
    model = converted(name)
    network = freeze(model)
    shapes = [network.input.shape, *(layer.output_shape for layer in network.layers)]
    budgets = chip_budget(network).layers
    for layer, connections, budget in zip(
        model.tandem_layers, network.wiring.connections, budgets, strict=True
    ):
        sources = [0 if one.source is None else one.source + 1 for one in connections]
        share = core_share(layer, [shapes[source] for source in sources])
        assert 0 < share == min(1.0, budget.core.neurons / budget.neurons)


@pytest.mark.parametrize("name", ["functional", "depthwise and pooling"])
def test_the_busiest_core_spends_what_the_reference_counts(name: str) -> None:
    model, inputs = settled(name, activation_max=0.06)
    penalty = SynOpPenalty(model, "busiest-core")
    model(inputs)
    found = penalty.take().item()
    network = freeze(model)
    recording = ReferenceBackend().run(network, inputs.numpy())
    layers = chip_budget(network, recording).layers
    spent, macs = [], []
    for layer, budget in zip(network.layers, layers, strict=True):
        share = min(1.0, budget.core.neurons / budget.neurons)
        if not network.wiring.takes_input(network.layers.index(layer)):
            spent.append(share * float(recording.synops[layer.name].mean()))
            macs.append(share * sum(int(one.fan_out.sum()) for one in layer.synapses))
    assert max(spent) > 0
    rounded = rounding_bound(len(network.layers) + 8, 1.0)
    assert found == pytest.approx(max(spent) / max(macs), rel=rounded)
    assert penalty.take().item() == 0


def test_only_the_busiest_core_has_a_gradient() -> None:
    """784-64-512-10: what reaches the second layer is more than what reaches the third."""
    torch.manual_seed(0)
    sizes = (784, 64, 512, 10)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    model = convert(nn.Sequential(*layers[:-1]), input_shape=(784,), num_steps=4)
    shapes = [(64,), (512,)]
    shares = [
        core_share(layer, [shape])
        for layer, shape in zip(model.tandem_layers[1:], shapes, strict=True)
    ]
    assert shares == [1.0, 1.0]  # 64 * ceil(512 / 3.1) = 10 624 words: one core holds it
    penalty = SynOpPenalty(model, "busiest-core")
    model(torch.randint(0, 16, (8, 784), dtype=torch.uint8))
    penalty.take().backward()
    second, third = model.tandem_layers[1:]
    assert present(present(model.tandem_layers[0].weight).grad).abs().sum() > 0
    for layer in (second, third):  # the busiest core's SynOps come from the first one's spikes
        gradient = present(layer.weight).grad
        assert gradient is None or not gradient.any()


def test_a_layer_that_no_core_holds_is_refused_by_name() -> None:
    layers = nn.Sequential(nn.Linear(4, 12_001), nn.ReLU(), nn.Linear(12_001, 2))
    model = convert(layers, input_shape=(4,), num_steps=4)
    SynOpPenalty(model, "busiest-core")
    with pytest.raises(NetworkError, match=r'needs? 12001 words .*or train with penalty "total"'):
        model(torch.full((2, 4), 15, dtype=torch.uint8))


def test_a_penalty_without_a_weight_is_refused() -> None:
    assert TrainingOptions(synop_weight=0.1, penalty="busiest-core").penalty == "busiest-core"
    with pytest.raises(DataError, match='penalty is "busiest-core", but synop_weight is 0'):
        TrainingOptions(penalty="busiest-core")
    with pytest.raises(DataError, match='penalty is "most"; allowed are total, busiest-core'):
        TrainingOptions(synop_weight=0.1, penalty="most")  # type: ignore[arg-type]


def test_a_network_of_one_layer_has_no_busiest_core_that_could_save() -> None:
    model = convert(nn.Sequential(nn.Linear(4, 3)), input_shape=(4,), num_steps=4)
    penalty = SynOpPenalty(model, "busiest-core")
    model(torch.full((2, 4), 15, dtype=torch.uint8))
    assert penalty.take().item() == 0
