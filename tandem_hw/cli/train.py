"""``tandem-hw train``: train a network on the integers that it will be deployed with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console

from tandem_hw.cli.options import check_device, device_option, progress_bars
from tandem_hw.errors import FileFormatError
from tandem_hw.learning.conversion import convert
from tandem_hw.learning.datasets import load_dataset
from tandem_hw.learning.layers import Twin
from tandem_hw.learning.training import (
    BEST_NAME,
    LAST_NAME,
    StepReport,
    TrainingOptions,
    seed_everything,
    train,
)
from tandem_hw.learning.zoo import MODELS, build
from tandem_hw.network import Encoding, Readout, Reset


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
    type=click.Choice(get_args(Encoding)),
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
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
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
    if not (resume or overwrite) and (out / LAST_NAME).exists():
        raise FileFormatError(
            f"{out}: holds a training already; continue it with --resume, replace it with "
            f"--overwrite, or give another --out"
        )
    check_device(device)
    training = ("epochs", "batch_size", "learning_rate", "weight_decay", "validation", "seed")
    options = TrainingOptions(**{name: settings.pop(name) for name in training})
    dataset = load_dataset(data)
    seed_everything(options.seed)
    network = convert(
        build(model, dataset.shape, dataset.classes), input_shape=dataset.shape, **settings
    )
    fields = (
        "loss {task.fields[loss]:.4f}  accuracy {task.fields[accuracy]:.2%}  "
        "spike rate {task.fields[rate]:.3f}"
    )
    with progress_bars(fields) as progress:
        tasks: dict[int, Any] = {}

        def report(step: StepReport) -> None:
            shown = {"loss": step.loss, "accuracy": step.accuracy, "rate": step.spike_rate}
            if step.epoch not in tasks:
                name = f"epoch {step.epoch}/{step.epochs}"
                tasks[step.epoch] = progress.add_task(name, total=step.batches, **shown)
            progress.update(tasks[step.epoch], completed=step.batch, **shown)

        summary = train(network, dataset, options, out, device=device, resume=resume, report=report)
    console = Console()
    for epoch in summary["epochs"]:
        validation = epoch["validation_accuracy"]
        shown = "" if validation is None else f", validation accuracy {validation:.2%}"
        console.print(
            f"epoch {epoch['epoch']}: loss {epoch['loss']:.4f}, accuracy {epoch['accuracy']:.2%}"
            f"{shown}, spike rate {epoch['spike_rate']:.3f}"
        )
    console.print(
        f"test accuracy of the integer network {summary['test_accuracy']:.2%} "
        f"({len(dataset.y_test)} samples); wrote {out / BEST_NAME}",
        soft_wrap=True,
    )
