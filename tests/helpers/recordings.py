"""Recordings of a small network, for tests of their comparison."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.conformance.layers import conv2d_layer, dense_layer, network_of
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork, Readout
from tandem_hw.network.recording import Recording
from tandem_hw.sim.reference import ReferenceBackend

LABELS = np.array([0, 1, 2, 0, 1])


def small_network(
    num_steps: int = 4, readout: Readout = "potential", thresholds: tuple[int, int] = (6, 10)
) -> QuantizedNetwork:
    random = np.random.default_rng(3)
    conv = conv2d_layer(
        name="conv",
        weight=2 * random.integers(-3, 8, (2, 1, 3, 3)),
        weight_bits=8,
        bias=np.array([1, -2]),
        threshold=thresholds[0],
        input_shape=(1, 4, 4),
        padding=(1, 1),
    )
    hidden = dense_layer(
        name="hidden",
        weight=2 * random.integers(-3, 6, (5, 32)),
        weight_bits=8,
        bias=np.array([0, 1, 2, 3, 4]),
        threshold=thresholds[1],
        input_shape=(2, 4, 4),
    )
    last = dense_layer(
        name="out",
        weight=2 * random.integers(-4, 8, (3, 5)),
        weight_bits=8,
        bias=np.array([0, 7, -7]),
        threshold=None if readout == "potential" else 4,
        input_shape=(5,),
    )
    spec = InputSpec((1, 4, 4), 4, 1 / 15)
    return network_of(spec, (conv, hidden, last), num_steps, "subtract", readout)


def samples(seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 16, (5, 1, 4, 4), dtype=np.uint8)


def reference(network: QuantizedNetwork, seed: int = 0, *, keep: bool = False) -> Recording:
    return ReferenceBackend().run(network, samples(seed), LABELS, keep_final_state=keep)


def copy_of(recording: Recording, backend: str = "other", **changes: Any) -> Recording:
    """Return what another backend could have recorded: the same arrays, none of them shared."""
    arrays: dict[str, Any] = {
        "counts": {name: counts.copy() for name, counts in recording.counts.items()},
        "output": recording.output.copy(),
        "prediction": recording.prediction.copy(),
        "peak": {},
        "seconds": 2.0,
    }
    return replace(recording, backend=backend, **(arrays | changes))


NETWORK = small_network()
FIRST = reference(NETWORK)
