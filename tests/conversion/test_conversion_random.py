"""Random modules through convert: equal to their own forward pass, or refused by our message."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ConversionError
from tests.helpers.ordinary_networks import NO_CEILING, assert_computes_the_same, both_outputs

CHANNELS, LENGTH = 3, 4
IMAGE = (CHANNELS, LENGTH, LENGTH)


def scale_output(_: nn.Module, __: Any, output: Any) -> Any:
    return output * 0.75


def scale_in_place(_: nn.Module, __: Any, output: Any) -> None:
    output.mul_(1.25)


def look(_: nn.Module, __: Any, output: Any) -> None:
    output.detach().clone()


def shift_input(_: nn.Module, inputs: Any) -> Any:
    return (inputs[0] + 0.125,)


def replace_forward(module: nn.Module) -> None:
    before = module.forward
    module.forward = lambda x: before(x) + 0.5


def old_weight_norm(module: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of PyTorch call it deprecated
        nn.utils.weight_norm(module)


#: What may be done to a layer with weights, most of which convert.
WEIGHTS: tuple[Callable[[Any], Any], ...] = (
    lambda layer: None,
    lambda layer: None,
    parametrizations.weight_norm,
    parametrizations.spectral_norm,
    old_weight_norm,
    nn.utils.spectral_norm,
    lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    lambda layer: nn.init.zeros_(layer.weight),
)
#: What may be done to any module, most of which is refused.
TAMPERING: tuple[Callable[[nn.Module], Any], ...] = (
    lambda module: module.register_forward_hook(look),
    lambda module: module.register_forward_hook(scale_output),
    lambda module: module.register_forward_hook(scale_in_place),
    lambda module: module.register_forward_pre_hook(shift_input),
    lambda module: module.register_full_backward_hook(lambda *_: None),
    lambda module: module.add_module("further", nn.ReLU()),
    replace_forward,
)
RELUS: tuple[Callable[[Tensor], Tensor], ...] = (
    nn.ReLU(),
    nn.ReLU(inplace=True),
    F.relu,
    torch.relu_,
    lambda x: x.relu(),
    lambda x: F.relu(x, inplace=True),
    lambda x: (x.relu_(), x)[1],
    lambda x: torch.relu_(x.view(x.shape)),
    lambda x: (torch.relu_(x.view(x.shape)), x)[1],
)
#: What may stand between two layers; it keeps the shape.
BETWEEN: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x,
    lambda x: x.contiguous().clone(),
    lambda x: F.dropout(x, 0.1, False),
    nn.Dropout2d(0.2),
    nn.Identity(),
    nn.AvgPool2d(3, 1, 1),
    lambda x: F.avg_pool2d(x, kernel_size=3, stride=1, padding=1),
    lambda x: x.unsqueeze(2).squeeze(2),
    lambda x: x.flatten(1).view(len(x), *x.shape[1:]),
    lambda x: x[:, :, :],
    lambda x: sum([x]),
    lambda x: x.transpose(1, 1),
    lambda x: x.detach().float() if x.dtype == torch.float32 else x,
    lambda x: x.mul_(1),
)
#: How a block joins what went through its layers and what did not.
JOINS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda x, y: x,
    lambda x, y: x + y,
    lambda x, y: y + x,
    lambda x, y: x.add_(y),
    lambda x, y: torch.add(x, y, alpha=1),
    lambda x, y: torch.add(x, y, alpha=2),
    lambda x, y: sum((x, y)),
    lambda x, y: y.add_(x),
    lambda x, y: torch.stack([x, y]).sum(0),
)
ENDS: tuple[Callable[[Any, Tensor], Tensor], ...] = (
    lambda net, x: net.head(x.flatten(1)),
    lambda net, x: net.head(torch.flatten(x, 1)),
    lambda net, x: net.head(x.reshape(x.size(0), -1)),
    lambda net, x: net.head(nn.Flatten()(x)),
    lambda net, x: net.small(x.mean((2, 3))),
    lambda net, x: net.small(F.adaptive_avg_pool2d(x, 1).squeeze()),
    lambda net, x: net.small(F.avg_pool2d(x, x.size()[2:])[:, :, 0, 0]),
    lambda net, x: net.small(x.amax((2, 3))),
)


class Block(nn.Module):
    """Some layers and a way around them."""

    def __init__(self, draw: Any, shared: list[nn.Module]) -> None:
        super().__init__()
        some = st.integers(0, 99)
        conv: nn.Module = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=draw(st.booleans()))
        if shared and draw(some) < 6:
            conv = draw(st.sampled_from(shared))
        else:
            draw(st.sampled_from(WEIGHTS))(conv)
        shared.append(conv)
        self.conv = conv
        self.norm: nn.Module = nn.BatchNorm2d(CHANNELS) if draw(st.booleans()) else nn.Identity()
        self.last = nn.Conv2d(CHANNELS, CHANNELS, 1) if draw(st.booleans()) else None
        self.relus = [draw(st.sampled_from(RELUS)) for _ in range(2)]
        self.between = draw(st.sampled_from(BETWEEN)) if draw(some) < 60 else BETWEEN[0]
        self.join = draw(st.sampled_from(JOINS)) if draw(some) < 70 else JOINS[0]
        around = self.join is not JOINS[0] and draw(some) < 40
        self.around = nn.Conv2d(CHANNELS, CHANNELS, 1) if around else nn.Identity()
        self.takes_sum = draw(some) < 15
        if draw(some) < 15:
            modules = [module for module in self.modules() if module is not self.conv]
            draw(st.sampled_from(TAMPERING))(draw(st.sampled_from(modules)))

    def forward(self, x: Tensor) -> Tensor:
        start = x
        x = self.norm(self.conv(x))
        if self.takes_sum:
            start = x
        if self.last is not None:
            x = self.last(self.relus[0](x))
        x = self.join(x, self.around(start))
        return self.between(self.relus[1](x))


class Network(nn.Module):
    def __init__(self, draw: Any) -> None:
        super().__init__()
        torch.manual_seed(draw(st.integers(0, 2**16)))
        shared: list[nn.Module] = []
        self.stem = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU())
        self.blocks = nn.Sequential(*[Block(draw, shared) for _ in range(draw(st.integers(1, 3)))])
        self.end = draw(st.sampled_from(ENDS))
        self.head = nn.Linear(CHANNELS * LENGTH**2, 4)
        self.small = nn.Linear(CHANNELS, 4)
        if draw(st.integers(0, 9)) == 0:
            draw(st.sampled_from(TAMPERING))(
                draw(st.sampled_from([self, self.stem, self.blocks, self.head, self.stem[0]]))
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self, self.blocks(self.stem(x)))


networks = st.composite(lambda draw: Network(draw))


def run(examples: int, start: int) -> Counter[str]:
    """Put random networks through convert and return what became of them."""
    outcomes: Counter[str] = Counter()

    @seed(start)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(networks())
    def one(network: Network) -> None:
        if start % 2:  # statistics and stale weights of a training that went on
            with torch.no_grad():
                network(torch.rand(4, *IMAGE))
                network.eval()(torch.rand(4, *IMAGE))
                for parameter in network.parameters():
                    parameter.add_(torch.randn_like(parameter) / 8)
        modes = [module.training for module in network.modules()]
        try:
            model = convert(network, input_shape=IMAGE, num_steps=4, activation_max=NO_CEILING)
        except ConversionError as error:
            outcomes["refused"] += 1
            outcomes[str(error).partition("\n")[0][:200]] += 0
            return
        assert [module.training for module in network.modules()] == modes
        assert_computes_the_same(network, model)
        outcomes["alive"] += float(both_outputs(network, model)[0].std()) > 1e-4
        outcomes["converted"] += 1

    one()
    return outcomes


@pytest.mark.parametrize("start", [0, 1])
def test_random_modules_are_converted_exactly_or_refused(start: int) -> None:
    outcomes = run(20, start)
    assert outcomes["refused"]
    assert outcomes["alive"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("start", [2, 3])
def test_200_random_modules_are_converted_exactly_or_refused(start: int) -> None:
    outcomes = run(200, start)
    assert outcomes["refused"] > 30
    assert outcomes["alive"] > 30
    assert len(outcomes) > 12  # different reasons
