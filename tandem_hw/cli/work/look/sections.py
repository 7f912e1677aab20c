"""Sections of a report: the tables and lines of the terminal, with pictures beside them.

These need no PyTorch.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from rich.table import Table as RichTable

from tandem_hw.chip.budget import chip_budget
from tandem_hw.cli.work.budget_tables import budget_table, energy_line, time_line
from tandem_hw.cli.work.network_tables import layer_tables, window_words
from tandem_hw.errors import NetworkError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults
from tandem_hw.network.saturation import head_room_bits, unproven_lines
from tandem_hw.report.page.chip_map import chip_picture
from tandem_hw.report.page.content import Section, Table, cells
from tandem_hw.report.page.layers import head_room_picture, weight_pictures
from tandem_hw.version import installed_version, package_versions

_Row = TypeVar("_Row")

#: A page has room for tables of any width.
_ANY_WIDTH: Final = 1 << 16
#: Rows of a table, at most; of more it has every n-th, so that a page stays within 3 MB.
_ROWS_MAX: Final = 1200


def page_table(table: RichTable) -> Table:
    """Return a table of the terminal as one of a page."""
    rows = list(zip(*(list(column.cells) for column in table.columns), strict=True))
    kept, note = _thinned(rows)
    return Table(
        str(table.title or ""),
        tuple(str(column.header) for column in table.columns),
        tuple(cells(*row) for row in kept),
        frozenset(index for index, column in enumerate(table.columns) if column.justify == "right"),
        f"{table.caption or ''} {note}".strip(),
    )


def network_section(network: QuantizedNetwork) -> Section:
    """Return what a network is: its layers, their integers and weights."""
    spec = network.input
    text = (
        f"Input {spec.shape}, {spec.bits} bits, scale {spec.scale:.6g}, encoding {spec.encoding}; "
        f"{window_words(network)}, reset {network.reset}, readout {network.readout}."
    )
    tables = [page_table(table) for table in layer_tables(network, _ANY_WIDTH)]
    warnings, pictures = unproven_lines(network), weight_pictures(network)
    return Section("network", "The network", [text], warnings, tables, pictures)


def bounds_section(network: QuantizedNetwork) -> Section:
    """Return the head room that is proven for each layer, whatever the samples."""
    bits = {
        layer.name: head_room_bits(max(abs(bounds.low), abs(bounds.high)))
        for layer, bounds in zip(network.layers, network.bounds, strict=True)
    }
    caption = (
        "Bits between the largest state that interval arithmetic cannot exclude and the limit."
    )
    return Section("bounds", "Proven head room", pictures=[head_room_picture(bits, caption)])


def chip_section(
    network: QuantizedNetwork, run: RunResults | None = None, further: Sequence[str] = ()
) -> Section:
    """Return what a network would take of a Loihi 2, with where each number comes from.

    Args:
        network: what would be deployed.
        run: what it did, for time and energy; None for upper bounds.
        further: lines that come below.
    """
    title = "On a Loihi 2"
    try:
        budget = chip_budget(network, run)
    except NetworkError as error:
        return Section("chip", title, warnings=[f"No Loihi 2 board can run it: {error}"])
    texts = [
        *budget.summary.splitlines(),
        f"{_sentence(time_line(budget))}.",
        f"Energy: {energy_line(budget)}.",
        "All of this is estimated, nothing measured: cores and memory by the rules that the "
        "compiler's published tables show, the time of a step by a model of the busiest core and "
        "link with published constants, energy by the sources named beside each number. "
        "docs/chip-budget.md says how far off such an estimate has been.",
    ]
    return Section(
        "chip", title, [*texts, *further], tables=[page_table(budget_table(budget))],
        pictures=[chip_picture(budget)],
    )  # fmt: skip


def provenance_section(
    options: Iterable[tuple[str, str]], digests: Mapping[str, str], title: str = "Options"
) -> Section:
    """Return what it takes to make the same again: options, versions and digests.

    Args:
        options: names and values.
        digests: what each is of, and the digest.
        title: of the table of options.
    """
    versions = {
        "tandem-hw": installed_version(),
        "Python": platform.python_version(),
        **package_versions(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    tables = [
        _pairs(title, "option", "value", options),
        _pairs("Versions", "package", "version", versions.items()),
        _pairs("Digests (SHA-256)", "of", "digest", digests.items()),
    ]
    return Section(
        "provenance", "Options, versions, digests", tables=[one for one in tables if one.rows]
    )


def plain_section(key: str, title: str, values: Mapping[str, Any], text: str) -> Section:
    """Return numbers by name, as a table."""
    rows = [(name.replace("_", " "), _shown(value)) for name, value in values.items()]
    return Section(
        key, title, [text], tables=[_pairs(title, "what", "value", rows)] if rows else []
    )


def layers_table(caption: str, layers: Sequence[Mapping[str, Any]]) -> Table:
    """Return layers of a file as a table, a column for each of their fields."""
    names = list(dict.fromkeys(name for layer in layers for name in layer))
    kept, note = _thinned(layers)
    rows = tuple(
        cells(*("" if layer.get(name) is None else _shown(layer[name]) for name in names))
        for layer in kept
    )
    numbers = frozenset(
        index
        for index, name in enumerate(names)
        if all(isinstance(layer.get(name), int | float | None) for layer in layers)
    )
    return Table(caption, tuple(name.replace("_", " ") for name in names), rows, numbers, note)


def _thinned(rows: Sequence[_Row]) -> tuple[Sequence[_Row], str]:
    """Return the rows that a table has, the last one among them, and what is said about it."""
    every = max(1, -(-len(rows) // _ROWS_MAX))
    if every == 1:
        return rows, ""
    last = [] if (len(rows) - 1) % every == 0 else [rows[-1]]
    return [*rows[::every], *last], f"One of every {every} of {len(rows)} rows, and the last one."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _pairs(caption: str, name: str, value: str, rows: Iterable[tuple[str, Any]]) -> Table:
    return Table(caption, (name, value), tuple(cells(*row) for row in rows))
