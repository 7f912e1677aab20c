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


class BatchResults:
    """Collects what the layers did with consecutive batches, on the CPU as integers.

    Attributes:
        keep_final_state: collect the states at the window's end as well.
    """

    def __init__(self, keep_final_state: bool = False) -> None:
        self.keep_final_state = keep_final_state
        self._counts: dict[str, list[npt.NDArray[np.int32]]] = {}
        self._potentials: list[npt.NDArray[np.int32]] = []
        self._saturation: dict[str, list[npt.NDArray[np.int64]]] = {}
        self._final_state: dict[str, list[npt.NDArray[np.int32]]] = {}

    def add(self, name: str, activity: LayerActivity) -> None:
        """Append what one layer did with one batch.

        Args:
            name: name of the layer.
            activity: its counts, or a readout's potential, in whole numbers.

        Raises:
            InexactError: a value is not whole.
        """
        if activity.counts is not None:
            self._counts.setdefault(name, []).append(
                _int32(activity.counts, f"layer {name}: spike counts")
            )
            if self.keep_final_state:
                self._final_state.setdefault(name, []).append(
                    _int32(activity.final_state(), f"layer {name}: states")
                )
        if activity.potential is not None:
            self._potentials.append(
                _int32(activity.potential.flatten(1), f"layer {name}: potentials")
            )
        saturated = activity.saturated().cpu().numpy()
        self._saturation.setdefault(name, []).append(saturated)

    def together(
        self, parameter_digest: Mapping[str, str], peak: Mapping[str, int] | None = None
    ) -> SimulationResult:
        """Return what all batches did; call it once, since it gives up what it has put together.

        Args:
            parameter_digest: per layer the digest of what it computed with.
            peak: largest magnitude of a state per layer, where it was followed.
        """
        return SimulationResult(
            counts=_joined(self._counts),
            potential=np.concatenate(self._potentials) if self._potentials else None,
            peak=peak or {},
            saturation=_joined(self._saturation),
            final_state=_joined(self._final_state),
            parameter_digest=parameter_digest,
        )


def _joined(parts: dict[str, list[Any]]) -> dict[str, npt.NDArray[Any]]:
    # One layer at a time, so that no more than one is there twice.
    return {name: np.concatenate(parts.pop(name)) for name in list(parts)}


def _int32(tensor: Tensor, what: str) -> npt.NDArray[np.int32]:
    return whole_numbers(tensor.cpu().numpy(), np.int32, what)
