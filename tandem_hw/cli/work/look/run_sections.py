"""Sections of a report about a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tandem_hw.cli.metrics import shown
from tandem_hw.cli.work.look.sections import chip_section, page_table, plain_section
from tandem_hw.cli.work.run_tables import activity_table, modelled_line
from tandem_hw.cli.work.samples import Samples
from tandem_hw.counted import counted
from tandem_hw.errors import TandemError
from tandem_hw.network.activity import LayerSummary, total
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults
from tandem_hw.network.saturation import (
    head_room,
    head_room_line,
    saturation_lines,
    summarise_saturation,
    uncounted_lines,
)
from tandem_hw.report.page.content import Figure, Section, Table, cells
from tandem_hw.report.page.judgement import (
    all_names,
    classification_section,
    reconstruction_section,
    regression_section,
)
from tandem_hw.report.page.layers import activity_pictures, head_room_picture
from tandem_hw.report.page.steps import steps_section
from tandem_hw.sim.backend import Backend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.step_trace import first_difference, trace_steps
from tandem_hw.training.objectives import real_values
from tandem_hw.verification.step import VerificationReport


def activity_section(
    network: QuantizedNetwork, runs: Sequence[RunResults], layers: Sequence[LayerSummary]
) -> Section:
    """Return what each layer did in a run: rates, operations, head room, saturation.

    Args:
        network: what ran.
        runs: of the same samples; the first is shown.
        layers: what its layers did.
    """
    first = runs[0]
    saturation = summarise_saturation(network, runs)
    bits = {
        layer.name: found for layer in network if (found := head_room(runs, layer.name)) is not None
    }
    warnings = [
        *(head_room_line(name, found) for name, found in bits.items() if found < 0),
        *(saturation_lines(saturation) if saturation else uncounted_lines(network, first.backend)),
    ]
    tables = [
        page_table(activity_table(layers, f"{counted(len(first), 'sample')} on {first.backend}"))
    ]
    pictures = activity_pictures(layers)
    if bits:
        caption = "Bits between the largest state that these samples reached and the limit."
        pictures.append(head_room_picture(bits, caption))
    if saturation:
        tables.append(
            Table(
                "Saturation: states that left 24 bits",
                ("layer", "samples", "of", "values"),
                tuple(
                    cells(layer.name, layer.saturated_samples, layer.samples, layer.values)
                    for layer in saturation
                ),
                frozenset({1, 2, 3}),
            )
        )
    return Section("layers", "Layer by layer", [], warnings, tables, pictures)


def chip_section_of_run(network: QuantizedNetwork, run: RunResults) -> Section:
    """Return what a network would take of a Loihi 2 with the work of a run."""
    modelled = getattr(run, "extra", {}).get("modelled")
    return chip_section(network, run, [] if modelled is None else [modelled_line(modelled)])


def measured_section(extra: Mapping[str, Any]) -> Section:
    """Return what a board measured."""
    values = dict(extra)
    profile = values.pop("profile", {})
    return plain_section(
        "measured", "Measured on the board", {**values, **profile}, "Measured, not estimated."
    )


def run_figures(
    run: RunResults, layers: Sequence[LayerSummary], metrics: Mapping[str, float]
) -> list[Figure]:
    """Return the numbers of a run that are shown large."""
    totals = total(layers)
    judged = [metric_figure(name, number) for name, number in metrics.items()]
    return [
        *judged,
        Figure(f"{totals.synops_per_sample:.0f}", "SynOps a sample"),
        Figure(f"{totals.synops_per_mac:.2f}", "SynOps per MAC"),
        Figure(f"{len(run) / run.seconds:.0f}" if run.seconds else "–", "samples a second"),
    ]


def metric_figure(name: str, number: float, what: str = "") -> Figure:
    """Return a metric that is shown large.

    Args:
        name: of the metric.
        number: its value.
        what: what stands before its name.
    """
    label, _, value = shown(name, number).partition(" ")
    return Figure(value, f"{what}{label}")


def judgement_section(network: QuantizedNetwork, given: Samples, run: RunResults) -> Section:
    """Return how good a run was, sample by sample."""
    objective = given.objective.name
    if objective == "classification":
        return classification_section(network, run, given.inputs, given.class_names(network))
    outputs = real_values(network, run)
    wanted = given.wanted.values.astype(np.float32).reshape(outputs.shape)
    if objective == "regression":
        return regression_section(outputs, wanted)
    return reconstruction_section(network, outputs, wanted)


def sample_section(
    network: QuantizedNetwork,
    given: Samples,
    sample: int | None,
    report: VerificationReport | None = None,
    runners: Sequence[Backend] = (),
) -> Section:
    """Return one sample step by step on the reference, and where backends differ on both.

    Args:
        network: what ran.
        given: the samples.
        sample: which; None for that of the first difference, otherwise the first.
        report: a comparison, or None.
        runners: what was compared.
    """
    found = None if report is None else report.difference
    index = sample if sample is not None else 0 if found is None else found.sample
    words = f"Sample {index}"
    if given.labels is not None:
        names = all_names(given.class_names(network), network.outputs)
        words += f" of class {names[given.labels[index]]}"
    chosen: list[Backend] = [ReferenceBackend()]
    if found is not None:
        by_name = {runner.name: runner for runner in runners}
        chosen = [runners[0], by_name[found.backend]]
    note, traces = "", []
    for runner in chosen:
        try:
            traces.append(trace_steps(runner, network, given.inputs[index]))
        except TandemError as error:
            note = f"Not shown step by step on {runner.name}: {error}."
    if not traces:
        traces.append(trace_steps(ReferenceBackend(), network, given.inputs[index]))
    difference = first_difference(network, traces)
    if found is not None and difference is None and len(traces) > 1:
        note = (
            "Run alone, this sample is equal in every step on both: what differs depends on the "
            "other samples, or comes with time."
        )
    return steps_section(network, traces, difference, words, note)
