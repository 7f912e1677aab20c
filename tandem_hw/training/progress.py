"""What a training tells of its steps, and what an epoch makes of them.

On a GPU a step's numbers are looked at when the next one is queued, so that the GPU never waits for
the next work. On a CPU they are there at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from tandem_hw.arithmetic.gpu.transfers import Received
from tandem_hw.errors import ConversionError, TandemError
from tandem_hw.training.objectives import Objective
from tandem_hw.training.options import TrainingOptions
from tandem_hw.training.run_files import LAST_NAME
from tandem_hw.training.spike_rate import SpikeRate


@dataclass
class StepReport:
    """Told after every step of the training.

    Attributes:
        epoch, epochs: the current one, from 1, and how many there are.
        batch, batches: the current one, from 1, and how many an epoch has.
        loss: running mean of this epoch.
        metric: running mean of the objective's metric, such as the accuracy.
        metric_name: its name.
        spike_rate: mean share of steps in which a neuron fired, over all layers that spiked.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    metric: float
    metric_name: str
    spike_rate: float


@dataclass(frozen=True)
class _Step:
    """Loss, outputs, targets and spikes so far of a step, and how many spikes there could be."""

    numbers: Received
    slots: int


class EpochProgress:
    """The numbers of an epoch's steps so far.

    Args:
        objective: measures the outputs.
        options: how is trained.
        epoch: the current one, from 1.
        batches: how many steps it has.
        report: told after every step, on a GPU one step late.
    """

    def __init__(
        self,
        objective: Objective,
        options: TrainingOptions,
        epoch: int,
        batches: int,
        report: Callable[[StepReport], None] | None,
    ) -> None:
        self._objective, self._options = objective, options
        self._epoch, self._batches, self._report = epoch, batches, report
        self._waiting: deque[_Step] = deque()
        self._batch, self._samples = 0, 0
        self._loss, self._metric = 0.0, 0.0

    def add(self, loss: Tensor, outputs: Tensor, targets: Tensor, activity: SpikeRate) -> None:
        """Take the numbers of a step, which may still be on their way.

        Args:
            loss: [], the mean of the batch.
            outputs: float32 [batch, outputs].
            targets: [batch, ...].
            activity: what was fired in the epoch so far.

        Raises:
            ConversionError: a loss is infinite or not a number.
        """
        spikes = torch.as_tensor(activity.spikes)
        self._waiting.append(_Step(Received([loss, outputs, targets, spikes]), activity.slots))
        while len(self._waiting) > _steps_ahead(loss.device):
            self._tell(self._waiting.popleft())

    def finish(self) -> None:
        """Look at what is still on its way.

        Raises:
            ConversionError: a loss is infinite or not a number.
        """
        while self._waiting:
            self._tell(self._waiting.popleft())

    @contextmanager
    def told_first(self) -> Iterator[None]:
        """Let an error of a step before, on which the one inside follows, be told in its place."""
        try:
            yield
        except TandemError:
            self.finish()
            raise

    @property
    def means(self) -> dict[str, float]:
        """Means over all samples: "loss", and the objective's metric by its name."""
        return {
            "loss": self._loss / self._samples,
            self._objective.metric: self._metric / self._samples,
        }

    def _tell(self, step: _Step) -> None:
        loss, outputs, targets, spikes = step.numbers.tensors()
        value, name, number = float(loss), self._objective.metric, len(targets)
        if not math.isfinite(value):
            raise ConversionError(
                f"the loss is {value}, infinite or not a number; lower the learning rate, which is "
                f"{self._options.learning_rate:g}; {LAST_NAME} holds the last whole epoch, if any"
            )
        self._loss += value * number
        self._metric += self._objective.measure(outputs, targets)[name] * number
        self._samples += number
        self._batch += 1
        if self._report is not None:
            progress = (self._epoch, self._options.epochs, self._batch, self._batches)
            means = self.means
            rate = SpikeRate.rate_of(spikes, step.slots)
            self._report(StepReport(*progress, means["loss"], means[name], name, rate))


def _steps_ahead(device: torch.device) -> int:
    """Return how many steps are queued before the numbers of one are looked at."""
    return 1 if device.type == "cuda" else 0
