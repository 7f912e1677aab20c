"""The recording of a run: what every backend returns and the verification compares."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.atomic_write import atomic_file
from tandem_hw.counted import counted
from tandem_hw.html_table import html_table

IntArray = npt.NDArray[np.integer[Any]]


class RunResults(ABC):
    """What a run gave for each sample, whatever is kept of its single neurons.

    It is what tables, reports and pictures are made of. The attributes are those of ``Recording``.
    """

    backend: str
    network_digest: str
    output: npt.NDArray[np.int32]
    prediction: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64] | None
    synops: Mapping[str, npt.NDArray[np.int64]]
    peak: Mapping[str, int]
    seconds: float
    saturation: Mapping[str, npt.NDArray[np.int64]]

    @abstractmethod
    def spikes_by_layer(self) -> Mapping[str, int]:
        """Return per firing layer the spikes of all its neurons in all samples."""

    def __repr__(self) -> str:
        """Say in one line what was recorded."""
        judged = "" if self.accuracy is None else f", accuracy {self.accuracy:.2%}"
        work = f", {self.synops_per_sample:.0f} SynOps a sample" if len(self) else ""
        return (
            f"{type(self).__name__}({self.backend}, {counted(len(self), 'sample')}{judged}{work}, "
            f"network {self.network_digest[:12]})"
        )

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.prediction)

    @property
    def accuracy(self) -> float | None:
        """Share of samples whose prediction is their label, or None without labels."""
        if self.label is None or not len(self):
            return None
        return float(np.mean(self.prediction == self.label))

    @property
    def synops_per_sample(self) -> float:
        """Mean number of synaptic operations a sample, all layers together."""
        return float(sum(per_sample.sum() for per_sample in self.synops.values()) / len(self))


@dataclass(frozen=True, eq=False, repr=False)
class Recording(RunResults):
    """Spike counts and results of some samples on one backend.

    Attributes:
        backend: name of the backend.
        network_digest: ``QuantizedNetwork.digest`` of the network that ran.
        input_digest: SHA-256 of the integer inputs that it was given.
        counts: per firing layer the spike counts, int32 [samples, *output_shape], in PyTorch's axis
            order.
        output: int32 [samples, outputs]: the readout's potential in weight units, or its counts,
            flattened in C order.
        readout: "potential" or "count", what ``output`` is.
        prediction: int64 [samples], index of the largest output (the lowest among equals).
        label: int64 [samples], or None where the data had none.
        synops: per layer the synaptic operations of each sample, int64 [samples].
        peak: per layer the largest magnitude that a state reached, in weight units; only a backend
            that can see it fills it in.
        seconds: wall-clock time of the run.
        saturation: per layer the values (a neuron in a step) of each sample in which a state left
            24 bits (``neurons.LayerActivity.saturated``), int64 [samples]; where a backend counts.
        final_state: per firing layer the state variable of Lava's neuron after the window's last
            step (``neurons.LayerActivity.final_state``): the current with reset "subtract", the
            voltage with "zero"; int32 [samples, *output_shape] in units of 1/64 weight unit. Only
            where it was asked for and the backend has it.
        parameter_digest: per layer the ``parameter_digest`` of what the backend computed with;
            where it can tell.
        extra: what else the backend measured, by name, as plain data (``loihi2``: the delays of its
            interface, and the profile where one was asked for); it is not saved.
    """

    backend: str
    network_digest: str
    input_digest: str
    counts: Mapping[str, npt.NDArray[np.int32]]
    output: npt.NDArray[np.int32]
    readout: str
    prediction: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64] | None
    synops: Mapping[str, npt.NDArray[np.int64]]
    peak: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    saturation: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    final_state: Mapping[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    parameter_digest: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the mappings read-only."""
        names = ("counts", "synops", "peak", "saturation", "final_state", "parameter_digest")
        for name in (*names, "extra"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def spikes_by_layer(self) -> Mapping[str, int]:
        """Return per firing layer the spikes of all its neurons in all samples."""
        return {name: int(counts.sum(dtype=np.int64)) for name, counts in self.counts.items()}

    def _repr_html_(self) -> str:
        """Return a table of the layers, for notebooks."""
        spikes = self.spikes_by_layer()
        return html_table(
            repr(self),
            ("layer", "spikes", "SynOps", "largest state", "left 24 bits"),
            (
                (
                    name,
                    spikes.get(name),
                    int(synops.sum()),
                    self.peak.get(name),
                    int(self.saturation[name].sum()) if name in self.saturation else None,
                )
                for name, synops in self.synops.items()
            ),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``arrays`` as npz.

        Args:
            path: where to write; written whole or not at all.

        Raises:
            FileFormatError: the path cannot be written to.
        """
        arrays: Mapping[str, Any] = self.arrays()
        with atomic_file(path) as file:
            np.savez_compressed(file, **arrays)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what a file holds of the recording, by name and in the file's order.

        They are ``counts/<layer>``, ``potential`` or ``output_count``, …, and begin with the axis
        of the samples where they have axes at all.
        """
        arrays: dict[str, npt.NDArray[Any]] = {
            f"{kind}/{name}": np.asarray(values)
            for kind in ("counts", "synops", "saturation", "final_state", "parameter_digest")
            for name, values in getattr(self, kind).items()
        }
        arrays["potential" if self.readout == "potential" else "output_count"] = self.output
        arrays["prediction"] = self.prediction
        arrays["format_version"] = np.array(1)
        arrays["backend"] = np.array(self.backend)
        arrays["network_digest"] = np.array(self.network_digest)
        arrays["input_digest"] = np.array(self.input_digest)
        if self.label is not None:
            arrays["label"] = self.label
        return arrays


def confusion_matrix(
    prediction: npt.NDArray[np.int64], label: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.int64]:
    """Return how many samples of each class were taken for which.

    Args:
        prediction: int64 [samples], 0 to classes - 1.
        label: int64 [samples], 0 to classes - 1.
        classes: number of rows and columns.

    Returns:
        int64 [classes, classes]: a row for each true class, a column for each predicted one.
    """
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (label, prediction), 1)
    return matrix
