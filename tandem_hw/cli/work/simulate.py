"""A run on one backend: simulated, judged, written and shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from tandem_hw.cli.metrics import for_json, shown_together
from tandem_hw.cli.options import write_json
from tandem_hw.cli.terminal import follow, make_console, progress_bars, warn
from tandem_hw.cli.work.arithmetic_tables import describe_ways
from tandem_hw.cli.work.run_tables import activity_table, describe_run, last_line
from tandem_hw.cli.work.samples import load_samples
from tandem_hw.network.activity import summarise
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.saturation import saturation_lines, summarise_saturation, uncounted_lines
from tandem_hw.report.plots import write_plot
from tandem_hw.sim.backend import Backend, require_available


@dataclass(frozen=True)
class Results:
    """What a run leaves beside what it shows.

    Attributes:
        recording: an npz file, or None.
        final_states: keep the states at the window's end in it.
        json: a JSON file, or None.
        plot: a PNG file, or None.
    """

    recording: Path | None
    final_states: bool
    json: Path | None
    plot: Path | None


def simulate(
    network: QuantizedNetwork, runner: Backend, data: str, samples: int | None, wanted: Results
) -> None:
    """Run the test part of a data set, and show and write what came out.

    Args:
        network: what runs.
        runner: where.
        data: the data set, as ``load_dataset`` takes it.
        samples: only so many samples; None for all.
        wanted: the files.

    Raises:
        TandemError: the backend cannot run here, or not this network, or the data do not fit.
    """
    require_available(runner)
    runner.check_network(network)
    given = load_samples(network, data, samples)
    with progress_bars() as progress:
        recording = runner.run(
            network,
            given.inputs,
            given.labels,
            follow(progress, runner.name),
            keep_final_state=wanted.final_states,
        )
    if wanted.recording is not None:
        recording.save(wanted.recording)
    layers = summarise(network, recording)
    metrics = given.measure(network, recording)
    judged = {"objective": given.objective.name, **for_json(metrics)}
    saturation = summarise_saturation(network, [recording])
    write_json(
        {
            **describe_run(recording, layers, judged),
            "saturation": [asdict(layer) for layer in saturation],
            "arithmetic": describe_ways(),
        },
        wanted.json,
    )
    if wanted.plot is not None:
        write_plot(network, recording, given.objective.name, given.wanted.values, wanted.plot)
    console = make_console()
    console.print(activity_table(layers, f"{len(recording)} samples on {runner.name}"))
    lines = saturation_lines(saturation) if saturation else uncounted_lines(network, runner.name)
    warn(console, lines)
    console.print(f"{shown_together(metrics)}, {last_line(recording, layers)}")
