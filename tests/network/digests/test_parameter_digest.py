"""A backend that computes with other integers than the network's is noticed on any data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from tandem_hw.arithmetic.synapses import WeightedSynapse, synapse_of
from tandem_hw.conversion.convert import convert
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.digests.parameter_digest import digest_of_layer, parameter_digest
from tandem_hw.network.layers import Layer
from tandem_hw.network.quantized import QuantizedNetwork, Reset
from tandem_hw.network.synapses.kind import Synapses
from tandem_hw.sim import reference as reference_module
from tandem_hw.sim.backend import SimulationResult
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import VerificationError, compare, verify
from tests.helpers.networks import networks, random_inputs, small_graph_network, small_image_network
from tests.helpers.networks import small_network as small
from tests.helpers.sabotage import other_layer


def test_every_integer_counts_and_the_dtype_does_not() -> None:
    layer = small_graph_network().layers[1]
    weights = [one.weight for one in layer.synapses]
    bias = np.broadcast_to(layer.bias_image(), layer.output_shape)
    digest = digest_of_layer(layer)
    for dtype in (np.int16, np.int64, np.float32, ">f8"):
        cast = [weight.astype(dtype) for weight in weights]
        again = parameter_digest(
            cast, bias.astype(dtype), layer.neurons.threshold, layer.output_shape
        )
        assert again == digest

    def changed(array: Any, index: int, by: float) -> Any:
        copy = array.astype(float)
        copy.flat[index] += by
        return copy

    others = {
        parameter_digest(
            [changed(one, index, by) if one is weight else one for one in weights],
            bias,
            layer.neurons.threshold,
            layer.output_shape,
        )
        for weight in weights
        for index in (0, -1)
        for by in (2, -2, 0.25, np.nan)
    }
    assert len(others) == 3 * 2 * 4 - 4  # the identity has one weight, which is first and last
    shape = layer.output_shape
    threshold = layer.neurons.threshold
    assert threshold is not None
    others.add(parameter_digest(weights, changed(bias, -1, 1), threshold, shape))
    others.add(parameter_digest(weights, bias, threshold + 1, shape))
    others.add(parameter_digest(weights, bias, None, shape))
    others.add(parameter_digest(weights[::-1], bias, threshold, shape))
    assert len(others) == 24
    assert digest not in others


class Sabotaged(ReferenceBackend):
    """The reference with the tensors of another layer in the place of one of the same name."""

    name = "sabotaged"

    def __init__(self, other: Layer) -> None:
        super().__init__()
        self.others = {item.name: item for item in other.synapses}

    def simulate(self, *given: Any, **asked: Any) -> SimulationResult:
        def other(item: Synapses, device: torch.device) -> WeightedSynapse:
            return synapse_of(self.others.get(item.name, item), device)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reference_module, "synapse_of", other)
            return super().simulate(*given, **asked)


@pytest.mark.parametrize("make", [small, small_graph_network, small_image_network])
def test_one_weight_of_the_reference_off_by_one_step_is_noticed_in_the_dark(
    make: Callable[[Reset], QuantizedNetwork],
) -> None:
    network = make("subtract")
    inputs = np.zeros_like(random_inputs(network))  # no weight of the first layer has an effect
    for layer in network:
        for name in [item.name for item in layer.synapses]:
            backends = [ReferenceBackend(), Sabotaged(other_layer(layer, name))]
            report = verify(network, inputs, None, backends, allow_silence=True)
            assert not report.match
            if layer is network.layers[0]:
                assert report.difference is None
            message = f"^sabotaged: layer {layer.name} ran with other weights, biases or threshold"
            with pytest.raises(VerificationError, match=message):
                report.require_match()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(network=networks(), data=st.data())
def test_every_weight_of_every_network_is_looked_at(network: QuantizedNetwork, data: Any) -> None:
    layer = data.draw(st.sampled_from(network.layers))
    item = data.draw(st.sampled_from(layer.synapses))
    index = data.draw(st.integers(0, item.weight.size - 1))
    sabotaged = Sabotaged(other_layer(layer, item.name, index))
    inputs = random_inputs(network, 1)
    expected = {one.name: digest_of_layer(one) for one in network}
    assert ReferenceBackend().run(network, inputs).parameter_digest == expected
    found = sabotaged.run(network, inputs).parameter_digest
    assert [name for name in expected if found[name] != expected[name]] == [layer.name]


def model() -> TandemNetwork:
    torch.manual_seed(1)
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 12), nn.ReLU(), nn.Linear(12, 3)
    )
    return convert(
        module, input_shape=(1, 6, 6), num_steps=5, reset="subtract", activation_max=0.4
    ).eval()


class Unchecked(PyTorchBackend):
    """Runs a model though it is not the one that the network was exported from."""

    def check_network(self, network: QuantizedNetwork) -> None:
        pass


def test_a_model_in_pytorch_whose_weight_is_off_by_one_step_is_noticed() -> None:
    trained = model()
    network = freeze(trained)
    inputs = np.random.default_rng(0).integers(0, 16, (6, 1, 6, 6), dtype=np.uint8)
    verify(network, inputs, None, [ReferenceBackend(), PyTorchBackend(trained)]).require_match()
    layer = trained.tandem_layers[1]
    assert layer.weight is not None
    unit = layer.spike_value / (network.layers[1].neurons.threshold or 1)
    scale = trained.tandem_layers[0].spike_value
    with torch.no_grad():
        place = int(layer.weight.abs().argmin())  # not the one that sets the unit
        layer.weight.view(-1)[place] += 2 * unit / scale
    changed = (
        freeze(trained).layers[1].synapses[0].weight.astype(int)
        - network.layers[1].synapses[0].weight
    )
    assert np.count_nonzero(changed) == 1
    assert abs(changed).max() == 2
    report = verify(network, inputs, None, [ReferenceBackend(), Unchecked(trained)])
    assert [(one.backend, one.layer) for one in report.other_parameters] == [("pytorch", "dense2")]
    assert not report.match


def test_the_model_is_left_in_the_mode_that_every_part_of_it_was_in() -> None:
    trained = model()
    network = freeze(trained)
    inputs = np.random.default_rng(0).integers(0, 16, (2, 1, 6, 6), dtype=np.uint8)
    trained.train()
    trained.layers[1].eval()  # a user may keep a part as it is
    modes = [module.training for module in trained.modules()]
    assert len(set(modes)) == 2
    first = PyTorchBackend(trained).run(network, inputs)
    assert [module.training for module in trained.modules()] == modes
    compare(network, [ReferenceBackend().run(network, inputs), first]).require_match()
    with pytest.raises(RuntimeError, match="stopped"):
        PyTorchBackend(trained).run(network, inputs, progress=stop)
    assert [module.training for module in trained.modules()] == modes


def stop(*_: int) -> None:
    raise RuntimeError("stopped")
