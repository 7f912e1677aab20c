"""The chip budget's estimate beside the cores that the Loihi 2 compiler took."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import click
import numpy as np

from benchmarks.result import finish, json_option
from tandem_hw.chip.budget import chips_for
from tandem_hw.chip.partition import LayerBudget, input_budget, layer_budget
from tandem_hw.conformance.layers import conv2d_layer, dense_layer
from tandem_hw.network.quantized import Layer, Shape

#: The bound on the error that the documentation promises.
ALLOWED_ERROR = 0.30
#: A convolution: output channels, kernel, stride (y, x), padding (y, x).
Convolution = tuple[int, int, tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Published:
    """A network whose cores the compiler printed.

    Attributes:
        name: what its authors call it.
        cores: printed total.
        source: folder in lava-dl's ``tutorials/lava/lib/dl/netx`` whose notebook shows the table.
        input_shape: (C, H, W) or (N,).
        convolutions: in order.
        dense: sizes of the dense layers behind them.
        input_neurons: whether neurons on the chip hold the input.
        bounded: whether the promised bound is for this network.
    """

    name: str
    cores: int
    source: str
    input_shape: Shape
    convolutions: tuple[Convolution, ...] = ()
    dense: tuple[int, ...] = ()
    input_neurons: bool = False
    bounded: bool = True

    def budgets(self) -> list[LayerBudget]:
        """Estimate every layer; weights do not matter, only shapes do."""
        budgets = [input_budget(self.input_shape)] if self.input_neurons else []
        return budgets + [layer_budget(layer) for layer in self.layers()]

    def layers(self) -> list[Layer]:
        """Return the layers with weights of zero."""
        layers: list[Layer] = []
        shape = self.input_shape
        for index, (channels, kernel, stride, padding) in enumerate(self.convolutions):
            weight = np.zeros((channels, shape[0], kernel, kernel), np.int16)
            bias = np.zeros(channels, np.int32)
            geometry = {"stride": stride, "padding": padding}
            layers.append(conv2d_layer(f"conv{index}", weight, 8, bias, 64, shape, **geometry))
            shape = layers[-1].output_shape
        sizes = (int(np.prod(shape)), *self.dense)
        for index, (inputs, outputs) in enumerate(pairwise(sizes)):
            weight, bias = np.zeros((outputs, inputs), np.int16), np.zeros(outputs, np.int32)
            layers.append(dense_layer(f"dense{index}", weight, 8, bias, 64, (inputs,)))
        return layers


_PILOTNET: tuple[Convolution, ...] = (
    (24, 3, (2, 2), (0, 0)),
    (36, 3, (2, 2), (0, 0)),
    (48, 3, (2, 2), (0, 0)),
    (64, 3, (2, 1), (1, 0)),
    (64, 3, (1, 1), (0, 0)),
)
_DOWN, _SAME = ((2, 2), (1, 1)), ((1, 1), (1, 1))
_POINTWISE = ((1, 1), (0, 0))

NETWORKS = (
    Published("MNIST 784-128-64-10", 5, "mnist", (784,), dense=(128, 64, 10)),
    Published("Oxford 200-256-200", 5, "oxford", (200,), dense=(256, 200)),
    Published(
        "PilotNet-LIF",
        74,
        "pilotnet_snn",
        (3, 66, 200),
        _PILOTNET,
        (100, 50, 10, 1),
        input_neurons=True,
    ),
    Published(
        "PilotNet-SDNN",
        61,
        "pilotnet_sdnn",
        (3, 66, 200),
        _PILOTNET,
        (100, 50, 10, 1),
        bounded=False,
    ),
    Published(
        "YOLO-KP",
        574,
        "yolo_kp",
        (3, 448, 448),
        (
            (16, 3, *_DOWN),
            (32, 3, *_DOWN),
            (64, 3, *_DOWN),
            (128, 3, *_DOWN),
            (256, 3, *_SAME),
            (256, 3, *_DOWN),
            (512, 3, *_SAME),
            (256, 1, *_POINTWISE),
            (512, 3, *_SAME),
            (48, 1, *_POINTWISE),
        ),
        bounded=False,
    ),
)


@click.command("chip-budget")
@json_option
def command(json_path: Path | None) -> None:
    """Estimate the cores of networks that have run on Loihi 2; status 1 beyond the bound."""
    rows = []
    for network in NETWORKS:
        cores = sum(layer.total_cores for layer in network.budgets())
        rows.append(
            {
                "network": network.name,
                "published cores": network.cores,
                "estimate": cores,
                "error": f"{cores / network.cores - 1:+.1%}",
                "chips": chips_for(cores),
                "layers": "+".join(str(layer.total_cores) for layer in network.budgets()),
                "source": network.source,
            }
        )
        if network.bounded and abs(cores / network.cores - 1) > ALLOWED_ERROR:
            raise click.ClickException(f"{network.name}: {cores} cores, published {network.cores}")
    finish("chip-budget", rows, json_path)


COMMANDS = [command]
