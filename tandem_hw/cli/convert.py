"""``tandem-hw convert``: from a trained ordinary network to a .net file, without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tandem_hw.cli.convert_options import convert_options
from tandem_hw.cli.options import (
    check_outputs,
    device_option,
    json_option,
    simulation_only_option,
)
from tandem_hw.cli.output.written_files import overwrite_option
from tandem_hw.export.c99.written_files import written_paths


@click.command("convert")
@convert_options
@simulation_only_option
@json_option
@overwrite_option
@device_option
def command(model_path: Path, out: Path, json_path: Path | None, **wanted: Any) -> None:
    """Turn the trained network MODEL into integers, without training it, and write them.

    MODEL is a state_dict of one of the zoo's networks, an ONNX file of any network (.onnx), or a
    checkpoint, such as that of an ordinary network (train --schedule ordinary). Thresholds and the
    room for potentials are measured on training samples, and a table shows how good the network is
    with each further layer on integers. The thresholds of a network that was trained spiking are
    set anew too: export keeps them.
    """
    check_outputs(*written_paths(out), json_path, inputs=[model_path], data=wanted["data"])
    from tandem_hw.export.files import check_name  # needs NumPy and h5py alone

    check_name(out)
    # PyTorch, which is in there, takes seconds; what can be refused without it was refused.
    from tandem_hw.cli.work.convert import run_conversion

    run_conversion(model_path=model_path, out=out, json_path=json_path, **wanted)
