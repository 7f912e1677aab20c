"""The samples of a training: split, shuffled, augmented and quantized."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tandem_hw.arithmetic.gpu.transfers import HeldSamples, sent
from tandem_hw.counted import counted
from tandem_hw.data.dataset import Dataset, Labels, Wanted
from tandem_hw.data.own.streamed import StreamedSamples
from tandem_hw.data.splits import split_validation
from tandem_hw.errors import DataError
from tandem_hw.network.quantized import InputSpec
from tandem_hw.training.augmentation import augment
from tandem_hw.training.distributed import Processes
from tandem_hw.training.methods.auto_augment import check_policy
from tandem_hw.training.methods.mixing import Mixture, mixed
from tandem_hw.training.objectives import Objective, as_tensor
from tandem_hw.training.options import PRESETS, TrainingOptions, augmentation_named
from tandem_hw.training.reading.streamed_batches import StreamedInputs, inputs_of, read_batches

#: Seeds of one training lie closer together than this, those of two further apart.
SEED_STRIDE: Final = 100_003
#: What is added to the seed of an epoch's order to get that of its augmentation.
_AUGMENTATION_SEED: Final = 50_000
_ALONE: Final = Processes()


class TrainingData:
    """Training and validation samples on the device, or streamed to it.

    Where an augmentation moves or blanks values alone, the integers are augmented, on the device:
    a 0 stays one, so they are those of the augmented images. An image that is turned, or measured
    against, is augmented itself, on the CPU, for a GPU interpolates with other roundings.

    Attributes:
        batches: number of batches in an epoch; a rest that fills none is left out, another one in
            every epoch.
        validation: integers and targets of the validation samples.
    """

    def __init__(
        self,
        dataset: Dataset,
        objective: Objective,
        options: TrainingOptions,
        spec: InputSpec,
        device: torch.device,
        processes: Processes = _ALONE,
    ) -> None:
        self.dataset, self.objective, self.options = dataset, objective, options
        self.spec, self.device, self.processes = spec, device, processes
        targets = objective.wanted(dataset, "train")
        fitted, held_out = self._split(targets)
        if len(fitted) < options.batch_size:
            raise DataError(
                f"{counted(len(fitted), 'training sample is', 'training samples are')} less than "
                f"one batch of {options.batch_size}; "
                f"use a smaller batch (batch_size, at the command line --batch-size), or give more"
            )
        self.batches = len(fitted) // options.batch_size
        self._targets = as_tensor(targets[fitted]).to(device)
        self._images: Tensor | None = None
        self._inputs: HeldSamples | None = None
        self._augmentation = augmentation_named(options.augmentation)
        if self._augmentation.turns or (self._augmentation.changes and len(spec.shape) != 3):
            *others, last = (name for name, one in PRESETS.items() if one.changes and not one.turns)
            self._check_images(
                f'augmentation "{options.augmentation}"',
                f"of what a camera sees, [channels, height, width], augmentation "
                f"{', '.join(others)} and {last} move or blank pixels; for all else ",
            )
        if self._augmentation.autoaugment:
            check_policy(spec.shape)
        if options.mix != "none":
            self._check_images(f"mix {options.mix}")
        if options.mix == "cutmix" and len(spec.shape) != 3:
            raise DataError(
                f"mix cutmix: {dataset.name} has samples of shape {spec.shape}; images (channels, "
                f"height, width) are needed; mix by mixup"
            )
        own = self._augmentation.turns or options.objective == "reconstruction"
        self._turns = self._augmentation.changes and own
        self._streamed: StreamedSamples | None = None
        if isinstance(dataset.x_train, StreamedSamples):
            self._streamed = self._stream(dataset.x_train[fitted])
        else:
            integers = self._integers(dataset.x_train[fitted])  # refuses what makes no batch
            if self._turns:
                self._images = torch.from_numpy(np.ascontiguousarray(dataset.x_train[fitted]))
            else:
                self._inputs = HeldSamples(integers, device)
        self.validation: tuple[Any, Tensor] = (
            inputs_of(dataset, dataset.x_train[held_out], spec, device),
            as_tensor(targets[held_out]).to(device),
        )
        self._generator = torch.Generator()

    def _stream(self, samples: StreamedSamples) -> StreamedSamples:
        """Return training samples that are read batch by batch, once some of them were."""
        self._integers(np.asarray(samples[: self.options.batch_size]))
        return samples

    def _split(self, targets: Wanted) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Choose validation samples, and of the others as many as the options say."""
        dataset, options, count = self.dataset, self.options, len(targets)
        if len(dataset.x_train) != count:
            raise DataError(
                f"{dataset.name}: has {counted(len(dataset.x_train), 'training sample')} and "
                f"{counted(count, 'label')} "
                f"or targets; one for each is needed"
            )
        labels = targets.values if isinstance(targets, Labels) else np.zeros(count, np.int64)
        fitted, held_out = split_validation(count, labels, options.validation, options.seed)
        if options.samples is not None:
            if options.samples > len(fitted):
                raise DataError(
                    f"{self.dataset.name}: has {counted(len(fitted), 'training sample')} beside "
                    f"the validation data; {options.samples} were asked for"
                )
            chosen = np.random.RandomState(options.seed).permutation(len(fitted))
            fitted = np.sort(fitted[chosen[: options.samples]])
        return fitted, held_out

    def _integers(self, samples: Any) -> Tensor:
        return torch.from_numpy(self.dataset.integers(samples, self.spec))

    def _check_images(self, changing: str, way: str = "") -> None:
        """Refuse samples that are no images.

        Args:
            changing: names what would change them.
            way: what may be done with some, as the beginning of a sentence.
        """
        if self.spec.takes_events:
            raise DataError(
                f"{self.dataset.name}: holds events of shape {self.spec.shape}, which {changing} "
                f"cannot change; {way}use tonic's transforms when they are binned"
            )

    def order(self, epoch: int) -> Iterator[Tensor]:
        """Yield this process's share of the batches of an epoch, as indices.

        The order hangs on seed and epoch alone and is the same in all processes; the augmentation
        is each one's own.

        Args:
            epoch: the epoch, from 1.
        """
        seed = self.options.seed * SEED_STRIDE + epoch
        self._generator.manual_seed(self.processes.own_seed(seed + _AUGMENTATION_SEED))
        order = torch.randperm(len(self._targets), generator=torch.Generator().manual_seed(seed))
        size = self.options.batch_size
        for start in range(0, self.batches * size, size):
            yield self.processes.share(order[start : start + size])

    def take(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return the integers and the targets of some samples in memory, augmented anew.

        Args:
            indices: int64 [batch].
        """
        if self._inputs is not None:
            inputs = self._inputs.take(indices)
            return self._moved(inputs), self._targets[sent(indices, self.device)]
        assert self._images is not None  # one of the two is there
        return self._turned(self._images[indices], indices)

    def taken(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the integers and the targets of the batches of an epoch, augmented anew.

        Args:
            epoch: the epoch, from 1.
        """
        if self._streamed is None:
            for indices in self.order(epoch):
                yield self.take(indices)
            return
        order = list(self.order(epoch))
        seed = self.processes.own_seed(self.options.seed * SEED_STRIDE + epoch)
        images = read_batches(self._streamed, order, seed)
        for indices, read in zip(order, images, strict=True):
            if self._turns:
                yield self._turned(read, indices)
            else:
                inputs = sent(self._integers(read.numpy()), self.device)
                yield self._moved(inputs), self._targets[sent(indices, self.device)]

    def _moved(self, inputs: Tensor) -> Tensor:
        """Return integers, augmented where that moves or blanks them alone."""
        if not self._augmentation.changes:
            return inputs
        return augment(inputs, self._augmentation, self._generator)

    def _turned(self, images: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return the integers and the targets of images that are augmented themselves."""
        targets = self._targets[sent(indices, self.device)]
        changed = augment(images, self._augmentation, self._generator)
        if self.options.objective == "reconstruction":
            largest = 255 if changed.dtype == torch.uint8 else 1
            targets = sent(changed.flatten(1).float() / largest, self.device)
        return sent(self._integers(changed.numpy()), self.device), targets

    def mixture(self, inputs: Tensor) -> Mixture | None:
        """Return how the samples of a batch are mixed, or None where they are not.

        Args:
            inputs: uint8 [batch, *sample_shape], as ``take`` gave them.
        """
        mix = self.options.mix
        return None if mix == "none" else mixed(inputs, mix, self._generator)

    def test(self) -> tuple[Tensor | StreamedInputs, Tensor]:
        """Return integers and targets of the test samples."""
        targets = self.objective.wanted(self.dataset, "test")
        inputs = inputs_of(self.dataset, self.dataset.x_test, self.spec, self.device)
        return inputs, as_tensor(targets).to(self.device)
