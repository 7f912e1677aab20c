"""Samples a second: the reference backend against Lava's CPU simulator, with equal counts."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click
import torch

from benchmarks.networks import MNIST_SHAPE, mnist_lenet
from benchmarks.result import data_option, finish, json_option
from tandem_hw.conversion.convert import convert
from tandem_hw.data.datasets import load_dataset
from tandem_hw.export.freezing import freeze
from tandem_hw.network.inputs import quantize_inputs
from tandem_hw.network.quantized import QuantizedNetwork, Reset
from tandem_hw.sim.backend import Backend
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import compare


@click.command("simulation")
@data_option
@click.option("--samples", default=500, show_default=True, help="Samples on Lava.")
@click.option("--reference-samples", default=10_000, show_default=True)
@json_option
def command(data: str, samples: int, reference_samples: int, json_path: Path | None) -> None:
    """Run MNIST's lenet, T = 7, on every backend; the time includes the start of Lava."""
    images = load_dataset(data, need="test").x_test
    rows = []
    for reset in get_args(Reset):
        network = _network(reset)
        inputs = quantize_inputs(images, network.input.bits, network.input.scale)
        backends: dict[str, tuple[Backend, int]] = {
            "reference": (ReferenceBackend(), reference_samples),
            "lava-cpu": (LavaCpuBackend(), samples),
            "lava-cpu, Lava's own Conv": (LavaCpuBackend(stock_conv=True), samples),
        }
        ReferenceBackend().run(network, inputs[:256])  # warms up
        expected = ReferenceBackend().run(network, inputs[:samples])
        rates = {}
        for name, (backend, number) in backends.items():
            recording = backend.run(network, inputs[:number])
            if number == samples:
                compare(network, [expected, recording]).require_match()
            rates[name] = number / recording.seconds
        stock = rates["lava-cpu, Lava's own Conv"]
        rows += [
            {
                "reset": reset,
                "backend": name,
                "samples a second": rate,
                "times as many as stock Lava": rate / stock,
            }
            for name, rate in rates.items()
        ]
    finish("simulation", rows, json_path, "every spike count and potential is equal")


def _network(reset: Reset) -> QuantizedNetwork:
    """Return an untrained lenet whose batch normalisation has seen some noise: it is active."""
    torch.manual_seed(0)
    model = convert(mnist_lenet(), input_shape=MNIST_SHAPE, num_steps=7, reset=reset)
    for _ in range(20):
        model(torch.randint(0, 16, (64, *MNIST_SHAPE), dtype=torch.uint8))
    return freeze(model.eval())


COMMANDS = [command]
