"""``tandem-hw sweep``: trainings over a grid of options, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tandem_hw.cli.completion.values import data_sets
from tandem_hw.cli.given.config_file import given_in_file, used_options
from tandem_hw.cli.given.model_name import model_file_of, model_option
from tandem_hw.cli.options import OutputPath, check_outputs, device_option, is_output
from tandem_hw.cli.train import command as train_command
from tandem_hw.cli.train_options import check_spiking_options, train_options, training_options
from tandem_hw.errors import ConversionError, TandemError
from tandem_hw.network.choices import steps_of_delay
from tandem_hw.ranges import SEEDS
from tandem_hw.sweep.axes import NOT_VARIED, read_variants, read_vary, seeds
from tandem_hw.sweep.grid import SEED, Axis, Point, Skipped, plan
from tandem_hw.sweep.summary import CSV_NAME, JSON_NAME
from tandem_hw.training.run_files import file_digest

#: The name among a training's settings of the SHA-256 of a network's file.
MODEL_DIGEST = "model_digest"
#: Exit status where a training failed.
EXIT_FAILED = 1


class SweepCommand(click.Command):
    """A command that keeps what it is given for ``tandem-hw train``, word by word."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and keep the arguments of ``train`` in ``ctx.obj``."""
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        rest = super().parse_args(ctx, args)
        words = given_in_file(ctx) | {name: one for name, one in given.items() if _is_word(one)}
        ctx.obj = [
            word
            for param in self.params
            if param.name in {one.name for one in train_command.params} - {*NOT_VARIED}
            for word in _as_given(param, words.get(param.name or ""))
        ]
        return rest


def _is_word(value: Any) -> bool:
    """Whether a parser found a parameter on the command line; what stands for nothing varies."""
    return value is True or isinstance(value, str | list)


def _as_given(param: click.Parameter, value: Any) -> Sequence[str]:
    """Return the words by which an option or argument of ``train`` was given."""
    if not isinstance(param, click.Option):
        return [value] if isinstance(value, str) else []
    if param.is_flag:
        return [param.opts[0]] if value is True else []
    values = value if isinstance(value, list) else [value]
    return [word for one in values if isinstance(one, str) for word in (param.opts[0], one)]


@click.command("sweep", cls=SweepCommand)
@click.argument("data", default="digits", shell_complete=data_sets)
@click.option(
    "--vary",
    multiple=True,
    metavar="NAME=V,V",
    help="An option of train and its values, with commas or semicolons between them. Every "
    "combination is trained.",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="NAME=OPTIONS",
    help="A name and options of train; OPTIONS then OPTIONS trains twice in a row.",
)
@click.option("--seeds", "seed_count", type=click.IntRange(min=1), help="So many seeds of each.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder of all trainings."
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Trainings at a time [default: one a core, or one on a GPU].",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Of each training [default: what keeps the cores busy; 1 on a cluster].",
)
@click.option("--scheduler", metavar="ADDRESS", help="Train on a cluster of Dask.")
@click.option(
    "--plot",
    "plot_path",
    type=OutputPath(),
    help="Draw the results as PNG; this needs matplotlib.",
)
@model_option
@train_options
@device_option
@click.pass_context
def command(
    context: click.Context,
    /,
    vary: tuple[str, ...],
    variants: tuple[str, ...],
    seed_count: int | None,
    out: Path,
    jobs: int | None,
    threads: int | None,
    scheduler: str | None,
    plot_path: Path | None,
    **given: Any,
) -> None:
    """Train a network on DATA with every combination of options, and measure its integers.

    DATA and all options that are not listed below among those of the sweep are those of train. Each
    training ends with the integers on all test samples. What is finished is not trained again: the
    same command goes on after a break, and another grid adds to the folder.

    The exit status is 0 if all were trained, 1 if one failed, 2 on an error.
    """
    axes = _axes(context, vary, variants, seed_count, given[SEED])
    points, skipped = plan(context.obj, axes, _settings_of, _settings_of([]))
    runs = {run.name: run for point in points for run in point.run.with_before}
    _refuse_nothing(points, skipped)
    for settings in (run.settings for run in runs.values()):
        inputs = [Path(settings[name]) for name in _paths_read() if settings[name] is not None]
        inputs += (model_file_of(settings["model"]) or ())[:1]
        outputs = (out / JSON_NAME, out / CSV_NAME, plot_path)
        check_outputs(*outputs, inputs=inputs, data=settings["data"])
    if plot_path is not None:
        from tandem_hw.report.plots import check_plot  # needs NumPy

        check_plot(plot_path)
    from tandem_hw.cli.work.sweep import Place, run_sweep  # rich, which help need not wait for

    place = Place(jobs, threads, scheduler)
    varied = {f"--{axis.name}" for axis in axes if axis.name != SEED}
    used = used_options(context, lambda one: is_output(one) or bool(varied & {*one.opts}))
    if not run_sweep(axes, points, skipped, out, place, plot_path, used):
        raise click.exceptions.Exit(EXIT_FAILED)


def _axes(
    context: click.Context,
    vary: Sequence[str],
    variants: Sequence[str],
    seed_count: int | None,
    first_seed: int,
) -> list[Axis]:
    """Return what is varied; the seeds last.

    Raises:
        TandemError: what is varied cannot be read, or is given twice.
    """
    options = {
        name.removeprefix("--"): param.is_flag
        for param in train_command.params
        if isinstance(param, click.Option)
        for name in param.opts
    }
    axes = [read_variants(variants)] if variants else []
    axes += [read_vary(text, options) for text in vary]
    if seed_count is not None:
        last = first_seed + seed_count - 1
        if last not in SEEDS:
            raise TandemError(f"--seeds {seed_count}: the last seed would be {last}; give fewer")
        axes.append(seeds(seed_count, first_seed))
    names = [axis.name for axis in axes]
    for name in names:
        if names.count(name) > 1:
            raise TandemError(f"{name} is varied twice; give all its values together")
        if f"--{name}" in context.obj and name != SEED:
            raise TandemError(f"{name} is both given and varied; give it once")
    return axes


def _settings_of(arguments: Sequence[str]) -> dict[str, Any]:
    """Return what arguments of ``train`` come to, as plain data.

    Raises:
        UsageError: a value cannot be, or an option does not belong here.
        TandemError: settings cannot be together.
    """
    try:
        with train_command.make_context("train", ["--out", "?", *arguments]) as context:
            settings = dict(context.params)
    except click.UsageError as error:
        raise click.UsageError(
            f"{error.format_message()} (of: {' '.join(arguments)})", click.get_current_context()
        ) from error
    if str(settings["out"]) != "?" or any(settings[name] for name in NOT_VARIED[1:7]):
        raise click.UsageError(f"{', '.join(NOT_VARIED)} are the sweep's, not a training's")
    settings = {name: value for name, value in settings.items() if name not in NOT_VARIED}
    rest = dict(settings)
    training_options(rest)
    check_spiking_options(rest)
    settings["firing_delay"] = steps_of_delay(
        settings["firing_delay"], settings["num_steps"], ConversionError
    )
    named = model_file_of(settings["model"])
    if named is not None:  # with another content it is another training
        settings[MODEL_DIGEST] = file_digest(named[0])
    return {name: _plain(value) for name, value in sorted(settings.items())}


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back."""
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def _paths_read() -> list[str]:
    """Return the names of what ``train`` reads from files."""
    paths = [param.name for param in train_command.params if isinstance(param.type, click.Path)]
    return [name for name in paths if name is not None and name not in NOT_VARIED]


def _refuse_nothing(points: Sequence[Point], skipped: Sequence[Skipped]) -> None:
    if not points:
        raise TandemError(
            f"no combination can be trained; the first one cannot because {skipped[0].reason}"
        )
