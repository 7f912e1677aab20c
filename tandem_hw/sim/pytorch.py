"""The pytorch backend: a model's own forward pass in evaluation, to be compared with the others."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import torch

from tandem_hw.errors import ComparisonRefusedError
from tandem_hw.export.freezing import integer_network
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network import QuantizedNetwork
from tandem_hw.recording import Recording
from tandem_hw.sim.backend import Progress, check_inputs, make_recording
from tandem_hw.sim.batch_results import BatchResults

_BATCH = 256


class PyTorchBackend:
    """Runs the trained model itself in place of the network that was exported from it.

    Attributes:
        model: the model that the network was exported from.
    """

    name = "pytorch"

    def __init__(self, model: TandemNetwork) -> None:
        self.model = model

    def why_unavailable(self) -> str | None:
        """Return None: PyTorch is always there."""
        return None

    def check_network(self, network: QuantizedNetwork) -> None:
        """Refuse a network that was not exported from this model.

        Raises:
            ComparisonRefusedError: it is another one.
        """
        if integer_network(self.model).digest != network.digest:
            raise ComparisonRefusedError(
                "the checkpoint holds another network than the .net file; export it again"
            )

    def run(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64] | None = None,
        progress: Progress | None = None,
    ) -> Recording:
        """Run ``model.eval()``; see ``Backend.run``.

        Raises:
            ComparisonRefusedError: the network was not exported from this model.
        """
        check_inputs(network, inputs)
        self.check_network(network)
        started = time.perf_counter()
        self.model.eval()
        device = next(self.model.parameters()).device
        results = BatchResults()
        for start in range(0, len(inputs), _BATCH):
            batch = torch.from_numpy(inputs[start : start + _BATCH]).to(device)
            recorded = self.model.record(batch)
            results.add(recorded.counts, recorded.potential)
            if progress is not None:
                progress(min(start + _BATCH, len(inputs)), len(inputs))
        return make_recording(
            self.name,
            network,
            inputs,
            labels,
            results.counts,
            results.potential,
            time.perf_counter() - started,
        )
