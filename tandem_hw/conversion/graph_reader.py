"""Reads the forward pass of an ordinary network as layers with neurons and how they are connected.

The network runs once (``tandem_hw.conversion.forward_recorder``), and each operation is read as
soon as it has run. A ReLU makes a layer of a sum. Everything else has no exact counterpart and is
refused by name, all of it in one message.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tandem_hw.conversion import layer_reader, operation_reader
from tandem_hw.conversion.forward_recorder import Call, ForwardError, record
from tandem_hw.conversion.layer_reader import SUPPORTED
from tandem_hw.conversion.read_values import (
    Ended,
    ReadNetwork,
    Refused,
    Source,
    Spikes,
    Sum,
    Value,
)
from tandem_hw.conversion.tensor_meanings import TensorMeanings
from tandem_hw.errors import ConversionError
from tandem_hw.learning.architecture import FROM_INPUT, LayerSpec
from tandem_hw.network.quantized import Readout


def read_network(
    network: nn.Module, batch: Tensor, readout: Readout, *, check: bool = True
) -> ReadNetwork:
    """Run an ordinary network once and read what it computes.

    Args:
        network: any module, in evaluation mode.
        batch: real inputs that it runs on, [samples, *shape].
        readout: "potential" or "count".
        check: refuse what is read as leaving the values as they are, but changes them.

    Returns:
        Its layers, where their weights come from, and what was behind each layer.

    Raises:
        ForwardError: it does not take such samples.
        ConversionError: names all that has no exact counterpart, and what is supported.
    """
    reader = Reader(batch, check)
    try:
        reader.finish(record(network, batch, reader, hooks=check), readout)
    except ForwardError as error:
        reader.failed(error)
        if not reader.refusals:
            raise
        reader.refusals[str(error)] = None
    except ConversionError as error:
        reader.refusals[str(error)] = None
    if reader.refusals:
        order = [*reader.met, *reader.refusals]  # as the forward pass meets them
        raise ConversionError(_together(sorted(reader.refusals, key=order.index)))
    return reader.found


def _together(refusals: list[str]) -> str:
    """Say everything that is refused, and once what is supported."""
    if len(refusals) == 1:
        return refusals[0]
    supported = f"; supported are {SUPPORTED}"
    lines = [f"- {refusal.replace(supported, '')}" for refusal in refusals]
    if any(supported in refusal for refusal in refusals):
        lines.append(f"supported are {SUPPORTED}")
    return "\n".join([f"{len(refusals)} things in the network cannot be converted:", *lines])


class Reader(TensorMeanings):
    """Reads operations as layers with neurons."""

    def __init__(self, batch: Tensor, check: bool) -> None:
        super().__init__(batch)
        self.check = check
        self.used: dict[int, str] = {}

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
        if isinstance(module, layer_reader.POOLS):
            axes = 1 if isinstance(module, nn.AvgPool1d) else 2
            options = {name: getattr(module, name, None) for name in layer_reader.POOL_OPTIONS}
            spec = layer_reader.pooling_spec(path, options, axes)
            return self.pooled(path, spec, tensor, value, call.result)
        if isinstance(module, layer_reader.ADAPTIVE_POOLS):
            return self.adaptive(path, module.output_size, tensor, value, call.result)
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

    def _synapses(self, path: str, module: Any, tensor: Tensor, value: Value, call: Call) -> Sum:
        name = type(module).__name__
        spikes = self._spikes(path, value)
        spec = layer_reader.synapses_spec(path, module)
        self._use(path, module)
        source = Source(path, layer_reader.synapse_parameters(path, module))
        shape = tuple(call.result.shape[1:])
        if spikes is None:
            return Sum(path, ((spec, source),), shape)
        if isinstance(module, nn.Linear):
            if tensor.dim() != 2:
                raise ConversionError(
                    f"layer {path} ({name}) takes {module.in_features} features, but samples of "
                    f"shape {tuple(tensor.shape[1:])} come in; put a Flatten before it"
                )
            spikes, window = self._folded_pool(spikes)
            spec = replace(spec, source=spikes.index, pool=window)
        else:
            self._check_image(path, name, tensor, spikes)
            spec = replace(spec, source=self.settled(spikes).index)
            if spec.output_shape(spikes.shape) != shape:
                raise ConversionError(
                    f"layer {path} ({name}) gives samples of shape {shape}, where its own options "
                    f"give {spec.output_shape(spikes.shape)}; give it no output_size in forward"
                )
        return Sum(path, ((spec, source),), shape)

    def _check_image(self, path: str, name: str, tensor: Tensor, value: Spikes | Sum) -> None:
        """Refuse a layer that takes neurons in another arrangement than they have."""
        shape = tuple(tensor.shape[1:])
        if shape == value.shape:
            return
        if isinstance(value, Spikes) and value.index == FROM_INPUT:
            raise ConversionError(
                f"layer {path} ({name}) takes the input as {shape}; give such samples, "
                f"input_shape={shape}, and leave out what reshapes them"
            )
        raise ConversionError(
            f"layer {path} ({name}) comes after a Flatten; put it before, since neurons of shape "
            f"{value.shape} cannot be rearranged to {shape}"
        )

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
        taken = self.take(value)
        if taken is None:
            return Refused()
        if not (
            isinstance(taken, Sum)
            and len(taken.terms) == 1
            and "weight" in taken.terms[0][1].parameters
            and not taken.terms[0][0].norm
        ):
            raise ConversionError(
                f"layer {path} ({name}) must come right after a Conv2d or Linear (or another "
                f"layer with weights), which it is folded into"
            )
        if norm.num_features != taken.shape[0]:
            raise ConversionError(
                f"layer {path} ({name}) normalises {norm.num_features} features apart, but "
                f"{taken.path} has {taken.shape[0]} channels with one weight each; put it before "
                f"the Flatten, as BatchNorm2d"
            )
        self._use(path, norm)
        spec, source = taken.terms[0]
        parameters = source.parameters | layer_reader.norm_parameters(path, norm)
        term = (replace(spec, **fields), replace(source, parameters=parameters))
        return Sum(taken.path, (term,), taken.shape)

    def fire(self, path: str, value: Value, result: Tensor) -> Value:
        """Put neurons behind a sum, at its ReLU."""
        taken = self.take(value)
        if taken is None:
            return Refused()
        if not isinstance(taken, Sum):
            raise ConversionError(f"layer {path} does not follow a Conv2d or Linear")
        return self._add_layer(taken, result)

    def pooled(
        self, path: str, spec: LayerSpec, tensor: Tensor, value: Value, result: Tensor
    ) -> Value:
        """Read an average pooling, which gets neurons only where it needs them."""
        spikes = self._spikes(path, value, "pooling")
        if spikes is None:
            return Refused()
        self._check_image(path, "pooling", tensor, spikes)
        if all(size == 1 for size in (*spec.kernel, *spec.stride)) and not any(spec.padding):
            return spikes
        spikes = self.settled(spikes)
        shape = spec.output_shape(spikes.shape)
        pool_result = result.clone().reshape(-1, *shape)
        return Spikes(spikes.index, shape, spec, path, pool_result)

    def adaptive(
        self, path: str, output_size: Any, tensor: Tensor, value: Value, result: Tensor
    ) -> Value:
        """Read an adaptive average pooling."""
        spec = layer_reader.adaptive_pooling_spec(path, tuple(tensor.shape[2:]), output_size)
        return self.pooled(path, spec, tensor, value, result)

    def dropped(self, path: str, name: str, p: float, channels: bool, value: Value) -> Value:
        """Read a dropout."""
        spec = layer_reader.dropout_spec(path, p, channels)
        spikes = self._spikes(f"{path} ({name})", value, "dropout")
        if spikes is None:
            return Refused()
        spikes = self.settled(spikes)
        before = self.found.batch if spikes.index < 0 else self.found.results[spikes.index]
        return replace(spikes, index=self._append(replace(spec, source=spikes.index), path, before))

    def reshaped(self, path: str, tensor: Tensor, value: Value, call: Call) -> Value:
        """Read what leaves all values as they are; a tensor's own shape is looked at later."""
        result = call.result
        if result.numel() != tensor.numel() or result.shape[:1] != tensor.shape[:1]:
            raise ConversionError(
                f"operation {path} must flatten or keep the axes of a sample; it turns "
                f"{tuple(tensor.shape)} into {tuple(result.shape)}, samples included"
            )
        self.check_unchanged(path, tensor, call)
        return value

    def check_unchanged(self, path: str, tensor: Tensor, call: Call) -> None:
        """Refuse what is read as leaving values as they are and changes them."""
        if not self.check:
            return
        before, after = tensor.to(call.result.dtype).reshape(-1), call.result.reshape(-1)
        changed = any(tensor is one for one in call.overwritten)
        if changed or before.shape != after.shape or not torch.equal(before, after):
            raise ConversionError(
                f"layer {path} changes the values that pass it in evaluation, by a hook or because "
                f"it stays in training mode; remove its hooks, or pass check=False to convert "
                f"without them"
            )

    def ended(self, what: str, axis: int | None, tensor: Tensor, value: Value) -> Value:
        """Read a softmax, which may only be the network's end."""
        taken = self.take(value)
        if taken is None:
            return Refused()
        if not isinstance(taken, Sum) or axis not in (None, 1, 1 - tensor.dim()):
            raise layer_reader.refuse_kind(what, "softmax")
        return Ended(what, taken, tensor.clone())

    # Values --------------------------------------------------------------------------------------

    def _spikes(self, path: str, value: Value, kind: str = "") -> Spikes | None:
        """Use spikes, or refuse what takes in sums whose ReLU is still to come."""
        taken = self.take(value)
        if not isinstance(taken, Sum):
            return taken
        if kind:
            raise ConversionError(
                f"layer {path} stands before the ReLU of {taken.path}; put it after the ReLU"
            )
        raise ConversionError(
            f"layer {taken.path} is followed by {path} without a ReLU between; spikes are never "
            f"negative, so put a ReLU there or merge the two layers"
        )

    def settled(self, spikes: Spikes) -> Spikes:
        """Give a pooling that still waits neurons of its own."""
        if spikes.pool is None:
            return spikes
        assert spikes.pool_result is not None  # they are set together
        spec = replace(spikes.pool, source=spikes.index)
        index = self._append(spec, spikes.pool_path, spikes.pool_result)
        weight = layer_reader.pooling_weight(spec, spikes.pool_result)
        self.found.sources.append((Source(spikes.pool_path, {"weight": weight}),))
        return Spikes(index, spikes.shape)

    def _folded_pool(self, spikes: Spikes) -> tuple[Spikes, tuple[int, ...]]:
        """Fold a pooling into the fully connected layer behind it, where its windows are apart."""
        pool = spikes.pool
        if pool is None:
            return spikes, (1, 1)
        if pool.stride != pool.kernel or any(pool.padding):
            return self.settled(spikes), (1, 1)
        return replace(spikes, pool=None), pool.kernel

    def _add_layer(self, value: Sum, result: Tensor) -> Spikes:
        """Put neurons behind a sum; synapses with weights of their own are the main ones."""
        terms = sorted(value.terms, key=lambda term: term[0].kind == "sum")
        (main, _), *skips = terms
        self.found.sources.append(tuple(source for _, source in terms))
        spec = replace(main, skips=tuple(skip for skip, _ in skips))
        result = result.clone().reshape(-1, *value.shape)
        return Spikes(self._append(spec, value.path, result), value.shape)

    def _append(self, spec: LayerSpec, path: str, result: Tensor) -> int:
        """Add a layer; a source that is the layer before it goes without saying."""
        index = len(self.found.layers)
        if spec.source == index - 1:
            spec = replace(spec, source=None)
        self.found.layers.append(spec)
        self.found.paths.append(path)
        self.found.results.append(result)
        return index

    def finish(self, output: Any, readout: Readout) -> None:
        """Check the end of the network against the readout."""
        if not isinstance(output, Tensor):
            raise ConversionError(
                f"the forward pass returns {type(output).__name__}; it must return one tensor, so "
                f"wrap it in a module that returns the logits alone"
            )
        value = self.meaning(output)
        if value is None:
            raise ConversionError(
                "the result does not come from the input through operations that can be followed; "
                "functions of TorchScript and other libraries are not seen, so use those of PyTorch"
            )
        if isinstance(value, Ended):
            self.found.dropped, output = value.what, value.logits
            value = value.value
        taken = self.take(value)
        if self.refusals:
            return
        self.unused.pop(id(taken), None)
        for unused in self.unused.values():
            self.refusals[f"the result of {self.name_of(unused)} is not used; leave it out"] = None
        if not self.used:
            raise ConversionError(f"the network has no layers with weights; supported: {SUPPORTED}")
        if isinstance(taken, Sum):
            self._add_layer(taken, output)
            return
        last = len(self.found.layers) - 1
        if (
            taken is None
            or taken.index != last
            or taken.pool is not None
            or self.found.layers[last].kind == "dropout"
        ):
            raise ConversionError(
                "the network must end in a layer with weights, whose potential or spikes are the "
                "result"
            )
        if readout == "potential":
            raise ConversionError(
                "the last layer is followed by a ReLU; with readout "
                '"potential" it must not be (or use readout="count")'
            )
