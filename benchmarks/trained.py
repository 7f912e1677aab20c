"""Networks that are trained to be compared: the ordinary one, and the integers of a tandem one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from benchmarks.images import labels_of
from tandem_hw.data.dataset import Dataset
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.run_files import BEST_NAME

#: An activation that no ceiling cuts off: what makes the ordinary network a plain ReLU network.
PLAIN_RELU: Final[dict[str, Any]] = {"twin": "relu", "activation_max": 1000.0}


def integers_on_test(folder: Path, dataset: Dataset) -> tuple[QuantizedNetwork, Recording]:
    """Return the integer network of a training, and what it does with all test samples.

    Args:
        folder: of the training.
        dataset: what it was trained on, with labels.
    """
    network = freeze(load_checkpoint(folder / BEST_NAME).model)
    inputs = dataset.integers(dataset.x_test, network.input)
    return network, ReferenceBackend().run(network, inputs, labels_of(dataset))
