"""What comparing recordings has found, part by part of the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tandem_hw.network.digests.parameter_digest import digest_of_layer
from tandem_hw.network.quantized import Layer, QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.verification.comparability import check_comparable
from tandem_hw.verification.comparison import FINAL_STATE, Difference, Kind, quantities


@dataclass
class ComparisonTally:
    """What differs between recordings, which may come in parts: the same samples of all of them.

    Attributes:
        network: what ran.
        samples: how many were compared.
        mismatched: by layer and kind of quantity, the values that differ from the first
            recording's; of what could not be compared there is nothing.
        mismatched_predictions: predictions that differ from the first recording's.
        difference: the first one, or None: in the first layer that differs the first quantity, of
            that the first backend, and there the first sample.
        active: layers that fired somewhere, and a readout by potential that something reached.
        other_parameters: backends and layers that they computed with other integers than the
            network's.
        checked_parameters: backends whose integers were looked at.
        checked_states: backends whose states at the window's end were compared.
    """

    network: QuantizedNetwork
    samples: int = 0
    mismatched: dict[tuple[str, Kind], int] = field(default_factory=dict)
    mismatched_predictions: int = 0
    difference: Difference | None = None
    active: set[str] = field(default_factory=set)
    other_parameters: set[tuple[str, str]] = field(default_factory=set)
    checked_parameters: set[str] = field(default_factory=set)
    checked_states: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Have the digests of the network at hand."""
        self._digests = {layer.name: digest_of_layer(layer) for layer in self.network}
        #: Of ``difference``: the number of its quantity, and that of its backend.
        self._place: tuple[int, int] | None = None

    def add(self, recordings: Sequence[Recording]) -> None:
        """Compare the next samples.

        Args:
            recordings: two or more, of the same backends in the same order each time.

        Raises:
            ComparisonRefusedError: as ``comparability.check_comparable`` does.
        """
        check_comparable(self.network, recordings, self.samples)
        self._compare_values(recordings)
        self._compare_parameters(recordings)
        self.active.update(
            layer.name
            for layer in self.network
            if layer.name not in self.active and not _is_silent(layer, recordings)
        )
        first = recordings[0]
        self.mismatched_predictions += sum(
            int(np.sum(other.prediction != first.prediction)) for other in recordings[1:]
        )
        self.samples += len(first)

    def _compare_values(self, recordings: Sequence[Recording]) -> None:
        backends = [recording.backend for recording in recordings]
        for number, quantity in enumerate(quantities(self.network, recordings)):
            mismatched = quantity.mismatched
            if mismatched is None:
                continue
            key = quantity.layer, quantity.kind
            self.mismatched[key] = self.mismatched.get(key, 0) + mismatched
            if quantity.kind == FINAL_STATE:
                self.checked_states.update(backend for backend, _ in quantity.values)
            found = quantity.difference() if mismatched else None
            if found is None:
                continue
            place = number, backends.index(found.backend)
            if self._place is None or place < self._place:  # equal ones come in order
                self._place = place
                self.difference = replace(found, sample=self.samples + found.sample)

    def _compare_parameters(self, recordings: Sequence[Recording]) -> None:
        for recording in recordings:
            if not recording.parameter_digest:
                continue
            self.checked_parameters.add(recording.backend)
            self.other_parameters.update(
                (recording.backend, name)
                for name, digest in self._digests.items()
                if recording.parameter_digest.get(name) != digest
            )


def _is_silent(layer: Layer, recordings: Sequence[Recording]) -> bool:
    """Return whether a layer never fired, or a readout holds nothing but its bias, everywhere."""
    if layer.fires:
        return not any(recording.counts[layer.name].any() for recording in recordings)
    bias = np.broadcast_to(layer.bias_image(), layer.output_shape).reshape(-1)
    return all(
        np.array_equal(recording.output, np.broadcast_to(bias, recording.output.shape))
        for recording in recordings
    )
