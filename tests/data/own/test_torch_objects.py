"""Data sets of PyTorch, torchvision and Hugging Face as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torch.utils.data import Dataset as TorchDataset

from tandem_hw import torch_dataset
from tandem_hw.data.dataset import ImageDataset, Labels, Targets
from tandem_hw.errors import DataError
from tandem_hw.network.quantized import InputSpec

IMAGES = torch.arange(30 * 3 * 4 * 5, dtype=torch.uint8).reshape(30, 3, 4, 5)
LABELS = torch.arange(30) % 3


class Own(TorchDataset[Any]):
    """Images and labels as a data set of one's own gives them."""

    def __init__(self, samples: Any, labels: Any, **kept: Any) -> None:
        self.samples, self.labels, self.reads = samples, labels, 0
        vars(self).update(kept)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        self.reads += 1
        return self.samples[index], self.labels[index]


def tensors(rows: Any = slice(None)) -> TensorDataset:
    return TensorDataset(IMAGES[rows], LABELS[rows])


def names_of(data: ImageDataset) -> tuple[str, ...] | None:
    assert isinstance(data.wanted_train, Labels)
    return data.wanted_train.names


def test_samples_are_read_when_they_are_asked_for_and_labels_once() -> None:
    own = Own(IMAGES, LABELS.tolist(), targets=LABELS.tolist(), classes=["a", "b", "c"])
    data = torch_dataset(own)
    assert own.reads <= 3
    assert (data.shape, data.name, names_of(data)) == ((3, 4, 5), "Own", ("a", "b", "c"))
    assert (len(data.x_train), len(data.x_test)) == (24, 6)
    assert np.bincount(data.y_test).tolist() == [2, 2, 2]
    before = own.reads
    chosen = data.x_train[3:5]
    assert own.reads == before
    assert np.asarray(chosen).shape == (2, 3, 4, 5)
    assert own.reads == before + 2


def test_both_parts_hold_what_the_objects_hold() -> None:
    data = torch_dataset(tensors(), tensors(slice(0, 7)))
    assert np.array_equal(np.asarray(data.x_train), IMAGES.numpy())
    assert np.array_equal(np.asarray(data.x_test), IMAGES[:7].numpy())
    assert data.y_train.tolist() == LABELS.tolist()
    assert names_of(data) is None
    spec = InputSpec((3, 4, 5), 8, 1 / 255)
    data.check_fit(spec, 4)
    assert np.array_equal(data.integers(data.x_test, spec), IMAGES[:7].numpy())


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        (Subset(tensors(), [7, 3, 5, 1]), [7, 3, 5, 1]),
        (ConcatDataset([tensors(slice(0, 3)), tensors(slice(9, 12))]), [0, 1, 2, 9, 10, 11]),
        (DataLoader(tensors(slice(0, 4)), batch_size=3), [0, 1, 2, 3]),
        (DataLoader(tensors(), sampler=SubsetRandomSampler([4, 2, 3])), [4, 2, 3]),
        (DataLoader(Subset(tensors(), [4, 2, 3]), shuffle=True), [4, 2, 3]),
        (Own(IMAGES[:3], LABELS[:3].tolist(), targets=[5, 5, 5]), [0, 1, 2]),  # they lie
        (Own(IMAGES[:3], np.array([0, 1, 2])), [0, 1, 2]),
        (Own(IMAGES[:3].numpy(), LABELS[:3]), [0, 1, 2]),
        (Own(IMAGES[:3, :, :, :].numpy(), LABELS[:3].tolist(), target_transform=int), [0, 1, 2]),
    ],
)
def test_objects_around_data_sets_choose_samples(given: Any, rows: list[int]) -> None:
    data = torch_dataset(given, given)
    assert np.array_equal(np.asarray(data.x_train), IMAGES[rows].numpy())
    assert data.y_train.tolist() == LABELS[rows].tolist()


def test_a_loader_gives_its_processes_and_what_makes_its_batches() -> None:
    def dark(items: Any) -> Any:
        images, labels = zip(*items, strict=True)
        return torch.stack(images) // 2, torch.tensor(labels) + 1

    loader = DataLoader(tensors(), num_workers=2, collate_fn=dark)
    data = torch_dataset(loader, DataLoader(tensors(slice(0, 3)), collate_fn=dark))
    assert np.array_equal(np.asarray(data.x_train), IMAGES.numpy() // 2)
    assert names_of(data) == ("1", "2", "3")
    samples: Any = data.x_train
    assert samples.workers == 2


def test_signals_text_labels_and_targets() -> None:
    waves = torch.rand(12, 2, 40)
    data = torch_dataset(Own(waves, ["up", "down"] * 6), layout="NCL")
    assert (data.shape, names_of(data)) == ((2, 40), ("down", "up"))
    with pytest.raises(DataError, match="which is ambiguous"):
        torch_dataset(Own(waves, ["up", "down"] * 6))
    targets = torch_dataset(TensorDataset(waves[:, :, 0], torch.linspace(0, 1, 12)))
    assert isinstance(targets.wanted_train, Targets)
    assert targets.shape == (2,)


def test_an_image_folder_of_torchvision_is_the_folder(tmp_path: Path) -> None:
    try:
        import torchvision as vision
    except (ImportError, RuntimeError):  # the latter where it does not match PyTorch
        pytest.skip("torchvision cannot be imported")
    from PIL import Image

    from tandem_hw import load_dataset

    for name in ("dog", "cat"):
        for part, count in (("train", 4), ("test", 2)):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                seed = len(name + part) * 7 + number
                pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    own = load_dataset(f"folder:{tmp_path}")
    for transform in (None, vision.transforms.PILToTensor(), vision.transforms.ToTensor()):
        parts = [
            vision.datasets.ImageFolder(str(tmp_path / part), transform)
            for part in ("train", "test")
        ]
        data = torch_dataset(*parts)
        read: Any = np.asarray(data.x_train)
        read = (read * 255).round() if read.dtype == np.float32 else read
        assert names_of(data) == names_of(own) == ("cat", "dog")  # type: ignore[arg-type]
        # Ours has the first of each class, then the second.
        order = np.argsort(own.y_train, kind="stable")
        assert np.array_equal(read, own.x_train[order])
        assert data.y_train.tolist() == own.y_train[order].tolist()


@pytest.mark.exhaustive  # importing the package takes seconds
def test_tables_of_hugging_face(tmp_path: Path) -> None:
    tables = pytest.importorskip("datasets")
    from PIL import Image

    images = [Image.fromarray(one.permute(1, 2, 0).numpy()) for one in IMAGES]
    features = tables.Features(
        {"img": tables.Image(), "label": tables.ClassLabel(names=["a", "b", "c"])}
    )
    columns = {"img": images, "label": LABELS.tolist()}
    table = tables.Dataset.from_dict(columns, features=features)
    both = tables.DatasetDict({"train": table, "test": table.select(range(6))})
    data = torch_dataset(both)
    assert np.array_equal(np.asarray(data.x_train), IMAGES.numpy())
    assert (len(data.x_test), names_of(data)) == (6, ("a", "b", "c"))
    named = table.rename_columns({"img": "picture", "label": "kind"})
    again = torch_dataset(named, columns=("picture", "kind"))
    assert names_of(again) == ("a", "b", "c")
    with pytest.raises(DataError, match=r"has the columns \['picture', 'kind'\]; say which"):
        torch_dataset(named)
    with pytest.raises(DataError, match="has no column kinds; there are"):
        torch_dataset(named, columns=("picture", "kinds"))
    with pytest.raises(DataError, match="IterableDataset cannot be read by index"):
        torch_dataset(table.to_iterable_dataset())


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


class Changing(Own):
    def __getitem__(self, index: int) -> Any:
        return self.samples[index], (self.labels[index] + self.reads) % 3


class Failing(Own):
    def __getitem__(self, index: int) -> Any:
        raise KeyError("lost")


def bad_collate(items: Any) -> Any:
    raise ValueError("no batch")


def short_collate(items: Any) -> Any:
    return torch.zeros(len(items) + 1, 3), [0] * len(items)


def normalised() -> Any:
    return Own((IMAGES.float() / 255 - 0.5) / 0.5, LABELS)


CASES: dict[str, tuple[Any, str]] = {
    "iterable": (Endless(), "Endless cannot be read by index; a training reads"),
    "loader of iterable": (DataLoader(Endless()), "Endless cannot be read by index"),
    "generator": (iter([1]), "list_iterator cannot be read by index"),
    "empty": (tensors(slice(0, 0)), "TensorDataset has no samples"),
    "weights": (
        DataLoader(tensors(), sampler=WeightedRandomSampler([1.0] * 30, 30)),
        "draws samples by WeightedRandomSampler",
    ),
    "replacement": (
        DataLoader(tensors(), sampler=RandomSampler(tensors(), replacement=True)),
        "draws samples by RandomSampler",
    ),
    "batches": (
        DataLoader(tensors(), batch_sampler=[[0, 1], [2, 3]]),  # type: ignore[arg-type]
        "makes batches by list",
    ),
    "collate": (DataLoader(tensors(), collate_fn=bad_collate), "collate_fn failed on samples 0"),
    "short collate": (DataLoader(tensors(), collate_fn=short_collate), "makes 2 samples with 1"),
    "single": (Own(IMAGES, LABELS).samples.numpy().tolist, "cannot be read by index"),
    "no pair": ([IMAGES[0], IMAGES[1]], "sample 0 is Tensor; a pair of a sample and its label"),
    "failing": (Failing(IMAGES, LABELS), "sample 0 cannot be read (KeyError: 'lost')"),
    "sizes": (
        Own([IMAGES[0]] * 3 + [IMAGES[1][:, 1:]] * 5, [0] * 3 + [1] * 5),
        "have the shapes (3, 3, 5) and (3, 4, 5)",
    ),
    "normalised": (normalised(), "span -1 to -0.537255; .*leave Normalize out of the transform"),
    "int64": (Own(IMAGES.long(), LABELS), "the array is int64; uint8"),
    "text": (Own(["a"] * 3, [0, 1, 2]), "a sample is str of <U1; an image, a tensor"),
    "mixed labels": (Own(IMAGES, ["a", 1] * 15), "[1] is 1 (int); whole numbers or texts"),
    "nan": (Own(IMAGES, [float("nan")] * 30), "holds values that are not finite"),
    "no part": ({"other": tensors()}, "['other']: has no part train or training"),
    "layout": (tensors(), "layout is 'x'"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_read_is_refused(case: str) -> None:
    given, message = CASES[case]
    pattern = re.escape(message).replace(r"\.\*", ".*")
    layout: Any = "x" if case == "layout" else None
    with pytest.raises(DataError, match=pattern):
        np.asarray(torch_dataset(given, layout=layout).x_train)


def test_a_batch_that_differs_as_a_whole_is_refused() -> None:
    data = torch_dataset(Own([IMAGES[0]] * 3 + [IMAGES[1][:, 1:]] * 5, [0] * 3 + [1] * 5))
    with pytest.raises(DataError, match=r"are \(3, 3, 5\) of uint8, others \(3, 4, 5\) of uint8"):
        np.asarray(data.x_train[data.y_train == 1])


def test_samples_whose_labels_change_are_refused() -> None:
    data = torch_dataset(Changing(IMAGES, LABELS.tolist()))
    own: Any = data.x_train
    own.source.given.reads = 1
    with pytest.raises(DataError, match=r"had label \d and now has \d; an index has to give the"):
        np.asarray(data.x_train)


def test_images_of_pillow_of_other_kinds_and_sizes_are_refused() -> None:
    image = pytest.importorskip("PIL.Image")
    pictures = [image.new("RGB", (4, 3)), image.new("RGB", (5, 3))] * 3
    with pytest.raises(DataError, match=r"have the shapes \(3, 4, 3\) and \(3, 5, 3\); .*Resize"):
        np.asarray(torch_dataset(Own(pictures, [0, 1] * 3)).x_train)
    with pytest.raises(DataError, match=r"Pillow's mode RGBA; .*image\.convert"):
        torch_dataset(Own([image.new("RGBA", (4, 3))] * 4, [0, 1] * 2))


def test_parts_that_differ_are_refused() -> None:
    small = TensorDataset(IMAGES[:, :, :2], LABELS)
    with pytest.raises(DataError, match=r"test samples .* must be alike"):
        torch_dataset(tensors(), small)
    named = [Own(IMAGES, LABELS, classes=list(names)) for names in ("abc", "acb")]
    with pytest.raises(DataError, match="give both the same"):
        torch_dataset(*named)


def test_streamed_images_that_are_all_dark_are_refused() -> None:
    dark = torch_dataset(Own(torch.zeros(400, 1, 2, 2, dtype=torch.uint8), [0, 1] * 200))
    spec = InputSpec((1, 2, 2), 4, 1 / 15)
    with pytest.raises(DataError, match="x_train reaches 0"):
        dark.check_fit(spec, 4)
    images = torch.zeros(400, 1, 2, 2, dtype=torch.uint8)
    images[-30:] = 200
    torch_dataset(Own(images, [0, 1] * 200)).check_fit(spec, 4)


class Long(Own):
    """Says that it has more samples than anything holds."""

    def __len__(self) -> int:
        return 1 << 40


class Negative(Own):
    """Says that it has fewer than none."""

    def __len__(self) -> int:
        return -1


ODD: dict[str, tuple[Any, str]] = {
    "too many": (Long(IMAGES, LABELS), "says that it has 1099511627776 samples"),
    "fewer than none": (Negative(IMAGES, LABELS), "len of Negative fails (ValueError"),
    "bfloat16": (Own(IMAGES.bfloat16() / 255, LABELS), "that NumPy cannot hold"),
    "sparse": (Own([one.to_sparse() for one in IMAGES], LABELS), "that NumPy cannot hold"),
    "nowhere": (Own(IMAGES.to("meta"), LABELS), "that NumPy cannot hold"),
    "unlike rows": (Own([[[1], [1, 2]]] * 30, LABELS), "makes no array"),
    "unlike labels": (Own(IMAGES, [[0] * (1 + n % 2) for n in range(30)]), "of unlike shapes"),
}


@pytest.mark.parametrize("case", ODD)
def test_what_makes_no_array_is_refused(case: str) -> None:
    given, said = ODD[case]
    with pytest.raises(DataError, match=re.escape(said)):
        torch_dataset(given)
