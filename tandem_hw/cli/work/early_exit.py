"""Samples that end early: what of their accuracy is left, in a table and as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from tandem_hw.cli.work.samples import Samples
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults
from tandem_hw.sim.early_exit import accuracy_by_step, early_exits, find_leads


def judge_early_exits(
    network: QuantizedNetwork,
    given: Samples,
    run: RunResults,
    margins: Sequence[float] | None,
    device: str,
) -> dict[str, Any]:
    """Return what ``simulate --json`` has under ``early_exit``.

    Args:
        network: what ran.
        given: the samples, with labels.
        run: what whole windows gave.
        margins: see ``early_exits``.
        device: where to compute.
    """
    assert given.labels is not None  # it is a classification
    leads = find_leads(network, given.inputs, run, device)
    exits = early_exits(network, leads, given.labels, margins)
    return {
        "unit": "spike" if network.readout == "count" else "logit",
        "num_steps": network.num_steps,
        "result_start": network.result_start,
        "accuracy_by_step": accuracy_by_step(leads, given.labels),
        "exits": [
            {**asdict(one), "mean_latency": network.result_start + one.mean_steps} for one in exits
        ],
    }


def early_exit_tables(found: dict[str, Any]) -> list[Table]:
    """Return what margins are worth, and what a smaller window for all samples would be."""
    unit = "spikes" if found["unit"] == "spike" else "logits"
    by_margin = Table(title="samples that end as soon as the best class leads by a margin")
    for name in (f"margin ({unit})", "as integer", "accuracy", "mean steps", "mean latency"):
        by_margin.add_column(name, justify="right")
    for one in found["exits"]:
        by_margin.add_row(
            f"{one['margin']:.4g}",
            str(one["units"]),
            f"{one['accuracy']:.2%}",
            f"{one['mean_steps']:.2f} of {found['num_steps']}",
            f"{one['mean_latency']:.2f}",
        )
    by_step = Table(title="all samples end after the same step of the window")
    by_step.add_column("step", justify="right")
    by_step.add_column("accuracy", justify="right")
    for step, accuracy in enumerate(found["accuracy_by_step"], start=1):
        by_step.add_row(str(step), f"{accuracy:.2%}")
    return [by_margin, by_step]
