"""What a PyTorch simulation gives batch by batch, put together as a backend returns it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from tandem_hw.arithmetic.neurons import LayerActivity
from tandem_hw.network.whole_numbers import whole_numbers
from tandem_hw.sim.backend import SimulationResult
from tandem_hw.sim.filled_rows import FilledRows


class BatchResults:
    """Collects what the layers did with consecutive batches, on the CPU as integers.

    Attributes:
        samples: of all batches together.
        keep_final_state: collect the states at the window's end as well.
    """

    def __init__(self, samples: int, keep_final_state: bool = False) -> None:
        self.samples = samples
        self.keep_final_state = keep_final_state
        self._counts: dict[str, FilledRows] = {}
        self._potential: dict[str, FilledRows] = {}
        self._saturation: dict[str, FilledRows] = {}
        self._final_state: dict[str, FilledRows] = {}

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

    def _append(self, collected: dict[str, FilledRows], name: str, batch: npt.NDArray[Any]) -> None:
        collected.setdefault(name, FilledRows(self.samples)).append(batch)

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


def _arrays(collected: Mapping[str, FilledRows]) -> dict[str, npt.NDArray[Any]]:
    return {name: rows.array for name, rows in collected.items()}


def _int32(tensor: Tensor, what: str) -> npt.NDArray[np.int32]:
    return whole_numbers(tensor.cpu().numpy(), np.int32, what)
