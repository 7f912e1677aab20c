"""The files that a command writes: what they may be called, and that they are said.

Whether a file that is there may be replaced, and whether standard output belongs to JSON, is kept
with click's context, where ``check_outputs`` and the consoles of all commands find it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from tandem_hw.errors import FileFormatError
from tandem_hw.plain_text import plain

#: What ``--json -`` means.
STANDARD_OUTPUT: Final = Path("/dev/stdout")
#: Suffixes that say what is in a file.
_KNOWN: Final = frozenset(
    (
        *(".json", ".csv", ".tsv", ".npz", ".npy", ".png", ".svg", ".pdf", ".jpg", ".jpeg", ".gif"),
        *(".txt", ".md", ".html", ".htm", ".xml", ".toml", ".yaml", ".yml", ".log", ".py", ".sh"),
        *(".net", ".nir", ".onnx", ".c", ".h", ".pt", ".pth", ".h5", ".hdf5", ".zip", ".gz"),
    )
)
_SUFFIXES: Final = "tandem_hw.suffixes"
_OVERWRITE: Final = "tandem_hw.overwrite"
_STANDARD_OUTPUT_TAKEN: Final = "tandem_hw.standard_output_taken"


def expect_suffix(context: click.Context, path: Path, suffix: str) -> None:
    """Keep what is written to a file, for ``require_name``.

    Args:
        context: of the command.
        path: of the file.
        suffix: what files of its kind end in.
    """
    context.meta.setdefault(_SUFFIXES, {})[path] = suffix


def require_name(path: Path) -> None:
    """Refuse a file whose name says that it is of another kind; a name may say nothing.

    Args:
        path: what shall be written.

    Raises:
        FileFormatError: its suffix is that of other files.
    """
    context = click.get_current_context(silent=True)
    suffix = None if context is None else context.meta.get(_SUFFIXES, {}).get(path)
    found = path.suffix.lower()
    if suffix is not None and found != suffix and found in _KNOWN:
        raise FileFormatError(
            f"{path}: ends in {found}, and what is written there is {suffix[1:]}; give it a name "
            f"that ends in {suffix}"
        )


def overwrite_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--overwrite``: without it a command refuses to replace a file."""
    return click.option(
        "--overwrite",
        is_flag=True,
        expose_value=False,
        callback=_keep_overwrite,
        help="Replace files that are there already.",
    )(command)


def _keep_overwrite(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_OVERWRITE] = value


def require_free(path: Path) -> None:
    """Refuse to replace a file, in a command that asks for ``--overwrite`` and was not given it.

    Args:
        path: what shall be written.

    Raises:
        FileFormatError: there is such a file.
    """
    context = click.get_current_context(silent=True)
    may_replace = True if context is None else context.meta.get(_OVERWRITE, True)
    if not may_replace and path.exists():
        raise FileFormatError(
            f"{path}: is there already; replace it with --overwrite, or give another name"
        )


def take_standard_output(context: click.Context) -> None:
    """Keep standard output for JSON: what is for people goes to standard error."""
    context.meta[_STANDARD_OUTPUT_TAKEN] = True


def standard_output_is_taken() -> bool:
    """Whether standard output holds JSON and nothing else."""
    context = click.get_current_context(silent=True)
    return context is not None and _STANDARD_OUTPUT_TAKEN in context.meta


def written_lines(*paths: Path | None) -> list[str]:
    """Return a line for each file that was written; None stands for one that was not asked for."""
    return [plain(f"wrote {path}", None) for path in paths if path not in (None, STANDARD_OUTPUT)]
