"""The same integers everywhere: random networks on a device against the reference on the CPU."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, get_args

import click
import numpy as np
import torch
from torch import nn

from benchmarks.equality import different
from benchmarks.networks import CIFAR_SHAPE, CLASSES
from benchmarks.result import device_option, finish, json_option
from tandem_hw.conversion.convert import convert
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.fixed_point import DECAY_UNITY
from tandem_hw.network.quantized import Reset
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import compare
from tandem_hw.zoo.models import build
from tandem_hw.zoo.residual_networks import ResidualBlock

#: The networks of the zoo that are compared after the random ones, at the T that is measured.
_OF_THE_ZOO: Final = {"vgg16": 4, "cifarnet": 8, "resnet20": 4}


@click.command("exactness")
@device_option
@click.option(
    "--random", type=click.IntRange(1), default=20, show_default=True, help="Random networks."
)
@click.option("--samples", type=click.IntRange(2), default=64, show_default=True)
@click.option("--zoo/--no-zoo", default=True, show_default=True, help="The zoo's networks too.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@json_option
def command(
    device: torch.device, random: int, samples: int, zoo: bool, seed: int, json_path: Path | None
) -> None:
    """Compare the reference on the CPU and on the device, and PyTorch's forward pass there.

    The networks saw a few batches of noise in training mode on the device, so that what trains
    there is what is compared.
    """
    drawn = (_random_row(seed + index, samples, device) for index in range(10 * random))
    # A silent network proves nothing; the next one takes its place, unless it differs.
    telling = (row for row in drawn if row["spikes"] or row["different"])
    rows = list(islice(telling, random))
    if len(rows) < random:
        raise click.ClickException(
            f"{10 * random} random networks were drawn, and {len(rows)} fired: "
            f"silence proves nothing"
        )
    for name in _OF_THE_ZOO if zoo else ():
        generator = np.random.default_rng(seed)
        torch.manual_seed(seed)
        model = convert(
            build(name, CIFAR_SHAPE, CLASSES), input_shape=CIFAR_SHAPE, num_steps=_OF_THE_ZOO[name]
        )
        rows.append(_row(name, model, samples, device, generator))
    finish("exactness", rows, json_path, device=device)
    if any(row["different"] for row in rows):
        raise click.ClickException("the results differ")
    if not all(row["spikes"] for row in rows):
        raise click.ClickException("a network was silent, so that its equality proves nothing")


def _random_row(seed: int, samples: int, device: torch.device) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    return _row(f"random {seed}", _random_model(generator), samples, device, generator)


def _row(
    name: str,
    model: TandemNetwork,
    samples: int,
    device: torch.device,
    generator: np.random.Generator,
) -> dict[str, Any]:
    model.to(device)
    largest = model.architecture.input.largest
    shape = (6, samples, *model.sample_shape)
    *noise, inputs = generator.integers(0, largest + 1, shape).astype(np.uint8)
    for batch in noise:
        model(torch.from_numpy(batch).to(device))
    network = freeze(model.eval())
    there = replace(
        ReferenceBackend(str(device)).run(network, inputs), backend=f"reference on {device}"
    )
    recordings = [ReferenceBackend().run(network, inputs), there]
    recordings.append(PyTorchBackend(model).run(network, inputs))
    report = compare(network, recordings, allow_silence=True)
    # At once: a limit may fall before the table.
    click.echo(f"{name}: {different(report)} different")
    return {
        "network": name,
        "T": network.num_steps,
        "reset": network.reset,
        "firing delay": network.firing_delay,
        "layers": len(network.layers),
        "samples": samples,
        "spikes": sum(layer.spikes or 0 for layer in report.layers),
        "different": different(report),
    }


def _random_model(generator: np.random.Generator) -> TandemNetwork:
    """Draw a network of convolutions, perhaps with a residual block, and what it is run with."""
    reset: Reset = generator.choice(get_args(Reset))
    lasting = reset == "zero" and generator.random() < 0.5
    channels, height, width = (int(size) for size in generator.integers((1, 6, 6), (4, 18, 18)))
    shape = (channels, height, width)
    network, num_steps = _random_network(shape, generator), int(generator.integers(1, 17))
    return convert(
        network,
        input_shape=shape,
        num_steps=num_steps,
        reset=reset,
        weight_bits=int(generator.integers(2, 9)),
        input_bits=int(generator.integers(1, 9)),
        activation_max=float(generator.uniform(0.5, 3)),
        current_decay=int(generator.integers(2048, 4096)) if lasting else DECAY_UNITY,
        firing_delay=_firing_delay(num_steps, reset, generator),
    )


def _firing_delay(num_steps: int, reset: Reset, generator: np.random.Generator) -> int:
    """Draw how long layers wait: not at all, all of the window but one step, or in between."""
    if reset != "subtract":
        return 0
    return int(generator.choice([0, num_steps - 1, generator.integers(num_steps)]))


def _random_network(shape: tuple[int, int, int], generator: np.random.Generator) -> nn.Module:
    channels = shape[0]
    modules: list[nn.Module] = []
    for _ in range(int(generator.integers(1, 4))):
        out = int(generator.integers(2, 40))
        kernel, stride = int(generator.integers(1, 6)), int(generator.integers(1, 3))
        modules += [
            nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        ]
        channels = out
    if generator.random() < 0.5:
        out = int(generator.integers(2, 40))
        modules.append(ResidualBlock(channels, out, int(generator.integers(1, 3))))
        channels = out
    with torch.no_grad():
        features = nn.Sequential(*modules, nn.Flatten()).eval()(torch.zeros(1, *shape)).shape[1]
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(features, CLASSES))


COMMANDS = [command]
