"""Thresholds and room for potentials, measured on samples: nothing saturates in silence."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import Dataset, Labels
from tandem_hw.data.datasets import load_dataset
from tandem_hw.data.splits import split_validation
from tandem_hw.errors import ConversionError
from tandem_hw.export.freezing import freeze, integer_network
from tandem_hw.learning.calibration import calibrate, calibrate_thresholds
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.fixed_point import STATE_LIMIT
from tandem_hw.network.inputs import quantize_inputs
from tandem_hw.network.recording import Recording
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.training.loop import train
from tandem_hw.training.options import TrainingOptions
from tandem_hw.user_warnings import (
    ConversionWarning,
    InputWarning,
    SilentLayerWarning,
    UncalibratedWarning,
)
from tests.helpers.labels import labels_of
from tests.helpers.present import present

BITS, SCALE = 4, 1 / 15


def fitted(network: nn.Module, dataset: Dataset, epochs: int) -> nn.Module:
    """Train an ordinary network by plain PyTorch."""
    images, labels = torch.from_numpy(dataset.x_train), torch.from_numpy(dataset.y_train)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    return network.eval()


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """Half of the digits to train on and half to test on, so that chance counts for less."""
    dataset = load_dataset("digits")
    images = np.concatenate([dataset.x_train, dataset.x_test])
    labels = np.concatenate([dataset.y_train, dataset.y_test])
    train, test = split_validation(len(labels), labels, 0.5, seed=0)
    return replace(
        dataset,
        x_train=images[train],
        wanted_train=Labels(labels[train], dataset.classes),
        x_test=images[test],
        wanted_test=Labels(labels[test], dataset.classes),
    )


@pytest.fixture(scope="module")
def samples(digits: Dataset) -> npt.NDArray[np.uint8]:
    return quantize_inputs(digits.x_train[:256], BITS, SCALE)


@pytest.fixture(scope="module")
def cnn(digits: Dataset) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24), nn.ReLU()),
        nn.Flatten(),
        *(nn.Linear(384, 48), nn.ReLU(), nn.Linear(48, 10)),
    )
    return fitted(network, digits, epochs=15)


def accuracy_of(network: nn.Module, digits: Dataset) -> float:
    with torch.no_grad():
        outputs = network(torch.from_numpy(digits.x_test))
    return float(np.mean(outputs.argmax(1).numpy() == digits.y_test))


def run(model: TandemNetwork, digits: Dataset) -> Recording:
    recording = ReferenceBackend().run(
        freeze(model), quantize_inputs(digits.x_test, BITS, SCALE), labels_of(digits)
    )
    assert all(counts.any() for counts in recording.counts.values())
    return recording


@pytest.mark.parametrize("num_steps", [7, 15, 31, 63, 127])
def test_a_network_that_is_converted_with_samples_is_as_good_as_the_ordinary_one(
    cnn: nn.Module, digits: Dataset, samples: npt.NDArray[np.uint8], num_steps: int
) -> None:
    ordinary = accuracy_of(cnn, digits)
    assert ordinary > 0.95
    model = convert(cnn, input_shape=digits.shape, num_steps=num_steps, samples=samples)
    assert model.training
    recording = run(model, digits)
    assert recording.accuracy is not None
    assert recording.accuracy >= ordinary - 0.01
    assert max(recording.peak.values()) < STATE_LIMIT


def test_without_samples_a_long_window_saturates(cnn: nn.Module, digits: Dataset) -> None:
    recording = run(convert(cnn, input_shape=digits.shape, num_steps=127), digits)
    assert recording.accuracy is not None
    assert recording.accuracy < accuracy_of(cnn, digits) - 0.1
    assert max(recording.peak.values()) >= STATE_LIMIT


def test_a_wide_readout_gets_room_by_the_calibration_of_thresholds(
    digits: Dataset, samples: npt.NDArray[np.uint8]
) -> None:
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 4096), nn.ReLU(), nn.Linear(4096, 10))
    ordinary = accuracy_of(fitted(wide, digits, epochs=3), digits)
    assert ordinary > 0.9
    model = convert(wide, input_shape=digits.shape, num_steps=7)
    calibrate_thresholds(model, torch.from_numpy(samples))
    recording = run(model, digits)
    assert recording.accuracy is not None
    assert recording.accuracy >= ordinary - 0.01
    assert STATE_LIMIT / 8 < recording.peak["dense2"] < STATE_LIMIT


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.inner = nn.Conv2d(6, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Conv2d(6, 8, 3, stride=2)
        self.out = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(self.norm(self.inner(x)) + x)
        x = torch.relu(self.head(nn.functional.avg_pool2d(x, 2)))
        out: torch.Tensor = self.out(x.mean((2, 3)))
        return out


@pytest.mark.parametrize(
    "options",
    [
        {"reset": "subtract", "num_steps": 96},
        {"reset": "zero", "num_steps": 96},
        {"reset": "zero", "num_steps": 24, "voltage_decay": 100, "current_decay": 2000},
        {"reset": "subtract", "num_steps": 32, "encoding": "constant", "weight_bits": 4},
        {"reset": "subtract", "num_steps": 24, "readout": "count"},
        {"reset": "subtract", "num_steps": 24, "firing_delay": 1},
        {"reset": "subtract", "num_steps": 24, "firing_delay": "phased", "encoding": "constant"},
    ],
    ids=str,
)
def test_no_state_of_any_layer_leaves_its_registers_on_the_samples(options: Any) -> None:
    torch.manual_seed(3)
    network = _Residual().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    module = nn.Sequential(network, nn.ReLU()) if options.get("readout") == "count" else network
    inputs = torch.randint(0, 16, (40, 1, 10, 10), dtype=torch.uint8)
    model = convert(module, input_shape=(1, 10, 10), **options)
    measured = calibrate(model, inputs)
    frozen = integer_network(model)
    recording = ReferenceBackend().run(frozen, inputs.numpy())
    assert any(counts.any() for counts in recording.counts.values())
    for layer, integers in zip(model.tandem_layers, frozen.layers, strict=True):
        peak = recording.peak[layer.name]
        assert 0 < peak < STATE_LIMIT, layer.name
        assert float(layer.peak) > 0
        found = measured[layer.name]
        if layer.fires:
            threshold = integers.neurons.threshold
            assert threshold is not None
            unit = layer.spike_value / threshold
            assert found.activation_max == float(layer.activation_max)
            assert found.cut_off is not None
            assert 0 <= found.cut_off < 0.3
            # The integers were chosen once more after the last measurement.
            assert peak * unit <= 1.1 * found.largest_state


def test_the_room_is_what_the_membrane_reaches_on_its_way() -> None:
    network = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU(), nn.Linear(1, 1))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[-30.0, 30.0]]))
    model = convert(network, input_shape=(2,), num_steps=4, encoding="events")
    inputs = torch.zeros(2, 4, 2, dtype=torch.uint8)
    inputs[0, 0, 0] = inputs[0, 3, 1] = 15  # inhibition first: in sum nothing, on the way -30
    inputs[1, 0, 1] = 1
    measured = calibrate(model, inputs)
    assert measured["dense1"].activation_max == pytest.approx(2)
    assert measured["dense1"].largest_state == pytest.approx(30, rel=0.02)


@pytest.mark.filterwarnings("ignore:the integer network")  # random weights, few steps
def test_the_ceiling_is_the_candidate_of_the_least_squared_error() -> None:
    torch.manual_seed(5)
    network = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3)).eval()
    inputs = torch.randint(0, 16, (200, 8), dtype=torch.uint8)
    with torch.no_grad():
        values = network[:2](inputs * SCALE).double().numpy()
    positive = np.sort(values[values > 0])

    def error(ceiling: float, num_steps: int) -> float:
        step = ceiling / num_steps
        sent = np.clip(np.floor(positive / step + 0.5), 0, num_steps) * step
        return float(np.mean((sent - positive) ** 2))

    chosen = {}
    for num_steps in (2, 7, 64):
        model = convert(network, input_shape=(8,), num_steps=num_steps, samples=inputs)
        ceiling = float(model.tandem_layers[0].activation_max)
        chosen[num_steps] = float(np.mean(positive <= ceiling * (1 + 1e-6)))
        others = np.percentile(positive, [70, 90, 97, 99, 100])
        assert error(ceiling, num_steps) <= 1.05 * min(error(one, num_steps) for one in others)
    assert 0.7 < chosen[2] < chosen[7] < chosen[64]


@pytest.mark.filterwarnings("ignore:the integer network")  # random weights, few steps
def test_a_percentile_is_taken_where_it_is_given() -> None:
    torch.manual_seed(5)
    network = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    inputs = torch.randint(0, 16, (50, 8), dtype=torch.uint8)
    given = convert(network, input_shape=(8,), num_steps=7, samples=inputs, percentile=90)
    wanted = convert(network, input_shape=(8,), num_steps=7, initial_potential=0.5)
    assert given.architecture == wanted.architecture
    calibrate_thresholds(wanted, inputs, 90)
    for name, value in wanted.state_dict().items():
        assert torch.equal(given.state_dict()[name], value), name


@pytest.mark.filterwarnings("ignore:the integer network")  # random weights, few steps
def test_a_window_starts_at_half_the_threshold_with_samples_only() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        network[0].weight.fill_(1.0)
        network[0].bias.zero_()
    inputs = np.full((1, 2), 15, np.uint8)

    def potential(**options: Any) -> float:
        model = convert(network, input_shape=(2,), num_steps=3, **options)
        return model.architecture.options.initial_potential

    assert potential() == 0
    assert potential(samples=inputs) == 0.5
    assert potential(samples=inputs, reset="zero") == 0
    assert potential(samples=inputs, initial_potential=0.125) == 0.125


def few_steps(outputs: int) -> tuple[nn.Sequential, torch.Tensor]:
    """Return a network that two steps are too few for, and samples."""
    torch.manual_seed(5)
    network = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, outputs)).eval()
    return network, torch.randint(0, 16, (600, 8), dtype=torch.uint8)


@torch.no_grad()
def test_a_conversion_that_loses_the_classes_says_for_how_many_samples() -> None:
    network, samples = few_steps(3)
    with pytest.warns(ConversionWarning, match=r"train the model for a few epochs") as caught:
        model = convert(network, input_shape=(8,), num_steps=2, samples=samples)
    assert caught[0].filename == __file__
    assert model.training
    compared = samples[::3]
    wanted, given = network(compared * SCALE).argmax(1), model.eval()(compared).argmax(1)
    different = int((wanted != given).sum())
    assert 10 < different < 200
    found = f"another result than the ordinary one for {different} of 200 samples"
    assert found in str(caught[0].message)
    convert(network, input_shape=(8,), num_steps=127, input_bits=4, samples=samples)


@torch.no_grad()
def test_a_conversion_that_loses_a_number_says_how_much_is_explained() -> None:
    network, samples = few_steps(1)
    with pytest.warns(ConversionWarning, match=r"explains \d+%") as caught:
        model = convert(network, input_shape=(8,), num_steps=1, samples=samples)
    compared = samples[::3]
    wanted, given = network(compared * SCALE), model.eval()(compared)
    share = 1 - float((given - wanted).square().sum() / (wanted - wanted.mean()).square().sum())
    assert f"explains {max(share, 0):.0%} of the variance" in str(caught[0].message)
    assert share < 0.9
    convert(network, input_shape=(8,), num_steps=127, samples=samples)


@pytest.mark.filterwarnings("ignore:the integer network")  # of what is left by so dark samples
def test_samples_of_other_bits_are_warned_of() -> None:
    network, samples = few_steps(3)
    message = r"samples reach 15, where the network takes 8-bit integers up to 255; were they quant"
    with pytest.warns(InputWarning, match=message) as caught:
        convert(network, input_shape=(8,), num_steps=127, input_bits=8, samples=samples)
    told = [one.filename for one in caught if one.category is InputWarning]
    assert told == [__file__]
    convert(network, input_shape=(8,), num_steps=127, input_bits=6, samples=samples)


@pytest.mark.parametrize(
    "function",
    [
        freeze,
        lambda model: calibrate_thresholds(model, np.ones((2, 3), np.uint8)),
        lambda model: train(model, load_dataset("digits"), TrainingOptions(), Path("nowhere")),
    ],
    ids=["freeze", "calibrate_thresholds", "train"],
)
def test_an_ordinary_network_is_no_tandem_network(function: Any) -> None:
    with pytest.raises(
        ConversionError, match=r"is a Sequential, not a tandem network; tandem_hw\.convert makes"
    ):
        function(nn.Sequential(nn.Linear(3, 2)))
    assert not Path("nowhere").exists()


def small() -> TandemNetwork:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    return convert(network, input_shape=(3,), num_steps=4)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.ones((4, 3), np.float32), r"samples are float32.*quantize_inputs\(images, bits=4, sc"),
        (torch.ones(4, 3), r"samples are torch\.float32.*tandem_hw\.quantize_inputs\("),
        (np.ones((4, 3), int), "samples are int64, not the network's integers"),
        ([[1, 2, 3]], r"samples are list; .*uint8 \[samples, 3\]"),
        (np.ones((4, 5), np.uint8), r"samples have shape \(4, 5\); needed are \[samples, 3\]"),
        (torch.tensor(3, dtype=torch.uint8), r"samples have shape \(\)"),
        (np.ones((0, 3), np.uint8), "there are 0 samples"),
        (np.full((4, 3), 255, np.uint8), "samples reach 255, the network takes 4-bit integers up"),
        (np.zeros((4, 3), np.uint8), "all samples are 0"),
    ],
)
def test_samples_that_are_not_the_network_s_integers_are_refused(
    samples: Any, message: str
) -> None:
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ConversionError, match=message):
        calibrate(model, samples)
    with pytest.raises(ConversionError, match=message):
        convert(nn.Sequential(nn.Linear(3, 2)), input_shape=(3,), num_steps=2, samples=samples)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_a_percentile_without_samples_is_refused() -> None:
    with pytest.raises(ConversionError, match="give samples as well"):
        convert(nn.Sequential(nn.Linear(3, 2)), input_shape=(3,), num_steps=2, percentile=99)


@pytest.mark.parametrize(
    ("weights", "samples"),
    [([0.02, -1000.0], [15]), ([0.02, 10.0], [15] * 99 + [1])],
    ids=["weights", "potentials"],
)
def test_a_layer_whose_spike_is_worth_less_than_a_weight_unit_is_refused(
    weights: list[float], samples: list[int]
) -> None:
    network = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor(weights)[:, None])
        network[0].bias.zero_()
    inputs = np.array(samples, np.uint8)[:, None]
    with pytest.raises(ConversionError, match=r"layer dense1: a spike is worth .* less than one w"):
        convert(network, input_shape=(1,), num_steps=512, samples=inputs, percentile=10)


def test_freezing_a_network_that_no_sample_has_passed_warns() -> None:
    model = small()
    with pytest.warns(UncalibratedWarning, match=r"no sample has passed .*convert\(\.\.\., sampl"):
        first = freeze(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert integer_network(model).digest == first.digest
        inputs = torch.randint(1, 16, (8, 3), dtype=torch.uint8)
        trained = small()
        trained.train()(inputs)
        freeze(trained)
        calibrate(model.eval(), inputs)
        assert not model.training
        freeze(model)


def test_a_layer_that_is_silent_on_the_samples_is_named() -> None:
    model = small()
    with torch.no_grad():
        present(model.tandem_layers[0].bias).fill_(-100.0)
    with pytest.warns(
        SilentLayerWarning, match="dense1: no activation is positive on these 4 s"
    ) as caught:
        measured = calibrate(model, np.full((4, 3), 2, np.uint8))
    assert caught[0].filename == __file__
    assert measured["dense1"].activation_max == 2.0
    assert measured["dense1"].cut_off is None
