"""Options and steps that several commands share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import torch

from tandem_hw.atomic_write import atomic_path, require_writable
from tandem_hw.data.catalogue import KNOWN_SPECS, data_source
from tandem_hw.data.dataset import Dataset
from tandem_hw.data.datasets import load_dataset
from tandem_hw.errors import BackendUnavailableError, DataError, FileFormatError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.sim.backend import Backend
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend, LavaStockBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.registry import make_backend
from tandem_hw.training.objectives import Objective, as_tensor, fitting_objective, real_values

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

data_option = click.option(
    "--data",
    default="digits",
    show_default=True,
    help=f"Data set: {', '.join(KNOWN_SPECS)}; its test part is used.",
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
    try:
        torch.zeros(1, device=device).cpu()  # the copy refuses a device without memory (meta)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise BackendUnavailableError(
            f"device {device} cannot be used ({reason}); use --device cpu"
        ) from error


def check_outputs(
    *outputs: Path | None, inputs: Sequence[Path | None] = (), data: str | None = None
) -> None:
    """Refuse outputs that cannot be written, or would take the place of what is read.

    Every command calls this before any work. Files are compared, not names: a hard link or a
    symbolic link to an input is that input.

    Args:
        outputs: what will be written; None for an option that was not given.
        inputs: files that are read and must survive.
        data: the data set that is read, as ``load_dataset`` takes it.

    Raises:
        FileFormatError: a path cannot be written to, is given twice, or is an input.
    """
    source = None if data is None else data_source(data)
    read = [path for path in (*inputs, source) if path is not None]
    written: list[Path] = []
    for path in filter(None, outputs):
        require_writable(path)
        for other in read:
            if _is_part(path, other):
                raise FileFormatError(
                    f"{path}: would be written over {other}, which is read; give the output a file "
                    f"of its own"
                )
        if any(_is_same(path, other) for other in written):
            raise FileFormatError(f"{path}: is given twice; give every output a file of its own")
        written.append(path)


def _is_part(path: Path, read: Path) -> bool:
    """Whether a path is a file that is read, or a file that is there in a folder that is read."""
    above = Path(os.path.realpath(path)).parents if os.path.exists(path) else ()
    return any(_is_same(part, read) for part in (path, *above))


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths are one file, or would be if they were written."""
    one, other = (Path(os.path.realpath(path)) for path in (one, other))
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    if os.path.exists(one) or os.path.exists(other):
        return False
    return one.name == other.name and _is_same(one.parent, other.parent)


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples as a network takes them, and what its outputs are judged by.

    Attributes:
        inputs: uint8 [samples, *network.sample_shape].
        labels: int64 [samples], or None where there are targets.
        targets: float32 [samples, outputs] of a regression, or the images of a reconstruction in
            [0, 1], flattened; None where there are labels.
        objective: what the network does with them.
    """

    inputs: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None
    targets: npt.NDArray[np.float32] | None
    objective: Objective

    @property
    def wanted(self) -> npt.NDArray[Any]:
        """The labels or the targets, whichever there are."""
        wanted = self.labels if self.targets is None else self.targets
        assert wanted is not None  # one of the two is there
        return wanted

    def measure(self, network: QuantizedNetwork, recording: Recording) -> dict[str, float]:
        """Return the objective's numbers for a recording of these samples.

        Args:
            network: what ran.
            recording: what came out of it.
        """
        outputs = torch.from_numpy(real_values(network, recording))
        return self.objective.measure(outputs, as_tensor(self.wanted))


def load_samples(network: QuantizedNetwork, spec: str, samples: int | None) -> Samples:
    """Load the test part of a data set as the integers that a network takes.

    Raises:
        DataError: the data cannot be read or do not fit the network.
    """
    dataset = load_dataset(
        spec, need="test", num_steps=network.num_steps, input_bits=network.input.bits
    )
    return take_samples(network, dataset, samples)


def take_samples(network: QuantizedNetwork, dataset: Dataset, samples: int | None) -> Samples:
    """Return the test part of a data set as the integers that a network takes.

    Raises:
        DataError: the data do not fit the network, or there are fewer samples.
    """
    dataset.check_fit(network.input, network.num_steps)
    if samples is not None and samples > len(dataset.y_test):
        raise DataError(
            f"{dataset.name}: has {len(dataset.y_test)} test samples, {samples} were asked for; "
            f"give fewer"
        )
    objective = fitting_objective(dataset, network.outputs)
    wanted = objective.targets(dataset, "test")[:samples]
    inputs = dataset.integers(dataset.x_test[:samples], network.input)
    if wanted.dtype.kind == "f":
        return Samples(inputs, None, wanted, objective)
    return Samples(inputs, wanted, None, objective)


def write_json(content: dict[str, Any], path: Path | None) -> None:
    """Write plain data as JSON, whole or not at all; nothing without a path."""
    if path is not None:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
