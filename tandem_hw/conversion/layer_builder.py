"""Builds the layers of a network that is read: what each operation means for spikes and sums.

A ReLU puts neurons behind a sum, a pooling waits until it is known whether it needs some.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from tandem_hw.conversion import layer_reader
from tandem_hw.conversion.forward_recorder import Call
from tandem_hw.conversion.layer_reader import SUPPORTED
from tandem_hw.conversion.read_values import (
    Ended,
    Maxima,
    NormalisedSpikes,
    Refused,
    Spikes,
    Sum,
    Sums,
    Value,
    WeightOrigin,
)
from tandem_hw.conversion.tensor_meanings import TensorMeanings
from tandem_hw.errors import ConversionError
from tandem_hw.learning.architecture import FROM_INPUT, LayerSpec, joined_shape
from tandem_hw.learning.kinds.catalogue import kind_of
from tandem_hw.learning.kinds.max_pooling import NOT_PHASED
from tandem_hw.learning.layers import TandemLayer
from tandem_hw.network.quantized import Readout
from tandem_hw.network.synapses.geometry import Shape

#: Layers without an activation of their own, which could have a ceiling.
_PASSING: Final = ("avgpool", "maxpool", "dropout")


class LayerBuilder(TensorMeanings):
    """Makes layers with neurons of what operations do.

    Attributes:
        check: refuse what is read as leaving values as they are, and changes them.
        pools_maxima: whether the network's neurons can do a max pooling.
        used: by their identity, the modules and parameters that layers have, with the layer's path.
    """

    def __init__(self, batch: Tensor, check: bool, pools_maxima: bool) -> None:
        super().__init__(batch)
        self.check = check
        self.pools_maxima = pools_maxima
        self.used: dict[int, str] = {}

    def fire(self, path: str, value: Value, result: Tensor, ceiling: float | None = None) -> Value:
        """Put neurons behind a sum, at its ReLU, which may cut off what is above a ceiling."""
        if isinstance(value, Maxima):
            spikes = self._add_layer(value.value, value.before.clamp(0, ceiling), ceiling)
            return self._add_maxima(value.path, value.spec, spikes, result)
        if isinstance(value, Sums):
            shapes = tuple(part.shape for part in value.parts)
            whole = result.reshape(-1, *joined_shape(shapes))
            fired = [
                self._add_layer(part, whole[:, channels], ceiling)
                for part, channels in zip(value.parts, value.slices(), strict=True)
            ]
            return Spikes(tuple(source for one in fired for source in one.sources), shapes)
        if isinstance(value, Spikes) and ceiling is not None:
            return self._cut_off(path, value, result, ceiling)
        taken = self.take(value)
        if taken is None:
            return Refused()
        if not isinstance(taken, Sum):
            raise _follows_no_layer(path)
        return self._add_layer(taken, result, ceiling)

    def limited(self, what: str, value: Value, result: Tensor, least: Any, largest: Any) -> Value:
        """Read an activation that is cut off, at 0 and maybe at a ceiling.

        Args:
            what: its name and kind, for messages.
            value: what it takes in; spikes are cut off at 0 already.
            result: what it gave.
            least, largest: what it is cut off at; None where it is not.
        """
        if isinstance(value, Spikes) and not value.is_input:
            least = 0 if least is None or (isinstance(least, int | float) and least < 0) else least
        ceiling = layer_reader.activation_limits(what, least, largest)
        path = what.removeprefix("layer ").removeprefix("operation ")
        return self.fire(path, value, result, ceiling)

    def _cut_off(self, path: str, spikes: Spikes, result: Tensor, ceiling: float) -> Spikes:
        """Give a ceiling to layers that have their ReLU already, and that nothing has taken yet."""
        fired = [self.found.layers[index] for index in spikes.sources if index != FROM_INPUT]
        if spikes.pool_result is not None or not (
            len(fired) == len(spikes.sources) and all(one.kind not in _PASSING for one in fired)
        ):
            raise _follows_no_layer(path)
        name = self.name_of(spikes)
        message = (
            f"{name} is used both without the ceiling of {path} and with it, which are two "
            f"activations of the same neurons; give one of them a layer of its own"
        )
        if self.is_taken(spikes):
            raise ConversionError(message)
        parts = spikes.split(result.clone().reshape(-1, *spikes.shape))
        for index, layer, part in zip(spikes.sources, fired, parts, strict=True):
            lower = ceiling if layer.ceiling is None else min(ceiling, layer.ceiling)
            self.found.layers[index] = replace(layer, ceiling=lower)
            self.found.results[index] = part
        self.spoil(spikes, message)
        return replace(spikes)

    def pooled(
        self, path: str, spec: LayerSpec, tensor: Tensor, value: Value, result: Tensor
    ) -> Value:
        """Read an average pooling, which gets neurons only where it needs them."""
        if isinstance(value, NormalisedSpikes) and not any(spec.padding):
            return self._behind(value, path, spec, self.pooled)
        spikes = self._spikes(path, value, "pooling")
        if spikes is None:
            return Refused()
        self._check_image(path, "pooling", tensor, spikes)
        if all(size == 1 for size in (*spec.kernel, *spec.stride)) and not any(spec.padding):
            return spikes
        spikes = self.settled(spikes)
        shapes = tuple(kind_of(spec).output_shape(spec, shape) for shape in spikes.shapes)
        pool_result = result.clone().reshape(-1, *joined_shape(shapes))
        return Spikes(spikes.sources, shapes, spec, path, pool_result)

    def max_pooled(
        self, path: str, spec: LayerSpec, tensor: Tensor, value: Value, result: Tensor
    ) -> Value:
        """Read a max pooling, whose neurons need to know whole counts."""
        if isinstance(value, NormalisedSpikes):
            if bool((value.gain < 0).any()):
                raise ConversionError(
                    f"layer {path} is a max pooling behind {value.path}, whose negative weights "
                    f"make a minimum of it; put the normalisation behind the pooling or before the "
                    f"ReLU"
                )
            return self._behind(value, path, spec, self.max_pooled)
        taken = self.take(value)
        if taken is None:
            return Refused()
        self._check_image(path, "max pooling", tensor, taken)
        if isinstance(taken, Spikes) and FROM_INPUT in taken.sources:
            raise ConversionError(
                f"layer {path} is a max pooling of the network's input, whose values no neuron can "
                f"hold back; pool the data before the network, or put a layer with a ReLU first"
            )
        if not self.pools_maxima:
            raise ConversionError(f"layer {path} is a max pooling, {NOT_PHASED}")
        if isinstance(taken, Sum):
            return Maxima(path, spec, taken, tensor.clone())
        return self._add_maxima(path, spec, self.settled(taken), result)

    def _add_maxima(self, path: str, spec: LayerSpec, spikes: Spikes, result: Tensor) -> Spikes:
        """Add a max pooling of each layer that sends the spikes."""
        if all(size == 1 for size in (*spec.kernel, *spec.stride)):
            return spikes
        shapes = tuple(kind_of(spec).output_shape(spec, shape) for shape in spikes.shapes)
        pooled = Spikes((), shapes)
        parts = pooled.split(result.clone().reshape(-1, *joined_shape(shapes)))
        indices = tuple(
            self._append(replace(spec, source=source), path, part)
            for source, part in zip(spikes.sources, parts, strict=True)
        )
        return replace(pooled, sources=indices)

    def _behind(
        self,
        value: NormalisedSpikes,
        path: str,
        spec: LayerSpec,
        read: Callable[[str, LayerSpec, Tensor, Value, Tensor], Value],
    ) -> Value:
        """Read a pooling that gives the same before a normalisation as behind it."""
        before = layer_reader.pooled_values(spec, value.before)
        return _normalised(value, read(path, spec, value.before, value.spikes, before), before)

    def adaptive(self, path: str, tensor: Tensor, value: Value, result: Tensor) -> Value:
        """Read an adaptive average pooling."""
        lengths, sizes = tuple(tensor.shape[2:]), tuple(result.shape[2:])
        if isinstance(value, NormalisedSpikes):
            before = layer_reader.ADAPTIVE_POOLINGS[len(sizes)](value.before, sizes)
            return _normalised(
                value, self.adaptive(path, value.before, value.spikes, before), before
            )
        spec = layer_reader.adaptive_pooling_spec(lengths, sizes)
        if spec is not None:
            return self.pooled(path, spec, tensor, value, result)
        spikes = self._spikes(path, value, "pooling")
        if spikes is None:
            return Refused()
        self._check_image(path, "pooling", tensor, spikes)
        spikes = self.settled(spikes)
        shapes = tuple((shape[0], *sizes) for shape in spikes.shapes)
        return Spikes(spikes.sources, shapes, None, path, result.clone(), sizes)

    def dropped(self, path: str, name: str, p: float, channels: bool, value: Value) -> Value:
        """Read a dropout."""
        spec = layer_reader.dropout_spec(path, p, channels)
        if isinstance(value, NormalisedSpikes):
            dropped = self.dropped(path, name, p, channels, value.spikes)
            return _normalised(value, dropped, value.before)
        spikes = self._spikes(f"{path} ({name})", value, "dropout")
        if spikes is None:
            return Refused()
        if not spikes.pooled_to:  # such an average has no neurons: those before it are dropped
            spikes = self.settled(spikes)
        indices = tuple(
            self._append(replace(spec, source=source), path, self.found.behind(source))
            for source in spikes.sources
        )
        return replace(spikes, sources=indices)

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
        changed = any(tensor is one for one in call.overwritten) or before.shape != after.shape
        if changed or not torch.allclose(before, after, rtol=0, atol=0, equal_nan=True):
            raise ConversionError(
                f"layer {path} changes the values that pass it in evaluation, by a hook or because "
                f"it stays in training mode; remove its hooks, or pass check=False to convert "
                f"without them"
            )

    def joined(self, path: str, values: Sequence[Value]) -> Value:
        """Read spikes of several layers that are joined along their channels, or as vectors."""
        sources: tuple[int, ...] = ()
        shapes: tuple[Shape, ...] = ()
        refused = False
        for value in values:
            spikes = self._spikes(f"{path} (cat)", value, "concatenation")
            if spikes is None:
                refused = True
                continue
            spikes = self.settled(spikes)
            sources, shapes = sources + spikes.sources, shapes + spikes.shapes
        return Refused() if refused else Spikes(sources, shapes)

    def ended(self, what: str, axis: int | None, tensor: Tensor, value: Value) -> Value:
        """Read a softmax, which may only be the network's end."""
        taken = self.take(value)
        if taken is None:
            return Refused()
        if not isinstance(taken, Sum) or axis not in (None, 1, 1 - tensor.dim()):
            raise layer_reader.refuse_kind(what, "softmax")
        return Ended(what, taken, tensor.clone())

    def _check_image(self, path: str, name: str, tensor: Tensor, value: Spikes | Sum) -> None:
        """Refuse a layer that takes neurons in another arrangement than they have."""
        shape = tuple(tensor.shape[1:])
        if shape == value.shape:
            return
        if isinstance(value, Spikes) and value.is_input:
            raise ConversionError(
                f"layer {path} ({name}) takes the input as {shape}; give such samples, "
                f"input_shape={shape}, and leave out what reshapes them"
            )
        raise ConversionError(
            f"layer {path} ({name}) comes after a Flatten; put it before, since neurons of shape "
            f"{value.shape} cannot be rearranged to {shape}"
        )

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
            f"layer {taken.path} is followed by {path} without a ReLU between; what it gives is "
            f"signed (as in a linear bottleneck) and spikes are never negative, so put a ReLU "
            f"there or merge the two layers"
        )

    def settled(self, spikes: Spikes) -> Spikes:
        """Give a pooling that still waits neurons of its own."""
        if spikes.pooled_to:
            raise ConversionError(
                f"layer {spikes.pool_path}: an adaptive pooling to {spikes.pooled_to} has windows "
                f"of several sizes here; choose an output size that divides the input's, or put a "
                f"fully connected layer behind it, which it is folded into"
            )
        if spikes.pool is None:
            return spikes
        assert spikes.pool_result is not None  # they are set together
        indices = []
        for source, result in zip(spikes.sources, spikes.split(spikes.pool_result), strict=True):
            spec = replace(spikes.pool, source=source)
            indices.append(self._append(spec, spikes.pool_path, result))
            weight = layer_reader.pooling_weight(spec, result)
            self.found.weight_origins.append((WeightOrigin(spikes.pool_path, {"weight": weight}),))
        return Spikes(tuple(indices), spikes.shapes)

    def _with_pool(self, spec: LayerSpec, spikes: Spikes) -> LayerSpec:
        """Return a fully connected layer behind spikes.

        A pooling that waits is folded into it where each input has a share of its own.
        """
        pool = spikes.pool
        if spikes.pooled_to:
            spec = replace(spec, pooled_to=spikes.pooled_to)
        elif pool is not None and pool.stride == pool.kernel and not any(pool.padding):
            spec = replace(spec, pool=pool.kernel)
        else:
            spikes = self.settled(spikes)
        return spikes.from_sources(spec)

    def _add_layer(self, value: Sum, result: Tensor, ceiling: float | None = None) -> Spikes:
        """Put neurons behind a sum; synapses with weights of their own are the main ones."""
        terms = sorted(value.terms, key=lambda term: not term[1].has_weights)
        (main, _), *skips = terms
        self.found.weight_origins.append(tuple(origin for _, origin in terms))
        spec = replace(main, ceiling=ceiling, skips=tuple(skip for skip, _ in skips))
        result = result.clone().reshape(-1, *value.shape)
        return Spikes((self._append(spec, value.path, result),), (value.shape,))

    def _append(self, spec: LayerSpec, path: str, result: Tensor) -> int:
        """Add a layer, and return its index."""
        index = len(self.found.layers)
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
        if isinstance(taken, Spikes) and taken.pool is not None and len(taken.sources) == 1:
            self.settled(taken)  # an average is a readout
            return
        last = len(self.found.layers) - 1
        if (
            taken is None
            or taken.sources != (last,)
            or taken.pool is not None
            or taken.pooled_to
            or not issubclass(kind_of(self.found.layers[last]), TandemLayer)
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


def _follows_no_layer(path: str) -> ConversionError:
    return ConversionError(f"layer {path} does not follow a Conv2d or Linear")


def _normalised(value: NormalisedSpikes, found: Value, before: Tensor) -> Value:
    """Return a normalisation of other spikes, or why there are none.

    Args:
        value: the normalisation.
        found: what was read of its spikes.
        before: their values, [samples, *shape].
    """
    if not isinstance(found, Spikes):
        return found
    return replace(value, spikes=found, before=before)
