"""Reads the forward pass of an ordinary network as layers with neurons and how they are connected.

The network runs once (``tandem_hw.conversion.forward_recorder``), and each operation is read as
soon as it has run. A ReLU makes a layer of a sum. Everything else has no exact counterpart and is
refused by name, all of it in one message.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from tandem_hw.conversion import folded_norm, layer_reader, operation_reader
from tandem_hw.conversion.forward_recorder import Call, ForwardError, record
from tandem_hw.conversion.layer_builder import LayerBuilder
from tandem_hw.conversion.layer_reader import SUPPORTED
from tandem_hw.conversion.read_values import (
    NormalisedSpikes,
    ReadNetwork,
    Refused,
    Spikes,
    Sum,
    Sums,
    Value,
    WeightOrigin,
)
from tandem_hw.counted import counted
from tandem_hw.errors import ConversionError
from tandem_hw.learning.kinds.catalogue import kind_of
from tandem_hw.network.quantized import Readout


def read_network(
    network: nn.Module,
    batch: Tensor,
    readout: Readout,
    *,
    check: bool = True,
    pools_maxima: bool = True,
) -> ReadNetwork:
    """Run an ordinary network once and read what it computes.

    Args:
        network: any module, in evaluation mode.
        batch: real inputs that it runs on, [samples, *shape].
        readout: "potential" or "count".
        check: refuse what is read as leaving the values as they are, but changes them.
        pools_maxima: whether the network's neurons can do a max pooling.

    Returns:
        Its layers, where their weights come from, and what was behind each layer.

    Raises:
        ForwardError: it does not take such samples.
        ConversionError: names all that has no exact counterpart, and what is supported.
    """
    reader = Reader(batch, check, pools_maxima)
    refusals = refusals_of(reader, network, batch, readout)
    if refusals:
        raise ConversionError(*_together(refusals))
    return reader.found


def refusals_of(reader: Reader, network: nn.Module, batch: Tensor, readout: Readout) -> list[str]:
    """Let a reader read a network; return what it refuses, as the forward pass meets it.

    Raises:
        ForwardError: the network does not take such samples, and nothing else is refused.
    """
    try:
        reader.finish(record(network, batch, reader, hooks=reader.check), readout)
    except ForwardError as error:
        reader.failed(error)
        if not reader.refusals:
            raise
        reader.refusals[str(error)] = None
    except ConversionError as error:
        reader.refusals[str(error)] = None
    order = [*reader.met, *reader.refusals]
    return sorted(reader.refusals, key=order.index)


def _together(refusals: list[str]) -> list[str]:
    """Say everything that is refused, and once what is supported."""
    if len(refusals) == 1:
        return refusals
    supported = f"; supported are {SUPPORTED}"
    lines = [f"- {refusal.replace(supported, '')}" for refusal in refusals]
    if any(supported in refusal for refusal in refusals):
        lines.append(f"supported are {SUPPORTED}")
    return [f"{len(refusals)} things in the network cannot be converted:", *lines]


class Reader(LayerBuilder):
    """Reads operations as layers with neurons, each by a module of its own."""

    def read_operation(
        self, path: str, name: str, tensor: Tensor, value: Value, call: Call
    ) -> Value:
        """Read a function or method."""
        return operation_reader.read(self, path, name, tensor, value, call)

    def read_module(
        self, path: str, module: nn.Module, tensor: Tensor, value: Value, call: Call
    ) -> Value:
        """Read a layer of PyTorch."""
        layer_reader.check_forward(path, module)
        if not isinstance(call.result, Tensor):
            raise layer_reader.refuse(path, module)
        if isinstance(module, layer_reader.SYNAPSES):
            return self._synapses(path, module, tensor, value, call)
        if isinstance(module, layer_reader.NORMS):
            return self._normalised(path, module, tensor, value)
        if isinstance(module, nn.ReLU):
            return self.fire(f"{path} (ReLU)", value, call.result)
        if isinstance(module, nn.Hardtanh):  # ReLU6 is one
            what = f"layer {path} ({type(module).__name__})"
            return self.limited(what, value, call.result, module.min_val, module.max_val)
        if isinstance(module, layer_reader.POOLS):
            options = {name: getattr(module, name, None) for name in layer_reader.POOL_OPTIONS}
            spec = layer_reader.pooling_spec(path, options, layer_reader.pooled_axes(module))
            return self.pooled(path, spec, tensor, value, call.result)
        if isinstance(module, layer_reader.MAX_POOLS):
            axes = layer_reader.pooled_axes(module)
            options = {name: getattr(module, name) for name in layer_reader.MAX_POOL_OPTIONS}
            spec = layer_reader.max_pooling_spec(path, options, axes)
            return self.max_pooled(path, spec, tensor, value, call.result)
        if isinstance(module, layer_reader.ADAPTIVE_POOLS):
            return self.adaptive(path, tensor, value, call.result)
        if isinstance(module, layer_reader.DROPOUTS):
            channels = not isinstance(module, nn.Dropout)
            self.check_unchanged(path, tensor, call)
            return self.dropped(path, type(module).__name__, module.p, channels, value)
        if isinstance(module, layer_reader.RESHAPES):
            return self.reshaped(path, tensor, value, call)
        if isinstance(module, layer_reader.ENDS):
            kind = type(module).__name__
            return self.ended(f"layer {path} ({kind})", module.dim, tensor, value)
        raise layer_reader.refuse(path, module)

    def _synapses(self, path: str, module: Any, tensor: Tensor, value: Value, call: Call) -> Value:
        name = type(module).__name__
        taken = value.spikes if isinstance(value, NormalisedSpikes) else value
        spikes = self._spikes(path, taken)
        spec = layer_reader.synapses_spec(path, module)
        self._use(path, module)
        origin = WeightOrigin(path, layer_reader.synapse_parameters(path, module))
        if isinstance(value, NormalisedSpikes):
            has_rims = layer_reader.has_rims(path, module)
            spec, origin = folded_norm.fold(path, spec, origin, value, has_rims=has_rims)
            self.found.folded.append(value.path)
        shape = tuple(call.result.shape[1:])
        if spikes is None:
            return Sum(path, ((spec, origin),), shape)
        if layer_reader.takes_features(path, module):
            if tensor.dim() != 2:
                raise ConversionError(
                    f"layer {path} ({name}) takes {counted(module.in_features, 'feature')}, but "
                    f"samples of shape {tuple(tensor.shape[1:])} come in; put a Flatten before it"
                )
            spec = self._with_pool(spec, spikes)
        else:
            self._check_image(path, name, tensor, spikes)
            spikes = self.settled(spikes)
            spec = spikes.from_sources(spec)
            expected = kind_of(spec).output_shape(spec, spikes.shape)
            if expected != shape:
                raise ConversionError(
                    f"layer {path} ({name}) gives samples of shape {shape}, where its own options "
                    f"give {expected}; give it no output_size in forward"
                )
            if len(spikes.sources) > 1 and spec.groups > 1:
                size = spikes.shape[0] // spec.groups
                if any(part[0] % size for part in spikes.shapes):
                    raise ConversionError(
                        f"layer {path} ({name}) has {counted(spec.groups, 'group')}, one of which "
                        f"takes in channels of several parts that torch.cat has joined; put a "
                        f"grouped layer behind each part and the cat behind these"
                    )
                return Sums.of_groups(path, replace(spec, joined=()), origin, spikes, shape)
        return Sum(path, ((spec, origin),), shape)

    def _use(self, path: str, module: nn.Module) -> None:
        """Refuse weights and statistics that two layers share."""
        for shared in (module, *module.parameters()):
            if id(shared) in self.used:
                raise ConversionError(
                    f"layer {path} ({type(module).__name__}) shares its weights with layer "
                    f"{self.used[id(shared)]}, or is used twice; the copies would be trained "
                    f"apart, so give each its own"
                )
            self.used[id(shared)] = path

    def _normalised(self, path: str, norm: Any, tensor: Tensor, value: Value) -> Value:
        name = type(norm).__name__
        fields = layer_reader.norm_fields(path, norm)
        if isinstance(value, Sums) and value.takes_norm(norm.num_features):
            self._use(path, norm)
            whole = WeightOrigin(path, layer_reader.norm_parameters(path, norm))
            return replace(
                value,
                parts=tuple(
                    _with_norm(part, fields, whole.of_channels(channels).parameters)
                    for part, channels in zip(value.parts, value.slices(), strict=True)
                ),
            )
        taken = self.take(value)
        if taken is None:
            return Refused()
        if isinstance(taken, Spikes):
            self._use(path, norm)
            return folded_norm.normalised(path, norm, tensor, taken)
        if not (
            len(taken.terms) == 1 and taken.terms[0][1].has_weights and not taken.terms[0][0].norm
        ):
            raise ConversionError(
                f"layer {path} ({name}) must come right after a Conv2d or Linear (or another "
                f"layer with weights), which it is folded into"
            )
        if norm.num_features != taken.shape[0]:
            raise ConversionError(
                f"layer {path} ({name}) normalises {counted(norm.num_features, 'feature')} apart, "
                f"but {taken.path} has {counted(taken.shape[0], 'channel')} with one weight each; "
                f"put it before the Flatten, as BatchNorm2d"
            )
        self._use(path, norm)
        return _with_norm(taken, fields, layer_reader.norm_parameters(path, norm))


def _with_norm(value: Sum, fields: dict[str, Any], parameters: dict[str, Tensor]) -> Sum:
    """Return a sum of one layer with batch normalisation behind it."""
    ((spec, origin),) = value.terms
    term = (replace(spec, **fields), replace(origin, parameters=origin.parameters | parameters))
    return replace(value, terms=(term,))
