"""The quantities that recordings have in common, and where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording

Kind = str
#: The kinds of quantities, as the report counts them.
RESULT: Kind = "result"
FINAL_STATE: Kind = "final state"
SYNOPS: Kind = "synops"
#: What a difference of a kind is called; a count's or potential's stands for itself.
_NAMES = {
    RESULT: "",
    FINAL_STATE: "state at the window's end (in 1/64 weight unit) ",
    SYNOPS: "synaptic operations ",
}


@dataclass(frozen=True)
class Difference:
    """The first place where a backend differs from the first one that has the quantity.

    Attributes:
        backend: name of the differing backend.
        layer: name of the layer.
        sample: index of the sample, from 0.
        neuron: indices in the layer's ``output_shape``; empty for synaptic operations.
        expected: the first backend's value.
        found: the differing backend's value.
        kind: ``RESULT`` for a spike count or a readout's potential, ``FINAL_STATE`` or ``SYNOPS``.
    """

    backend: str
    layer: str
    sample: int
    neuron: tuple[int, ...]
    expected: int
    found: int
    kind: Kind = RESULT

    def __str__(self) -> str:
        """Say where and what."""
        place = f"layer {self.layer}, sample {self.sample}"
        if self.neuron:
            place += f", neuron {list(self.neuron)}"
        return (
            f"{self.backend}: {place}: {_NAMES[self.kind]}{self.found} instead of {self.expected}"
        )


@dataclass(frozen=True)
class Quantity:
    """One quantity of one layer, in every recording that has it.

    Attributes:
        layer: name of the layer.
        kind: as ``Difference`` has it.
        values: backend and array, [samples, *shape].
    """

    layer: str
    kind: Kind
    values: tuple[tuple[str, npt.NDArray[Any]], ...]

    @property
    def mismatched(self) -> int | None:
        """Values that differ from the first array's, or None where there is nothing to compare."""
        if len(self.values) < 2:
            return None
        (_, first), *others = self.values
        return sum(int(np.sum(other != first)) for _, other in others)

    def difference(self) -> Difference | None:
        """Return the first differing value, or None."""
        for backend, found in self.values[1:]:
            expected = self.values[0][1]
            differs = expected != found
            if differs.any():
                first = np.unravel_index(int(differs.argmax()), differs.shape)
                sample, *neuron = place = tuple(int(index) for index in first)
                values = int(expected[place]), int(found[place])
                return Difference(backend, self.layer, sample, tuple(neuron), *values, self.kind)
        return None


def quantities(network: QuantizedNetwork, recordings: Sequence[Recording]) -> Iterator[Quantity]:
    """Yield all that recordings have in common, in the order in which spikes pass the layers.

    Args:
        network: what ran.
        recordings: two or more comparable ones.
    """
    for layer in network:
        shape = (len(recordings[0]), *layer.output_shape)
        results = [
            recording.output.reshape(shape) if not layer.fires else recording.counts[layer.name]
            for recording in recordings
        ]
        names = [recording.backend for recording in recordings]
        yield Quantity(layer.name, RESULT, tuple(zip(names, results, strict=True)))
        states = [(recording.backend, recording.final_state) for recording in recordings]
        yield _where_recorded(layer.name, FINAL_STATE, states)
        synops = [(recording.backend, recording.synops) for recording in recordings]
        yield _where_recorded(layer.name, SYNOPS, synops)


def _where_recorded(
    layer: str, kind: Kind, recorded: Sequence[tuple[str, Mapping[str, npt.NDArray[Any]]]]
) -> Quantity:
    having = [(name, arrays[layer]) for name, arrays in recorded if layer in arrays]
    return Quantity(layer, kind, tuple(having))
