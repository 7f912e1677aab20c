"""The training loop: Adam, a cosine schedule, and a validation split taken from the training data.

The test set chooses nothing: the best checkpoint is the one that is best on validation data, and
the test set is looked at once, at the end.
"""

from __future__ import annotations

import json
import operator
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tandem_hw.atomic_write import atomic_path
from tandem_hw.errors import DataError, FileFormatError
from tandem_hw.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tandem_hw.learning.datasets import Dataset
from tandem_hw.learning.distributed import Processes, own_device, started_processes
from tandem_hw.learning.layers import Observer, TandemLayer
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.objectives import Objective
from tandem_hw.learning.schedule import spiking_layers
from tandem_hw.learning.synop_penalty import SynOpPenalty
from tandem_hw.learning.training_data import SEED_STRIDE, TrainingData
from tandem_hw.learning.training_options import TrainingOptions
from tandem_hw.neurons import LayerActivity

__all__ = ["StepReport", "TrainingOptions", "evaluate", "seed_everything", "train"]

BEST_NAME = "checkpoint.pt"
LAST_NAME = "last.pt"
METRICS_NAME = "metrics.json"
_EVALUATION_BATCH = 256


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


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's random numbers; call it before a model is made."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def train(
    model: TandemNetwork,
    dataset: Dataset,
    options: TrainingOptions,
    folder: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    report: Callable[[StepReport], None] | None = None,
    epoch_done: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Train a model and leave its checkpoints and metrics in a folder.

    Started by ``torchrun``, all processes train together (``tandem_hw.learning.distributed``).

    Args:
        model: a fresh tandem network; with ``resume`` its parameters are read from the folder.
        dataset: images or events, and labels or targets.
        options: how to train.
        folder: receives ``checkpoint.pt`` (best on validation data), ``last.pt`` and
            ``metrics.json``, each written whole or not at all after every epoch.
        device: where to train, for instance "cpu" or "cuda".
        resume: continue from ``last.pt``, to the same result as without the break.
        report: told after every step.
        epoch_done: told the metrics of every epoch, after its checkpoints are written.

    Returns:
        What ``metrics.json`` holds; "silent_layers" names the layers that fired for no test sample.

    Raises:
        DataError: the data do not fit the model, or ``resume`` with other options or another
            number of processes.
        FileFormatError: the folder cannot be written to, or there is nothing to resume.
    """
    place = torch.device(own_device(device))
    with started_processes(place, options.batch_size) as processes:
        run = _Run(model, dataset, options, Path(folder), place, processes)
        if resume:
            run.restore()
        else:
            # Of the dropout. The order of samples comes from this number plus the epoch's.
            torch.manual_seed(options.seed * SEED_STRIDE)
        run.start()
        for epoch in range(run.epoch + 1, options.epochs + 1):
            run.train_epoch(epoch, report if processes.is_first else None)
            if epoch_done is not None and processes.is_first:
                epoch_done(run.metrics[-1])
        return run.finish()


class _Run:
    """One training: the data, the optimizer, and the metrics so far."""

    def __init__(
        self,
        model: TandemNetwork,
        dataset: Dataset,
        options: TrainingOptions,
        folder: Path,
        device: torch.device,
        processes: Processes,
    ) -> None:
        self.model, self.dataset, self.options = model.to(device), dataset, options
        self.folder, self.device, self.processes = folder, device, processes
        self.objective = options.make_objective()
        architecture = model.architecture
        dataset.check_fit(architecture.input, architecture.options.num_steps)
        self.objective.check_outputs(dataset, model.outputs)
        self.data = TrainingData(
            dataset, self.objective, options, architecture.input, device, processes
        )
        self.optimizer = torch.optim.Adam(
            model.parameters(), options.learning_rate, weight_decay=options.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimizer, options.epochs * self.data.batches
        )
        self.parallel: torch.nn.Module = model
        self.epoch = 0
        self.best: float | None = None
        self.metrics: list[dict[str, Any]] = []

    def start(self) -> None:
        """Join the processes, once the parameters are where the training starts from."""
        self.parallel = self.processes.parallel(self.model, self.device)

    def train_epoch(self, epoch: int, report: Callable[[StepReport], None] | None) -> None:
        """Pass over the training data once and write the checkpoints."""
        self.model.train()
        if not self.processes.is_first:  # the first one's state is saved, and so its dropout
            torch.manual_seed(self.processes.own_seed(self.options.seed * SEED_STRIDE + epoch))
        activity = _Activity(self.model.architecture.options.num_steps)
        layers = len(self.model.tandem_layers)
        spiking = spiking_layers(self.options.schedule, epoch, self.options.epochs, layers)
        penalty = SynOpPenalty(self.model) if self.options.synop_weight else None
        loss_sum, metric_sum, seen = 0.0, 0.0, 0
        name = self.objective.metric
        for batch, indices in enumerate(self.data.order(epoch), start=1):
            inputs, targets = self.data.take(indices)
            loss, outputs = self._step(inputs, targets, spiking, activity, penalty)
            loss_sum += loss * len(targets)
            metric_sum += self.objective.measure(outputs, targets)[name] * len(targets)
            seen += len(targets)
            if report is not None:
                progress = (epoch, self.options.epochs, batch, self.data.batches)
                running = (loss_sum / seen, metric_sum / seen, name, activity.rate)
                report(StepReport(*progress, *running))
        if penalty is not None:
            penalty.remove()
        self.epoch = epoch
        means = {"loss": loss_sum / seen, name: metric_sum / seen}
        self._end_epoch(means, activity.rate, spiking)

    def _step(
        self,
        inputs: Tensor,
        targets: Tensor,
        spiking: int | None,
        activity: _Activity,
        penalty: SynOpPenalty | None,
    ) -> tuple[float, Tensor]:
        """Take one step of the optimizer; return the loss and the outputs."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.mixed_precision):
            outputs = self.parallel(inputs, activity.observe, spiking=spiking)
            loss = self.objective.loss(outputs.float(), targets)
            if penalty is not None:
                loss = loss + self.options.synop_weight * penalty.take()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        return float(loss.detach()), outputs.detach().float()

    def _end_epoch(self, means: dict[str, float], rate: float, spiking: int | None) -> None:
        """Look at the validation data and write everything, in the first process."""
        if self.processes.is_first:
            found = evaluate(self.model, *self.data.validation, self.objective, self._evaluated)
            name = self.objective.metric
            validation = None if found is None else found[name]
            epoch = {"epoch": self.epoch, **means, f"validation_{name}": validation}
            self.metrics.append(epoch | {"spike_rate": rate, "spiking_layers": spiking})
            self._write(validation)
        self.processes.wait()

    @property
    def _evaluated(self) -> int | None:
        """How many layers spike where the network is judged: all, unless none ever does."""
        return 0 if self.options.schedule == "ordinary" else None

    def _write(self, validation: float | None) -> None:
        is_best = validation is None or self.objective.is_better(validation, self.best)
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
            "processes": self.processes.count,
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
        defaults = asdict(TrainingOptions())  # options that came later had no other value
        for name, value in asdict(self.options).items():
            before = state.get("options", {}).get(name, defaults[name])
            if before != value:
                raise DataError(
                    f"{path}: was trained with {name} {before}, not {value}; a resumed training "
                    f"keeps its options, or the result would be another"
                )
        before = state.get("processes", 1)
        if before != self.processes.count:
            raise DataError(
                f"{path}: was trained by {before} processes together, not by "
                f"{self.processes.count}; resume with torchrun --nproc-per-node {before}, or the "
                f"result would be another"
            )
        try:
            self.model.load_state_dict(checkpoint.model.state_dict())
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.epoch = operator.index(state["epoch"])
            self.best = None if state["best"] is None else float(state["best"])
            if self.best is None and len(self.data.validation[1]):
                raise ValueError("it knows no best epoch")
            if self.schedule.last_epoch != self.epoch * self.data.batches:
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
        summary = self._summary()
        if self.processes.is_first:
            best = load_checkpoint(self.folder / BEST_NAME).model.to(self.device)
            fired = _Fired()
            inputs, targets = self.data.test()
            judged = evaluate(best, inputs, targets, self.objective, self._evaluated, fired.observe)
            found = judged or {}
            summary |= {f"test_{name}": value for name, value in found.items()}
            if self._evaluated is None:
                summary["silent_layers"] = fired.silent
            write_metrics(summary, self.folder / METRICS_NAME)
        self.processes.wait()
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


class _Fired:
    """Which layers have fired so far."""

    def __init__(self) -> None:
        self.layers: dict[str, bool] = {}

    def observe(self, layer: TandemLayer, activity: LayerActivity) -> None:
        """Look at one layer in one forward pass."""
        if activity.counts is not None:
            fires = bool(activity.counts.any())
            self.layers[layer.name] = self.layers.get(layer.name, False) or fires

    @property
    def silent(self) -> list[str]:
        """Names of the firing layers that never did."""
        return [name for name, fired in self.layers.items() if not fired]


@torch.no_grad()
def evaluate(
    model: TandemNetwork,
    inputs: Tensor,
    targets: Tensor,
    objective: Objective,
    spiking: int | None = None,
    observe: Observer | None = None,
) -> dict[str, float] | None:
    """Judge the integer network, or return None where there are no samples.

    Args:
        model: the tandem network; left in the mode it was in.
        inputs: uint8 [samples, *sample_shape], on the model's device.
        targets: [samples, ...], as the objective has them.
        objective: what is measured.
        spiking: as in ``TandemNetwork.forward``.
        observe: as in ``TandemNetwork.forward``.
    """
    if not len(targets):
        return None
    was_training = model.training
    model.eval()
    outputs = torch.cat(
        [
            model(inputs[start : start + _EVALUATION_BATCH], observe, spiking=spiking)
            for start in range(0, len(targets), _EVALUATION_BATCH)
        ]
    )
    model.train(was_training)
    return objective.measure(outputs, targets)


def write_metrics(metrics: dict[str, Any], path: Path) -> None:
    """Write metrics as JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
