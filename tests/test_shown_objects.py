"""What our objects look like at a prompt and in a notebook."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

import tandem_hw
from tandem_hw import convert
from tandem_hw.html_table import html_table
from tandem_hw.verification.step import compare
from tandem_hw.zoo.models import build
from tests.helpers.networks import small_graph_network
from tests.helpers.recordings import FIRST, NETWORK, copy_of


class Table(HTMLParser):
    """Reads the caption, the cells, and which tags there are."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.caption = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, _: object) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows:
            self.rows[-1][-1] += data
        else:
            self.caption += data


TAGS = {"table", "caption", "thead", "tbody", "tr", "th", "td"}


def test_a_table_shows_text_as_it_is() -> None:
    nasty = "<script>alert('a & b')</script>"
    table = Table(html_table(nasty, ["name", nasty], [(nasty, 3), (None, 0)]))
    assert table.caption == nasty
    assert table.rows == [["name", nasty], [nasty, "3"], ["", "0"]]
    assert table.tags == TAGS


def test_a_network_says_what_it_is() -> None:
    assert repr(NETWORK) == (
        "QuantizedNetwork(input (1, 4, 4), 3 layers, 40 neurons, num_steps 4, reset subtract, "
        f"readout potential, digest {NETWORK.digest[:12]})"
    )
    table = Table(NETWORK._repr_html_())
    assert table.caption == repr(NETWORK)
    assert table.rows == [
        ["layer", "synapses", "from", "output", "weights", "threshold"],
        ["conv", "Conv2d", "input", "2×4×4", "18", "6"],
        ["hidden", "Dense", "conv", "5", "160", "10"],
        ["out", "Dense", "hidden", "3", "15", "readout"],
    ]


def test_a_network_with_skips_shows_all_sources_and_weights() -> None:
    network = small_graph_network()
    rows = Table(network._repr_html_()).rows[1:]
    assert any(layer.skips for layer in network)
    for row, layer, connections in zip(rows, network, network.wiring.connections, strict=True):
        assert row[0] == layer.name
        assert row[2].count(", ") == len(connections) - 1
        assert int(row[4]) == sum(one.synapses.weight.size for one in connections)


def test_names_of_layers_are_escaped() -> None:
    layers = tuple(replace(layer, name=f"<b>{layer.name}") for layer in NETWORK)
    table = Table(replace(NETWORK, layers=layers)._repr_html_())
    assert table.tags == TAGS
    assert [row[0] for row in table.rows[1:]] == ["<b>conv", "<b>hidden", "<b>out"]


def test_a_recording_says_how_good_and_how_costly_it_was() -> None:
    assert FIRST.accuracy is not None
    assert repr(FIRST) == (
        f"Recording(reference, 5 samples, accuracy {FIRST.accuracy:.2%}, "
        f"{FIRST.synops_per_sample:.0f} SynOps a sample, network {NETWORK.digest[:12]})"
    )
    head, *rows = Table(FIRST._repr_html_()).rows
    assert head[:3] == ["layer", "spikes", "SynOps"]
    assert [row[0] for row in rows] == ["conv", "hidden", "out"]
    for name, spikes, synops, largest, left in rows:
        assert spikes == (str(FIRST.counts[name].sum()) if name in FIRST.counts else "")
        assert int(synops) == FIRST.synops[name].sum() > 0
        assert int(largest) == FIRST.peak[name]
        assert left == "0"


def test_a_recording_without_labels_or_samples_is_shown_too() -> None:
    assert "accuracy" not in repr(replace(FIRST, label=None))
    nothing = replace(FIRST, prediction=FIRST.prediction[:0])
    assert repr(nothing) == f"Recording(reference, 0 samples, network {NETWORK.digest[:12]})"


def test_a_report_says_whether_all_agree() -> None:
    report = compare(NETWORK, [FIRST, copy_of(FIRST)])
    assert repr(report) == "VerificationReport(MATCH, 5 samples on reference, other)"
    rows = Table(report._repr_html_()).rows[1:]
    assert [row[:3] for row in rows] == [
        ["conv", "32", str(FIRST.counts["conv"].sum())],
        ["hidden", "5", str(FIRST.counts["hidden"].sum())],
        ["out", "3", "readout"],
    ]
    assert {row[3] for row in rows} == {"0"}


def test_a_report_of_a_mismatch_names_the_place() -> None:
    other = copy_of(FIRST)
    other.counts["conv"][2, 1, 3, 0] += 1
    report = compare(NETWORK, [FIRST, other])
    assert repr(report).startswith(
        "VerificationReport(MISMATCH: first in other: layer conv, sample 2, neuron [1, 3, 0]: "
    )
    assert Table(report._repr_html_()).rows[1][3] == "1"


def test_a_report_of_other_parameters_or_of_silence_says_so() -> None:
    strange = copy_of(FIRST, parameter_digest={**FIRST.parameter_digest, "conv": "0" * 64})
    assert repr(compare(NETWORK, [FIRST, strange])).startswith(
        "VerificationReport(MISMATCH: other: layer conv ran with other weights"
    )
    report = replace(compare(NETWORK, [FIRST, copy_of(FIRST)]), silent_layers=("conv",))
    assert repr(report).startswith("VerificationReport(SILENT: layers conv never fired")


@pytest.mark.parametrize("model", ["lenet", "resnet20"])
def test_a_tandem_network_is_shown_in_a_line(model: str) -> None:
    network = convert(build(model, (1, 8, 8), 3), input_shape=(1, 8, 8), num_steps=4)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters > 1000
    assert repr(network) == (
        f"TandemNetwork(input (1, 8, 8), {len(network.tandem_layers)} layers with neurons, "
        f"{parameters} parameters, num_steps 4, reset subtract, readout potential)"
    )
    table = Table(network._repr_html_())
    assert table.caption == repr(network)
    assert sum(int(row[3]) for row in table.rows[1:]) == parameters
    names = [row[0] for row in table.rows[1:] if row[0]]
    assert names == [layer.name for layer in network.tandem_layers]


def test_the_package_lists_its_names_and_knows_its_version() -> None:
    assert dir(tandem_hw) == sorted([*tandem_hw.__all__, "__version__"])
    assert tandem_hw.__version__ == "0.1.0"
