from __future__ import annotations

import copy
import re
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw.conversion.convert import SUPPORTED, convert
from tandem_hw.errors import ConversionError
from tandem_hw.learning.kinds.convolutions import TandemConv
from tandem_hw.learning.kinds.dense import TandemLinear
from tandem_hw.learning.kinds.dropout import TandemDropout
from tandem_hw.learning.model import LayerSpec, TandemNetwork
from tandem_hw.network.synapses.geometry import Geometry
from tests.helpers.present import present

IMAGE = (2, 8, 8)


def to_spiking(
    *modules: nn.Module, shape: tuple[int, ...] = IMAGE, **options: Any
) -> TandemNetwork:
    return convert(nn.Sequential(*modules), input_shape=shape, **({"num_steps": 4} | options))


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
        nn.Dropout2d(0.1),
        nn.Flatten(),
        nn.Linear(64, 10),
        nn.BatchNorm1d(10, affine=False),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(10, 3),
    )


def test_every_kind_of_layer_is_converted_in_order() -> None:
    model = convert(small(), input_shape=IMAGE, num_steps=4)
    assert model.architecture.layers == (
        LayerSpec("conv", 4, (3, 3), (2, 2), (1, 1), bias=False, norm=True),
        LayerSpec("dropout", p=0.1, channels=True, source=0),
        LayerSpec("linear", 10, norm=True, norm_affine=False, source=1),
        LayerSpec("dropout", p=0.2, source=2),
        LayerSpec("linear", 3, source=3),
    )
    kinds = [TandemConv, TandemDropout, TandemLinear, TandemDropout, TandemLinear]
    assert [type(layer) for layer in model.layers] == kinds
    assert [layer.name for layer in model.tandem_layers] == ["conv1", "dense2", "dense3"]
    assert [layer.fires for layer in model.tandem_layers] == [True, True, False]
    assert model.training


@pytest.mark.parametrize(
    ("conv", "geometry"),
    [
        (nn.Conv2d(2, 4, 3), Geometry()),
        (
            nn.Conv2d(2, 4, (1, 3), (2, 1), (0, 2), (1, 2), 2),
            Geometry((2, 1), (0, 2), (1, 2), 2),
        ),
        (nn.Conv2d(2, 4, 3, padding="valid"), Geometry()),
        (nn.Conv2d(2, 4, (3, 5), padding="same"), Geometry(padding=(1, 2))),
        (
            nn.Conv2d(2, 4, (2, 3), padding="same", dilation=(2, 1)),
            Geometry((1, 1), (1, 1), (2, 1)),
        ),
    ],
    ids=["plain", "everything", "valid", "same", "same and dilated"],
)
def test_a_convolution_keeps_its_geometry(conv: nn.Conv2d, geometry: Geometry) -> None:
    features = conv(torch.zeros(1, *IMAGE)).numel()
    model = to_spiking(conv, nn.ReLU(), nn.Flatten(), nn.Linear(features, 3))
    first = model.tandem_layers[0]
    assert isinstance(first, TandemConv)
    assert first.geometry == geometry
    spec = model.architecture.layers[0]
    assert TandemConv.output_shape(spec, IMAGE) == conv(torch.zeros(1, *IMAGE)).shape[1:]


def test_weights_and_statistics_are_copied_and_the_given_network_is_left_alone() -> None:
    torch.manual_seed(0)
    network = small()
    network(torch.randn(16, *IMAGE))  # statistics that are not the initial ones
    before = copy.deepcopy(network.state_dict())
    model = convert(network, input_shape=IMAGE, num_steps=4)
    conv, norm = network[0][0], network[0][1]
    first, second, last = model.tandem_layers
    assert torch.equal(present(first.weight), conv.weight)
    assert first.bias is None
    assert first.norm is not None
    for name, value in norm.state_dict().items():
        assert torch.equal(first.norm.state_dict()[name], value)
    assert torch.equal(present(second.weight), network[3].weight)
    assert torch.equal(present(present(second.norm).running_var), network[4].running_var)
    assert torch.equal(present(last.bias), network[7].bias)
    _train_step(model)
    assert not torch.equal(present(first.weight), conv.weight)
    assert network.training
    assert before.keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def _train_step(model: TandemNetwork) -> None:
    inputs = torch.randint(0, 16, (8, *model.architecture.input.shape), dtype=torch.uint8)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    F.cross_entropy(model(inputs), torch.zeros(8, dtype=torch.int64)).backward()
    optimizer.step()


def test_long_windows_of_8_bits_come_close_to_the_ordinary_network() -> None:
    torch.manual_seed(1)
    network = small().eval()
    model = convert(network, input_shape=IMAGE, num_steps=255, activation_max=3.0).eval()
    pattern = torch.rand(2, *IMAGE).round()[torch.arange(32) % 2]
    inputs = (pattern * torch.arange(32).reshape(-1, 1, 1, 1) / 2).floor().to(torch.uint8)
    with torch.no_grad():
        wanted, found = network(inputs / 15), model(inputs)
    spread = wanted.std(dim=0).mean()
    assert spread > 0.02
    assert (found - wanted).abs().mean() < 0.3 * spread


@pytest.mark.parametrize(("reset", "chosen"), [("subtract", "first_step"), ("zero", "constant")])
def test_the_encoding_follows_the_reset_unless_it_is_given(reset: Any, chosen: str) -> None:
    def encoding(**options: Any) -> str:
        return to_spiking(
            nn.Linear(5, 2), shape=(5,), reset=reset, **options
        ).architecture.input.encoding

    assert encoding() == chosen
    assert encoding(encoding="first_step") == "first_step"
    assert encoding(encoding="constant") == "constant"


def test_the_options_have_their_documented_defaults() -> None:
    architecture = to_spiking(nn.Linear(5, 2), shape=(5,)).architecture
    options = architecture.options
    assert (options.num_steps, options.reset, options.weight_bits) == (4, "subtract", 8)
    assert (options.twin, options.activation_max) == ("clip", 2.0)
    assert architecture.readout == "potential"
    assert (architecture.input.shape, architecture.input.bits) == ((5,), 4)
    assert architecture.input.scale == 1 / 15


def test_a_double_network_becomes_a_float_model() -> None:
    model = convert(nn.Sequential(nn.Linear(5, 2)).double(), input_shape=(5,), num_steps=4)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("end", [[], [nn.ReLU()]])
def test_a_counted_readout_fires_with_or_without_a_last_relu(end: list[nn.Module]) -> None:
    model = to_spiking(nn.Flatten(), nn.Linear(128, 3), *end, readout="count")
    assert model.tandem_layers[-1].fires


def test_one_relu_may_be_used_several_times() -> None:
    relu = nn.ReLU()
    model = to_spiking(
        nn.Flatten(), nn.Linear(128, 6), relu, nn.Linear(6, 5), relu, nn.Linear(5, 3)
    )
    assert [spec.out for spec in model.architecture.layers] == [6, 5, 3]


def test_one_dropout_used_twice_drops_twice() -> None:
    drop = nn.Dropout(0.5)
    model = to_spiking(
        nn.Flatten(),
        nn.Linear(128, 6),
        nn.ReLU(),
        drop,
        nn.Linear(6, 5),
        nn.ReLU(),
        drop,
        nn.Linear(5, 3),
    )
    assert [spec.kind for spec in model.architecture.layers].count("dropout") == 2


class Residual(nn.Sequential):
    def forward(self, input: Tensor) -> Tensor:
        return input + super().forward(input)  # type: ignore[no-untyped-call]


class Doubling(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


LINEAR = nn.Linear(128, 128)
UNSUPPORTED = {
    "AdaptiveMaxPool2d": nn.AdaptiveMaxPool2d(1),
    "LPPool2d": nn.LPPool2d(2, 2),
    "LeakyReLU": nn.LeakyReLU(),
    "GELU": nn.GELU(),
    "Sigmoid": nn.Sigmoid(),
    "Tanh": nn.Tanh(),
    "GroupNorm": nn.GroupNorm(2, 4),
    "LayerNorm": nn.LayerNorm(8),
    "Conv3d": nn.Conv3d(4, 4, 3),
    "LSTM": nn.LSTM(4, 4),
    "Upsample": nn.Upsample(scale_factor=2),
    "Hardswish": nn.Hardswish(),
    "PReLU": nn.PReLU(),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_layer_without_a_counterpart_is_refused_by_its_path_with_what_is_supported(
    name: str,
) -> None:
    inner = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), UNSUPPORTED[name])
    message = rf"layer 0\.2 \({name}\) cannot be converted exactly(.|\n)*supported are {SUPPORTED}"
    with pytest.raises(ConversionError, match=message):
        to_spiking(inner, nn.Flatten(), nn.Linear(4, 3))


@pytest.mark.parametrize(
    ("module", "proposal"),
    [
        (nn.MaxPool1d(2), r'firing_delay="phased" .*or use average pooling, or a stride of 2'),
        (nn.AdaptiveMaxPool1d(2), "use MaxPool1d or MaxPool2d in a phased network, average pool"),
        (nn.Hardtanh(), r"for a ceiling c of your own ReLU6, Hardtanh\(0, c\) or clamp\(0, c\)"),
        (nn.Upsample(scale_factor=2), "use a ConvTranspose2d"),
        (nn.LayerNorm(3), "use batch normalisation"),
        (nn.LeakyReLU(), "use ReLU"),
        (nn.Softmax(0), "at its end leave it out, the loss takes the logits"),
        (nn.Sigmoid(), "inside a network use ReLU; at its end leave it out"),
    ],
)
def test_what_people_often_have_comes_with_a_proposal(module: nn.Module, proposal: str) -> None:
    with pytest.raises(ConversionError, match=proposal):
        to_spiking(nn.Flatten(), nn.Linear(128, 3), module)


FLAT = nn.Flatten()
REFUSED: dict[str, tuple[list[nn.Module], str]] = {
    "no relu between convolutions": (
        [nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU(), FLAT, nn.Linear(64, 3)],
        "layer 0 is followed by 1 without a ReLU between",
    ),
    "no relu between normalised layers": (
        [FLAT, nn.Linear(128, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)],
        "layer 1 is followed by 3 without a ReLU between",
    ),
    "relu first": ([nn.ReLU(), FLAT, nn.Linear(128, 3)], r"layer 0 \(ReLU\) does not follow"),
    "relu twice": (
        [FLAT, nn.Linear(128, 4), nn.ReLU(), nn.ReLU(), nn.Linear(4, 3)],
        r"layer 3 \(ReLU\) does not follow",
    ),
    "relu last": ([FLAT, nn.Linear(128, 3), nn.ReLU()], 'use readout="count"'),
    "norm first": (
        [nn.BatchNorm1d(128), FLAT, nn.Linear(128, 3)],
        r"does not take samples of shape \(2, 8, 8\)",
    ),
    "norm after relu": (
        [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.ReLU(), FLAT, nn.Linear(144, 3)],
        r"layer 2 \(BatchNorm2d\) follows no layer with weights, so it is folded into the one that",
    ),
    "norm twice": (
        [FLAT, nn.Linear(128, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3)],
        r"layer 3 \(BatchNorm1d\) must come right after",
    ),
    "norm of another kind": (
        [nn.Conv2d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), FLAT, nn.Linear(144, 3)],
        r"does not take samples of shape \(2, 8, 8\)",
    ),
    "norm without statistics": (
        [FLAT, nn.Linear(128, 3), nn.BatchNorm1d(3, track_running_stats=False)],
        r"layer 2 \(BatchNorm1d\) keeps no running average",
    ),
    "norm with a cumulative average": (
        [FLAT, nn.Linear(128, 3), nn.BatchNorm1d(3, momentum=None)],  # type: ignore[arg-type]
        r"layer 2 \(BatchNorm1d\) keeps no running average with a momentum",
    ),
    "reflecting padding": (
        [nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU(), FLAT, nn.Linear(256, 3)],
        r'layer 0 \(Conv2d\) pads with "reflect"; only zeros',
    ),
    "same padding of an even kernel": (
        [nn.Conv2d(2, 4, 2, padding="same"), nn.ReLU(), FLAT, nn.Linear(256, 3)],
        r'layer 0 \(Conv2d\): padding="same" of an even kernel',
    ),
    "dropout before the relu": (
        [FLAT, nn.Linear(128, 4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 3)],
        r"layer 2 \(Dropout\) stands before the ReLU of 1",
    ),
    "dropout of everything": (
        [FLAT, nn.Linear(128, 4), nn.ReLU(), nn.Dropout(1.0), nn.Linear(4, 3)],
        r"layer 3: dropout of 1\.0 leaves no neuron",
    ),
    "dropout last": (
        [FLAT, nn.Linear(128, 3), nn.Dropout(0.5)],
        r"layer 2 \(Dropout\) stands before the ReLU",
    ),
    "flatten of some axes": (
        [nn.Flatten(2), nn.Linear(64, 3)],
        r"layer 1 \(Linear\) takes 64 features, but samples of shape \(2, 64\) come in; put a Fl",
    ),
    "no layers": ([FLAT], "no layers with weights; supported: Conv1d"),
    "dropout at the end": (
        [FLAT, nn.Linear(128, 3), nn.ReLU(), nn.Dropout(0.5)],
        "must end in a layer with weights",
    ),
    "pooling before the relu": (
        [nn.Conv2d(2, 4, 3), nn.AvgPool2d(2), nn.ReLU(), FLAT, nn.Linear(36, 3)],
        "layer 1 stands before the ReLU of 0",
    ),
    "pooling of several sizes at the end": (
        [nn.Conv2d(2, 4, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2)],
        "must end in a layer with weights",
    ),
    "pooling of parts of windows": (
        [nn.Conv2d(2, 4, 2), nn.ReLU(), nn.AvgPool2d(2, ceil_mode=True), FLAT, nn.Linear(64, 3)],
        "layer 2: only an average over whole windows",
    ),
    "adaptive pooling to windows of several sizes": (
        [nn.Conv2d(2, 4, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Conv2d(4, 3, 2)],
        r"layer 2: an adaptive pooling to \(2, 2\) has windows of several sizes here",
    ),
    "convolution after flattening": (
        [FLAT, nn.Conv1d(2, 3, 1), nn.ReLU(), FLAT, nn.Linear(3, 3)],
        r"does not take samples of shape \(2, 8, 8\) \(layer 1\)",
    ),
    "empty": ([], "no layers with weights"),
    "dropout alone": ([FLAT, nn.Dropout(0.5)], "no layers with weights"),
    "linear over one axis": ([nn.Linear(8, 3)], "put a Flatten before it"),
    "linear without flatten": (
        [nn.Linear(8, 3), nn.ReLU(), FLAT, nn.Linear(48, 3)],
        r"layer 0 \(Linear\) .*put a Flatten before it",
    ),
    "other features": ([FLAT, nn.Linear(127, 3)], r"does not take samples of shape \(2, 8, 8\)"),
    "other channels": (
        [nn.Conv2d(3, 4, 3), nn.ReLU(), FLAT, nn.Linear(144, 3)],
        r"does not take samples of shape \(2, 8, 8\)",
    ),
    "a sequence that does something else": (
        [FLAT, nn.Linear(128, 128), nn.ReLU(), Residual(LINEAR, nn.ReLU()), nn.Linear(128, 3)],
        r"layer 3\.add is followed by 4 without a ReLU",
    ),
    "a linear that does something else": (
        [FLAT, Doubling(128, 3)],
        r"layer 1 \(Doubling\) has a forward pass of its own",
    ),
    "one layer used twice": (
        [FLAT, LINEAR, nn.ReLU(), LINEAR, nn.ReLU(), nn.Linear(128, 3)],
        r"layer 1 \(Linear\) shares its weights with layer 1, or is used twice",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_network_without_an_exact_counterpart_is_refused(case: str) -> None:
    modules, message = REFUSED[case]
    with pytest.raises(ConversionError, match=message):
        to_spiking(*modules)


def test_a_layer_without_weights_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # older versions of PyTorch call them experimental
        lazy = nn.LazyLinear(3)
    with pytest.raises(ConversionError, match=r"layer 1 \(LazyLinear\) has no weights yet; run"):
        to_spiking(nn.Flatten(), lazy)


def test_a_single_layer_is_a_network() -> None:
    layer = nn.Linear(3, 2)
    model = convert(layer, input_shape=(3,), num_steps=4)
    assert torch.equal(present(model.tandem_layers[0].weight), layer.weight)


def test_a_list_of_layers_is_no_forward_pass() -> None:
    with pytest.raises(ConversionError, match=r"ModuleList"):
        to_spiking(nn.Flatten(), nn.ModuleList([nn.Linear(128, 3)]))


@pytest.mark.parametrize("shape", [(), (0,), (-2, 8, 8), (1, 2, 8, 8), (2, 8, 0)])
def test_an_impossible_input_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConversionError, match=re.escape(f"input shape {shape} is not supported")):
        to_spiking(nn.Flatten(), nn.Linear(128, 3), shape=shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "num_steps is 0"),
        ({"num_steps": 4097}, "num_steps is 4097; allowed are 1 to 4096"),
        ({"reset": "soft"}, 'reset is "soft"; allowed are subtract, zero'),
        ({"twin": "step"}, 'twin is "step"; allowed are clip, relu'),
        ({"readout": "max"}, 'readout is "max"; allowed are potential, count'),
        ({"weight_bits": 1}, "weight_bits is 1; allowed are 2 to 8"),
        ({"weight_bits": 9}, "weight_bits is 9; allowed are 2 to 8"),
        ({"input_bits": 0}, "input_bits is 0; allowed are 1 to 8"),
        ({"input_bits": 9}, "input_bits is 9; allowed are 1 to 8"),
        ({"encoding": "rate"}, 'encoding is "rate"'),
        ({"voltage_decay": 4097, "reset": "zero"}, "voltage_decay is 4097; allowed are 0"),
        ({"current_decay": -1, "reset": "zero"}, "current_decay is -1; allowed are 0"),
        ({"voltage_decay": 0.5, "reset": "zero"}, "decays must be integers"),
        ({"voltage_decay": 1, "reset": "subtract"}, 'not possible with reset "subtract"'),
        ({"activation_max": 0.0}, "activation_max must be a positive number"),
        ({"activation_max": float("nan")}, "activation_max must be a positive number"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        to_spiking(nn.Flatten(), nn.Linear(128, 3), **options)


def test_the_model_takes_integers_of_its_own_shape_alone() -> None:
    model = to_spiking(nn.Flatten(), nn.Linear(128, 3))
    with pytest.raises(
        ConversionError, match=r"found torch\.float32; use tandem_hw\.quantize_inputs"
    ):
        model(torch.zeros(1, *IMAGE))
    with pytest.raises(ConversionError, match=r"a sample has shape \(128,\); the model takes"):
        model(torch.zeros(1, 128, dtype=torch.uint8))
