"""Ordinary networks compared with what they are converted to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tandem_hw.conversion.convert import convert
from tandem_hw.learning.model import TandemNetwork

#: Without a ceiling that a small network's activations could reach.
NO_CEILING = 1e4


def random_inputs(shape: tuple[int, ...], samples: int = 6) -> Tensor:
    """Return integers of 4 bits."""
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 16, (samples, *shape), generator=generator).to(torch.uint8)


@torch.no_grad()
def both_outputs(network: nn.Module, model: TandemNetwork) -> tuple[Tensor, Tensor]:
    """Return what a network gives in evaluation, and the ordinary twin of what it became."""
    was_training = network.training
    inputs = random_inputs(model.architecture.input.shape)
    reals = inputs.float() / 15
    if any(parameter.dtype == torch.float64 for parameter in network.parameters()):
        reals = reals.double()
    wanted = network.eval()(reals).flatten(1).float()
    network.train(was_training)
    return wanted, model.eval()(inputs, spiking=0)


def assert_computes_the_same(network: nn.Module, model: TandemNetwork) -> None:
    """Compare a network with the ordinary twin of what it was converted to, to 1e-5."""
    wanted, found = both_outputs(network, model)
    scale = max(float(wanted.abs().max()), 1.0)
    assert float((found - wanted).abs().max()) <= 1e-5 * scale


def converted(network: nn.Module, shape: tuple[int, ...], **options: Any) -> TandemNetwork:
    """Convert a network, and compare it with its own forward pass."""
    settings = {"num_steps": 4, "activation_max": NO_CEILING} | options
    model = convert(network, input_shape=shape, **settings)
    assert_computes_the_same(network, model)
    assert float(both_outputs(network, model)[0].std()) > 1e-3  # they depend on their inputs
    return model
