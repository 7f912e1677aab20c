"""Pictures of a run, as PNG: what came out against what was wanted, and each layer's spike rate.

matplotlib draws them (the extra ``plots``), without a screen and without its global state; it
is imported when a picture is asked for.
"""

from __future__ import annotations

import importlib
import io
import os
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.atomic_write import write_whole
from tandem_hw.counted import counted
from tandem_hw.errors import BackendUnavailableError, FileFormatError, how_to_install
from tandem_hw.network.activity import LayerSummary, summarise
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults, confusion_matrix
from tandem_hw.plain_text import plain
from tandem_hw.temporaries import temporary_folder
from tandem_hw.training.objective_names import ObjectiveName

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Values = npt.NDArray[np.float32]

#: Images of a reconstruction that are drawn, at most: rows of pairs of an image and an output.
_ROWS_MAX: Final = 4
_PAIRS_A_ROW: Final = 2
#: A confusion matrix of more classes has no numbers in its cells: they would not be legible.
_NUMBERED_CLASSES_MAX: Final = 20
#: Rows and columns of a confusion matrix, at most; of more classes several share a cell.
_CELLS_MAX: Final = 500
#: Characters of the name of a class beside it.
_TICK_LENGTH_MAX: Final = 24
#: Inches; a layer's bar and its name take a quarter of one.
_HALF_SIZE: Final = 5.0
_LAYER_HEIGHT: Final = 0.25
_DOTS_PER_INCH: Final = 120
_until_the_end: Final = ExitStack()


def check_plot(path: Path) -> None:
    """Refuse a plot that could not be drawn at the end; call it before any work.

    Args:
        path: where it shall be written.

    Raises:
        FileFormatError: the name does not end in .png.
        BackendUnavailableError: matplotlib is not installed.
    """
    if path.suffix.lower() != ".png":
        raise FileFormatError(f"{path}: plots are PNG images; give a name that ends in .png")
    require_packages("plots", "plots", "matplotlib.figure")


def require_packages(what: str, extra: str, *modules: str) -> None:
    """Refuse what could not be drawn for want of a package.

    Args:
        what: what needs them, for the message.
        extra: what installs them, as ``how_to_install`` takes it.
        modules: what is imported, once matplotlib has a folder for its own files.

    Raises:
        BackendUnavailableError: a module cannot be imported.
    """
    give_home()
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise BackendUnavailableError(
                f"{what} need {module.partition('.')[0]}, which cannot be imported ({error}): "
                f"{how_to_install(extra)}"
            ) from error


def give_home() -> None:
    """Have a folder for matplotlib's own files where there is no home, till the process ends."""
    try:
        Path.home()
    except RuntimeError:
        if "MPLCONFIGDIR" not in os.environ:
            os.environ["MPLCONFIGDIR"] = str(_until_the_end.enter_context(temporary_folder()))


def write_plot(
    network: QuantizedNetwork,
    run: RunResults,
    objective: ObjectiveName,
    wanted: npt.NDArray[Any],
    path: Path,
) -> None:
    """Draw what came out of a run and each layer's spike rate.

    A classification gives a confusion matrix, a regression predicted against true values, a
    reconstruction the first images beside what the network made of them.

    Args:
        network: what ran.
        run: what came out, of at least one sample.
        objective: what the network does.
        wanted: int64 labels [samples], or float32 targets [samples, outputs]; of a reconstruction
            the images, in [0, 1].
        path: a .png file; written whole or not at all.

    Raises:
        BackendUnavailableError: matplotlib is not installed.
        FileFormatError: the file has another ending or cannot be written.
    """
    check_plot(path)
    figure = draw(network, run, objective, wanted)
    write_figure(figure, path)


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Args:
        figure: what is drawn.
        path: where to write.

    Raises:
        FileFormatError: the file cannot be written.
    """
    picture = io.BytesIO()
    with warnings.catch_warnings():
        # Names of classes may be of any script; what the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(picture, format="png", dpi=_DOTS_PER_INCH)
    write_whole(path, picture.getvalue())


def draw(
    network: QuantizedNetwork,
    run: RunResults,
    objective: ObjectiveName,
    wanted: npt.NDArray[Any],
) -> Figure:
    """Return the figure that ``write_plot`` writes; the arguments are the same."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # With PyTorch, which ``check_plot`` does without.
    from tandem_hw.training.objectives import real_values

    layers = summarise(network, run)
    height = max(_HALF_SIZE, _LAYER_HEIGHT * len(layers))
    figure = Figure(figsize=(2 * _HALF_SIZE, height), layout="constrained")
    FigureCanvasAgg(figure)  # draws in memory, whatever screen there is
    figure.suptitle(f"{counted(len(run), 'sample')} on {run.backend}")
    result, rates = figure.subfigures(1, 2)
    if objective == "classification":
        classes = max(network.outputs, int(wanted.max()) + 1)
        names = () if network.meaning is None else network.meaning.class_names
        draw_confusion_matrix(result.subplots(), run.prediction, wanted, classes, names)
    elif objective == "regression":
        draw_regression(result.subplots(), real_values(network, run), wanted)
    else:
        outputs = real_values(network, run)
        draw_reconstructions(result, outputs, wanted, network.input.shape)
    draw_spike_rates(rates.subplots(), layers)
    return figure


def draw_confusion_matrix(
    axes: Axes,
    prediction: npt.NDArray[np.int64],
    label: npt.NDArray[np.int64],
    classes: int,
    names: Sequence[str] = (),
) -> None:
    """Draw how many samples of each class were taken for which.

    Args:
        axes: where.
        prediction: int64 [samples], 0 to classes - 1.
        label: int64 [samples], 0 to classes - 1.
        classes: number of rows and columns.
        names: of the first classes; the others have their numbers.
    """
    # More cells than there are pixels would be drawn as nothing, and might not fit into memory.
    together = -(-classes // _CELLS_MAX)
    matrix = confusion_matrix(prediction // together, label // together, -(-classes // together))
    end = len(matrix) * together - 0.5
    axes.imshow(matrix, cmap="Blues", extent=(-0.5, end, end, -0.5))
    of = "" if together == 1 else f", {together} classes to a cell"
    axes.set(title=f"confusion matrix{of}", xlabel="predicted class", ylabel="true class")
    if classes > _NUMBERED_CLASSES_MAX:
        return
    axes.set(xticks=range(classes), yticks=range(classes))
    if names:
        shown = [_tick(names[one]) if one < len(names) else str(one) for one in range(classes)]
        axes.set_xticklabels(shown, rotation=90)
        axes.set_yticklabels(shown)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            dark = count > matrix.max() / 2
            axes.text(column, row, str(count), ha="center", va="center", color="w" if dark else "k")


def _tick(name: str) -> str:
    """Return the name of a class as matplotlib shows it as it is, in plain characters."""
    shown = plain(name, None)
    if len(shown) > _TICK_LENGTH_MAX:
        shown = f"{shown[: _TICK_LENGTH_MAX - 1]}…"
    return shown.replace("$", r"\$")


def draw_regression(axes: Axes, outputs: Values, targets: Values) -> None:
    """Draw predicted against true values, one colour for each output.

    Args:
        axes: where.
        outputs: float32 [samples, outputs], what the network says.
        targets: float32 [samples, outputs], what is true.
    """
    for predicted, true in zip(outputs.T, targets.T, strict=True):
        axes.scatter(true, predicted, s=12, alpha=0.7)
    ends = [min(outputs.min(), targets.min()), max(outputs.max(), targets.max())]
    axes.plot(ends, ends, color="gray", linewidth=1)  # where a perfect network's points would be
    axes.set(title="predicted against true values", xlabel="true", ylabel="predicted")
    axes.set_aspect("equal", "datalim")


def draw_reconstructions(
    figure: SubFigure, outputs: Values, images: Values, shape: tuple[int, ...]
) -> None:
    """Draw the first images, and beside each what the network made of it.

    Args:
        figure: where.
        outputs: float32 [samples, values], drawn from 0 (black) to 1 (white).
        images: float32 [samples, values], the same.
        shape: of an image, (channels, height, width), (channels, length) or (features,).
    """
    rows = min(_ROWS_MAX, -(-len(images) // _PAIRS_A_ROW))
    grid = figure.subplots(rows, 2 * _PAIRS_A_ROW, squeeze=False)
    for column in range(0, 2 * _PAIRS_A_ROW, 2):
        grid[0, column].set_title("input")
        grid[0, column + 1].set_title("output")
    drawn = np.stack([images, outputs], axis=1).reshape(2 * len(images), -1)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, values in zip(grid.flat, drawn, strict=False):
        axes.imshow(as_picture(values, shape), cmap="gray", vmin=0, vmax=1)


def as_picture(values: Values, shape: tuple[int, ...]) -> Values:
    """Return flat values as rows and columns of pixels, limited to [0, 1].

    Args:
        values: float32 [values], in C order of ``shape``.
        shape: (channels, height, width), (channels, length) or (features,).

    Returns:
        [height, width, 3] of three channels, otherwise [height, width] with the channels side by
        side; (channels, length) and (features,) as they are, one channel a row.
    """
    limited: Values = np.clip(values, 0, 1)
    if len(shape) != 3:
        return limited.reshape(-1, shape[-1])
    image = limited.reshape(shape)
    return image.transpose(1, 2, 0) if shape[0] == 3 else np.hstack(list(image))


def draw_spike_rates(axes: Axes, layers: tuple[LayerSummary, ...]) -> None:
    """Draw the share of steps in which each firing layer's neurons fired.

    Args:
        axes: where.
        layers: what each layer did; a readout by potential, which never fires, is left out.
    """
    firing = [layer for layer in layers if layer.spike_rate is not None]
    axes.barh([layer.name for layer in firing], [layer.spike_rate or 0.0 for layer in firing])
    axes.invert_yaxis()  # the first layer on top, as in the tables
    axes.set(title="spike rate of each layer", xlabel="share of steps with a spike")
