"""Data sets made of arrays: layouts, ranges, labels and the split of a missing test part."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tandem_hw
from tandem_hw.data.dataset import ImageDataset, Labels, Targets
from tandem_hw.errors import DataError

PIXELS = np.arange(40 * 3 * 5 * 6, dtype=np.uint8).reshape(40, 3, 5, 6)
LABELS = np.arange(40) % 4


def images(x: Any = PIXELS, y: Any = LABELS, **keywords: Any) -> ImageDataset:
    return tandem_hw.image_dataset(x, y, **keywords)


def labels_of(data: ImageDataset) -> Labels:
    assert isinstance(data.wanted_train, Labels)
    return data.wanted_train


@pytest.mark.parametrize(
    ("layout", "given"),
    [("NCHW", PIXELS), ("NHWC", PIXELS.transpose(0, 2, 3, 1)), ("NHW", PIXELS[:, 0])],
)
@pytest.mark.parametrize("said", [True, False])
def test_images_of_every_layout_become_channels_first(layout: Any, given: Any, said: bool) -> None:
    data = images(given, x_test=given[:8], y_test=LABELS[:8], layout=layout if said else None)
    whole = PIXELS if layout != "NHW" else PIXELS[:, :1]
    assert np.array_equal(data.x_train, whole)
    assert np.array_equal(data.x_test, whole[:8])
    assert data.y_train.tolist() == LABELS.tolist()
    assert (data.classes, labels_of(data).names) == (4, None)


def test_signals_are_channels_over_time() -> None:
    waves = np.random.default_rng(0).random((20, 50, 3)).astype(np.float32)
    y = np.arange(20) % 2
    data = tandem_hw.signal_dataset(waves, y, layout="NLC")
    assert data.shape == (3, 50)
    single = tandem_hw.signal_dataset(waves[:, :, 0], y, waves[:4, :, 1], y[:4])
    assert single.shape == (1, 50)
    assert np.array_equal(single.x_train[:, 0], waves[:, :, 0])
    given = tandem_hw.signal_dataset(waves.transpose(0, 2, 1), y, waves.transpose(0, 2, 1), y)
    assert np.array_equal(given.x_test, waves.transpose(0, 2, 1))


def test_measurements_are_rows_and_floats_are_targets() -> None:
    rows = np.linspace(0, 1, 60).reshape(20, 3)
    data = tandem_hw.array_dataset(rows, np.linspace(-1, 1, 20))
    assert isinstance(data.wanted_train, Targets)
    assert (data.shape, len(data.x_train), len(data.x_test)) == ((3,), 16, 4)


def test_a_missing_test_part_is_a_share_of_every_class_and_the_same_each_time() -> None:
    one, again, other = images(), images(), images(seed=1)
    assert np.array_equal(one.x_test, again.x_test)
    assert not np.array_equal(one.x_test, other.x_test)
    assert np.bincount(one.y_test).tolist() == [2, 2, 2, 2]
    assert (len(one.x_train), len(images(test_fraction=0.5).x_test)) == (32, 20)
    together = np.concatenate([one.x_train, one.x_test])
    assert np.array_equal(np.sort(together[:, 0, 0, 0]), np.sort(PIXELS[:, 0, 0, 0]))


@pytest.mark.parametrize(
    ("given", "values", "names"),
    [
        (["dog", "cat", "dog", "eel"], [1, 0, 1, 2], ("cat", "dog", "eel")),
        ([3, 1, 2, 1], [2, 0, 1, 0], ("1", "2", "3")),
        ([-1, 1, -1, 1], [0, 1, 0, 1], ("-1", "1")),
        ([0, 20, 100, 20], [0, 1, 2, 1], ("0", "20", "100")),
        (["10", "9", "10", "2"], [2, 1, 2, 0], ("2", "9", "10")),
        (np.array(["b", "a", "b", "a"], object), [1, 0, 1, 0], ("a", "b")),
        (np.array([b"b", b"a", b"b", b"a"]), [1, 0, 1, 0], ("a", "b")),
        ([True, False, True, True], [1, 0, 1, 1], None),
        (np.array([2, 0, 1, 0], np.uint8), [2, 0, 1, 0], None),
    ],
)
def test_labels_of_any_kind_are_numbered_in_order(
    given: Any, values: list[int], names: tuple[str, ...] | None
) -> None:
    data = images(PIXELS[:4], given, x_test=PIXELS[:4], y_test=given)
    assert data.y_train.tolist() == data.y_test.tolist() == values
    labels = labels_of(data)
    assert (labels.names, labels.classes) == (names, max(values) + 1)
    assert labels[1:3].names == labels[np.array([0])].names == names


@pytest.mark.parametrize("names", [("a",), ("a", "a")])
def test_names_are_one_for_each_class(names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="2 different ones are needed"):
        Labels(np.array([0, 1]), 2, names)


def test_both_parts_have_the_same_names() -> None:
    train, test = (Labels(np.array([0, 1]), 2, names) for names in (("a", "b"), ("b", "a")))
    with pytest.raises(DataError, match="give both the same, in the same order"):
        ImageDataset("x", PIXELS[:2], train, PIXELS[:2], test)


def test_a_range_of_values_becomes_0_to_1() -> None:
    waves = np.array([[[-2.0, 0.0, 6.0]], [[2.0, 5.9, -1.0]]])
    data = tandem_hw.signal_dataset(waves, [0, 1], waves, [0, 1], value_range=(-2, 6))
    assert data.x_train.dtype == np.float32
    assert np.array_equal(data.x_train, ((waves + 2) / 8).astype(np.float32))
    whole = images(PIXELS.astype(int), value_range=(0, 255))
    assert whole.x_train.max() == 1


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "nan": ({"x": PIXELS * np.nan}, "x_train spans nan to nan; give finite floats"),
    "raw": ({"x": PIXELS.astype(np.float32)}, "spans 0.0 to 255.0; .*value_range=(least, largest)"),
    "int64": ({"x": PIXELS.astype(int)}, "x_train is int64; give uint8"),
    "objects": ({"x": np.array([None] * 40)}, "x_train holds Python objects"),
    "unlike": ({"x": [np.zeros((2, 2)), np.zeros((3, 2))]}, "no array of samples of one shape"),
    "none": ({"x": PIXELS[:0], "y": LABELS[:0]}, "there are no samples"),
    "axes": ({"x": PIXELS, "layout": "NHW"}, "layout NHW has 3 axes"),
    "layout": ({"layout": "CHWN"}, "layout is 'CHWN'; allowed are NCHW, NHWC"),
    "other layout": ({"layout": "NCL"}, "layout is NCL; allowed are NHW, NCHW, NHWC"),
    "ambiguous": ({"x": PIXELS.reshape(40, 3, 30, 1)}, "ambiguous.*say layout NCHW or NHWC"),
    "thin": ({"x": PIXELS.reshape(40, 3, 30)}, "ambiguous: signals of 3.*say layout NCL"),
    "fewer labels": ({"y": LABELS[:39]}, "y_train has 39 labels or targets for the 40 samples"),
    "one-hot": ({"y": np.eye(4)[LABELS]}, "holds one-hot labels"),
    "label nan": ({"y": np.where(LABELS, 0.5, np.nan)}, "y_train holds values that are not finite"),
    "nan among texts": ({"y": np.array(["a", np.nan] * 20, object)}, "y_train[1] is nan (float)"),
    "nan in a list": ({"y": ["a", float("nan")] * 20}, "y_train[1] is nan (float)"),
    "empty text": ({"y": ["a", " "] * 20}, "y_train[1] is an empty text"),
    "complex": ({"y": LABELS * 1j}, "y_train is complex128; whole numbers or texts"),
    "bytes": ({"y": np.array([b"\xff"] * 40)}, "holds bytes that are no text"),
    "table": ({"y": LABELS.reshape(40, 1, 1)}, "one label for each sample"),
    "huge": ({"y": np.full(40, 2**64 - 1, np.uint64)}, "y_train is uint64"),
    "only x": ({"x_test": PIXELS}, "only one of x_test and y_test"),
    "unknown label": (
        {"y": ["a"] * 40, "x_test": PIXELS[:2], "y_test": ["a", "b"]},
        "y_test has the label 'b', which y_train has not",
    ),
    "mixed labels": (
        {"y": ["a"] * 40, "x_test": PIXELS[:2], "y_test": [0, 1]},
        "text in one part and numbers",
    ),
    "mixed wants": ({"x_test": PIXELS[:2], "y_test": [0.5, 1]}, "floating-point targets, and the"),
    "unlike parts": (
        {"x_test": PIXELS[:2, :, :4], "y_test": [0, 1]},
        "x_train has samples (3, 5, 6) of uint8, x_test (3, 4, 6)",
    ),
    "fraction": ({"test_fraction": 1.0}, "test_fraction is 1.0; .*share above 0, below 1"),
    "too few": ({"x": PIXELS[:2], "y": [0, 1]}, "none is left to test on"),
    "range order": ({"value_range": (1, 1)}, "least value has to be below"),
    "range kind": ({"value_range": 3}, "two numbers, (least, largest)"),
    "range too narrow": ({"value_range": (0, 100)}, "beyond value_range 0.0 to 100.0"),
    "range of texts": ({"x": np.array(["a"] * 40), "value_range": (0, 1)}, "real numbers are"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused(case: str) -> None:
    keywords, message = CASES[case]
    pattern = re.escape(message).replace(r"\.\*", ".*")
    with pytest.raises(DataError, match=pattern):
        images(**keywords)


def test_signals_that_look_turned_and_images_as_rows_are_refused() -> None:
    with pytest.raises(DataError, match=r"50 channels of length 3 .*say layout NCL"):
        tandem_hw.signal_dataset(np.zeros((4, 50, 3)), [0, 1, 0, 1])
    with pytest.raises(DataError, match="give images to image_dataset"):
        tandem_hw.array_dataset(PIXELS, LABELS)


def test_too_many_classes_are_refused() -> None:
    y = np.array([0, 1 << 40])
    data = tandem_hw.array_dataset(np.eye(2), y, np.eye(2), y)
    assert data.classes == 2
    many = np.arange(1, (1 << 16) + 2)
    with pytest.raises(DataError, match="65537 classes; allowed are 65536"):
        tandem_hw.array_dataset(np.ones((len(many), 1)), many)


def test_a_network_of_signals_says_what_to_say_of_images() -> None:
    from tandem_hw.network.quantized import InputSpec

    data = images(PIXELS[:, 0])
    with pytest.raises(DataError, match="say layout NCL"):
        data.check_fit(InputSpec((5, 6), 4, 1 / 15), 7)
