"""lava-dl's own reader builds what we export, runs it to our spikes, and mistakes no reset."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tandem_hw.conformance.layers import BEFORE, changed, connected, network_of
from tandem_hw.conformance.random_layers import random_layer
from tandem_hw.network.synapses.dense import Dense

pytest.importorskip("lava.magma", reason="Lava is not installed; it needs Python 3.10")
pytest.importorskip("lava.lib.dl.netx.hdf5", reason="lava-dl is not installed")

from lava.lib.dl.netx.hdf5 import Network
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source
from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights

from tandem_hw.chip.timing import total_steps, window_start
from tandem_hw.export import net_file
from tandem_hw.export.net_file import write_net
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork, Reset
from tandem_hw.network.synapses.convolutions import Conv2d
from tandem_hw.sim.reference import trace

_STEPS = 4


def _network(reset: Reset) -> QuantizedNetwork:
    generator = np.random.default_rng(9)
    spec = InputSpec((2, 7, 5), bits=4, scale=1 / 15, encoding="constant")
    conv = random_layer(
        *(Conv2d, "conv", (4, 1, 3, 2), spec.shape, 240),
        generator=generator,
        stride=(2, 1),
        padding=(1, 0),
        dilation=(1, 2),
        groups=2,
    )
    shape = (8, math.prod(conv.output_shape))
    hidden = random_layer(Dense, "hidden", shape, conv.output_shape, 120, generator=generator)
    readout = random_layer(Dense, "readout", (5, 8), (8,), generator=generator)
    return network_of(spec, (conv, hidden, readout), _STEPS, reset)


def _counted(shape: tuple[int, ...], leak: tuple[int, int] = (4096, 0)) -> QuantizedNetwork:
    """Return a network whose every layer fires: a convolution before it where images come in."""
    plain = _network("zero")
    conv, hidden, readout = plain.layers
    if len(shape) == 1:
        weight = 2 * np.random.default_rng(3).integers(-127, 128, (8, shape[0]))
        hidden = changed(hidden, weight=weight, input_shape=shape, threshold=2400, source=BEFORE)
    decays = dict(zip(("current_decay", "voltage_decay"), leak, strict=True))
    last = changed(readout, threshold=99)
    layers = (conv, hidden, last) if len(shape) == 3 else (hidden, last)
    return replace(
        plain,
        input=replace(plain.input, shape=shape),
        layers=connected(changed(layer, **decays) for layer in layers),
        readout="count",
    )


def _load(network: QuantizedNetwork, folder: Path, offset: int = 0) -> Any:
    path = folder / "model.net"
    write_net(network, path)
    return Network(
        net_config=str(path),
        reset_interval=network.num_steps,
        reset_offset=offset,
        input_message_bits=8,
    )


def _spikes_on_netx(loaded: Any, network: QuantizedNetwork, inputs: Any) -> list[Any]:
    """Run samples back to back; return per layer the spikes [samples, num_steps, *output_shape]."""
    period, steps = network.num_steps, total_steps(network, len(inputs), network.num_steps)
    frames = np.zeros((*loaded.inp.shape, steps), dtype=np.int32)
    for index, sample in enumerate(inputs):  # a constant current in every step of the window
        frames[..., index * period : (index + 1) * period] = sample.T[..., None]
    Source(data=frames).s_out.connect(loaded.inp)
    sinks = [Sink(shape=layer.out.shape, buffer=steps) for layer in loaded.layers]
    for layer, sink in zip(loaded.layers, sinks, strict=True):
        layer.out.connect(sink.a_in)
    try:
        loaded.run(RunSteps(num_steps=steps), Loihi2SimCfg(select_tag="fixed_pt"))
        spikes = [sink.data.get().T for sink in sinks]  # [steps, C, H, W]
    finally:
        loaded.stop()
    # A RingBuffer is one step earlier than the SpikeDataloader that window_start is about, and the
    # sink's first column is step 1.
    first = [window_start(index) - 2 for index in range(1, len(spikes) + 1)]
    samples = range(0, len(inputs) * period, period)
    return [
        np.stack([train[start + sample :][:period] for sample in samples])
        for start, train in zip(first, spikes, strict=True)
    ]


@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore:pandas not found:ImportWarning")
@pytest.mark.parametrize("leak", [(4096, 0), (3000, 500)])
@pytest.mark.parametrize("shape", [(2, 7, 5), (20,)], ids=["conv", "mlp"])
def test_netx_runs_our_file_to_the_spikes_of_the_reference(
    shape: tuple[int, ...], leak: tuple[int, int], tmp_path: Path
) -> None:
    network = _counted(shape, leak)
    generator = np.random.default_rng(6)
    inputs = generator.integers(0, 16, (5, *network.sample_shape)).astype(np.uint8)
    expected = trace(network, inputs)
    # The input reaches the first layer in the second step, so its window starts there.
    found = _spikes_on_netx(_load(network, tmp_path, offset=1), network, inputs)
    for layer, spikes in zip(network.layers, found, strict=True):
        counts = expected[layer.name].sum(axis=1)
        assert counts.max() > 0
        assert np.any(counts != counts[0])
        np.testing.assert_array_equal(spikes, expected[layer.name])


def test_netx_builds_our_layers_with_their_shapes_weights_and_biases(tmp_path: Path) -> None:
    network = _network("zero")
    loaded = _load(network, tmp_path)
    conv, *dense = network.layers
    (path,) = conv.synapses
    assert isinstance(path, Conv2d)
    assert len(loaded.layers) == len(network.layers)
    assert loaded.inp.shape == network.input.shape[::-1]
    assert [layer.shape for layer in loaded.layers] == [
        layer.output_shape[::-1] for layer in network
    ]
    # Lava convolves where PyTorch correlates, and orders the axes the other way round.
    synapse = loaded.layers[0].synapse
    flipped = path.weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
    np.testing.assert_array_equal(synapse.weight.init, flipped)
    for field in ("stride", "padding", "dilation"):
        assert tuple(getattr(synapse, field).init) == path.geometry_numbers[field][::-1]
    assert synapse.groups.init == path.geometry.groups
    for built, layer in zip(loaded.layers[1:], dense, strict=True):
        scale = 8 - built.synapse.proc_params["num_weight_bits"]
        exponent = built.synapse.proc_params["weight_exp"] + scale
        np.testing.assert_array_equal(
            built.synapse.weights.init * 2.0**exponent, layer.synapses[0].weight
        )
    for built, layer in zip(loaded.layers, network, strict=True):
        bias = np.broadcast_to(layer.bias_image(), layer.output_shape).T
        np.testing.assert_array_equal(built.neuron.bias_mant.init, bias)
        assert built.neuron.bias_exp.init == 6


def test_netx_builds_our_neurons_and_resets_each_layer_one_step_after_the_one_before(
    tmp_path: Path,
) -> None:
    network = _network("zero")
    loaded = _load(network, tmp_path)
    neurons = [layer.neuron for layer in loaded.layers]
    assert [neuron.vth.init for neuron in neurons] == [239, 119, 1 << 17]
    # The firing layers forget the current at once and keep the voltage; the readout integrates.
    assert [(int(n.du.init), int(n.dv.init)) for n in neurons] == [(4095, 0), (4095, 0), (-1, 4096)]
    assert {neuron.proc_params["reset_interval"] for neuron in neurons} == {_STEPS}
    offsets = [neuron.proc_params["reset_offset"] for neuron in neurons]
    assert np.diff(offsets).tolist() == [1, 1]
    assert window_start(2) - window_start(1) == 1


def test_netx_refuses_a_reset_by_subtraction_which_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises((AttributeError, TypeError), match="NoneType"):
        _load(_network("subtract"), tmp_path)


def test_netx_refuses_a_graph_rather_than_run_it_without_its_skips(tmp_path: Path) -> None:
    plain = _network("zero")
    skip = changed(plain.layers[2], name="skip", source="conv", bias=np.zeros(5, int))
    skip = changed(
        skip, weight=np.full((5, plain.layers[1].synapses[0].weight.shape[1]), 2),
        input_shape=plain.layers[0].output_shape,
    )  # fmt: skip
    layers = (*plain.layers[:2], changed(plain.layers[2], skips=(skip,)))
    with pytest.raises(KeyError, match="layer"):
        _load(replace(plain, layers=layers), tmp_path)


def _weights_on_netx(network: QuantizedNetwork, folder: Path) -> Any:
    """Return what the last layer's weights are to Lava's fixed-point model of a dense layer."""
    synapse = _load(network, folder).layers[-1].synapse
    weights = synapse.weights.init.astype(int)
    mode = determine_sign_mode(weights)
    bits = synapse.proc_params["num_weight_bits"]
    kept = truncate_weights(clip_weights(weights, mode, num_bits=8), mode, bits)
    return kept * 2.0 ** synapse.proc_params["weight_exp"]


@pytest.mark.parametrize("least", [-2, -4, -6, -126, -128, -130, -254, -256])
def test_inhibiting_weights_arrive_as_they_are_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    plain = _network("zero")
    weight = np.full_like(plain.layers[2].synapses[0].weight, -2)
    weight[0, 1] = least
    network = replace(plain, layers=(*plain.layers[:2], changed(plain.layers[2], weight=weight)))
    is_power = -least & (-least - 1) == 0
    if is_power:
        with pytest.raises(KeyError, match="layer"):
            _load(network, tmp_path)
    # As a file of version 2, they would arrive as others just where the least is a power of two.
    monkeypatch.setattr(net_file, "netx_changes", lambda weight: False)
    assert np.array_equal(_weights_on_netx(network, tmp_path), weight) != is_power
