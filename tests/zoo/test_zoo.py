from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ConversionError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.synapses.convolutions import ConvTranspose2d
from tandem_hw.network.synapses.dense import OneToOne
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import verify
from tandem_hw.zoo.catalogue import MODELS
from tandem_hw.zoo.models import build, cifarnet, lenet, mlp
from tests.helpers.present import present

#: What takes something else than images.
OF_OTHERS = ("mlp", "signalnet")
AUTOENCODERS = ("autoencoder", "compressor")
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


@pytest.mark.parametrize(
    "name", ["mlp", "lenet", "mnistnet", "widemnistnet", "cifarnet", "eventnet", "vgg11", "vgg16"]
)
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


@pytest.mark.parametrize("name", [name for name in MODELS if name not in OF_OTHERS])
@pytest.mark.parametrize("shape", [(784,), (28, 28)])
def test_convolutional_networks_refuse_what_is_no_image(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConversionError, match=rf"model {name} takes images .*use --model mlp"):
        build(name, shape, 10)


@pytest.mark.parametrize("shape", [(3, 40), (1, 7), (2, 1)])
def test_signalnet_takes_signals_of_any_length(shape: tuple[int, ...]) -> None:
    assert build("signalnet", shape, 4).eval()(torch.zeros(2, *shape)).shape == (2, 4)


@pytest.mark.parametrize("shape", [(3, 8, 8), (9,)])
def test_signalnet_refuses_what_is_no_signal(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConversionError, match=r"takes signals \(channels, length\)"):
        build("signalnet", shape, 4)


def test_an_unknown_name_lists_the_known_ones() -> None:
    known = "there are mlp, lenet, mnistnet, widemnistnet, cifarnet"
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


def trained_a_step(
    name: str, shape: tuple[int, ...], outputs: int
) -> tuple[TandemNetwork, torch.Tensor]:
    """Return a network that took one step, and inputs that its running statistics know."""
    torch.manual_seed(0)
    network = build(name, shape, outputs)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    model = convert(
        network, input_shape=shape, num_steps=3, activation_max=0.5, initial_potential=0.5
    )
    images = torch.randint(0, 16, (4, *shape), dtype=torch.uint8)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    loss = (model(images) - 1).square().mean()
    loss.backward()
    assert loss.isfinite()
    for layer in model.tandem_layers:
        if layer.weight is not None:
            assert present(layer.weight.grad).any(), layer.name
    optimizer.step()
    with torch.no_grad():
        model(images)
    return model.eval(), images


@pytest.mark.parametrize("name", MODELS)
def test_each_network_trains_and_is_the_same_on_the_reference(name: str) -> None:
    # cifarnet has more weights than the others
    shape = {"cifarnet": (2, 4, 4), "signalnet": (3, 21)}.get(name, (3, 8, 8))
    model, images = trained_a_step(name, shape, 10)
    network = freeze(model)
    assert network.outputs == (math.prod(shape) if name in AUTOENCODERS else 10)
    backends = [ReferenceBackend(), PyTorchBackend(model)]
    verify(network, images.numpy(), None, backends).require_match()


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *(("autoencoder", shape) for shape in ((1, 1, 1), (1, 2, 3))),  # too small to compress
        *((name, shape) for name in AUTOENCODERS for shape in ((1, 8, 8), (3, 7, 6), (2, 5, 9))),
    ],
)
def test_an_autoencoder_puts_out_images_of_the_shape_of_its_inputs(
    name: str, shape: tuple[int, ...]
) -> None:
    assert build(name, shape, 0).eval()(torch.zeros(2, *shape)).shape == (2, *shape)
    model, images = trained_a_step(name, shape, 0)
    network = freeze(model)
    assert isinstance(network.layers[-1].synapses[0], ConvTranspose2d)
    assert network.layers[-1].output_shape == shape
    assert model(images).shape == (4, math.prod(shape))


def convolutions(name: str) -> list[tuple[int, int]]:
    with torch.device("meta"):
        network = build(name, (3, 32, 32), 10)
    assert network(torch.zeros(2, 3, 32, 32, device="meta")).shape == (2, 10)
    modules = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert all(module.bias is None for module in modules)
    return [(module.out_channels, module.stride[0]) for module in modules]


def test_vgg_has_the_papers_channels_and_halves_the_image_five_times() -> None:
    assert convolutions("vgg11") == [
        (64, 2), (128, 2), (256, 1), (256, 2), (512, 1), (512, 2), (512, 1), (512, 2),
    ]  # fmt: skip
    assert convolutions("vgg16") == [
        *[(64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 1), (256, 2)],
        *[(512, 1), (512, 1), (512, 2)] * 2,
    ]


@pytest.mark.parametrize(
    ("name", "widths", "blocks", "identities"),
    [("resnet20", (16, 32, 64), 3, 7), ("resnet18", (64, 128, 256, 512), 2, 5)],
)
def test_residual_networks_have_the_papers_blocks(
    name: str, widths: tuple[int, ...], blocks: int, identities: int
) -> None:
    wanted = [(widths[0], 1)]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            shrinks = stage > 0 and block == 0
            wanted += [(width, 2 if shrinks else 1), (width, 1)]
            wanted += [(width, 2)] if shrinks else []  # the shortcut
    assert convolutions(name) == wanted
    model = convert(build(name, (3, 8, 8), 10), input_shape=(3, 8, 8), num_steps=2)
    skips = [skip for layer in model.tandem_layers for skip in layer.skips]
    assert len(skips) == len(widths) * blocks
    assert sum(skip.real_weight is None for skip in skips) == identities


def test_the_skips_of_a_residual_network_are_exported() -> None:
    model, _ = trained_a_step("resnet20", (1, 8, 8), 4)
    skips = [skip for layer in freeze(model).layers for skip in layer.synapses[1:]]
    assert [isinstance(skip, OneToOne) for skip in skips] == [
        *[True] * 3, False, True, True, False, True, True,
    ]  # fmt: skip


def test_a_network_that_samples_make_too_large_is_refused_before_it_is_made() -> None:
    with pytest.raises(ConversionError, match=r"mlp would have 25600067588 parameters on samples"):
        build("mlp", (100_000_000,), 4)
