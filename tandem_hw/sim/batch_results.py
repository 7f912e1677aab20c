"""What a PyTorch simulation gives batch by batch, put together as a backend returns it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from tandem_hw.arithmetic.neurons import LayerActivity
from tandem_hw.network.whole_numbers import whole_numbers
from tandem_hw.sim.backend import SimulationResult


class BatchResults:
    """Collects what the layers did with consecutive batches, on the CPU as integers.

    Attributes:
        samples: of all batches together. Their arrays are made once and filled; a list of batches
            would take the memory twice as it is joined.
        keep_final_state: collect the states at the window's end as well.
    """

    def __init__(self, samples: int, keep_final_state: bool = False) -> None:
        self.samples = samples
        self.keep_final_state = keep_final_state
        self._counts: dict[str, _Rows] = {}
        self._potential: dict[str, _Rows] = {}
        self._saturation: dict[str, _Rows] = {}
        self._final_state: dict[str, _Rows] = {}

    def add(self, name: str, activity: LayerActivity) -> None:
        """Append what one layer did with one batch.

        Args:
            name: name of the layer.
            activity: its counts, or a readout's potential, in whole numbers.

        Raises:
            InexactError: a value is not whole.
        """
        if activity.counts is not None:
            counts = _int32(activity.counts, f"layer {name}: spike counts")
            self._append(self._counts, name, counts)
            if self.keep_final_state:
                states = _int32(activity.final_state(), f"layer {name}: states")
                self._append(self._final_state, name, states)
        if activity.potential is not None:
            potential = _int32(activity.potential.flatten(1), f"layer {name}: potentials")
            self._append(self._potential, name, potential)
        self._append(self._saturation, name, activity.saturated().cpu().numpy())

    def _append(self, collected: dict[str, _Rows], name: str, batch: npt.NDArray[Any]) -> None:
        if name not in collected:
            collected[name] = _Rows(np.empty((self.samples, *batch.shape[1:]), batch.dtype))
        collected[name].append(batch)

    def together(
        self, parameter_digest: Mapping[str, str], peak: Mapping[str, int] | None = None
    ) -> SimulationResult:
        """Return what all batches did.

        Args:
            parameter_digest: per layer the digest of what it computed with.
            peak: largest magnitude of a state per layer, where it was followed.
        """
        return SimulationResult(
            counts=_arrays(self._counts),
            potential=next(iter(_arrays(self._potential).values()), None),
            peak=peak or {},
            saturation=_arrays(self._saturation),
            final_state=_arrays(self._final_state),
            parameter_digest=parameter_digest,
        )


@dataclass
class _Rows:
    """An array that is filled from its first row on."""

    array: npt.NDArray[Any]
    filled: int = 0

    def append(self, rows: npt.NDArray[Any]) -> None:
        self.array[self.filled : self.filled + len(rows)] = rows
        self.filled += len(rows)


def _arrays(collected: Mapping[str, _Rows]) -> dict[str, npt.NDArray[Any]]:
    # A row that was never filled would be shown as what was in memory before.
    return {name: rows.array[: rows.filled] for name, rows in collected.items()}


def _int32(tensor: Tensor, what: str) -> npt.NDArray[np.int32]:
    return whole_numbers(tensor.cpu().numpy(), np.int32, what)
