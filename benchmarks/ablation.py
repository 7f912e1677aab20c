"""What each option of the training is worth, at several lengths of the window, over several seeds.

This is one ``tandem-hw sweep``, whose command is printed: a variant for each row. Defaults are
chosen by the validation accuracy; the test accuracy is there to be reported.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.result import finish, json_option
from tandem_hw.cli import main as tandem_hw
from tandem_hw.cli.sweep import EXIT_FAILED
from tandem_hw.sweep.summary import JSON_NAME

#: The network without spikes, whatever the length of a window, which it does not have.
_ORDINARY = "--schedule ordinary --twin relu --num-steps 7"
#: By name of a variant its options, beside those that all rows share.
VARIANTS: dict[str, str] = {
    "ReLU network": _ORDINARY,
    "baseline (subtract)": "",
    "initial potential 1/2": "--initial-potential 0.5",
    "learnt thresholds": "--learn-thresholds",
    "both": "--initial-potential 0.5 --learn-thresholds",
    "twin relu (paper)": "--twin relu",
    "progressive": "--initial-potential 0.5 --schedule progressive",
    "from a ReLU network": f"{_ORDINARY} then --initial-potential 0.5",
    "label smoothing 0.1": "--initial-potential 0.5 --label-smoothing 0.1",
    "augmentation": "--initial-potential 0.5 --augmentation {augmentation}",
    "SynOp penalty 0.2": "--initial-potential 0.5 --synop-weight 0.2",
    "4-bit weights": "--initial-potential 0.5 --weight-bits 4",
    "2-bit weights": "--initial-potential 0.5 --weight-bits 2",
    "firing delay 1": "--initial-potential 0.5 --firing-delay 1",
    "firing delay T-1": "--initial-potential 0.5 --firing-delay phased",
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
@click.option("--seeds", default=3, show_default=True, help="Trainings of each.")
@click.option("--augmentation", default="mnist", show_default=True)
@click.option("--jobs", type=int, help="Trainings at a time [default: one a core].")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/ablation"))
@json_option
def command(
    data: str,
    windows: tuple[int, ...],
    seeds: int,
    augmentation: str,
    jobs: int | None,
    out: Path,
    json_path: Path | None,
    **shared: Any,
) -> None:
    """Train a network with each option, at each length of the window; go on after a break."""
    arguments = [data, *_given(shared), "--vary", f"num-steps={','.join(map(str, windows))}"]
    for name, options in VARIANTS.items():
        arguments += ["--variant", f"{name}={options.format(augmentation=augmentation)}"]
    arguments += ["--seeds", str(seeds), "--out", str(out), *_given({"jobs": jobs})]
    click.echo(f"tandem-hw sweep {shlex.join(arguments)}")
    status = tandem_hw.main(["sweep", *arguments], "tandem-hw", standalone_mode=False)
    if status not in (0, None, EXIT_FAILED):
        raise click.exceptions.Exit(status)
    rows = json.loads((out / JSON_NAME).read_text(encoding="utf-8"))["rows"]
    if rows:
        finish("ablation", [_row(row) for row in rows], json_path)
    if status:
        raise click.exceptions.Exit(status)


def _given(options: dict[str, Any]) -> Sequence[str]:
    """Return options as they stand on a command line; those that are None are left out."""
    given = [(f"--{name}", str(value)) for name, value in options.items() if value is not None]
    return [word for pair in given for word in pair]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """Return what is told of trainings that differ in their seeds alone."""
    found = row["statistics"]
    shown = ("validation", "accuracy", "synops_per_mac", "latency", "training_seconds")
    means = {name: found.get(name, {}).get("mean") for name in shown}
    deviation = found["accuracy"]["deviation"]
    labels = row["labels"]
    return {"variant": labels["variant"], "T": labels["num-steps"], "seeds": row["trainings"]} | (
        means | {"deviation of accuracy": deviation}
    )


COMMANDS = [command]
