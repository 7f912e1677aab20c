"""``tandem-hw train``: train a network on the integers that it will be deployed with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click
from rich.progress import Progress

from tandem_hw.cli.options import check_device, check_outputs, device_option
from tandem_hw.cli.terminal import make_console, progress_bars
from tandem_hw.errors import FileFormatError
from tandem_hw.fixed_point import DECAY_UNITY
from tandem_hw.learning.conversion import convert
from tandem_hw.learning.datasets import load_dataset
from tandem_hw.learning.layers import Twin
from tandem_hw.learning.training import (
    BEST_NAME,
    LAST_NAME,
    METRICS_NAME,
    StepReport,
    TrainingOptions,
    seed_everything,
    train,
)
from tandem_hw.learning.zoo import MODELS, build
from tandem_hw.network import Encoding, Readout, Reset

#: Column of the progress bar, in rich's markup.
_COLUMNS = "{task.fields[state]}"


@click.command("train")
@click.argument("data", default="digits")
@click.option("--model", type=click.Choice(list(MODELS)), default="lenet", show_default=True)
@click.option(
    "--num-steps",
    type=click.IntRange(min=1),
    default=7,
    show_default=True,
    help="Length T of a sample's window.",
)
@click.option("--reset", type=click.Choice(get_args(Reset)), default="subtract", show_default=True)
@click.option("--weight-bits", type=click.IntRange(2, 8), default=8, show_default=True)
@click.option("--input-bits", type=click.IntRange(1, 8), default=4, show_default=True)
@click.option(
    "--encoding",
    type=click.Choice([name for name in get_args(Encoding) if name != "events"]),
    help="How the input is sent [default: first_step with reset subtract, constant with "
    "reset zero].",
)
@click.option(
    "--readout", type=click.Choice(get_args(Readout)), default="potential", show_default=True
)
@click.option(
    "--twin",
    type=click.Choice(get_args(Twin)),
    default="clip",
    show_default=True,
    help="Gradient mask of the twin: 0 < a < T, or the paper's 0 < a.",
)
@click.option(
    "--current-decay",
    type=click.IntRange(0, DECAY_UNITY),
    default=DECAY_UNITY,
    show_default=True,
    help="What a neuron's current loses a step, in 1/4096 (reset zero only).",
)
@click.option(
    "--voltage-decay",
    type=click.IntRange(0, DECAY_UNITY),
    default=0,
    show_default=True,
    help="What a neuron's voltage loses a step, in 1/4096 (reset zero only).",
)
@click.option("--epochs", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=2), default=64, show_default=True)
@click.option("--learning-rate", type=float, default=2e-3, show_default=True)
@click.option("--weight-decay", type=click.FloatRange(min=0), default=0.0, show_default=True)
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of the training data that chooses the best checkpoint.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@device_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for checkpoint.pt, last.pt and metrics.json.",
)
@click.option("--resume", is_flag=True, help="Continue from last.pt in the folder.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier training in the folder.")
def command(
    data: str, model: str, device: str, out: Path, resume: bool, overwrite: bool, **settings: Any
) -> None:
    """Train a network of the zoo on DATA.

    DATA is digits (comes with scikit-learn), npz:PATH (x_train, y_train, x_test, y_test), or, with
    torchvision, mnist, fashion-mnist or cifar10.
    """
    check_outputs(*(out / name for name in (BEST_NAME, LAST_NAME, METRICS_NAME)))
    if resume and overwrite:
        raise FileFormatError(
            f"{out}: --resume keeps a training and --overwrite replaces it; give one"
        )
    if not (resume or overwrite) and (out / LAST_NAME).exists():
        raise FileFormatError(
            f"{out}: holds a training already; continue it with --resume, replace it with "
            f"--overwrite, or give another --out"
        )
    check_device(device)
    names = ("epochs", "batch_size", "learning_rate", "weight_decay", "validation", "seed")
    options = TrainingOptions(**{name: settings.pop(name) for name in names})
    dataset = load_dataset(data)
    seed_everything(options.seed)
    network = convert(
        build(model, dataset.shape, dataset.classes), input_shape=dataset.shape, **settings
    )
    with progress_bars(_COLUMNS) as progress:
        summary = train(
            network,
            dataset,
            options,
            out,
            device=device,
            resume=resume,
            report=_Bar(progress),
            epoch_done=lambda epoch: progress.console.print(describe_epoch(epoch)),
        )
    make_console().print(
        f"test accuracy of the integer network {summary['test_accuracy']:.2%} "
        f"({len(dataset.y_test)} samples); wrote {out / BEST_NAME}"
    )


class _Bar:
    """One progress bar, filled anew in every epoch."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task("training", total=None, state="")

    def __call__(self, step: StepReport) -> None:
        """Show how far the epoch is and how it goes."""
        self.progress.update(
            self.task,
            description=f"epoch {step.epoch}/{step.epochs}",
            completed=step.batch,
            total=step.batches,
            state=f"loss {step.loss:.4f}  accuracy {step.accuracy:.2%}  "
            f"spike rate {step.spike_rate:.3f}",
        )


def describe_epoch(epoch: dict[str, Any]) -> str:
    """Return one line about an epoch's metrics."""
    validation = epoch["validation_accuracy"]
    shown = "" if validation is None else f", validation accuracy {validation:.2%}"
    return (
        f"epoch {epoch['epoch']}: loss {epoch['loss']:.4f}, accuracy {epoch['accuracy']:.2%}"
        f"{shown}, spike rate {epoch['spike_rate']:.3f}"
    )
