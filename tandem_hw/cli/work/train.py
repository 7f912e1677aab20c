"""A training: its data, its network and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

from tandem_hw.cli.given.config_file import write_options
from tandem_hw.cli.given.model_file import announcement, build_model, located
from tandem_hw.cli.given.resumed import keep_longer, resumed
from tandem_hw.cli.look.options import WantedReport
from tandem_hw.cli.metrics import shown_together
from tandem_hw.cli.options import check_device
from tandem_hw.cli.output.written_files import written_lines
from tandem_hw.cli.process.streams import say
from tandem_hw.cli.terminal import make_console, progress_bars
from tandem_hw.cli.work.look.folder_page import write_folder_report
from tandem_hw.conversion.convert import convert
from tandem_hw.counted import counted
from tandem_hw.data.dataset import Dataset
from tandem_hw.data.datasets import load_dataset
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.training.distributed import own_device, started_processes
from tandem_hw.training.loop import seed_everything, train
from tandem_hw.training.options import TrainingOptions
from tandem_hw.training.run_files import CSV_NAME, FILE_NAMES, OPTIONS_NAME
from tandem_hw.training.warm_start import (
    calibrate_thresholds,
    is_tandem_checkpoint,
    load_parameters,
    load_tandem_parameters,
)
from tandem_hw.training.watching.bar import TrainingBar, training_columns
from tandem_hw.training.watching.log_names import CSV, TENSORBOARD, TENSORBOARD_NAME
from tandem_hw.training.watching.words import describe_epoch

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
    used: dict[str, Any],
    *,
    overwrite: bool,
    log: Sequence[str] = (),
    wanted: WantedReport | None = None,
) -> None:
    """Train a network, and show how it goes.

    Args:
        data: the data set, as ``load_dataset`` takes it.
        model: a network of the zoo, or FILE.py:NAME.
        device: where PyTorch computes.
        out: the folder of the training.
        init: a checkpoint or a state_dict to start from, or None.
        options: how to train.
        settings: what ``convert`` makes the network with.
        used: all options, as ``run.toml`` has them, which is written after the first epoch: till
            then an earlier training of the folder is what a file there is of.
        overwrite: take the place of an earlier training in the folder.
        log: see ``train``.
        wanted: a report of it, or None.

    Raises:
        TandemError: the device, the data or the folder cannot be used, or do not fit each other.
    """

    def made(dataset: Dataset, outputs: int) -> TandemNetwork:
        return _make_network(model, outputs, dataset, init, settings)

    keep = partial(write_options, out / OPTIONS_NAME, "train", used)
    told = announcement(model)
    start = _Start(data, device, settings, made, keep, (told,))
    _train(start, options, out, resume=False, overwrite=overwrite, log=log, wanted=wanted)


def resume_training(
    context: click.Context,
    out: Path,
    data: str | None,
    model: str,
    log: Sequence[str],
    wanted: WantedReport | None = None,
) -> None:
    """Go on with the training in a folder, and show how it goes.

    Args:
        context: of the command, whose options are those of the training where they are not given.
        out: the folder.
        data: the data set that was given, or None.
        model: as for ``run_training``; only looked at if it was given.
        log: see ``train``.
        wanted: a report of it, or None.

    Raises:
        TandemError: there is nothing to go on with, or what was given is another training's.
    """
    found = resumed(context, out, data)

    def made(dataset: Dataset, outputs: int) -> TandemNetwork:
        if found.network is not None:
            return found.network
        return _make_network(model, outputs, dataset, None, found.settings)

    told = announcement(model) if found.network is None else None
    keep = partial(keep_longer, out, found.options)
    lines = (found.remark, told)
    start = _Start(found.data, found.device, found.settings, made, keep, lines)
    _train(start, found.options, out, resume=True, overwrite=False, log=log, wanted=wanted)


@dataclass(frozen=True)
class _Start:
    """What a training starts with.

    Attributes:
        data: the data set.
        device: where PyTorch computes.
        settings: of the network; how it is sent samples is filled in where nobody said.
        made: makes the network for the data and a number of outputs.
        keep: keeps the options, after the first epoch.
        told: lines that are said before, or None in their places.
    """

    data: str
    device: str
    settings: dict[str, Any]
    made: Callable[[Dataset, int], TandemNetwork]
    keep: Callable[[], None]
    told: tuple[str | None, ...]


def _train(
    start: _Start,
    options: TrainingOptions,
    out: Path,
    *,
    resume: bool,
    overwrite: bool,
    log: Sequence[str],
    wanted: WantedReport | None,
) -> None:
    """Train, and show how it goes."""
    place = own_device(start.device)
    check_device(place)
    with started_processes(torch.device(place), options.batch_size) as processes:
        with processes.first_goes_ahead():
            dataset = _load(start.data, start.settings)
        for line in filter(None, start.told if processes.is_first else ()):
            say(line)
        seed_everything(options.seed)
        network = start.made(dataset, options.make_objective().outputs(dataset))
        columns = training_columns()
        with progress_bars(columns=columns, disable=not processes.is_first) as progress:
            bar, keep = TrainingBar(progress), _Once(start.keep)

            def told(epoch: dict[str, Any]) -> None:
                keep()
                progress.console.print(describe_epoch(epoch, bar.seconds_of_epoch()))

            summary = train(
                network,
                dataset,
                options,
                out,
                device=place,
                resume=resume,
                overwrite=overwrite,
                report=bar.step,
                epoch_done=told,
                log=log,
            )
    if processes.is_first:
        console = make_console()
        console.print(describe_test(summary, len(dataset.y_test)))
        if summary.get("silent_layers"):
            console.print(describe_silence(summary["silent_layers"]), style="red")
        if wanted is not None:
            write_folder_report(wanted, out, None, None)
        logs = {CSV: CSV_NAME, TENSORBOARD: TENSORBOARD_NAME}
        own = () if resume else (OPTIONS_NAME,)  # one that is resumed has had it
        names = (*FILE_NAMES, *own, *(logs[name] for name in log))
        for line in written_lines(
            *(out / name for name in names), None if wanted is None else wanted.path
        ):
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
    """Build and convert a network, from the start or from trained parameters."""
    ordinary = build_model(model, dataset.shape, outputs)
    is_tandem = init is not None and is_tandem_checkpoint(init)
    if init is not None and not is_tandem:
        load_parameters(ordinary, init)
    with located(model):
        network = convert(ordinary, input_shape=dataset.shape, **settings)
    if init is not None and is_tandem:
        load_tandem_parameters(network, init)
    elif init is not None:
        samples = dataset.x_train[:_CALIBRATION_SAMPLES]
        calibrate_thresholds(
            network, torch.from_numpy(dataset.integers(samples, network.architecture.input))
        )
    return network


class _Once:
    """Does something the first time that it is called."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def __call__(self) -> None:
        """Do it, or nothing."""
        action, self.action = self.action, None
        if action is not None:
            action()


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
    return f"test {numbers} of the {network} ({counted(samples, 'sample')})"


def describe_silence(layers: Sequence[str]) -> str:
    """Return one line about layers that fired for no test sample."""
    return (
        f"SILENT: {', '.join(layers)} never fired on the test samples, so what comes behind sees "
        f"nothing of the input; use a smaller activation-max or learning rate, or more steps"
    )
