"""Labels of data sets that have them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tandem_hw.data.dataset import Dataset, Labels


def labels_of(dataset: Dataset) -> npt.NDArray[np.int64]:
    """Return the labels of the test samples."""
    assert isinstance(dataset.wanted_test, Labels)
    return dataset.wanted_test.values
