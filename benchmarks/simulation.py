"""Samples a second: the reference backend against Lava's CPU simulator and other libraries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, get_args

import click
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from benchmarks.networks import MNIST_STEPS, active_lenet, mnist_lenet
from benchmarks.peers.catalogue import at_hand, why_left_out
from benchmarks.result import data_option, device_option, finish, json_option, timings
from tandem_hw.data.datasets import load_dataset
from tandem_hw.export.freezing import freeze
from tandem_hw.network.inputs import quantize_inputs
from tandem_hw.network.quantized import QuantizedNetwork, Reset
from tandem_hw.sim.c.backend import CBackend
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import compare

_REFERENCE: Final = "reference"
_STOCK: Final = "lava-cpu, Lava's own Conv"
#: A row of the table: the reset, or a dash for what has none of ours, and the name.
_Row = tuple[str, str]


@click.command("simulation")
@data_option
@device_option
@click.option("--samples", type=click.IntRange(1), default=500, show_default=True, help="On Lava.")
@click.option(
    "--reference-samples", type=click.IntRange(1), default=10_000, show_default=True,
    help="On all else.",
)  # fmt: skip
@click.option("--peers", is_flag=True, help="snnTorch, SpikingJelly and SLAYER as well.")
@click.option(
    "--batch", type=click.IntRange(1), default=256, show_default=True, help="Of the peers."
)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@json_option
def command(
    data: str,
    device: torch.device,
    samples: int,
    reference_samples: int,
    peers: bool,
    batch: int,
    repeats: int,
    json_path: Path | None,
) -> None:
    """Run MNIST's lenet, T = 7, on every backend; the time includes the start of Lava.

    The reference, the compiled network and the peers take turns, and the medians count.
    """
    images = load_dataset(data, need="test").x_test[:reference_samples]
    why_no_lava = LavaCpuBackend().why_unavailable()
    why_no_compiler = CBackend().why_unavailable()
    left_out = [reason for reason in (why_no_lava, why_no_compiler) if reason]
    calls: dict[_Row, Callable[[], Any]] = {}
    rates: dict[_Row, float] = {}
    for reset in get_args(Reset):
        network = freeze(active_lenet(reset))
        inputs = quantize_inputs(images, network.input.bits, network.input.scale)
        calls[reset, _REFERENCE] = partial(ReferenceBackend(str(device)).run, network, inputs)
        if not why_no_compiler:
            _require_equal(network, inputs[:samples])
            calls[reset, CBackend.name] = partial(CBackend().run, network, inputs)
        if not why_no_lava:
            rates |= _rates_on_lava(network, inputs[:samples])
    if peers:
        found, missing = _calls_of_peers(images, batch, device)
        calls |= found
        left_out += missing
    timed = timings(calls, repeats, warm_up=1, device=device)
    rates |= {row: len(images) / timing.median for row, timing in timed.items()}
    note = None if why_no_lava else "every spike count and potential is equal"
    finish("simulation", _shown(rates), json_path, note, device=device, left_out=left_out)


def _require_equal(network: QuantizedNetwork, inputs: npt.NDArray[np.uint8]) -> None:
    """Compare the compiled network, which is compiled here, with the reference."""
    recordings = [backend.run(network, inputs) for backend in (ReferenceBackend(), CBackend())]
    compare(network, recordings).require_match()


def _rates_on_lava(network: QuantizedNetwork, inputs: npt.NDArray[np.uint8]) -> dict[_Row, float]:
    """Return samples a second of both of Lava's models of ``Conv``, once they gave equal counts."""
    backends = {"lava-cpu": LavaCpuBackend(), _STOCK: LavaCpuBackend(stock_conv=True)}
    expected = ReferenceBackend().run(network, inputs)
    rates: dict[_Row, float] = {}
    for name, backend in backends.items():
        recording = backend.run(network, inputs)
        compare(network, [expected, recording]).require_match()
        rates[network.reset, name] = len(inputs) / recording.seconds
    return rates


def _calls_of_peers(
    images: npt.NDArray[np.number[Any]], batch: int, device: torch.device
) -> tuple[dict[_Row, Callable[[], Any]], list[str]]:
    """Return what runs all images through the ReLU net and each peer, and who cannot, and why."""
    batches = torch.from_numpy(images.astype(np.float32)).to(device).split(batch)
    peers, left_out = at_hand()
    calls: dict[_Row, Callable[[], Any]] = {}
    for name in ("ReLU net", *peers):
        torch.manual_seed(0)
        network: nn.Module = mnist_lenet().to(device)
        try:
            if name in peers:
                network = peers[name].build(network, MNIST_STEPS, device)
            call = partial(_classify, network.eval(), batches)
            _classify(network, batches[:1])
        except Exception as error:
            if name not in peers:
                raise
            left_out.append(f"{name}: {why_left_out(error)}")
            continue
        calls["-", name] = call
    return calls, left_out


@torch.no_grad()
def _classify(network: nn.Module, batches: Sequence[Tensor]) -> None:
    for batch in batches:
        network(batch).argmax(1).cpu()


def _shown(rates: Mapping[_Row, float]) -> list[dict[str, Any]]:
    order = [*get_args(Reset), "-"]
    return [
        {
            "reset": reset,
            "backend": name,
            "samples a second": rate,
            "times stock Lava": rate / rates[reset, _STOCK] if (reset, _STOCK) in rates else None,
            "times the reference": rate / rates["subtract", _REFERENCE],
        }
        for (reset, name), rate in sorted(rates.items(), key=lambda item: order.index(item[0][0]))
    ]


COMMANDS = [command]
