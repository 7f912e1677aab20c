"""Max pooling: the frozen neurons fire as often as PyTorch's maximum of the counts says."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tandem_hw.conformance import oracle
from tandem_hw.errors import ConversionError
from tandem_hw.export.freezing import integer_network
from tandem_hw.learning.architecture import FROM_INPUT, Architecture, LayerSpec
from tandem_hw.learning.kinds.max_pooling import TandemMaxPool
from tandem_hw.learning.kinds.max_pooling_neurons import PoolingWindow, max_pooling_layers
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.signals import TandemSignal
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.network.activity import summarise
from tandem_hw.network.quantized import InputSpec
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.spike_rate import FiringLayers
from tandem_hw.verification.step import verify
from tests.helpers.clip_floor import clip_floor
from tests.helpers.present import present

POOLINGS: dict[int, Any] = {1: F.max_pool1d, 2: F.max_pool2d}


@st.composite
def poolings(draw: st.DrawFn, *, longest: int = 12, largest: int = 6) -> dict[str, Any]:
    """Draw lengths, and the arguments of a max pooling whose windows all see a value."""
    axes = draw(st.sampled_from([1, 2, 2]))
    sizes = st.integers(1, largest)

    def numbers(values: st.SearchStrategy[int]) -> tuple[int, ...]:
        return tuple(draw(values) for _ in range(axes))

    kernel = numbers(sizes)
    found = {
        "lengths": numbers(st.integers(1, longest)),
        "kernel_size": kernel,
        "stride": numbers(sizes),
        "padding": tuple(draw(st.integers(0, size // 2)) for size in kernel),
        "dilation": numbers(st.sampled_from([1, 1, 2, 3])),
        "ceil_mode": draw(st.booleans()),
    }
    if any(one.number < 1 or one.sees_nothing for one in windows_of(found)):
        found |= {"padding": (0,) * axes, "dilation": (1,) * axes}
        found["lengths"] = tuple(longest for _ in kernel)
    return found


def windows_of(pooling: dict[str, Any]) -> list[PoolingWindow]:
    names = ("lengths", "kernel_size", "stride", "padding", "dilation")
    return [
        PoolingWindow(*(pooling[name][axis] for name in names), ceil_mode=pooling["ceil_mode"])  # type: ignore[misc]
        for axis in range(len(pooling["lengths"]))
    ]


def pooled(counts: Tensor, pooling: dict[str, Any]) -> Tensor:
    arguments = {name: value for name, value in pooling.items() if name != "lengths"}
    result: Tensor = POOLINGS[len(pooling["lengths"])](counts, **arguments)
    return result


def spec_of(pooling: dict[str, Any]) -> LayerSpec:
    return LayerSpec(
        "maxpool",
        kernel=pooling["kernel_size"],
        bias=False,
        **{name: pooling[name] for name in ("stride", "padding", "dilation", "ceil_mode")},
    )


def model_with(
    pooling: dict[str, Any], num_steps: int = 4, seed: int = 0, **options: Any
) -> TandemNetwork:
    """Return a convolution of random weights, a max pooling of it, and a readout."""
    axes = len(pooling["lengths"])
    plain = {"kernel": (1,) * axes, "stride": (1,) * axes, "dilation": (1,) * axes}
    layers = (
        LayerSpec("conv", 3, padding=(0,) * axes, **plain),  # type: ignore[arg-type]
        replace(spec_of(pooling), source=0),
        LayerSpec("linear", 3, source=1),
    )
    settings_of = {"firing_delay": num_steps - 1, "activation_max": 0.5} | options
    torch.manual_seed(seed)
    model = TandemNetwork(
        Architecture(
            InputSpec((2, *pooling["lengths"]), 4, 1 / 15, "first_step"),
            SpikingOptions(num_steps, "subtract", **settings_of),
            layers,
        )
    )
    torch.nn.init.constant_(present(model.tandem_layers[0].bias), 0.2)  # so that it fires
    return model.eval()


def inputs_of(model: TandemNetwork, samples: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 16, (samples, *model.sample_shape), generator=generator).to(torch.uint8)


@settings(max_examples=150, deadline=None)
@given(pooling=poolings(longest=20, largest=9), seed=st.integers(0, 999))
def test_the_layers_give_the_maximum_of_every_window(pooling: dict[str, Any], seed: int) -> None:
    num_steps = 7
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, num_steps + 1, (2, 2, *pooling["lengths"]), generator=generator)
    sent = {"source": counts.double()}
    layers = max_pooling_layers("pool", "source", 2, windows_of(pooling))
    convolve: Any = {1: F.conv1d, 2: F.conv2d}[len(pooling["lengths"])]
    for layer in layers:
        total = torch.zeros(())
        for one in layer.inputs:
            weight = torch.from_numpy(one.synapses.weight.astype(np.float64))
            geometry: Any = getattr(one.synapses, "geometry", None)
            total = total + (
                sent[one.source] * weight
                if geometry is None
                else convolve(sent[one.source], weight, None, *vars(geometry).values())
            )
        assert layer.neurons.threshold == 2
        assert not layer.neurons.bias.any()
        sent[layer.name] = (total / 2).floor().clamp(0, num_steps)
    wanted = pooled(counts.double(), pooling)
    assert torch.equal(sent["pool"], wanted)
    levels = [math.ceil(math.log2(size)) for size in pooling["kernel_size"]]
    between = levels[-1] > 1 and any(levels[:-1])  # what the rows give is added up first
    assert len(layers) == 1 + sum(levels) + between


POOLINGS_OF_NETWORKS = given(
    pooling=poolings(longest=7, largest=4),
    num_steps=st.sampled_from([1, 2, 4, 8]),
    seed=st.integers(0, 999),
)


def check_frozen(pooling: dict[str, Any], num_steps: int, seed: int) -> None:
    """Compare what three backends count with the maxima of what fires before."""
    model = model_with(pooling, num_steps, seed, initial_potential=0.5)
    inputs = inputs_of(model)
    network = integer_network(model)
    results = [
        ReferenceBackend().run(network, inputs.numpy(), keep_final_state=True),
        oracle.record(network, inputs.numpy()),
        PyTorchBackend(model).run(network, inputs.numpy(), keep_final_state=True),
    ]
    reference, *others = results
    counts = torch.from_numpy(reference.counts["conv1"]).double()
    assume(counts.any())
    assert network.layers[-2].name == "maxpool2"
    for result in results:
        assert torch.equal(
            torch.from_numpy(result.counts["maxpool2"]).double(), pooled(counts, pooling)
        )
    for other in others:
        assert other.counts.keys() == reference.counts.keys()
        for name in reference.counts:
            assert np.array_equal(other.counts[name], reference.counts[name])
            assert np.array_equal(other.final_state[name], reference.final_state[name])
        assert np.array_equal(other.output, reference.output)


@settings(max_examples=15, deadline=None)
@POOLINGS_OF_NETWORKS
def test_the_frozen_layers_give_the_maximum_of_what_fires_before_them(
    pooling: dict[str, Any], num_steps: int, seed: int
) -> None:
    check_frozen(pooling, num_steps, seed)


@pytest.mark.exhaustive
@settings(max_examples=500, deadline=None)
@POOLINGS_OF_NETWORKS
def test_the_frozen_layers_of_many_poolings_give_the_maximum(
    pooling: dict[str, Any], num_steps: int, seed: int
) -> None:
    check_frozen(pooling, num_steps, seed)


POOL_3_2_1 = {
    "lengths": (9, 8),
    "kernel_size": (3, 3),
    "stride": (2, 2),
    "padding": (1, 1),
    "dilation": (1, 1),
    "ceil_mode": False,
}


def test_the_model_is_on_the_pytorch_backend_what_the_reference_runs() -> None:
    model = model_with(POOL_3_2_1)
    network = integer_network(model)
    inputs = inputs_of(model, 6).numpy()
    report = verify(network, inputs, None, [ReferenceBackend(), PyTorchBackend(model)])
    report.require_match()
    reference, own = (
        backend.run(network, inputs) for backend in (ReferenceBackend(), PyTorchBackend(model))
    )
    levels = ("width2", "width3", "width", "height2", "height3")
    names = ["conv1", *(f"maxpool2.{level}" for level in levels), "maxpool2"]
    assert [*own.counts] == [*reference.counts] == names
    assert own.parameter_digest == reference.parameter_digest
    assert all(values.any() for values in own.counts.values())
    assert all(values.any() for values in reference.synops.values())
    for name in reference.synops:
        assert np.array_equal(own.synops[name], reference.synops[name])
    assert summarise(network, own) == summarise(network, reference)
    clipped = clip_floor(network, inputs)
    for name, values in reference.counts.items():
        assert np.array_equal(clipped[name].numpy(), values)


@pytest.mark.parametrize("learns", [False, True])
def test_the_gradient_is_that_of_max_pooling(learns: bool) -> None:
    model = model_with(POOL_3_2_1, learn_thresholds=learns).train()
    inputs = inputs_of(model, 6)
    counts: dict[str, Tensor] = {}

    def keep(layer: TandemMaxPool, given: tuple[TandemSignal], result: TandemSignal) -> None:
        counts["in"], counts["out"] = given[0].counts, result.counts
        for one in counts.values():
            one.retain_grad()
        assert result.train is not None
        assert torch.equal(result.train.signal.sum(0).float(), result.counts)
        assert result.scale == given[0].scale

    pool = model.layers[1]
    assert isinstance(pool, TandemMaxPool)
    pool.register_forward_hook(keep)  # type: ignore[arg-type]
    model(inputs).square().sum().backward()
    before = counts["in"].detach().clone().requires_grad_()
    wanted = pooled(before, POOL_3_2_1)
    assert wanted.any()
    assert torch.equal(counts["out"], wanted)
    assert counts["out"].grad is not None
    wanted.backward(counts["out"].grad)
    assert before.grad is not None
    assert before.grad.any()
    assert torch.equal(counts["in"].grad, before.grad)  # type: ignore[arg-type]


def test_the_ordinary_twin_pools_activations() -> None:
    model = model_with(POOL_3_2_1, activation_max=1e4)
    inputs = inputs_of(model)
    conv, _, last = model.layers
    with torch.no_grad():
        real = F.conv2d(inputs.float() / 15, conv.weight, conv.bias).relu()  # type: ignore[arg-type]
        wanted = F.linear(pooled(real, POOL_3_2_1).flatten(1), last.weight, last.bias)  # type: ignore[arg-type]
        torch.testing.assert_close(model(inputs, spiking=0), wanted, rtol=1e-4, atol=1e-5)
        partly = model(inputs, spiking=1)
    assert partly.shape == wanted.shape
    assert wanted.std() > 0


def test_a_training_is_told_of_layers_with_weights_and_an_evaluation_of_all() -> None:
    model = model_with(POOL_3_2_1)
    seen = {training: FiringLayers() for training in (True, False)}
    for training, firing in seen.items():
        model.train(training)
        model(inputs_of(model), firing)
    assert seen[True].layers == {"conv1": True}
    assert len(seen[False].layers) == 7


def test_pooling_of_one_value_and_one_place_has_no_neurons_but_its_own() -> None:
    pooling = POOL_3_2_1 | {"kernel_size": (1, 1), "padding": (0, 0)}
    network = integer_network(model_with(pooling))
    assert [layer.name for layer in network.layers] == ["conv1", "maxpool2", "dense3"]


@pytest.mark.parametrize(
    ("options", "num_steps"),
    [({"firing_delay": 0}, 4), ({"firing_delay": 2}, 4), ({"firing_delay": 0}, 2)],
)
def test_a_network_that_is_not_phased_is_refused(options: dict[str, int], num_steps: int) -> None:
    message = r'maxpool2 is a max pooling, .*firing_delay="phased" \(num_steps - 1\)'
    with pytest.raises(ConversionError, match=message):
        model_with(POOL_3_2_1, num_steps, **options)


def test_a_reset_to_zero_is_refused() -> None:
    layers = model_with(POOL_3_2_1).architecture.layers
    architecture = Architecture(
        InputSpec((2, 9, 8), 4, 1 / 15, "constant"), SpikingOptions(1, "zero"), layers
    )
    with pytest.raises(ConversionError, match='and reset "subtract" alone: convert with these'):
        TandemNetwork(architecture)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": (2, 8), "padding": (0, 0)}, r"a window of the max pooling \(3, 3\) sees noth"),
        ({"lengths": (1, 8), "kernel_size": (2, 3), "dilation": (2, 1)}, "sees nothing of samples"),
        ({"kernel_size": (3,)}, r"takes no samples of shape \(3, 9, 8\)"),
        ({"lengths": (9,)}, r"takes no samples of shape \(3, 9\)"),
        ({"padding": (2, 1)}, "a padding of 0 to half the kernel"),
        ({"stride": (0, 1)}, "allowed are numbers from 1"),
    ],
)
def test_windows_that_there_cannot_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        model_with(POOL_3_2_1 | change)


def test_windows_that_see_padding_alone_are_those_of_which_pytorch_knows_no_maximum() -> None:
    found = set()
    for length, dilation, stride, padding in itertools.product(
        range(1, 6), range(1, 8), range(1, 4), (0, 1)
    ):
        for kernel, ceil_mode in ((2, False), (2, True), (3, False), (3, True)):
            window = PoolingWindow(length, kernel, stride, padding, dilation, ceil_mode)
            if window.number >= 1:
                maxima = F.max_pool1d(
                    torch.ones(1, 1, length), kernel, stride, padding, dilation, ceil_mode
                )
                assert maxima.shape[-1] == window.number
                assert window.sees_nothing == bool(maxima.isinf().any())
                found.add(window.sees_nothing)
    assert found == {True, False}
    largest = PoolingWindow(4, 10**12, 1, 5 * 10**11, 1, False)  # known without a look at each
    assert (largest.number, largest.sees_nothing) == (5, False)


def test_a_max_pooling_has_no_skips_and_is_none() -> None:
    spec = replace(spec_of(POOL_3_2_1), source=0)
    model = model_with(POOL_3_2_1)
    skip = replace(LayerSpec("sum", bias=False), source=0)
    first, _, last = model.architecture.layers
    for layers, message in (
        ((first, replace(spec, skips=(skip,)), last), "a maxpool has skips, but no neurons"),
        ((first, replace(first, source=0, skips=(spec,)), last), "is a maxpool, which has no syn"),
        ((first, replace(spec, joined=(FROM_INPUT,)), last), "takes the spikes of one layer, not"),
    ):
        with pytest.raises(ConversionError, match=message):
            TandemNetwork(replace(model.architecture, layers=layers))
