"""The options of ``tandem-hw convert`` that no other command has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from tandem_hw.cli.completion.values import data_sets
from tandem_hw.cli.given.model_name import MODEL_HELP, ModelName
from tandem_hw.cli.options import (
    WIDTHS_HELP,
    FiringDelay,
    OutputPath,
    Widths,
    real_numbers,
    whole_numbers,
)
from tandem_hw.data.catalogue import KNOWN_SPECS
from tandem_hw.learning.spiking_options import PERCENTILES
from tandem_hw.network.choices import Encoding, Reset
from tandem_hw.network.fixed_point import INPUT_BITS_RANGE, NUM_STEPS_RANGE

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_OPTIONS: tuple[Decorator, ...] = (
    click.argument("model_path", metavar="MODEL", type=click.Path(path_type=Path)),
    click.option(
        "--data",
        default="digits",
        show_default=True,
        shell_complete=data_sets,
        help=f"Data set: {', '.join(KNOWN_SPECS)}; its training part is measured with, its test "
        f"part judges.",
    ),
    click.option(
        "--out",
        type=OutputPath(),
        required=True,
        help="The file to write, .net, .nir or .c.",
    ),
    click.option(
        "--model",
        type=ModelName(),
        help=f"The network whose state_dict MODEL is. {MODEL_HELP}",
    ),
    click.option(
        "--num-steps",
        type=whole_numbers(NUM_STEPS_RANGE),
        help="Length T of a sample's window [default: the checkpoint's, or 7].",
    ),
    click.option(
        "--reset",
        type=click.Choice(get_args(Reset)),
        help="[default: the checkpoint's, or subtract]",
    ),
    click.option(
        "--weight-bits",
        type=Widths(),
        help=f"{WIDTHS_HELP} [default: the checkpoint's, or 8]",
    ),
    click.option(
        "--input-bits",
        type=whole_numbers(INPUT_BITS_RANGE),
        help="[default: the checkpoint's, or 4]",
    ),
    click.option(
        "--encoding",
        type=click.Choice(get_args(Encoding)),
        help="How the input is sent [default: as for train].",
    ),
    click.option(
        "--initial-potential",
        type=float,
        help="Share of the threshold that a window starts from [default: 0.5 with reset subtract].",
    ),
    click.option(
        "--firing-delay",
        type=FiringDelay(),
        help="Steps that a layer waits before its first spike; phased: all but one of the window "
        "[default: the checkpoint's, or 0].",
    ),
    click.option(
        "--percentile",
        type=real_numbers(PERCENTILES),
        help="Share of a layer's positive activations, in per cent, that its neurons can send "
        "[default: what gives the least squared error].",
    ),
    click.option(
        "--samples",
        type=click.IntRange(min=1),
        default=512,
        show_default=True,
        help="Measure with so many of the training samples.",
    ),
    click.option(
        "--test-samples",
        type=click.IntRange(min=1),
        help="Judge by the first so many test samples (default: all).",
    ),
)


def convert_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument and the options of a conversion."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
