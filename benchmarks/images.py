"""Images with labels, on which most is measured."""

from __future__ import annotations

import click
import numpy as np
import numpy.typing as npt

from tandem_hw.data.dataset import Dataset, ImageDataset, Labels
from tandem_hw.data.datasets import load_dataset


def load_images(spec: str) -> ImageDataset:
    """Return a data set of images by its name, as ``load_dataset`` takes it."""
    dataset = load_dataset(spec)
    if not isinstance(dataset, ImageDataset):
        raise click.UsageError(f'data set "{spec}" holds no images; give one that does')
    return dataset


def labels_of(dataset: Dataset) -> npt.NDArray[np.int64]:
    """Return the labels of the test samples, int64 [N]."""
    if not isinstance(dataset.wanted_test, Labels):
        raise click.UsageError(f"{dataset.name} holds targets; give a data set with labels")
    return dataset.wanted_test.values
