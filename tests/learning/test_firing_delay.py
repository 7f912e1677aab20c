"""Layers that wait before they fire, in training: the same integers, fewer products, the twin."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tandem_hw.arithmetic.synapses import convolve, dense, largest_magnitude, one_to_one
from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ConversionError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning import layers as layers_module
from tandem_hw.learning.layers import TandemLayer
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.network.synapses.geometry import Geometry
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import verify
from tests.helpers import oracle
from tests.helpers.graph_networks import NETWORKS, converted, inputs_of
from tests.helpers.present import present
from tests.helpers.rounding import rounding_bound

DELAYS: list[dict[str, Any]] = [
    {"firing_delay": 1},
    {"firing_delay": "phased", "initial_potential": 0.5, "learn_thresholds": True},
    {"firing_delay": "phased", "encoding": "events", "readout": "count", "weight_bits": 4},
]


def settle(model: TandemNetwork, inputs: Tensor) -> TandemNetwork:
    """Train one step, and run until the running statistics are those of the inputs."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    (model(inputs) - 1).square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        for _ in range(30):
            model(inputs)
    return model


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("options", DELAYS, ids=["1", "phased", "phased events"])
def test_a_network_that_waits_is_on_the_reference_what_it_is_in_training(
    name: str, options: dict[str, Any]
) -> None:
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


@pytest.mark.parametrize("delay", [1, 2, "phased"])
@pytest.mark.parametrize("wrapping", [False, True])
def test_training_gives_the_integers_of_the_oracle(
    delay: Any, wrapping: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = two_layers(firing_delay=delay, encoding="constant", activation_max=0.05, input_bits=8)
    inputs = inputs_of(model, 2) * 17
    if wrapping:
        monkeypatch.setattr(layers_module, "_HEAD_ROOM", 0.0)
        with torch.no_grad():
            for layer in model.tandem_layers:
                present(layer.weight).abs_()
            present(model.tandem_layers[0].bias).zero_()  # which would keep the weights small
        inputs[0] = 255
    trained: dict[str, Tensor] = {}

    def observe(layer: TandemLayer, activity: Any, _: Any) -> None:
        trained[layer.name] = activity.final_state()

    model.train()(inputs, observe)
    network = freeze(model.eval())
    expected = oracle.record(network, inputs.numpy())
    assert bool(present(expected.saturation)["conv1"].any()) is wrapping
    assert network.bounds[0].proven is not wrapping
    found = ReferenceBackend().run(network, inputs.numpy(), keep_final_state=True)
    for recording in (
        found,
        PyTorchBackend(model).run(network, inputs.numpy(), keep_final_state=True),
    ):
        for name, counts in expected.counts.items():
            assert counts.any()
            assert (recording.counts[name] == counts).all()
        for name, states in present(expected.final_state).items():
            assert (present(recording.final_state)[name] == states).all()
    # Without normalisation the integers of training are those of evaluation.
    for name, states in present(expected.final_state).items():
        assert (trained[name].numpy() == states).all()


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
    activation = (real @ present(first.weight).T + present(first.bias)) / theta
    inside = (activation > 0) & (activation < steps)
    above = activation >= steps
    assert inside.any()
    assert above.any()
    assert (counts[inside] != activation[inside]).any()
    below = upstream @ present(last.weight)  # the gradient by y
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
