"""A network of the user's own, out of a file whose code is run: ``--model FILE.py:NAME``.

It is the one place where tandem-hw runs what is in a file, and it does so for a file that is named
for that alone. What is trained then is saved without it: a checkpoint holds all of a network.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import torch
from torch import nn

from tandem_hw.cli.given.model_name import model_file_of, near_names, parsed, syntax_fault
from tandem_hw.errors import ConversionError, TandemError
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.zoo.models import build

#: What comes before a file's name in that of its module, so that it takes the place of no other.
_MODULE: Final = "tandem_hw_model_file_"


def announcement(model: str) -> str | None:
    """Return what is said before a file's code is run; None where none makes the network.

    Args:
        model: the value of ``--model``.
    """
    named = model_file_of(model)
    return None if named is None else f"running the code of {named[0]}, which --model names"


def build_model(model: str, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Return an ordinary network by the name that ``--model`` has for it.

    A class or a function of a file gets ``input_shape`` and ``num_classes`` where it has
    parameters of these names, and nothing else.

    Args:
        model: a network of the zoo, or FILE.py:NAME.
        input_shape: shape of one sample.
        outputs: number of outputs that the data need.

    Raises:
        ConversionError: there is no such network, it does not suit the shape, or the code of the
            file fails; the message has its line.
        FileFormatError: the file cannot be read.
    """
    named = model_file_of(model)
    if named is None:
        return build(model, input_shape, outputs)
    path, wanted = named
    with located(model):
        found = _found(_run(path), path, wanted)
        offered = {"input_shape": tuple(input_shape), "num_classes": outputs}
        return _made(found, f"{path}:{wanted}", offered)


@contextmanager
def located(model: str) -> Iterator[None]:
    """Turn what fails in the code of a model's file into one line that says where in the file.

    Args:
        model: the value of ``--model``; with a network of the zoo nothing is changed.

    Raises:
        ConversionError: names the file, the line and the error.
    """
    named = model_file_of(model)
    if named is None:
        yield
        return
    path = named[0]
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a file's code raises, SystemExit among it
        line = _line(error, path)
        if isinstance(error, SyntaxError):
            raise ConversionError(syntax_fault(error, path)) from error
        if line is None:
            raise  # nothing of the file was running
        raise ConversionError(f"{path}:{line}: {_in_a_line(error)}") from error


def _in_a_line(error: BaseException) -> str:
    """Return what an error says, and of which type it is if it is none of ours."""
    try:
        said = (str(error).splitlines() or [""])[0]
    except Exception:  # an error of the file's own, which cannot say what it is
        said = ""
    if isinstance(error, TandemError):
        return said
    if isinstance(error, SystemExit):
        return (
            f"SystemExit{f' {said}' if said else ''} ends the program; put what is no network "
            f'under if __name__ == "__main__"'
        )
    return f"{type(error).__name__}{f': {said}' if said else ''}"


def _line(error: BaseException | None, path: Path) -> int | None:
    """Return the last line of a file that was running when an error came, or its cause did."""
    own = os.fspath(path)
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == own]
        if lines:
            return lines[-1]
        error = error.__cause__ or error.__context__
    return None


def _run(path: Path) -> ModuleType:
    """Run a file, and return it as a module; files beside it can be imported in it."""
    tree = parsed(path)
    module = ModuleType(f"{_MODULE}{path.stem}")
    module.__file__ = os.fspath(path)
    sys.modules[module.__name__] = module  # where dataclasses look for their module
    folder = os.path.dirname(os.path.realpath(path))
    sys.path.insert(0, folder)  # as Python has it for a program
    try:
        code = compile(tree, os.fspath(path), "exec", dont_inherit=True)
        with torch.enable_grad():  # what the file says of gradients ends with it
            exec(code, module.__dict__)
    finally:
        # It is the last from now on: no file there stands for a library that is imported later.
        sys.path[:] = [one for one in sys.path if one != folder] + [folder]
    return module


def _found(module: ModuleType, path: Path, wanted: str) -> Any:
    """Return what has a name in a module.

    Raises:
        ConversionError: nothing has; those that could be meant are named.
    """
    if hasattr(module, wanted):
        return getattr(module, wanted)
    own = [name for name, value in vars(module).items() if _may_be_meant(name, value, module)]
    raise ConversionError(f'{path}: has no "{wanted}"{near_names(wanted, own)}')


def _may_be_meant(name: str, value: object, module: ModuleType) -> bool:
    is_made_here = callable(value) and getattr(value, "__module__", None) == module.__name__
    return not name.startswith("_") and (isinstance(value, nn.Module) or is_made_here)


def _made(found: Any, name: str, offered: Mapping[str, Any]) -> nn.Module:
    """Return the module that a class or a function makes, or that is there already.

    Args:
        found: what has the name.
        name: of it, for messages.
        offered: arguments for parameters of these names.

    Raises:
        ConversionError: it is no module and makes none, or needs more arguments.
    """
    is_class = isinstance(found, type)
    if isinstance(found, nn.Module) or not callable(found):
        made = found
    elif is_class and not issubclass(found, nn.Module):
        raise ConversionError(f"{name}: is a class, and no torch.nn.Module; let it inherit from it")
    else:
        made = found(**_arguments(found, name, offered))
    if isinstance(made, TandemNetwork):
        raise ConversionError(
            f"{name}: gives a TandemNetwork; give the ordinary network, which the command "
            f"converts with its own options"
        )
    if not isinstance(made, nn.Module):
        of = f"gives {made!r}" if made is not found else f"is {made!r}"
        raise ConversionError(
            f"{name}: {of}; a subclass of torch.nn.Module is needed, a function that returns a "
            f"module, or a module"
        )
    _check_made(made, name)
    return made


def _check_made(made: nn.Module, name: str) -> None:
    """Refuse what is no tree of modules, which PyTorch says of nowhere."""
    if "_modules" not in vars(made):
        raise ConversionError(f"{name}: its __init__ does not call super().__init__(); let it")
    above, done = {id(made)}, set[int]()
    open_ = [(made, made.children())]
    while open_:
        module, children = open_[-1]
        child = next(children, None)
        if child is None:
            done.add(id(module))
            above.remove(id(module))
            open_.pop()
        elif id(child) in above:
            raise ConversionError(f"{name}: has a module within itself; take it out")
        elif id(child) not in done:
            above.add(id(child))
            open_.append((child, child.children()))


def _arguments(maker: Any, name: str, offered: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the arguments that a class or a function has parameters for."""
    try:
        parameters = inspect.signature(maker).parameters.values()
    except (TypeError, ValueError):  # written in C
        return {}
    by_name = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    given = {one.name for one in parameters if one.kind in by_name} & offered.keys()
    several = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    needed = [
        one.name
        for one in parameters
        if one.default is one.empty and one.kind not in several and one.name not in given
    ]
    if needed:
        raise ConversionError(
            f"{name}: needs {', '.join(needed)}, and only {' and '.join(offered)} are given; give "
            f"{'it a default value' if len(needed) == 1 else 'them default values'}"
        )
    return {one: offered[one] for one in offered if one in given}
