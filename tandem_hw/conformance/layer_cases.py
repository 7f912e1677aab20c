"""Cases of every kind of layer beyond ``Conv2d`` and ``Dense``, one after the other in a chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tandem_hw.conformance.case_networks import Case, case_of, synapses
from tandem_hw.conformance.layers import changed, conv2d_layer
from tandem_hw.network.quantized import Layer, Reset
from tandem_hw.network.synapses.convolutions import Conv1d, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense

#: The first layer takes integers of up to 7.
_FIRST = 1200


def layer_cases(reset: Reset) -> Iterator[Case]:
    """Yield the cases of one reset."""
    for kind in (_conv1d_cases, _grouped_cases, _transposed_cases):
        yield from kind(reset)
    yield from _pooling_cases(reset)
    yield from _autoencoder_cases(reset)


def _readout(before: Layer) -> Layer:
    return synapses("readout", before.output_shape, 5, kind=Dense, threshold=None)


def _conv1d_cases(reset: Reset) -> Iterator[Case]:
    geometries: dict[str, dict[str, Any]] = {
        "conv1d-stride-and-padding": {"stride": (3,), "padding": (2,)},
        "conv1d-dilation": {"dilation": (2,), "padding": (1,)},
        "conv1d-groups": {"groups": 2, "kernel": 5, "padding": (2,)},
        "conv1d-depthwise": {"groups": 4, "stride": (2,)},
    }
    for name, geometry in geometries.items():
        first = synapses("first", (4, 13), 4, kind=Conv1d, threshold=_FIRST)
        second = synapses("second", first.output_shape, 8, kind=Conv1d, **geometry)
        hidden = synapses("hidden", second.output_shape, 6, kind=Dense, threshold=200)
        yield case_of(name, reset, first, second, hidden, _readout(hidden))
        if name == "conv1d-dilation":
            third = synapses("third", (4, 13), 6, kind=Conv1d, threshold=_FIRST, **geometry)
            yield case_of(f"{name}-events", reset, third, _readout(third), encoding="events")
    features = synapses("features", (2, 9), 7, kind=Dense, threshold=_FIRST)
    yield case_of("dense-takes-a-signal", reset, features, _readout(features))


def _grouped_cases(reset: Reset) -> Iterator[Case]:
    geometries: dict[str, dict[str, Any]] = {
        "depthwise-stride": {"groups": 4, "stride": (2, 1), "padding": (0, 1)},
        "depthwise-two-outputs-a-channel": {"groups": 4, "channels": 8},
        "grouped-dilation": {"groups": 2, "dilation": (1, 2), "padding": (1, 1)},
    }
    for name, geometry in geometries.items():
        channels = geometry.pop("channels", 4)
        first = synapses("first", (2, 7, 6), 4, threshold=_FIRST)
        second = synapses("second", first.output_shape, channels, **geometry)
        pointwise = synapses("pointwise", second.output_shape, 6, kernel=1, threshold=200)
        yield case_of(name, reset, first, second, pointwise, _readout(pointwise))
    first = synapses("first", (4, 6, 5), 4, threshold=600, groups=4, padding=(1, 1))
    yield case_of("depthwise-first", reset, first, _readout(first))


def _transposed_cases(reset: Reset) -> Iterator[Case]:
    geometries: dict[str, dict[str, Any]] = {
        "transposed-stride": {"kernel": 2, "stride": (2, 2)},
        "transposed-output-padding": {
            "stride": (2, 2), "padding": (1, 1), "output_padding": (1, 1),
        },
        "transposed-stride-beyond-the-kernel": {
            "kernel": (1, 2), "stride": (2, 3), "output_padding": (1, 2),
        },
        "transposed-dilation-and-padding": {"dilation": (2, 1), "padding": (1, 2)},
        "transposed-groups": {"groups": 2, "stride": (2, 1), "padding": (0, 1)},
        "transposed-depthwise": {"groups": 4, "stride": (1, 2)},
    }  # fmt: skip
    for name, geometry in geometries.items():
        first = synapses("first", (2, 3, 4), 4, threshold=_FIRST, padding=(1, 1))
        second = synapses("second", first.output_shape, 4, kind=ConvTranspose2d, **geometry)
        yield case_of(name, reset, first, second, _readout(second))
    first = synapses(
        "first", (3, 3, 4), 4, kind=ConvTranspose2d, threshold=_FIRST, stride=(2, 1), padding=(1, 0)
    )
    yield case_of("transposed-first", reset, first, _readout(first))


def _pooling_cases(reset: Reset) -> Iterator[Case]:
    """Yield spiking average pooling: depthwise, one weight for all, no bias."""
    for name, kernel, stride in (("average-pooling", 2, 2), ("average-pooling-overlaps", 3, 2)):
        first = synapses("first", (2, 7, 6), 4, threshold=_FIRST, padding=(1, 1))
        pooling = conv2d_layer(
            "pooling", np.full((4, 1, kernel, kernel), 64), 8, np.zeros(4, int),
            64 * kernel * kernel, first.output_shape, stride=(stride, stride), groups=4,
        )  # fmt: skip
        second = synapses("second", pooling.output_shape, 4, kernel=2)
        yield case_of(name, reset, first, pooling, second, _readout(second), num_steps=7)


def _autoencoder_cases(reset: Reset) -> Iterator[Case]:
    """Yield networks whose result is an image."""
    for encoding in ("first_step", "constant", "events"):
        layers = autoencoder()
        yield case_of(f"autoencoder-{encoding}", reset, *layers, encoding=encoding)
    layers = autoencoder()
    counted = changed(layers[-1], threshold=300)
    yield case_of("autoencoder-counted", reset, *layers[:-1], counted, readout="count")
    if reset == "zero":
        leaking = [changed(layer, current_decay=1024, voltage_decay=200) for layer in layers[:-1]]
        yield case_of("autoencoder-leak", reset, *leaking, layers[-1], num_steps=8)
    signal = synapses("signal", (2, 9), 4, kind=Conv1d, threshold=_FIRST, stride=(2,))
    result = synapses("result", signal.output_shape, 2, kind=Conv1d, threshold=None)
    yield case_of("signal-readout", reset, signal, result, num_steps=7)


def autoencoder() -> list[Layer]:
    """Return two convolutions and two transposed ones, back to the input's shape."""
    encoder = synapses("encoder", (1, 8, 6), 4, threshold=800, stride=(2, 2), padding=(1, 1))
    code = synapses("code", encoder.output_shape, 6, stride=(2, 1), padding=(1, 1))
    up: dict[str, Any] = {"kind": ConvTranspose2d, "padding": (1, 1)}
    decoder = synapses("decoder", code.output_shape, 4, stride=(2, 1), output_padding=(1, 0), **up)
    image = synapses(
        "image", decoder.output_shape, 1, stride=(2, 2), output_padding=(1, 1), threshold=None, **up
    )
    assert image.output_shape == encoder.synapses[0].input_shape
    return [encoder, code, decoder, image]
