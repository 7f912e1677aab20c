from __future__ import annotations

import pwd
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_hw.data.dataset import ImageDataset, Labels, Targets, Wanted
from tandem_hw.data.datasets import load_dataset
from tandem_hw.data.splits import split_validation
from tandem_hw.errors import DataError


def arrays(**changes: Any) -> dict[str, Any]:
    pixels = np.arange(10 * 6 * 5, dtype=np.uint8).reshape(10, 6, 5)
    content = {
        "x_train": pixels[:6],
        "y_train": np.array([0, 1, 2, 3, 0, 1]),
        "x_test": pixels[6:],
        "y_test": np.array([0, 1, 2, 0]),
    }
    content |= changes
    return {name: value for name, value in content.items() if value is not None}


def load(path: Path, **keywords: Any) -> ImageDataset:
    data = load_dataset(f"npz:{path}", **keywords)
    assert isinstance(data, ImageDataset)
    return data


def load_arrays(folder: Path, need: Any = "all", **changes: Any) -> ImageDataset:
    path = folder / "data.npz"
    np.savez_compressed(path, **arrays(**changes))
    return load(path, need=need)


def test_digits_come_with_scikit_learn() -> None:
    data = load_dataset("digits")
    assert (data.name, data.classes, data.shape) == ("digits", 10, (1, 8, 8))
    assert data.x_train.dtype == np.float32
    assert data.y_train.dtype == np.int64
    assert (data.x_train.shape, data.x_test.shape) == ((1438, 1, 8, 8), (359, 1, 8, 8))
    assert set(np.unique(data.x_test * 16)) == set(range(17))
    share = np.bincount(data.y_test) / np.bincount(np.concatenate([data.y_train, data.y_test]))
    assert np.abs(share - 0.2).max() < 0.01


def test_digits_are_split_the_same_way_each_time() -> None:
    whole, test = load_dataset("digits"), load_dataset("digits", need="test")
    assert np.array_equal(whole.x_test, test.x_test)
    assert np.array_equal(whole.y_test, test.y_test)
    assert test.x_train.shape == (0, 1, 8, 8)
    assert test.y_train.shape == (0,)
    # Pinned: a checkpoint's accuracy means nothing on another split.
    assert whole.y_test[:12].tolist() == DIGITS_TEST_LABELS


DIGITS_TEST_LABELS = [4, 5, 6, 9, 4, 7, 8, 9, 9, 6, 9, 9]


@pytest.mark.parametrize("layout", ["[N, H, W]", "[N, H, W, C]", "[N, C, H, W]"])
def test_images_of_every_layout_become_channels_first(tmp_path: Path, layout: str) -> None:
    changes: dict[str, Callable[[Any], Any]] = {
        "[N, H, W]": lambda x: x,
        "[N, H, W, C]": lambda x: np.stack([x, x + 1], axis=3),
        "[N, C, H, W]": lambda x: np.stack([x, x + 1], axis=1),
    }
    change, plain = changes[layout], arrays()
    x_train, x_test = change(plain["x_train"]), change(plain["x_test"])
    data = load_arrays(tmp_path, x_train=x_train, x_test=x_test)
    channels = 1 if layout == "[N, H, W]" else 2
    assert data.shape == (channels, 6, 5)
    assert data.classes == 4
    assert data.x_train.flags.c_contiguous
    for channel in range(channels):
        assert np.array_equal(data.x_train[:, channel], plain["x_train"] + channel)
        assert np.array_equal(data.x_test[:, channel], plain["x_test"] + channel)
    assert data.y_train.tolist() == plain["y_train"].tolist()


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_features_may_be_floats_of_either_byte_order(tmp_path: Path, dtype: str) -> None:
    values = np.linspace(0, 1, 4 * 7).reshape(4, 7).astype(dtype)
    y = np.arange(4, dtype=np.uint8)
    data = load_arrays(tmp_path, x_train=values, y_train=y, x_test=values, y_test=y)
    assert data.shape == (7,)
    assert data.x_test.dtype == np.dtype(dtype).newbyteorder("=")
    assert np.array_equal(data.x_test, values)
    assert data.y_test.dtype == np.int64


def test_the_test_part_alone_needs_no_training_part(tmp_path: Path) -> None:
    data = load_arrays(tmp_path, need="test", x_train=None, y_train=None)
    assert data.x_train.shape == (0, 1, 6, 5)
    assert data.y_train.shape == (0,)
    assert data.classes == 3
    with pytest.raises(DataError, match=r"data\.npz: has no array x_train; it holds"):
        load(tmp_path / "data.npz")


def test_the_test_part_alone_still_counts_the_classes_of_all_labels(tmp_path: Path) -> None:
    assert load_arrays(tmp_path, need="test").classes == 4


PLAIN = arrays()
BAD_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "ambiguous: both": ({"x_test": np.zeros((4, 3, 6, 3), np.uint8)}, "x_test .*ambiguous"),
    "ambiguous: none": ({"x_test": np.zeros((4, 5, 6, 7), np.uint8)}, "x_test .*ambiguous"),
    "rank": ({"x_test": np.zeros((4, 1, 2, 3, 4), np.uint8)}, "x_test has shape"),
    "scalar": ({"x_test": np.uint8(3)}, "x_test has shape"),
    "images int": ({"x_test": PLAIN["x_test"].astype(np.int64)}, "x_test is int64"),
    "images half": ({"x_test": PLAIN["x_test"].astype(np.float16)}, "x_test is float16"),
    "images text": ({"x_test": np.array(["a"] * 4)}, "x_test is <U1"),
    "images 255.0": ({"x_test": PLAIN["x_test"].astype(np.float32)}, "x_test spans"),
    "images nan": ({"x_train": np.full((6, 6, 5), np.nan)}, "x_train spans"),
    "signed": (
        {"x_train": np.linspace(-1, 1, 180).reshape(6, 6, 5)},
        r"x_train spans -1\.0 to 1\.0; .* is said: range=-5:5 behind a path and a comma, in P",
    ),
    "no samples": ({"x_train": PLAIN["x_train"][:0], "y_train": PLAIN["y_train"][:0]}, "x_train"),
    "no pixels": ({"x_test": np.zeros((4, 0), np.uint8)}, "x_test .*no samples"),
    "unlike shapes": ({"x_test": PLAIN["x_test"][:, 1:]}, "must be alike"),
    "unlike types": ({"x_test": PLAIN["x_test"] / 255}, "must be alike"),
    "few labels": ({"y_train": np.zeros(5, int)}, "y_train has shape .*6 samples"),
    "one-hot floats": (
        {"y_test": np.eye(4), "y_train": np.eye(4)[[0, 1, 2, 3, 0, 1]]},
        r"y_t.* holds one-hot labels \(.*; give the labels themselves, y_t.*argmax",
    ),
    "one-hot": ({"y_test": np.eye(4, dtype=int)}, "y_test holds one-hot labels"),
    "labels and targets": ({"y_test": np.zeros(4)}, "y_train is int64 .*, y_test float32"),
    "infinite targets": (
        {"y_train": np.zeros(6), "y_test": np.full(4, np.inf)},
        "y_test holds values that are not finite",
    ),
    "targets of another length": (
        {"y_train": np.zeros(6), "y_test": np.zeros((4, 2))},
        r"y_train is float32 \(6,\), y_test float32 \(4, 2\)",
    ),
    "bool labels": ({"y_test": np.zeros(4, bool)}, "y_test is bool; integer labels"),
    "negative": ({"y_test": np.array([0, -1, 1, 2])}, "y_test spans -1 to 2"),
    "huge": ({"y_train": np.array([0, 1, 2, 3, 4, 2**63], np.uint64)}, "y_train spans 0 to 92"),
    "missing": ({"y_test": None}, "has no array y_test"),
    "object": ({"y_test": np.array([0, 1, 2, None])}, "array y_test cannot be read"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_arrays_that_do_not_fit_are_refused_by_name(tmp_path: Path, case: str) -> None:
    changes, message = BAD_ARRAYS[case]
    with pytest.raises(DataError, match=rf"data\.npz: .*{message}"):
        load_arrays(tmp_path, **changes)


def test_a_broken_y_train_is_refused_even_where_only_the_test_part_is_needed(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError, match=r"y_train has shape \(\)"):
        load_arrays(tmp_path, need="test", y_train=np.int64(3))


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.npz: there is no such file"):
        load(tmp_path / "none.npz")
    with pytest.raises(DataError, match="is a folder"):
        load(tmp_path)


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays())
    content = path.read_bytes()
    for length in [0, 1, 10, 100, len(content) // 2, len(content) - 30, len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"data\.npz: the file cannot be read"):
            load(path)


def test_a_damaged_array_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays())
    content = bytearray(path.read_bytes())
    content[content.index(arrays()["x_train"].tobytes()) + 50] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz: array x_train cannot be read"):
        load(path)


def test_an_array_whose_header_promises_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 99999), }"
        padded = header.ljust(117) + b"\n"
        for name in arrays():
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00\x76\x00" + padded + b"data")
    with pytest.raises(DataError, match=r"data\.npz: array x_train cannot be read"):
        load(path)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_text("label,pixel\n1,2\n")
    with pytest.raises(DataError, match=r"data\.npz: the file cannot be read"):
        load(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="holds a single array"):
        load(path)


def test_a_path_in_the_home_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    np.savez(tmp_path / "data.npz", **arrays())
    assert np.array_equal(load_dataset("npz:~/data.npz").y_test, arrays()["y_test"])
    with pytest.raises(DataError, match=r"npz:~nobody-of-this-name/x\.npz: .*; write the path out"):
        load_dataset("npz:~nobody-of-this-name/x.npz")


def test_where_no_home_is_known_only_downloads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any) -> Any:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert len(load_dataset("digits").x_test) > 100
    with pytest.raises(DataError, match="home folder, which is not known; name it in HOME"):
        load_dataset("mnist")
    with pytest.raises(DataError, match=r"npz:~/a\.npz: .*; write the path out"):
        load_dataset("npz:~/a.npz")


@pytest.mark.parametrize("prefix", ["npz:", "events:"])
def test_a_prefix_alone_names_no_file(prefix: str) -> None:
    with pytest.raises(DataError, match=f'data set "{prefix}" names no file; give {prefix}PATH'):
        load_dataset(prefix, num_steps=3, input_bits=1)


def test_an_unknown_name_lists_the_known_ones() -> None:
    known = "digits, diabetes, mnist, fashion-mnist, cifar10, cifar100, npz:PATH"
    with pytest.raises(DataError, match=f'data set "imagenet" is unknown; known are {known}'):
        load_dataset("imagenet")


def fake_torchvision(monkeypatch: pytest.MonkeyPatch, **classes: Any) -> None:
    package, datasets = types.ModuleType("torchvision"), types.ModuleType("torchvision.datasets")
    for name, source in classes.items():
        setattr(datasets, name, source)
    package.datasets = datasets  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)


class FakeCIFAR10:
    roots: ClassVar[list[tuple[str, bool]]] = []

    def __init__(self, root: str, train: bool, download: bool) -> None:
        assert download
        self.roots.append((root, train))
        samples = 6 if train else 4
        self.data = np.arange(samples * 32 * 32 * 3, dtype=np.uint8).reshape(samples, 32, 32, 3)
        self.targets = list(range(samples))


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("need", ["all", "test"])
def test_torchvision_data_become_channels_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, need: Any, classes: int
) -> None:
    fake_torchvision(monkeypatch, **{f"CIFAR{classes}": FakeCIFAR10})
    FakeCIFAR10.roots.clear()
    data = load_dataset(f"cifar{classes}", need=need, folder=tmp_path)
    assert (data.classes, data.shape) == (classes, (3, 32, 32))
    assert np.array_equal(data.x_test.transpose(0, 2, 3, 1), FakeCIFAR10("", False, True).data)
    assert len(data.x_train) == len(data.y_train) == (6 if need == "all" else 0)
    assert (str(tmp_path), False) in FakeCIFAR10.roots
    assert ((str(tmp_path), True) in FakeCIFAR10.roots) is (need == "all")


def test_a_missing_torchvision_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(DataError, match=r"pip install '\.\[vision\]'$"):
        load_dataset("mnist")


@pytest.mark.parametrize("error", [RuntimeError, OSError, EOFError])
def test_a_failed_download_proposes_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: type[Exception]
) -> None:
    def failing(root: str, train: bool, download: bool) -> None:
        raise error("no route to host")

    fake_torchvision(monkeypatch, FashionMNIST=failing)
    with pytest.raises(DataError, match=r"could not be downloaded .*no route to host.*npz:PATH"):
        load_dataset("fashion-mnist", folder=tmp_path)


@given(
    labels=st.lists(st.integers(0, 4), max_size=60),
    fraction=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None, max_examples=100)
def test_a_split_is_stratified_disjoint_and_repeatable(
    labels: list[int], fraction: float, seed: int
) -> None:
    y = np.array(labels, dtype=np.int64)
    train, validation = split_validation(len(y), y, fraction, seed)
    assert train.dtype == validation.dtype == np.int64
    assert sorted([*train, *validation]) == list(range(len(y)))
    assert np.all(np.diff(train) > 0)
    assert np.all(np.diff(validation) > 0)
    again = split_validation(len(y), y, fraction, seed)
    assert np.array_equal(validation, again[1])
    for label in set(labels):
        size, chosen = labels.count(label), int((y[validation] == label).sum())
        assert chosen < size
        assert abs(chosen - size * fraction) <= 1
    if all(labels.count(label) * (1 - fraction) >= 1 for label in labels):
        assert len(validation) == round(len(y) * fraction)


def test_fraction_zero_leaves_everything_to_training() -> None:
    train, validation = split_validation(5, np.arange(5), 0.0, 1)
    assert train.tolist() == [0, 1, 2, 3, 4]
    assert validation.shape == (0,)


def test_the_seed_changes_the_split() -> None:
    y = np.zeros(100, int)
    splits = {tuple(split_validation(100, y, 0.2, seed)[1]) for seed in range(5)}
    assert len(splits) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fraction": 1.0}, r"validation fraction is 1\.0"),
        ({"fraction": -0.1}, r"validation fraction is -0\.1"),
        ({"fraction": float("nan")}, "validation fraction is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"n": 4}, "4 integers are needed"),
        ({"labels": np.zeros(5)}, "labels are float64"),
    ],
)
def test_split_refuses_arguments_out_of_range(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"n": 5, "labels": np.arange(5), "fraction": 0.2, "seed": 0}
    with pytest.raises(DataError, match=message):
        split_validation(**(arguments | changes))


# Labels and targets ------------------------------------------------------------------------------


def test_labels_and_targets_have_one_type_whatever_they_are_made_of() -> None:
    for dtype in (np.uint8, np.int16, np.int64, np.uint64):
        labels = Labels(np.array([0, 2, 1], dtype), classes=4)  # type: ignore[arg-type]
        assert (labels.values.dtype, labels.outputs, len(labels)) == (np.dtype(np.int64), 4, 3)
        some = labels[np.array([2, 1])]
        assert (some.values.tolist(), some.classes) == ([1, 2], 4)
    for real in (np.float16, np.float32, np.float64):
        targets = Targets(np.array([[0.5, 1], [2, 3], [4, 5]], real))  # type: ignore[arg-type]
        assert (targets.values.dtype, targets.outputs, len(targets)) == (np.dtype(np.float32), 2, 3)
        assert targets[1:].values.tolist() == [[2, 3], [4, 5]]
    assert Targets(np.ones(2, np.float32)).outputs == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(3), r"labels are float64 of shape \(3,\); give the whole number of its class"),
        (np.zeros(3, bool), r"labels are bool of shape \(3,\)"),
        (np.zeros((3, 2), int), r"labels are int64 of shape \(3, 2\)"),
        (np.array([0, 3]), "labels span 0 to 3; allowed are 0 to 2, for 3 classes"),
        (np.array([-1, 2]), "labels span -1 to 2; allowed are 0 to 2"),
    ],
)
def test_values_that_are_no_labels_are_refused(values: npt.NDArray[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Labels(values, classes=3)


@pytest.mark.parametrize("values", [np.zeros(3, int), np.array(1.5), np.array(["1"])])
def test_values_that_are_no_targets_are_refused(values: npt.NDArray[Any]) -> None:
    with pytest.raises(DataError, match=r"targets are .* of shape .*; give floating-point numbers"):
        Targets(values)


def test_both_parts_of_a_data_set_ask_for_the_same_outputs() -> None:
    x, labels = np.zeros((2, 5), np.float32), Labels(np.arange(2), classes=2)
    data = ImageDataset("rows", x, labels, x, labels)
    assert (data.classes, data.outputs) == (2, 2)
    one, two = Targets(np.zeros(2, np.float32)), Targets(np.zeros((2, 2), np.float32))
    data = ImageDataset("rows", x, two, x, two)
    assert (data.classes, data.outputs) == (0, 2)
    unlike: tuple[tuple[Wanted, Wanted, str], ...] = (
        (labels, two, "Labels for 2 outputs, the test part Targets for 2"),
        (one, two, "Targets for 1 output, the test part Targets for 2"),
        (Labels(np.arange(2), 3), labels, "Labels for 3 outputs, the test part Labels for 2"),
    )
    for train, test, words in unlike:
        with pytest.raises(DataError, match=f"rows: the training part has {words}.*; give both"):
            ImageDataset("rows", x, train, x, test)
