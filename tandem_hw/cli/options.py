"""Options and steps that several commands share.

The modules that hold commands and options import neither PyTorch nor NumPy at their top, so that
help, completion and a refused argument come at once; what computes is imported when it is due.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tandem_hw import atomic_write
from tandem_hw.atomic_write import require_writable
from tandem_hw.cli.completion.values import data_sets, networks
from tandem_hw.cli.given.config_file import COMMAND, command_record, config_path
from tandem_hw.cli.output.written_files import (
    STANDARD_OUTPUT,
    expect_suffix,
    require_free,
    require_name,
    take_standard_output,
)
from tandem_hw.data.catalogue import KNOWN_SPECS, data_source
from tandem_hw.errors import BackendUnavailableError, ConversionError, FileFormatError
from tandem_hw.examples.catalogue import PREFIX, example_path
from tandem_hw.learning.per_layer.widths import WeightBits, check_widths, parse_widths
from tandem_hw.network.choices import PHASED, Phased
from tandem_hw.network.fixed_point import WEIGHT_BITS_RANGE
from tandem_hw.ranges import RealRange
from tandem_hw.sim.registry import make_backend

if TYPE_CHECKING:
    from tandem_hw.network.quantized import QuantizedNetwork
    from tandem_hw.sim.backend import Backend

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class OutputPath(click.Path):
    """The type of a file to write, whose name must not say that it is a folder or another kind.

    Args:
        suffix: what files of its kind end in; "" where the command looks at it.
    """

    def __init__(self, suffix: str = "") -> None:
        super().__init__(path_type=Path)
        self.suffix = suffix

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Return the path."""
        if isinstance(value, str) and value.endswith(os.sep):  # a Path would not show it
            self.fail(f"{value!r} names a folder: give the name of a file to write", param, ctx)
        if self.suffix and ctx is not None:
            expect_suffix(ctx, Path(value), self.suffix)
        return super().convert(value, param, ctx)


class JsonPath(OutputPath):
    """The type of a file of JSON, or ``-`` for standard output."""

    def __init__(self) -> None:
        super().__init__(".json")

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Return the path."""
        if value == "-":
            value = str(STANDARD_OUTPUT)
        if value == str(STANDARD_OUTPUT) and ctx is not None:
            take_standard_output(ctx)
        return super().convert(value, param, ctx)


class NetworkPath(click.Path):
    """The type of a file of a network, or the name of one that comes with the package."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Return the path."""
        if isinstance(value, str) and value.startswith(PREFIX):
            return example_path(value)
        return super().convert(value, param, ctx)


class FiniteRange(click.FloatRange):
    """The type of a real number; what is not a number is neither too large nor too small."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is not a number", param, ctx)
        return number


data_option = click.option(
    "--data",
    default="digits",
    show_default=True,
    shell_complete=data_sets,
    help=f"Data set: {', '.join(KNOWN_SPECS)}; its test part is used.",
)
samples_option = click.option(
    "--samples", type=click.IntRange(min=1), help="Use the first so many samples (default: all)."
)
json_option = click.option(
    "--json",
    "json_path",
    type=JsonPath(),
    help="Write the results as JSON; - for standard output.",
)
device_option = click.option(
    "--device", default="cpu", show_default=True, help="Where PyTorch computes: cpu, cuda, cuda:1."
)
verbose_option = click.option(
    "--verbose", is_flag=True, help="Also show which algorithm computed each sum of spikes."
)
simulation_only_option = click.option(
    "--simulation-only", is_flag=True, help="Write a network even if no Loihi 2 board can run it."
)
network_argument = click.argument(
    "network_path", metavar="NET", type=NetworkPath(), shell_complete=networks
)


class FiringDelay(click.ParamType):  # type: ignore[type-arg]
    """The type of a firing delay: steps, or a word that the length of a window turns into steps."""

    name = "steps"

    def get_metavar(self, *_: Any, **__: Any) -> str:
        """Return what help shows for a value."""
        return f"[N|{PHASED}]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | Phased:
        """Return steps, 0 or more, or the word."""
        if value == PHASED:
            return PHASED
        steps = str(value)
        if not steps.isdecimal():
            self.fail(f'{steps!r} is no delay: give steps, 0 or more, or "{PHASED}"', param, ctx)
        return int(steps)


class Margins(click.ParamType):  # type: ignore[type-arg]
    """The type of the margins of an early exit: real numbers, or the word for a whole curve."""

    name = "margins"
    CURVE: Final = "curve"

    def get_metavar(self, *_: Any, **__: Any) -> str:
        """Return what help shows for a value."""
        return "[MARGIN,...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...] | str:
        """Return margins, 0 or more each, or the word."""
        if value == self.CURVE:
            return self.CURVE
        margins = []
        for text in str(value).split(","):
            try:
                margin = float(text)
            except ValueError:
                margin = math.nan
            if not margin >= 0 or math.isinf(margin):
                self.fail(
                    f"{text!r} is no margin: give numbers of 0 or more with commas between them, "
                    f"or none for a curve (then NET stands before --early-exit)",
                    param,
                    ctx,
                )
            margins.append(margin)
        return tuple(margins)


#: What a width may be.
WIDTHS_HELP: Final = (
    "Width of the weights, 2 to 8: of all layers, of each (8,4,8), or by name (conv1=8,others=4)."
)


class Widths(click.ParamType):  # type: ignore[type-arg]
    """The type of the widths of weights: of all layers, of each in order, or by name."""

    name = "bits"

    def get_metavar(self, *_: Any, **__: Any) -> str:
        """Return what help shows for a value."""
        return "[N|N,N,...|NAME=N,...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> WeightBits:
        """Return the widths, if they are in range."""
        if str(value).isdecimal():
            return int(whole_numbers(WEIGHT_BITS_RANGE).convert(value, param, ctx))
        try:
            widths = parse_widths(value) if isinstance(value, str) else check_widths(value)
        except ConversionError as error:
            self.fail(str(error), param, ctx)
        return widths


def whole_numbers(allowed: range) -> click.IntRange:
    """Return the type of an option that takes the numbers of a range."""
    return click.IntRange(allowed[0], allowed[-1])


def real_numbers(allowed: RealRange) -> FiniteRange:
    """Return the type of an option that takes the numbers of an interval."""
    is_bounded = math.isfinite(allowed.most)
    return FiniteRange(
        allowed.least,
        allowed.most if is_bounded else None,
        min_open=allowed.without_least,
        max_open=allowed.without_most and is_bounded,
    )


def backend_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that only some backends take, apart from ``device_option``."""
    options: tuple[Decorator, ...] = (
        click.option(
            "--stall-timeout",
            type=FiniteRange(min=1),
            default=20.0,
            show_default=True,
            help="Lava: seconds without a finished step that count as a hang.",
        ),
        click.option(
            "--period",
            type=click.IntRange(min=1),
            help="Lava: steps from one sample to the next (default: the shortest legal).",
        ),
        click.option(
            "--stock-conv", is_flag=True, help="Lava: use Lava's own slow Conv model, step by step."
        ),
    )
    for option in options:
        command = option(command)
    return command


#: The options that the constructors of backends take; one that is not here takes none.
_LAVA: Final = ("stall_timeout", "period", "stock_conv")
_TAKEN: Final = {"reference": ("device",), "lava-cpu": _LAVA, "lava-stock": _LAVA}


def backend_from_options(name: str, options: dict[str, Any]) -> Backend:
    """Make a backend with those of the options that it takes.

    Raises:
        BackendUnavailableError: there is no such backend, or no such device.
    """
    taken = {option: options[option] for option in _TAKEN.get(name, ())}
    if "device" in taken:
        check_device(taken["device"])
    return make_backend(name, **taken)


def load_network(path: Path) -> QuantizedNetwork:
    """Read NET, a network that tandem-hw or lava-dl wrote, or NIR.

    Raises:
        FileFormatError: it cannot be read.
    """
    from tandem_hw.export.files import read_network  # needs NumPy and h5py, but no PyTorch

    return read_network(path)


def check_device(device: str) -> None:
    """Refuse a device that PyTorch does not know or does not have.

    Raises:
        BackendUnavailableError: names the device and what there is.
    """
    if device == "cpu":
        return  # it is always there
    import torch  # takes seconds, and most runs have something to refuse before

    try:
        torch.zeros(1, device=device).cpu()  # the copy refuses a device without memory (meta)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise BackendUnavailableError(
            f"device {device} cannot be used ({reason}); use --device cpu"
        ) from error


def check_outputs(
    *outputs: Path | None, inputs: Sequence[Path | None] = (), data: str | None = None
) -> None:
    """Refuse outputs that cannot be written, or would take the place of what is read.

    Every command calls this before any work. A file of its options is read as well. Files are
    compared, not names: a hard link or a symbolic link to an input is that input.

    Args:
        outputs: what will be written; None for an option that was not given.
        inputs: files that are read and must survive.
        data: the data set that is read, as ``load_dataset`` takes it.

    Raises:
        FileFormatError: a path cannot be written to, is given twice, is an input, has a name of
            another kind of files, or is there and was not to be replaced.
    """
    source = None if data is None else data_source(data)
    context = click.get_current_context(silent=True)
    options = None if context is None else config_path(context)
    read = [path for path in (*inputs, source, options) if path is not None]
    written: list[Path] = []
    for path in outputs:
        if path is None or path == STANDARD_OUTPUT:
            continue
        require_writable(path)
        for other in read:
            if _is_part(path, other):
                raise FileFormatError(
                    f"{path}: would be written over {other}, which is read; give the output a file "
                    f"of its own"
                )
        if any(_is_same(path, other) for other in written):
            raise FileFormatError(f"{path}: is given twice; give every output a file of its own")
        written.append(path)
    for path in written:
        require_name(path)
        require_free(path)


def _is_part(path: Path, read: Path) -> bool:
    """Whether a path is a file that is read, or a file that is there in a folder that is read."""
    above = Path(os.path.realpath(path)).parents if os.path.exists(path) else ()
    return any(_is_same(part, read) for part in (path, *above))


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths are one file, or would be if they were written."""
    one, other = (Path(os.path.realpath(path)) for path in (one, other))
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    if os.path.exists(one) or os.path.exists(other):
        return False
    return one.name == other.name and _is_same(one.parent, other.parent)


def write_json(content: dict[str, Any], path: Path | None) -> None:
    """Write plain data as JSON, whole or not at all; nothing without a path.

    Within a command, what it was given is written beside, for ``--config`` to read again.
    """
    if path is None:
        return
    context = click.get_current_context(silent=True)
    if context is not None:
        content = {**content, COMMAND: command_record(context, is_output)}
    if path == STANDARD_OUTPUT:
        click.echo(atomic_write.json_text(content), nl=False)
    else:
        atomic_write.write_json(path, content)


def is_output(param: click.Parameter) -> bool:
    """Whether a parameter of a command names what it writes, or what is to be in it."""
    return param.name in ("out", "report_sample") or isinstance(param.type, OutputPath)
