"""What each option of the training is worth, at several lengths of the window.

Every row is one call of ``tandem-hw train``, printed beside its numbers. Defaults are chosen by the
validation accuracy; the test accuracy is there to be reported.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from benchmarks.result import finish, json_option
from tandem_hw.cli.train import command as train_command

#: By name of a variant its options, beside those that all rows share.
VARIANTS: dict[str, str] = {
    "baseline (subtract)": "",
    "initial potential 1/2": "--initial-potential 0.5",
    "learnt thresholds": "--learn-thresholds",
    "both": "--initial-potential 0.5 --learn-thresholds",
    "twin relu (paper)": "--twin relu",
    "progressive": "--initial-potential 0.5 --schedule progressive",
    "from a ReLU network": "--initial-potential 0.5 --init {ordinary}",
    "label smoothing 0.1": "--initial-potential 0.5 --label-smoothing 0.1",
    "augmentation": "--initial-potential 0.5 --augmentation {augmentation}",
    "SynOp penalty 0.2": "--initial-potential 0.5 --synop-weight 0.2",
    "4-bit weights": "--initial-potential 0.5 --weight-bits 4",
    "2-bit weights": "--initial-potential 0.5 --weight-bits 2",
    "reset zero": "--reset zero",
    "reset zero, leak 1/32": "--reset zero --voltage-decay 128",
}


@click.command("ablation")
@click.option("--data", default="mnist", show_default=True, help="Any data set of images.")
@click.option("--model", default="lenet", show_default=True)
@click.option("--samples", default=10_000, show_default=True, help="Training samples.")
@click.option("--epochs", default=3, show_default=True)
@click.option("--validation", default=0.1, show_default=True)
@click.option("--num-steps", "windows", multiple=True, type=int, default=(2, 4, 7))
@click.option("--augmentation", default="mnist", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/ablation"))
@json_option
def command(
    data: str,
    model: str,
    samples: int,
    epochs: int,
    validation: float,
    windows: tuple[int, ...],
    augmentation: str,
    out: Path,
    json_path: Path | None,
) -> None:
    """Train a network with each option, at each length of the window."""
    shared = (
        f"{data} --model {model} --samples {samples} --validation {validation} --epochs {epochs}"
    )
    ordinary = out / "ordinary"
    rows = [_row("ReLU network", 0, f"{shared} --schedule ordinary --twin relu", ordinary)]
    rows += _rows(shared, windows, augmentation, ordinary / "checkpoint.pt", out)
    finish("ablation", rows, json_path)


def _rows(
    shared: str, windows: tuple[int, ...], augmentation: str, ordinary: Path, out: Path
) -> Iterator[dict[str, Any]]:
    for variant, options in VARIANTS.items():
        for num_steps in windows:
            chosen = options.format(ordinary=ordinary, augmentation=augmentation)
            arguments = f"{shared} --num-steps {num_steps} {chosen}".strip()
            name = f"{variant.replace(' ', '-').replace('/', '-')}-T{num_steps}"
            yield _row(variant, num_steps, arguments, out / name)


def _row(variant: str, num_steps: int, arguments: str, folder: Path) -> dict[str, Any]:
    line = f"{arguments} --out {folder}"
    click.echo(f"tandem-hw train {line}")
    train_command.main([*shlex.split(line), "--overwrite"], standalone_mode=False)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    best = max(epoch["validation_accuracy"] for epoch in metrics["epochs"])
    return {
        "variant": variant,
        "T": num_steps,
        "validation": best,
        "test": metrics["test_accuracy"],
        "spike rate": metrics["epochs"][-1]["spike_rate"],
        "options": arguments.split(f"--epochs {metrics['options']['epochs']}")[1].strip(),
    }


COMMANDS = [command]
