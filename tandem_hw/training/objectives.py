"""What a training minimises and what it is judged by: classes, real targets, or the image itself.

classification   cross entropy of the readout (with label smoothing), accuracy
regression       mean squared error of the readout against real targets; MAE and R^2
reconstruction   mean squared error against the input image in [0, 1]; PSNR in dB
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from tandem_hw.counted import counted
from tandem_hw.data.dataset import Dataset, ImageDataset, Labels, Targets, Wanted
from tandem_hw.data.own.streamed import ArraySource, StreamedSamples
from tandem_hw.errors import DataError, NetworkError
from tandem_hw.network.output_meaning import OutputMeaning
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults
from tandem_hw.training.objective_names import ObjectiveName, check_objective

#: Of a data set.
Part = Literal["train", "test"]


class Objective(ABC):
    """What a training minimises.

    Attributes:
        name: by which ``make_objective`` makes it.
        metric: the name of the number that chooses the best checkpoint, as in ``metrics.json``.
        higher_is_better: whether more of it is better.
    """

    name: ClassVar[ObjectiveName]
    metric: ClassVar[str]
    higher_is_better: ClassVar[bool]

    @abstractmethod
    def wanted(self, dataset: Dataset, part: Part) -> Wanted:
        """Return what is wanted of the samples of a part of a data set.

        Raises:
            DataError: the data set has none of this kind.
        """

    def targets(
        self, dataset: Dataset, part: Part
    ) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        """Return the values of what is wanted: int64 labels [samples], or float32 [samples, ...].

        Raises:
            DataError: as for ``wanted``.
        """
        return self.wanted(dataset, part).values

    def outputs(self, dataset: Dataset) -> int:
        """Return how many outputs a network needs."""
        return dataset.outputs

    @abstractmethod
    def check_outputs(self, dataset: Dataset, outputs: int) -> None:
        """Refuse a network whose number of outputs does not suit the targets.

        Raises:
            DataError: says how many there are and how many are needed, or the data set has no
                targets of this kind.
        """

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch.

        Args:
            outputs: float32 [batch, outputs], the network's.
            targets: the batch's targets.
        """

    @abstractmethod
    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return all numbers by which outputs are judged, ``metric`` among them.

        Args:
            outputs: float32 [samples, outputs], the network's.
            targets: their targets.
        """

    def is_better(self, value: float, best: float | None) -> bool:
        """Whether a value of the metric is better than the best so far; a tie is not."""
        if best is None:
            return True
        return value > best if self.higher_is_better else value < best


class Classification(Objective):
    """Cross entropy and accuracy.

    Attributes:
        label_smoothing: share of the target that is spread over all classes, 0 to below 1.
    """

    name: ClassVar[ObjectiveName] = "classification"
    metric: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def wanted(self, dataset: Dataset, part: Part) -> Labels:
        """Return the labels."""
        labels = _wanted(dataset, part)
        if not isinstance(labels, Labels):
            raise DataError(
                f"{dataset.name}: has real targets and no labels; train with the objective "
                f'"regression"'
            )
        return labels

    def check_outputs(self, dataset: Dataset, outputs: int) -> None:
        """Refuse a network with fewer outputs than classes."""
        needed = self.wanted(dataset, "test").outputs
        if needed > outputs:
            raise DataError(
                f"{dataset.name}: has {counted(needed, 'class', 'classes')}; the model has "
                f"{counted(outputs, 'output')}"
            )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy of logits [batch, classes] and labels [batch]."""
        return F.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the accuracy."""
        return {"accuracy": int((outputs.argmax(1) == targets).sum()) / len(targets)}


class Regression(Objective):
    """Mean squared error against real targets."""

    name: ClassVar[ObjectiveName] = "regression"
    metric: ClassVar[str] = "mse"
    higher_is_better: ClassVar[bool] = False

    def wanted(self, dataset: Dataset, part: Part) -> Targets:
        """Return the targets, [samples, outputs]."""
        targets = _wanted(dataset, part)
        if not isinstance(targets, Targets):
            raise DataError(
                f"{dataset.name}: has labels of {counted(targets.classes, 'class', 'classes')} and "
                f"no real targets; "
                f'train with the objective "classification", or give floating-point targets'
            )
        return Targets(targets.values.reshape(len(targets), targets.outputs))

    def check_outputs(self, dataset: Dataset, outputs: int) -> None:
        """Refuse a network with another number of outputs than targets."""
        needed = self.wanted(dataset, "test").outputs
        if needed != outputs:
            raise DataError(
                f"{dataset.name}: has {counted(needed, 'target value')} a sample; the model has "
                f"{counted(outputs, 'output')}"
            )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error of [batch, outputs] values."""
        return F.mse_loss(outputs, targets)

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return mean squared and absolute error, and R^2 = 1 - MSE / variance of the targets.

        Each output has a mean of its own; where no target differs from it, R^2 is not a number.
        """
        error = (outputs - targets).double()
        mse = float(error.square().mean())
        spread = float((targets - targets.mean(0)).double().square().mean())
        return {
            "mse": mse,
            "mae": float(error.abs().mean()),
            "r2": 1 - mse / spread if spread > 0 else math.nan,
        }


class Reconstruction(Regression):
    """Mean squared error against the input itself, real values in [0, 1]."""

    name: ClassVar[ObjectiveName] = "reconstruction"

    def wanted(self, dataset: Dataset, part: Part) -> Targets:
        """Return the samples as they are before they are quantized, [samples, values]."""
        if not isinstance(dataset, ImageDataset):
            raise DataError(
                f"{dataset.name}: holds events, which are not reconstructed; give images"
            )
        given: Any = dataset.x_train if part == "train" else dataset.x_test
        if isinstance(given, StreamedSamples) and not isinstance(given.source, ArraySource):
            raise DataError(
                f"{dataset.name}: is streamed, and what is reconstructed has to be there; give the "
                f"images as an array (tandem_hw.image_dataset)"
            )
        samples = np.asarray(given)
        flat = samples.reshape(len(samples), math.prod(dataset.shape)).astype(np.float32)
        return Targets(flat / 255 if samples.dtype == np.uint8 else flat)

    def outputs(self, dataset: Dataset) -> int:
        """Return the number of values of a sample."""
        return math.prod(dataset.shape)

    def check_outputs(self, dataset: Dataset, outputs: int) -> None:
        """Refuse a network whose output is not as large as its input."""
        needed = self.outputs(dataset)
        if needed != outputs:
            raise DataError(
                f"{dataset.name}: samples have {counted(needed, 'value')}; the model puts out "
                f"{outputs}, and "
                f"a reconstruction has as many as its input (--model autoencoder)"
            )

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Return the mean squared error and PSNR = -10 log10(MSE) for values up to 1, in dB."""
        numbers = super().measure(outputs, targets)
        mse = numbers["mse"]
        return {"mse": mse, "psnr": -10 * math.log10(mse) if mse > 0 else math.inf}


def _wanted(dataset: Dataset, part: Part) -> Wanted:
    return dataset.wanted_train if part == "train" else dataset.wanted_test


_OBJECTIVES: Final[dict[str, type[Objective]]] = {
    objective.name: objective for objective in (Classification, Regression, Reconstruction)
}


def make_objective(name: ObjectiveName, label_smoothing: float = 0.0) -> Objective:
    """Return an objective by name.

    Args:
        name: "classification", "regression" or "reconstruction".
        label_smoothing: of a classification; 0 to below 1.

    Raises:
        DataError: the name is unknown, or something else than labels shall be smoothed.
    """
    check_objective(name, label_smoothing)
    if name == "classification":
        return Classification(label_smoothing)
    return _OBJECTIVES[name]()


def fitting_objective(dataset: Dataset, outputs: int) -> Objective:
    """Return what a network is judged by that is known by its outputs alone.

    It is the regression where the data have real targets, as many as outputs; the classification
    where they have as many classes; the reconstruction where an image has as many values; and the
    classification again where they have fewer classes: a test part may lack the last ones.

    Args:
        dataset: what the network is judged on.
        outputs: number of the network's outputs.

    Raises:
        DataError: the outputs fit none of them.
    """
    wanted, values = dataset.wanted_test, Reconstruction().outputs(dataset)
    has_labels = isinstance(wanted, Labels)
    if wanted.outputs == outputs:
        return Classification() if has_labels else Regression()
    is_image = isinstance(dataset, ImageDataset)
    if is_image and values == outputs:
        return Reconstruction()
    if has_labels and wanted.outputs < outputs:
        return Classification()
    words = ("class", "classes") if has_labels else ("target value", "target values")
    found = f"{counted(wanted.outputs, *words)}{'' if has_labels else ' a sample'}"
    image = f" and samples of {counted(values, 'value')}" if is_image else ""
    raise DataError(
        f"{dataset.name}: has {found}{image}, and the network {counted(outputs, 'output')}, which "
        f"suit none of these; give the data that it was trained for"
    )


def objective_of(meaning: OutputMeaning | None, dataset: Dataset, outputs: int) -> Objective:
    """Return what a network is judged by: what it was trained for, where that is known.

    Args:
        meaning: of the network's outputs, or None; then as ``fitting_objective``.
        dataset: what the network is judged on.
        outputs: number of the network's outputs.

    Raises:
        DataError: the data are none of this kind.
    """
    if meaning is None:
        return fitting_objective(dataset, outputs)
    objective = _OBJECTIVES[meaning.objective]()
    try:
        objective.check_outputs(dataset, outputs)
    except DataError as error:
        raise DataError(
            f"{error}; this network was trained for {meaning.objective}, so give data for that"
        ) from error
    return objective


def meaning_of(objective: Objective, dataset: Dataset) -> OutputMeaning:
    """Return what the outputs of a network mean that is trained on a data set.

    Args:
        objective: what it is trained for.
        dataset: has the names of the classes, or none.

    Raises:
        NetworkError: the names are none that can be kept; the message names the data set.
    """
    labels = dataset.wanted_test
    has_names = isinstance(objective, Classification) and isinstance(labels, Labels)
    names = labels.names if has_names and isinstance(labels, Labels) else None
    try:
        return OutputMeaning(objective.name, names or ())
    except NetworkError as error:
        raise NetworkError(f"{dataset.name}: {error}") from error


def real_values(network: QuantizedNetwork, run: RunResults) -> npt.NDArray[np.float32]:
    """Return a network's outputs as real values: the integers times ``readout_scale``.

    Bit for bit they are what the trained model puts out.

    Args:
        network: what ran.
        run: what came out of it.

    Returns:
        float32 [samples, outputs].
    """
    values: npt.NDArray[np.float32] = (run.output * network.readout_scale).astype(np.float32)
    return values


def as_tensor(wanted: Wanted) -> Tensor:
    """Return what is wanted as PyTorch takes it: int64 labels or float32 values."""
    return torch.from_numpy(np.ascontiguousarray(wanted.values))
