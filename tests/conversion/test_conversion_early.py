"""What could not be deployed, and options out of range, are refused by convert, before training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ConversionError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import verify
from tests.helpers.ordinary_networks import converted, random_inputs

IMAGE = (2, 4, 4)


class Net(nn.Module):
    def __init__(self, forward: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.other = nn.Conv2d(2, 3, 1)
        self.one = nn.Conv2d(2, 1, 1)
        self.same = nn.Conv2d(3, 2, 1)
        self.linear = nn.Linear(32, 48)
        self.norm = nn.BatchNorm1d(48)
        self.head = nn.Linear(48, 4)
        self.bias = nn.Parameter(torch.zeros(3, 1, 1))
        self.register_buffer("mean", torch.zeros(2, 1, 1))
        self.function = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def head(m: Any, x: Tensor) -> Tensor:
    return m.head(torch.relu(x).flatten(1))


REFUSED: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "broadcast": (
        lambda m, x: head(m, m.conv(x) + m.one(x)),
        r"adds samples of shape \(1, 4, 4\) to \(3, 4, 4\), each value to several",
    ),
    "skip from the input over a layer": (
        lambda m, x: torch.relu(m.same(torch.relu(m.conv(x))) + x),
        r"could not be deployed: layer conv2: the skip path .* starts at the network's input"
        r".*\(conv2 is add\)",
    ),
    "flattened convolution plus linear": (
        lambda m, x: head(m, m.conv(x).flatten(1) + m.linear(x.flatten(1))),
        r"adds neurons of shape \(3, 4, 4\) to neurons of shape \(48,\), one of them flattened",
    ),
    "flattened convolution normalised": (
        lambda m, x: head(m, m.norm(m.conv(x).flatten(1))),
        r"layer norm \(BatchNorm1d\) normalises 48 features apart, but conv has 3 channels",
    ),
    "parameter added": (lambda m, x: head(m, m.conv(x) + m.bias), "add. adds something else than"),
    "buffer added": (lambda m, x: head(m, m.conv(x + m.mean)), r"operation add \(add\) adds somet"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_not_be_deployed_is_refused_before_it_is_trained(case: str) -> None:
    function, message = REFUSED[case]
    with pytest.raises(ConversionError, match=message):
        convert(Net(function), input_shape=IMAGE, num_steps=4, readout="count")


DEPLOYED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "two branches of the input": lambda m, x: head(m, m.conv(x) + m.other(x)),
    "the input itself beside a layer of it": lambda m, x: m.same(
        torch.relu(m.conv(torch.relu(m.square(x) + x)))
    ),
}


@pytest.mark.parametrize("case", DEPLOYED)
def test_a_skip_from_the_input_into_its_first_layer_is_exact(case: str) -> None:
    network = Net(DEPLOYED[case])
    network.square = nn.Conv2d(2, 2, 3, padding=1)
    converted(network, IMAGE)
    model = convert(network, input_shape=IMAGE, num_steps=7).eval()
    inputs = random_inputs(IMAGE).numpy()
    quantized = freeze(model)
    assert quantized.layers[0].skips[0].source == "input"
    backends = [ReferenceBackend(), PyTorchBackend(model)]
    verify(quantized, inputs, None, backends).require_match()
    assert all(counts.any() for counts in backends[0].run(quantized, inputs).counts.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 5.5}, "num_steps is 5.5; allowed are 1 to 4096, as a whole number"),
        ({"num_steps": "7"}, "num_steps is '7'; allowed are 1 to 4096, as a whole number"),
        ({"num_steps": None}, "num_steps is None; allowed"),
        ({"weight_bits": 8.0}, "weight_bits is 8.0; allowed are 2 to 8, as a whole number"),
        ({"input_bits": 4.0}, r"input_shape is \(4,\) and input_bits 4.0; both must be whole num"),
        ({"input_shape": 8}, r"input_shape is 8; give .* as a tuple, such as \(8,\)"),
        ({"input_shape": (4.0,)}, r"input_shape is \(4.0,\) and input_bits 4; both must be whole"),
        ({"input_shape": "4"}, "both must be whole numbers"),
        ({"initial_potential": "half"}, "initial_potential must be a number, found 'half'"),
        ({"initial_potential": 1}, "initial_potential is 1.0; allowed are shares"),
        ({"initial_potential": 0.5, "reset": "zero"}, 'not possible with reset "zero"'),
        ({"activation_max": None}, "activation_max must be a number, found None"),
        ({"activation_max": -1}, "activation_max must be a positive number, found -1"),
        ({"learn_thresholds": 1}, "learn_thresholds is 1; allowed are True and False"),
        ({"reset": None}, 'reset is "None"; allowed are subtract, zero'),
    ],
)
def test_options_of_another_type_are_refused(options: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"input_shape": (4,), "num_steps": 4} | options
    with pytest.raises(ConversionError, match=message):
        convert(nn.Linear(4, 2), **settings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0; allowed are 1 to 4096"),
        ({"num_steps": 4097}, "num_steps is 4097"),
        ({"weight_bits": 9}, "weight_bits is 9; allowed are 2 to 8"),
        ({"twin": "none"}, 'twin is "none"; allowed are clip, relu'),
        ({"voltage_decay": 1}, "only neurons with reset"),
    ],
)
def test_options_check_themselves(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        SpikingOptions(**{"num_steps": 4, "reset": "subtract"} | options)


def test_options_of_numpy_become_plain_numbers() -> None:
    options = SpikingOptions(
        np.int64(4), "zero", np.int8(6), activation_max=2, voltage_decay=np.int32(5)
    )
    values = (options.num_steps, options.weight_bits, options.activation_max, options.voltage_decay)
    assert [type(value) for value in values] == [int, int, float, int]
    model = convert(nn.Linear(4, 2), input_shape=[4], num_steps=4, activation_max=2)
    assert model.tandem_layers[0].activation_max.dtype == torch.float32


def test_a_network_on_the_meta_device_is_refused() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(ConversionError, match=r"layer 0 \(Linear\) has its weight on the meta dev"):
        convert(network, input_shape=(4,), num_steps=4)


def test_a_network_of_several_inputs_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"\(layer 0\).*missing 1 required positional argum"):
        convert(nn.Bilinear(4, 4, 2), input_shape=(4,), num_steps=4)


@pytest.mark.parametrize(("bits", "largest"), [(4, 15), (1, 1), (7, 127)])
def test_integers_beyond_the_input_bits_are_refused(bits: int, largest: int) -> None:
    model = convert(nn.Linear(4, 2), input_shape=(4,), num_steps=4, input_bits=bits)
    inputs = torch.full((3, 4), largest, dtype=torch.uint8)
    assert model(inputs).shape == (3, 2)
    inputs[2, 1] += 1
    message = rf"reach {largest + 1}, but {bits} bits end at {largest}; use tandem_hw.quantize_inp"
    with pytest.raises(ConversionError, match=message):
        model(inputs)
    with pytest.raises(ConversionError, match=message):
        model(inputs, spiking=0)


def test_inputs_of_8_bits_take_every_integer() -> None:
    model = convert(nn.Linear(4, 2), input_shape=(4,), num_steps=4, input_bits=8)
    assert model(torch.full((1, 4), 255, dtype=torch.uint8)).shape == (1, 2)
