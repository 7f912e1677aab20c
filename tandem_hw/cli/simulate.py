"""``tandem-hw simulate``: run a .net file on one backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tandem_hw.cli.options import (
    Margins,
    OutputPath,
    backend_from_options,
    backend_options,
    check_outputs,
    data_option,
    device_option,
    json_option,
    load_network,
    network_argument,
    samples_option,
    verbose_option,
)
from tandem_hw.cli.output.written_files import overwrite_option
from tandem_hw.errors import TandemError
from tandem_hw.sim.registry import BACKENDS


@click.command("simulate")
@network_argument
@data_option
@click.option(
    "--backend", type=click.Choice(list(BACKENDS)), default="reference", show_default=True
)
@samples_option
@click.option(
    "--recording",
    "recording_path",
    type=OutputPath(".npz"),
    help="Write spike counts, potentials and predictions as npz.",
)
@click.option(
    "--final-states",
    is_flag=True,
    help="Keep the state of every neuron at the window's end in the recording as well.",
)
@json_option
@click.option(
    "--plot",
    "plot_path",
    type=OutputPath(),
    help="Draw the results and each layer's spike rate as PNG; this needs matplotlib.",
)
@click.option(
    "--early-exit",
    type=Margins(),
    is_flag=False,
    flag_value=Margins.CURVE,
    help="Also end each sample as soon as its best class leads by MARGIN (logits, or spikes of a "
    "counted readout); without one, or with several, a curve. Backend reference.",
)
@overwrite_option
@verbose_option
@device_option
@backend_options
def command(
    network_path: Path,
    data: str,
    backend: str,
    samples: int | None,
    recording_path: Path | None,
    final_states: bool,
    json_path: Path | None,
    plot_path: Path | None,
    early_exit: tuple[float, ...] | str | None,
    verbose: bool,
    device: str,
    **options: Any,
) -> None:
    """Run NET on a backend and show how good it is, its spikes and its synaptic operations.

    It is judged by what it was trained for. Where NET does not say that, the data tell: accuracy
    with labels, mean squared error with real targets, and against the image itself where it puts
    out as many values.
    """
    check_outputs(recording_path, json_path, plot_path, inputs=[network_path], data=data)
    if final_states and recording_path is None:
        raise TandemError("--final-states keeps states in a recording; give --recording too")
    if plot_path is not None:
        from tandem_hw.report.plots import check_plot  # needs NumPy

        check_plot(plot_path)
    network = load_network(network_path)
    # PyTorch, which is in there, takes seconds; what can be refused without it was refused.
    from tandem_hw.cli.work.simulate import Results, simulate

    runner = backend_from_options(backend, {"device": device, **options})
    simulate(
        network,
        runner,
        data,
        samples,
        Results(recording_path, final_states, json_path, plot_path, early_exit, device),
    )
    if verbose:
        from tandem_hw.cli.work.arithmetic_tables import show_ways

        show_ways()
