"""``tandem-hw train``: train a network on the integers that it will be deployed with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tandem_hw.cli.options import check_outputs, device_option, verbose_option
from tandem_hw.cli.train_options import check_spiking_options, train_options, training_options
from tandem_hw.errors import FileFormatError
from tandem_hw.training.run_files import WRITTEN_NAMES, check_free
from tandem_hw.training.watching.log_names import LOGS, check_logs, check_logs_free
from tandem_hw.zoo.catalogue import MODELS


class LogNames(click.ParamType):  # type: ignore[type-arg]
    """The type of names of logs, with commas between them."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names, if there are such logs."""
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in str(value).split(","))
        for name in names:
            if name not in LOGS:
                self.fail(f"{name!r} is no log; there are {', '.join(LOGS)}", param, ctx)
        return names


@click.command("train")
@click.argument("data", default="digits")
@click.option("--model", type=click.Choice(list(MODELS)), default="lenet", show_default=True)
@train_options
@device_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for checkpoint.pt, last.pt and metrics.json.",
)
@click.option("--resume", is_flag=True, help="Continue from last.pt in the folder.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier training in the folder.")
@click.option(
    "--log",
    type=LogNames(),
    default=(),
    help=f"Also log every epoch in the folder: {', '.join(LOGS)}, with commas between them.",
)
@verbose_option
def command(
    data: str,
    model: str,
    device: str,
    out: Path,
    resume: bool,
    overwrite: bool,
    verbose: bool,
    log: tuple[str, ...],
    init: Path | None,
    **settings: Any,
) -> None:
    """Train a network of the zoo on DATA.

    DATA is digits or diabetes (which come with scikit-learn), npz:PATH (x_train, y_train, x_test,
    y_test), or, with torchvision, mnist, fashion-mnist, cifar10 or cifar100. Events are
    moving-digits (made here), events:PATH, or, with tonic, nmnist, dvs-gesture, cifar10-dvs or shd.

    torchrun -m tandem_hw train ... trains on several GPUs together.
    """
    check_logs(log)
    if not (resume or overwrite):
        check_logs_free(log, out)
    options = training_options(settings)
    read = [init, None if options.teacher is None else Path(options.teacher)]
    _check_folder(out, resume, overwrite, read, data)
    check_spiking_options(settings)
    # PyTorch, which is in there, takes seconds; what can be refused without it was refused.
    from tandem_hw.cli.work.train import run_training

    run_training(
        *(data, model, device, out, init, options, settings),
        resume=resume,
        overwrite=overwrite,
        log=log,
    )
    if verbose:
        from tandem_hw.cli.work.arithmetic_tables import show_ways

        show_ways()


def _check_folder(
    out: Path, resume: bool, overwrite: bool, read: Sequence[Path | None], data: str
) -> None:
    check_outputs(*(out / name for name in WRITTEN_NAMES), inputs=read, data=data)
    if resume and overwrite:
        raise FileFormatError(
            f"{out}: --resume keeps a training and --overwrite replaces it; give one"
        )
    if not (resume or overwrite):
        check_free(out)
