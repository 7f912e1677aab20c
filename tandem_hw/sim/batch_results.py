"""What a PyTorch simulation gives batch by batch, put together as a recording needs it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from torch import Tensor

from tandem_hw.whole_numbers import whole_numbers


class BatchResults:
    """Collects counts and potentials of consecutive batches, on the CPU as int32."""

    def __init__(self) -> None:
        self._counts: dict[str, list[npt.NDArray[np.int32]]] = {}
        self._potentials: list[npt.NDArray[np.int32]] = []

    def add(self, counts: Mapping[str, Tensor], potential: Tensor | None) -> None:
        """Append one batch.

        Args:
            counts: per firing layer [batch, *output_shape], whole numbers.
            potential: readout potentials [batch, outputs] in weight units, or None.

        Raises:
            InexactError: a value is not whole.
        """
        for name, values in counts.items():
            self._counts.setdefault(name, []).append(_int32(values, f"layer {name}: spike counts"))
        if potential is not None:
            self._potentials.append(_int32(potential, "the readout: potentials"))

    @property
    def counts(self) -> dict[str, npt.NDArray[np.int32]]:
        """Per firing layer the counts of all samples."""
        return {name: np.concatenate(parts) for name, parts in self._counts.items()}

    @property
    def potential(self) -> npt.NDArray[np.int32] | None:
        """The readout's potentials of all samples, or None where it is counted."""
        return np.concatenate(self._potentials) if self._potentials else None


def _int32(tensor: Tensor, what: str) -> npt.NDArray[np.int32]:
    return whole_numbers(tensor.cpu().numpy(), np.int32, what)
