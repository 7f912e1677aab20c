"""Batch normalisation behind a ReLU: folded into the next layer, exactly, or refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ConversionError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.user_warnings import ConversionWarning
from tests.helpers.clip_floor import clip_floor
from tests.helpers.ordinary_networks import assert_computes_the_same, random_inputs
from tests.helpers.present import present

SHAPE = (2, 8, 8)


class Small(nn.Module):
    """A convolution with its ReLU, and a function of it with all that it may need."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], features: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm, self.other = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.wide = nn.BatchNorm1d(144)
        self.plain = nn.Conv2d(4, 6, 3, bias=False)
        self.grouped = nn.Conv2d(4, 6, 3, stride=2, groups=2)
        self.padded = nn.Conv2d(4, 6, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 6, 2, 2)
        self.inner = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.3)
        self.hidden, self.features = nn.Linear(144, 9), nn.BatchNorm1d(9)
        self.last = nn.Linear(features, 3)
        self.function = function
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    module.running_mean.normal_()  # type: ignore[union-attr]
                    module.running_var.uniform_(0.2, 2)  # type: ignore[union-attr]
                    module.weight.uniform_(0.5, 2)
                    module.bias.normal_()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.function(self, torch.relu(self.conv(x))).flatten(1))
        return out


FOLDED: dict[str, tuple[Callable[[Any, Tensor], Tensor], int]] = {
    "a linear layer": (lambda m, x: m.norm(x), 144),
    "a convolution": (lambda m, x: torch.relu(m.plain(m.norm(x))), 96),
    "groups": (lambda m, x: torch.relu(m.grouped(m.norm(x))), 24),
    "a normalised one": (lambda m, x: torch.relu(m.inner(m.plain(m.norm(x)))), 96),
    "a ceiling": (lambda m, x: F.relu6(m.plain(m.norm(x))), 96),
    "an average": (lambda m, x: torch.relu(m.plain(F.avg_pool2d(m.norm(x), 2))), 6),
    "an average that is folded": (lambda m, x: F.avg_pool2d(m.norm(x), 3), 16),
    "a global average": (lambda m, x: m.norm(x).mean((2, 3)), 4),
    "an adaptive average": (lambda m, x: F.adaptive_avg_pool2d(m.norm(x), 4), 64),
    "behind an average": (lambda m, x: m.norm(F.avg_pool2d(x, 2)), 36),
    "a maximum": (lambda m, x: torch.relu(m.plain(F.max_pool2d(m.norm(x), 2))), 6),
    "behind a maximum": (lambda m, x: torch.relu(m.plain(m.norm(F.max_pool2d(x, 2)))), 6),
    "a dropout": (lambda m, x: m.drop(m.norm(x)), 144),
    "features": (lambda m, x: m.features(torch.relu(m.hidden(x.flatten(1)))), 9),
    "one that is not affine": (lambda m, x: m.other(x), 144),
}  # fmt: skip


def network_of(case: str) -> nn.Module:
    torch.manual_seed(2)
    network = Small(*FOLDED[case])
    if case == "one that is not affine":
        network.other = nn.BatchNorm2d(4, affine=False)
    return network.eval()


def quietly_converted(network: nn.Module, **options: Any) -> TandemNetwork:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        return convert(network, input_shape=SHAPE, **({"num_steps": 4} | options))


@pytest.mark.parametrize("case", FOLDED)
def test_it_is_folded_into_the_layer_behind_it(case: str) -> None:
    network = network_of(case)
    phased: dict[str, Any] = {"firing_delay": "phased"}
    model = quietly_converted(network, activation_max=1e4, **phased)
    assert_computes_the_same(network, model)
    samples = random_inputs(SHAPE)
    quantized = freeze(quietly_converted(network, samples=samples, **phased))
    recording = ReferenceBackend().run(quantized, samples.numpy())
    clipped = clip_floor(quantized, samples.numpy())
    assert all(counts.any() for counts in recording.counts.values())
    for name, counts in recording.counts.items():
        assert clipped[name].tolist() == counts.tolist()
    assert clipped[quantized.layers[-1].name].flatten(1).tolist() == recording.output.tolist()


def test_it_is_said_that_a_training_goes_on_without_it() -> None:
    network = network_of("a convolution")
    message = (
        r"layer norm \(BatchNorm2d\) follows no layer with weights, so it is folded once, with"
    )
    with pytest.warns(ConversionWarning, match=message):
        model = convert(network, input_shape=SHAPE, num_steps=4)
    assert [layer.norm for layer in model.tandem_layers] == [None] * 3
    samples = random_inputs(SHAPE)
    model(samples).square().sum().backward()
    weight = model.tandem_layers[1].weight
    assert weight is not None
    assert weight.grad is not None
    assert weight.grad.any()
    assert model.tandem_layers[1].bias is not None
    recording = PyTorchBackend(model).run(freeze(quietly_converted(network)), samples.numpy())
    assert recording.counts["conv2"].any()


def test_it_may_stand_before_the_first_layer() -> None:
    network = nn.Sequential(
        nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    )
    torch.manual_seed(2)
    with torch.no_grad():
        network[0].running_mean.normal_()  # type: ignore[union-attr, operator]
        network[0].weight.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    assert_computes_the_same(network, quietly_converted(network.eval(), activation_max=1e4))


def test_without_a_shift_padding_is_in_nobodys_way() -> None:
    torch.manual_seed(2)
    network = Small(lambda m, x: torch.relu(m.up(m.other(torch.relu(m.padded(m.norm(x)))))), 864)
    network.other = nn.BatchNorm2d(6)
    network.up = nn.ConvTranspose2d(6, 6, 2, 2)
    with torch.no_grad():
        for norm in (network.norm, network.other):
            norm.running_mean.zero_()  # type: ignore[union-attr]
            norm.bias.zero_()
    with pytest.raises(ConversionError, match="would be missing at the border"):
        quietly_converted(network)  # what is zero may become something else in a training
    model = quietly_converted(network, check=False, activation_max=1e4)
    assert_computes_the_same(network.eval(), model)


REFUSED: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "padding": (
        lambda m, x: torch.relu(m.padded(m.norm(x))),
        r"layer norm \(BatchNorm2d\) follows no layer with weights, so it is folded into layer pad"
        r"ded, where its shift would be missing at the border, since padding stays 0; put the nor",
    ),
    "a transposed convolution": (
        lambda m, x: torch.relu(m.up(m.norm(x))),
        "is folded into layer up, where its shift would be missing at the border",
    ),
    "a pooling with padding": (
        lambda m, x: F.avg_pool2d(m.norm(x), 3, 1, 1),
        "follows no layer with weights, so it is folded into the one that comes next; nothing but",
    ),
    "a ReLU": (lambda m, x: torch.relu(m.norm(x)), "nothing but pooling, dropout and Flatten may"),
    "another": (lambda m, x: m.other(m.norm(x)), "nothing but pooling, dropout and Flatten may be"),
    "an addition": (
        lambda m, x: torch.relu(m.norm(x) + x),
        r"layer norm \(BatchNorm2d\) follows no layer with weights, so it is folded into the one",
    ),
    "what is joined": (
        lambda m, x: torch.cat([m.norm(x), x], 1),
        r"layer norm \(BatchNorm2d\) follows no layer with weights, so it is folded into the one",
    ),
    "features of several channels": (
        lambda m, x: m.wide(x.flatten(1)),
        r"layer wide \(BatchNorm1d\) normalises 144 features apart, but what it takes has 4 chan",
    ),
    "not used": (
        lambda m, x: (m.norm(x), x)[1],
        r"the result of layer norm \(BatchNorm2d\) is not used; leave it out",
    ),
    "twice": (
        lambda m, x: (
            torch.relu(m.grouped(m.norm(x))).flatten(1).mean() + torch.relu(m.plain(m.norm(x)))
        ),
        "shares its weights with layer norm, or is used twice",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_exact_is_refused(case: str) -> None:
    function, message = REFUSED[case]
    torch.manual_seed(2)
    features = 1
    with torch.no_grad():
        network = Small(function, features).eval()
        features = function(network, torch.zeros(2, 4, 6, 6)).flatten(1).shape[1]
    with pytest.raises(ConversionError, match=message):
        quietly_converted(Small(function, features))


def test_a_maximum_behind_negative_weights_is_refused() -> None:
    network = network_of("a maximum")
    with torch.no_grad():
        network.norm.weight[2] = -1  # type: ignore[union-attr, index, operator]
    message = r"max_pool2d is a max pooling behind layer norm \(BatchNorm2d\), whose negative wei"
    with pytest.raises(ConversionError, match=message):
        quietly_converted(network, firing_delay="phased")


def test_a_bias_that_cancels_is_no_difference() -> None:
    # The folded bias is small beside what it was computed from, and so is every sum on dark inputs.
    network = network_of("a convolution")
    with torch.no_grad():
        norm: Any = network.norm
        norm.bias.fill_(1e4)
        norm.running_mean.zero_()
        plain: Any = network.plain
        plain.weight -= plain.weight.mean((1, 2, 3), keepdim=True)
    model = quietly_converted(network)
    bias = present(model.tandem_layers[1].bias).detach()
    assert float(bias.abs().max()) < 0.1
