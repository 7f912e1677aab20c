"""Thresholds of channels: one threshold on the chip, the same integers in training and everywhere.

A channel whose threshold is a power of two times the common one is a network of one threshold whose
weights are multiplied by powers of two, which loses nothing: both have to freeze to one digest.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ConversionError, FileFormatError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning import model as model_module
from tandem_hw.learning.architecture import Architecture
from tandem_hw.learning.calibration import calibrate
from tandem_hw.learning.checkpoint import Checkpoint, save_checkpoint
from tandem_hw.learning.layers import TandemLayer
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.warm_start import load_tandem_parameters
from tests.helpers.graph_networks import converted, inputs_of
from tests.helpers.kept_integers import assert_kept_everywhere
from tests.helpers.present import present
from tests.helpers.rounding import in_double, rounding_bound

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "residual, phased": ("residual", {"firing_delay": "phased", "initial_potential": 0.5}),
    "autoencoder": ("autoencoder", {"weight_bits": 4}),
    "one axis": ("one axis", {"reset": "zero"}),
    "depthwise and pooling": ("depthwise and pooling", {"initial_potential": 0.5}),
    "joined": ("joined", {"learn_thresholds": True}),
    "pooled": ("pooled", {"initial_potential": 0.5}),
    "counted": ("functional", {"readout": "count"}),
}


def channel_layers(model: TandemNetwork) -> list[TandemLayer]:
    return [layer for layer in model.tandem_layers if layer.activation_max.dim()]


def varied(model: TandemNetwork, seed: int = 0) -> TandemNetwork:
    """Give the channels thresholds of their own, from a half of the common one to twice."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in channel_layers(model):
            shares = 4 ** (torch.rand(layer.activation_max.shape, generator=random) - 0.5)
            layer.activation_max.mul_(shares)
    return model


#: What takes seconds and shows little more.
SLOW = ("autoencoder", "one axis", "counted")


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.exhaustive) if case in SLOW else case for case in CASES],
)
def test_training_evaluation_reference_and_file_are_the_same_integers(
    case: str, tmp_path: Path
) -> None:
    name, options = CASES[case]
    model = varied(converted(name, **options, thresholds_per_channel=True))
    assert channel_layers(model)
    inputs = inputs_of(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    (model(inputs) - 1).square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        for _ in range(20):  # until the running statistics are those of the inputs
            model(inputs)
    network = freeze(model.eval())
    checkpoint = assert_kept_everywhere(model, network, inputs, tmp_path)
    assert torch.load(checkpoint, weights_only=True)["format_version"] == 4


@pytest.mark.parametrize("name", ["residual", "autoencoder", "one axis", "joined"])
def test_without_normalisation_training_has_the_integers_of_evaluation(name: str) -> None:
    model = varied(converted(name, thresholds_per_channel=True))
    for layer in model.tandem_layers:
        for one in layer.synapses:
            one.norm = None
    inputs = inputs_of(model)
    model.eval().record(inputs)  # what follows looks at one pass in each mode
    evaluated = model.record(inputs)
    for module in model.modules():
        if not isinstance(module, nn.Dropout):
            module.training = isinstance(module, TandemLayer)
    trained: dict[str, Tensor] = {}
    peaks = {layer.name: layer.peak.clone() for layer in model.tandem_layers}
    for layer in model.tandem_layers:  # room follows the batch in training alone
        layer._follow_peak = lambda *_: None  # type: ignore[method-assign]

    def keep(layer: Any, activity: Any, _: Any) -> None:
        if activity.counts is not None:
            trained[layer.name] = activity.counts

    model(inputs, keep)
    assert all(torch.equal(layer.peak, peaks[layer.name]) for layer in model.tandem_layers)
    assert all(values.any() for values in evaluated.counts.values())
    assert trained.keys() == evaluated.counts.keys()
    for layer_name, counts in evaluated.counts.items():
        assert torch.equal(trained[layer_name], counts)


def test_a_pass_that_leaves_its_numbers_on_the_device_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {"learn_thresholds": True, "thresholds_per_channel": True}
    one, other = (varied(converted("depthwise and pooling", **options)) for _ in range(2))
    inputs = inputs_of(one)
    outputs = one(inputs)
    outputs.square().sum().backward()
    monkeypatch.setattr(model_module, "may_be_deferred", lambda *_: True)
    left = other(inputs)
    left.square().sum().backward()
    assert torch.equal(outputs, left)
    assert outputs.std() > 0
    for name, parameter in one.named_parameters():
        found = other.get_parameter(name).grad
        assert (parameter.grad is None) == (found is None), name
        if found is not None:
            torch.testing.assert_close(found, present(parameter.grad))
    learnt = [present(layer.activation_max.grad) for layer in channel_layers(one)]
    assert any(gradient.abs().max() > 0 for gradient in learnt)
    for layer, same in zip(one.tandem_layers, other.tandem_layers, strict=True):
        assert torch.equal(layer.peak, same.peak)


class Grouped(nn.Module):
    """Every way in which the spikes of a channel are taken up by weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.grouped = nn.Conv2d(4, 6, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose2d(6, 4, 2, 2, groups=2)
        self.side = nn.Conv2d(4, 3, 2, 2)
        self.last = nn.Linear((4 + 3) * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.grouped(torch.relu(self.first(x))))
        up = torch.relu(self.up(hidden))
        side = torch.relu(self.side(up))
        both = torch.cat([F.avg_pool2d(up, 4), F.avg_pool2d(side, 2)], 1)
        result: Tensor = self.last(both.flatten(1))
        return result


def test_thresholds_of_powers_of_two_are_weights_multiplied_by_them() -> None:
    torch.manual_seed(3)
    ordinary = Grouped()
    given: dict[str, Any] = {
        "input_shape": (2, 4, 4),
        "num_steps": 4,
        "activation_max": 0.5,
        "initial_potential": 0.5,
        "check": False,
    }
    model = convert(ordinary, **given, thresholds_per_channel=True)
    powers: dict[str, Tensor] = {}
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parted in channel_layers(model):
            exponents = torch.randint(-1, 2, parted.activation_max.shape, generator=random)
            powers[parted.name] = 2.0**exponents
            assert len(powers[parted.name].unique()) > 1
            parted.activation_max.mul_(powers[parted.name])
    # conv1, conv2 (grouped), convt3, conv4, and the average poolings, which have one each.
    names = [layer.name for layer in model.tandem_layers]
    assert [name in powers for name in names] == [True] * (len(names) - 1) + [False]
    plain = convert(ordinary, **given)
    with torch.no_grad():
        for index, layer in enumerate(plain.layers):
            assert isinstance(layer, TandemLayer)
            weight = present(layer.weight)
            taken = [
                powers[present(model.layers[source]).name]
                for source in model.origins(index)
                if source >= 0
            ]
            if taken:
                inputs = torch.cat(taken)
                if isinstance(weight, Tensor) and weight.dim() == 2:
                    inputs = inputs.repeat_interleave(weight.shape[1] // len(inputs))
                by_group = inputs.reshape(layer.groups, -1)
                rows = by_group.repeat_interleave(len(weight) // layer.groups, 0)
                weight.mul_(rows.reshape(*weight.shape[:2], *[1] * (weight.dim() - 2)))
            if layer.name in powers:
                own = powers[layer.name]
                weight.div_(own.reshape(-1, *[1] * (weight.dim() - 1)))
                if layer.bias is not None:
                    layer.bias.div_(own)
    inputs = inputs_of(model)
    for network in (model, plain):
        network(inputs)  # the room for potentials
    for one, other in zip(model.tandem_layers, plain.tandem_layers, strict=True):
        assert torch.equal(one.peak, other.peak), one.name
    frozen = freeze(model.eval())
    assert frozen.digest == freeze(plain.eval()).digest
    counts = ReferenceBackend().run(frozen, inputs.numpy()).counts
    assert all(values.any() for values in counts.values())
    assert torch.equal(model(inputs), plain(inputs))


def test_a_step_of_training_is_that_of_the_multiplied_weights() -> None:
    """The gradient of a threshold is the formula's, in float64, where activations are cut off."""
    torch.manual_seed(0)
    ordinary = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Flatten(),
                             nn.Linear(48, 2))  # fmt: skip
    nn.init.constant_(present(ordinary[0].bias), 0.3)
    model = in_double(
        convert(
            ordinary,
            input_shape=(2, 4, 4),
            num_steps=4,
            activation_max=0.1,
            learn_thresholds=True,
            thresholds_per_channel=True,
        )
    )
    varied(model)
    inputs = inputs_of(model)
    layer, last = model.tandem_layers
    model(inputs, spiking=0).square().sum().backward()
    found = present(layer.activation_max.grad)
    ceiling = layer.activation_max.detach().clone().requires_grad_()
    reals = inputs.double() / 15
    hidden = F.conv2d(reals, present(layer.weight), layer.bias, padding=1).detach()
    limit = ceiling[:, None, None]
    activation = torch.minimum(hidden.clamp_min(0), limit)
    outputs = F.linear(activation.flatten(1), present(last.weight), last.bias)
    outputs.square().sum().backward()
    wanted = present(ceiling.grad)
    cut_off = (hidden > limit).flatten(2).any(2).any(0)
    assert cut_off.all()
    bound = rounding_bound(200, 100 * wanted.abs().max(), torch.float64)
    assert ((found - wanted).abs() <= bound).all()


def test_layers_whose_spikes_are_added_or_the_result_keep_one_threshold() -> None:
    model = converted("residual", thresholds_per_channel=True, readout="count")
    for index, (spec, layer) in enumerate(
        zip(model.architecture.layers, model.layers, strict=True)
    ):
        added = any(
            one.kind == "sum" and index in one.parts
            for later in model.architecture.layers
            for one in (later, *later.skips)
        )
        adds = any(one.kind == "sum" for one in (spec, *spec.skips))
        if isinstance(layer, TandemLayer):
            is_last = index == len(model.layers) - 1
            assert layer.activation_max.dim() == (not (added or adds or is_last))
    assert 2 <= len(channel_layers(model)) < len(model.tandem_layers) - 1


def test_a_network_without_such_a_layer_and_a_layer_that_cannot_are_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ConversionError, match="no layer of this network can have a threshold for"):
        convert(network, input_shape=(4,), num_steps=3, thresholds_per_channel=True)
    architecture = converted("residual").architecture
    layers = list(architecture.layers)
    layers[-1] = replace(layers[-1], channel_thresholds=True)
    with pytest.raises(ConversionError, match=r"layer dense\d+ has a threshold for each channel,"):
        TandemNetwork(replace(architecture, layers=tuple(layers)))
    neither: Any = 1
    layers[-1] = replace(layers[-1], channel_thresholds=neither)
    with pytest.raises(ConversionError, match=r"channel_thresholds of layer .* is 1; allowed are"):
        replace(architecture, layers=tuple(layers))


def test_one_threshold_is_taken_up_by_all_channels_and_not_the_other_way(tmp_path: Path) -> None:
    plain, model = converted("joined"), converted("joined", thresholds_per_channel=True)
    inputs = inputs_of(plain)
    calibrate(plain, inputs)
    save_checkpoint(Checkpoint(plain), tmp_path / "plain.pt")
    load_tandem_parameters(model, tmp_path / "plain.pt")
    ceilings = {one.name: float(one.activation_max.max()) for one in plain.tandem_layers}
    for layer in model.tandem_layers:
        assert (layer.activation_max == ceilings[layer.name]).all()
    save_checkpoint(Checkpoint(varied(model)), tmp_path / "own.pt")
    with pytest.raises(FileFormatError, match="have a threshold for each channel; give --thres"):
        load_tandem_parameters(plain, tmp_path / "own.pt")


def test_a_calibration_sets_all_channels_of_a_layer() -> None:
    model, plain = converted("pooled", thresholds_per_channel=True), converted("pooled")
    inputs = inputs_of(model)
    found, wanted = calibrate(model, inputs), calibrate(plain, inputs)
    assert found.keys() == wanted.keys()
    for name, layer in found.items():
        assert layer.activation_max == wanted[name].activation_max
        assert layer.cut_off == wanted[name].cut_off
    assert freeze(model).digest != ""


def test_an_earlier_description_has_no_such_fields() -> None:
    plain = converted("joined").architecture
    content = plain.to_dict()
    assert all(
        "channel_thresholds" not in layer and "weight_bits" not in layer
        for layer in content["layers"]
    )
    own = converted("joined", thresholds_per_channel=True).architecture
    assert own.differs_by_layer
    assert not plain.differs_by_layer
    assert Architecture.from_dict(own.to_dict()) == own
