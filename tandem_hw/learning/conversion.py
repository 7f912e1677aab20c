"""From an ordinary ``nn.Sequential`` to a tandem network with the same weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from tandem_hw.errors import ConversionError, DataError, NetworkError
from tandem_hw.fixed_point import DECAY_UNITY
from tandem_hw.input_encoding import default_scale
from tandem_hw.learning.layers import SpikingOptions, Twin
from tandem_hw.learning.model import Architecture, LayerSpec, TandemNetwork
from tandem_hw.network import Encoding, InputSpec, Readout, Reset

SUPPORTED = "Conv2d, Linear, BatchNorm1d and BatchNorm2d, ReLU, Dropout and Dropout2d, Flatten"
_KNOWN_FORWARDS = (
    nn.Sequential,
    nn.Conv2d,
    nn.Linear,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.Dropout,
    nn.Dropout2d,
    nn.Flatten,
    nn.Identity,
)


def convert(
    network: nn.Sequential,
    *,
    input_shape: tuple[int, ...],
    num_steps: int,
    reset: Reset = "subtract",
    weight_bits: int = 8,
    input_bits: int = 4,
    encoding: Encoding | None = None,
    readout: Readout = "potential",
    twin: Twin = "clip",
    activation_max: float = 2.0,
    current_decay: int = DECAY_UNITY,
    voltage_decay: int = 0,
) -> TandemNetwork:
    """Turn an ordinary network into a spiking one that trains on its deployed integers.

    Every ReLU becomes integrate-and-fire neurons whose spike count c stands for the activation
    c * activation_max / num_steps. Batch normalisation is kept and folded into the integers of
    every forward pass. The weights are copied; the given network is left as it is.

    Args:
        network: Conv2d, BatchNorm2d, ReLU, Linear, BatchNorm1d, Dropout and Flatten, nested
            ``nn.Sequential`` included; each Conv2d or Linear but the last is followed by a ReLU
            (after its batch normalisation), and the last one is a Linear without.
        input_shape: shape of one sample, (channels, height, width) or (features,).
        num_steps: length T of the window, at least 1.
        reset: "subtract" (the paper's neuron) or "zero".
        weight_bits: width of the signed weights, 2 to 8.
        input_bits: width of the unsigned inputs, 1 to 8.
        encoding: "first_step" sends the input once, "constant" in every step; with "events" a
            sample holds every step, [num_steps, *input_shape]. By default the first with reset
            "subtract" and the second with "zero", where a neuron forgets at its first spike what
            was left of a charge that came at once.
        readout: "potential" of the last layer at the window's end, or its spike "count".
        twin: gradient mask, "clip" (0 < a < T) or "relu" (0 < a, the paper's).
        activation_max: activation at which a neuron fires in every step. Activations after batch
            normalisation have a standard deviation of about 1, which suits the default.
        current_decay: with reset "zero", what the current of firing neurons loses a step, in
            1/4096; 4096 forgets it at once, less makes a synaptic input act for several steps.
        voltage_decay: with reset "zero", what their voltage loses a step, in 1/4096; 0 is no leak.
            With a leak the gradient is that of neurons without, while the forward pass is exact.

    Returns:
        The tandem network, in training mode.

    Raises:
        ConversionError: a layer or option has no exact counterpart; the message names it and says
            what is supported.
    """
    if encoding is None:
        encoding = "first_step" if reset == "subtract" else "constant"
    try:
        spec = InputSpec(tuple(input_shape), input_bits, default_scale(input_bits), encoding)
    except (DataError, NetworkError) as error:
        raise ConversionError(str(error)) from error
    options = SpikingOptions(
        num_steps, reset, weight_bits, twin, activation_max, current_decay, voltage_decay
    )
    chain = _Chain(network, readout)
    _check_shapes(network, spec.shape)
    model = TandemNetwork(Architecture(spec, options, tuple(chain.specs), readout))
    with torch.no_grad():
        for layer, (path, source, norm) in zip(model.tandem_layers, chain.sources, strict=True):
            if layer.weight.shape != source.weight.shape:
                raise ConversionError(
                    f"layer {path} ({type(source).__name__}) takes {source.in_features} features, "
                    f"but {layer.weight.shape[1]} come in; put a Flatten before it"
                )
            layer.weight.copy_(source.weight)
            if layer.bias is not None and source.bias is not None:
                layer.bias.copy_(source.bias)
            if layer.norm is not None and norm is not None:
                layer.norm.load_state_dict(norm.state_dict())
    return model.to(chain.sources[0][1].weight.device)


class _Chain:
    """Reads a flat list of modules as synapses, their normalisation, their ReLU and dropouts."""

    def __init__(self, network: nn.Sequential, readout: Readout) -> None:
        if not isinstance(network, nn.Sequential) or _computes_otherwise(network):
            raise ConversionError(
                f"convert() takes an nn.Sequential, found {type(network).__name__}; put the layers "
                f"into one in the order of the forward pass"
            )
        self.specs: list[LayerSpec] = []
        self.sources: list[tuple[str, Any, nn.Module | None]] = []
        self._modules = list(_flat(network, ""))
        self._open: str | None = None  # the synapses that still wait for their ReLU
        for index, (path, module) in enumerate(self._modules):
            self._read(index, path, module)
        if not self.specs or not self.sources:
            raise ConversionError(f"the network has no layers with weights; supported: {SUPPORTED}")
        self._finish(readout)

    def _read(self, index: int, path: str, module: nn.Module) -> None:
        if _computes_otherwise(module):
            raise ConversionError(
                f"layer {path} ({type(module).__name__}) has a forward pass of its own, which "
                f"cannot be converted; supported are {SUPPORTED}"
            )
        if isinstance(module, nn.Conv2d | nn.Linear):
            self._check_weights(path, module)
            if self._open is not None:
                raise ConversionError(
                    f"layer {self._open} is followed by {path} without a ReLU between; spikes "
                    f"are never negative, so put a ReLU there or merge the two layers"
                )
            norm = self._norm_after(index)
            make: Callable[..., LayerSpec] = _conv if isinstance(module, nn.Conv2d) else _linear
            self.specs.append(make(path, module, norm))
            self.sources.append((path, module, norm))
            self._open = path
        elif isinstance(module, nn.ReLU):
            if self._open is None:
                raise ConversionError(f"layer {path} (ReLU) does not follow a Conv2d or Linear")
            self._open = None
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            before = self._modules[index - 1][1] if index else None
            if not isinstance(before, nn.Conv2d | nn.Linear):
                raise ConversionError(
                    f"layer {path} ({type(module).__name__}) must come right after a Conv2d or "
                    f"Linear, whose weights it is folded into"
                )
        elif isinstance(module, nn.Dropout | nn.Dropout2d):
            self._read_dropout(path, module)
        elif not isinstance(module, nn.Flatten | nn.Identity):
            raise ConversionError(
                f"layer {path} ({type(module).__name__}) cannot be converted exactly; supported "
                f"are {SUPPORTED}{_proposal(module)}"
            )
        elif isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) != (1, -1):
            raise ConversionError(f"layer {path}: Flatten must flatten all axes but the batch's")

    def _check_weights(self, path: str, module: nn.Conv2d | nn.Linear) -> None:
        if is_lazy(module.weight):
            raise ConversionError(
                f"layer {path} ({type(module).__name__}) has no weights yet; run the network once"
            )
        for earlier, source, _ in self.sources:
            if source.weight is module.weight:
                raise ConversionError(
                    f"layer {path} ({type(module).__name__}) shares its weights with layer "
                    f"{earlier}; the copies would be trained apart, so give it its own"
                )

    def _read_dropout(self, path: str, module: nn.Dropout | nn.Dropout2d) -> None:
        if self._open is not None:
            raise ConversionError(
                f"layer {path} ({type(module).__name__}) stands before the ReLU of {self._open}; "
                f"put it after the ReLU"
            )
        if not 0 <= module.p < 1:
            raise ConversionError(f"layer {path}: dropout of {module.p} leaves no neuron")
        self.specs.append(
            LayerSpec("dropout", p=module.p, channels=isinstance(module, nn.Dropout2d))
        )

    def _norm_after(self, index: int) -> nn.BatchNorm1d | nn.BatchNorm2d | None:
        if index + 1 == len(self._modules):
            return None
        path, module = self._modules[index + 1]
        if not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            return None
        if not module.track_running_stats or module.momentum is None:
            raise ConversionError(
                f"layer {path} ({type(module).__name__}) keeps no running average with a momentum, "
                f"which evaluation and export need; set track_running_stats=True and a momentum"
            )
        return module

    def _finish(self, readout: Readout) -> None:
        """Check the end of the chain against the readout."""
        last = self._open
        if self.specs[-1].kind != "linear":
            raise ConversionError(
                "the network must end in a Linear layer, whose potential or spikes are the result"
            )
        if readout == "potential" and last is None:
            raise ConversionError(
                'the last Linear is followed by a ReLU; with readout "potential" it must not be '
                '(or use readout="count")'
            )


def _flat(network: nn.Sequential, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules of nested sequences in order, with their path."""
    # named_children() would leave out a module that is used a second time.
    for name, module in network._modules.items():
        path = f"{prefix}{name}"
        assert module is not None  # a sequence calls every one
        if isinstance(module, nn.Sequential) and not _computes_otherwise(module):
            yield from _flat(module, f"{path}.")
        else:
            yield path, module


def _computes_otherwise(module: nn.Module) -> bool:
    """Whether a module is a supported layer by its class, but with another forward pass."""
    return any(
        isinstance(module, kind) and type(module).forward is not kind.forward
        for kind in _KNOWN_FORWARDS
    )


def _conv(path: str, module: nn.Conv2d, norm: Any) -> LayerSpec:
    if module.padding_mode != "zeros":
        raise ConversionError(
            f'layer {path} (Conv2d) pads with "{module.padding_mode}"; only zeros can be left out '
            f"as silent neurons"
        )
    padding = module.padding
    if isinstance(padding, str):
        padding = _named_padding(path, module)
    return LayerSpec(
        "conv",
        module.out_channels,
        kernel=_pair(module.kernel_size),
        stride=_pair(module.stride),
        padding=_pair(padding),
        dilation=_pair(module.dilation),
        groups=module.groups,
        bias=module.bias is not None,
        **_norm_fields(norm),
    )


def _linear(path: str, module: nn.Linear, norm: Any) -> LayerSpec:
    return LayerSpec(
        "linear", module.out_features, bias=module.bias is not None, **_norm_fields(norm)
    )


def _named_padding(path: str, module: nn.Conv2d) -> tuple[int, int]:
    """Turn "valid" and "same" into numbers where that is possible."""
    if module.padding == "valid":
        return (0, 0)
    reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    if any(length % 2 for length in reach):
        raise ConversionError(
            f'layer {path} (Conv2d): padding="same" of an even kernel is not symmetric; give the '
            f"padding in numbers"
        )
    return (reach[0] // 2, reach[1] // 2)


def _norm_fields(norm: nn.BatchNorm1d | nn.BatchNorm2d | None) -> dict[str, Any]:
    if norm is None:
        return {}
    return {
        "norm": True,
        "norm_eps": norm.eps,
        "norm_momentum": norm.momentum,
        "norm_affine": norm.affine,
    }


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _proposal(module: nn.Module) -> str:
    """Propose what to use in place of a layer that people often have."""
    name = type(module).__name__
    if "MaxPool" in name or "AvgPool" in name:
        return "; use a stride of 2 in the convolution before it"
    if isinstance(module, nn.Softmax | nn.LogSoftmax | nn.Sigmoid):
        return "; leave it out, the loss takes the logits"
    if name in ("LeakyReLU", "GELU", "SiLU", "ELU", "Tanh", "ReLU6", "Hardtanh"):
        return "; use ReLU, the spike counts cap it at activation_max"
    return ""


def _check_shapes(network: nn.Sequential, shape: tuple[int, ...]) -> None:
    """Run the ordinary network once, so that a shape that does not fit is found now."""
    trial = copy.deepcopy(network).eval()
    first = next(trial.parameters())
    try:
        with torch.no_grad():
            output = trial(torch.zeros(1, *shape, device=first.device, dtype=first.dtype))
    except (RuntimeError, ValueError) as error:
        raise ConversionError(
            f"the network does not take samples of shape {shape}: {error}"
        ) from error
    if output.dim() != 2 or not math.prod(output.shape):
        raise ConversionError(
            f"the network puts out {tuple(output.shape[1:])} a sample; a vector is needed"
        )
