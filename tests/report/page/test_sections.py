"""What sections say: the numbers of training, runs and comparisons, and what was left out."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from rich.table import Table as RichTable

from tandem_hw.chip.budget import chip_budget
from tandem_hw.cli.work.look.sections import layers_table, page_table
from tandem_hw.network.activity import summarise
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.report.page import agreement, svg
from tandem_hw.report.page.agreement import CountPairs
from tandem_hw.report.page.chip_map import chip_picture
from tandem_hw.report.page.content import Section
from tandem_hw.report.page.curves import training_section
from tandem_hw.report.page.judgement import (
    all_names,
    classification_section,
    reconstruction_section,
    regression_section,
)
from tandem_hw.report.page.layers import activity_pictures, head_room_picture, weight_pictures
from tandem_hw.report.page.steps import chosen_neuron, steps_section
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.step_trace import StepTrace, first_difference, trace_steps
from tests.helpers.networks import (
    random_inputs,
    small_graph_network,
    small_image_network,
    small_network,
)
from tests.helpers.pages import Seen, looked_at

SAMPLES = 30


def seen(*pictures: str) -> Seen:
    return looked_at(f"<html><body>{''.join(pictures)}</body></html>")


def pictures_of(section: Section) -> Seen:
    return seen(*(picture.svg for picture in section.pictures))


def recorded(network: QuantizedNetwork, labels: Any = None, **how: Any) -> Recording:
    recording = ReferenceBackend().run(network, random_inputs(network, SAMPLES), labels, **how)
    assert all(counts.any() for counts in recording.counts.values())
    return recording


def epochs_of(number: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "loss": 2.0 / epoch if epoch != 2 else math.nan,
            "accuracy": 1 - 0.5 / epoch,
            "validation_accuracy": None,
            "spike_rate": 0.25,
        }
        for epoch in range(1, number + 1)
    ]


def test_curves_have_what_an_epoch_has_and_nothing_else() -> None:
    section = training_section(epochs_of(3), [0.5, 0.25, 0.0])
    titles = [text.partition(" by")[0] for text in pictures_of(section).alternatives]
    assert titles == ["Loss", "Accuracy", "Spike rate", "Learning rate over the training"]
    assert section.pictures[0].caption == "Loss: loss from 2 to 0.6667."
    assert "up to 0.5, in the end 0" in section.pictures[3].caption
    (table,) = section.tables
    assert table.columns == ("epoch", "loss", "accuracy", "spike rate")
    assert [cell.text for cell in table.rows[1]] == ["2", "nan", "0.75", "0.25"]
    assert table.note == ""


def test_many_epochs_are_thinned_out_in_the_table_by_a_rule_that_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(svg, "drawn", lambda *_: b'<svg viewBox="0 0 1 1"></svg>')
    (table,) = training_section(epochs_of(100), []).tables
    numbers = [int(row[0].text) for row in table.rows]
    assert numbers == [*range(1, 101, 4), 100]
    assert table.note == "One of every 4 epochs is listed, and the last one."


def test_a_confusion_matrix_counts_and_shows_the_worst_mistakes() -> None:
    network = small_network()
    labels = np.arange(SAMPLES) % 3
    run = recorded(network, labels)
    inputs = random_inputs(network, SAMPLES)
    section = classification_section(network, run, inputs)
    (table,) = section.tables
    assert table.columns == ("true class", "0", "1", "2")
    counts = np.array([[int(cell.text or 0) for cell in row[1:]] for row in table.rows])
    expected = np.zeros((3, 3), int)
    for true, said in zip(labels, run.prediction, strict=True):
        expected[true, said] += 1
    np.testing.assert_array_equal(counts, expected)
    assert all(row[1 + at].is_hit for at, row in enumerate(table.rows))
    wrong = [at for at in range(SAMPLES) if run.prediction[at] != labels[at]]
    said, true = (run.output[np.arange(SAMPLES), which] for which in (run.prediction, labels))
    lead = said.astype(int) - true
    first = section.samples[0]
    worst = max(wrong, key=lambda at: int(lead[at]))
    assert first.caption == f"sample {worst}: {labels[worst]} taken for {run.prediction[worst]}"
    assert first.text_instead == f"Image of {first.caption}"
    assert len(section.samples) == min(12, len(wrong))
    pixels = matplotlib.image.imread(
        io.BytesIO(base64.b64decode(first.png.partition("base64,")[2])), format="png"
    )
    side_by_side = np.hstack(list(inputs[worst] / network.input.largest))
    np.testing.assert_allclose(pixels[..., 0], side_by_side, atol=1 / 255)


def test_more_classes_than_a_matrix_shows_give_the_pairs_that_are_confused_most() -> None:
    network = small_network()
    many = SimpleNamespace(outputs=25, input=network.input)
    label = np.repeat(np.arange(25), 4)
    prediction = label.copy()
    prediction[[0, 1, 2, 40]] = [7, 7, 7, 3]
    output = np.zeros((100, 25), np.int32)
    output[np.arange(100), prediction] = 1
    run: Any = SimpleNamespace(prediction=prediction, label=label, output=output)
    run = type("Run", (), {**vars(run), "__len__": lambda self: 100})()
    inputs = np.zeros((100, *network.sample_shape), np.uint8)
    (table,) = classification_section(many, run, inputs).tables  # type: ignore[arg-type]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["0", "7", "3", "4"],
        ["10", "3", "1", "4"],
    ]


def test_classes_are_called_by_their_names() -> None:
    assert all_names(("cat", "<dog>"), 3) == ("cat", "<dog>", "2")
    assert all_names((), 3) == ("0", "1", "2")
    network = small_network()
    run = recorded(network, np.arange(SAMPLES) % 3)
    names = ("a", "b", "<i>")
    section = classification_section(network, run, random_inputs(network, SAMPLES), names)
    assert section.tables[0].columns == ("true class", *names)
    assert [row[0].text for row in section.tables[0].rows] == list(names)
    assert all(" taken for " in sample.caption for sample in section.samples)


def test_events_are_shown_as_their_sum() -> None:
    network = small_network()
    network = replace(network, input=replace(network.input, encoding="events"))
    inputs = random_inputs(network, SAMPLES)
    run = ReferenceBackend().run(network, inputs, np.arange(SAMPLES) % 3)
    section = classification_section(network, run, inputs)
    assert section.samples
    assert all(sample.caption.endswith("(events of all steps)") for sample in section.samples)


def test_regressions_and_reconstructions_are_thinned_by_rules_that_are_said() -> None:
    values = np.random.default_rng(0).uniform(0, 1, (3000, 2)).astype(np.float32)
    section = regression_section(values, values + np.float32(0.1))
    caption = "Each point is a value. One of every 3 of 6000 values is drawn."
    assert section.pictures[0].caption == caption
    assert pictures_of(section).alternatives == ["Predicted against true values"]
    network = small_image_network()
    shape = (8, math.prod(network.input.shape))
    images = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    section = reconstruction_section(network, images, images)
    assert section.texts == ["The first 6 of 8 images and their outputs."]
    assert [one.caption for one in section.samples[:3]] == [
        "sample 0, input",
        "sample 0, output",
        "sample 1, input",
    ]


def test_layers_are_pictured_with_their_numbers() -> None:
    network = small_network()
    layers = summarise(network, recorded(network))
    pictures = activity_pictures(layers)
    page = seen(*(picture.svg for picture in pictures))
    assert f"conv {layers[0].spike_rate:.3f}, hidden {layers[1].spike_rate:.3f}." in page.texts
    operations = f"conv {layers[0].synops_per_sample:.0f} of {layers[0].macs}"
    assert any(operations in text for text in page.texts)
    many = [replace(layers[0], name=f"layer{number}") for number in range(100)]
    assert activity_pictures(many)[0].caption.endswith("One of every 3 of 100 layers is shown.")


def test_head_room_below_zero_is_seen() -> None:
    picture = head_room_picture({"a": 3, "b": -2}, "What it is.")
    assert "Bits: a 3, b -2." in seen(picture.svg).texts
    assert "var(--alarm)" in picture.svg
    assert picture.caption == "What it is."


def test_weights_are_counted_with_those_of_skips() -> None:
    network = small_graph_network()
    (picture,) = weight_pictures(network)
    (text,) = [text for text in seen(picture.svg).texts if " weights from " in text]
    for layer in network:
        sizes = sum(synapses.weight.size for synapses in layer.synapses)
        assert f"{layer.name}: {sizes} weights from" in text
    assert any(len(layer.synapses) > 1 for layer in network)


@pytest.mark.parametrize("wrong", [0, 3])
def test_counts_of_two_backends_are_paired_and_differences_are_never_left_out(wrong: int) -> None:
    network = small_network()
    one = recorded(network)
    counts = {name: array.copy() for name, array in one.counts.items()}
    for sample in range(wrong):
        counts["hidden"][sample, 0] ^= 1
    other = replace(one, backend="other", counts=counts)
    pairs = CountPairs(network)
    for part in (slice(0, 7), slice(7, SAMPLES)):
        pairs.add([rows(one, part), rows(other, part)])
    pictures = pairs.pictures()
    assert len(pictures) == 2
    first = "hidden" if wrong else "conv"
    values = SAMPLES * (6 if wrong else 36)
    words = f"{wrong} of them differ" if wrong else "all of them equal"
    how = "The larger, the more often; a cross differs."
    assert pictures[0].caption == f"{first}: {values} counts of neurons, {words}. {how}"
    assert ("var(--alarm)" in pictures[0].svg) == bool(wrong)
    assert seen(*(picture.svg for picture in pictures)).alternatives[0] == (
        f"Spike counts of layer {first} on reference and other"
    )


@pytest.mark.parametrize("table", [1 << 18, 0])
def test_pairs_are_counted_in_a_table_and_by_sorting(
    table: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "_TABLE_MAX", table)
    first = np.array([[0, 3, 3], [1, 3, 0]], np.int32)
    second = np.array([[0, 3, -2], [1, 3, 5]], np.int32)
    found = dict(agreement._count_pairs(first, second))
    assert found == {(0, 0): 1, (3, 3): 2, (3, -2): 1, (1, 1): 1, (0, 5): 1}


def rows(run: Recording, part: slice) -> Recording:
    return replace(run, counts={name: array[part] for name, array in run.counts.items()})


def test_cores_are_drawn_by_layer() -> None:
    network = small_network()
    budget = chip_budget(network)
    picture = chip_picture(budget)
    words = ", ".join(f"{part.name} {part.total_cores}" for part in budget.layers)
    page = seen(picture.svg)
    assert f"Cores: {words}." in page.texts
    assert f"conv ({budget.layers[0].total_cores})" in page.texts
    assert picture.caption.startswith("Each square is a core, in the order of the layers")
    areas = re.findall(r'<path d="([^"]*)"[^>]*style="fill: var\(--s0\)', picture.svg)
    # The squares of the first layer, and the one beside its name.
    assert sorted(area.count("M ") for area in areas) == [1, budget.layers[0].total_cores]


def test_thousands_of_cores_are_drawn_as_groups() -> None:
    budget = chip_budget(small_network())
    layers = [replace(budget.layers[0], name=f"layer{number}", cores=400) for number in range(30)]
    picture = chip_picture(replace(budget, layers=tuple(layers)))
    assert picture.caption.startswith("Each square is a group of up to 11 cores")
    assert "A block is a chip of 120 cores." in picture.caption
    assert "Of 30 parts, 24 are named." in picture.caption
    assert len(picture.svg) < 500_000
    seen(picture.svg)


@pytest.mark.parametrize("delay", [0, 2])
def test_a_sample_is_drawn_layer_by_layer(delay: int) -> None:
    network = replace(small_network(), firing_delay=delay)
    trace = trace_steps(ReferenceBackend(), network, random_inputs(network, 1)[0])
    section = steps_section(network, [trace], None, "Sample 0")
    page = pictures_of(section)
    assert [text.partition(" by step")[0] for text in page.alternatives[::2]] == [
        "Who fired when in layer conv",
        "Who fired when in layer hidden",
        f"Potential of neuron {list(chosen_neuron(network.layers[2], [trace], None).index)} of "
        "layer readout",
    ]
    assert section.texts == ["Sample 0, on reference."]
    assert section.warnings == []
    neuron = chosen_neuron(network.layers[0], [trace], None)
    counts = trace.spikes["conv"].sum(axis=0)
    assert counts[neuron.index] == counts.max() > 0
    values = ", ".join(f"{value:g}" for value in neuron.by_step(trace.potentials))
    assert any(f"reference: {values}." in text for text in page.texts)
    assert len(neuron.by_step(trace.potentials)) == 4 + delay


def test_the_first_difference_is_marked_in_its_layer_alone() -> None:
    network = small_network()
    trace = trace_steps(ReferenceBackend(), network, random_inputs(network, 1)[0])
    potentials = {name: array.copy() for name, array in trace.potentials.items()}
    potentials["hidden"][2, 4] -= 1
    other = StepTrace("other", trace.spikes, potentials)
    difference = first_difference(network, [trace, other])
    section = steps_section(network, [trace, other], difference, "Sample 0", "A note.")
    assert section.warnings == [f"First difference: {difference}."]
    assert section.texts == ["Sample 0, on reference, other.", "A note."]
    marked = ["var(--alarm)" in picture.svg for picture in section.pictures]
    assert marked == [False, False, True, True, False]
    assert "first difference" in pictures_of(section).texts
    assert section.pictures[3].caption.startswith("The neuron of hidden with the first difference.")


class ManyLayers:
    """As much of a network as the pictures of its steps ask for."""

    def __init__(self, layer: Any, number: int) -> None:
        self.layers = tuple(
            SimpleNamespace(
                name=f"layer{index}",
                fires=True,
                num_neurons=layer.num_neurons,
                neurons=layer.neurons,
                output_shape=layer.output_shape,
            )
            for index in range(number)
        )

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)


@pytest.mark.exhaustive
def test_deep_networks_and_long_windows_stay_small() -> None:
    network = small_network(num_steps=300)
    trace = trace_steps(ReferenceBackend(), network, random_inputs(network, 1)[0])
    deep: Any = ManyLayers(network.layers[0], 20)
    spikes = {layer.name: trace.spikes["conv"] for layer in deep}
    potentials = {layer.name: trace.potentials["conv"] for layer in deep}
    section = steps_section(deep, [StepTrace("x", spikes, potentials)], None, "Sample 0")
    assert section.texts[1] == "The first 8 and the last 8 of 20 layers are shown."
    assert len(section.pictures) == 32
    assert "A cell is up to 2 neurons in up to 7 steps" in section.pictures[0].caption
    assert sum(len(picture.svg) for picture in section.pictures) < 2_000_000


def test_the_pairs_of_very_many_classes_fit_into_memory() -> None:
    classes = 1 << 16  # a matrix would take 34 GB
    network = small_network()
    many = SimpleNamespace(outputs=classes, input=network.input)
    label = np.array([0, 65_535, 65_535, 65_535, 9])
    prediction = np.array([1, 65_534, 65_534, 65_535, 9])
    output = np.zeros((5, classes), np.int32)
    run = type(
        "Run",
        (),
        {
            "prediction": prediction,
            "label": label,
            "output": output,
            "__len__": lambda self: len(label),
        },
    )()
    section = classification_section(
        many,  # type: ignore[arg-type]
        run,
        random_inputs(network, 5),
    )
    rows = [[cell.text for cell in row] for row in section.tables[0].rows]
    assert rows == [["65535", "65534", "2", "3"], ["0", "1", "1", "1"]]


@pytest.mark.parametrize("value", [1e308, -1e308, float("inf"), float("nan")])
def test_numbers_that_no_axis_can_have_are_in_the_table_alone(value: float) -> None:
    epochs: list[dict[str, Any]] = [dict(one) for one in epochs_of(4)]
    epochs[1]["loss"] = epochs[2]["spike_rate"] = value
    section = training_section(epochs, [])
    assert f"{value:.4g}" in {cell.text for cell in section.tables[0].rows[1]}
    (loss,) = [one for one in section.pictures if one.caption.startswith("Loss: ")]
    first, last = epochs[0]["loss"], epochs[3]["loss"]
    assert loss.caption == f"Loss: loss from {first:.4g} to {last:.4g}."


def test_very_many_layers_are_thinned_out_in_tables() -> None:
    layers = [{"name": f"layer{number}", "spikes": number} for number in range(5000)]
    table = layers_table("Layers", layers)
    assert [row[0].text for row in table.rows] == [
        *(f"layer{number}" for number in range(0, 5000, 5)),
        "layer4999",
    ]
    assert table.note == "One of every 5 of 5000 rows, and the last one."
    of_terminal = RichTable("layer", caption="Said before.")
    for layer in layers[:1201]:
        of_terminal.add_row(str(layer["name"]))
    table = page_table(of_terminal)
    assert (len(table.rows), table.rows[-1][0].text) == (601, "layer1200")
    assert table.note == "Said before. One of every 2 of 1201 rows, and the last one."
    assert layers_table("Layers", layers[:1200]).note == ""
