"""Batches of streamed samples: read as they are needed, ahead of time by other processes.

What a data set draws by chance (a random crop, for instance) hangs on a seed and the place of the
batch alone: not on how many processes read, nor on what else draws numbers. So a training that is
resumed goes on to the same bits.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from tandem_hw.data.dataset import Dataset, Images
from tandem_hw.data.own.streamed import StreamedSamples
from tandem_hw.network.quantized import InputSpec

#: Seeds of one pass lie closer together than this: a batch each.
_STRIDE = 1_000_003


def read_batches(samples: StreamedSamples, order: Sequence[Tensor], seed: int) -> Iterator[Tensor]:
    """Yield batches as they are in the data set.

    Args:
        samples: what is read; its ``workers`` processes read ahead.
        order: int64 [batch], the samples of each batch.
        seed: of what the data set draws by chance.

    Yields:
        uint8, float32 or float64 [batch, ...], on the CPU.
    """
    batches = _Batches(samples, order, seed)
    if not samples.workers:
        yield from (batches[place] for place in range(len(batches)))
        return
    # The loader draws a number of its own, not of those that the training goes on with.
    generator = torch.Generator().manual_seed(seed)
    yield from DataLoader(
        batches, batch_size=None, num_workers=samples.workers, generator=generator
    )


class _Batches(TorchDataset[Tensor]):
    """Whole batches by their places."""

    def __init__(self, samples: StreamedSamples, order: Sequence[Tensor], seed: int) -> None:
        self.samples, self.order, self.seed = samples, order, seed

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> Tensor:
        with _drawing_from(self.seed * _STRIDE + place):
            read = np.asarray(self.samples[self.order[place].numpy()])
        return torch.from_numpy(np.ascontiguousarray(read))


@contextmanager
def _drawing_from(seed: int) -> Iterator[None]:
    """Seed the random numbers of Python, NumPy and PyTorch for a while."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([]):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed % 2**63)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


class StreamedInputs:
    """The integers of streamed samples, read anew each time that they are gone through.

    Attributes:
        samples: what is read, always with the same chance.
        device: where the integers are wanted.
    """

    def __init__(
        self, dataset: Dataset, samples: StreamedSamples, spec: InputSpec, device: torch.device
    ) -> None:
        self.samples, self.device = samples, device
        self._dataset, self._spec = dataset, spec

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def in_batches(self, size: int) -> Iterator[Tensor]:
        """Yield uint8 [batch, *sample_shape] on the device, in order.

        Args:
            size: samples of a batch; the last one may have fewer.
        """
        order = list(torch.arange(len(self.samples)).split(size))
        for read in read_batches(self.samples, order, 0):
            integers = self._dataset.integers(read.numpy(), self._spec)
            yield torch.from_numpy(integers).to(self.device)


def in_batches(inputs: Tensor | StreamedInputs, size: int) -> Iterator[Tensor]:
    """Yield the integers of samples in batches.

    Args:
        inputs: uint8 [samples, *sample_shape].
        size: samples of a batch; the last one may have fewer.
    """
    if isinstance(inputs, StreamedInputs):
        yield from inputs.in_batches(size)
    else:
        yield from torch.split(inputs, size)


def inputs_of(
    dataset: Dataset, samples: Images, spec: InputSpec, device: torch.device
) -> Tensor | StreamedInputs:
    """Return samples as a network takes them, in memory unless they are streamed.

    Args:
        dataset: where they come from.
        samples: some of them.
        spec: what the network takes.
        device: where they are wanted.
    """
    if isinstance(samples, StreamedSamples):
        return StreamedInputs(dataset, samples, spec, device)
    return torch.from_numpy(dataset.integers(samples, spec)).to(device)
