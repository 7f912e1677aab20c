"""Every kind of layer, skip paths and relays: Lava gives the reference's counts and potentials.

Samples follow each other back to back; neighbours differ, and the last one is the brightest, so
that a spike held back too long, too short or into the next window would show.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.chip.timing import board_period, default_period
from tandem_hw.conformance.layers import conv2d_layer, network_of, one_to_one_layer
from tandem_hw.conformance.random_layers import identity, random_layer
from tandem_hw.network.fixed_point import weight_limit
from tandem_hw.network.quantized import InputSpec, Layer, QuantizedNetwork, Readout, Reset
from tandem_hw.network.synapses.catalogue import SYNAPSE_KINDS
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense
from tandem_hw.network.synapses.kind import Synapses
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend, LavaStockBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import compare

_ABSENT = LavaCpuBackend().why_unavailable()
pytestmark = [
    pytest.mark.usefixtures("warm_lava"),
    pytest.mark.skipif(_ABSENT is not None, reason=str(_ABSENT)),
    pytest.mark.timeout(240),
]


def build(
    kind: type[Synapses],
    name: str,
    weight_shape: tuple[int, ...],
    input_shape: tuple[int, ...],
    threshold: int | None = None,
    bits: int = 8,
    reach: int | None = None,
    **fields: Any,
) -> Layer:
    """Return a layer of random weights, more of them positive, and random biases if it fires."""
    limit = weight_limit(bits) // 2 if reach is None else reach
    return random_layer(
        *(kind, name, weight_shape, input_shape, threshold),
        weights=(-limit // 2, limit),
        bias_reach=0 if threshold is None else 9,
        weight_bits=bits,
        **fields,
    )


def series(reset: Reset) -> QuantizedNetwork:
    """Return a network over (C, L): one to one, grouped, depthwise, a skip, a Conv1d to read."""
    pixels = one_to_one_layer("pixels", np.array([96]), 8, np.array([-7]), 640, (3, 11))
    first = build(Conv1d, "first", (6, 1, 3), (3, 11), 128, stride=(2,), padding=(2,), groups=3)
    depthwise = build(
        Conv1d, "depthwise", (6, 1, 2), (6, 7), 64, padding=(1,), dilation=(2,), groups=6
    )
    mixing = build(Conv1d, "mixing", (6, 6, 1), (6, 7), 192, skips=(
        identity((6, 7), "first", 96, "identity"),
    ))  # fmt: skip
    last = build(Conv1d, "last", (2, 6, 3), (6, 7), padding=(0,), bits=4)
    spec = InputSpec((3, 11), 4, 1 / 15, "events")
    return network_of(spec, (pixels, first, depthwise, mixing, last), 5, reset)


def decoder(reset: Reset) -> QuantizedNetwork:
    """Return a network that begins and ends with transposed convolutions, and pools between."""
    grow = build(
        ConvTranspose2d, "grow", (4, 1, 3, 2), (2, 3, 4), 200, bits=5,
        stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, output_padding=(1, 0),
    )  # fmt: skip
    assert grow.output_shape == (4, 6, 6)
    pool = conv2d_layer(
        "pool", np.full((4, 1, 2, 2), 64), 8, np.zeros(4, int), 128, (4, 6, 6), stride=(2, 2),
        groups=4,
    )  # fmt: skip
    image = build(ConvTranspose2d, "image", (2, 4, 2, 3), (4, 3, 3), stride=(2, 2), padding=(0, 1))
    spec = InputSpec((2, 3, 4), 4, 1 / 15, "constant")
    return network_of(spec, (grow, pool, image), 4, reset)


def residual(reset: Reset, readout: Readout = "potential", num_steps: int = 4) -> QuantizedNetwork:
    """Return a network of two first layers and skip paths of several kinds and lengths."""
    shape, steps = (3, 5, 4), max(num_steps, 3)  # thresholds grow with the window
    left = build(Conv2d, "left", (3, 2, 3, 3), (2, 5, 4), 100 * steps, padding=(1, 1))
    right = build(
        ConvTranspose2d, "right", (3, 2, 1, 1), (2, 5, 4), 64 * steps, source="input", bits=6
    )
    deep = build(Conv2d, "deep", (3, 3, 3, 3), shape, 64 * steps, padding=(1, 1))
    deeper_skips = (
        identity(shape, "left", 160, "left again"),
        build(Conv2d, "projection", (3, 3, 1, 1), shape, reach=20, source="right"),
    )
    deeper = build(
        Conv2d, "deeper", (3, 1, 3, 3), shape, 48 * steps, padding=(1, 1), groups=3,
        skips=deeper_skips,
    )  # fmt: skip
    # The main path is the short one here, and its spikes are those that are held back.
    joint = build(ConvTranspose2d, "joint", (3, 3, 1, 1), shape, 80 * steps, source="left", skips=(
        identity(shape, "deeper", 80 * steps, "whole spikes"),
        identity(shape, "deep", 64, "late"),
    ))  # fmt: skip
    last = build(
        Dense, "last", (16, 60), shape, 1280 * steps if readout == "count" else None, skips=(
            build(Dense, "shortcut", (16, 60), shape, reach=30, source="left"),
        ),
    )  # fmt: skip
    spec = InputSpec((2, 5, 4), 3, 1 / 7, "constant")
    layers = (left, right, deep, deeper, joint, last)
    return network_of(spec, layers, num_steps, reset, readout)


def inputs_of(network: QuantizedNetwork, samples: int = 4) -> npt.NDArray[np.uint8]:
    """Return random samples, every second one dark, the last one the brightest."""
    shape = (samples, *network.sample_shape)
    inputs = np.random.default_rng(3).integers(0, network.input.largest + 1, shape)
    inputs[1::2] //= 3
    inputs[-1] |= (network.input.largest + 1) >> 1
    return inputs.astype(np.uint8)


def require_equal(network: QuantizedNetwork, backend: LavaCpuBackend, samples: int = 4) -> None:
    """Compare a backend with the reference; every layer fires, also in the last sample."""
    inputs = inputs_of(network, samples)
    expected = ReferenceBackend().run(network, inputs)
    for layer in network.spiking_layers:
        counts = expected.counts[layer.name]
        assert 0.02 < counts.mean() / network.num_steps < 0.98, f"{layer.name}: {counts.mean()}"
        assert counts[-1].any()
        assert (np.diff(counts.reshape(len(counts), -1), axis=0) != 0).any(axis=1).all()
    assert (np.diff(expected.output, axis=0) != 0).any(axis=1).all()
    found = backend.run(network, inputs)
    compare(network, [expected, found]).require_match()
    np.testing.assert_array_equal(found.output, expected.output)


@pytest.mark.parametrize(
    "network",
    [series("zero"), decoder("subtract"), residual("zero")],
    ids=["series", "decoder", "residual"],
)
def test_leaf_models_give_the_counts_of_the_reference(network: QuantizedNetwork) -> None:
    require_equal(network, LavaCpuBackend())


@pytest.mark.parametrize(
    "network",
    [series("subtract"), residual("zero"), residual("subtract", "count")],
    ids=["series", "residual", "residual, counted"],
)
def test_processes_that_run_freely_leave_what_they_leave_step_by_step(
    network: QuantizedNetwork,
) -> None:
    inputs = inputs_of(network)
    # Lava's own Conv goes step by step, and counters and recorders stand beside the neurons.
    free, stepped = (
        LavaCpuBackend(stock_conv=stock).run(network, inputs, keep_final_state=True)
        for stock in (False, True)
    )
    assert free.parameter_digest == stepped.parameter_digest
    assert [layer.name for layer in network.spiking_layers] == list(free.final_state)
    for name, state in stepped.final_state.items():
        assert (np.diff(state, axis=0) != 0).any()
        assert stepped.counts[name].any()
        np.testing.assert_array_equal(free.final_state[name], state)
        np.testing.assert_array_equal(free.counts[name], stepped.counts[name])
    np.testing.assert_array_equal(free.output, stepped.output)


@pytest.mark.filterwarnings("ignore:pandas not found:ImportWarning")
def test_only_what_is_run_as_lava_comes_goes_step_by_step(tmp_path: Path) -> None:
    from lava.magma.core.sync.protocols.async_protocol import AsyncProtocol
    from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

    from tandem_hw.sim.lava_cpu.graph import build_graph

    def protocols(network: QuantizedNetwork, **options: bool) -> set[type]:
        period = default_period(network)
        graph = build_graph(network, inputs_of(network), tmp_path, period, **options)
        graph.entry.compile(graph.config)
        processes = [graph.entry, *(process for layer in graph.layers for process in layer)]
        return {process.model_class.implements_protocol for process in processes}

    networks = [series("subtract"), decoder("zero"), residual("zero")]
    synapses = {
        type(item) for network in networks for layer in network.layers for item in layer.synapses
    }
    assert synapses == set(SYNAPSE_KINDS)
    assert [protocols(network) for network in networks] == [{AsyncProtocol}] * 3
    assert protocols(networks[0], stock_conv=True) == {LoihiProtocol}
    assert protocols(networks[0], lowered=True) == {LoihiProtocol}


@pytest.mark.parametrize(
    "network",
    [series("subtract"), decoder("zero"), residual("subtract")],
    ids=["series", "decoder", "residual"],
)
def test_stock_processes_give_them_in_a_board_s_period(network: QuantizedNetwork) -> None:
    require_equal(network, LavaStockBackend(period=board_period(network)))


def test_nothing_fires_in_the_padding_though_relays_and_skips_end_there() -> None:
    network = series("zero")
    assert board_period(network) > default_period(network) + 2
    require_equal(network, LavaStockBackend(period=board_period(network)))


def test_a_relay_hands_on_one_sample_a_step_where_windows_have_one_step() -> None:
    network = residual("zero", "count", num_steps=1)
    assert default_period(network) == 1  # the next sample follows at once, through all relays
    require_equal(network, LavaStockBackend(), samples=16)
