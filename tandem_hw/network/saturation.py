"""What is said of states that leave 24 bits: how many did in a run, and how far they could go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tandem_hw.counted import counted
from tandem_hw.network.bounds import StateBounds
from tandem_hw.network.fixed_point import STATE_LIMIT
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults

#: What to do about it; said once below the layers.
ADVICE = (
    "A current beyond 24 bits wraps and changes its sign, a voltage is clipped, on the chip as in "
    "every backend: give the states room by converting with samples, or use fewer input bits, "
    "weight bits or steps"
)


@dataclass(frozen=True)
class LayerSaturation:
    """How often a layer's states left 24 bits in a run.

    Attributes:
        name: name of the layer.
        values: neurons times steps in which a current wrapped or a voltage clipped.
        saturated_samples: samples with at least one such value.
        samples: all samples.
        readout: whether the layer is a readout by potential.
    """

    name: str
    values: int
    saturated_samples: int
    samples: int
    readout: bool

    def __str__(self) -> str:
        """Say it in one line."""
        layer = f"readout {self.name}" if self.readout else f"layer {self.name}"
        return (
            f"{layer} saturated in {self.saturated_samples} of {counted(self.samples, 'sample')}: "
            f"{counted(self.values, 'value')} wrapped or clipped"
        )


def summarise_saturation(
    network: QuantizedNetwork, runs: Iterable[RunResults]
) -> tuple[LayerSaturation, ...]:
    """Return what the first run that counted it says of each layer.

    Args:
        network: what ran.
        runs: of the same samples.

    Returns:
        One entry a layer, zeros included; nothing where no run counted.
    """
    for run in runs:
        if run.saturation:
            return tuple(
                LayerSaturation(
                    layer.name,
                    int(run.saturation[layer.name].sum()),
                    int(np.count_nonzero(run.saturation[layer.name])),
                    len(run),
                    not layer.fires,
                )
                for layer in network
            )
    return ()


def saturation_lines(layers: Iterable[LayerSaturation]) -> list[str]:
    """Say which layers saturated and what to do about it; nothing where none did."""
    lines = [str(layer) for layer in layers if layer.values]
    return [*lines, ADVICE] if lines else []


def beyond(bounds: StateBounds) -> int:
    """Return by how many weight units a layer's state can leave 24 bits, 0 where it is proven."""
    largest = STATE_LIMIT - 1
    return max(0, bounds.high - largest, -largest - bounds.low)


def unproven_lines(network: QuantizedNetwork) -> list[str]:
    """Say of each layer that is not proven how far its state can leave 24 bits."""
    return [
        f"layer {layer.name} is not proven: its state can reach {bounds.low} to {bounds.high}, "
        f"{counted(beyond(bounds), 'weight unit')} beyond 24 bits, where values wrap or clip; "
        f"simulate and "
        f"verify count in how many samples it saturated"
        for layer, bounds in zip(network.layers, network.bounds, strict=True)
        if not bounds.proven
    ]


def uncounted_lines(network: QuantizedNetwork, backend: str) -> list[str]:
    """Say that a backend does not count, where there could be something to count."""
    names = [
        layer.name
        for layer, bounds in zip(network.layers, network.bounds, strict=True)
        if not bounds.proven
    ]
    if not names:
        return []
    return [
        f"{backend} does not count the values that leave 24 bits, which layers {', '.join(names)} "
        f"are not proven to stay within; the reference does"
    ]


def head_room_line(name: str, bits: int) -> str:
    """Explain a head room below zero."""
    return (
        f"layer {name} has a head room of {bits} bits: a current and its bias together went beyond "
        f"the 24 bits of a voltage, which was clipped; where that changed anything it is counted "
        f"as saturated"
    )


def head_room_bits(peak: int) -> int:
    """Return how often a state of this magnitude could be doubled within 24 bits.

    Args:
        peak: magnitude in weight units; negative bits are what it went beyond.
    """
    return STATE_LIMIT.bit_length() - 1 - peak.bit_length()


def head_room(runs: Iterable[RunResults], name: str) -> int | None:
    """Return the head room of a layer in several runs, or None where none followed its states.

    Args:
        runs: of the same network.
        name: of the layer.
    """
    peaks = [run.peak[name] for run in runs if name in run.peak]
    return head_room_bits(max(peaks)) if peaks else None
