"""Options out of a file, ``--config FILE``, and what a command was given as such a file.

A file is TOML: names of options without dashes in front, and their values; or the JSON that a
command wrote, which has the options under "command". What stands on the command line wins.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from tandem_hw.atomic_write import reported, write_whole
from tandem_hw.cli.given.model_name import near_names
from tandem_hw.errors import FileFormatError, TandemError
from tandem_hw.plain_text import plain
from tandem_hw.temporaries import remove_abandoned
from tandem_hw.version import installed_version

#: Where the JSON of a command has its name and its options.
COMMAND: Final = "command"
_NAME, _OPTIONS = "name", "options"
#: More than the options of any command take.
_BYTES_MAX: Final = 1 << 20
#: Beyond the integers of any option; what is far beyond, Python does not write as text.
_INTEGER_END: Final = 10**300
_CONFIG: Final = "config"
#: Where a command's context keeps what the file gave, by parameter.
_META: Final = f"{__name__}.given"
#: What says which parameters are not kept.
LeftOut = Callable[[click.Parameter], bool]


def with_config(command: click.Command) -> click.Command:
    """Return a command that takes ``--config`` as well, if it has anything to be said in a file."""
    if not command.params:
        return command
    option = click.Option(
        [f"--{_CONFIG}"],
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_use_file,
        help="Options from a TOML file, by their names (epochs = 3), or from the JSON that this "
        "command wrote; what is given beside it wins.",
    )
    extended = copy.copy(command)
    extended.params = [*command.params, option]
    return extended


def config_path(context: click.Context) -> Path | None:
    """Return the file that a command takes options from, or None."""
    given = context.meta.get(_META)
    return None if given is None else given[0]


def given_in_file(context: click.Context) -> dict[str, Any]:
    """Return what the file of a command's options says, by the names of parameters.

    Values are as the command line has them: texts, lists of them, or True and False of flags.
    """
    given = context.meta.get(_META)
    return {} if given is None else dict(given[1])


def is_given(context: click.Context, name: str) -> bool:
    """Whether a parameter's value was given, in whatever way, and is not the default.

    Args:
        context: of the command.
        name: of the parameter.
    """
    return context.get_parameter_source(name) not in (None, ParameterSource.DEFAULT)


def _use_file(context: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    """Put a file's values in the place of the options' defaults, and of a recipe's values."""
    if path is not None:
        values = read_options(path, context)
        context.meta[_META] = (path, values)
        context.default_map = {**(context.default_map or {}), **values}
    return path


# Reading ------------------------------------------------------------------------------------------


def read_options(path: Path, context: click.Context) -> dict[str, Any]:
    """Return the options of a command that a file says, by the names of parameters.

    Args:
        path: TOML, or JSON where its name ends in ``.json``.
        context: of the command.

    Returns:
        Values as the command line has them: texts, lists of them where an option can be given
        several times, True and False of flags.

    Raises:
        FileFormatError: the file cannot be read, names an option that the command does not have,
            or has a value that it does not take.
    """
    command = context.command
    content = _read(path, str(command.name))
    known = {key: param for key, param in _keyed(command) if param.name != _CONFIG}
    found: dict[str, Any] = {}
    for key, value in content.items():
        param = known.get(key.replace("_", "-"))
        if param is None or param.name is None:
            raise FileFormatError(
                f'{path}: {command.name} has no option "{plain(key)}"'
                f"{near_names(key.replace('_', '-'), list(known))}"
            )
        if param.name in found:
            raise FileFormatError(f"{path}: {plain(key)} is given twice; give it once")
        found[param.name] = _checked(path, key, value, param, context)
    return found


def _read(path: Path, command: str) -> dict[str, Any]:
    """Return the names and values of a file."""
    if not path.is_file():
        raise FileFormatError(f"{path}: there is no such file; --config takes a file of options")
    raw = bytes_of_options(path)
    is_json = path.suffix.lower() == ".json"
    try:
        text = raw.decode("utf-8")
        content = json.loads(text) if is_json else parse_toml(text)
    except (ValueError, RecursionError) as error:  # of both formats, and of texts that are none
        kind = "JSON" if is_json else "TOML"
        raise FileFormatError(f"{path}: is no {kind} ({plain(str(error))})") from error
    return _of_command(path, content, command) if is_json else content


def bytes_of_options(path: Path) -> bytes:
    """Return what is in a file of options; a device, or what is far too large, is not read.

    Args:
        path: the file.

    Raises:
        FileFormatError: it cannot be read, or is no such file.
    """
    with reported(path, "read"):
        if not path.is_file() and not path.is_dir():  # a pipe would be waited for
            raise FileFormatError(f"{path}: is not an ordinary file, and no file of options")
        with path.open("rb") as file:
            raw = file.read(_BYTES_MAX + 1)
    if len(raw) > _BYTES_MAX:
        raise FileFormatError(f"{path}: is larger than {_BYTES_MAX} bytes, and no file of options")
    return raw


def parse_toml(text: str) -> dict[str, Any]:
    """Return what TOML says.

    Raises:
        ValueError: says where it is none.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    content = tomllib.loads(text)
    _refuse_huge(content)
    return content


def _refuse_huge(value: Any) -> None:
    """Refuse integers that Python holds, from their hexadecimal digits, and does not write."""
    if isinstance(value, int) and abs(value) >= _INTEGER_END:
        raise ValueError("an integer has more than 300 digits")
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            _refuse_huge(one)


def _of_command(path: Path, content: Any, command: str) -> dict[str, Any]:
    """Return the options that the JSON of a command has."""
    kept = content.get(COMMAND) if isinstance(content, dict) else None
    kept = kept if isinstance(kept, dict) else {}
    options = kept.get(_OPTIONS)
    if not isinstance(options, dict):
        raise FileFormatError(
            f"{path}: does not say the options of a command; give the JSON that tandem-hw "
            f"{command} wrote, or TOML"
        )
    if kept.get(_NAME) != command:
        raise FileFormatError(
            f"{path}: has the options of {plain(str(kept.get(_NAME)))}, not of {command}"
        )
    return options


def _keyed(command: click.Command) -> Iterator[tuple[str, click.Parameter]]:
    """Yield what a command can be given, by the names in a file."""
    options = {_option_key(one): one for one in command.params if isinstance(one, click.Option)}
    for param in command.params:
        if not isinstance(param, click.Option):
            key = param.human_readable_name.lower()
            yield str(param.name).replace("_", "-") if key in options else key, param
    yield from options.items()


def _option_key(option: click.Option) -> str:
    return max(option.opts, key=len).lstrip("-")


def _checked(
    path: Path, key: str, value: Any, param: click.Parameter, context: click.Context
) -> Any:
    """Return a value as the command line has it, if the parameter takes it."""
    try:
        words = _as_given(value, param)
        param.type_cast_value(context, words)
    except (click.BadParameter, _UnfitError) as error:
        said = error.message if isinstance(error, click.BadParameter) else str(error)
        raise FileFormatError(f"{path}: {plain(key)} is {plain(repr(value))}: {said}") from error
    except (TandemError, ValueError) as error:  # the latter of what no command line can hold
        raise FileFormatError(f"{path}: {plain(key)}: {error}") from error
    return words


class _UnfitError(Exception):
    """A value is of a type that no value of an option has."""


def _as_given(value: Any, param: click.Parameter) -> Any:
    """Return a value of a file as the words of a command line."""
    if isinstance(param, click.Option) and param.is_flag:
        if not isinstance(value, bool):
            raise _UnfitError("give true or false")
        return value
    if param.multiple or param.nargs != 1:
        return [_text(one) for one in (value if isinstance(value, list) else [value])]
    if isinstance(value, dict):
        return ",".join(f"{name}={_text(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return _text(value)


def _text(value: Any) -> str:
    """Return a single value as the command line has it; a number of its whole length."""
    if isinstance(value, bool):
        raise _UnfitError("true and false are for options without a value")
    if isinstance(value, list | dict):
        raise _UnfitError("it holds a list within a list")
    return repr(value) if isinstance(value, int | float) else str(value)


# Writing ------------------------------------------------------------------------------------------


def used_options(context: click.Context, is_left_out: LeftOut) -> dict[str, Any]:
    """Return all that a command runs with, as plain data by the names in a file.

    What is None, an empty list or was not given at all is left out, as its default is that.

    Args:
        context: of the command.
        is_left_out: of a parameter, such as one that names a file to write.
    """
    return {
        key: _plain(context.params[param.name])
        for key, param in _keyed(context.command)
        if param.name in context.params
        and context.params[param.name] not in (None, ())
        and not is_left_out(param)
    }


def command_record(context: click.Context, is_left_out: LeftOut) -> dict[str, Any]:
    """Return what the JSON of a command says of it, for ``--config`` to read again.

    Args:
        context: of the command.
        is_left_out: as for ``used_options``.
    """
    return {_NAME: context.command.name, _OPTIONS: used_options(context, is_left_out)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float) else str(value)


def write_options(
    path: Path, command: str, options: Mapping[str, Any], remark: str | None = None
) -> None:
    """Write the options of a command as TOML, whole or not at all.

    Args:
        path: the file.
        command: its name.
        options: as ``used_options`` returns them.
        remark: a line that is said above them, or None.

    Raises:
        FileFormatError: the path cannot be written to.
    """
    import tomli_w

    remove_abandoned(path)
    comment = (
        f"# What tandem-hw {command} ran with (tandem-hw {installed_version()}).\n"
        f"# tandem-hw {command} --config THIS_FILE --out FOLDER does it again.\n"
        f"{'' if remark is None else f'# {remark}'}\n"
    )
    write_whole(path, (comment + tomli_w.dumps(dict(options))).encode())
