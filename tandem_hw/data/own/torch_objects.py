"""Data sets of other programs as they are: PyTorch's, torchvision's and Hugging Face's.

What they are is told by what they have (``len`` and ``[]``, a loader's ``dataset``, a table's
``column_names``); PyTorch is not imported here. Samples are read when they are needed, and only
labels are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.data.dataset import Dataset, ImageDataset, Labels, Wanted
from tandem_hw.data.own.arrays import SPLIT_SEED, TEST_FRACTION, split_test, wanted_of
from tandem_hw.data.own.layouts import Layout, check_layout
from tandem_hw.data.own.streamed import StreamedSamples
from tandem_hw.data.own.torch_source import TorchSource, columns_of, plain
from tandem_hw.errors import DataError

#: Keys of a training and a test part.
_TRAIN_KEYS: Final = ("train", "training")
_TEST_KEYS: Final = ("test", "validation", "val")
#: Samplers whose samples are all of a data set once, in whatever order: a training has its own.
_PLAIN_SAMPLERS: Final = ("SequentialSampler", "RandomSampler", "DistributedSampler", "NoneType")
_PLAIN_COLLATES: Final = ("default_collate", "default_convert")
#: The most samples of an object: a length beyond is a mistake.
_SAMPLES_MAX: Final = 1 << 32
#: What data sets can be made by, for messages.
MAKERS: Final = (
    'tandem_hw.load_dataset("digits"), image_dataset, signal_dataset, array_dataset, event_dataset '
    "or torch_dataset"
)


def torch_dataset(
    train: Any,
    test: Any = None,
    *,
    layout: Layout | None = None,
    columns: tuple[str, str] | None = None,
    num_workers: int | None = None,
    test_fraction: float = TEST_FRACTION,
    seed: int = SPLIT_SEED,
    name: str | None = None,
) -> ImageDataset:
    """Make a data set of an object that other programs read from; samples are streamed from it.

    Args:
        train: a PyTorch ``Dataset`` with ``len`` and ``[]`` (torchvision's ``ImageFolder``, a
            ``Subset``, a ``TensorDataset``, one of your own), a ``DataLoader`` of one, or a table
            of Hugging Face's ``datasets``. A sample is an image, tensor or array with its label or
            target, as a pair or, in a table, in two columns; images are uint8 or floats from 0.0
            to 1.0. Of a loader, data set, ``collate_fn`` and ``num_workers`` are taken: a training
            has batches and an order of its own.
        test: the same for the test part. Without it, a dictionary of both parts is looked into, and
            a share of each class is kept otherwise.
        layout: what the axes of all samples together are ("NCHW", "NCL", ...). By default images
            of Pillow say it, tensors of three axes are (channels, height, width), and other samples
            are looked at as ``image_dataset`` does.
        columns: names of the columns of samples and of labels, in a table.
        num_workers: processes that read ahead in a training, by default the loader's, or none.
        test_fraction: share that is tested on where there is no test part.
        seed: of the choice of these samples, 0 to 2^32 - 1.
        name: goes into checkpoints and messages, by default the name of the class.

    Returns:
        The data set; its samples are ``StreamedSamples``. What a transform draws by chance hangs on
        a training's seed, its epoch and the batch. Labels are read once, from ``targets`` and the
        like where they are there, and otherwise with all samples.

    Raises:
        DataError: an object cannot be read by index, its samples differ in shape or are something
            else, or its loader draws samples in a way of its own.
    """
    if test is None and isinstance(train, Mapping):
        train, test = _parts_in(train)
    name = _name_of(train) if name is None else name
    asked = _Asked(name, None if layout is None else check_layout(layout, name), columns)
    parts = {"train": _opened(train, asked, num_workers)}
    if test is not None:
        parts["test"] = _opened(test, asked, num_workers)
    wanted = _wanted(parts, name)
    samples = {part: StreamedSamples(source) for part, source in parts.items()}
    if test is None:
        rows = split_test(wanted["train"], name, test_fraction, seed)
        x, y = samples["train"], wanted["train"]
        return ImageDataset(name, x[rows[0]], y[rows[0]], x[rows[1]], y[rows[1]])
    one, other = samples["train"], samples["test"]
    if one.shape[1:] != other.shape[1:] or one.dtype != other.dtype:
        raise DataError(
            f"{name}: training samples are {one.shape[1:]} of {one.dtype}, test samples "
            f"{other.shape[1:]} of {other.dtype}; they must be alike"
        )
    x_train: Any = one
    x_test: Any = other
    return ImageDataset(name, x_train, wanted["train"], x_test, wanted["test"])


def given_dataset(given: Any, caller: str) -> Dataset:
    """Return what a function was given as a data set.

    Args:
        given: a data set of ours, an object that ``torch_dataset`` takes, or two of these, to train
            and to test on.
        caller: the function, for messages.

    Raises:
        TypeError: it is something else.
        DataError: it cannot be used, as ``torch_dataset`` says.
    """
    if isinstance(given, Dataset):
        return given
    if isinstance(given, tuple | list) and len(given) == 2 and all(map(_is_readable, given)):
        return torch_dataset(*given)
    if isinstance(given, Mapping) or _is_readable(given):
        return torch_dataset(given)
    shown = f" ({given!r})" if isinstance(given, str) else ""
    raise TypeError(
        f"{caller} takes a data set, found {type(given).__name__}{shown}; make one by {MAKERS}"
    )


def _is_readable(given: Any) -> bool:
    """Whether something is a data set of another program, or a loader of one."""
    if isinstance(given, str | bytes | list | tuple | np.ndarray | type) or hasattr(given, "dtype"):
        return False
    return hasattr(given, "__getitem__") or hasattr(given, "__iter__")


def _name_of(given: Any) -> str:
    inner = getattr(given, "dataset", given)
    return str(getattr(inner, "name", None) or type(inner).__name__)


def _parts_in(given: Mapping[Any, Any]) -> tuple[Any, Any]:
    train = next((given[key] for key in _TRAIN_KEYS if key in given), None)
    test = next((given[key] for key in _TEST_KEYS if key in given), None)
    if train is None:
        raise DataError(
            f"a dictionary of {sorted(map(str, given))}: has no part {' or '.join(_TRAIN_KEYS)}; "
            f"give the part to train on, and the one to test on"
        )
    return train, test


@dataclass(frozen=True)
class _Asked:
    """What was said of the samples: the data set's name, their axes and their columns."""

    name: str
    layout: Layout | None
    columns: tuple[str, str] | None


# How it is opened --------------------------------------------------------------------------------


def _opened(given: Any, asked: _Asked, num_workers: int | None) -> TorchSource:
    """Return the source of a part, whose first sample was read."""
    rows: npt.NDArray[np.int64] | None = None
    collate, workers = None, 0
    loader = given if _is_loader(given) else None
    given = given.dataset if loader is not None else given
    is_iterated = any(one.__name__ == "IterableDataset" for one in type(given).__mro__)
    if is_iterated or not (hasattr(given, "__getitem__") and hasattr(given, "__len__")):
        raise DataError(
            f"{asked.name}: {type(given).__name__} cannot be read by index; a training reads "
            f"samples in an order of its own: give a data set with len() and [], or write the "
            f"samples into arrays (docs/data.md)"
        )
    if loader is not None:
        rows, collate, workers = _of_loader(loader, asked.name)
    if rows is None:
        rows = np.arange(_length(given, asked.name))
    if not len(rows):
        raise DataError(f"{asked.name}: {type(given).__name__} has no samples")
    columns = asked.columns
    if columns is None and hasattr(given, "column_names"):
        columns = columns_of(list(given.column_names), asked.name)
    workers = workers if num_workers is None else num_workers
    source = TorchSource(
        *(given, asked.name, rows, asked.layout, columns, collate, workers),
        shape=(len(rows),),
        dtype=np.dtype(np.uint8),
    )
    first = source.pairs(np.array([0]))[0]
    return replace(source, shape=(len(rows), *first.shape[1:]), dtype=first.dtype)


def _length(given: Any, name: str) -> int:
    """Return how many samples an object says that it has."""
    try:
        count = len(given)
    except Exception as error:  # somebody's code
        raise DataError(
            f"{name}: len of {type(given).__name__} fails ({type(error).__name__}: {error})"
        ) from error
    if count > _SAMPLES_MAX:
        raise DataError(
            f"{name}: {type(given).__name__} says that it has {counted(count, 'sample')}; allowed "
            f"are {_SAMPLES_MAX}: the label of each is kept in memory"
        )
    return count


def _is_loader(given: Any) -> bool:
    return all(hasattr(given, one) for one in ("dataset", "batch_sampler", "collate_fn"))


def _of_loader(
    loader: Any, name: str
) -> tuple[npt.NDArray[np.int64] | None, Callable[[Any], Any] | None, int]:
    """Return which samples a loader draws, what makes batches of them, and its processes."""
    batching, sampler = type(loader.batch_sampler).__name__, loader.sampler
    drawing = type(sampler).__name__
    rows = None
    if drawing == "SubsetRandomSampler":
        rows = np.asarray(list(sampler.indices), np.int64)
    elif drawing not in _PLAIN_SAMPLERS or getattr(sampler, "replacement", False):
        raise DataError(
            f"{name}: its loader draws samples by {drawing}, which a training does not follow; "
            f"give the loader's data set, or a Subset of it"
        )
    if batching not in ("BatchSampler", "NoneType"):
        raise DataError(
            f"{name}: its loader makes batches by {batching}, which a training does not follow; "
            f"give the loader's data set"
        )
    collate = loader.collate_fn
    is_plain = getattr(collate, "__name__", "") in _PLAIN_COLLATES
    return rows, None if is_plain else collate, int(loader.num_workers)


# Labels ------------------------------------------------------------------------------------------


def _wanted(parts: dict[str, TorchSource], name: str) -> dict[str, Wanted]:
    """Return labels or targets of all parts, and let later readings be checked by labels."""
    given = {part: _labels_of(source) for part, source in parts.items()}
    names = [_class_names(source.given, source.columns) for source in parts.values()]
    if len({tuple(one or ()) for one in names}) > 1:
        raise DataError(
            f"{name}: the training part has the classes {names[0]}, the test part {names[-1]}; "
            f"give both the same"
        )
    for part, values in given.items():
        if values.dtype.kind != "f":
            parts[part] = replace(parts[part], labels=values)
    are_numbers = all(values.dtype.kind in "iu" for values in given.values())
    if names[0] and are_numbers:
        return {part: Labels(y, len(names[0]), tuple(names[0])) for part, y in given.items()}
    wanted = wanted_of({f"{part} labels": y for part, y in given.items()}, name)
    return {part: wanted[f"{part} labels"] for part in given}


def _labels_of(source: TorchSource) -> npt.NDArray[Any]:
    """Return the labels of a part as they are given: without reading samples where that goes."""
    rows = source.rows
    kept = _kept_labels(source.given, source.columns)
    if kept is not None and len(kept) == len(source.given) and source.collate is None:
        ends = np.array([0, len(rows) - 1])
        read = [plain(label) for label in source.pairs(ends)[1]]
        if all(
            np.array_equal(kept[row], label) for row, label in zip(rows[ends], read, strict=True)
        ):
            return kept[rows]
    labels = [plain(source.pairs(np.array([row]))[1][0]) for row in range(len(rows))]
    return _label_array(labels)


def _label_array(labels: Sequence[Any]) -> npt.NDArray[Any]:
    """Return labels as one array; texts and numbers together stay what they are."""
    kinds = {isinstance(label, str) for label in labels}
    try:
        return np.array(labels, object) if len(kinds) > 1 else np.asarray(labels)
    except ValueError as error:  # lists of unlike lengths
        raise DataError(f"labels or targets are of unlike shapes ({error})") from error


def _kept_labels(given: Any, columns: tuple[str, str] | None) -> npt.NDArray[Any] | None:
    """Return labels that an object keeps beside its samples; they may be other ones."""
    if hasattr(given, "dataset") and hasattr(given, "indices"):  # a Subset
        kept = _kept_labels(given.dataset, columns)
        return None if kept is None else kept[np.asarray(list(given.indices), np.int64)]
    if hasattr(given, "datasets"):  # several, one behind the other
        parts = [_kept_labels(one, columns) for one in given.datasets]
        found = [one for one in parts if one is not None]
        return np.concatenate(found) if found and len(found) == len(parts) else None
    labels: Any = None
    if getattr(given, "target_transform", None) is not None:
        return None
    if columns is not None and hasattr(given, "column_names"):
        labels = given[columns[1]]
    elif isinstance(getattr(given, "tensors", None), tuple) and len(given.tensors) == 2:
        labels = given.tensors[1]
    else:
        labels = getattr(given, "targets", None)
    if labels is None:
        return None
    labels = plain(labels)
    array = labels if isinstance(labels, np.ndarray) else _label_array([plain(y) for y in labels])
    return array if array.ndim and array.dtype.kind in "iufUO" else None


def _class_names(given: Any, columns: tuple[str, str] | None) -> list[str] | None:
    """Return what an object calls its classes, in order."""
    if hasattr(given, "dataset") and hasattr(given, "indices"):
        return _class_names(given.dataset, columns)
    features = getattr(given, "features", None)
    if isinstance(features, Mapping) and columns is not None:
        names = getattr(features.get(columns[1]), "names", None)
    else:
        names = getattr(given, "classes", None)
    if not isinstance(names, list | tuple) or not all(isinstance(one, str) for one in names):
        return None
    return list(names)
