"""What is kept of a run that was recorded in parts: what each sample gave, not each neuron."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tandem_hw.network.recording import Recording, RunResults

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, eq=False, repr=False)
class RunSummary(RunResults):
    """A recording of all samples without what each neuron did in each of them.

    Attributes:
        spikes: per firing layer the spikes of all its neurons in all samples.
        backend: this and the rest as ``Recording`` has them.
    """

    backend: str
    network_digest: str
    spikes: Mapping[str, int]
    output: npt.NDArray[np.int32]
    prediction: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64] | None
    synops: Mapping[str, npt.NDArray[np.int64]]
    peak: Mapping[str, int]
    seconds: float
    saturation: Mapping[str, npt.NDArray[np.int64]]

    def spikes_by_layer(self) -> Mapping[str, int]:
        """Return ``spikes``."""
        return self.spikes


@dataclass
class RunTally:
    """Adds up the parts of a run (``Backend.run_in_parts``), of which it keeps what is small."""

    _small: list[RunSummary] = field(default_factory=list)

    def add(self, part: Recording) -> None:
        """Take in the next part."""
        self._small.append(
            RunSummary(
                part.backend,
                part.network_digest,
                part.spikes_by_layer(),
                part.output,
                part.prediction,
                part.label,
                part.synops,
                part.peak,
                part.seconds,
                part.saturation,
            )
        )

    def summary(self) -> RunSummary:
        """Return what all parts were together, one at least."""
        parts = self._small
        labels = [part.label for part in parts if part.label is not None]
        return RunSummary(
            backend=parts[0].backend,
            network_digest=parts[0].network_digest,
            spikes=_sums([part.spikes for part in parts]),
            output=np.concatenate([part.output for part in parts]),
            prediction=np.concatenate([part.prediction for part in parts]),
            label=np.concatenate(labels) if labels else None,
            synops=_joined([part.synops for part in parts]),
            peak={name: max(part.peak[name] for part in parts) for name in parts[0].peak},
            seconds=sum(part.seconds for part in parts),
            saturation=_joined([part.saturation for part in parts]),
        )


def _sums(parts: list[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(part[name] for part in parts) for name in parts[0]}


def _joined(parts: list[Mapping[str, npt.NDArray[Number]]]) -> dict[str, npt.NDArray[Number]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
