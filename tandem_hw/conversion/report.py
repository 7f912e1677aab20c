"""Where a conversion's accuracy goes, stage by stage and layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tandem_hw.data.dataset import ImageDataset
from tandem_hw.learning.calibration import without_ceilings
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.training.loop import evaluate
from tandem_hw.training.objectives import Objective

#: Images that an ordinary network is judged on at a time.
_BATCH = 256


@dataclass(frozen=True)
class Stage:
    """A network on its way from the ordinary to the integer one.

    Attributes:
        name: what has been done to it so far.
        spiking_layers: how many of its first layers spike.
        metrics: the objective's numbers.
        layer: name of the last of its layers that spike; "" where none does.
    """

    name: str
    spiking_layers: int
    metrics: Mapping[str, float]
    layer: str = ""


def stages_of(
    model: TandemNetwork, inputs: Tensor, targets: Tensor, objective: Objective
) -> list[Stage]:
    """Judge the ordinary network on integers, its ceilings, and then one more spiking layer a time.

    Args:
        model: a calibrated network.
        inputs: uint8 [samples, *sample_shape], on the model's device.
        targets: [samples, ...], as the objective has them.
        objective: what is measured.

    Returns:
        Every stage before the last one, in which all layers spike: that is the integer network.
    """

    def judged(spiking: int) -> Mapping[str, float]:
        return evaluate(model, inputs, targets, objective, spiking) or {}

    with without_ceilings(model):
        stages = [Stage(f"inputs of {model.architecture.input.bits} bits", 0, judged(0))]
    stages.append(Stage("activations up to activation_max", 0, judged(0)))
    for number, layer in enumerate(model.tandem_layers[:-1], start=1):
        stages.append(Stage(f"{layer.name} on integers", number, judged(number), layer.name))
    return stages


@torch.no_grad()
def judge_ordinary(
    network: nn.Module, dataset: ImageDataset, targets: Tensor, objective: Objective
) -> Stage:
    """Judge the ordinary network on the images themselves.

    Args:
        network: takes float32 [samples, *dataset.shape].
        dataset: its test images are used, as many as there are targets.
        targets: [samples, ...], as the objective has them, on the CPU.
        objective: what is measured.
    """
    network.eval()
    images = dataset.x_test[: len(targets)]
    largest = 255 if images.dtype == np.uint8 else 1
    real = torch.from_numpy(np.ascontiguousarray(images)).float() / largest
    outputs = torch.cat([network(batch).flatten(1) for batch in torch.split(real, _BATCH)])
    return Stage("ordinary network", 0, objective.measure(outputs, targets))
