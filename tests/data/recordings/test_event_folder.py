"""Recordings in folders, and one alone, from the command line's name of them to a run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.data.dataset import Labels
from tandem_hw.data.datasets import load_dataset
from tandem_hw.data.event_data import EventDataset
from tandem_hw.errors import DataError
from tests.helpers.aedat4_files import write_aedat4
from tests.helpers.command_line import run

EVENTS = [("x", np.int64), ("y", np.int64), ("t", np.int64), ("p", np.int64)]
SIDE = 16


def bars(kind: int, seed: int, span: int = 70_000, count: int = 600) -> npt.NDArray[Any]:
    """A bar that moves to the right (0) or down (1) and comes back as often as there is time."""
    random = np.random.default_rng(seed)
    events = np.zeros(count, EVENTS)
    events["t"] = np.sort(random.integers(0, span, count))
    along = (events["t"] // 2_000 + int(random.integers(SIDE))) % SIDE
    across = random.integers(0, SIDE, count)
    events["x"], events["y"] = (along, across) if kind == 0 else (across, along)
    events["p"] = random.integers(0, 2, count)
    return events


def write_hdf5(path: Path, events: npt.NDArray[Any]) -> None:
    with h5py.File(path, "w") as file:
        for name in ("x", "y", "p"):
            file[f"events/{name}"] = events[name]
        file["events/t"] = events["t"] / 1e6
        file.attrs.update(width=SIDE, height=SIDE)


def make(folder: Path, count: int = 4) -> None:
    for kind, name in enumerate(("right", "down")):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            write_hdf5(folder / name / f"{number}.h5", bars(kind, 10 * kind + number))


def load(spec: str, **keywords: Any) -> EventDataset:
    data = load_dataset(spec, **{"num_steps": 7, "input_bits": 4, **keywords})
    assert isinstance(data, EventDataset)
    return data


def test_a_folder_of_recordings_is_split_and_binned(tmp_path: Path) -> None:
    make(tmp_path, 5)
    data = load(f"events:{tmp_path}")
    assert (len(data.x_train), len(data.x_test), data.shape) == (8, 2, (2, SIDE, SIDE))
    assert isinstance(data.wanted_train, Labels)
    assert data.wanted_train.names == ("down", "right")
    assert data.x_train.sum() == 8 * 600
    test = load(f"events:{tmp_path}", need="test")
    assert np.array_equal(test.x_test, data.x_test)
    small = load(f"events:{tmp_path},downsample=3")
    assert small.shape == (2, 6, 6)
    assert np.array_equal(
        small.x_test[..., :5, :5].astype(int),
        data.x_test[..., :15, :15].reshape(2, 7, 2, 5, 3, 5, 3).sum((4, 6)),
    )


def test_windows_slide_over_the_recordings(tmp_path: Path) -> None:
    make(tmp_path / "train")
    make(tmp_path / "test", 1)
    data = load(f"events:{tmp_path},window=0.02,stride=0.01")
    # Recordings last 70 ms less what is silent at their ends: five windows of 20 ms each.
    assert (len(data.x_train), len(data.x_test)) == (40, 10)
    assert data.y_test.tolist() == [0] * 5 + [1] * 5


def test_recordings_of_several_formats_may_lie_side_by_side(tmp_path: Path) -> None:
    pytest.importorskip("aedat")
    make(tmp_path)
    write_aedat4(tmp_path / "down" / "9.aedat4", bars(1, 3), (SIDE, SIDE))
    np.save(tmp_path / "right" / "9.npy", bars(0, 3))
    data = load(f"events:{tmp_path}")
    assert len(data.x_train) + len(data.x_test) == 10


def numbers(folder: Path) -> str:
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    for name in ("a", "b"):
        np.save(folder / name / "0.npy", np.zeros((3, 4), int))
        np.save(folder / name / "1.npy", np.zeros((3, 4), int))
    return f"events:{folder}"


def test_arrays_without_names_say_their_columns_and_sensor(tmp_path: Path) -> None:
    spec = numbers(tmp_path)
    with pytest.raises(DataError, match="say which is which, for instance fields=txyp"):
        load(spec)
    with pytest.raises(DataError, match="does not say the size of its sensor"):
        load(f"{spec},fields=txyp")
    assert load(f"{spec},fields=txyp,sensor=4x3").shape == (2, 3, 4)


def test_sensors_that_differ_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("aedat")
    make(tmp_path)
    write_aedat4(tmp_path / "down" / "9.aedat4", bars(1, 3), (SIDE, 20))
    with pytest.raises(DataError, match=r"9\.aedat4: is of a sensor of \(16, 20\), and others of"):
        load(f"events:{tmp_path}")
    assert load(f"events:{tmp_path},sensor=16x20").shape == (2, 20, 16)
    with pytest.raises(DataError, match=r"x spans 0 to 15, on a sensor of \(8, 20\)"):
        load(f"events:{tmp_path},sensor=8x20")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("window=0", "window is '0'; give seconds, such as window=0.1"),
        ("stride=x", "stride is 'x'; give seconds"),
        ("window=nan", "window is 'nan'"),
        ("sensor=4", "sensor is '4'; give WIDTHxHEIGHT"),
        ("sensor=0x4", "sensor is '0x4'"),
        ("downsample=0", "downsample is '0'; give a whole number, 1 to 65536"),
        ("label=-1", "label is '-1'; give a whole number, 0 to 65535"),
        ("label=1", "label is of a single recording"),
        ("widow=1", "option widow is unknown; there are window, stride, sensor"),
    ],
)
def test_options_are_checked(tmp_path: Path, options: str, message: str) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match=re.escape(message)):
        load(f"events:{tmp_path},{options}")


def test_a_single_recording_needs_its_class_and_is_not_trained_on(tmp_path: Path) -> None:
    write_hdf5(tmp_path / "a.h5", bars(0, 1))
    spec = f"events:{tmp_path / 'a.h5'}"
    with pytest.raises(DataError, match=r"does not say its class; say it, .*a\.h5,label=0"):
        load(spec, need="test")
    with pytest.raises(DataError, match="is a single recording, which can be tested on alone"):
        load(f"{spec},label=1")
    data = load(f"{spec},label=1,window=0.02", need="test")
    assert data.y_test.tolist() == [1, 1, 1]


@pytest.mark.exhaustive
def test_recordings_go_from_the_camera_to_a_simulated_sample(tmp_path: Path) -> None:
    """From folders of HDF5 files, through the command line, to a single AEDAT4 file."""
    pytest.importorskip("aedat")
    make(tmp_path / "data", 10)
    out, net = tmp_path / "run", tmp_path / "n.net"
    data = f"events:{tmp_path / 'data'},window=0.03,stride=0.01,downsample=2"
    done = run(
        *("train", data, "--model", "lenet", "--num-steps", 5, "--epochs", 6, "--out", out),
        *("--batch-size", 8, "--learning-rate", 0.005),
    )
    assert done.exit_code == 0, done.output
    done = run("export", out / "checkpoint.pt", "--out", net)
    assert done.exit_code == 0, done.output
    write_aedat4(tmp_path / "new.aedat4", bars(1, 77), (SIDE, SIDE))
    one = f"events:{tmp_path / 'new.aedat4'},window=0.03,downsample=2,label=0"
    done = run("simulate", net, "--data", one, "--backend", "reference")
    assert done.exit_code == 0, done.output
    assert "2 samples" in done.output
    checkpoint = ("--checkpoint", out / "checkpoint.pt")
    done = run("verify", net, "--data", data, "--backends", "reference", *checkpoint)
    assert done.exit_code == 0, done.output
    assert "MATCH" in done.output
