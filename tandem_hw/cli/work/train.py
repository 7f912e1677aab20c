"""A training: its data, its network and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tandem_hw.cli.metrics import shown_together
from tandem_hw.cli.options import check_device
from tandem_hw.cli.output.written_files import written_lines
from tandem_hw.cli.terminal import make_console, progress_bars
from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import Dataset
from tandem_hw.data.datasets import load_dataset
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.training.distributed import own_device, started_processes
from tandem_hw.training.loop import seed_everything, train
from tandem_hw.training.options import TrainingOptions
from tandem_hw.training.run_files import FILE_NAMES
from tandem_hw.training.warm_start import (
    calibrate_thresholds,
    is_tandem_checkpoint,
    load_parameters,
    load_tandem_parameters,
)
from tandem_hw.training.watching.bar import TrainingBar, training_columns
from tandem_hw.training.watching.log_names import CSV, CSV_NAME, TENSORBOARD, TENSORBOARD_NAME
from tandem_hw.training.watching.words import describe_epoch
from tandem_hw.zoo.models import build

#: Training samples by which the thresholds of an ordinary network are set.
_CALIBRATION_SAMPLES = 1024


def run_training(
    data: str,
    model: str,
    device: str,
    out: Path,
    init: Path | None,
    options: TrainingOptions,
    settings: dict[str, Any],
    *,
    resume: bool,
    overwrite: bool,
    log: Sequence[str] = (),
) -> None:
    """Train a network of the zoo, and show how it goes.

    Args:
        data: the data set, as ``load_dataset`` takes it.
        model: a network of the zoo.
        device: where PyTorch computes.
        out: the folder of the training.
        init: a checkpoint or a state_dict to start from, or None.
        options: how to train.
        settings: what ``convert`` makes the network with.
        resume: continue what is in the folder.
        overwrite: take its place.
        log: see ``train``.

    Raises:
        TandemError: the device, the data or the folder cannot be used, or do not fit each other.
    """
    place = own_device(device)
    check_device(place)
    with started_processes(torch.device(place), options.batch_size) as processes:
        with processes.first_goes_ahead():
            dataset = _load(data, settings)
        seed_everything(options.seed)
        outputs = options.make_objective().outputs(dataset)
        network = _make_network(model, outputs, dataset, init, settings)
        columns = training_columns()
        with progress_bars(columns=columns, disable=not processes.is_first) as progress:
            bar = TrainingBar(progress)
            summary = train(
                network,
                dataset,
                options,
                out,
                device=place,
                resume=resume,
                overwrite=overwrite,
                report=bar.step,
                epoch_done=lambda epoch: progress.console.print(
                    describe_epoch(epoch, bar.seconds_of_epoch())
                ),
                log=log,
            )
    if processes.is_first:
        console = make_console()
        console.print(describe_test(summary, len(dataset.y_test)))
        if summary.get("silent_layers"):
            console.print(describe_silence(summary["silent_layers"]), style="red")
        logs = {CSV: CSV_NAME, TENSORBOARD: TENSORBOARD_NAME}
        names = (*FILE_NAMES, *(logs[name] for name in log))
        for line in written_lines(*(out / name for name in names)):
            console.print(line)


def _load(data: str, settings: dict[str, Any]) -> Dataset:
    """Load a data set, and choose how the network is sent its samples where nobody did."""
    dataset = load_dataset(data, num_steps=settings["num_steps"], input_bits=settings["input_bits"])
    if settings["encoding"] is None:
        settings["encoding"] = dataset.default_encoding(settings["reset"])
    return dataset


def _make_network(
    model: str, outputs: int, dataset: Dataset, init: Path | None, settings: dict[str, Any]
) -> TandemNetwork:
    """Build and convert a network of the zoo, from the start or from trained parameters."""
    ordinary = build(model, dataset.shape, outputs)
    is_tandem = init is not None and is_tandem_checkpoint(init)
    if init is not None and not is_tandem:
        load_parameters(ordinary, init)
    network = convert(ordinary, input_shape=dataset.shape, **settings)
    if init is not None and is_tandem:
        load_tandem_parameters(network, init)
    elif init is not None:
        samples = dataset.x_train[:_CALIBRATION_SAMPLES]
        calibrate_thresholds(
            network, torch.from_numpy(dataset.integers(samples, network.architecture.input))
        )
    return network


def describe_test(summary: dict[str, Any], samples: int) -> str:
    """Return one line about the test set."""
    ordinary = summary["options"]["schedule"] == "ordinary"
    network = "ordinary network" if ordinary else "integer network"
    numbers = shown_together(
        {
            name.removeprefix("test_"): value
            for name, value in summary.items()
            if name.startswith("test_")
        }
    )
    return f"test {numbers} of the {network} ({samples} samples)"


def describe_silence(layers: Sequence[str]) -> str:
    """Return one line about layers that fired for no test sample."""
    return (
        f"SILENT: {', '.join(layers)} never fired on the test samples, so what comes behind sees "
        f"nothing of the input; use a smaller activation-max or learning rate, or more steps"
    )
