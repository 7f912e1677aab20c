"""What the commands show fits a terminal: numbers whole, sentences cut between words alone."""

from __future__ import annotations

import io
import re

import pytest
from rich.cells import cell_len
from rich.table import Table

from tandem_hw.cli.output.sentences import terminal_width, wrapped
from tandem_hw.cli.output.table_width import natural_width
from tandem_hw.cli.terminal import make_console
from tandem_hw.cli.work.network_tables import layer_tables
from tandem_hw.network.quantized import QuantizedNetwork
from tests.helpers.networks import small_graph_network, small_image_network
from tests.helpers.recordings import small_network

LONG = "/a/path/" + "x" * 90 + "/model.net"


def shown(what: object, monkeypatch: pytest.MonkeyPatch, width: int = 80) -> list[str]:
    """Return the lines that a terminal so wide gets."""
    monkeypatch.setenv("COLUMNS", str(width))
    console = make_console()
    console._force_terminal = True
    console.file, console.width = io.StringIO(), width
    console.print(what)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())
    return plain.splitlines()


def wide_table(rows: int = 3, digits: int = 7) -> Table:
    table = Table(title="a title that says what is shown in it")
    table.add_column("layer")
    table.add_column("what it is")
    for name in ("neurons", "weights", "synapse words", "spike rate", "SynOps a sample", "MACs"):
        table.add_column(name, justify="right")
    for row in range(rows):
        numbers = [str((row + 1) * 10 ** (digits - 1) + place) for place in range(6)]
        table.add_row(f"block{row}.downsampling.convolution", "conv 3×3, padding 1", *numbers)
    return table


def test_a_table_is_no_wider_than_the_terminal_and_shows_every_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert natural_width(wide_table()) > 120
    lines = shown(wide_table(), monkeypatch)
    assert max(map(cell_len, lines)) <= 80
    words = " ".join(lines).split()
    for row in range(3):
        assert {str((row + 1) * 10**6 + place) for place in range(6)} <= set(words)
    assert "…" not in "".join(lines)


def test_the_width_of_a_table_is_its_own_in_a_dumb_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a kernel of a notebook sets it, with FORCE_COLOR."""
    wanted = natural_width(wide_table())
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert natural_width(wide_table()) == wanted > 120


def test_a_table_that_fits_keeps_its_form(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table()
    table.add_column("layer")
    table.add_row("conv1")
    assert "│ conv1 │" in shown(table, monkeypatch)


def test_a_table_of_numbers_alone_is_rather_too_wide_than_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = shown(wide_table(digits=15), monkeypatch)
    words = set(" ".join(lines).split())
    assert {str(10**14 + place) for place in range(6)} <= words
    assert max(map(cell_len, lines)) > 80


def test_layers_are_one_table_where_there_is_room_and_two_where_not() -> None:
    assert len(layer_tables(small_network(), 1000)) == 1
    synapses, neurons = layer_tables(small_network(), 80)
    assert [column.header for column in neurons.columns][:3] == ["layer", "threshold", "bias"]
    assert synapses.row_count == neurons.row_count == 3
    assert "-2 to 1" in list(neurons.columns[2].cells)


@pytest.mark.parametrize("network", [small_graph_network(), small_image_network()])
def test_layers_fit_80_columns(network: QuantizedNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    for table in layer_tables(network, 80):
        lines = shown(table, monkeypatch)
        assert max(map(cell_len, lines)) <= 80
        words = {word.strip("()│") for word in " ".join(lines).split()}
        bounds = {str(bound) for one in network.bounds for bound in (one.low, one.high)}
        assert "threshold" not in words or bounds <= words


def test_a_sentence_goes_on_between_words_and_a_path_stays_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sentence = f"one two three {'four ' * 30}and wrote {LONG} at last"
    lines = shown(sentence, monkeypatch)
    assert " ".join(lines).split() == sentence.split()
    assert LONG in lines
    assert all(cell_len(line) <= 80 for line in lines if line != LONG)
    assert len(lines) > 3


def test_lines_of_a_message_stay_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown("first line\n\nthird line", monkeypatch) == ["first line", "", "third line"]


def test_an_error_is_a_line_in_a_file_and_several_in_a_terminal() -> None:
    line = "Error: " + "word " * 40 + LONG
    assert wrapped(line, None) == line
    parts = wrapped(line, 60).split("\n")
    assert parts[-1] == LONG
    assert all(len(part) <= 60 for part in parts[:-1])
    assert " ".join(parts).split() == line.split()


def test_only_a_terminal_has_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "72")
    assert terminal_width(io.StringIO()) is None
    assert terminal_width(Terminal()) == 72
    monkeypatch.delenv("COLUMNS")
    assert terminal_width(Terminal()) is None  # it has no descriptor to ask
