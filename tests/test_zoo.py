from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tandem_hw.errors import ConversionError
from tandem_hw.learning.conversion import convert
from tandem_hw.learning.zoo import build, cifarnet, lenet, mlp

Described = list[tuple[object, ...]]


def described(network: nn.Sequential) -> Described:
    """Return (outputs, stride) of each convolution and (inputs, outputs) of each linear layer."""
    found: Described = []
    for module in network:
        if isinstance(module, nn.Conv2d):
            assert (module.kernel_size, module.padding) == ((3, 3), (1, 1))
            assert module.bias is None  # its batch normalisation has one
            found.append(("conv", module.out_channels, module.stride[0]))
        elif isinstance(module, nn.Linear):
            found.append(("linear", module.in_features, module.out_features))
    return found


def test_the_mlp_has_two_hidden_layers_of_256() -> None:
    assert described(mlp((1, 28, 28), 10)) == [
        ("linear", 784, 256),
        ("linear", 256, 256),
        ("linear", 256, 10),
    ]


def test_lenet_is_conv16s2_conv32s2_fc128() -> None:
    assert described(lenet((1, 28, 28), 10)) == [
        ("conv", 16, 2),
        ("conv", 32, 2),
        ("linear", 32 * 7 * 7, 128),
        ("linear", 128, 10),
    ]


def test_cifarnet_is_the_papers() -> None:
    with torch.device("meta"):  # 38 million parameters that nobody looks at
        network = cifarnet((3, 32, 32), 10)
    assert described(network) == [
        ("conv", 128, 1),
        ("conv", 256, 2),
        ("conv", 512, 2),
        ("conv", 1024, 1),
        ("conv", 512, 1),
        ("linear", 512 * 8 * 8, 1024),
        ("linear", 1024, 10),
    ]
    assert network(torch.zeros(2, 3, 32, 32, device="meta")).shape == (2, 10)


@pytest.mark.parametrize("name", ["mlp", "lenet", "mnistnet", "cifarnet", "vgg11", "vgg16"])
def test_each_hidden_layer_is_normalised_and_rectified(name: str) -> None:
    with torch.device("meta"):
        modules = list(build(name, (3, 16, 16), 10))
    layers = [i for i, module in enumerate(modules) if isinstance(module, nn.Conv2d | nn.Linear)]
    assert layers[-1] == len(modules) - 1
    for index in layers[:-1]:
        assert isinstance(modules[index + 1], nn.BatchNorm1d | nn.BatchNorm2d)
        assert isinstance(modules[index + 2], nn.ReLU)


@pytest.mark.parametrize("shape", [(5,), (1, 28, 28), (3, 7, 4), (1, 1, 1)])
def test_the_mlp_takes_any_shape(shape: tuple[int, ...]) -> None:
    network = mlp(shape, 3)
    assert described(network)[0] == ("linear", math.prod(shape), 256)
    assert network.eval()(torch.zeros(2, *shape)).shape == (2, 3)


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 9, 14), (2, 1, 1)])
def test_lenet_takes_images_of_any_size(shape: tuple[int, ...]) -> None:
    assert lenet(shape, 7).eval()(torch.zeros(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("name", ["lenet", "cifarnet"])
@pytest.mark.parametrize("shape", [(784,), (28, 28)])
def test_convolutional_networks_refuse_what_is_no_image(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConversionError, match=rf"model {name} takes images .*use --model mlp"):
        build(name, shape, 10)


def test_an_unknown_name_lists_the_known_ones() -> None:
    known = "there are mlp, lenet, mnistnet, cifarnet"
    with pytest.raises(ConversionError, match=f'model "resnet" is not known; {known}'):
        build("resnet", (3, 32, 32), 10)


@pytest.mark.parametrize("name", ["mlp", "lenet"])
def test_networks_convert_as_they_are(name: str) -> None:
    model = convert(build(name, (1, 8, 8), 10), input_shape=(1, 8, 8), num_steps=4)
    images = torch.randint(0, 16, (4, 1, 8, 8), dtype=torch.uint8)
    recorded = model.record(images)
    assert len(recorded.counts) == len(model.tandem_layers) - 1
    assert all(counts.any() for counts in recorded.counts.values())
    assert model(images).shape == (4, 10)
