"""Integers of many samples, which lie in a file, are those that lie in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.cli.work.samples import load_samples
from tandem_hw.data import integers, large_samples
from tandem_hw.data.dataset import ImageDataset, Labels
from tandem_hw.data.datasets import load_dataset
from tandem_hw.data.integers import integers_of
from tandem_hw.data.own.streamed import ArraySource, StreamedSamples
from tandem_hw.errors import DataError
from tandem_hw.network.quantized import InputSpec
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.recordings import small_network

SPEC = InputSpec((1, 4, 4), 4, 1 / 15)
SAMPLES = 23


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Leave everything in files, a few samples at a time; return the folder for these."""
    monkeypatch.setattr(large_samples, "LARGE", 1)
    monkeypatch.setattr(integers, "_PART", 5 * 16 + 3)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


def images(dtype: str) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
    pixels = np.random.default_rng(0).integers(0, 256, (SAMPLES, 4, 4), dtype=np.uint8)
    pixels[5:10] = 0
    pixels[5] = 3  # alone in its part, and too dark to reach a network
    return pixels if dtype == "uint8" else (pixels / 255).astype(np.float32)


def assert_left_in_file(samples: object) -> None:
    assert isinstance(samples, StreamedSamples)
    assert isinstance(samples.source, ArraySource)
    assert isinstance(samples.source.array, np.memmap)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_integers_in_a_file_are_those_in_memory(small_memory: Path, dtype: str) -> None:
    samples, labels = images(dtype)[:, np.newaxis], Labels(np.zeros(SAMPLES, int), 2)
    dataset = ImageDataset("given", samples[:0], labels[:0], samples, labels)
    found = integers_of(dataset, samples, SPEC)
    expected = dataset.integers(samples, SPEC)
    assert expected.max() == 15
    assert type(found) is np.ndarray
    assert isinstance(found.base, np.memmap)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)
    assert list(small_memory.iterdir()) == []


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_file_that_is_not_read_whole_runs_as_one_that_is(
    small_memory: Path, tmp_path: Path, dtype: str
) -> None:
    given = images(dtype)
    path = tmp_path / "data.npz"
    labels = np.arange(SAMPLES) % 3
    np.savez(path, x_test=given, y_test=labels)
    network = small_network()
    left = load_samples(network, f"npz:{path}", None)
    assert_left_in_file(load_dataset(f"npz:{path}", need="test").x_test)
    np.savez_compressed(path, x_test=given, y_test=labels)
    dataset = load_dataset(f"npz:{path}", need="test")
    assert not isinstance(dataset.x_test, np.memmap)
    whole = dataset.integers(dataset.x_test, SPEC)
    runs = [ReferenceBackend().run(network, given, labels) for given in (left.inputs, whole)]
    assert runs[1].counts["hidden"].any()
    assert runs[0].input_digest == runs[1].input_digest
    for name, counts in runs[1].counts.items():
        assert np.array_equal(runs[0].counts[name], counts)


def test_images_whose_channels_come_last_stay_in_their_file(
    small_memory: Path, tmp_path: Path
) -> None:
    given = np.random.default_rng(1).integers(0, 256, (SAMPLES, 5, 6, 3), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", x_test=given, y_test=np.zeros(SAMPLES, int))
    dataset = load_dataset(f"npz:{tmp_path / 'data.npz'}", need="test")
    assert_left_in_file(dataset.x_test)
    assert np.array_equal(dataset.x_test, given.transpose(0, 3, 1, 2))
    spec = InputSpec((3, 5, 6), 8, 1 / 255)
    assert np.array_equal(integers_of(dataset, dataset.x_test, spec), given.transpose(0, 3, 1, 2))


def test_a_folder_without_room_is_named(
    small_memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, labels = images("uint8")[:, np.newaxis], Labels(np.zeros(SAMPLES, int), 2)
    dataset = ImageDataset("given", samples[:0], labels[:0], samples, labels)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="given: 368 bytes of integers do not go into the folder"):
        integers_of(dataset, samples, SPEC)
