"""A network whose states leave 24 bits where nothing keeps them in."""

from __future__ import annotations

import torch

from tandem_hw.learning.architecture import Architecture, LayerSpec
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.network.input_spec import InputSpec


def wide_model(reset: str = "subtract", firing_delay: int = 0) -> TandemNetwork:
    """Return a network with a dropout whose states leave 24 bits where nothing keeps them in."""
    architecture = Architecture(
        InputSpec((40, 1, 1), bits=8, scale=1 / 255, encoding="constant"),
        SpikingOptions(
            4,
            reset,  # type: ignore[arg-type]
            activation_max=2.0,
            firing_delay=firing_delay,
        ),
        (
            LayerSpec("conv", 30),
            LayerSpec("dropout", p=0.5, source=0),
            LayerSpec("linear", 20, norm=True, source=1),
            LayerSpec("linear", 5, source=2),
        ),
        "potential",
    )
    torch.manual_seed(0)
    model = TandemNetwork(architecture)
    with torch.no_grad():
        for layer in model.tandem_layers:
            assert layer.weight is not None
            layer.weight.abs_()
    return model
