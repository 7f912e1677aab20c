"""Which layer of a network has which width of weights, and which ones have thresholds of channels.

A channel c with the threshold theta_c sends spikes that are worth theta_c each. Its weights and
bias are multiplied by theta / theta_c, and those behind it that take its spikes by theta_c / theta:
then all neurons of the layer have the one threshold theta of the chip, and fire when they would.
Weights are quantized after that, so it costs nothing there. What comes in or goes out as it is, to
be added, has no weights that could take the factor up; nor has the last layer, whose counts are the
result. Such layers keep one threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tandem_hw.counted import counted
from tandem_hw.errors import ConversionError
from tandem_hw.learning.architecture import LayerSpec
from tandem_hw.learning.kinds.catalogue import kind_of
from tandem_hw.learning.per_layer.widths import OTHERS, check_widths, common_width

#: Kinds that pass on the spikes of the layer before them, channel by channel.
_PASSING: Final = ("dropout", "maxpool")
_WITHOUT_WEIGHTS: Final = ("sum", *_PASSING)


def layer_names(layers: Sequence[LayerSpec]) -> list[str]:
    """Return the names that layers have in a network."""
    names, number = [], 1
    for spec in layers:
        kind = kind_of(spec)
        names.append(f"{kind.short_name}{number}")
        number += kind.has_neurons
    return names


def has_weights(spec: LayerSpec) -> bool:
    """Whether a layer, or a skip of it, has weights."""
    return any(one.kind not in _WITHOUT_WEIGHTS for one in (spec, *spec.skips))


def with_widths(layers: Sequence[LayerSpec], widths: Any) -> tuple[LayerSpec, ...]:
    """Return layers of which each knows the width of its weights, where it is not the common one.

    Args:
        layers: of an architecture.
        widths: ``WeightBits``.

    Raises:
        ConversionError: there is another number of layers with weights, a name is none of them, or
            a number is out of range.
    """
    widths, common = check_widths(widths), common_width(widths)
    weighted = [
        name for name, spec in zip(layer_names(layers), layers, strict=True) if has_weights(spec)
    ]
    own: dict[str, int] = {}
    if isinstance(widths, Mapping):
        own = {name: bits for name, bits in widths.items() if name != OTHERS}
    elif not isinstance(widths, int):
        if len(widths) != len(weighted):
            raise ConversionError(
                f"weight_bits has {counted(len(widths), 'number')}, and the network "
                f"{counted(len(weighted), 'layer')} "
                f"with weights; give one for each of {', '.join(weighted)}"
            )
        own = dict(zip(weighted, widths, strict=True))
    for name in own:
        if name not in weighted:
            raise ConversionError(
                f"weight_bits names {name}, which is no layer with weights; there are "
                f"{', '.join(weighted)}"
            )
    found = {name: bits for name, bits in own.items() if bits != common}
    return tuple(
        replace(spec, weight_bits=found.get(name))
        for name, spec in zip(layer_names(layers), layers, strict=True)
    )


def with_channel_thresholds(layers: Sequence[LayerSpec]) -> tuple[LayerSpec, ...]:
    """Return layers of which those that can have a threshold for each channel have them.

    Args:
        layers: of an architecture.

    Raises:
        ConversionError: none of them can.
    """
    able = set(_able(layers))
    if not able:
        raise ConversionError(
            "no layer of this network can have a threshold for each channel: its spikes are the "
            "result, or are added as they are; leave thresholds_per_channel away"
        )
    return tuple(
        replace(spec, channel_thresholds=index in able) for index, spec in enumerate(layers)
    )


def check_channel_thresholds(layers: Sequence[LayerSpec]) -> None:
    """Refuse thresholds of channels in a layer that cannot have them.

    Raises:
        ConversionError: names the layer.
    """
    if not any(spec.channel_thresholds for spec in layers):
        return
    able = set(_able(layers))
    for index, (name, spec) in enumerate(zip(layer_names(layers), layers, strict=True)):
        if spec.channel_thresholds and index not in able:
            raise ConversionError(
                f"layer {name} has a threshold for each channel, but its spikes are the result, or "
                f"what it takes or sends is added as it is; give it one threshold"
            )


def without_own(layers: Sequence[LayerSpec]) -> tuple[LayerSpec, ...]:
    """Return layers with nothing of what may differ from layer to layer."""
    return tuple(replace(spec, weight_bits=None, channel_thresholds=False) for spec in layers)


def _able(layers: Sequence[LayerSpec]) -> Iterator[int]:
    """Yield the layers that can have a threshold for each channel."""
    added = {
        source
        for spec in layers
        for one in (spec, *spec.skips)
        if one.kind == "sum"
        for source in one.parts
    }
    for index in reversed(range(len(layers))):
        spec = layers[index]
        adds = any(one.kind == "sum" for one in (spec, *spec.skips))
        if spec.kind in _PASSING:
            added |= set(spec.parts) if index in added else set()
        elif not adds and index not in added and index != len(layers) - 1:
            yield index
