"""What is kept of a run that was recorded in parts: what each sample gave, not each neuron."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.network.recording import Recording, RunResults
from tandem_hw.sim.filled_rows import FilledRows


@dataclass(frozen=True, eq=False, repr=False)
class RunSummary(RunResults):
    """A recording of all samples without what each neuron did in each of them.

    Attributes:
        spikes: per firing layer the spikes of all its neurons in all samples.
        backend: this and the rest as ``Recording`` has them; ``extra`` is that of the last part.
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
    extra: Mapping[str, Any] = field(default_factory=dict)

    def spikes_by_layer(self) -> Mapping[str, int]:
        """Return ``spikes``."""
        return self.spikes


class RunTally:
    """Adds up the parts of a run (``Backend.run_in_parts``), of which it keeps what is small."""

    def __init__(self, samples: int) -> None:
        """Begin.

        Args:
            samples: of all parts together.
        """
        self._samples = samples
        self._arrays: dict[tuple[str, str], FilledRows] = {}
        self._spikes: dict[str, int] = {}
        self._peak: dict[str, int] = {}
        self._seconds = 0.0
        self._of = ("", "")
        self._extra: Mapping[str, Any] = {}

    def add(self, part: Recording) -> None:
        """Take in the next part."""
        self._of = part.backend, part.network_digest
        self._extra = part.extra
        self._seconds += part.seconds
        for name, spikes in part.spikes_by_layer().items():
            self._spikes[name] = self._spikes.get(name, 0) + spikes
        for name, peak in part.peak.items():
            self._peak[name] = max(self._peak.get(name, 0), peak)
        self._append("output", "", part.output)
        self._append("prediction", "", part.prediction)
        if part.label is not None:
            self._append("label", "", part.label)
        for kind, arrays in (("synops", part.synops), ("saturation", part.saturation)):
            for name, array in arrays.items():
                self._append(kind, name, array)

    def summary(self) -> RunSummary:
        """Return what all parts were together, one at least."""
        backend, network_digest = self._of
        return RunSummary(
            backend=backend,
            network_digest=network_digest,
            spikes=self._spikes,
            output=self._arrays["output", ""].array,
            prediction=self._arrays["prediction", ""].array,
            label=self._by_layer("label").get(""),
            synops=self._by_layer("synops"),
            peak=self._peak,
            seconds=self._seconds,
            saturation=self._by_layer("saturation"),
            extra=self._extra,
        )

    def _append(self, kind: str, layer: str, rows: npt.NDArray[Any]) -> None:
        self._arrays.setdefault((kind, layer), FilledRows(self._samples)).append(rows)

    def _by_layer(self, kind: str) -> dict[str, npt.NDArray[Any]]:
        return {layer: rows.array for (of, layer), rows in self._arrays.items() if of == kind}
