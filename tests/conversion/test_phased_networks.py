"""Phased networks with max pooling, joined layers and ceilings: PyTorch's own integers, exactly."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tandem_hw.conversion import layer_reader
from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ConversionError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.user_warnings import ConversionWarning, SilentLayerWarning
from tests.helpers import public_architectures
from tests.helpers.clip_floor import clip_floor
from tests.helpers.graph_networks import NETWORKS, PHASED_NETWORKS
from tests.helpers.ordinary_networks import converted, random_inputs

IMAGE = (2, 9, 8)


def frozen(
    network: nn.Module, shape: tuple[int, ...], samples: Tensor, **options: Any
) -> tuple[TandemNetwork, QuantizedNetwork]:
    """Convert a network phased, calibrate it on samples and freeze it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SilentLayerWarning)  # of random weights
        warnings.simplefilter("ignore", ConversionWarning)  # so do their classes differ
        settings_of: dict[str, Any] = {"num_steps": 4, "firing_delay": "phased"} | options
        model = convert(network.eval(), input_shape=shape, samples=samples, **settings_of)
    return model, freeze(model)


def assert_same(
    model: TandemNetwork, network: QuantizedNetwork, inputs: npt.NDArray[np.uint8]
) -> Recording:
    """Compare reference and model, silent layers included, and return the reference's recording."""
    recording = ReferenceBackend().run(network, inputs)
    own = PyTorchBackend(model).run(network, inputs)
    assert [*own.counts] == [*recording.counts] == [one.name for one in network.spiking_layers]
    assert own.parameter_digest == recording.parameter_digest
    for name in recording.counts:
        assert np.array_equal(own.counts[name], recording.counts[name])
        assert np.array_equal(own.synops[name], recording.synops[name])
    assert np.array_equal(own.output, recording.output)
    return recording


def assert_exact(model: TandemNetwork, network: QuantizedNetwork, samples: Tensor) -> None:
    """Compare reference, model and float64."""
    inputs = samples.numpy()
    recording = assert_same(model, network, inputs)
    assert any(counts.any() for counts in recording.counts.values())
    clipped = clip_floor(network, inputs)
    for name, counts in recording.counts.items():
        assert np.array_equal(clipped[name].numpy(), counts)
    last = clipped[network.layers[-1].name]
    assert np.array_equal(last.flatten(1).numpy(), recording.output)
    assert last.std() > 0


class Part(nn.Module):
    """One block of a chain."""

    def __init__(self, kind: str, number: int, channels: int) -> None:
        super().__init__()
        self.kind, self.number = kind, number
        kernel, padding = 1 + number % 3, number % 2
        self.first = nn.Conv2d(channels, 2 + number % 3, kernel, padding=padding, bias=number > 1)
        self.norm = nn.BatchNorm2d(2 + number % 3) if number % 2 else nn.Identity()
        self.second = nn.Conv2d(channels, 3, kernel, padding=padding) if "join" in kind else None
        self.out = 2 + number % 3 + (3 if "join" in kind else 0)
        self.pool = nn.MaxPool2d(
            2 + number % 2, 1 + number % 2, padding=number // 3, ceil_mode=number > 3
        )

    def forward(self, x: Tensor) -> Tensor:
        first = self.norm(self.first(x))
        if self.second is not None:
            joined = torch.cat([F.relu6(first), self.second(x).clamp(min=0)], 1)
            return self.pool(joined) if "pool" in self.kind else joined  # type: ignore[no-any-return]
        if self.kind == "ceiling":
            return first.clamp(0, 0.3 + self.number / 10)  # type: ignore[no-any-return]
        if self.number % 2:
            return self.pool(torch.relu(first))  # type: ignore[no-any-return]
        return torch.relu(self.pool(first))


class Chain(nn.Module):
    """Blocks one behind the other, and a readout of the last."""

    def __init__(self, plan: list[tuple[str, int]]) -> None:
        super().__init__()
        self.parts = nn.ModuleList()
        channels = IMAGE[0]
        for kind, number in plan:
            self.parts.append(Part(kind, number, channels))
            channels = self.parts[-1].out
        self.last = nn.Conv2d(channels, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        out: Tensor = self.last(x)
        return out


CHAINS = given(
    plan=st.lists(
        st.tuples(
            st.sampled_from(("join", "join and pool", "pool", "pool", "ceiling")),
            st.integers(0, 5),
        ),
        min_size=1,
        max_size=3,
    ),
    num_steps=st.sampled_from([1, 2, 4, 7]),
    seed=st.integers(0, 99),
)


def check_chain(plan: list[tuple[str, int]], num_steps: int, seed: int) -> None:
    torch.manual_seed(seed)
    samples = random_inputs(IMAGE)
    network = Chain(plan)
    with torch.no_grad():
        network.parts[0].first.weight.abs_()  # so that something fires
        try:
            network(torch.zeros(2, *IMAGE))
        except RuntimeError:  # nothing is left for a kernel
            assume(False)
    assert_exact(*frozen(network, IMAGE, samples, num_steps=num_steps), samples)


@settings(max_examples=8, deadline=None)
@CHAINS
def test_random_modules_give_pytorchs_own_integers(
    plan: list[tuple[str, int]], num_steps: int, seed: int
) -> None:
    check_chain(plan, num_steps, seed)


@pytest.mark.exhaustive
@settings(max_examples=200, deadline=None)
@CHAINS
def test_many_random_modules_give_pytorchs_own_integers(
    plan: list[tuple[str, int]], num_steps: int, seed: int
) -> None:
    check_chain(plan, num_steps, seed)


@pytest.mark.parametrize("name", [*sorted(NETWORKS.keys() - {"autoencoder"}), *PHASED_NETWORKS])
def test_networks_of_all_kinds_are_clip_floor_networks_where_they_are_phased(name: str) -> None:
    torch.manual_seed(5)
    build, shape = (NETWORKS | PHASED_NETWORKS)[name]
    samples = random_inputs(shape, 12)
    assert_exact(*frozen(build(), shape, samples), samples)


@pytest.mark.parametrize("name", [*NETWORKS, *PHASED_NETWORKS])
def test_many_steps_come_close_to_the_ordinary_network(name: str) -> None:
    torch.manual_seed(5)
    build, shape = (NETWORKS | PHASED_NETWORKS)[name]
    samples = random_inputs(shape, 12)
    network = build().eval()
    with torch.no_grad():
        wanted = network(samples.float() / 15).flatten(1)
        model, _ = frozen(network, shape, samples, num_steps=50, percentile=100)
        found = model.eval()(samples)
    assert (found - wanted).abs().mean() < 0.15 * wanted.std()


# As torchvision has them --------------------------------------------------------------------------

PUBLIC: dict[str, Callable[..., nn.Module]] = {
    "vgg11_bn": public_architectures.vgg11_bn,
    "resnet18": public_architectures.ResNet18,
    "squeezenet1_1": public_architectures.squeezenet1_1,
}
LAYERS = {"vgg11_bn": 26, "resnet18": 24, "squeezenet1_1": 57}


@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize(
    "width",
    [
        0.06,
        # 10 s for ResNet-18 and 5 s for SqueezeNet; 50 s and 5 GB for VGG-11.
        pytest.param(1.0, marks=pytest.mark.exhaustive),
    ],
)
def test_public_architectures_convert_as_they_come(name: str, width: float) -> None:
    torch.manual_seed(0)
    classes = 1000 if width == 1 else 10
    samples = torch.randint(0, 16, (2, 3, 64, 64)).to(torch.uint8)
    model, network = frozen(PUBLIC[name](width, classes), (3, 64, 64), samples)
    assert len(network.layers) == LAYERS[name]
    assert network.outputs == classes
    recording = assert_same(model, network, samples.numpy())
    assert recording.output.std() > 0
    assert sum(counts.any() for counts in recording.counts.values()) > len(network.layers) // 2


def test_a_linear_bottleneck_is_refused_with_the_reason() -> None:
    network = public_architectures.mobilenet_v2(0.2, 10)
    message = (
        r"layer 3\.layers\.6 is followed by 4\.layers\.0 without a ReLU between; what it gives is "
        r"signed \(as in a linear bottleneck\) and spikes are never negative"
    )
    with pytest.raises(ConversionError, match=message):
        convert(network, input_shape=(3, 32, 32), num_steps=4, firing_delay="phased")


# What is read, and what is refused ----------------------------------------------------------------


class Shifted(nn.MaxPool2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + 1


class Small(nn.Module):
    """A convolution, a function, and a readout of what it gives."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], features: int) -> None:
        super().__init__()
        self.conv, self.side = nn.Conv2d(2, 4, 3), nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(8, 8, 1, groups=4)
        self.uneven = nn.Conv2d(12, 8, 1, groups=2)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(8), nn.BatchNorm2d(8)])
        self.same = nn.Conv2d(2, 8, 3)
        self.further = nn.Linear(features, 4)
        self.last = nn.Linear(features, 3)
        self.function, self.shifted = function, Shifted(2)
        with torch.no_grad():
            self.conv.weight *= 3

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.function(self, x).flatten(1))
        return out


SHAPE = (2, 8, 8)
POOLS: dict[str, tuple[Callable[[Any, Tensor], Tensor], int]] = {
    "a function": (lambda m, x: F.max_pool2d(torch.relu(m.conv(x)), 2), 36),
    "by name": (
        lambda m, x: F.max_pool2d(
            torch.relu(m.conv(x)), kernel_size=(3, 2), stride=(1, 2), padding=(1, 0), ceil_mode=True
        ),
        72,
    ),
    "of torch": (lambda m, x: torch.max_pool2d(torch.relu(m.conv(x)), 3, 2, 0, 1, True), 36),
    "dilated": (lambda m, x: F.max_pool2d(torch.relu(m.conv(x)), 2, 2, dilation=3), 16),
    "a module": (lambda m, x: nn.MaxPool2d(3, 3)(torch.relu(m.conv(x))), 16),
    "before its relu": (lambda m, x: torch.relu(F.max_pool2d(m.norm(m.conv(x)), 2)), 36),
    "before a ceiling": (lambda m, x: F.relu6(F.max_pool2d(m.norm(m.conv(x)), 2, 2, 1)), 64),
    "flattened": (lambda m, x: torch.relu(F.max_pool2d(m.conv(x), 2).flatten(1)), 36),
    "twice": (lambda m, x: F.max_pool2d(F.max_pool2d(torch.relu(m.conv(x)), 2, 1), 2, 1), 64),
    "of an average": (lambda m, x: F.max_pool2d(F.avg_pool2d(torch.relu(m.conv(x)), 2), 2, 1), 16),
    "averaged": (lambda m, x: F.avg_pool2d(F.max_pool2d(torch.relu(m.conv(x)), 2, 1), 2, 1), 64),
    "dropped": (lambda m, x: F.max_pool2d(F.dropout(torch.relu(m.conv(x)), 0.5, False), 2), 36),
    "of one value": (lambda m, x: F.max_pool2d(torch.relu(m.conv(x)), 1), 144),
    "of some values": (lambda m, x: F.max_pool2d(torch.relu(m.conv(x)), 1, 2), 36),
    "of what is joined": (
        lambda m, x: F.max_pool2d(torch.cat([m.conv(x).relu(), m.side(x).relu()], 1), 2), 72
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", POOLS)
def test_a_max_pooling_is_read_in_whatever_way_it_is_written(case: str) -> None:
    function, features = POOLS[case]
    torch.manual_seed(2)
    network = Small(function, features)
    samples = random_inputs(SHAPE)
    model, quantized = frozen(network, SHAPE, samples)
    assert_exact(model, quantized, samples)
    named = [layer.name for layer in quantized.layers if layer.name.startswith("maxpool")]
    assert bool(named) == (case != "of one value")


GROUPS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "groups": lambda m, x: torch.relu(m.grouped(x)),
    "a bias and a normalisation": lambda m, x: torch.relu(m.norms[0](m.grouped(x))),
    "a ceiling behind a flatten": lambda m, x: m.grouped(x).flatten(1).clamp(0, 0.5),
    "each channel": lambda m, x: torch.relu(m.norms[1](m.depthwise(x))),
}


@pytest.mark.parametrize("case", GROUPS)
def test_groups_of_what_is_joined_are_layers_of_their_own(case: str) -> None:
    torch.manual_seed(2)
    network = Small(
        lambda m, x: GROUPS[case](m, torch.cat([m.conv(x).relu(), m.side(x).relu()], 1)), 288
    )
    for norm in network.norms:
        assert isinstance(norm, nn.BatchNorm2d)
        with torch.no_grad():
            norm.weight.uniform_(0.5, 2)
            norm.bias.normal_()
    converted(network, SHAPE, firing_delay="phased")
    samples = random_inputs(SHAPE)
    model, quantized = frozen(network, SHAPE, samples)
    assert_exact(model, quantized, samples)
    assert [[one.source for one in layer.inputs] for layer in quantized.layers] == [
        *(["input"], ["input"], ["conv1"], ["conv2"], ["conv3", "conv4"])
    ]
    groups = 8 if case == "each channel" else 4
    geometries: list[Any] = [layer.inputs[0].synapses for layer in quantized.layers[2:4]]
    assert [one.geometry.groups for one in geometries] == [groups // 2] * 2
    model.train()(samples).square().sum().backward()
    norms = [layer.norm is not None for layer in model.tandem_layers]
    assert norms[2:4] == [case in ("a bias and a normalisation", "each channel")] * 2


ADAPTIVE: dict[str, tuple[Callable[[Any, Tensor], Tensor], int]] = {
    "smaller": (lambda m, x: F.adaptive_avg_pool2d(torch.relu(m.conv(x)), 4), 64),
    "larger": (lambda m, x: F.adaptive_avg_pool2d(torch.relu(m.conv(x)), (7, 9)), 252),
    "of a maximum": (
        lambda m, x: F.adaptive_avg_pool2d(F.max_pool2d(torch.relu(m.conv(x)), 2), (7, 7)), 196
    ),
    "of what is joined": (
        lambda m, x: F.adaptive_avg_pool2d(torch.cat([m.conv(x).relu(), m.side(x).relu()], 1), 4),
        128,
    ),
}  # fmt: skip


DROPPED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "AlexNet's": lambda m, x: F.dropout(
        F.adaptive_avg_pool2d(m.conv(x).relu(), 4).flatten(1), 0.5, m.training
    ),
    "whole channels": lambda m, x: F.dropout2d(
        F.adaptive_avg_pool2d(m.conv(x).relu(), 4), 0.5, m.training
    ),
}


@pytest.mark.parametrize("case", DROPPED)
def test_a_dropout_behind_an_adaptive_pooling_drops_what_is_pooled(case: str) -> None:
    torch.manual_seed(2)
    network = Small(DROPPED[case], 64).eval()
    samples = random_inputs(SHAPE)
    model, quantized = frozen(network, SHAPE, samples)
    first, dropout, last = model.architecture.layers
    assert (first.kind, dropout.kind, last.pooled_to) == ("conv", "dropout", (4, 4))
    assert dropout.channels == (case == "whole channels")
    assert_exact(model, quantized, samples)
    model.train()
    assert not torch.equal(model(samples), model(samples))


@pytest.mark.parametrize("case", ADAPTIVE)
def test_an_adaptive_pooling_with_windows_of_several_sizes_is_folded(case: str) -> None:
    function, features = ADAPTIVE[case]
    torch.manual_seed(2)
    network = Small(function, features)
    model = converted(network, SHAPE, firing_delay="phased")
    last = model.architecture.layers[-1]
    assert len(last.pooled_to) == 2
    samples = random_inputs(SHAPE)
    model, quantized = frozen(network, SHAPE, samples)
    assert_exact(model, quantized, samples)
    model.train()
    model(samples).square().sum().backward()
    gradient = model.tandem_layers[-1].weight
    assert gradient is not None
    assert gradient.grad is not None
    assert gradient.grad.any()


@pytest.mark.parametrize("readout", ["potential", "count"])
def test_an_average_may_end_a_network(readout: Any) -> None:
    layers = [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    torch.manual_seed(2)
    network = nn.Sequential(*layers)
    if readout == "potential":
        converted(network, SHAPE, firing_delay="phased")
    samples = random_inputs(SHAPE)
    model, quantized = frozen(network, SHAPE, samples, readout=readout)
    assert [layer.fires for layer in quantized.layers] == [True, readout == "count"]
    assert_exact(model, quantized, samples)


REFUSED: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "of the input": (
        lambda m, x: torch.relu(m.conv(F.max_pool2d(x, 1, 1))),
        r"layer max_pool2d is a max pooling of the network's input, .*pool the data before the net",
    ),
    "of the input, joined": (
        lambda m, x: F.max_pool2d(torch.cat([x, x], 1), 2),
        "is a max pooling of the network's input",
    ),
    "with indices": (
        lambda m, x: F.max_pool2d(torch.relu(m.conv(x)), 2, return_indices=True)[0],
        r"max_pool2d_with_indices\) cannot be converted exactly.*use MaxPool1d or MaxPool2d",
    ),
    "adaptive": (
        lambda m, x: F.adaptive_max_pool2d(torch.relu(m.conv(x)), 2),
        "use MaxPool1d or MaxPool2d in a phased network, average pooling, or a stride of 2",
    ),
    "after a flatten": (
        lambda m, x: F.max_pool1d(torch.relu(m.conv(x)).flatten(2), 2),
        r"layer max_pool1d \(max pooling\) comes after a Flatten",
    ),
    "no relu behind": (
        lambda m, x: F.max_pool2d(m.conv(x), 2),
        "layer max_pool2d stands before the ReLU of conv, and nothing but that ReLU may come behin",
    ),
    "a norm behind": (
        lambda m, x: torch.relu(m.norm(F.max_pool2d(m.conv(x), 2))),
        "layer max_pool2d stands before the ReLU of conv, and nothing but that ReLU may come behin",
    ),
    "not used": (
        lambda m, x: (F.max_pool2d(m.conv(x), 2), torch.relu(m.side(x)))[1],
        "the result of max_pool2d is not used; leave it out",
    ),
    "groups across what is joined": (
        lambda m, x: m.uneven(torch.cat([m.conv(x).relu()] * 3, 1)).relu(),
        r"layer uneven \(Conv2d\) has 2 groups, one of which takes in channels of several parts",
    ),
    "groups of what is joined without a ReLU": (
        lambda m, x: m.same(x) + m.grouped(torch.cat([m.conv(x).relu(), m.side(x).relu()], 1)),
        "layer grouped has groups of its own for each part of what torch.cat has joined, so only",
    ),
    "a normalisation twice behind groups": (
        lambda m, x: m.norms[1](
            m.norms[0](m.grouped(torch.cat([m.conv(x).relu(), m.side(x).relu()], 1)))
        ).relu(),
        "layer grouped has groups of its own for each part of what torch.cat has joined, so only",
    ),
    "what is joined added": (
        lambda m, x: torch.relu(m.same(x) + torch.cat([m.conv(x).relu(), m.side(x).relu()], 1)),
        r"operation add \(add\) adds spikes that torch.cat has joined as they are; add to each",
    ),
    "the input joined to a layer": (
        lambda m, x: torch.cat([m.conv(x).relu().flatten(1), x.flatten(1)], 1),
        r"skip path dense\d\.part2 starts at the network's input",
    ),
    "an adaptive pooling before a convolution": (
        lambda m, x: torch.relu(m.grouped(F.adaptive_avg_pool2d(torch.relu(m.same(x)), 4))),
        r"adaptive_avg_pool2d: an adaptive pooling to \(4, 4\) has windows of several sizes here",
    ),
    "a layer that is read as another": (
        lambda m, x: m.shifted(torch.relu(m.conv(x))),
        r"layer shifted \(Shifted\) has a forward pass of its own",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_counterpart_is_refused(case: str) -> None:
    function, message = REFUSED[case]
    with torch.no_grad():
        features = function(Small(function, 1), torch.zeros(2, *SHAPE)).flatten(1).shape[1]
    network = Small(function, features)
    with pytest.raises(ConversionError, match=message):
        convert(network, input_shape=SHAPE, num_steps=4, firing_delay="phased")


def test_a_maximum_that_is_read_as_another_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    read = layer_reader.max_pooling_spec
    other: dict[str, Any] = {"padding": (1, 1), "stride": (3, 3)}
    monkeypatch.setattr(
        layer_reader, "max_pooling_spec", lambda *what: replace(read(*what), **other)
    )
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3))
    message = "layer 2 computes something else in the network than what it is read as: .* of "
    with pytest.raises(ConversionError, match=message):
        convert(network, input_shape=SHAPE, num_steps=4, firing_delay="phased")


@pytest.mark.parametrize("delay", [0, 1, 2])
def test_a_max_pooling_needs_a_phased_network(delay: int) -> None:
    network = Small(*POOLS["a function"])
    message = (
        r"layer max_pool2d is a max pooling, whose neurons need to know the whole counts before "
        r'they fire; it is exact with firing_delay="phased" \(num_steps - 1\) and reset "subtract" '
        r"alone: convert with these \(at the command line --firing-delay phased\), or use average "
    )
    with pytest.raises(ConversionError, match=message):
        convert(network, input_shape=SHAPE, num_steps=4, firing_delay=delay)
    with pytest.raises(ConversionError, match=message):
        convert(network, input_shape=SHAPE, num_steps=4, reset="zero")


# Ceilings -----------------------------------------------------------------------------------------

CEILINGS: dict[str, tuple[Callable[[Tensor], Tensor], float | None]] = {
    "ReLU6": (nn.ReLU6(), 6),
    "relu6": (F.relu6, 6),
    "Hardtanh": (nn.Hardtanh(0, 0.5), 0.5),
    "hardtanh": (lambda x: F.hardtanh(x, max_val=0.5, min_val=0), 0.5),
    "hardtanh in place": (lambda x: F.hardtanh_(x, 0, 0.5), 0.5),
    "clamp": (lambda x: x.clamp(0, 0.5), 0.5),
    "clamp in place": (lambda x: x.clamp_(min=0, max=0.5), 0.5),
    "clip": (lambda x: torch.clip(x, 0, 1), 1),
    "clamp behind a ReLU": (lambda x: x.relu().clamp(max=0.5), 0.5),
    "clamp behind a ReLU in place": (lambda x: torch.relu_(x).clamp_(0, 0.5), 0.5),
    "clamp_max behind a ReLU": (lambda x: torch.clamp_max(x.relu(), 0.5), 0.5),
    "Hardtanh behind a ReLU": (lambda x: nn.Hardtanh(-1, 0.5)(x.relu()), 0.5),
    "the lower of two": (lambda x: F.relu6(x.clamp(0, 0.5)).clamp(max=0.75), 0.5),
    "a later lower one": (lambda x: F.relu6(x.relu()).clamp(max=0.5), 0.5),
    "no ceiling": (lambda x: x.clamp(min=0), None),
    "an endless one": (lambda x: x.clamp(0, float("inf")), None),
    "a least value": (lambda x: torch.clamp_min(x, 0), None),
}


@pytest.mark.parametrize(
    ("case", "twin"), [*((case, "clip") for case in CEILINGS), ("clamp", "relu")]
)
def test_an_activation_with_a_ceiling_is_cut_off_there(case: str, twin: str) -> None:
    activation, ceiling = CEILINGS[case]
    torch.manual_seed(2)
    network = Small(lambda m, x: activation(m.conv(x)), 144)
    if ceiling == 6:
        with torch.no_grad():
            network.conv.weight *= 8
    model = converted(network, SHAPE, twin=twin)
    layer = model.tandem_layers[0]
    assert layer.ceiling == ceiling
    if ceiling is None:
        assert layer.spike_value == 1e4 / 4
        return
    assert layer.spike_value == pytest.approx(ceiling / 4, rel=1e-6)
    inputs = random_inputs(SHAPE)
    conv = F.conv2d(inputs.float() / 15, network.conv.weight, network.conv.bias)
    assert (conv > ceiling).any()
    fired = model.eval().record(inputs).counts[layer.name]
    assert (fired == 4).any()
    with torch.no_grad():
        layer.activation_max.fill_(1e9)  # as in a calibration, or learnt
    assert layer.spike_value == ceiling / 4


@pytest.mark.parametrize("percentile", [None, 20, 100])
def test_a_calibration_stays_below_a_ceiling(percentile: float | None) -> None:
    torch.manual_seed(2)
    network = Small(lambda m, x: m.conv(x).clamp(0, 0.5), 144)
    samples = random_inputs(SHAPE)
    model, quantized = frozen(network, SHAPE, samples, percentile=percentile)
    assert 0 < float(model.tandem_layers[0].activation_max) <= 0.5
    if percentile == 100:
        assert float(model.tandem_layers[0].activation_max) == 0.5
    assert_exact(model, quantized, samples)


def test_a_learnt_ceiling_may_go_down_and_not_up() -> None:
    torch.manual_seed(2)
    network = Small(lambda m, x: m.conv(x).clamp(0, 0.5), 144)
    model = convert(network, input_shape=SHAPE, num_steps=4, learn_thresholds=True)
    layer = model.tandem_layers[0]
    inputs = random_inputs(SHAPE)
    for sign in (1, -1):
        model.zero_grad()
        (sign * model(inputs).sum()).backward()
        assert layer.activation_max.grad is not None
        assert float(layer.activation_max.grad) != 0
    with torch.no_grad():
        layer.activation_max.fill_(0.7)
    assert layer.spike_value == 0.125
    with torch.no_grad():
        layer.activation_max.fill_(0.25)
    assert layer.spike_value == 0.0625


NO_CEILINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "a signed Hardtanh": nn.Hardtanh(),
    "a signed hardtanh": F.hardtanh,
    "a signed clamp": lambda x: x.clamp(-1, 1),
    "a least value that is not 0": lambda x: x.clamp(0.5, 1),
    "no least value": lambda x: x.clamp(max=2),
    "a tensor": lambda x: x.clamp(torch.tensor(0.0), torch.tensor(1.0)),
    "a ceiling of 0": lambda x: x.clamp(0, 0),
    "a largest value": lambda x: torch.clamp_max(x, 1),
}


@pytest.mark.parametrize("case", NO_CEILINGS)
def test_what_is_not_cut_off_at_0_is_refused(case: str) -> None:
    network = Small(lambda m, x: NO_CEILINGS[case](m.conv(x)), 144)
    message = r"cannot be converted exactly.*for a ceiling c of your own ReLU6, Hardtanh\(0, c\) or"
    with pytest.raises(ConversionError, match=message):
        convert(network, input_shape=SHAPE, num_steps=4)


def both(m: Any, x: Tensor) -> Tensor:
    fired = m.conv(x).relu()
    return torch.cat([fired.clamp(max=0.5), fired], 1)


def taken_before(m: Any, x: Tensor) -> Tensor:
    fired = m.conv(x).relu()
    pooled = F.avg_pool2d(fired, 2)
    return torch.cat([pooled, F.avg_pool2d(fired.clamp(max=0.5), 2)], 1)


LATE_CEILINGS: dict[str, tuple[Callable[[Any, Tensor], Tensor], int, str]] = {
    "used without it later": (both, 288, r"conv is used both without the ceiling of clamp"),
    "used without it before": (taken_before, 72, r"conv is used both without the ceiling of cla"),
    "behind a pooling": (
        lambda m, x: F.avg_pool2d(m.conv(x).relu(), 2).clamp(max=0.5), 36,
        r"layer clamp \(clamp\) does not follow a Conv2d or Linear",
    ),
    "of the input": (
        lambda m, x: m.conv(x.clamp(0, 0.5)).relu(), 144,
        r"layer clamp \(clamp\) does not follow a Conv2d or Linear",
    ),
    "a second ReLU": (
        lambda m, x: m.conv(x).relu().clamp(min=0), 144,
        r"layer clamp \(clamp\) does not follow a Conv2d or Linear",
    ),
    "a least value above 0": (
        lambda m, x: m.conv(x).relu().clamp(0.1, 1), 144, "cannot be converted exactly",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LATE_CEILINGS)
def test_a_ceiling_behind_a_relu_is_refused_where_it_is_not_the_layers(case: str) -> None:
    function, features, message = LATE_CEILINGS[case]
    network = Small(function, features)
    with pytest.raises(ConversionError, match=message):
        convert(network, input_shape=SHAPE, num_steps=4)


def test_a_ceiling_behind_a_relu_is_that_of_every_part_of_a_cat() -> None:
    def function(m: Any, x: Tensor) -> Tensor:
        joined = torch.cat([m.conv(x).relu(), m.side(x).relu()], 1)
        return F.avg_pool2d(joined.clamp(max=0.5), 2)

    torch.manual_seed(2)
    network = Small(function, 72)
    model = converted(network, SHAPE)
    assert [layer.ceiling for layer in model.tandem_layers[:2]] == [0.5, 0.5]
    samples = random_inputs(SHAPE)
    model, quantized = frozen(network, SHAPE, samples)
    assert_exact(model, quantized, samples)
