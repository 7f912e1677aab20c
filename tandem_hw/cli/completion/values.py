"""Values of options and arguments that the Tab key completes beside those of a fixed choice.

Each function is a ``shell_complete`` of click: it takes the context, the parameter and what is
typed so far, and returns what may stand there. None imports NumPy or PyTorch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from tandem_hw.data.catalogue import KNOWN_SPECS, OPTIONS
from tandem_hw.examples.catalogue import EXAMPLES, PREFIX

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem[str]]"]


def names_with_commas(names: Iterable[str]) -> Completer:
    """Return what completes the word behind the last comma by names that are not there already.

    Args:
        names: what a word may be.
    """

    def complete(
        context: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        before, comma, word = incomplete.rpartition(",")
        given = before.split(",")
        rest = [name for name in names if name.startswith(word) and name not in given]
        return _plain(f"{before}{comma}{name}" for name in rest)

    return complete


def networks(
    context: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete NET: the name of an example, or a file."""
    examples = [
        example.spec for example in EXAMPLES.values() if example.spec.startswith(incomplete)
    ]
    if incomplete.startswith(PREFIX):
        return _plain(examples)
    if examples:  # a shell that looks for files itself would show one or the other
        return _plain([*examples, *_paths(incomplete)])
    return _files(incomplete)


def data_sets(
    context: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Complete DATA: the name of a data set, or the path behind a prefix such as ``npz:``."""
    prefix, colon, path = incomplete.partition(":")
    if f"{prefix}{colon}" in OPTIONS:
        return _plain(f"{prefix}:{found}" for found in _paths(path))
    names = (spec.removesuffix("PATH") for spec in KNOWN_SPECS)
    return _plain(name for name in names if name.startswith(incomplete))


def _plain(values: Iterable[str]) -> list[CompletionItem[str]]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(value) for value in values]


def _files(incomplete: str) -> list[CompletionItem[str]]:
    """Leave it to the shell to look for files."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def _paths(incomplete: str) -> list[str]:
    """Return the files and folders that a path may be meant for; folders end in a slash.

    Args:
        incomplete: the path so far, which may begin with the home folder's ``~``.
    """
    folder, name = os.path.split(incomplete)
    start = incomplete.removesuffix(name)
    try:
        found = sorted(os.scandir(os.path.expanduser(folder) or "."), key=lambda one: one.name)
    except OSError:
        return []
    return [
        f"{start}{one.name}{os.sep if one.is_dir() else ''}"
        for one in found
        if one.name.startswith(name)
        and one.name.isprintable()
        and (name.startswith(".") or not one.name.startswith("."))
    ]
