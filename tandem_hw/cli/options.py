"""Options and steps that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from tandem_hw.atomic_write import atomic_path, require_writable
from tandem_hw.errors import BackendUnavailableError, DataError, FileFormatError
from tandem_hw.input_encoding import quantize_inputs
from tandem_hw.learning.datasets import load_dataset
from tandem_hw.network import QuantizedNetwork
from tandem_hw.sim.backend import Backend
from tandem_hw.sim.lava_cpu import LavaCpuBackend, LavaStockBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.registry import make_backend

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

data_option = click.option(
    "--data",
    default="digits",
    show_default=True,
    help="Data set: digits, npz:PATH, mnist, fashion-mnist or cifar10; its test part is used.",
)
samples_option = click.option(
    "--samples", type=click.IntRange(min=1), help="Use the first so many samples (default: all)."
)
json_option = click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Write the results as JSON."
)
device_option = click.option(
    "--device", default="cpu", show_default=True, help="Where PyTorch computes: cpu, cuda, cuda:1."
)
network_argument = click.argument("network_path", metavar="NET", type=click.Path(path_type=Path))


def lava_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the lava-cpu backend."""
    options: tuple[Decorator, ...] = (
        click.option(
            "--stall-timeout",
            type=click.FloatRange(min=1),
            default=20.0,
            show_default=True,
            help="Lava: seconds without a finished step that count as a hang.",
        ),
        click.option(
            "--period",
            type=click.IntRange(min=1),
            help="Lava: steps from one sample to the next (default: the shortest legal).",
        ),
        click.option("--stock-conv", is_flag=True, help="Lava: use Lava's own slow Conv model."),
    )
    for option in options:
        command = option(command)
    return command


def backend_from_options(name: str, options: dict[str, Any], device: str) -> Backend:
    """Make a backend with the options that it knows."""
    if name in (LavaCpuBackend.name, LavaStockBackend.name):
        return make_backend(name, **options)
    if name == ReferenceBackend.name:
        check_device(device)
        return make_backend(name, device=device)
    return make_backend(name)


def check_device(device: str) -> None:
    """Refuse a device that PyTorch does not know or does not have.

    Raises:
        BackendUnavailableError: names the device and what there is.
    """
    import torch

    try:
        torch.zeros(1, device=device).cpu()  # the copy refuses a device without memory (meta)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise BackendUnavailableError(
            f"device {device} cannot be used ({reason}); use --device cpu"
        ) from error


def check_outputs(*outputs: Path | None, inputs: Sequence[Path | None] = ()) -> None:
    """Refuse output files that could not be written at the end; call it before any work.

    Args:
        outputs: what will be written; None for an option that was not given.
        inputs: files that are read and must survive.

    Raises:
        FileFormatError: a path cannot be written to, is given twice, or is an input.
    """
    taken = {path.resolve() for path in inputs if path is not None}
    for path in outputs:
        if path is None:
            continue
        require_writable(path)
        if path.resolve() in taken:
            raise FileFormatError(f"{path}: is given twice; give every output a file of its own")
        taken.add(path.resolve())


def load_samples(
    network: QuantizedNetwork, spec: str, samples: int | None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Load the test part of a data set as the integers that a network takes.

    Raises:
        DataError: the data cannot be read or do not fit the network.
    """
    dataset = load_dataset(spec, need="test")
    if tuple(dataset.shape) != network.input.shape:
        raise DataError(
            f"{spec}: samples have shape {tuple(dataset.shape)}; the network takes "
            f"{network.input.shape}"
        )
    if samples is not None and samples > len(dataset.y_test):
        raise DataError(
            f"{spec}: has {len(dataset.y_test)} test samples, {samples} were asked for; give fewer"
        )
    images, labels = dataset.x_test[:samples], dataset.y_test[:samples]
    return quantize_inputs(images, network.input.bits, network.input.scale), labels


def write_json(content: dict[str, Any], path: Path | None) -> None:
    """Write plain data as JSON, whole or not at all; nothing without a path."""
    if path is not None:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
