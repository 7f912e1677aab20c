"""The pages of the reference, made from the package itself: public names and command line."""

from __future__ import annotations

import inspect
from itertools import groupby
from typing import Final

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import tandem_hw
from tandem_hw.cli import main

API_PAGE: Final = "reference/api.md"
COMMANDS_PAGE: Final = "reference/command-line.md"
#: Rooms of the package in the order of the work, and what they are called here.
_TITLES: Final = {
    "data": "Data",
    "conversion": "From an ordinary network",
    "learning": "Spiking networks in training",
    "training": "Training",
    "network": "Integers",
    "export": "Files",
    "sim": "Backends",
    "verification": "Verification",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    files.append(File.generated(config, API_PAGE, content=api()))
    files.append(File.generated(config, COMMANDS_PAGE, content=command_line()))
    return files


def api() -> str:
    """Return the page of the public names, by the rooms that they live in."""
    order = list(_TITLES)
    rooms = {name: room_of(name) for name in tandem_hw.__all__}
    places = {room: order.index(room) if room in order else len(order) for room in rooms.values()}
    names = sorted(rooms, key=lambda name: (places[rooms[name]], rooms[name], name))
    parts = ["# Python", "All public names of the package `tandem_hw`."]
    for room, group in groupby(names, rooms.__getitem__):
        parts.append(f"## {_TITLES.get(room, room.capitalize())}")
        parts += [f"::: tandem_hw.{name}" for name in group]
    return "\n\n".join(parts) + "\n"


def room_of(name: str) -> str:
    """Return the room of the package in which a public name is defined."""
    return str(getattr(tandem_hw, name).__module__.split(".")[1])


def command_line() -> str:
    """Return the page of all commands and their options."""
    context = click.Context(main, info_name="tandem-hw", help_option_names=["-h", "--help"])
    parts = ["# Command line", paragraphs(main)]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        parts += of_command(command, click.Context(command, parent=context, info_name=name))
    return "\n\n".join(parts) + "\n"


def of_command(command: click.Command, context: click.Context) -> list[str]:
    """Return the section of a command."""
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    options = [one for one in command.params if isinstance(one, click.Option)]
    rows = [record for one in options if (record := one.get_help_record(context))]
    table = [f"| {code(names)} | {plain(text)} |" for names, text in rows]
    head = [f"## {context.info_name}", f"```text\n{usage}\n```", paragraphs(command)]
    return [*head, "\n".join(["| option | what it does |", "|---|---|", *table])]


def paragraphs(command: click.Command) -> str:
    """Return the help of a command."""
    return plain(inspect.cleandoc(command.help or ""))


def plain(text: str) -> str:
    """Return a text in which Markdown finds nothing to interpret."""
    for sign in "\\`*_<>[]|#":
        text = text.replace(sign, f"&#{ord(sign)};") if sign != "#" else text
    return text


def code(text: str) -> str:
    """Return a text as code in a table."""
    return f"<code>{plain(text)}</code>"
