"""``tandem-hw train``: train a network on the integers that it will be deployed with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tandem_hw.cli.completion.values import data_sets, names_with_commas
from tandem_hw.cli.given.config_file import is_given, used_options
from tandem_hw.cli.given.model_name import model_file_of, model_option
from tandem_hw.cli.look.options import report_options, wanted_report
from tandem_hw.cli.options import check_outputs, device_option, verbose_option
from tandem_hw.cli.train_options import check_spiking_options, train_options, training_options
from tandem_hw.errors import FileFormatError
from tandem_hw.sweep.axes import NOT_VARIED
from tandem_hw.training.run_files import OPTIONS_NAME, WRITTEN_NAMES, check_free
from tandem_hw.training.watching.log_names import LOGS, check_logs, check_logs_free, logs_in


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
@click.argument("data", default="digits", shell_complete=data_sets)
@model_option
@train_options
@device_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for checkpoint.pt, last.pt, metrics.json and run.toml.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue from last.pt in the folder, which needs nothing else: train --resume DIR. What "
    "is given beside it has to be as it was, but for more --epochs.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier training in the folder.")
@click.option(
    "--log",
    type=LogNames(),
    shell_complete=names_with_commas(LOGS),
    default=(),
    help=f"Also log every epoch in the folder: {', '.join(LOGS)}, with commas between them.",
)
@report_options
@verbose_option
@click.pass_context
def command(
    context: click.Context,
    /,
    data: str,
    model: str,
    device: str,
    out: Path | None,
    resume: bool,
    overwrite: bool,
    report: Path | None,
    report_sample: int | None,
    verbose: bool,
    log: tuple[str, ...],
    init: Path | None,
    **settings: Any,
) -> None:
    """Train a network of the zoo, or of a file of yours, on DATA.

    DATA is digits or diabetes (which come with scikit-learn), npz:PATH (a file of x_train, y_train,
    x_test, y_test; of signals npz:PATH,layout=NCL) or npy:PATH (a folder of them), folder:PATH
    (images in a folder for each class, or by a CSV file), or, with torchvision, mnist,
    fashion-mnist, cifar10 or cifar100. Events are moving-digits (made here), events:PATH, or, with
    tonic, nmnist, dvs-gesture, cifar10-dvs or shd.

    torchrun -m tandem_hw train ... trains on several GPUs together.
    """
    check_logs(log)
    if resume:
        folder = _folder_to_resume(context, out, data)
        _check_folder(folder, resume, overwrite, [], None, report)
        log = log or logs_in(folder)  # or they would end where the break was
        check_logs(log)
        wanted = wanted_report(report, report_sample)
        # PyTorch, which is in there, takes seconds; what can be refused without it was refused.
        from tandem_hw.cli.work.train import resume_training

        resume_training(
            context, folder, data if _is_data(context, out) else None, model, log, wanted
        )
    else:
        if out is None:
            raise click.UsageError("Missing option '--out'.", context)
        if not overwrite:
            check_logs_free(log, out)
        options = training_options(settings)
        read = [init, None if options.teacher is None else Path(options.teacher)]
        read += (model_file_of(model) or ())[:1]
        _check_folder(out, resume, overwrite, read, data, report)
        wanted = wanted_report(report, report_sample)
        check_spiking_options(settings)
        from tandem_hw.cli.work.train import run_training  # PyTorch, as above

        used = used_options(context, lambda param: param.name in NOT_VARIED)
        run_training(
            data,
            model,
            device,
            out,
            init,
            options,
            settings,
            used,
            overwrite=overwrite,
            log=log,
            wanted=wanted,
        )
    if verbose:
        from tandem_hw.cli.work.arithmetic_tables import show_ways

        show_ways()


def _is_data(context: click.Context, out: Path | None) -> bool:
    """Whether a training that is resumed was given data: a single argument is its folder."""
    return out is not None and is_given(context, "data")


def _folder_to_resume(context: click.Context, out: Path | None, data: str) -> Path:
    """Return the folder that ``--resume`` is given, by ``--out`` or in the place of DATA."""
    if out is not None:
        return out
    if not is_given(context, "data"):
        raise click.UsageError(
            "Missing option '--out'. --resume needs the folder of a training: train --resume DIR.",
            context,
        )
    if not Path(data).is_dir():
        raise FileFormatError(
            f"{data}: is no folder; --resume needs that of a training: train --resume DIR, or "
            f"--out DIR"
        )
    return Path(data)


def _check_folder(
    out: Path,
    resume: bool,
    overwrite: bool,
    read: Sequence[Path | None],
    data: str | None,
    report: Path | None,
) -> None:
    # A training that is resumed keeps its options, which may be what --config names.
    written = WRITTEN_NAMES if resume else (*WRITTEN_NAMES, OPTIONS_NAME)
    check_outputs(*(out / name for name in written), report, inputs=read, data=data)
    if resume and overwrite:
        raise FileFormatError(
            f"{out}: --resume keeps a training and --overwrite replaces it; give one"
        )
    if not (resume or overwrite):
        check_free(out)
