"""Plots show the data: other outputs, labels or spikes give another picture."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.conformance.layers import changed
from tandem_hw.errors import BackendUnavailableError, FileFormatError
from tandem_hw.network.activity import summarise
from tandem_hw.network.output_meaning import OutputMeaning
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.report.plots import as_picture, check_plot, write_plot
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.objective_names import ObjectiveName
from tandem_hw.training.objectives import real_values
from tests.helpers.networks import random_inputs, small_image_network, small_network
from tests.helpers.present import present
from tests.helpers.project import ROOT

SAMPLES = 12


def ran(network: QuantizedNetwork) -> Recording:
    recording = ReferenceBackend().run(network, random_inputs(network, SAMPLES))
    assert all(counts.any() for counts in recording.counts.values())
    return recording


def image_network() -> QuantizedNetwork:
    """Return a network whose result is an image of the shape that it takes."""
    network = small_image_network()
    code, image = network.layers
    image = changed(image, padding=(1, 1), output_padding=(1, 1))
    assert image.output_shape == network.input.shape
    return replace(network, layers=(code, image))


def case(objective: str) -> tuple[QuantizedNetwork, Recording, npt.NDArray[Any]]:
    """Return a network, what it did and what was wanted of it."""
    network = image_network() if objective == "reconstruction" else small_network()
    network = replace(network, readout_scale=1 / 4096)
    recording = ran(network)
    if objective == "classification":
        return network, recording, np.arange(SAMPLES) % 3
    generator = np.random.default_rng(0)
    shape = recording.output.shape
    if objective == "reconstruction":
        return network, recording, generator.uniform(0, 1, shape).astype(np.float32)
    noise = generator.normal(0, 0.1, shape)
    return network, recording, (real_values(network, recording) + noise).astype(np.float32)


def test_names_that_are_no_png_are_refused(tmp_path: Path) -> None:
    check_plot(tmp_path / "run.PNG")
    with pytest.raises(FileFormatError, match=r"run\.jpg: plots are PNG images; .*ends in \.png"):
        check_plot(tmp_path / "run.jpg")


def test_missing_matplotlib_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(BackendUnavailableError, match=r"pip install '\.\[plots\]'$"):
        check_plot(tmp_path / "run.png")


def test_the_command_loads_matplotlib_only_for_a_plot() -> None:
    code = "import sys, tandem_hw.cli.simulate; print('matplotlib' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout == "False\n"


def test_an_image_has_its_channels_as_colours_or_side_by_side() -> None:
    values = np.arange(12, dtype=np.float32) / 12
    colours = as_picture(values, (3, 2, 2))
    assert colours.shape == (2, 2, 3)
    assert colours[1, 0].tolist() == [values[2], values[6], values[10]]
    beside = as_picture(values, (2, 2, 3))
    assert np.array_equal(beside, np.hstack([values[:6].reshape(2, 3), values[6:].reshape(2, 3)]))
    assert as_picture(values, (4, 3)).shape == (4, 3)
    assert as_picture(values, (12,)).shape == (1, 12)
    assert as_picture(values * 4 - 1, (12,)).min() == 0
    assert as_picture(values * 4 - 1, (12,)).max() == 1


# With matplotlib ---------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., npt.NDArray[np.float32]]:
    """Return what draws a file and reads its pixels."""
    image = pytest.importorskip("matplotlib.image")

    def pixels(
        network: QuantizedNetwork,
        recording: Recording,
        objective: ObjectiveName,
        wanted: npt.NDArray[Any],
    ) -> npt.NDArray[np.float32]:
        path = tmp_path / "new" / "run.png"
        write_plot(network, recording, objective, wanted, path)
        assert [found.name for found in path.parent.iterdir()] == ["run.png"]
        read: npt.NDArray[np.float32] = image.imread(path)
        return read

    return pixels


@pytest.mark.parametrize("objective", ["classification", "regression", "reconstruction"])
def test_a_picture_shows_what_came_out_and_what_was_wanted(
    objective: ObjectiveName, picture: Callable[..., npt.NDArray[np.float32]]
) -> None:
    network, recording, wanted = case(objective)
    drawn = picture(network, recording, objective, wanted)
    assert min(drawn.shape[:2]) > 400
    half = drawn.shape[1] // 2

    other = wanted.copy()
    other[0] = (other[0] + 1) % 3 if objective == "classification" else 0
    changed = picture(network, recording, objective, other)
    assert not np.array_equal(changed[:, :half], drawn[:, :half])

    output = recording.output.copy()
    output[1] = -output[1]
    spoilt = replace(recording, output=output, prediction=output.argmax(axis=1))
    changed = picture(network, spoilt, objective, wanted)
    assert not np.array_equal(changed[:, :half], drawn[:, :half])

    counts = {name: count // 2 for name, count in recording.counts.items()}
    first = next(iter(counts))
    counts[first] = np.zeros_like(counts[first])
    calmer = picture(network, replace(recording, counts=counts), objective, wanted)
    assert not np.array_equal(calmer[:, half:], drawn[:, half:])


def test_few_samples_leave_places_of_the_grid_empty(
    picture: Callable[..., npt.NDArray[np.float32]],
) -> None:
    network, _, wanted = case("reconstruction")

    def white(samples: int) -> float:
        few = ReferenceBackend().run(network, random_inputs(network, SAMPLES)[:samples])
        drawn = picture(network, few, "reconstruction", wanted[:samples])
        return float(np.mean(drawn[:, : drawn.shape[1] // 2, :3].min(axis=2) == 1))

    assert white(1) > 0.3
    assert white(3) > white(8) + 0.03


def test_the_figure_holds_the_very_numbers() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from tandem_hw.report import plots

    network, recording, label = case("classification")
    axes = Figure().subplots()
    plots.draw_confusion_matrix(axes, recording.prediction, label, 3)
    (matrix,) = axes.get_images()
    for true, predicted in np.ndindex(3, 3):
        count = np.sum((label == true) & (recording.prediction == predicted))
        assert present(matrix.get_array())[true, predicted] == count
    assert sum(int(text.get_text()) for text in axes.texts) == SAMPLES

    network, recording, targets = case("regression")
    axes = Figure().subplots()
    plots.draw_regression(axes, real_values(network, recording), targets)
    for output, points in enumerate(axes.collections):
        drawn = np.asarray(points.get_offsets())
        assert np.array_equal(drawn[:, 0], targets[:, output])
        assert np.array_equal(drawn[:, 1], real_values(network, recording)[:, output])

    axes = Figure().subplots()
    layers = summarise(network, recording)
    plots.draw_spike_rates(axes, layers)
    bars: list[Any] = list(axes.patches)
    assert [bar.get_width() for bar in bars] == [layer.spike_rate for layer in layers[:-1]]


def test_many_classes_have_no_numbers_in_their_cells() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from tandem_hw.report import plots

    axes = Figure().subplots()
    label = np.arange(30)
    plots.draw_confusion_matrix(axes, label, label, 30)
    assert not axes.texts
    assert np.array_equal(present(axes.get_images()[0].get_array()), np.eye(30))


def test_very_many_classes_share_cells() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from tandem_hw.report import plots

    label = np.array([0, 1, 1, 65_535])
    prediction = np.array([0, 0, 65_535, 65_535])
    axes = Figure().subplots()
    plots.draw_confusion_matrix(axes, prediction, label, 1 << 16)
    assert axes.get_title() == "confusion matrix, 132 classes to a cell"
    (image,) = axes.get_images()
    counts = np.asarray(present(image.get_array()))
    assert counts.shape == (497, 497)
    assert {place: counts[place] for place in [(0, 0), (0, 496), (496, 496)]} == {
        (0, 0): 2,
        (0, 496): 1,
        (496, 496): 1,
    }
    assert counts.sum() == 4
    assert list(image.get_extent()) == [-0.5, 497 * 132 - 0.5, 497 * 132 - 0.5, -0.5]


def test_a_plot_needs_no_home(tmp_path: Path) -> None:
    script = """
import os, pwd, sys
from pathlib import Path
def unknown(*_):
    raise KeyError("uid not found")
pwd.getpwuid = unknown
from tandem_hw.report.plots import check_plot
check_plot(Path("a.png"))
import matplotlib
print(matplotlib.get_configdir())
assert os.listdir(sys.argv[1])
"""
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        env=environment | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_names_of_classes_leave_room_for_the_matrix_and_may_be_of_any_script(
    tmp_path: Path,
) -> None:
    network, recording, wanted = case("classification")
    names = ("x" * 300, "猫\x1b[31m\n", "$a$")
    named = replace(network, meaning=OutputMeaning("classification", names))
    for one, name in ((network, "plain"), (named, "named")):
        write_plot(one, recording, "classification", wanted, tmp_path / f"{name}.png")
    assert (tmp_path / "named.png").read_bytes() != (tmp_path / "plain.png").read_bytes()
