"""What runs did, and whether they agree, as tables and as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.table import Table

from tandem_hw.cli.metrics import for_json, shown_together
from tandem_hw.cli.terminal import make_console, warn
from tandem_hw.cli.work.samples import Samples
from tandem_hw.counted import counted
from tandem_hw.network.activity import LayerSummary, activity_dict, total
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults, confusion_matrix
from tandem_hw.network.saturation import head_room_line, saturation_lines
from tandem_hw.plain_text import plain
from tandem_hw.verification.step import LayerComparison, VerificationReport

#: Classes of a confusion matrix in JSON, and in a table of the terminal.
CONFUSION_CLASSES_MAX: Final = 128
CONFUSION_SHOWN_MAX: Final = 10
#: Characters of the name of a class in that table.
_NAME_SHOWN: Final = 24


def describe_run(
    run: RunResults, layers: Sequence[LayerSummary], judged: dict[str, Any]
) -> dict[str, Any]:
    """Return what a run amounts to as plain data.

    Args:
        run: what came out.
        layers: what its layers did.
        judged: the objective and its numbers.
    """
    return {
        "backend": run.backend,
        "samples": len(run),
        "network_digest": run.network_digest,
        **judged,
        **activity_dict(layers),
        "seconds": run.seconds,
        "samples_per_second": len(run) / run.seconds,
    }


def last_line(run: RunResults, layers: Sequence[LayerSummary]) -> str:
    """Return one line about the operations and the speed of a run."""
    totals = total(layers)
    return (
        f"{totals.synops_per_sample:.0f} SynOps a sample, {totals.synops_per_mac:.2f} of "
        f"the ordinary network's {totals.macs_per_sample} MACs; {run.seconds:.2f} s "
        f"({len(run) / run.seconds:.0f} samples a second)"
    )


def modelled_line(modelled: Mapping[str, Any]) -> str:
    """Return one line about the time and the energy that a simulator has modelled for a chip.

    Args:
        modelled: of all samples, as the backend ``sana-fe`` gives it.
    """
    samples = modelled["samples"]
    return (
        f"modelled for {modelled['chip']}, not measured ({modelled['model']}): "
        f"{counted(modelled['steps'], 'step')} in all, {modelled['seconds'] / samples * 1e6:.1f} "
        f"µs and {modelled['joules_total'] / samples * 1e6:.3f} µJ a sample, "
        f"{modelled['compartments']} compartments in {counted(modelled['cores'], 'core')}"
    )


def activity_table(layers: Sequence[LayerSummary], title: str) -> Table:
    """Return a table of spikes, rates and operations for the terminal."""
    table = Table(title=title)
    for name in (
        "layer",
        "neurons",
        "spikes",
        "spike rate",
        "SynOps a sample",
        "MACs",
        "SynOps/MACs",
    ):
        table.add_column(name, justify="left" if name == "layer" else "right")
    for layer in layers:
        table.add_row(
            layer.name,
            str(layer.neurons),
            "readout" if layer.spikes is None else str(layer.spikes),
            "" if layer.spike_rate is None else f"{layer.spike_rate:.4f}",
            f"{layer.synops_per_sample:.0f}",
            str(layer.macs),
            f"{layer.synops_per_sample / layer.macs:.2f}",
        )
    return table


def confusion(network: QuantizedNetwork, run: RunResults, given: Samples) -> dict[str, Any] | None:
    """Return how many samples of each class were taken for which, as plain data.

    Args:
        network: what ran.
        run: what came out.
        given: the samples.

    Returns:
        "classes", a name or a number each, and "counts", a row for each true class and a column for
        each predicted one; None of what is no classification, or has more classes than
        ``CONFUSION_CLASSES_MAX``.
    """
    if given.labels is None or given.objective.name != "classification":
        return None
    if network.outputs > CONFUSION_CLASSES_MAX:
        return None
    names, numbers = given.class_names(network), range(network.outputs)
    counts = confusion_matrix(run.prediction, given.labels, network.outputs)
    return {
        "classes": [names[one] if one < len(names) else str(one) for one in numbers],
        "counts": counts.tolist(),
    }


def confusion_table(found: Mapping[str, Any]) -> Table:
    """Return a table of what ``confusion`` found: a row for each true class.

    Args:
        found: of ``CONFUSION_SHOWN_MAX`` classes at most; more do not fit a terminal.
    """
    names = [plain(name, _NAME_SHOWN) for name in found["classes"]]
    table = Table(title="samples of a class (rows) taken for which (columns)")
    table.add_column("class")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    for name, row in zip(names, found["counts"], strict=True):
        table.add_row(name, *map(str, row))
    return table


def describe_report(
    report: VerificationReport, given: Samples, metrics: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Return a report and the metrics as plain data.

    Args:
        report: the comparison.
        given: the samples compared.
        metrics: per backend, the objective's numbers.
    """
    return {
        **report.to_dict(),
        "objective": given.objective.name,
        "metrics": {name: for_json(numbers) for name, numbers in metrics.items()},
    }


def comparison_table(report: VerificationReport) -> Table:
    """Return a table of what was compared in each layer, for the terminal."""
    table = Table(title=f"{counted(report.samples, 'sample')} on {', '.join(report.backends)}")
    numbers = (
        "neurons",
        "spikes",
        "mismatched",
        "final states",
        "head room (bits)",
        "SynOps a sample",
        "MACs",
    )
    for name in ("layer", *numbers):
        table.add_column(name, justify="left" if name == "layer" else "right")
    compared = _compared(report)
    for activity in report.activity:
        layer = compared[activity.name]
        table.add_row(
            layer.name,
            str(layer.neurons),
            "readout" if layer.spikes is None else str(layer.spikes),
            str(layer.mismatched),
            "" if layer.mismatched_states is None else str(layer.mismatched_states),
            "" if layer.head_room_bits is None else str(layer.head_room_bits),
            f"{activity.synops_per_sample:.0f}",
            str(activity.macs),
        )
    return table


def show_report(report: VerificationReport, metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Print a report for the terminal.

    Args:
        report: the comparison.
        metrics: per backend, the objective's numbers.
    """
    console = make_console()
    console.print(comparison_table(report))
    for name in report.backends:
        console.print(f"{name}: {shown_together(metrics[name])}, {report.seconds[name]:.2f} s")
    explained = [
        head_room_line(layer.name, layer.head_room_bits)
        for layer in _compared(report).values()
        if layer.head_room_bits is not None and layer.head_room_bits < 0
    ]
    warn(console, [*explained, *saturation_lines(report.saturation)])
    console.print(what_was_compared(report))
    if report.match:
        console.print("MATCH: every spike count and every output is equal", style="green")
    elif report.other_parameters:
        for found in report.other_parameters:
            console.print(f"MISMATCH: {found}", style="red")
    else:
        console.print(report.fault, style="red")


def _compared(report: VerificationReport) -> dict[str, LayerComparison]:
    # A counted readout is among the layers as well.
    return {layer.name: layer for layer in (report.readout, *report.layers)}


def what_was_compared(report: VerificationReport) -> str:
    """Say what beside counts and outputs was compared on which backends."""
    states = ", ".join(report.checked_states) or "no two backends"
    parameters = ", ".join(report.checked_parameters) or "no backend"
    return (
        f"states at the window's end compared on {states}; weights, biases and thresholds in use "
        f"compared with the network's on {parameters}"
    )
