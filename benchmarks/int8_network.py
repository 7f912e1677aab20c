"""The ordinary network in 8-bit integers, as PyTorch quantizes it after the training."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn

from benchmarks.images import labels_of
from tandem_hw.data.dataset import Dataset
from tandem_hw.learning.model import TandemNetwork

#: Training samples that the ranges of the activations are taken from, and samples at a time.
_CALIBRATION: Final = 2000
_BATCH: Final = 500


def int8_accuracy(model: TandemNetwork, network: nn.Module, dataset: Dataset) -> float:
    """Return the accuracy of a network whose weights and activations have 8 bits.

    Weights have a scale for each output channel, activations one for a layer, from a histogram of
    training samples: PyTorch's own settings for x86 processors (``torch.ao.quantization``).

    Args:
        model: what was trained, of whose layers none spikes.
        network: the ordinary network that it was converted from, a chain; gets its parameters.
        dataset: what it was trained on, with labels.
    """
    _take_over(model, network)
    spec = model.architecture.input
    scale = torch.tensor(spec.scale)

    def real(samples: Any) -> Iterator[Tensor]:
        for start in range(0, len(samples), _BATCH):
            integers = torch.from_numpy(dataset.integers(samples[start : start + _BATCH], spec))
            yield integers * scale

    quantized = _quantized(network.eval(), list(real(dataset.x_train[:_CALIBRATION])))
    with torch.no_grad():
        found = torch.cat([quantized(images).argmax(1) for images in real(dataset.x_test)])
    return float((found.numpy() == labels_of(dataset)).mean())


def _take_over(model: TandemNetwork, network: nn.Module) -> None:
    """Give the ordinary network the parameters of the trained one, layer for layer."""
    theirs = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    ours = model.tandem_layers
    for layer, module in zip(ours, theirs, strict=True):
        state = {"weight": layer.weight, "bias": layer.bias}
        module.load_state_dict({name: one for name, one in state.items() if one is not None})
    trained = [layer.norm for layer in ours if layer.norm is not None]
    for norm, other in zip(trained, norms, strict=True):
        other.load_state_dict(norm.state_dict())


def _quantized(network: nn.Module, images: list[Tensor]) -> nn.Module:
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library about itself
        observed = prepare_fx(network, get_default_qconfig_mapping("x86"), (images[0],))
        with torch.no_grad():
            for batch in images:
                observed(batch)
        converted: nn.Module = convert_fx(observed)
    return converted
