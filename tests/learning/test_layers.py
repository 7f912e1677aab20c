from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw.arithmetic.neurons import LayerActivity, SpikeTrain
from tandem_hw.conversion.convert import convert
from tandem_hw.learning.kinds.convolutions import TandemConv
from tandem_hw.learning.kinds.dense import TandemLinear
from tandem_hw.learning.kinds.dropout import TandemDropout
from tandem_hw.learning.layers import SpikingOptions, TandemLayer, TandemSignal
from tandem_hw.learning.quantizer import IntegerParameters, quantize_layer
from tandem_hw.network.choices import Reset
from tandem_hw.network.synapses.geometry import Geometry
from tests.helpers.present import present, present_train
from tests.helpers.rounding import rounding_bound

BATCH, T = 6, 5
GEOMETRY = Geometry(stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2)
KINDS = ["conv", "linear"]
NORMS = ["plain", "norm", "norm without affine"]


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: one for name, one in module.named_parameters() if one.requires_grad}


def make_layer(kind: str, norm: str, *, fires: bool = True, **changes: Any) -> TandemLayer:
    torch.manual_seed(3)
    options = replace(SpikingOptions(T, "subtract"), **changes)
    module: nn.BatchNorm1d | nn.BatchNorm2d | None = None
    if norm != "plain":
        norm_class = nn.BatchNorm2d if kind == "conv" else nn.BatchNorm1d
        module = norm_class(4, eps=1e-3, momentum=0.3, affine=norm == "norm")
        module.running_mean = torch.randn(4)
        module.running_var = torch.rand(4) + 0.5
        if norm == "norm":
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    bias = 0.3 * torch.randn(4)
    if kind == "conv":
        weight = 0.4 * torch.randn(4, 3, 3, 2)
        return TandemConv("conv1", options, weight, bias, module, fires, geometry=GEOMETRY).train()
    return TandemLinear("dense1", options, 0.2 * torch.randn(4, 36), bias, module, fires).train()


def make_signal(kind: str, num_steps: int = T) -> TandemSignal:
    generator = torch.Generator().manual_seed(4)
    shape = (6, 6, 5) if kind == "conv" else (36,)
    spikes = torch.rand((num_steps, BATCH, *shape), generator=generator) < 0.4
    counts = spikes.float().sum(0).requires_grad_()
    return TandemSignal(counts, SpikeTrain(spikes.to(torch.uint8)), scale=0.37)


def in_double(layer: TandemLayer, signal: TandemSignal) -> tuple[TandemLayer, TandemSignal]:
    """Turn a layer and what comes in into float64, which sums in any order to 14 digits."""
    counts = signal.counts.detach().double().requires_grad_()
    return layer.double(), replace(signal, counts=counts)


def run_and_capture(
    layer: TandemLayer, signal: TandemSignal
) -> tuple[TandemSignal, IntegerParameters]:
    """Run a firing layer and also return the integers that its spiking twin ran on."""
    used: list[IntegerParameters] = []
    simulate = layer.simulate

    def watch(
        incoming: Sequence[TandemSignal], integers: IntegerParameters, **options: Any
    ) -> LayerActivity:
        used.append(integers)
        return simulate(incoming, integers, **options)

    layer.simulate = watch  # type: ignore[assignment,method-assign]
    out = layer(signal)
    del layer.simulate
    assert isinstance(out, TandemSignal)
    return out, used[0]


def weighted_sum(layer: TandemLayer, signal: Tensor, weight: Tensor) -> Tensor:
    if isinstance(layer, TandemLinear):
        return F.linear(signal.flatten(1), weight)
    g = GEOMETRY
    return F.conv2d(signal, weight, None, g.stride, g.padding, g.dilation, g.groups)


def integrate_and_fire(
    layer: TandemLayer, spikes: Tensor, integers: IntegerParameters
) -> npt.NDArray[np.int64]:
    """Run the neuron's equation in 64-bit integers, and return the spikes of every step."""
    theta = integers.threshold
    assert theta is not None
    subtract = layer.options.reset == "subtract"
    fired: list[npt.NDArray[np.int64]] = []
    state: Any = 0
    for step in spikes:
        # float64 holds these sums exactly
        incoming = weighted_sum(layer, step.double(), integers.weight.double())
        bias = layer.bias_image(integers.bias).numpy().astype(np.int64)
        state = state + incoming.numpy().astype(np.int64) + (0 if subtract else bias)
        now = (state + (bias if subtract else 0) >= theta).astype(np.int64)
        state = state - theta * now if subtract else state * (1 - now)
        fired.append(now)
    return np.stack(fired)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_forward_pass_of_training_gives_the_integer_networks_spikes(
    kind: str, norm: str, reset: str
) -> None:
    layer = make_layer(kind, norm, reset=reset, activation_max=0.8)
    signal = make_signal(kind)
    out, integers = run_and_capture(layer, signal)
    expected = integrate_and_fire(layer, present_train(signal.train).signal, integers)
    assert len(np.unique(expected.sum(0))) >= 4
    assert np.array_equal(present_train(out.train).signal.numpy(), expected)
    assert np.array_equal(out.counts.detach().numpy(), expected.sum(0))
    assert out.scale == layer.spike_value
    assert out.largest == 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_training_quantizes_with_the_statistics_of_the_batch(kind: str, norm: str) -> None:
    layer, signal = in_double(make_layer(kind, norm), make_signal(kind))
    _, integers = run_and_capture(layer, signal)
    weight, bias = present(layer.weight).detach(), present(layer.bias).detach()
    if norm != "plain":
        total = weighted_sum(layer, signal.counts.detach() * signal.scale, weight)
        axes = [axis for axis in range(total.dim()) if axis != 1]
        mean, variance = total.mean(axes) + bias, total.var(axes, unbiased=False)
        gain, shift = (variance + 1e-3).rsqrt(), torch.zeros(4)
        if norm == "norm":
            trained_norm = present(layer.norm)
            gain, shift = gain * trained_norm.weight.detach(), trained_norm.bias.detach()
        weight = weight * gain.reshape(-1, *[1] * (weight.dim() - 1))
        bias = (bias - mean) * gain + shift
    expected = quantize_layer(
        weight, bias, input_scale=0.37, real_threshold=2 / T, weight_bits=8, name="same"
    )
    assert integers.weight.any()
    assert torch.equal(integers.weight, expected.weight)
    assert torch.equal(integers.bias, expected.bias)
    assert integers.threshold == expected.threshold


@pytest.mark.parametrize("norm", NORMS)
def test_reset_zero_shares_the_bias_out_over_the_window(norm: str) -> None:
    subtract, zero = (make_layer("linear", norm, reset=reset) for reset in ("subtract", "zero"))
    once, each = (layer.integer_parameters(0.37) for layer in (subtract, zero))
    assert once.bias.any()
    real = once.bias * once.unit, T * each.bias * each.unit
    assert (real[0] - real[1]).abs().max() <= (once.unit + T * each.unit) / 2


def twin_gradients(
    layer: TandemLayer, signal: TandemSignal, upstream: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Differentiate the ordinary layer, and return the mask that was applied as well."""
    counts = signal.counts.detach().clone().requires_grad_()
    parameters = {k: v.detach().clone().requires_grad_() for k, v in trained(layer).items()}
    z = weighted_sum(layer, counts * signal.scale, parameters["weight"])
    z = z + parameters["bias"].reshape(1, -1, *[1] * (z.dim() - 2))
    if layer.norm is not None:
        gain, shift = parameters.get("norm.weight"), parameters.get("norm.bias")
        z = F.batch_norm(z, None, None, gain, shift, training=True, eps=layer.norm.eps)
    if not layer.fires:
        z.backward(upstream)
        mask = torch.ones_like(z, dtype=torch.bool)
    else:
        a = z / (layer.spike_value)
        mask = (a > 0) & (a < T) if layer.options.twin == "clip" else a > 0
        a.backward(upstream * mask)
    assert counts.grad is not None
    found = {"counts": counts.grad}
    for name, parameter in parameters.items():
        assert parameter.grad is not None
        found[name] = parameter.grad
    return found, mask


def layer_gradients(
    layer: TandemLayer, signal: TandemSignal, upstream: Tensor
) -> dict[str, Tensor]:
    out = layer(signal)
    (out if isinstance(out, Tensor) else out.counts).backward(upstream)
    named = {"counts": signal.counts, **trained(layer)}
    found = {}
    for name, tensor in named.items():
        assert tensor.grad is not None, name
        found[name] = tensor.grad
    return found


def upstream_gradient(layer: TandemLayer, signal: TandemSignal) -> Tensor:
    with torch.no_grad():
        shape = weighted_sum(layer, signal.counts, present(layer.weight)).shape
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def require_same_gradients(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Compare gradients that were computed in float64."""
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert found[name].dtype == torch.float64, name
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-9, atol=1e-12, msg=partial("{}: {}".format, name)
        )


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("twin", ["clip", "relu"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_the_masked_gradient_of_the_ordinary_twin(
    kind: str, norm: str, twin: str, reset: str
) -> None:
    layer = make_layer(kind, norm, twin=twin, reset=reset, activation_max=0.8)
    upstream = upstream_gradient(layer, make_signal(kind))
    layer, signal = in_double(layer, make_signal(kind))
    expected, mask = twin_gradients(layer, signal, upstream.double())
    found = layer_gradients(layer, signal, upstream)
    assert 0 < int(mask.sum()) < mask.numel()
    require_same_gradients(found, expected)
    assert expected["counts"].any()


def test_the_two_masks_differ_above_the_window() -> None:
    upstream = upstream_gradient(make_layer("linear", "plain"), make_signal("linear"))
    first, second = (
        layer_gradients(
            make_layer("linear", "plain", twin=twin, activation_max=0.4),
            make_signal("linear"),
            upstream,
        )["weight"]
        for twin in ("clip", "relu")
    )
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("norm", NORMS)
def test_a_readouts_gradient_is_the_unmasked_one_of_the_twin(norm: str) -> None:
    layer = make_layer("linear", norm, fires=False)
    upstream = upstream_gradient(layer, make_signal("linear"))
    layer, signal = in_double(layer, make_signal("linear"))
    expected, _ = twin_gradients(layer, signal, upstream.double())
    require_same_gradients(layer_gradients(layer, signal, upstream), expected)


@pytest.mark.parametrize("encoding", ["first_step", "constant"])
def test_the_gradient_sees_the_real_value_of_an_encoded_input(encoding: Any) -> None:
    options: dict[str, Any] = {"num_steps": T, "encoding": encoding}
    model = convert(nn.Sequential(nn.Linear(36, 4)), input_shape=(36,), **options)
    generator = torch.Generator().manual_seed(6)
    pixels = torch.randint(0, 16, (BATCH, 36), dtype=torch.uint8, generator=generator)
    upstream = torch.randn(BATCH, 4, generator=generator)
    model(pixels).backward(upstream)
    expected = upstream.double().T @ (pixels.double() / 15)
    assert expected.any()
    # A product, the sum over the batch, and the scale that is rounded and multiplied by.
    bound = rounding_bound(BATCH + 3, upstream.double().abs().T @ (pixels.double() / 15))
    assert ((present(present(model.tandem_layers[0].weight).grad) - expected).abs() <= bound).all()


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_readout_gives_its_integer_potential_in_real_units(mode: str) -> None:
    layer, signal = make_layer("linear", "norm", fires=False), make_signal("linear")
    layer.train(mode == "train")
    seen: list[LayerActivity] = []
    logits = layer(signal, lambda _, activity, __: seen.append(activity))
    assert isinstance(logits, Tensor)
    potential = seen[0].potential
    assert potential is not None
    assert potential.unique().numel() > BATCH
    assert torch.equal(potential, potential.round())
    unit = logits.detach().double() / potential.double()
    assert unit.max() == pytest.approx(float(unit.min()), rel=2 * rounding_bound(1, 1.0))
    if mode == "eval":
        integers = layer.integer_parameters(signal.scale)
        expected = signal.counts.detach().double() @ integers.weight.T + integers.bias
        assert torch.equal(potential.double(), expected)
        assert torch.equal(logits.detach(), (potential * integers.unit).float())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_gives_the_same_with_and_without_gradients(kind: str, norm: str) -> None:
    layer, signal = make_layer(kind, norm).eval(), make_signal(kind)
    state = copy.deepcopy(layer.state_dict())
    with_gradient = layer(signal)
    with torch.no_grad():
        without = layer(signal)
    assert with_gradient.counts.requires_grad
    assert with_gradient.counts.any()
    assert torch.equal(with_gradient.counts, without.counts)
    assert all(torch.equal(value, state[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("norm", NORMS[1:])
@pytest.mark.parametrize("kind", KINDS)
def test_running_statistics_are_updated_as_pytorch_updates_them(kind: str, norm: str) -> None:
    layer, signal = in_double(make_layer(kind, norm), make_signal(kind))
    norm_of_layer = present(layer.norm)
    ordinary = copy.deepcopy(norm_of_layer)
    before = present(ordinary.running_mean).clone()
    for _ in range(2):
        layer(signal)
        with torch.no_grad():
            total = weighted_sum(layer, signal.counts * signal.scale, present(layer.weight))
            ordinary(total + layer.bias_image(present(layer.bias)))
    assert norm_of_layer.num_batches_tracked == 2
    assert not torch.allclose(present(norm_of_layer.running_mean), before)
    for name, value in ordinary.state_dict().items():
        torch.testing.assert_close(norm_of_layer.state_dict()[name], value, rtol=1e-9, atol=1e-12)


def saved_bytes(num_steps: int, reset: Reset) -> int:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Conv2d(6, 4, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 3 * 3, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )
    model = convert(network, input_shape=(2, 8, 8), num_steps=num_steps, reset=reset)
    images = torch.randint(0, 16, (5, 2, 8, 8), dtype=torch.uint8)
    total = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(images)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in trained(model).values())
    return total


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_what_is_kept_for_the_backward_pass_does_not_grow_with_the_window(reset: Reset) -> None:
    short, long = saved_bytes(4, reset), saved_bytes(32, reset)
    assert short > 5 * 2 * 8 * 8 * 4  # the first layer's input at the least
    assert short == long


def test_an_observer_is_told_what_the_layer_did() -> None:
    layer, signal = make_layer("conv", "norm"), make_signal("conv")
    seen: list[tuple[TandemLayer, LayerActivity]] = []
    out = layer(signal, lambda *told: seen.append(told))
    assert [told[0] for told in seen] == [layer]
    assert out.counts.any()
    assert torch.equal(present(seen[0][1].counts), out.counts)
    assert torch.equal(present(seen[0][1].spikes), out.train.signal)


def dropped(signal: TandemSignal, p: float, *, channels: bool = False) -> TandemSignal:
    torch.manual_seed(7)
    out = TandemDropout(p, channels).train()(signal)
    assert isinstance(out, TandemSignal)
    return out


@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_dropout_silences_whole_windows_and_keeps_integers(kind: str, channels: bool) -> None:
    signal = make_signal(kind)
    out = dropped(signal, 0.3, channels=channels)
    kept = out.counts.detach() > 0
    sent, spikes = present_train(out.train).signal, present_train(signal.train).signal
    assert 0.5 < kept.float().mean() / (signal.counts > 0).float().mean() < 0.9
    assert sent.dtype == torch.uint8
    assert torch.equal(sent, spikes * kept)
    assert torch.equal(out.counts, sent.sum(0).float())
    if channels and kind == "conv":
        per_channel = out.counts.flatten(2)
        whole = torch.equal(per_channel, signal.counts.flatten(2) * per_channel.any(2, True))
        assert whole


def test_dropout_drops_what_an_encoded_input_sends_in_every_step() -> None:
    pixels = torch.randint(1, 16, (4, 30), dtype=torch.uint8)
    signal = TandemSignal(pixels.float() * T, SpikeTrain(pixels, range(T)), 0.1, 15)
    out = dropped(signal, 0.5)
    sent = present_train(out.train)
    assert (sent.sent, out.largest) == (range(T), 15)
    assert 0 < int((out.counts == 0).sum()) < out.counts.numel()
    assert torch.equal(out.counts, sent.signal.float() * T)


def test_dropout_compensates_through_the_value_of_a_count() -> None:
    counts = torch.full((100, 400), 3.0)
    train = SpikeTrain(torch.ones(3, 100, 400, dtype=torch.uint8))
    out = dropped(TandemSignal(counts, train, scale=0.37), 0.25)
    assert out.scale == pytest.approx(0.37 / 0.75, rel=1e-12)
    # The share that is kept has a standard deviation of sqrt(p (1 - p) / 40000) = 0.0022.
    assert float(out.counts.mean()) * out.scale == pytest.approx(3 * 0.37, rel=5 * 0.0022 / 0.75)


def test_the_next_layer_folds_the_compensation_into_its_integers() -> None:
    layer, signal = make_layer("linear", "plain", fires=False), make_signal("linear")
    out = dropped(signal, 0.5)
    logits = layer(out)
    parameters = (present(layer.weight).double(), present(layer.bias).double())
    exact = F.linear(out.counts.double() * signal.scale / 0.5, *parameters)
    unit = layer.integer_parameters(out.scale).unit
    # A weight is off by one unit at most on a count, a bias by half a unit; the logit is rounded.
    bound = (out.counts.detach().double().sum(1, keepdim=True) + 0.5) * unit
    bound = bound + rounding_bound(1, logits.abs().double())
    assert exact.abs().max() > 10 * unit
    assert ((logits - exact).abs() <= bound).all()
    assert bound.max() < exact.abs().max()


def test_the_gradient_of_dropout_reaches_the_kept_neurons_alone() -> None:
    signal = make_signal("conv")
    out = dropped(signal, 0.5)
    out.counts.sum().backward()
    kept = out.counts.detach() > 0
    assert kept.any()
    assert signal.counts.grad is not None
    assert torch.equal(signal.counts.grad[kept], torch.ones(int(kept.sum())))
    assert 0.4 < signal.counts.grad.mean() < 0.6


@pytest.mark.parametrize(("p", "training"), [(0.4, False), (0.0, True)])
def test_dropout_does_nothing_in_evaluation_and_with_probability_zero(
    p: float, training: bool
) -> None:
    signal = make_signal("conv")
    assert TandemDropout(p).train(training)(signal) is signal
