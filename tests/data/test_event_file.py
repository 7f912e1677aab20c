from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.data.datasets import load_dataset
from tandem_hw.data.event_data import EventDataset
from tandem_hw.errors import DataError

WIDTH, HEIGHT = 5, 4


def counts(samples: int, shape: tuple[int, ...] = (3, 2, HEIGHT, WIDTH)) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(samples).integers(0, 16, (samples, *shape), np.uint8)


def binned(**changes: Any) -> dict[str, Any]:
    content = {"x_train": counts(6), "y_train": np.arange(6), "x_test": counts(4)}
    content |= {"y_test": np.arange(4)} | changes
    return {name: value for name, value in content.items() if value is not None}


def events(samples: int, many: int = 200) -> npt.NDArray[Any]:
    random = np.random.default_rng(samples)
    fields = [("sample", "<i4"), ("x", "<i2"), ("y", "<u2"), ("t", "<i8"), ("p", "?")]
    made = np.zeros(many, fields)
    for name, limit in (("sample", samples), ("x", WIDTH), ("y", HEIGHT), ("t", 10**6), ("p", 2)):
        made[name] = random.integers(0, limit, many)
    return made


def recorded(**changes: Any) -> dict[str, Any]:
    content = {"events_train": events(6), "y_train": np.arange(6), "events_test": events(4)}
    content |= {"y_test": np.arange(4), "sensor_size": np.array([WIDTH, HEIGHT, 2])} | changes
    return {name: value for name, value in content.items() if value is not None}


def load(folder: Path, content: dict[str, Any], need: Any = "all", **bins: int) -> EventDataset:
    np.savez(folder / "data.npz", **content)
    keywords: dict[str, Any] = {"num_steps": 3, "input_bits": 4} | bins
    data = load_dataset(f"events:{folder / 'data.npz'}", need=need, **keywords)
    assert isinstance(data, EventDataset)
    return data


@pytest.mark.parametrize("shape", [(3, 2, HEIGHT, WIDTH), (3, 2, 7), (3, 9)])
def test_binned_counts_are_taken_as_they_are_without_tonic(
    tmp_path: Path, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tonic", None)
    content = binned(x_train=counts(6, shape), x_test=counts(4, shape).astype(">i4"))
    data = load(tmp_path, content)
    assert (data.shape, data.classes, data.clipped) == (shape[1:], 6, 0)
    assert data.x_test.sum() > 0
    assert np.array_equal(data.x_train, content["x_train"])
    assert np.array_equal(data.x_test, content["x_test"])
    assert data.x_test.dtype == np.uint8
    assert data.y_train.tolist() == list(range(6))


def test_binned_counts_are_clipped_to_the_bits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    x = np.full((4, 3, 2), 70_000, np.uint32)
    x[:3] = 2
    data = load(tmp_path, binned(x_test=x, x_train=counts(6, (3, 2)) % 4), input_bits=2)
    assert data.x_test.tolist() == np.minimum(x, 3).tolist()
    assert data.clipped == 6 * (70_000 - 3)
    assert f"data.npz: {data.clipped} of" in caplog.text


def test_the_test_part_needs_no_training_part(tmp_path: Path) -> None:
    data = load(tmp_path, binned(x_train=None), need="test")
    assert (data.classes, data.x_train.shape) == (6, (0, 3, 2, HEIGHT, WIDTH))
    assert load(tmp_path, binned(x_train=None, y_train=None), need="test").classes == 4


def test_recorded_events_are_binned_the_same_in_either_form(tmp_path: Path) -> None:
    pytest.importorskip("tonic")
    content = recorded()
    data = load(tmp_path, content)
    assert data.shape == (2, HEIGHT, WIDTH)
    for part, samples in (("train", 6), ("test", 4)):
        made, expected = content[f"events_{part}"], np.zeros((samples, 3, 2, HEIGHT, WIDTH), int)
        for event in made:
            times = made["t"][made["sample"] == event["sample"]]
            step = (event["t"] - times.min()) // ((times.max() - times.min()) // 3 + 1)
            expected[event["sample"], step, int(event["p"]), event["y"], event["x"]] += 1
        assert expected.sum() == 200
        assert np.array_equal(getattr(data, f"x_{part}"), expected)
    apart = {
        f"events_{part}_{name}": content[f"events_{part}"][name]
        for part in ("train", "test")
        for name in ("sample", "x", "y", "t", "p")
    }
    again = load(tmp_path, recorded(events_train=None, events_test=None, **apart))
    assert np.array_equal(again.x_train, data.x_train)
    assert np.array_equal(again.x_test, data.x_test)


def test_a_recording_without_events_is_silent(tmp_path: Path) -> None:
    pytest.importorskip("tonic")
    some = events(4)
    data = load(tmp_path, recorded(events_test=some[some["sample"] != 2]), need="test")
    assert (data.x_test.sum((1, 2, 3, 4)) > 0).tolist() == [True, True, False, True]


def test_events_on_a_line_have_no_y(tmp_path: Path) -> None:
    pytest.importorskip("tonic")
    parts = {f"events_{part}": events(n)[["sample", "x", "t", "p"]] for part, n in PARTS.items()}
    data = load(tmp_path, recorded(sensor_size=np.array([WIDTH, 1, 2]), **parts))
    assert data.shape == (2, WIDTH)
    assert data.x_train.sum() == 200


PARTS = {"train": 6, "test": 4}


def without(name: str) -> npt.NDArray[Any]:
    made = events(4)
    return made[[field for field in made.dtype.names or () if field != name]]


def changed(name: str, value: Any) -> npt.NDArray[Any]:
    made = events(4)
    made[name][0] = value
    return made


BAD_FILES = {
    "other bins": (
        binned(x_test=counts(4, (4, 2))),
        r"x_test is binned in 4 steps, the network has num_steps 3; take as many",
    ),
    "negative": (binned(x_test=np.full((4, 3, 2), -1)), "x_test holds -1; counts are 0 or more"),
    "floats": (binned(x_test=np.zeros((4, 3, 2))), "x_test is float64; counts are integers"),
    "bools": (binned(x_test=np.zeros((4, 3, 2), bool)), "x_test is bool; counts are integers"),
    "flat": (binned(x_test=np.zeros((4, 3), np.uint8)), r"x_test has shape \(4, 3\); allowed are"),
    "no pixels": (binned(x_test=np.zeros((4, 3, 0), np.uint8)), r"x_test has shape \(4, 3, 0\)"),
    "unlike": (
        binned(x_test=counts(4, (3, 2))),
        "data.npz: training samples are .*both parts alike",
    ),
    "few labels": (binned(y_test=np.arange(3)), r"y_test has shape \(3,\); one label for each of"),
    "no labels": (binned(y_test=None), "has no array y_test"),
    "negative label": (binned(y_test=np.arange(4) - 1), "y_test spans -1 to 2"),
    "objects": (binned(x_test=np.array([None] * 4)), "array x_test cannot be read"),
    "no part": (binned(x_test=None), "its test part needs exactly one of x_test, events_test"),
    "both": (
        binned(events_test=events(4)),
        "its test part needs exactly one of x_test, events_tes",
    ),
    "mixed": (
        recorded(events_test=None, x_test=counts(4)),
        "holds one part recorded, the other binned; give both alike",
    ),
    "no size": (recorded(sensor_size=None), "has no array sensor_size"),
    "two numbers": (recorded(sensor_size=np.array([5, 4])), r"sensor_size is int64 \(2,\); 3 int"),
    "float size": (recorded(sensor_size=np.ones(3)), r"sensor_size is float64 \(3,\); 3 integers"),
    "zero size": (recorded(sensor_size=np.array([5, 0, 2])), r"sensor_size is \(5, 0, 2\); allow"),
    "sample": (
        recorded(events_test=changed("sample", 4)),
        "events_test belong to samples 0 to 4; y_test has labels for 0 to 3",
    ),
    "negative sample": (recorded(events_test=changed("sample", -1)), "belong to samples -1 to 3"),
    "place": (recorded(events_test=changed("x", 5)), "events_test: recording .: x spans 0 to 5"),
    "no time": (recorded(events_test=without("t")), r"events_test has the fields \['p', 'sample"),
    "no y": (recorded(events_test=without("y")), "has no field y, and the sensor's height is 4"),
    "another field": (
        recorded(events_test=None, events_test_sample=np.zeros(3, int), events_test_q=np.zeros(3)),
        r"events_test has the fields \['q', 'sample'\]; sample, x, t, p and",
    ),
    "plain array": (
        recorded(events_test=np.zeros((9, 5), int)),
        r"events_test has the fields \[\]",
    ),
    "float field": (
        recorded(events_test=events(4).astype([(n, "f8") for n in ("sample", "x", "y", "t", "p")])),
        r"events_test, field sample is float64 \(200,\); integers \[M\]",
    ),
    "lengths": (
        recorded(
            events_test=None,
            **{f"events_test_{name}": np.zeros(2, int) for name in ("sample", "x", "y", "t")},
            events_test_p=np.zeros(3, int),
        ),
        r"events_test, field p is int64 \(3,\); integers \[M\], as many",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_files_that_do_not_keep_to_the_format_are_refused(tmp_path: Path, case: str) -> None:
    pytest.importorskip("tonic")
    content, message = BAD_FILES[case]
    with pytest.raises(DataError, match=message):
        load(tmp_path, content)


def test_recorded_events_need_no_tonic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tonic", None)
    assert load(tmp_path, recorded()).x_test.sum() > 0


def test_damaged_and_missing_files_are_refused(tmp_path: Path) -> None:
    load(tmp_path, binned())
    path = tmp_path / "data.npz"
    content = path.read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"data\.npz: the file cannot be read"):
            load_dataset(f"events:{path}", num_steps=3, input_bits=4)
    with pytest.raises(DataError, match=r"none\.npz: there is no such file"):
        load_dataset(f"events:{tmp_path / 'none.npz'}", num_steps=3, input_bits=4)
