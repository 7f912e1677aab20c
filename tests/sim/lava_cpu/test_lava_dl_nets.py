"""lava-dl's own networks on the reference backend, against the ground truths that it installs.

They lie beside lava-dl's tests. tiny.net and its spikes come from slayer, lava-dl's training
library, PilotNet-LIF's from Lava: their voltages leak, and all of their layers have biases.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tandem_hw.arithmetic.neurons import Incoming, NeuronParameters, SpikeTrain, simulate_layer
from tandem_hw.conformance.layers import dense_layer, network_of
from tandem_hw.errors import FileFormatError
from tandem_hw.export.net_file import read_net, write_net
from tandem_hw.export.netx_reader import read_netx
from tandem_hw.network.quantized import InputSpec
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tandem_hw.sim.reference import ReferenceBackend, trace
from tandem_hw.verification.step import verify

UInt8Array = npt.NDArray[np.uint8]


def _folder() -> Path | None:
    """Return the folder of the tests that lava-dl installs beside itself."""
    try:
        spec = importlib.util.find_spec("lava.lib.dl")
    except ModuleNotFoundError:
        return None
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    folders = [Path(place).parents[2] / "tests/lava/lib/dl/netx" for place in places]
    return next((folder for folder in folders if (folder / "tiny.net").is_file()), None)


FOLDER = _folder() or Path()
pytestmark = pytest.mark.skipif(
    _folder() is None, reason="lava-dl is not installed with its tests; it needs Python 3.10"
)


def load(name: str) -> npt.NDArray[np.float64]:
    """Return an array of spikes or integers of lava-dl's tests."""
    array: npt.NDArray[np.float64] = np.load(FOLDER / "gts" / name)
    return array


def tiny(name: str) -> UInt8Array:
    """Return tiny.net's spikes [steps, C, H, W]; slayer's first step is always silent."""
    spikes = load(f"tinynet/{name}.npy")[0].transpose(3, 0, 1, 2)
    assert not spikes[0].any()
    bits: npt.NDArray[np.uint8] = spikes[1:].astype(np.uint8)
    return bits


def pilotnet(name: str, first: int, steps: int) -> UInt8Array:
    """Return PilotNet's spikes [steps, C, H, W] or [steps, N] from one step on."""
    spikes = load(f"pilotnet_lif/{name}.npy")
    ordered = spikes.transpose(*reversed(range(spikes.ndim)))  # (W, H, C, T) to (T, C, H, W)
    return ordered[first : first + steps].astype(np.uint8)


def input_spikes(
    bias: npt.NDArray[np.float64], threshold: int, decay: int, steps: int
) -> UInt8Array:
    """Return what input neurons with a bias for each pixel send, [steps, C, H, W]."""
    image = torch.from_numpy(np.ascontiguousarray(bias.T).astype(np.float64))
    neurons = NeuronParameters(image, threshold, "zero", proven=True, voltage_decay=decay)
    silence = SpikeTrain(torch.zeros(steps, 1, *image.shape, dtype=torch.uint8))
    activity = simulate_layer([Incoming(silence, lambda signal: signal)], neurons, steps)
    assert activity.spikes is not None
    spikes: UInt8Array = activity.spikes[:, 0].numpy()
    return spikes


def test_tiny_net_fires_in_every_layer_and_step_as_slayer_says() -> None:
    inputs = tiny("input")
    network = read_netx(FOLDER / "tiny.net", num_steps=len(inputs))
    spikes = trace(network, inputs[None])
    for layer, name in zip(network.layers, ("layer1", "output"), strict=True):
        expected = tiny(name)
        assert expected.any()
        found = spikes[layer.name][0].reshape(expected.shape)
        np.testing.assert_array_equal(found, expected)


def test_tiny_net_s_input_neurons_fire_as_slayer_says() -> None:
    expected = tiny("input")
    assert expected.any()
    found = input_spikes(load("tinynet/input_bias.npy"), 26, 1024, len(expected))
    np.testing.assert_array_equal(found, expected)


# 24 steps, with a reset after 17; layer k worked one step after layer k - 1.
@pytest.mark.parametrize(("start", "steps"), [(0, 17), (17, 7)])
def test_pilotnet_fires_in_every_layer_and_step_as_lava_says(start: int, steps: int) -> None:
    names = [*(f"conv-{index}" for index in range(5)), *(f"fc-{index}" for index in range(3))]
    network = read_netx(FOLDER / "gts/pilotnet_lif/network.net", num_steps=steps)
    assert len(network.layers) == 9
    spikes = trace(network, pilotnet("input", start, steps)[None])
    for delay, (layer, name) in enumerate(zip(network.layers, names, strict=False), start=1):
        expected = pilotnet(name, start + delay, steps)
        # The second window reaches the deepest layers after the recording's end.
        assert expected.any() or (start > 0 and name.startswith("fc"))
        np.testing.assert_array_equal(spikes[layer.name][0][: len(expected)], expected)
    assert not spikes["dense10"].any()
    assert not pilotnet("fc-3-s", 0, 25).any()


def test_pilotnet_s_input_neurons_fire_as_lava_says() -> None:
    expected = pilotnet("input", 0, 16)
    found = input_spikes(load("pilotnet_lif/image.npy"), 26, 1024, 16)
    assert expected.any()
    np.testing.assert_array_equal(found, expected)


def test_a_leaky_dense_block_fires_as_lava_dl_says_for_2000_steps() -> None:
    # Values of TestLIFBlocks.test_dense in lava-dl's test_blocks.py; its synapse delays by a step.
    weight, inputs = load("dense/weight.npy").astype(int), load("dense/in.npy").T.astype(np.uint8)
    bias = np.zeros(len(weight), dtype=int)
    layer = dense_layer("only", weight, 8, bias, 7, (weight.shape[1],), voltage_decay=415)
    spec = InputSpec(layer.synapses[0].input_shape, 1, 1.0, "events")
    network = network_of(spec, (layer,), len(inputs), "zero", "count")
    expected = load("dense/out.npy").T
    assert expected.sum() > 1000
    np.testing.assert_array_equal(trace(network, inputs[None])["only"][0][:-1], expected[1:])


def test_mnist_net_is_read_with_its_leak_and_its_readout_without_neurons() -> None:
    network = read_netx(FOLDER / "mnist.net")
    assert (network.num_steps, network.readout, network.input.shape) == (16, "potential", (784,))
    assert [layer.neurons.threshold for layer in network.layers] == [81, 81, None]
    assert [layer.neurons.voltage_decay for layer in network.layers] == [123, 123, 0]
    generator = np.random.default_rng(1)
    inputs = generator.integers(0, 2, (2, *network.sample_shape)).astype(np.uint8)
    recording = ReferenceBackend().run(network, inputs)
    assert all(counts.any() for counts in recording.counts.values())


def test_tiny_net_is_equal_on_lava_and_survives_our_own_file(tmp_path: Path) -> None:
    inputs = tiny("input")
    network = read_netx(FOLDER / "tiny.net", num_steps=len(inputs))
    write_net(network, tmp_path / "tiny.net")
    again = read_net(tmp_path / "tiny.net")
    assert again.digest == network.digest
    verify(again, inputs[None], None, [ReferenceBackend(), LavaCpuBackend()]).require_match()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ntidigits/ntidigits.net", "layer/2/delay is not 0"),
        ("pilotnet_sdnn/network.net", 'neuron/type is "SDNN"'),
    ],
)
def test_what_cannot_be_run_exactly_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        read_netx(FOLDER / "gts" / name)
