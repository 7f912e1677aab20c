"""How a network is named on the command line: one of the zoo, or FILE.py:NAME.

Without PyTorch, and without running a file: it is looked at, so that help and what can be refused
come at once. ``tandem_hw.cli.given.model_file`` runs it.
"""

from __future__ import annotations

import ast
import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click

from tandem_hw.atomic_write import reported
from tandem_hw.errors import ConversionError, FileFormatError
from tandem_hw.zoo.catalogue import MODELS

_SUFFIX: Final = ".py"
#: What stands for a file in help.
FORM: Final = "FILE.py:NAME"
#: What is said of a model in help.
MODEL_HELP: Final = (
    f"A network of the zoo, or {FORM} for one of yours: a class, a function that returns a "
    f"module, or a module there. This runs the code of FILE.py."
)


class ModelName(click.Choice):  # type: ignore[type-arg]
    """The type of a network's name: one of the zoo's, or a file that makes one, and a name in it.

    The value stays a text; ``model_file_of`` takes it apart.
    """

    def __init__(self) -> None:
        super().__init__(list(MODELS))

    def get_metavar(self, *_: Any, **__: Any) -> str:
        """Return what help shows for a value."""
        return f"[{'|'.join([*MODELS, FORM])}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, if there is such a network, or such a file with such a name."""
        named = model_file_of(str(value))
        if named is None:
            return str(super().convert(value, param, ctx))
        check_model_file(*named)
        return str(value)


#: The option of the commands that train.
model_option = click.option(
    "--model", type=ModelName(), default="lenet", show_default=True, help=MODEL_HELP
)


def model_file_of(name: str) -> tuple[Path, str] | None:
    """Return the file and the name in it that FILE.py:NAME says; None of a network of the zoo.

    Args:
        name: the value of ``--model``. A file without a name gives an empty one.
    """
    path, _, wanted = name.rpartition(":")
    if path.endswith(_SUFFIX):
        return Path(path), wanted
    return (Path(name), "") if name.endswith(_SUFFIX) else None


def check_model_file(path: Path, wanted: str) -> None:
    """Refuse a file that cannot be run, and what is no name; the file is read and not run.

    Args:
        path: the file.
        wanted: the name in it.

    Raises:
        FileFormatError: there is no such file.
        ConversionError: it is no Python, with the line, or no name is given.
    """
    if not path.is_file():
        raise FileFormatError(
            f"{path}: there is no such file; --model takes {FORM}, or a network of the zoo: "
            f"{', '.join(MODELS)}"
        )
    tree = parsed(path)
    if not wanted.isidentifier():
        said = f'"{wanted}" is no name in a file' if wanted else "the name of a network is missing"
        raise ConversionError(
            f"{path}: {said}; give --model {path}:NAME, a class, a function or a module"
            f"{_for_instance(_defined(tree))}"
        )


def parsed(path: Path) -> ast.Module:
    """Return what a Python file says, which is not run.

    Raises:
        FileFormatError: it cannot be read.
        ConversionError: it is no Python; the message has the line.
    """
    with reported(path, "read"):
        source = path.read_bytes()
    try:
        return ast.parse(source, os.fspath(path))
    except (SyntaxError, ValueError) as error:  # null bytes were a ValueError before Python 3.12
        raise ConversionError(syntax_fault(error, path)) from error
    except (MemoryError, RecursionError) as error:  # what Python's parser says of thousands of "-"
        raise ConversionError(f"{path}: is nested too deeply for Python") from error


def syntax_fault(error: SyntaxError | ValueError, path: Path) -> str:
    """Return in one line where a file is no Python, and why.

    Args:
        error: what Python says of it.
        path: the file that was read; the error may be of another one, which that imports.
    """
    if not isinstance(error, SyntaxError):
        return f"{path}: is no Python ({error})"
    place = error.filename or os.fspath(path)
    line = "" if error.lineno is None else f":{error.lineno}"
    text = (error.text or "").strip()
    return f"{place}{line}: {error.msg}{f' in: {text}' if text else ''}"


def _defined(tree: ast.Module) -> list[str]:
    """Return the names of the classes and functions of a file; classes first, none hidden."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    names = [*classes, *(node.name for node in tree.body if isinstance(node, functions))]
    return [name for name in names if not name.startswith("_")]


def _for_instance(names: list[str]) -> str:
    return f"; it has {', '.join(names)}" if names else ""


def near_names(wanted: str, names: list[str]) -> str:
    """Return the end of a message about a name that is missing: which there are that are like it.

    Args:
        wanted: what was looked for.
        names: what there is; may be empty.
    """
    near = get_close_matches(wanted, names)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return _for_instance(names)
