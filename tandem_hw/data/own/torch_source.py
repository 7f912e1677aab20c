"""Samples of an object with ``len`` and ``[]``, as PyTorch has them, read by index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.data.own.layouts import Layout, check_samples
from tandem_hw.errors import DataError

#: Names that columns of samples and of labels have.
_SAMPLE_COLUMNS: Final = ("image", "img", "pixel_values", "x", "input", "inputs", "signal", "data")
_LABEL_COLUMNS: Final = ("label", "labels", "y", "target", "targets", "class", "fine_label")
#: Pillow's modes whose pixels are 8 bits of gray or color.
_MODES: Final = ("1", "L", "RGB")


@dataclass(frozen=True, eq=False)
class TorchSource:
    """Samples of an object with ``len`` and ``[]``, read by index.

    Attributes:
        given: the object.
        name: of the data set, for messages.
        rows: which of its samples these are.
        layout: what the axes of samples are.
        columns: of samples and labels, or None where a sample is a pair.
        collate: makes arrays of a list of samples and labels, or None.
        workers: processes that read ahead.
        shape: [N, ...], of all samples.
        dtype: of a value.
        labels: as they were read, by which a later reading is checked; None for targets.
    """

    given: Any
    name: str
    rows: npt.NDArray[np.int64]
    layout: Layout | None
    columns: tuple[str, str] | None
    collate: Callable[[Any], Any] | None
    workers: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    labels: npt.NDArray[Any] | None = None

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return some samples, channels first; their labels must be those of before.

        Args:
            rows: which ones, [batch].
        """
        samples, labels = self.pairs(rows)
        if samples.shape[1:] != self.shape[1:] or samples.dtype != self.dtype:
            raise DataError(
                f"{self.name}: samples {self._shown(rows)} are {samples.shape[1:]} of "
                f"{samples.dtype}, others {self.shape[1:]} of {self.dtype}; they must be alike"
            )
        if self.labels is not None:
            found = np.asarray([plain(label) for label in labels])
            changed = np.flatnonzero(found != self.labels[rows])
            if len(changed):
                place = int(changed[0])
                raise DataError(
                    f"{self.name}: sample {self.rows[rows[place]]} had label "
                    f"{self.labels[rows[place]]} and now has {found[place]}; an index has to give "
                    f"the same sample each time"
                )
        return samples

    def _shown(self, rows: npt.NDArray[np.int64]) -> str:
        shown = [str(row) for row in self.rows[rows[:3]].tolist()]
        return ", ".join(shown) + (", …" if len(rows) > 3 else "")

    def pairs(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], Sequence[Any]]:
        """Return samples, channels first, and their labels or targets as they are given.

        Args:
            rows: which ones, at least one, [batch].
        """
        items = [self._item(int(row)) for row in self.rows[rows]]
        if self.collate is not None:
            batch, labels = self._collated(items, rows)
            layout = self.layout or ("NCHW" if batch.ndim == 4 else None)
        else:
            arrays = [
                _array(self._pair(item, row)[0], self.name)
                for item, row in zip(items, self.rows[rows], strict=True)
            ]
            labels = [self._pair(item, 0)[1] for item in items]
            shapes = {array.shape for array in arrays}
            if len(shapes) > 1:
                first, other = sorted(shapes)[:2]
                raise DataError(
                    f"{self.name}: samples {self._shown(rows)} have the shapes {first} and "
                    f"{other}; give the data set a transform that makes them alike, such as "
                    f"torchvision.transforms.Resize((32, 32))"
                )
            batch = np.stack(arrays)
            layout = self.layout or _usual_layout(self._pair(items[0], 0)[0], arrays[0].ndim)
        return self._checked(batch, layout, rows), labels

    def _item(self, row: int) -> Any:
        try:
            return self.given[row]
        except DataError:
            raise
        except Exception as error:  # whatever somebody's code or a damaged file raises
            raise DataError(
                f"{self.name}: sample {row} cannot be read ({type(error).__name__}: {error})"
            ) from error

    def _pair(self, item: Any, row: int) -> tuple[Any, Any]:
        """Return the sample and the label of what an index gives."""
        if isinstance(item, Mapping):
            columns = self.columns or columns_of(list(item), self.name)
            missing = [column for column in columns if column not in item]
            if missing:
                raise DataError(
                    f"{self.name}: has no column {missing[0]}; there are {sorted(map(str, item))}"
                )
            return item[columns[0]], item[columns[1]]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(
                f"{self.name}: sample {row} is {type(item).__name__}; a pair of a sample and its "
                f"label is needed"
            )
        return item[0], item[1]

    def _collated(
        self, items: Sequence[Any], rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[Any], Sequence[Any]]:
        assert self.collate is not None
        try:
            batch = self.collate(items)
        except Exception as error:  # somebody's code
            raise DataError(
                f"{self.name}: collate_fn failed on samples {self._shown(rows)} "
                f"({type(error).__name__}: {error})"
            ) from error
        samples, labels = self._pair(batch, int(self.rows[rows[0]]))
        array = _array(samples, self.name)
        if len(array) != len(items) or len(labels) != len(items):
            raise DataError(
                f"{self.name}: collate_fn makes {counted(len(array), 'sample')} with "
                f"{counted(len(labels), 'label')} of "
                f"{len(items)}; one of each is needed"
            )
        return array, list(labels)

    def _checked(
        self, batch: npt.NDArray[Any], layout: Layout | None, rows: npt.NDArray[np.int64]
    ) -> npt.NDArray[Any]:
        where = f"{self.name}: samples {self._shown(rows)}"
        if batch.dtype.kind == "f" and not (batch.min() >= 0 and batch.max() <= 1):
            raise DataError(
                f"{where} span {batch.min():g} to {batch.max():g}; floats from 0.0 to 1.0 are "
                f"needed: leave Normalize out of the transform (ToTensor alone gives such floats), "
                f"or scale them"
            )
        return check_samples(batch, where, "the array", layout)


def _array(sample: Any, name: str) -> npt.NDArray[Any]:
    """Return a sample as an array."""
    if hasattr(sample, "detach"):  # PyTorch's tensor
        sample = _numpy_of(sample, name)
    mode = getattr(sample, "mode", None)
    if hasattr(sample, "getbands"):  # Pillow's image
        if mode not in _MODES:
            raise DataError(
                f"{name}: an image has Pillow's mode {mode}; {', '.join(_MODES)} are needed: "
                f'convert it in the transform (image.convert("RGB"))'
            )
        sample = sample.convert("L") if mode == "1" else sample
    try:
        array = np.asarray(sample)
    except ValueError as error:  # rows of unlike lengths
        raise DataError(
            f"{name}: a sample is {type(sample).__name__} that makes no array ({error}); an image, "
            f"a tensor or an array of numbers is needed"
        ) from error
    if array.dtype.kind not in "uif":
        raise DataError(
            f"{name}: a sample is {type(sample).__name__} of {array.dtype}; an image, a tensor or "
            f"an array of numbers is needed"
        )
    return array


def _numpy_of(tensor: Any, name: str) -> Any:
    """Return the values of PyTorch's tensor, if NumPy has such ones."""
    try:
        return tensor.detach().cpu().numpy()
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        kind = f"{tensor.dtype}, {tensor.layout}, on {tensor.device}"
        raise DataError(
            f"{name}: a sample is a tensor ({kind}) that NumPy cannot hold; give a dense one of "
            f"torch.float32 or torch.uint8"
        ) from error


def _usual_layout(sample: Any, axes: int) -> Layout | None:
    """Return what the axes are of what Pillow gives, and of PyTorch's tensors of images."""
    if hasattr(sample, "getbands"):
        return "NHWC" if sample.mode == "RGB" else "NHW"
    return "NCHW" if hasattr(sample, "detach") and axes == 3 else None


def plain(label: Any) -> Any:
    """Return a label or target as Python's or NumPy's value.

    Args:
        label: a tensor, an array, a number or a text.
    """
    if hasattr(label, "detach"):
        label = label.detach().cpu().numpy()
    if isinstance(label, np.ndarray | np.generic) and label.ndim == 0:
        return label.item()
    return label


def columns_of(names: Sequence[str], where: str) -> tuple[str, str]:
    """Return the names of the columns of samples and of labels.

    Args:
        names: of all columns.
        where: the data set, for the message.

    Raises:
        DataError: none of them is called as such columns are.
    """
    found = [
        next((name for name in known if name in names), None)
        for known in (_SAMPLE_COLUMNS, _LABEL_COLUMNS)
    ]
    if found[0] is None or found[1] is None:
        raise DataError(
            f"{where}: has the columns {names}; say which hold samples and labels, "
            f'columns=("image", "label")'
        )
    return found[0], found[1]
