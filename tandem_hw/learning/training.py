"""The training loop: Adam, a cosine schedule, and a validation split taken from the training data.

The test set chooses nothing: the best checkpoint is the one with the highest validation accuracy,
and the test set is looked at once, at the end.
"""

from __future__ import annotations

import json
import math
import operator
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tandem_hw.atomic_write import atomic_path
from tandem_hw.errors import DataError, FileFormatError
from tandem_hw.input_encoding import quantize_inputs
from tandem_hw.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tandem_hw.learning.datasets import ImageDataset, split_validation
from tandem_hw.learning.layers import TandemLayer
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.neurons import LayerActivity

BEST_NAME = "checkpoint.pt"
LAST_NAME = "last.pt"
METRICS_NAME = "metrics.json"
_EVALUATION_BATCH = 256
#: Seeds of one training lie closer together than this, those of two further apart.
_SEED_STRIDE = 100_003


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    Attributes:
        epochs: passes over the training data.
        batch_size: samples a step.
        learning_rate: Adam's, at the start of the cosine schedule that ends at zero.
        weight_decay: Adam's.
        validation: share of the training data that chooses the best checkpoint, 0 to below 1; with
            0 the last epoch is the best.
        seed: of the initial weights, the split, the order of samples and the dropout.
    """

    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        if self.epochs < 1 or self.batch_size < 2:
            raise DataError("training needs at least one epoch and batches of at least 2 samples")
        if not 0 <= self.validation < 1:
            raise DataError(f"validation is {self.validation}; give a share from 0 to below 1")
        if not 0 < self.learning_rate < math.inf:
            raise DataError(f"learning_rate is {self.learning_rate}; give a positive number")
        if not 0 <= self.weight_decay < math.inf:
            raise DataError(f"weight_decay is {self.weight_decay}; give zero or a positive number")


@dataclass
class StepReport:
    """Told after every step of the training.

    Attributes:
        epoch, epochs: the current one, from 1, and how many there are.
        batch, batches: the current one, from 1, and how many an epoch has.
        loss, accuracy: running means of this epoch.
        spike_rate: mean share of steps in which a neuron fires, over all firing layers.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    accuracy: float
    spike_rate: float


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's random numbers; call it before a model is made."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def train(
    model: TandemNetwork,
    dataset: ImageDataset,
    options: TrainingOptions,
    folder: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    report: Callable[[StepReport], None] | None = None,
    epoch_done: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train a model and leave its checkpoints and metrics in a folder.

    Args:
        model: a fresh tandem network; with ``resume`` its parameters are read from the folder.
        dataset: images and labels.
        options: how to train.
        folder: receives ``checkpoint.pt`` (best on validation data), ``last.pt`` and
            ``metrics.json``, each written whole or not at all after every epoch.
        device: where to train, for instance "cpu" or "cuda".
        resume: continue from ``last.pt``, to the same result as without the break.
        report: told after every step.
        epoch_done: told the metrics of every epoch, after its checkpoints are written.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        DataError: the data do not fit the model, or ``resume`` with other options.
        FileFormatError: the folder cannot be written to, or there is nothing to resume.
    """
    run = _Run(model, dataset, options, Path(folder), torch.device(device))
    if resume:
        run.restore()
    else:
        # Of the dropout. The order of an epoch's samples comes from this number plus the epoch's.
        torch.manual_seed(options.seed * _SEED_STRIDE)
    for epoch in range(run.epoch + 1, options.epochs + 1):
        run.train_epoch(epoch, report)
        if epoch_done is not None:
            epoch_done(run.metrics[-1])
    return run.finish()


class _Run:
    """One training: the data on the device, the optimizer, and the metrics so far."""

    def __init__(
        self,
        model: TandemNetwork,
        dataset: ImageDataset,
        options: TrainingOptions,
        folder: Path,
        device: torch.device,
    ) -> None:
        _check_fit(model, dataset)
        self.model, self.dataset, self.options = model.to(device), dataset, options
        self.folder, self.device = folder, device
        labels = dataset.y_train
        samples = len(dataset.x_train)
        fitted, held_out = split_validation(samples, labels, options.validation, options.seed)
        if len(fitted) < options.batch_size:
            raise DataError(
                f"{len(fitted)} training samples are less than one batch of {options.batch_size}; "
                f"use a smaller batch"
            )
        images = torch.from_numpy(self._quantize(dataset.x_train))
        targets = torch.from_numpy(labels)
        self.train_data = images[fitted].to(device), targets[fitted].to(device)
        self.validation_data = images[held_out].to(device), targets[held_out].to(device)
        self.batches = len(fitted) // options.batch_size
        self.optimizer = torch.optim.Adam(
            model.parameters(), options.learning_rate, weight_decay=options.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, options.epochs * self.batches
        )
        self.epoch = 0
        self.best = -1.0
        self.metrics: list[dict[str, Any]] = []

    def _quantize(self, images: Any) -> Any:
        spec = self.model.architecture.input
        return quantize_inputs(images, spec.bits, spec.scale)

    def train_epoch(self, epoch: int, report: Callable[[StepReport], None] | None) -> None:
        """Pass over the training data once and write the checkpoints."""
        self.model.train()
        activity = _Activity(self.model.architecture.options.num_steps)
        loss_sum, correct, seen = 0.0, 0, 0
        for batch, indices in enumerate(self._order(epoch), start=1):
            images, labels = (data[indices] for data in self.train_data)
            self.optimizer.zero_grad(set_to_none=True)
            logits = self.model(images, activity.observe)
            loss = F.cross_entropy(logits, labels)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.schedule.step()
            loss_sum += float(loss.detach()) * len(labels)
            correct += int((logits.detach().argmax(1) == labels).sum())
            seen += len(labels)
            if report is not None:
                report(
                    StepReport(
                        epoch,
                        self.options.epochs,
                        batch,
                        self.batches,
                        loss_sum / seen,
                        correct / seen,
                        activity.rate,
                    )
                )
        self.epoch = epoch
        validation = evaluate(self.model, *self.validation_data)
        self.metrics.append(
            {
                "epoch": epoch,
                "loss": loss_sum / seen,
                "accuracy": correct / seen,
                "validation_accuracy": validation,
                "spike_rate": activity.rate,
            }
        )
        self._write(validation)

    def _order(self, epoch: int) -> Iterator[Tensor]:
        """Yield the batches of an epoch: an order that depends on seed and epoch alone."""
        generator = torch.Generator().manual_seed(self.options.seed * _SEED_STRIDE + epoch)
        order = torch.randperm(len(self.train_data[1]), generator=generator)
        size = self.options.batch_size
        for start in range(0, self.batches * size, size):
            yield order[start : start + size].to(self.device)

    def _write(self, validation: float | None) -> None:
        is_best = validation is None or validation > self.best
        if validation is not None and is_best:
            self.best = validation
        finished = Checkpoint(self.model, self.dataset.name, self.metrics)
        if is_best:
            save_checkpoint(finished, self.folder / BEST_NAME)
        state = {
            "options": asdict(self.options),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "epoch": self.epoch,
            "best": self.best,
            "random": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(self.device)
        save_checkpoint(
            Checkpoint(self.model, self.dataset.name, self.metrics, state), self.folder / LAST_NAME
        )
        write_metrics(self._summary(), self.folder / METRICS_NAME)

    def restore(self) -> None:
        """Take up the state that ``last.pt`` left."""
        path = self.folder / LAST_NAME
        checkpoint = load_checkpoint(path)
        state = checkpoint.training
        if checkpoint.model.architecture != self.model.architecture:
            raise DataError(f"{path}: holds another network; resume with the options it was given")
        if checkpoint.data != self.dataset.name:
            raise DataError(f"{path}: was trained on {checkpoint.data}, not on {self.dataset.name}")
        for name, value in asdict(self.options).items():
            if state.get("options", {}).get(name) != value:
                raise DataError(
                    f"{path}: was trained with {name} {state.get('options', {}).get(name)}, not "
                    f"{value}; a resumed training keeps its options, or the result would be another"
                )
        try:
            self.model.load_state_dict(checkpoint.model.state_dict())
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.epoch, self.best = operator.index(state["epoch"]), float(state["best"])
            if self.schedule.last_epoch != self.epoch * self.batches:
                raise ValueError(f"its schedule does not stand at epoch {self.epoch}")
            torch.set_rng_state(state["random"])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(state["random_cuda"], self.device)
        except (AttributeError, KeyError, ValueError, TypeError, RuntimeError) as error:
            raise FileFormatError(
                f"{path}: the state of the training is damaged ({error}); train again"
            ) from error
        self.metrics = checkpoint.metrics

    def finish(self) -> dict[str, Any]:
        """Look at the test set once, with the best checkpoint."""
        best = load_checkpoint(self.folder / BEST_NAME).model.to(self.device)
        images = torch.from_numpy(self._quantize(self.dataset.x_test)).to(self.device)
        labels = torch.from_numpy(self.dataset.y_test).to(self.device)
        summary = self._summary() | {"test_accuracy": evaluate(best, images, labels)}
        write_metrics(summary, self.folder / METRICS_NAME)
        return summary

    def _summary(self) -> dict[str, Any]:
        return {
            "data": self.dataset.name,
            "architecture": self.model.architecture.to_dict(),
            "options": asdict(self.options),
            "epochs": self.metrics,
        }


class _Activity:
    """Running mean of the spike rate over all firing neurons."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps
        self.spikes = 0.0
        self.slots = 0

    def observe(self, layer: TandemLayer, activity: LayerActivity) -> None:
        """Count the spikes of one layer in one forward pass."""
        if activity.counts is not None:
            self.spikes += float(activity.counts.sum())
            self.slots += activity.counts.numel() * self.num_steps

    @property
    def rate(self) -> float:
        """Share of steps in which a neuron fired."""
        return self.spikes / self.slots if self.slots else 0.0


@torch.no_grad()
def evaluate(model: TandemNetwork, images: Tensor, labels: Tensor) -> float | None:
    """Return the accuracy of the integer network, or None where there are no samples.

    Args:
        model: the tandem network; left in the mode it was in.
        images: uint8 [samples, *input.shape], on the model's device.
        labels: int64 [samples].
    """
    if not len(labels):
        return None
    was_training = model.training
    model.eval()
    correct = 0
    for start in range(0, len(labels), _EVALUATION_BATCH):
        batch = slice(start, start + _EVALUATION_BATCH)
        correct += int((model(images[batch]).argmax(1) == labels[batch]).sum())
    model.train(was_training)
    return correct / len(labels)


def write_metrics(metrics: dict[str, Any], path: Path) -> None:
    """Write metrics as JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


def _check_fit(model: TandemNetwork, dataset: ImageDataset) -> None:
    spec = model.architecture.input
    if tuple(dataset.shape) != spec.shape:
        raise DataError(
            f"{dataset.name}: samples have shape {dataset.shape}; the model takes {spec.shape}"
        )
    outputs = model.architecture.layers[-1].out
    if dataset.classes > outputs:
        raise DataError(
            f"{dataset.name}: has {dataset.classes} classes; the model has {outputs} outputs"
        )
