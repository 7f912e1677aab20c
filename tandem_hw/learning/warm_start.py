"""Start a training from a network that was trained before: an ordinary one, or a tandem network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tandem_hw.errors import ConversionError, FileFormatError
from tandem_hw.learning.checkpoint import FORMAT, load_checkpoint
from tandem_hw.learning.layers import TandemLayer
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.saved_parameters import find_parameters, without_wrapper
from tandem_hw.learning.signals import TandemSignal
from tandem_hw.learning.torch_file import read_torch_file
from tandem_hw.learning.weights_in_effect import plain_state
from tandem_hw.pointer_file import refuse_pointer

#: An activation_max with which no activation reaches the ceiling.
_NO_CEILING = 1e9
#: Values of a layer that its percentile is taken of; more are thinned out evenly.
_VALUES_MAX = 1 << 22


def load_parameters(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load the parameters of an ordinary network, saved as ``torch.save(network.state_dict())``.

    They may lie in a dictionary within what was saved, such as ``{"state_dict": ...}``, and have
    the names that ``DataParallel`` or ``torch.compile`` gives. The file is read with
    ``torch.load(weights_only=True)``, which runs no code from it.

    Args:
        network: the network that they are loaded into.
        path: the file.

    Raises:
        FileFormatError: the file is missing, damaged, a tandem-hw checkpoint, or of another
            network, or a value in it is not finite.
    """
    content = _read(Path(path))
    if content.get("format") == FORMAT:
        raise FileFormatError(f"{path}: holds a tandem network; load_tandem_parameters takes it up")
    try:
        parameters = find_parameters(content)
    except ValueError as error:
        raise FileFormatError(
            f"{path}: {error}; save them with torch.save(network.state_dict())"
        ) from error
    try:
        network.load_state_dict(without_wrapper(parameters, network.state_dict()))
    except (RuntimeError, TypeError, AttributeError, ValueError) as error:
        raise FileFormatError(
            f"{path}: holds parameters of another network: "
            f"{' '.join(str(error).split())[:300]}; give the same --model as it was trained with"
        ) from error
    for name, value in network.state_dict().items():
        if not value.isfinite().all():
            raise FileFormatError(
                f"{path}: {name} holds values that are infinite or not a number; save an earlier "
                f"state of the training"
            )


def load_tandem_parameters(model: TandemNetwork, path: str | os.PathLike[str]) -> None:
    """Load the parameters of a tandem network with the same layers, thresholds included.

    The number of steps, the reset, the weight bits and the other options may differ. Weights that
    were pruned are taken up as zeros, without their masks.

    Args:
        model: the network that they are loaded into.
        path: a checkpoint.

    Raises:
        FileFormatError: the file is missing or damaged, or its network has other layers.
    """
    other = load_checkpoint(path).model
    if other.architecture.layers != model.architecture.layers:
        raise FileFormatError(
            f"{path}: its network has other layers; give the same --model as it was trained with"
        )
    model.load_state_dict(plain_state(other))


def is_tandem_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a checkpoint of a tandem network, not parameters of an ordinary one.

    Raises:
        FileFormatError: the file is missing or damaged.
    """
    return _read(Path(path)).get("format") == FORMAT


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileFormatError(
            f"{path}: is no file; give what torch.save(network.state_dict()) wrote"
        )
    refuse_pointer(path, FileFormatError)
    try:
        content = read_torch_file(path)
    except Exception as error:  # a damaged pickle may make the unpickler raise whatever there is
        raise FileFormatError(
            f"{path}: cannot be read as parameters; save them with torch.save(network.state_dict())"
        ) from error
    if not isinstance(content, dict):
        raise FileFormatError(
            f"{path}: holds {type(content).__name__}, no parameters; save them with "
            f"torch.save(network.state_dict())"
        )
    return content


@torch.no_grad()
def calibrate_thresholds(
    model: TandemNetwork, inputs: Tensor, percentile: float = 99.9
) -> dict[str, float]:
    """Set every layer's ``activation_max`` to what its ordinary activations seldom exceed.

    An ordinary network knows no ceiling; a spiking neuron cannot fire more often than once a step.
    A ceiling too high makes every spike worth too much, one too low cuts activations off.

    Args:
        model: a tandem network with trained weights; changed in place.
        inputs: uint8 [samples, *sample_shape] of training data.
        percentile: share of the positive activations below the ceiling in per cent, above 0 to 100.

    Returns:
        By layer, its new ``activation_max``.

    Raises:
        ConversionError: there are no samples, the percentile is out of range, or the model's
            parameters have too few digits.
    """
    model.check_precision()
    if not len(inputs) or not 0 < percentile <= 100:
        raise ConversionError(
            f"calibration with {len(inputs)} samples and a percentile of {percentile}; give at "
            f"least one sample and a percentile above 0, up to 100"
        )
    firing = [layer for layer in model.tandem_layers if layer.fires]
    before = {layer.name: layer.activation_max.clone() for layer in firing}
    found: dict[str, float] = {}

    def look(layer: nn.Module, _: Any, signal: Any) -> None:
        assert isinstance(layer, TandemLayer)
        assert isinstance(signal, TandemSignal)
        found[layer.name] = _percentile(signal.counts * signal.scale, percentile)

    hooks = [layer.register_forward_hook(look) for layer in firing]
    for layer in firing:
        layer.activation_max.fill_(_NO_CEILING)
    was_training = model.training
    try:
        model.eval()(inputs, spiking=0)
    finally:
        for hook in hooks:
            hook.remove()
        model.train(was_training)
        for layer in firing:
            # A layer that is silent on these samples keeps what it had.
            ceiling = found.get(layer.name, 0.0)
            if ceiling > 0:
                layer.activation_max.fill_(ceiling)
            else:
                layer.activation_max.copy_(before[layer.name])
    return {layer.name: float(layer.activation_max) for layer in firing}


def _percentile(activations: Tensor, percentile: float) -> float:
    positive = activations[activations > 0]
    if not len(positive):
        return 0.0
    thinned = positive[:: -(-len(positive) // _VALUES_MAX)]
    rank = max(1, round(len(thinned) * percentile / 100))
    return float(thinned.kthvalue(rank).values)
