"""Layers that wait before they fire, in training: the same integers, fewer products, the twin."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tandem_hw.arithmetic.layer_window import LayerWindow
from tandem_hw.arithmetic.neurons import LayerActivity
from tandem_hw.arithmetic.synapses import convolve, dense, largest_magnitude, one_to_one
from tandem_hw.conformance import oracle
from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ConversionError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning import layers as layers_module
from tandem_hw.learning.layers import TandemLayer
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.network.synapses.geometry import Geometry
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend, trace
from tandem_hw.verification.step import verify
from tests.helpers.graph_networks import NETWORKS, converted, inputs_of
from tests.helpers.present import present
from tests.helpers.rounding import rounding_bound

ONE: dict[str, Any] = {"firing_delay": 1}
PHASED: dict[str, Any] = {
    "firing_delay": "phased",
    "initial_potential": 0.5,
    "learn_thresholds": True,
}
EVENTS: dict[str, Any] = {
    "firing_delay": "phased",
    "encoding": "events",
    "readout": "count",
    "weight_bits": 4,
}
CASES = {
    **{f"{name}, phased": (name, PHASED) for name in NETWORKS},
    **{f"{name}, 1": (name, ONE) for name in ("residual", "one axis")},
    **{f"{name}, events": (name, EVENTS) for name in ("functional", "autoencoder")},
}


def settle(model: TandemNetwork, inputs: Tensor) -> TandemNetwork:
    """Train one step, and run until the running statistics are those of the inputs."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    (model(inputs) - 1).square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        for _ in range(30):
            model(inputs)
    return model


@pytest.mark.parametrize("case", CASES)
def test_a_network_that_waits_is_on_the_reference_what_it_is_in_training(case: str) -> None:
    name, options = CASES[case]
    model = converted(name, **options)
    inputs = inputs_of(model)
    settle(model, inputs)
    network = freeze(model.eval())
    assert network.firing_delay == {"phased": 3}.get(options["firing_delay"], 1)
    report = verify(network, inputs.numpy(), None, [ReferenceBackend(), PyTorchBackend(model)])
    report.require_match()
    counts = ReferenceBackend().run(network, inputs.numpy()).counts
    assert all(values.any() for values in counts.values())
    undelayed = freeze(converted(name, **(options | {"firing_delay": 0})))
    assert undelayed.digest != network.digest


def two_layers(**options: Any) -> TandemNetwork:
    """Return a network whose layers are wide for their weights."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 8, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 16, 4),
    )
    return convert(network, input_shape=(3, 4, 4), **({"num_steps": 4} | options))


@dataclass
class Drawn:
    """A random network that waits, without normalisation: its integers are those of evaluation."""

    model: TandemNetwork
    inputs: Tensor
    head_room: float


@st.composite
def drawn_models(draw: st.DrawFn) -> Drawn:
    torch.manual_seed(draw(st.integers(0, 1 << 16)))
    steps, groups = draw(st.integers(2, 8)), draw(st.sampled_from([1, 2]))
    wrapping, stride = draw(st.booleans()), draw(st.sampled_from([1, 2]))
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=draw(st.booleans()) and not wrapping),
        nn.ReLU(),
        nn.Conv2d(6, 4, 2, stride, groups=groups),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36 if stride == 1 else 16, 3),
    )
    if wrapping:  # where only excitation comes in, and no room is made for it, states wrap
        for parameter in network[0].parameters():
            parameter.data.abs_()
    model = convert(
        network,
        input_shape=(3, 4, 4),
        num_steps=steps,
        firing_delay=draw(st.sampled_from([1, steps - 1, draw(st.integers(1, steps - 1))])),
        input_bits=8,
        encoding=draw(st.sampled_from(["first_step", "constant", "events"])),
        readout=draw(st.sampled_from(["potential", "count"])) if not wrapping else "potential",
        weight_bits=8 if wrapping else draw(st.sampled_from([3, 8])),
        initial_potential=draw(st.sampled_from([0.0, 0.5])),
        activation_max=draw(st.sampled_from([0.02, 0.2, 1.0])),
    )
    brightest = draw(st.sampled_from([255, 100, 40]))
    inputs = torch.randint(0, brightest + 1, (2, *model.sample_shape)).to(torch.uint8)
    return Drawn(model, inputs, 0.0 if wrapping else 2.0)


def check_integers(drawn: Drawn) -> dict[str, bool]:
    """Compare training, evaluation and the reference with the oracle; say what happened."""
    model, inputs = drawn.model, drawn.inputs
    trained: dict[str, tuple[Tensor | None, Tensor]] = {}

    def observe(layer: TandemLayer, activity: LayerActivity, _: Any) -> None:
        trained[layer.name] = activity.counts, activity.final_state()

    model.train()(inputs, observe)
    network = freeze(model.eval())
    expected = oracle.record(network, inputs.numpy())
    counts, states = expected.counts, present(expected.final_state)
    for backend in (ReferenceBackend(), PyTorchBackend(model)):
        found = backend.run(network, inputs.numpy(), keep_final_state=True)
        assert found.counts.keys() == counts.keys()
        for layer in network:
            assert (found.saturation[layer.name] == expected.saturation[layer.name]).all()
            if layer.fires:
                assert (found.counts[layer.name] == counts[layer.name]).all()
                assert (present(found.final_state)[layer.name] == states[layer.name]).all()
        assert (found.output == expected.output).all()
    assert trained.keys() == {layer.name for layer in network}
    for name, (sent, state) in trained.items():
        if sent is not None:
            assert (sent.numpy() == counts[name]).all()
            assert (state.numpy() == states[name]).all()
    return {
        "fires": all(values.any() for values in counts.values()),
        "wraps": any(values.any() for values in expected.saturation.values()),
        "phased": model.architecture.options.phased,
    }


def happened(examples: int, start: int) -> Counter[str]:
    outcomes: Counter[str] = Counter()

    @seed(start)
    @settings(max_examples=examples, deadline=None, database=None)
    @given(drawn_models())
    def check(drawn: Drawn) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layers_module, "_HEAD_ROOM", drawn.head_room)
            found = check_integers(drawn)
        outcomes.update(name for name, does in found.items() if does)
        outcomes["wraps and phased"] += found["wraps"] and found["phased"]

    check()
    return outcomes


def test_training_gives_the_integers_of_the_oracle() -> None:
    outcomes = happened(25, 0)
    assert outcomes["fires"] > 10
    assert outcomes["wraps and phased"] > 2


@pytest.mark.exhaustive
@pytest.mark.parametrize("start", range(1, 5))
def test_training_gives_the_integers_of_the_oracle_on_many_networks(start: int) -> None:
    assert happened(500, start)["wraps and phased"] > 25


def test_a_trace_shows_spikes_one_after_the_other() -> None:
    model = two_layers(num_steps=5, firing_delay="phased", activation_max=0.3)
    inputs = inputs_of(model, 4)
    model(inputs)
    network = freeze(model.eval())
    counts = ReferenceBackend().run(network, inputs.numpy()).counts
    traced = trace(network, inputs.numpy())
    assert traced.keys() == counts.keys() == {"conv1", "conv2"}
    for name, spikes in traced.items():
        assert spikes.shape == (4, 5, *counts[name].shape[1:])
        assert (spikes.sum(1) == counts[name]).all()
        assert (spikes[:, 1:] <= spikes[:, :-1]).all()
        assert spikes.any()


def products(model: TandemNetwork, inputs: Tensor) -> dict[str, list[tuple[int, int]]]:
    """Train one step and return per layer the outputs and the signals of its products."""
    found: dict[str, list[tuple[int, int]]] = {}
    for layer in model.tandem_layers:
        calls = found[layer.name] = []

        def watched(
            signal: Tensor,
            weight: Tensor,
            calls: list[tuple[int, int]] = calls,
            product: Any = layer.synaptic_input,
        ) -> Tensor:
            calls.append((len(weight), len(signal)))
            result: Tensor = product(signal, weight)
            return result

        object.__setattr__(layer, "synaptic_input", watched)
    model.train()(inputs).sum().backward()
    return found


def test_a_phased_layer_takes_one_product_of_counts() -> None:
    inputs = inputs_of(two_layers(num_steps=8), 3)
    phased = two_layers(num_steps=8, firing_delay="phased", activation_max=0.5)
    assert products(phased, inputs) == {"conv1": [(12, 3)], "conv2": [(8, 3)], "dense3": [(4, 3)]}
    plain = products(two_layers(num_steps=8), inputs)
    assert plain == {"conv1": [(12, 3)], "conv2": [(8, 24)], "dense3": [(4, 24)]}


@pytest.mark.parametrize("delay", [0, 1, "phased"])
def test_a_step_leaves_nothing_to_the_garbage_collector(
    delay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[weakref.ref[Any]] = []
    keep = LayerWindow._keep

    def watched(window: LayerWindow, samples: slice, state: Any, counts: Any) -> None:
        kept.extend((weakref.ref(window), weakref.ref(state)))
        keep(window, samples, state, counts)

    monkeypatch.setattr(LayerWindow, "_keep", watched)
    model = two_layers(num_steps=4, firing_delay=delay, activation_max=0.5).train()
    inputs = inputs_of(model, 3)
    gc.collect()
    gc.disable()
    try:
        model(inputs).sum().backward()
        assert len(kept) >= 6
        assert all(one() is None for one in kept)
    finally:
        gc.enable()


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_no_part_of_a_sum_is_beyond_the_largest_magnitude(groups: int) -> None:
    generator = torch.Generator().manual_seed(groups)

    def integers(*shape: int, least: int = -127) -> Tensor:
        return torch.randint(least, 128, shape, generator=generator).float()

    geometry = Geometry((1, 1), (1, 1), (1, 1), groups)

    def product(signal: Tensor, weight: Tensor) -> Tensor:
        return convolve(signal, weight, geometry)

    signal, weight = integers(2, 8, 5, 5, least=0), integers(4, 8 // groups, 3, 3)
    found = largest_magnitude(product, signal, weight, groups)
    each = product(signal, weight.abs())
    assert found.shape == (2, 1, 5, 5)
    assert (found >= each.amax(1, keepdim=True)).all()
    if groups == 4:  # with one output channel in each group nothing is lost
        assert torch.equal(found, each.amax(1, keepdim=True))


def test_the_largest_magnitude_of_other_synapses() -> None:
    signal = torch.tensor([[1.0, 2.0, 0.0]])
    weight = torch.tensor([[1.0, -4.0, 9.0], [-3.0, 2.0, 9.0]])
    assert largest_magnitude(dense, signal, weight, 1).tolist() == [[3.0 + 8.0]]
    assert largest_magnitude(one_to_one, signal, torch.tensor([5.0]), 1).tolist() == [[10.0]]


@pytest.mark.parametrize("initial_potential", [0.0, 0.5])
def test_a_phased_layer_has_the_gradient_of_its_clip_floor_quantizer(
    initial_potential: float,
) -> None:
    # y = theta clip(floor(a / theta + start), 0, T) with straight-through rounding: its gradient by
    # a is 1 where 0 < a < T theta, and by theta it is c - a / theta there and T above (LSQ).
    torch.manual_seed(3)
    steps, theta = 4, 0.5
    model = convert(
        nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 3)),
        input_shape=(6,),
        num_steps=steps,
        learn_thresholds=True,
        initial_potential=initial_potential,
        firing_delay="phased",
    ).double()
    first, last = model.tandem_layers
    with torch.no_grad():
        present(first.weight).mul_(4)
    inputs = torch.randint(0, 16, (32, 6), dtype=torch.uint8)
    counts = model.record(inputs).counts[first.name].double()
    upstream = torch.randn(32, 3).double()
    model.zero_grad()
    (model.train()(inputs) * upstream).sum().backward()
    real = inputs.double() * model.input_scale
    activation = (real @ present(first.weight).T + present(first.bias)).detach() / theta
    inside = (activation > 0) & (activation < steps)
    above = activation >= steps
    assert inside.any()
    assert above.any()
    assert (counts[inside] != activation[inside]).any()
    below = upstream @ present(last.weight).detach()  # the gradient by y
    # The counts are of integer weights, so one that is T need not lie where a is above.
    of_theta = counts - inside * activation
    wanted = float((below * of_theta).sum().detach()) / steps  # theta is activation_max / T
    found = float(present(first.activation_max.grad))
    # The gradient by a count is rounded to float32 once, all else is in float64.
    parts = (below * of_theta).abs().sum() + (below * inside * activation).abs().sum()
    scale = float(parts.detach())
    assert found == pytest.approx(wanted, rel=0, abs=rounding_bound(1, scale / steps))
    weight = (below * inside).T @ real
    bound = rounding_bound(1, (below * inside).abs().T @ real)
    assert ((present(present(first.weight).grad) - weight).abs() <= bound).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"firing_delay": 4}, "firing_delay is 4; allowed are 0 to 3"),
        ({"firing_delay": "later"}, "firing_delay is 'later'; allowed are 0 to 3"),
        ({"firing_delay": 1, "reset": "zero"}, 'firing_delay is 1 with reset "zero"'),
        ({"firing_delay": "phased", "num_steps": 0}, "num_steps is 0"),
        ({"firing_delay": "phased", "num_steps": "4"}, "num_steps is '4'"),
    ],
)
def test_a_delay_that_cannot_be_is_refused_at_conversion(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConversionError, match=message):
        two_layers(**options)


def test_the_word_for_the_longest_delay() -> None:
    for steps in (1, 2, 7):
        found = two_layers(num_steps=steps, firing_delay="phased").architecture.options
        assert found == SpikingOptions(steps, "subtract", firing_delay=steps - 1)
        assert found.phased is (steps > 1)
    assert not SpikingOptions(4, "subtract", firing_delay=2).phased
    assert "firing_delay 6" in repr(two_layers(num_steps=7, firing_delay="phased"))
    assert "firing_delay" not in repr(two_layers())
