from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tandem_hw.conformance.layers import changed
from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ComparisonRefusedError, ConversionError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.kinds.convolutions import TandemConv
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.network.synapses.convolutions import Conv2d
from tandem_hw.network.synapses.dense import Dense
from tandem_hw.network.synapses.geometry import Geometry
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import verify
from tests.helpers.present import present

IMAGE = (2, 6, 6)
Inputs = npt.NDArray[np.uint8]
EVERY_COMBINATION = list(
    itertools.product(
        ["conv", "mlp"],
        ["subtract", "zero"],
        [1, 3, 7],
        [2, 4, 8],
        ["first_step", "constant"],
        ["potential", "count"],
    )
)


def conv_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8, momentum=0.9),
        nn.ReLU(),
        nn.Conv2d(8, 6, (3, 2), (2, 1), (1, 0), groups=2),
        nn.BatchNorm2d(6, momentum=0.9, affine=False),
        nn.ReLU(),
        nn.Dropout2d(0.1),
        nn.Flatten(),
        nn.Linear(6 * 3 * 5, 4),
        nn.BatchNorm1d(4, momentum=0.9),
    )


def mlp_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(72, 24),
        nn.BatchNorm1d(24, momentum=0.9),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(24, 16),
        nn.ReLU(),
        nn.Linear(16, 4),
        nn.BatchNorm1d(4, momentum=0.9),
    )


def some_inputs(samples: int, shape: tuple[int, ...] = IMAGE, bits: int = 4) -> Inputs:
    return np.random.default_rng(samples).integers(0, 1 << bits, (samples, *shape), dtype=np.uint8)


def trained(
    network: nn.Sequential, shape: tuple[int, ...] = IMAGE, **options: Any
) -> TandemNetwork:
    # A low ceiling and quick running averages, so that short windows are not silent.
    model = convert(network, input_shape=shape, **({"activation_max": 0.4} | options))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    outputs = model.architecture.layers[-1].out
    bits = model.architecture.input.bits
    for step in range(3):
        images = torch.from_numpy(some_inputs(12 + step, shape, bits))
        labels = torch.arange(len(images)) % outputs
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model


def require_activity(network: QuantizedNetwork, recording: Recording) -> None:
    for layer in network.spiking_layers:
        assert recording.counts[layer.name].any(), f"{layer.name} is silent"
    assert len(np.unique(recording.output)) > 1


def require_equal(model: TandemNetwork, inputs: Inputs) -> QuantizedNetwork:
    """Require that evaluation and the frozen network agree, after making sure of activity."""
    network = freeze(model)
    expected = ReferenceBackend().run(network, inputs)
    require_activity(network, expected)
    recorded = model.eval().record(torch.from_numpy(inputs))
    assert recorded.counts.keys() == expected.counts.keys()
    for name, counts in expected.counts.items():
        assert np.array_equal(recorded.counts[name].numpy(), counts), name
    with torch.no_grad():
        logits = model(torch.from_numpy(inputs)).numpy()
    if network.readout == "potential":
        assert recorded.potential is not None
        assert np.array_equal(recorded.potential.numpy(), expected.output)
        assert np.array_equal(logits, (expected.output * network.readout_scale).astype(np.float32))
    else:
        assert recorded.potential is None
        assert np.array_equal(logits, expected.output)
        assert network.readout_scale == model.tandem_layers[-1].spike_value
    report = verify(network, inputs, None, [ReferenceBackend(), PyTorchBackend(model)])
    report.require_match()
    assert report.checked_parameters == report.backends
    assert report.checked_states == (report.backends if network.spiking_layers else ())
    return network


@pytest.mark.parametrize(
    ("kind", "reset", "num_steps", "weight_bits", "encoding", "readout"), EVERY_COMBINATION
)
def test_evaluation_and_the_frozen_network_agree_after_training(
    kind: str, reset: Any, num_steps: int, weight_bits: int, encoding: Any, readout: Any
) -> None:
    torch.manual_seed(num_steps + weight_bits)
    model = trained(
        conv_network() if kind == "conv" else mlp_network(),
        num_steps=num_steps,
        reset=reset,
        weight_bits=weight_bits,
        encoding=encoding,
        readout=readout,
    )
    network = require_equal(model, some_inputs(20))
    assert (network.num_steps, network.reset, network.readout) == (num_steps, reset, readout)
    assert {layer.synapses[0].weight_bits for layer in network} == {weight_bits}


LEAKS = [(4096, 500), (3000, 0), (1024, 1024), (1, 4095)]


@pytest.mark.parametrize("kind", ["conv", "mlp"])
@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("encoding", ["constant", "events"])
def test_training_evaluation_and_reference_agree_on_leaky_neurons(
    kind: str, leak: tuple[int, int], encoding: Any
) -> None:
    torch.manual_seed(sum(leak))
    network = conv_network() if kind == "conv" else mlp_network()
    shape = IMAGE if kind == "conv" else (72,)
    options: dict[str, Any] = dict(zip(("current_decay", "voltage_decay"), leak, strict=True))
    model = convert(
        network[1:] if kind == "mlp" else network,
        input_shape=shape, num_steps=5, reset="zero", encoding=encoding, activation_max=0.4,
        **options,
    )  # fmt: skip
    inputs = some_inputs(16, model.sample_shape)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(model(torch.from_numpy(inputs)), torch.arange(16) % 4).backward()
        optimizer.step()
    frozen = require_equal(model, inputs)
    firing = frozen.spiking_layers
    assert {(layer.neurons.current_decay, layer.neurons.voltage_decay) for layer in firing} == {
        leak
    }
    assert not frozen.layers[-1].neurons.leaks
    # The leak is no ornament: without it other spikes come out.
    plain = replace(
        frozen,
        layers=tuple(changed(layer, current_decay=4096, voltage_decay=0) for layer in frozen),
    )
    leaky, without = (ReferenceBackend().run(each, inputs) for each in (frozen, plain))
    assert any(np.any(leaky.counts[name] != without.counts[name]) for name in leaky.counts)


@st.composite
def random_models(draw: st.DrawFn) -> TandemNetwork:
    torch.manual_seed(draw(st.integers(0, 2**31)))
    shape = (draw(st.integers(1, 3)), draw(st.integers(4, 7)), draw(st.integers(4, 7)))
    groups = draw(st.sampled_from([1, 2]))
    pair = st.tuples(st.integers(1, 2), st.integers(1, 2))
    first = nn.Conv2d(
        shape[0], 4, draw(st.integers(1, 3)), draw(pair), draw(pair), bias=draw(st.booleans())
    )
    second = nn.Conv2d(4, 6, draw(pair), draw(pair), draw(pair), draw(pair), groups)
    modules: list[nn.Module] = [first, nn.BatchNorm2d(4, momentum=0.9), nn.ReLU(), second]
    modules += [nn.BatchNorm2d(6, momentum=0.9), nn.ReLU(), nn.Flatten()]
    features = nn.Sequential(*modules)(torch.rand(2, *shape)).shape[1]
    return trained(
        nn.Sequential(*modules, nn.Linear(features, 3)),
        shape,
        num_steps=draw(st.integers(1, 9)),
        reset=draw(st.sampled_from(["subtract", "zero"])),
        weight_bits=draw(st.integers(3, 8)),
        input_bits=draw(st.integers(1, 8)),
        activation_max=draw(st.sampled_from([0.3, 0.4, 0.6])),
    )


@given(random_models())
@settings(deadline=None, max_examples=25)
def test_random_convolutional_networks_agree(model: TandemNetwork) -> None:
    spec = model.architecture.input
    require_equal(model, some_inputs(15, spec.shape, spec.bits))


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_evaluation_follows_the_chip_even_where_states_leave_24_bits(reset: Any) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(100, 8, bias=False), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        network[0].weight.abs_()
        network[0].weight[4:] *= -1
        network[2].weight[:, :4].abs_()
    options: dict[str, Any] = {"num_steps": 7, "input_bits": 8, "activation_max": 0.05}
    model = convert(network, input_shape=(100,), reset=reset, encoding="constant", **options)
    inputs = some_inputs(10, (100,), 8) // np.uint8(10)
    frozen = require_equal(model, inputs)
    assert not frozen.bounds[0].proven
    # Negative weights alone can only make a neuron fire once its current has wrapped.
    assert (frozen.layers[0].synapses[0].weight[4:] <= 0).all()
    assert not frozen.layers[0].neurons.bias.any()
    expected = ReferenceBackend().run(frozen, inputs)
    assert expected.counts["dense1"][:, 4:].any()
    found = PyTorchBackend(model).run(frozen, inputs).saturation
    assert found["dense1"].any()
    for name, values in expected.saturation.items():
        assert found[name].tolist() == values.tolist()


def test_the_frozen_network_has_the_models_integers_shapes_and_geometry() -> None:
    model = trained(conv_network(), num_steps=3)
    network = freeze(model)
    conv, grouped, dense = (layer.synapses[0] for layer in network.layers)
    assert isinstance(conv, Conv2d)
    assert isinstance(grouped, Conv2d)
    assert isinstance(dense, Dense)
    assert (conv.geometry.padding, conv.output_shape) == ((1, 1), (8, 6, 6))
    assert grouped.geometry == Geometry((2, 1), (1, 0), groups=2)
    assert (grouped.output_shape, dense.output_shape) == ((6, 3, 5), (4,))
    assert network.input == model.architecture.input
    scales = [model.input_scale, 0.4 / 3, 0.4 / 3]
    for layer, tandem, scale in zip(network, model.tandem_layers, scales, strict=True):
        integers = tandem.integer_parameters(scale)
        assert layer.name == tandem.name
        assert layer.synapses[0].weight.any()
        assert np.array_equal(layer.synapses[0].weight, integers.weight.numpy())
        assert np.array_equal(layer.neurons.bias, integers.bias.numpy())
        assert layer.neurons.threshold == integers.threshold
    assert isinstance(model.tandem_layers[0], TandemConv)


def test_freezing_does_not_hang_on_the_mode_and_changes_nothing() -> None:
    model = trained(conv_network(), num_steps=3)
    state = copy.deepcopy(model.state_dict())
    assert model.training
    in_training = freeze(model).digest
    assert model.training
    assert freeze(model.eval()).digest == in_training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_step_of_training_makes_another_network() -> None:
    digests = set()
    torch.manual_seed(0)
    network = mlp_network()
    for num_steps in (3, 4):
        model = convert(network, input_shape=IMAGE, num_steps=num_steps)
        digests.add(freeze(model).digest)
    digests.add(freeze(trained(network, num_steps=3)).digest)
    assert len(digests) == 3


def test_the_pytorch_backend_refuses_a_network_of_another_model() -> None:
    model, inputs = trained(mlp_network(), num_steps=3), some_inputs(4)
    network = freeze(model)
    assert PyTorchBackend(model).run(network, inputs).counts["dense1"].any()
    with torch.no_grad():
        present(model.tandem_layers[1].weight)[0, 0] += 1
    message = "the checkpoint holds another network than the .net file; export it again"
    with pytest.raises(ComparisonRefusedError, match=message):
        PyTorchBackend(model).run(network, inputs)


def test_the_pytorch_backend_runs_in_batches_and_tells_its_progress(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, inputs = trained(mlp_network(), num_steps=3), some_inputs(10)
    network = freeze(model)
    expected = ReferenceBackend().run(network, inputs)
    require_activity(network, expected)
    monkeypatch.setattr("tandem_hw.sim.pytorch._BATCH", 4)
    told: list[tuple[int, int]] = []
    labels = np.arange(10) % 4
    found = PyTorchBackend(model).run(network, inputs, labels, lambda *x: told.append(x))
    assert told == [(4, 10), (8, 10), (10, 10)]
    assert np.array_equal(found.output, expected.output)
    assert np.array_equal(found.counts["dense2"], expected.counts["dense2"])
    assert found.accuracy == np.mean(expected.prediction == labels)


def test_weights_that_are_not_finite_are_refused_by_the_layers_name() -> None:
    model = convert(mlp_network(), input_shape=IMAGE, num_steps=3)
    with torch.no_grad():
        present(model.tandem_layers[1].weight)[0, 0] = float("nan")
    with pytest.raises(ConversionError, match="layer dense2: a weight or bias is infinite"):
        freeze(model)
