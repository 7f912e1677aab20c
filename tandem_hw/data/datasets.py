"""Data sets by name: what loads each of those that the catalogue names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tandem_hw.data.catalogue import (
    DIABETES,
    DIGITS,
    EVENTS_PREFIX,
    FOLDER_PREFIX,
    KNOWN_SPECS,
    MOVING_DIGITS,
    NPY_PREFIX,
    NPZ_PREFIX,
    TONIC,
    TORCHVISION,
    data_source,
    own_data,
)
from tandem_hw.data.dataset import Dataset, Need
from tandem_hw.data.event_data import EventDataset
from tandem_hw.data.event_file import load_event_file
from tandem_hw.data.images import load_diabetes, load_digits, load_torchvision
from tandem_hw.data.moving_digits import moving_digits
from tandem_hw.data.own.array_files import load_npy, load_npz
from tandem_hw.data.own.image_folder import load_image_folder
from tandem_hw.data.own.torch_objects import MAKERS
from tandem_hw.data.recordings.event_folder import load_recordings
from tandem_hw.data.recordings.files import SUFFIXES
from tandem_hw.data.tonic_datasets import load_tonic
from tandem_hw.errors import DataError

#: Images: called with the spec, what is needed, and the file or the folder of downloads.
_IMAGES: Final[Mapping[str, Callable[[str, Need, Path], Dataset]]] = {
    DIGITS: lambda _, need, __: load_digits(need),
    DIABETES: lambda _, need, __: load_diabetes(need),
    **dict.fromkeys(TORCHVISION, load_torchvision),
    f"{NPZ_PREFIX}PATH": lambda spec, need, path: load_npz(
        path, need, name=spec, options=own_data(spec).options
    ),
    f"{NPY_PREFIX}PATH": lambda spec, need, path: load_npy(
        path, need, name=spec, options=own_data(spec).options
    ),
    f"{FOLDER_PREFIX}PATH": lambda spec, need, path: load_image_folder(
        path, need, name=spec, options=own_data(spec).options
    ),
}
#: Events: called with the number of bins and the width of a count besides.
_EVENTS: Final[Mapping[str, Callable[[str, Need, Path, int, int], Dataset]]] = {
    MOVING_DIGITS: lambda _, need, __, steps, bits: moving_digits(steps, bits, need=need),
    **dict.fromkeys(TONIC, load_tonic),
    f"{EVENTS_PREFIX}PATH": lambda spec, need, path, steps, bits: _load_events(
        spec, need, path, steps, bits
    ),
}


def load_dataset(
    spec: str,
    *,
    need: Need = "all",
    folder: Path | None = None,
    num_steps: int | None = None,
    input_bits: int | None = None,
) -> Dataset:
    """Load a data set.

    Args:
        spec: images: "digits" (8x8, comes with scikit-learn), "mnist", "fashion-mnist",
            "cifar10", "cifar100" (through torchvision, downloaded once), "npz:PATH" or "npy:PATH",
            arrays in a file or a folder (``tandem_hw.data.own.array_files``), or "folder:PATH",
            files of images (``tandem_hw.data.own.image_folder``). Events: "moving-digits" (made
            here), "nmnist", "dvs-gesture", "cifar10-dvs", "shd" (through tonic, downloaded once) or
            "events:PATH", a file of a whole data set (``tandem_hw.data.event_file``), or recordings
            in files (``tandem_hw.data.recordings.event_folder``).
        need: "test" leaves the training part out, and a file need not have one.
        folder: where downloads are kept, by default ``.cache/tandem-hw`` in the home folder.
        num_steps: with events, which need it, the length T of the window and the number of bins;
            images do not look at it.
        input_bits: with events, which need it, the width of a count, 1 to 8.

    Returns:
        An ``ImageDataset``, channels first, or an ``EventDataset``.

    Raises:
        DataError: the spec is unknown, or its data cannot be had, are damaged or do not fit.
        TypeError: the spec is no text.
    """
    if not isinstance(spec, str):
        raise TypeError(
            f'load_dataset takes a name such as "digits" or "npz:PATH", found '
            f"{type(spec).__name__}; other data sets are made by {MAKERS}"
        )
    prefix, colon, _ = spec.partition(":")
    name = f"{prefix}:PATH" if colon else spec
    if name in _IMAGES:
        return _IMAGES[name](spec, need, _place(spec, folder))
    if name not in _EVENTS:
        raise DataError(f'data set "{spec}" is unknown; known are {", ".join(KNOWN_SPECS)}')
    if num_steps is None or input_bits is None:
        raise DataError(
            f"{spec}: events are counted in bins; give num_steps, the network's, and input_bits"
        )
    return _EVENTS[name](spec, need, _place(spec, folder), num_steps, input_bits)


def _load_events(
    spec: str, need: Need, path: Path, num_steps: int, input_bits: int
) -> EventDataset:
    """Load recordings in files, or an npz file of a whole data set."""
    options = own_data(spec).options
    if path.is_dir() or options or path.suffix.lower() in (*SUFFIXES, ".csv"):
        return load_recordings(path, num_steps, input_bits, need, name=spec, options=options)
    return load_event_file(path, num_steps, input_bits, need, name=spec)


def _place(spec: str, folder: Path | None) -> Path:
    """Return the file that a spec names, or the folder of downloads for what is downloaded."""
    return folder if folder is not None and ":" not in spec else data_source(spec) or Path()
