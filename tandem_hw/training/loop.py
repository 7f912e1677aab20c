"""The training loop: what an epoch is, and a validation split taken from the training data.

The test set chooses nothing: the best checkpoint is the one that is best on validation data, and
the test set is looked at once, at the end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tandem_hw.counted import counted
from tandem_hw.data.dataset import Dataset
from tandem_hw.data.own.torch_objects import given_dataset
from tandem_hw.errors import ConversionError, DataError, FileFormatError
from tandem_hw.learning.checkpoint import (
    Checkpoint,
    check_checkpoint,
    load_checkpoint,
    rebuilt,
    save_checkpoint,
)
from tandem_hw.learning.layers import Observer
from tandem_hw.learning.model import TandemNetwork, check_tandem
from tandem_hw.training.distributed import Processes, own_device, started_processes
from tandem_hw.training.methods.averaging import WeightAverage
from tandem_hw.training.methods.distillation import Teacher
from tandem_hw.training.methods.learning_rate import laid_out_anew, make_schedule
from tandem_hw.training.methods.mixing import Mixture
from tandem_hw.training.methods.optimizers import make_optimizer
from tandem_hw.training.methods.task_loss import TaskLoss
from tandem_hw.training.objectives import Objective, meaning_of
from tandem_hw.training.options import TrainingOptions
from tandem_hw.training.progress import EpochProgress, StepReport
from tandem_hw.training.reading.streamed_batches import StreamedInputs, in_batches
from tandem_hw.training.resuming.last_checkpoint import (
    check_same_network,
    load_last,
    state_reported,
)
from tandem_hw.training.resuming.optimizer_state import restore_optimizer
from tandem_hw.training.resuming.state_fields import check_epochs, check_random
from tandem_hw.training.run_files import BEST_NAME, LAST_NAME, METRICS_NAME
from tandem_hw.training.run_folder import (
    RunIdentity,
    best_of_before,
    is_same_model,
    locked,
    new_run,
    tie_best,
    tie_metrics,
    write_metrics,
)
from tandem_hw.training.samples import SEED_STRIDE, TrainingData
from tandem_hw.training.schedule import spiking_layers
from tandem_hw.training.spike_rate import FiringLayers, SpikeRate
from tandem_hw.training.synop_penalty import SynOpPenalty
from tandem_hw.training.watching.bar import shown_by_itself
from tandem_hw.training.watching.epoch_times import EpochClock
from tandem_hw.training.watching.log_names import check_logs_free
from tandem_hw.training.watching.logs import open_logs

__all__ = ["StepReport", "TrainingOptions", "evaluate", "seed_everything", "train"]

_EVALUATION_BATCH = 256


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's random numbers; call it before a model is made."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def train(
    model: TandemNetwork,
    dataset: Any,
    options: TrainingOptions,
    folder: Path | str,
    *,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[StepReport], None] | None = None,
    epoch_done: Callable[[dict[str, Any]], None] | None = None,
    log: Sequence[str] = (),
    quiet: bool = False,
) -> dict[str, Any]:
    """Train a model and leave its checkpoints and metrics in a folder.

    Started by ``torchrun``, all processes train together (``tandem_hw.training.distributed``).

    Args:
        model: a fresh tandem network; with ``resume`` its parameters are read from the folder.
        dataset: images or events, and labels or targets: a ``Dataset`` of tandem-hw, a data set of
            PyTorch, torchvision or Hugging Face or a loader of one, or a pair of these to train and
            to test on (``tandem_hw.torch_dataset`` says what becomes of them).
        options: how to train.
        folder: receives ``last.pt``, ``checkpoint.pt`` (best on validation data) and
            ``metrics.json``, each written whole or not at all after every epoch
            (``tandem_hw.training.run_folder``). One training at a time writes there.
        device: where to train, for instance "cpu" or "cuda".
        resume: continue from ``last.pt``, to the same result as without the break. With more epochs
            than it was begun with it goes on after these, with the learning rate of a training of
            as many from there on: it is another result than that of so many from the first.
        overwrite: take the place of an earlier training, whose files stay until the first epoch of
            this one is whole; not looked at with ``resume``.
        report: told after every step, on a GPU one step late.
        epoch_done: told the metrics of every epoch, after its checkpoints are written.
        log: what is written of the epochs besides, in the folder: "csv" (``metrics.csv``) and
            "tensorboard" (events in ``tensorboard/``, with the extra of that name).
        quiet: show no progress. Otherwise a bar and a line for each epoch are on standard error,
            where that is a terminal or a notebook, unless ``report`` or ``epoch_done`` is given.

    Returns:
        What ``metrics.json`` holds; "silent_layers" names the layers that fired for no test sample.

    Raises:
        DataError: the data do not fit the model, or ``resume`` with other options or another
            number of processes.
        ConversionError: it is no tandem network, has weights that a checkpoint cannot hold, or the
            loss is infinite or not a number.
        FileFormatError: the folder cannot be written to, holds a training or is in use by one, or
            there is nothing to resume, or its files belong to different trainings.
        TypeError: there is no data set, or no options.
        BackendUnavailableError: what writes a log is not installed.
    """
    check_tandem(model)
    dataset = given_dataset(dataset, "train")
    if not isinstance(options, TrainingOptions):
        raise TypeError(
            f"train takes options as TrainingOptions, found {type(options).__name__}; give "
            f"tandem_hw.TrainingOptions(epochs=5), for instance"
        )
    logs = open_logs(log, Path(folder))
    if not (resume or overwrite):
        check_logs_free(log, Path(folder))
    place = torch.device(own_device(device))
    with started_processes(place, options.batch_size) as processes, ExitStack() as claim:
        run = _Run(model, dataset, options, Path(folder), place, processes)
        processes.from_first(lambda: claim.enter_context(locked(run.folder)))
        if resume:
            run.restore()
        else:
            run.begin(overwrite)
        run.start()
        is_watched = report is not None or epoch_done is not None
        shown = shown_by_itself(quiet or is_watched or not processes.is_first)
        own_report, own_epoch_done = claim.enter_context(shown)
        if processes.is_first:
            claim.callback(lambda: [one.close() for one in logs])
            for one in logs:
                one.begin(run.timed_metrics)
        for epoch in range(run.epoch + 1, options.epochs + 1):
            run.train_epoch(epoch, (report or own_report) if processes.is_first else None)
            if processes.is_first:
                for one in logs:
                    one.add(run.timed_metrics)
                (epoch_done or own_epoch_done)(run.metrics[-1])
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
        check_checkpoint(model)
        self.objective = options.make_objective()
        architecture = model.architecture
        dataset.check_fit(architecture.input, architecture.options.num_steps)
        self.objective.check_outputs(dataset, model.outputs)
        model.meaning = meaning_of(self.objective, dataset)
        self.data = TrainingData(
            dataset, self.objective, options, architecture.input, device, processes
        )
        self.teacher: Teacher | None = None
        if options.teacher is not None:
            self.teacher = Teacher(options.teacher, model, device)
        self.task_loss = TaskLoss(self.objective, options, self.teacher)
        self.optimizer = make_optimizer(model, options)
        self.schedule = make_schedule(self.optimizer, options, self.data.batches)
        self.average = WeightAverage(model, options.ema) if options.ema else None
        self.parallel: torch.nn.Module = model
        self.epoch = 0
        self.best: float | None = None
        self.metrics: list[dict[str, Any]] = []
        #: Of each time that it was made longer: after which epoch, how many were planned, and are.
        self.extensions: list[list[int]] = []
        self.clock = EpochClock()
        self.identity = RunIdentity("")
        #: The best model so far, as the content of ``checkpoint.pt``.
        self.best_checkpoint: dict[str, Any] = {}

    def begin(self, overwrite: bool) -> None:
        """Make sure that nothing is lost by a new training, and give it its identity."""
        self.identity = self.processes.from_first(lambda: new_run(self.folder, overwrite=overwrite))
        # Of the dropout. The order of samples comes from this number plus the epoch's.
        torch.manual_seed(self.options.seed * SEED_STRIDE)

    def start(self) -> None:
        """Join the processes, once the parameters are where the training starts from."""
        self.parallel = self.processes.parallel(self.model, self.device)

    def train_epoch(self, epoch: int, report: Callable[[StepReport], None] | None) -> None:
        """Pass over the training data once and write the checkpoints."""
        self.clock.start()
        self.model.train()
        if not self.processes.is_first:  # the first one's state is saved, and so its dropout
            torch.manual_seed(self.processes.own_seed(self.options.seed * SEED_STRIDE + epoch))
        activity = SpikeRate(self.model.architecture.options.num_steps)
        layers = len(self.model.tandem_layers)
        spiking = spiking_layers(self.options.schedule, epoch, self.options.epochs, layers)
        penalty = None
        if self.options.synop_weight:
            penalty = SynOpPenalty(self.model, self.options.penalty)
        progress = EpochProgress(self.objective, self.options, epoch, self.data.batches, report)
        for inputs, targets in self.data.taken(epoch):
            mixture = self.data.mixture(inputs)
            with progress.told_first():
                loss, outputs = self._step(inputs, targets, mixture, spiking, activity, penalty)
            progress.add(loss, outputs, targets, activity)
        progress.finish()
        if penalty is not None:
            penalty.remove()
        self.epoch = epoch
        self._end_epoch(progress.means, activity.rate, spiking)

    def _step(
        self,
        inputs: Tensor,
        targets: Tensor,
        mixture: Mixture | None,
        spiking: int | None,
        activity: SpikeRate,
        penalty: SynOpPenalty | None,
    ) -> tuple[Tensor, Tensor]:
        """Take one step of the optimizer; return the loss and the outputs."""
        inputs = inputs if mixture is None else mixture.inputs
        taught = self.task_loss.taught(inputs)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.mixed_precision):
            outputs = self.parallel(inputs, activity, spiking=spiking)
            loss = self.task_loss(outputs.float(), targets, mixture, taught)
            if penalty is not None:
                loss = loss + self.options.synop_weight * penalty.take()
        loss.backward()
        if self.options.clip_gradient:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip_gradient)
        self.optimizer.step()
        self.schedule.step()
        if self.average is not None:
            self.average.update(self.schedule.last_epoch)
        return loss.detach(), outputs.detach().float()

    def _end_epoch(self, means: dict[str, float], rate: float, spiking: int | None) -> None:
        """Look at the validation data and write everything, in the first process."""
        if self.processes.is_first:
            found = evaluate(self._judged, *self.data.validation, self.objective, self._evaluated)
            name = self.objective.metric
            validation = None if found is None else found[name]
            epoch = {"epoch": self.epoch, **means, f"validation_{name}": validation}
            self.metrics.append(epoch | {"spike_rate": rate, "spiking_layers": spiking})
            self.clock.stop()
            self._write(validation)
        self.processes.wait()

    @property
    def _judged(self) -> TandemNetwork:
        """The network that is judged, kept and exported: the averaged one, if there is one."""
        return self.model if self.average is None else self.average.model

    @property
    def _evaluated(self) -> int | None:
        """How many layers spike where the network is judged: all, unless none ever does."""
        return 0 if self.options.schedule == "ordinary" else None

    def _write(self, validation: float | None) -> None:
        is_best = validation is None or self.objective.is_better(validation, self.best)
        if validation is not None and is_best:
            self.best = validation
        if is_best:
            self._keep_best(self._judged, self.metrics)
        state: dict[str, Any] = {
            "options": asdict(self.options),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "epoch": self.epoch,
            "best": self.best,
            "random": torch.get_rng_state(),
            "processes": self.processes.count,
            "best_checkpoint": self.best_checkpoint,
        }
        if self.extensions:
            state["extensions"] = self.extensions
        if self.identity.replaces:
            state["replaces"] = dict(self.identity.replaces)
        if self.average is not None:
            state["average"] = self.average.model.state_dict()
        if self.teacher is not None:
            state["teacher"] = self.teacher.digest
        if self.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(self.device)
        # The order is what makes a kill between any two harmless, see ``run_folder``.
        save_checkpoint(self._checkpoint(self.model, state), self.folder / LAST_NAME)
        if is_best:
            save_checkpoint(self._checkpoint(self._judged), self.folder / BEST_NAME)
        write_metrics(self._summary(), self.folder / METRICS_NAME)
        self.identity = RunIdentity(self.identity.run)  # all that was there is replaced

    def _checkpoint(self, model: TandemNetwork, state: dict[str, Any] | None = None) -> Checkpoint:
        return Checkpoint(
            model, self.dataset.name, self.metrics, state or {}, run=self.identity.run
        )

    def _keep_best(self, model: TandemNetwork, metrics: list[dict[str, Any]]) -> None:
        parameters = {
            name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()
        }
        self.best_checkpoint = {"parameters": parameters, "metrics": list(metrics)}

    def restore(self) -> None:
        """Take up the state that ``last.pt`` left."""
        path = self.folder / LAST_NAME
        checkpoint = load_last(self.folder)
        state = checkpoint.training
        check_same_network(path, checkpoint.model.architecture, self.model.architecture)
        if checkpoint.data != self.dataset.name:
            raise DataError(f"{path}: was trained on {checkpoint.data}, not on {self.dataset.name}")
        meaning = checkpoint.model.meaning
        difference = "" if meaning is None else meaning.classes_differ(self.model.meaning)
        if difference:
            raise DataError(f"{path}: {difference}; resume with the data that it was trained on")
        self.options.check_same(state.get("options", {}), path)
        if checkpoint.model.state_dict().keys() != self.model.state_dict().keys():
            raise DataError(
                f"{path}: other layers of its network were pruned; prune the model in the same way "
                f"before the training is resumed (the masks are taken from the file)"
            )
        if self.teacher is not None and state.get("teacher") != self.teacher.digest:
            raise DataError(
                f"{path}: was trained with another teacher than {self.options.teacher} now is; "
                f"resume with the file that it was given, or the result would be another"
            )
        before = state.get("processes", 1)
        if before != self.processes.count:
            raise DataError(
                f"{path}: was trained by {counted(before, 'process', 'processes')} together, not "
                f"by {self.processes.count}; resume with torchrun --nproc-per-node {before}, or "
                f"the result would be another"
            )
        with state_reported(path):
            best = self._take_up(checkpoint)
        self.metrics = checkpoint.metrics
        self.clock.restore(self.folder, checkpoint.run, len(self.metrics))
        self.identity = RunIdentity(checkpoint.run)
        with torch.random.fork_rng([]):
            self.processes.from_first(lambda: self._tie(checkpoint, best))

    def _take_up(self, last: Checkpoint) -> Checkpoint | None:
        """Take up all that changes while it is trained; return the best model, if it is there."""
        state = last.training
        self.model.load_state_dict(last.model.state_dict())
        steps = state["epoch"] * self.data.batches
        self._restore_optimizer(state, steps)
        if self.average is not None:
            self.average.restore(state["average"])
        self.epoch, self.best = state["epoch"], state["best"]
        if self.epoch > self.options.epochs:
            raise ConversionError(f"it stands at epoch {self.epoch} of {self.options.epochs}")
        if self.best is None and len(self.data.validation[1]):
            raise ConversionError("it knows no best epoch")
        check_epochs(state, last.metrics, f"validation_{self.objective.metric}")
        best = self._restored_best(last)
        check_random(state["random"], torch.get_rng_state())
        torch.set_rng_state(state["random"])  # last: a model that is built draws numbers
        if self.device.type == "cuda":
            check_random(state["random_cuda"], torch.cuda.get_rng_state(self.device))
            torch.cuda.set_rng_state(state["random_cuda"], self.device)
        return best

    def _restore_optimizer(self, state: dict[str, Any], steps: int) -> None:
        """Take up the optimizer and its schedule, which is laid out anew over more epochs."""
        epochs = state.get("options", {}).get("epochs", self.options.epochs)
        self.extensions = [list(one) for one in state.get("extensions", [])]
        if epochs == self.options.epochs:
            restore_optimizer(self.optimizer, self.schedule, state, steps)
            return
        planned = replace(self.options, epochs=epochs)
        before = make_schedule(self.optimizer, planned, self.data.batches)
        restore_optimizer(self.optimizer, before, state, steps)
        self.schedule = laid_out_anew(self.optimizer, self.options, self.data.batches, steps)
        self.extensions.append([state["epoch"], epochs, self.options.epochs])

    def _restored_best(self, last: Checkpoint) -> Checkpoint | None:
        """Return the best model that ``last.pt`` holds; None if it is older than its having one."""
        if not last.run and "best_checkpoint" not in last.training:
            return None
        kept = last.training["best_checkpoint"]
        model = rebuilt(last.model.architecture, kept["parameters"])
        model.meaning = self.model.meaning
        return Checkpoint(model, last.data, list(kept["metrics"]), run=last.run)

    def _tie(self, last: Checkpoint, best: Checkpoint | None) -> None:
        """Make the other files those that ``last.pt`` speaks of, or refuse them."""
        replaces = last.training.get("replaces", {})
        outdated = tie_metrics(self.folder, last, replaces)
        if best is not None:
            tie_best(self.folder, last, best, replaces)
        else:
            metric = f"validation_{self.objective.metric}"
            best = best_of_before(self.folder, last, metric, self.best)
            if self.best is not None:
                self.best = best.metrics[-1][metric]
        if outdated:
            write_metrics(self._summary(), self.folder / METRICS_NAME)
        self._keep_best(best.model, best.metrics)

    def finish(self) -> dict[str, Any]:
        """Look at the test set once, with the best checkpoint."""
        summary = self._summary()
        if self.processes.is_first:
            best = load_checkpoint(self.folder / BEST_NAME)
            if not is_same_model(best, self.identity.run, self.best_checkpoint["metrics"]):
                raise FileFormatError(
                    f"{self.folder / BEST_NAME}: was replaced by another program while the "
                    f"training ran; move it to another folder, and --resume writes the right one"
                )
            model = best.model.to(self.device)
            fired = FiringLayers()
            inputs, targets = self.data.test()
            judged = evaluate(model, inputs, targets, self.objective, self._evaluated, fired)
            found = judged or {}
            summary |= {f"test_{name}": value for name, value in found.items()}
            if self._evaluated is None:
                summary["silent_layers"] = fired.silent
            write_metrics(summary, self.folder / METRICS_NAME)
        self.processes.wait()
        return summary

    def _summary(self) -> dict[str, Any]:
        about: dict[str, Any] = {"run": self.identity.run} if self.identity.run else {}
        if self.extensions:
            about["extensions"] = self.extensions
        return about | {
            "data": self.dataset.name,
            "architecture": self.model.architecture.to_dict(),
            "options": asdict(self.options),
            "epochs": self.metrics,
            "seconds": self.clock.seconds,
        }

    @property
    def timed_metrics(self) -> list[dict[str, Any]]:
        """The metrics of the epochs so far, each with the seconds that it took."""
        return [
            {**epoch, "seconds": seconds}
            for epoch, seconds in zip(self.metrics, self.clock.seconds, strict=True)
        ]


@torch.no_grad()
def evaluate(
    model: TandemNetwork,
    inputs: Tensor | StreamedInputs,
    targets: Tensor,
    objective: Objective,
    spiking: int | None = None,
    observe: Observer | None = None,
) -> dict[str, float] | None:
    """Judge the integer network, or return None where there are no samples.

    Args:
        model: the tandem network; left in the mode it was in.
        inputs: uint8 [samples, *sample_shape], on the model's device, or streamed to it.
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
        [model(batch, observe, spiking=spiking) for batch in in_batches(inputs, _EVALUATION_BATCH)]
    )
    model.train(was_training)
    return objective.measure(outputs, targets)
