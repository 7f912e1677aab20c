"""Backends for traces and reports, made of the reference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.backend import Backend, Progress, SimulationResult
from tandem_hw.sim.reference import ReferenceBackend


class Shortened(Backend):
    """The reference as a backend that knows of no steps, and may be wrong from a step on.

    Its third neuron of a layer is wrong then: the state by one weight unit, and where it is asked
    for the spike count by one.
    """

    name = "shortened"
    starts_at_once = True

    def __init__(self, wrong_from: int | None = None, layer: str = "", count: int = 0) -> None:
        self.wrong_from, self.layer, self.count = wrong_from, layer, count

    def why_unavailable(self) -> str | None:
        return None

    def check_network(self, network: QuantizedNetwork) -> None:
        pass

    def simulate(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
    ) -> SimulationResult:
        found = ReferenceBackend().simulate(
            network, inputs, progress, keep_final_state=keep_final_state
        )
        if self.wrong_from is not None and network.num_steps >= self.wrong_from:
            if keep_final_state:
                found.final_state[self.layer][0].flat[2] += 64
            found.counts[self.layer][0].flat[2] += self.count
        return found
