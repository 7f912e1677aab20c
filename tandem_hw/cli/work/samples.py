"""The samples that a command runs, as the network takes them, and how they are judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tandem_hw.data.dataset import Dataset
from tandem_hw.data.datasets import load_dataset
from tandem_hw.errors import DataError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.training.objectives import Objective, as_tensor, fitting_objective, real_values


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples as a network takes them, and what its outputs are judged by.

    Attributes:
        inputs: uint8 [samples, *network.sample_shape].
        labels: int64 [samples], or None where there are targets.
        targets: float32 [samples, outputs] of a regression, or the images of a reconstruction in
            [0, 1], flattened; None where there are labels.
        objective: what the network does with them.
    """

    inputs: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64] | None
    targets: npt.NDArray[np.float32] | None
    objective: Objective

    @property
    def wanted(self) -> npt.NDArray[Any]:
        """The labels or the targets, whichever there are."""
        wanted = self.labels if self.targets is None else self.targets
        assert wanted is not None  # one of the two is there
        return wanted

    def measure(self, network: QuantizedNetwork, recording: Recording) -> dict[str, float]:
        """Return the objective's numbers for a recording of these samples.

        Args:
            network: what ran.
            recording: what came out of it.
        """
        outputs = torch.from_numpy(real_values(network, recording))
        return self.objective.measure(outputs, as_tensor(self.wanted))


def load_samples(network: QuantizedNetwork, spec: str, samples: int | None) -> Samples:
    """Load the test part of a data set as the integers that a network takes.

    Raises:
        DataError: the data cannot be read or do not fit the network.
    """
    dataset = load_dataset(
        spec, need="test", num_steps=network.num_steps, input_bits=network.input.bits
    )
    return take_samples(network, dataset, samples)


def take_samples(network: QuantizedNetwork, dataset: Dataset, samples: int | None) -> Samples:
    """Return the test part of a data set as the integers that a network takes.

    Raises:
        DataError: the data do not fit the network, or there are fewer samples.
    """
    dataset.check_fit(network.input, network.num_steps)
    if samples is not None and samples > len(dataset.y_test):
        raise DataError(
            f"{dataset.name}: has {len(dataset.y_test)} test samples, {samples} were asked for; "
            f"give fewer"
        )
    objective = fitting_objective(dataset, network.outputs)
    wanted = objective.targets(dataset, "test")[:samples]
    inputs = dataset.integers(dataset.x_test[:samples], network.input)
    if wanted.dtype.kind == "f":
        return Samples(inputs, None, wanted, objective)
    return Samples(inputs, wanted, None, objective)
