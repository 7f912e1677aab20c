"""The pytorch backend: a model's own forward pass in evaluation, to be compared with the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tandem_hw.arithmetic.neurons import LayerActivity
from tandem_hw.errors import ComparisonRefusedError
from tandem_hw.export.freezing import integer_network
from tandem_hw.learning.kinds.kind import ObservedNeurons
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.quantizer import IntegerParameters
from tandem_hw.network.digests.parameter_digest import parameter_digest
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.backend import Backend, Progress, SimulationResult
from tandem_hw.sim.batch_results import BatchResults
from tandem_hw.sim.passed_on import PassedOn

_BATCH = 256


class PyTorchBackend(Backend):
    """Runs the trained model itself in place of the network that was exported from it.

    Attributes:
        model: the model that the network was exported from.
    """

    name = "pytorch"
    starts_at_once = True

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

    def simulate(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
    ) -> SimulationResult:
        """Run the model in evaluation, and leave it in the mode that it was in.

        See ``Backend.simulate``.

        Raises:
            ComparisonRefusedError: the model passes on something else than what its neurons gave.
        """
        results = BatchResults(len(inputs), keep_final_state)
        digests: dict[str, str] = {}
        passed_on = PassedOn(self.model)

        def observe(
            layer: ObservedNeurons, activity: LayerActivity, integers: IntegerParameters
        ) -> None:
            results.add(layer.name, activity, start)
            passed_on.observe(layer, activity, integers)
            if layer.name not in digests:  # in the first batch
                digests[layer.name] = _digest(layer, activity, integers)

        device = next(self.model.parameters()).device
        with evaluating(self.model), torch.no_grad(), passed_on.watched():
            for start in range(0, len(inputs), _BATCH):
                batch = torch.from_numpy(inputs[start : start + _BATCH]).to(device)
                passed_on.check_logits(self.model(batch, observe))
                progress(min(start + _BATCH, len(inputs)), len(inputs))
        return results.together(digests)


def _digest(layer: ObservedNeurons, activity: LayerActivity, integers: IntegerParameters) -> str:
    """Return the digest of the integers that a layer's forward pass used."""
    result = activity.potential if activity.counts is None else activity.counts
    assert result is not None  # it is one of the two
    return parameter_digest(
        [weight.cpu().numpy() for weight in integers.weights],
        layer.bias_image(integers.bias).cpu().numpy(),
        integers.threshold,
        tuple(result.shape[1:]),
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation and, whatever happens, every part of it back as it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
