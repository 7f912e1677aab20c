"""How good a run was: the confusion matrix with misjudged samples, or outputs against targets."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults, confusion_matrix
from tandem_hw.plain_text import plain
from tandem_hw.report.page.content import Cell, Picture, Sample, Section, Table, cells
from tandem_hw.report.page.svg import FAINT, SERIES, svg_of
from tandem_hw.report.plots import as_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

#: A matrix of more classes is not legible; the pairs that are confused most are listed then.
_CLASSES_MAX: Final = 20
_PAIRS_MAX: Final = 20
_SAMPLES_MAX: Final = 12
_POINTS_MAX: Final = 2000
_IMAGES_MAX: Final = 6
#: Side of an image of a sample in pixels, at most; of a larger one every n-th is kept.
_PIXELS_MAX: Final = 96


def all_names(known: Sequence[str], classes: int) -> tuple[str, ...]:
    """Return what the classes are called: by their names, otherwise by their numbers.

    Args:
        known: the names of the first ones, or of none.
        classes: how many there are.
    """
    return (*known[:classes], *map(str, range(len(known), classes)))


def classification_section(
    network: QuantizedNetwork,
    run: RunResults,
    inputs: npt.NDArray[np.uint8],
    known: Sequence[str] = (),
) -> Section:
    """Return the confusion matrix of a run, and some samples that were misjudged.

    Args:
        network: what ran.
        run: what came out, with labels.
        inputs: what went in, uint8 [samples, *network.sample_shape].
        known: names of the classes, or none.
    """
    assert run.label is not None  # it is a classification
    names = all_names(known, network.outputs)
    table_of = _matrix_table if len(names) <= _CLASSES_MAX else _pairs_table
    table = table_of(run.prediction, run.label, names)
    wrong = np.flatnonzero(run.prediction != run.label)
    outputs = run.output.astype(np.int64)
    margin = outputs[wrong, run.prediction[wrong]] - outputs[wrong, run.label[wrong]]
    chosen = wrong[np.argsort(-margin, kind="stable")][:_SAMPLES_MAX]
    texts = [f"{len(run) - len(wrong)} of {counted(len(run), 'sample')} are classified right."]
    if len(wrong):
        texts.append(
            f"Below the matrix: {len(chosen)} of the {counted(len(wrong), 'misjudged sample')}, "
            f"those in which the wrong class leads the right one by most."
        )
    samples = [
        _sample(
            network,
            inputs[index],
            f"sample {index}: {names[run.label[index]]} taken for {names[run.prediction[index]]}",
        )
        for index in chosen.tolist()
    ]
    return Section("judgement", "Confusion matrix", texts, tables=[table], samples=samples)


def regression_section(outputs: Values, targets: Values) -> Section:
    """Return predicted against true values.

    Args:
        outputs: float32 [samples, outputs], what the network says.
        targets: float32 [samples, outputs], what is true.
    """
    true, said = targets.reshape(-1), outputs.reshape(-1)
    every = max(1, -(-len(true) // _POINTS_MAX))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.scatter(true[::every], said[::every], s=8, color=SERIES[0], alpha=0.6)
        ends = [min(true.min(), said.min()), max(true.max(), said.max())]
        axes.plot(ends, ends, color=FAINT, linewidth=1)
        axes.set(xlabel="true", ylabel="predicted")
        axes.set_title("Predicted against true values", loc="left")

    note = "" if every == 1 else f" One of every {every} of {len(true)} values is drawn."
    words = f"{counted(len(true), 'value')}; a perfect network's would lie on the line."
    svg = svg_of(draw, "regression", "Predicted against true values", words, height=3.2)
    return Section(
        "judgement", "Predictions", pictures=[Picture(svg, f"Each point is a value.{note}")]
    )


def reconstruction_section(network: QuantizedNetwork, outputs: Values, images: Values) -> Section:
    """Return the first images, each beside what the network made of it.

    Args:
        network: what ran.
        outputs: float32 [samples, values], from 0 (black) to 1 (white).
        images: float32 [samples, values], the same.
    """
    samples = []
    for index, (image, output) in enumerate(zip(images, outputs, strict=True)):
        if index == _IMAGES_MAX:
            break
        shape = network.input.shape
        for what, values in (("input", image), ("output", output)):
            samples.append(_image(as_picture(values, shape), f"sample {index}, {what}"))
    text = (
        f"The first {min(len(images), _IMAGES_MAX)} of {counted(len(images), 'image')} and "
        f"their outputs."
    )
    return Section("judgement", "Reconstructions", [text], samples=samples)


def _matrix_table(prediction: Labels, label: Labels, names: Sequence[str]) -> Table:
    rows = []
    for true, counts in enumerate(confusion_matrix(prediction, label, len(names)).tolist()):
        most = max(1, *counts)
        numbers = [
            Cell(str(count) if count else "", count / most, is_hit=true == predicted)
            for predicted, count in enumerate(counts)
        ]
        rows.append((Cell(names[true]), *numbers))
    return Table(
        "Confusion matrix: rows are true classes, columns what they were taken for",
        ("true class", *names),
        tuple(rows),
        frozenset(range(1, len(names) + 1)),
    )


def _pairs_table(prediction: Labels, label: Labels, names: Sequence[str]) -> Table:
    # Counted pair by pair: the matrix of very many classes would not fit into memory.
    of_class = np.bincount(label, minlength=len(names))
    wrong = prediction != label
    pairs, counts = np.unique(label[wrong] * len(names) + prediction[wrong], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_PAIRS_MAX]
    rows = []
    for pair, count in zip(pairs[order].tolist(), counts[order].tolist(), strict=True):
        true, said = divmod(pair, len(names))
        rows.append(cells(names[true], names[said], count, of_class[true]))
    return Table(
        f"The pairs of {len(names)} classes that are confused most",
        ("true class", "taken for", "samples", "of"),
        tuple(rows),
        frozenset({2, 3}),
    )


def _sample(network: QuantizedNetwork, values: npt.NDArray[np.uint8], caption: str) -> Sample:
    """Return a sample as an image; of events, the sum over the steps."""
    if network.input.takes_events:
        summed = values.sum(axis=0, dtype=np.int64)
        real = (summed / max(1, int(summed.max()))).astype(np.float32)
        caption = f"{caption} (events of all steps)"
    else:
        real = (values / network.input.largest).astype(np.float32)
    return _image(as_picture(real.reshape(-1), network.input.shape), caption)


def _image(pixels: Values, caption: str) -> Sample:
    from matplotlib.image import imsave

    every = max(1, -(-max(pixels.shape[:2]) // _PIXELS_MAX))
    content = io.BytesIO()
    shades: dict[str, Any] = {} if pixels.ndim == 3 else {"cmap": "gray", "vmin": 0, "vmax": 1}
    imsave(content, pixels[::every, ::every], format="png", **shades)
    height, width = pixels.shape[:2]
    uri = f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
    caption = plain(caption)
    return Sample(uri, f"Image of {caption}", caption, is_strip=width > 4 * height)
