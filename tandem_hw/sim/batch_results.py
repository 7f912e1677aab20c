"""What a PyTorch simulation gives batch by batch, put together as a backend returns it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tandem_hw.arithmetic.neurons import LayerActivity
from tandem_hw.network.layers import Layer
from tandem_hw.network.whole_numbers import whole_numbers
from tandem_hw.sim.backend import SimulationResult

#: Of each layer, [samples, ...].
_Arrays = dict[str, npt.NDArray[Any]]


class BatchResults:
    """Collects what the layers did with batches, on the CPU as integers.

    Several threads may add batches at a time, in any order. The arrays are made once: a list of
    batches would take the memory twice as it is joined.

    Attributes:
        samples: of all batches together.
        keep_final_state: collect the states at the window's end as well.
    """

    def __init__(self, samples: int, keep_final_state: bool = False) -> None:
        self.samples = samples
        self.keep_final_state = keep_final_state
        self._lock = threading.Lock()
        self._counts: _Arrays = {}
        self._potential: _Arrays = {}
        self._saturation: _Arrays = {}
        self._final_state: _Arrays = {}

    def room_for_counts(self, batch: range, layer: Layer) -> Tensor | None:
        """Return where the counts of one batch are kept, so that they are written there at once.

        Args:
            batch: the numbers of its samples.
            layer: whose counts.

        Returns:
            int32 [samples of the batch, *output_shape] on the CPU, or None for a readout.
        """
        if not layer.fires:
            return None
        shape = layer.output_shape
        return self._rows(self._counts, layer.name, shape, batch.start, len(batch), np.int32)

    def add(self, name: str, activity: LayerActivity, start: int) -> None:
        """Take in what one layer did with one batch.

        Args:
            name: name of the layer.
            activity: its counts, or a readout's potential, in whole numbers.
            start: number of the batch's first sample.

        Raises:
            InexactError: a value is not whole.
        """
        if activity.counts is not None:
            counts = _whole(activity.counts, f"layer {name}: spike counts")
            self._put(self._counts, name, counts, start)
            if self.keep_final_state:
                states = _whole(activity.final_state(), f"layer {name}: states")
                self._put(self._final_state, name, states, start)
        if activity.potential is not None:
            potential = _whole(activity.potential.flatten(1), f"layer {name}: potentials")
            self._put(self._potential, name, potential, start)
        self._put(self._saturation, name, activity.saturated(), start, np.int64)

    def _put(
        self, arrays: _Arrays, name: str, batch: Tensor, start: int, dtype: type[Any] = np.int32
    ) -> None:
        rows = self._rows(arrays, name, batch.shape[1:], start, len(batch), dtype)
        if rows.data_ptr() != batch.data_ptr():  # otherwise they were written there
            rows.copy_(batch)

    def _rows(
        self,
        arrays: _Arrays,
        name: str,
        shape: Sequence[int],
        start: int,
        samples: int,
        dtype: type[Any],
    ) -> Tensor:
        """Return some rows of a layer's array, which is made if it is not there yet."""
        with self._lock:
            if name not in arrays:
                arrays[name] = np.empty((self.samples, *shape), dtype)
        return torch.from_numpy(arrays[name][start : start + samples])

    def together(
        self, parameter_digest: Mapping[str, str], peak: Mapping[str, int] | None = None
    ) -> SimulationResult:
        """Return what all batches did, once all of them were added.

        Args:
            parameter_digest: per layer the digest of what it computed with.
            peak: largest magnitude of a state per layer, where it was followed.
        """
        return SimulationResult(
            counts=self._counts,
            potential=next(iter(self._potential.values()), None),
            peak=peak or {},
            saturation=self._saturation,
            final_state=self._final_state,
            parameter_digest=parameter_digest,
        )


def _whole(tensor: Tensor, what: str) -> Tensor:
    """Return integers as they are, and values in floating point if they are whole."""
    if not tensor.is_floating_point():
        return tensor
    return torch.from_numpy(whole_numbers(tensor.cpu().numpy(), np.int32, what))
