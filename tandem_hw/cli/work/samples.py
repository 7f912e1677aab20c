"""The samples that a command runs, as the network takes them, and how they are judged."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from tandem_hw.counted import counted
from tandem_hw.data.dataset import Dataset, Labels, Wanted
from tandem_hw.data.datasets import load_dataset
from tandem_hw.data.integers import integers_of
from tandem_hw.errors import DataError
from tandem_hw.network.output_meaning import class_order
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults
from tandem_hw.training.objectives import Objective, as_tensor, objective_of, real_values


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples as a network takes them, and what its outputs are judged by.

    Attributes:
        inputs: uint8 [samples, *network.sample_shape].
        wanted: labels, the targets of a regression, or the images of a reconstruction in [0, 1],
            flattened.
        objective: what the network does with them.
    """

    inputs: npt.NDArray[np.uint8]
    wanted: Wanted
    objective: Objective

    @property
    def labels(self) -> npt.NDArray[np.int64] | None:
        """int64 [samples], or None where there are targets."""
        return self.wanted.values if isinstance(self.wanted, Labels) else None

    def require_sample(self, sample: int, data: str) -> None:
        """Refuse a sample that is not there.

        Args:
            sample: its index, from 0.
            data: what the samples are called in the message.

        Raises:
            DataError: names the last one.
        """
        if sample >= len(self.inputs):
            raise DataError(
                f"{data}: has samples 0 to {len(self.inputs) - 1} to run, sample {sample} was "
                f"asked for"
            )

    def class_names(self, network: QuantizedNetwork) -> tuple[str, ...]:
        """Return what the classes are called, as the network knows them or else the data do.

        Args:
            network: what runs.
        """
        known = () if network.meaning is None else network.meaning.class_names
        labels = self.wanted.names if isinstance(self.wanted, Labels) else None
        return known or labels or ()

    def first(self, number: int) -> Samples:
        """Return the first so many of the samples."""
        return replace(self, inputs=self.inputs[:number], wanted=self.wanted[:number])

    def measure(self, network: QuantizedNetwork, run: RunResults) -> dict[str, float]:
        """Return the objective's numbers for a run of these samples.

        Args:
            network: what ran.
            run: what came out of it.
        """
        outputs = torch.from_numpy(real_values(network, run))
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
    found = len(dataset.wanted_test)
    if samples is not None and samples > found:
        raise DataError(
            f"{dataset.name}: has {counted(found, 'test sample')}, {samples} were asked for; give "
            f"fewer"
        )
    objective = objective_of(network.meaning, dataset, network.outputs)
    wanted = objective.wanted(dataset, "test")[:samples]
    if isinstance(wanted, Labels):
        wanted = _numbered_by_name(wanted, network, dataset.name)
    inputs = integers_of(dataset, dataset.x_test[:samples], network.input)
    return Samples(inputs, wanted, objective)


def _numbered_by_name(labels: Labels, network: QuantizedNetwork, owner: str) -> Labels:
    """Return labels with the numbers that the network has for classes of their names.

    Where one of the two has no names, the numbers are the same.

    Raises:
        DataError: the network has no class of a name, or no names and other classes than the data.
    """
    known = () if network.meaning is None else network.meaning.class_names
    if not known and labels.names is not None and network.outputs != labels.classes:
        raise DataError(
            f"{owner}: its labels are names, or numbers that do not begin with 0, of "
            f"{counted(labels.classes, 'class', 'classes')}; the network has "
            f"{counted(network.outputs, 'output')}, and nothing "
            f"says which is whose: give labels from 0, or train it with these data"
        )
    if not known or labels.names is None or labels.names == known[: len(labels.names)]:
        return labels
    order = np.array(class_order(labels.names, known, owner), np.int64)
    return Labels(order[labels.values], len(known), known)
