"""lava-dl's own reader builds what we export, and cannot mistake one reset for the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lava.magma", reason="Lava is not installed; it needs Python 3.10")
pytest.importorskip("lava.lib.dl.netx.hdf5", reason="lava-dl is not installed")

from lava.lib.dl.netx.hdf5 import Network

from tandem_hw.export.net_file import write_net
from tandem_hw.network import Conv2d, Dense, InputSpec, QuantizedNetwork, Reset
from tandem_hw.timing import window_start

_STEPS = 4


def _network(reset: Reset) -> QuantizedNetwork:
    generator = np.random.default_rng(9)
    spec = InputSpec((2, 7, 5), bits=4, scale=1 / 15, encoding="constant")
    conv = Conv2d(
        name="conv",
        weight=2 * generator.integers(-127, 128, (4, 1, 3, 2)),
        weight_bits=8,
        bias=generator.integers(-100, 101, 4),
        threshold=240,
        input_shape=spec.shape,
        stride=(2, 1),
        padding=(1, 0),
        dilation=(1, 2),
        groups=2,
    )
    sizes = [int(np.prod(conv.output_shape)), 8, 5]
    layers: list[Any] = [conv]
    for name, threshold, into, out in zip(
        ("hidden", "readout"), (120, None), sizes, sizes[1:], strict=False
    ):
        layers.append(
            Dense(
                name=name,
                weight=2 * generator.integers(-127, 128, (out, into)),
                weight_bits=8,
                bias=generator.integers(-100, 101, out),
                threshold=threshold,
                input_shape=layers[-1].output_shape,
            )
        )
    return QuantizedNetwork(spec, tuple(layers), _STEPS, reset)


def _load(network: QuantizedNetwork, folder: Path) -> Any:
    path = folder / "model.net"
    write_net(network, path)
    return Network(net_config=str(path), reset_interval=_STEPS, input_message_bits=8)


def test_netx_builds_our_layers_with_their_shapes_weights_and_biases(tmp_path: Path) -> None:
    network = _network("zero")
    loaded = _load(network, tmp_path)
    conv, *dense = network.layers
    assert isinstance(conv, Conv2d)
    assert len(loaded.layers) == len(network.layers)
    assert loaded.inp.shape == network.input.shape[::-1]
    assert [layer.shape for layer in loaded.layers] == [
        layer.output_shape[::-1] for layer in network
    ]
    # Lava convolves where PyTorch correlates, and orders the axes the other way round.
    synapse = loaded.layers[0].synapse
    flipped = conv.weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
    np.testing.assert_array_equal(synapse.weight.init, flipped)
    for field in ("stride", "padding", "dilation"):
        assert tuple(getattr(synapse, field).init) == getattr(conv, field)[::-1]
    assert synapse.groups.init == conv.groups
    for built, layer in zip(loaded.layers[1:], dense, strict=True):
        scale = 8 - built.synapse.proc_params["num_weight_bits"]
        exponent = built.synapse.proc_params["weight_exp"] + scale
        np.testing.assert_array_equal(built.synapse.weights.init * 2.0**exponent, layer.weight)
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
