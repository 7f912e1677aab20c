"""Networks of all kinds: converted, trained a little, frozen, the same as on the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ConversionError
from tandem_hw.export.freezing import freeze
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense, OneToOne
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import verify
from tests.helpers.graph_networks import (
    IMAGE,
    NETWORKS,
    PHASED_NETWORKS,
    converted,
    inputs_of,
)
from tests.helpers.present import present
from tests.helpers.rounding import in_double, rounding_bound


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reset": "zero", "activation_max": 0.06},
        {"reset": "zero", "encoding": "events", "voltage_decay": 100, "activation_max": 0.06},
        {"initial_potential": 0.5, "learn_thresholds": True, "weight_bits": 4},
        {"readout": "count", "num_steps": 7, "activation_max": 0.5},
    ],
    ids=["subtract", "zero", "leaky events", "rounding and learnt thresholds", "counted"],
)
def test_a_network_is_on_the_reference_what_it_is_in_training(
    name: str, options: dict[str, Any]
) -> None:
    model = converted(name, **options)
    inputs = inputs_of(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    (model(inputs) - 1).square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        for _ in range(30):  # until the running statistics are those of these inputs
            model(inputs)
    network = freeze(model.eval())
    report = verify(network, inputs.numpy(), None, [ReferenceBackend(), PyTorchBackend(model)])
    report.require_match()
    counts = ReferenceBackend().run(network, inputs.numpy()).counts
    assert all(values.any() for values in counts.values()), {k: v.sum() for k, v in counts.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_ordinary_twin_is_the_ordinary_network(name: str) -> None:
    torch.manual_seed(5)
    build, shape = NETWORKS[name]
    network = build().eval()
    model = convert(network, input_shape=shape, num_steps=4, activation_max=1e4).eval()
    inputs = inputs_of(model)
    with torch.no_grad():
        wanted = network.double()(inputs.double() / 15).flatten(1)
        found = in_double(model)(inputs, spiking=0)
    assert wanted.std() > 1e-3
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


# Of what is joined some comes by a short way and some by a long one, and what has fired has fired:
# tests/conversion/test_phased_networks.py has it with neurons that wait.
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "joined"])
def test_many_steps_come_close_to_the_ordinary_network(name: str) -> None:
    model = converted(name, num_steps=1000, activation_max=4.0, initial_potential=0.5).eval()
    inputs = inputs_of(model, 2)
    with torch.no_grad():
        wanted, found = model(inputs, spiking=0), model(inputs)
    assert (found - wanted).abs().mean() < 0.15 * wanted.std()


@pytest.mark.parametrize("name", PHASED_NETWORKS)
@pytest.mark.parametrize(
    "options",
    [
        {"encoding": "constant"},
        {"encoding": "events", "initial_potential": 0.5, "weight_bits": 4},
        {"learn_thresholds": True, "readout": "count", "num_steps": 7, "activation_max": 0.5},
    ],
    ids=["constant", "events", "counted"],
)
def test_a_network_with_max_pooling_is_on_the_reference_what_it_is_in_training(
    name: str, options: dict[str, Any]
) -> None:
    test_a_network_is_on_the_reference_what_it_is_in_training(name, options)


@pytest.mark.parametrize("name", PHASED_NETWORKS)
def test_the_ordinary_twin_of_a_max_pooling_is_the_ordinary_network(name: str) -> None:
    torch.manual_seed(5)
    build, shape = PHASED_NETWORKS[name]
    network = build().eval()
    options: dict[str, Any] = {"activation_max": 1e4, "firing_delay": "phased"}
    model = convert(network, input_shape=shape, num_steps=4, **options).eval()
    inputs = inputs_of(model)
    with torch.no_grad():
        wanted = network.double()(inputs.double() / 15)
        found = in_double(model)(inputs, spiking=0)
    assert wanted.std() > 1e-3
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def test_a_residual_block_is_a_layer_with_a_skip() -> None:
    network = freeze(converted("residual"))
    conv1, conv2, conv3, conv4, conv5, dense = network.layers
    assert [type(layer.synapses[0]) for layer in network.layers] == [Conv2d] * 5 + [Dense]
    assert [layer.name for layer in network.layers if layer.synapses[1:]] == [
        conv3.name,
        conv5.name,
    ]
    (_, (before, identity)), (_, (start, projection)) = conv3.inputs, conv5.inputs
    assert isinstance(identity, OneToOne)
    assert (before, start) == (conv1.name, conv3.name)
    # One spike of the block's input is worth one of its output: a whole threshold.
    assert int(identity.weight[0]) == conv3.neurons.threshold
    assert isinstance(projection, Conv2d)
    assert projection.geometry.stride == (2, 2)
    assert dense.synapses[0].input_shape == (8, 4, 4)  # the pooling is folded into its weights
    assert network.wiring.depths == (1, 2, 3, 4, 5, 6)
    assert [c.delay for c in network.wiring.connections[2]] == [0, 1]
    assert (conv2.inputs[0].source, conv4.inputs[0].source) == (conv1.name, conv3.name)


def test_two_branches_of_the_input_are_one_layer() -> None:
    network = freeze(converted("functional"))
    assert network.layers[0].inputs[1].source == "input"
    assert [type(layer.synapses[0]) for layer in network.layers] == [
        Conv2d, Conv2d, Conv2d, OneToOne, Conv2d, Dense,
    ]  # fmt: skip
    both = network.layers[3]
    assert [int(path.weight[0]) for path in both.synapses] == [both.neurons.threshold] * 2


def test_a_pooling_alone_is_a_depthwise_convolution_of_equal_weights() -> None:
    network = freeze(converted("depthwise and pooling"))
    layer = next(layer for layer in network.layers if layer.name.startswith("pool"))
    (pool,) = layer.synapses
    assert isinstance(pool, Conv2d)
    assert (pool.geometry.groups, pool.geometry.stride) == (6, (2, 2))
    assert len(np.unique(pool.weight)) == 1
    # Four spikes in make about one spike out.
    assert layer.neurons.threshold is not None
    assert abs(4 * int(pool.weight[0, 0, 0, 0]) / layer.neurons.threshold - 1) < 0.02
    assert isinstance(freeze(converted("one axis")).layers[0].synapses[0], Conv1d)


def test_an_autoencoder_puts_out_an_image() -> None:
    model = converted("autoencoder").eval()
    network = freeze(model)
    assert network.layers[-1].output_shape == IMAGE
    assert network.outputs == 128
    assert isinstance(network.layers[-1].synapses[0], ConvTranspose2d)
    assert model(inputs_of(model)).shape == (12, 128)


def test_learnt_thresholds_get_a_gradient_and_stay_positive() -> None:
    model = converted("residual", learn_thresholds=True)
    optimizer = torch.optim.SGD(model.parameters(), 1e3)
    before = [layer.spike_value for layer in model.tandem_layers]
    model(inputs_of(model)).square().sum().backward()
    firing = [layer for layer in model.tandem_layers if layer.fires]
    assert all(float(present(layer.activation_max.grad)) != 0 for layer in firing)
    assert model.tandem_layers[-1].activation_max.grad is None
    optimizer.step()
    after = [layer.spike_value for layer in model.tandem_layers]
    assert before[:-1] != after[:-1]
    assert min(after) > 0


def test_a_learnt_threshold_has_the_gradient_of_its_quantizer() -> None:
    # y = w theta clip(a / theta): within the range theta moves only the rounding, above it all.
    model = convert(
        nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False)),
        input_shape=(2,),
        num_steps=4,
        learn_thresholds=True,
    )
    first, last = model.tandem_layers
    with torch.no_grad():
        present(first.weight).copy_(torch.tensor([[1.1, 0.0], [0.0, 5.0]]))
        present(last.weight).copy_(torch.tensor([[1.0, 1.0]]))
    # theta is 0.5: 1.1 gives 2 of the 2.2 spikes, and 5 gives 4 of 10.
    model(torch.full((1, 2), 15, dtype=torch.uint8)).sum().backward()
    wanted = ((2 - 2.2) + 4) / 4
    # From the stored weights some ten operations: to a and its ratio, back through both, the sum.
    bound = rounding_bound(16, ((2 + 2.2) + 4) / 4)
    assert float(present(first.activation_max.grad)) == pytest.approx(wanted, abs=bound)


class Wrong(nn.Module):
    def __init__(self, forward: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        self.last = nn.Linear(4, 2)
        self.relu = nn.ReLU()
        self.function = forward

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.function(self, x))
        return out


REFUSED: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "a constant added": (lambda m, x: torch.relu(m.a(x) + 1), "adds something else than two"),
    "a product": (lambda m, x: torch.relu(m.a(x) * m.b(x)), r"operation mul \(mul\) cannot"),
    "a maximum": (lambda m, x: torch.maximum(m.a(x), m.b(x)), "maximum.* cannot be converted"),
    "sums that are joined": (
        lambda m, x: torch.relu(torch.cat([m.a(x), m.b(x)], 1)),
        r"layer cat \(cat\) stands before the ReLU of a; put it after the ReLU",
    ),
    "samples that are joined": (
        lambda m, x: torch.cat([torch.relu(m.a(x)), torch.relu(m.b(x))]),
        r"joins along axis 0 of 2; only channels \(axis 1\)",
    ),
    "a constant that is joined": (
        lambda m, x: torch.cat([torch.relu(m.a(x)), torch.ones(len(x), 1)], 1),
        r"operation cat \(cat\) joins something else than layers",
    ),
    "a decision": (lambda m, x: m.a(x) if x.sum() > 0 else m.b(x), "cannot be followed"),
    "a sum without relu": (lambda m, x: m.a(x) + m.b(x), "add is followed by last without a ReLU"),
    "an unused layer": (lambda m, x: (m.b(x), torch.relu(m.a(x)))[1], "the result of b is not"),
    "a residual before its relu": (
        lambda m, x: torch.relu(m.b(m.a(x)) + x),
        "layer a is followed by b without a ReLU",
    ),
    "weights as a function": (lambda m, x: F.linear(x, m.a.weight), r"linear\) cannot be"),
    "a mean over features": (
        lambda m, x: torch.relu(m.a(x)).mean(0, True),
        "averages over the axes 0",
    ),
    "a scaled sum": (lambda m, x: torch.add(m.a(x), m.b(x), alpha=2), "adds something else"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_forward_pass_without_an_exact_counterpart_is_refused(case: str) -> None:
    function, message = REFUSED[case]
    with pytest.raises(ConversionError, match=message):
        convert(Wrong(function), input_shape=(4,), num_steps=4)


def test_a_skip_from_the_networks_input_is_refused_at_once() -> None:
    network = Wrong(lambda m, x: torch.relu(m.b(torch.relu(m.a(x))) + x))
    with pytest.raises(ConversionError, match=r"starts at the network's input.*dense2 is add"):
        convert(network, input_shape=(4,), num_steps=4)
