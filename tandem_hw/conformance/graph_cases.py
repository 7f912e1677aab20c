"""Cases of networks that are no chain: residual blocks, parallel layers, paths of any length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np

from tandem_hw.conformance.case_networks import Case, case_inputs, case_of, projection, synapses
from tandem_hw.conformance.layers import changed, network_of
from tandem_hw.conformance.random_layers import identity
from tandem_hw.network.quantized import Encoding, InputSpec, Layer, Reset
from tandem_hw.network.synapses.convolutions import Conv1d, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense

_SHAPE = (4, 5, 4)
#: Weight of an identity path; a spike is worth the threshold behind it.
_WHOLE = 300


def graph_cases(reset: Reset) -> Iterator[Case]:
    """Yield the cases of one reset."""
    yield from _identity_cases(reset)
    yield from _projection_cases(reset)
    yield from _many_path_cases(reset)
    yield from _input_cases(reset)
    yield from _readout_cases(reset)
    yield _overflow_case(reset)
    if reset == "zero":
        layers = [
            changed(layer, current_decay=current, voltage_decay=voltage)
            for layer, current, voltage in zip(
                _block(2)[:-1], (4096, 1024, 2000), (100, 0, 4095), strict=True
            )
        ]
        yield case_of("residual-leak", reset, *layers, _readout(layers[-1]), num_steps=8)


def _readout(before: Layer) -> Layer:
    return synapses("readout", before.output_shape, 5, kind=Dense, threshold=None)


def _first(shape: tuple[int, ...] = (2, 5, 4)) -> Layer:
    return synapses("first", shape, 4, threshold=1200, padding=(1, 1))


def _same(name: str, **fields: Any) -> Layer:
    """Return a convolution that keeps the shape."""
    return synapses(name, _SHAPE, 4, padding=(1, 1), **fields)


def _block(length: int, weight: int = _WHOLE) -> list[Layer]:
    """Return a first layer, a residual block of some layers with an identity path, a readout."""
    layers = [_first(), *(_same(f"block{index}") for index in range(1, length + 1))]
    layers[-1] = changed(layers[-1], skips=(identity(_SHAPE, "first", weight),))
    return [*layers, _readout(layers[-1])]


def _identity_cases(reset: Reset) -> Iterator[Case]:
    for length in (1, 2, 3):
        yield case_of(f"residual-identity-over-{length}", reset, *_block(length))
    yield case_of("residual-identity-T1", reset, *_block(2), num_steps=1)
    for encoding in ("first_step", "events"):
        yield case_of(
            f"residual-identity-{encoding}-T7", reset, *_block(2), encoding=encoding, num_steps=7
        )
    for weight in (1, 255 << 7):  # two steps of the largest one stay within 24 bits
        yield case_of(f"residual-identity-weight-{weight}", reset, *_block(2, weight), num_steps=2)
    dense = [
        synapses("first", (9,), 8, kind=Dense, threshold=900),
        synapses("second", (8,), 8, kind=Dense),
        synapses("third", (8,), 8, kind=Dense, skips=(identity((8,), "first"),)),
    ]
    yield case_of("residual-dense", reset, *dense, _readout(dense[-1]))
    signal = [
        synapses("first", (2, 9), 4, kind=Conv1d, threshold=900, padding=(1,)),
        synapses("second", (4, 9), 4, kind=Conv1d, padding=(1,)),
        synapses("third", (4, 9), 4, kind=Conv1d, padding=(1,), skips=(identity((4, 9), "first"),)),
    ]
    yield case_of("residual-conv1d", reset, *signal, _readout(signal[-1]))


def _projection_cases(reset: Reset) -> Iterator[Case]:
    down = [
        _first(),
        synapses("block1", _SHAPE, 6, stride=(2, 2), padding=(1, 1)),
        synapses("block2", (6, 3, 2), 6, padding=(1, 1)),
    ]
    skip = projection("projection", _SHAPE, 6, "first", stride=(2, 2))
    down[-1] = changed(down[-1], skips=(skip,))
    yield case_of("residual-projection", reset, *down, _readout(down[-1]))
    # A second block upon the first one, with an identity path of its own.
    more = [
        synapses("block3", (6, 3, 2), 6, padding=(1, 1)),
        synapses("block4", (6, 3, 2), 6, padding=(1, 1), skips=(identity((6, 3, 2), "block2"),)),
    ]
    yield case_of("residual-two-blocks", reset, *down, *more, _readout(more[-1]), num_steps=7)
    up = synapses(
        "up", (6, 3, 2), 4, kind=ConvTranspose2d, stride=(2, 2), padding=(1, 1),
        output_padding=(0, 1), skips=(identity(_SHAPE, "first"),),
    )  # fmt: skip
    yield case_of("upsampled-and-added", reset, *down[:2], up, _readout(up))
    wide = projection(
        "wide", (6, 3, 2), 4, "block1", kind=ConvTranspose2d, kernel=2, stride=(2, 2),
        padding=(1, 0),
    )  # fmt: skip
    narrow = [*down[:2], synapses("side", _SHAPE, 4, kernel=(2, 1), source="first")]
    narrow[-1] = changed(narrow[-1], skips=(wide,))
    yield case_of("transposed-projection", reset, *narrow, _readout(narrow[-1]))


def _many_path_cases(reset: Reset) -> Iterator[Case]:
    first, second, third = _first(), _same("second"), _same("third")
    skips = (
        identity(_SHAPE, "first", 100),
        projection("from-first", _SHAPE, 4, "first"),
        identity(_SHAPE, "second", 200),
        projection("depthwise", _SHAPE, 4, "third", kernel=3, padding=(1, 1), groups=4),
    )
    last = _same("last", skips=skips)
    yield case_of("many-skips", reset, first, second, third, last, _readout(last))
    # The layer's own synapses are those of the shorter path.
    main = changed(_same("main", source="first"), skips=(projection("recent", _SHAPE, 4, "third"),))
    yield case_of("own-synapses-held-back", reset, first, second, third, main, _readout(main))
    branches = [
        first,
        _same("left"),
        _same("right", source="first"),
        _same("longer-right"),
        _same("joined", source="left", skips=(identity(_SHAPE, "longer-right"),)),
    ]
    yield case_of("two-branches", reset, *branches, _readout(branches[-1]))


def _input_cases(reset: Reset) -> Iterator[Case]:
    for encoding in get_args(Encoding):
        yield case_of(f"parallel-first-layers-{encoding}", reset, *_parallel(), encoding=encoding)
    shared = changed(_first(), skips=(projection("beside", (2, 5, 4), 4, "input"),), source="input")
    for encoding in get_args(Encoding):
        yield case_of(
            f"input-through-two-kernels-{encoding}", reset, shared, _readout(shared),
            encoding=encoding,
        )  # fmt: skip


def _parallel() -> list[Layer]:
    """Return two first layers that take the input side by side, and a layer that adds them."""
    left = _first()
    right = synapses(
        "right", (2, 5, 4), 4, threshold=1200, kernel=5, padding=(2, 2), source="input"
    )
    added = _same("added", source="first", skips=(identity(_SHAPE, "right"),))
    return [left, right, added, _readout(added)]


def _readout_cases(reset: Reset) -> Iterator[Case]:
    first, second = _first(), _same("second")
    skip = projection("shortcut", _SHAPE, 5, "first", kind=Dense)
    readout = changed(_readout(second), skips=(skip,))
    yield case_of("skip-into-the-readout", reset, first, second, readout)
    counted = changed(readout, threshold=400)
    yield case_of("skip-into-a-counted-readout", reset, first, second, counted, readout="count")
    image = _same("image", threshold=None, skips=(identity(_SHAPE, "first"),))
    yield case_of("skip-into-an-image", reset, first, second, image)


def _overflow_case(reset: Reset) -> Case:
    """Return a case of two paths whose sum leaves 24 bits: currents wrap and voltages clip."""
    generator = np.random.default_rng(4)
    spec = InputSpec((40,), bits=8, scale=1 / 255, encoding="constant")
    first, beside = (
        changed(
            synapses(name, (40,), 30, kind=Dense, threshold=240 << 6, source="input"),
            weight=2 * generator.integers(-80, 81, (30, 40)),
        )
        for name in ("first", "beside")
    )
    skip = changed(beside, threshold=None, bias=np.zeros(30, int))
    first = changed(first, skips=(skip,))
    network = network_of(spec, (first, _readout(first)), 7, reset)
    assert not network.bounds[0].proven
    return Case(f"{reset}-overflow-of-two-paths", network, case_inputs(network), overflows=True)
