"""What an npz file or a folder of npy files may say: axes, ranges, names of classes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.data import large_samples
from tandem_hw.data.dataset import ImageDataset, Labels
from tandem_hw.data.datasets import load_dataset
from tandem_hw.data.own import streamed
from tandem_hw.errors import DataError

WAVES = np.random.default_rng(0).random((12, 2, 30)).astype(np.float32)
Y = np.arange(12) % 3
Save = Callable[..., str]


def save_npz(folder: Path, **arrays: npt.NDArray[Any]) -> str:
    np.savez(folder / "data.npz", **arrays)
    return f"npz:{folder / 'data.npz'}"


def save_npy(folder: Path, **arrays: npt.NDArray[Any]) -> str:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return f"npy:{folder}"


def load(spec: str, **keywords: Any) -> ImageDataset:
    data = load_dataset(spec, **keywords)
    assert isinstance(data, ImageDataset)
    return data


def signals(**changes: Any) -> dict[str, Any]:
    content = {"x_train": WAVES, "y_train": Y, "x_test": WAVES[:6], "y_test": Y[:6]}
    return {name: array for name, array in (content | changes).items() if array is not None}


def names_of(data: ImageDataset) -> tuple[str, ...] | None:
    assert isinstance(data.wanted_test, Labels)
    return data.wanted_test.names


@pytest.mark.parametrize("save", [save_npz, save_npy])
def test_signals_say_their_layout_in_the_file_or_as_an_option(save: Save, tmp_path: Path) -> None:
    spec = save(tmp_path, **signals())
    with pytest.raises(
        DataError, match=r"x_train has shape .* ambiguous: signals of 2 channels and"
    ):
        load(spec)
    data = load(f"{spec},layout=NCL")
    assert (data.shape, data.name) == ((2, 30), f"{spec},layout=NCL")
    assert np.array_equal(data.x_train, WAVES)
    assert np.array_equal(load(f"{spec},layout=NHW").x_test, WAVES[:6, None])
    spec = save(tmp_path, **signals(layout=np.array("NCL")))
    assert np.array_equal(load(spec, need="test").x_test, WAVES[:6])
    assert load(f"{spec},layout=NCL").shape == (2, 30)
    with pytest.raises(DataError, match="said to be NLC, the file says NCL"):
        load(f"{spec},layout=NLC")


def test_images_with_and_without_a_layout_are_the_same(tmp_path: Path) -> None:
    images = np.arange(12 * 5 * 6, dtype=np.uint8).reshape(12, 5, 6)
    arrays = signals(x_train=images, x_test=images[:6])
    spec = save_npz(tmp_path, **arrays)
    assert np.array_equal(load(spec).x_train, load(f"{spec},layout=NHW").x_train)
    assert load(spec).shape == (1, 5, 6)


@pytest.mark.parametrize("save", [save_npz, save_npy])
def test_values_of_any_range_are_said(save: Save, tmp_path: Path) -> None:
    spec = save(tmp_path, **signals(x_train=WAVES * 4 - 2, x_test=WAVES[:6] * 4 - 2))
    data = load(f"{spec},layout=NCL,range=-2:2")
    assert np.allclose(data.x_train, WAVES, atol=1e-6)
    with pytest.raises(DataError, match=r"spans -1\.9.* beyond value_range -1\.0 to 2\.0"):
        load(f"{spec},layout=NCL,range=-1:2")


def test_npy_files_are_mapped_and_streamed_where_they_are_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = f"{save_npy(tmp_path, **signals())},layout=NCL"
    held = load(spec)
    assert isinstance(held.x_train, np.memmap)
    monkeypatch.setattr(large_samples, "LARGE", 10)
    data = load(spec)
    assert isinstance(data.x_train, streamed.StreamedSamples)
    assert repr(data.x_train) == "StreamedSamples(ArraySource, shape=(12, 2, 30), float32)"
    chosen = data.x_train[np.array([3, 1])][1:]
    assert (len(chosen), chosen.ndim, chosen.size, chosen.dtype) == (1, 3, 60, np.float32)
    assert np.array_equal(np.asarray(chosen), WAVES[1:2])
    assert np.array_equal(data.x_train[4], WAVES[4])
    assert np.asarray(data.x_train[:0]).shape == (0, 2, 30)
    assert np.array_equal(held.x_test, np.asarray(data.x_test))


def test_a_large_npz_file_is_streamed_in_a_training_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = f"{save_npz(tmp_path, **signals())},layout=NCL"
    monkeypatch.setattr(large_samples, "LARGE", 10)
    data = load(spec)
    assert isinstance(data.x_train, streamed.StreamedSamples)
    assert np.array_equal(np.asarray(data.x_train), WAVES)


@pytest.mark.parametrize(
    ("y", "values", "names"),
    [
        (np.array(["b", "a", "c"] * 4), [1, 0, 2], ("a", "b", "c")),
        (Y + 1, [0, 1, 2], ("1", "2", "3")),
        (Y * 2 - 1, [0, 1, 2], ("-1", "1", "3")),
        (Y * 2, [0, 2, 4], None),  # numbers of classes, of which some have no samples
        (Y, [0, 1, 2], None),
    ],
)
def test_labels_are_numbered_alike_in_training_and_test(
    tmp_path: Path, y: Any, values: list[int], names: tuple[str, ...] | None
) -> None:
    spec = f"{save_npz(tmp_path, **signals(y_train=y, y_test=y[1:7]))},layout=NCL"
    data, test = load(spec), load(spec, need="test")
    assert data.y_train[:3].tolist() == values
    assert data.y_test[:2].tolist() == test.y_test[:2].tolist() == values[1:]
    assert names_of(data) == names_of(test) == names
    assert data.classes == test.classes == max(values) + 1


def test_a_file_may_name_its_classes(tmp_path: Path) -> None:
    names = np.array(["up", "down", "left"])
    for y in (Y[:6], names[Y[:6]]):
        arrays = signals(class_names=names, x_train=None, y_train=None, y_test=y)
        spec = f"{save_npz(tmp_path, **arrays)},layout=NCL"
        data = load(spec, need="test")
        assert data.y_test.tolist() == Y[:6].tolist()
        assert names_of(data) == ("up", "down", "left")


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "layout": ({}, ",layout=CHW", "layout is 'CHW'; allowed are NCHW"),
    "layout array": ({"layout": np.array([1, 2])}, "", "layout is int64 (2,); one text is needed"),
    "axes": ({}, ",layout=NCHW", "layout NCHW has 4 axes"),
    "range": ({}, ",layout=NCL,range=3", "range is 3; give the least and the largest value"),
    "range words": ({}, ",layout=NCL,range=a:b", "range is a:b; give the least"),
    "words alone": (
        {"y_train": None, "x_train": None, "y_test": np.array(["a", "b"] * 3)},
        ",layout=NCL",
        "has labels in words and no y_train",
    ),
    "unknown word": (
        {"class_names": np.array(["a", "b"]), "y_train": np.array(["a", "c", "b"] * 4)},
        ",layout=NCL",
        "y_train[1] is 'c', which is none of the 2 classes (a, b)",
    ),
    "few names": ({"class_names": np.array(["a"])}, ",layout=NCL", "y_train: labels span 0 to 2"),
    "words beside numbers": (
        {"y_train": np.array(["a"] * 12)},
        ",layout=NCL",
        "labels are text in one part and numbers in the other",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused(tmp_path: Path, case: str) -> None:
    changes, options, message = CASES[case]
    arrays = signals(**changes)
    spec = save_npz(tmp_path, **arrays)
    with pytest.raises(DataError, match=re.escape(message)):
        load(spec + options, need="all" if "x_train" in arrays else "test")


def remove(folder: Path) -> None:
    (folder / "y_test.npy").unlink()


def shorten(folder: Path) -> None:
    (folder / "x_train.npy").write_bytes((folder / "x_train.npy").read_bytes()[:-1])


def foreign(folder: Path) -> None:
    (folder / "x_train.npy").write_bytes(b"something else")


def pickled(folder: Path) -> None:
    np.save(folder / "y_train.npy", np.array([0, None], object), allow_pickle=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove, r"has no y_test\.npy; of such files it holds \['x_test\.npy'"),
        (shorten, r"x_train\.npy: cannot be read \(shape .* is 2880 bytes, 2879 are there\)"),
        (foreign, r"x_train\.npy: cannot be read \(it is not an array that NumPy wrote"),
        (pickled, r"y_train\.npy: cannot be read \(it is object .*plain values are needed"),
    ],
)
def test_npy_files_that_cannot_be_used_are_named(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    spec = save_npy(tmp_path, **signals())
    damage(tmp_path)
    with pytest.raises(DataError, match=message):
        load(spec)


def test_empty_npy_files_and_missing_folders_are_refused(tmp_path: Path) -> None:
    spec = save_npy(tmp_path, **signals(x_train=WAVES[:0], y_train=Y[:0]))
    with pytest.raises(DataError, match="there are no samples"):
        load(spec)
    with pytest.raises(DataError, match="there is no such folder; give the one that holds x_train"):
        load(f"npy:{tmp_path}/none")
    with pytest.raises(DataError, match="is no folder"):
        load(f"npy:{tmp_path}/x_train.npy")


@pytest.mark.parametrize("save", [save_npz, save_npy])
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"y_train": (Y % 2).astype("m8[s]")}, "y_train is timedelta64"),
        ({"layout": np.array(b"\xffNCL")}, "layout is 'ÿNCL'"),
    ],
)
def test_arrays_of_odd_types_are_refused(
    tmp_path: Path, save: Save, changed: dict[str, Any], said: str
) -> None:
    arrays: dict[str, Any] = {"x_train": WAVES, "y_train": Y, "x_test": WAVES, "y_test": Y}
    with pytest.raises(DataError, match=re.escape(said)):
        load(save(tmp_path, **arrays | {"layout": np.array("NCL")} | changed))


@pytest.mark.parametrize("save", [save_npz, save_npy])
def test_missing_labels_are_named(tmp_path: Path, save: Save) -> None:
    with pytest.raises(DataError, match=r"has no .*y_train"):
        load(save(tmp_path, x_train=WAVES, x_test=WAVES, y_test=Y))


def test_a_range_whose_length_is_infinite_is_refused(tmp_path: Path) -> None:
    spec = save_npz(tmp_path, x_train=WAVES, y_train=Y, x_test=WAVES, y_test=Y)
    with pytest.raises(DataError, match="both finite, as their difference is"):
        load(f"{spec},layout=NCL,range=-1e308:1e308")
