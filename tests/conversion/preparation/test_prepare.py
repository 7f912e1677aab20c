"""What it takes to convert a network is found at once, and what has an equivalent is swapped."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw import convert, prepare
from tandem_hw.conversion.preparation.preparation import Preparation
from tandem_hw.errors import ConversionError
from tests.helpers.public_architectures import mobilenet_v2

SHAPE = (2, 8, 8)


def seeded(*modules: nn.Module) -> nn.Sequential:
    network = nn.Sequential(*modules)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    return network


def around(module: nn.Module, channels: int = 4) -> nn.Sequential:
    """Return a network with a layer behind a convolution and its ReLU."""
    return seeded(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), module),
        *(nn.Conv2d(channels, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(4, 5),
    )


def outcomes(found: Preparation) -> dict[str, str]:
    return {step.path: step.outcome for step in found.steps if step.outcome != "kept"}


def is_converted(found: Preparation) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a softmax that is left out
        model = convert(found.network, **found.options)
    inputs = torch.randint(0, 16, (3, *model.architecture.input.shape)).to(torch.uint8)
    return bool(model(inputs).isfinite().all())


def test_all_refusals_are_listed_and_not_only_the_first() -> None:
    network = seeded(
        *(nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4)),
        *(nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4)),
        *(nn.Tanh(), nn.Flatten(), nn.Linear(16, 8), nn.LayerNorm(8), nn.ReLU()),
        *(nn.Dropout(1.0), nn.Linear(8, 5)),
    )
    with pytest.raises(ConversionError) as told:
        convert(network, input_shape=SHAPE, num_steps=4, firing_delay="phased")
    assert "layer 2" not in str(told.value)  # a second normalisation, behind what is refused
    found = prepare(network, input_shape=SHAPE)
    assert outcomes(found) == dict.fromkeys(["0", "2", "3", "6", "7", "10", "12"], "refused")
    assert [text.split(" (")[0].split(":")[0] for text in found.refusals] == [
        *("layer 0", "layer 2", "layer 3", "layer 6", "layer 7", "layer 10", "layer 12"),
    ]
    assert not found.can_be_converted
    assert str(found).count("supported are") == 1
    assert 'layer 0 (Conv2d) pads with "reflect"' in str(found)


class Own(nn.Module):
    """Calls functions, adds, joins, and looks at a value that nothing comes of."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        a = F.gelu(self.first(x))
        a.std(2)  # not used
        b = F.silu(self.second(a) + a)
        gate = torch.sigmoid(b.mean((2, 3)))
        joined: Tensor = torch.cat([b.mean((2, 3)), b.mean((2, 3)) * gate], 1)
        return self.last(joined)


def test_functions_are_found_and_it_is_said_how_they_could_be_swapped() -> None:
    found = prepare(Own(), input_shape=SHAPE)
    refused = [step.path for step in found.steps if step.outcome == "refused"]
    assert refused == ["gelu", "std", "silu", "sigmoid", "mul"]
    assert [text.split()[1] for text in found.refusals] == ["gelu", "silu", "sigmoid", "mul"]
    assert 'gelu: refused, write it as a layer, nn.GELU(); then activations="relu"' in str(found)


def test_a_network_that_can_be_converted_is_left_as_it_is() -> None:
    network = around(nn.Identity())
    found = prepare(network, input_shape=SHAPE)
    assert found.can_be_converted
    assert outcomes(found) == {}
    assert found.options == {"input_shape": SHAPE, "num_steps": 7}
    assert found.difference is not None
    assert found.difference.is_none
    assert "the same as before" in str(found)
    assert is_converted(found)
    assert found.network is not network
    state = network.state_dict()
    assert all(
        torch.equal(value, state[name]) for name, value in found.network.state_dict().items()
    )


EXACT: dict[str, nn.Module] = {
    "LeakyReLU(0)": nn.LeakyReLU(0),
    "Threshold": nn.Threshold(0, 0),
    "AdaptiveMaxPool2d": nn.AdaptiveMaxPool2d(4),
    "AvgPool2d": nn.AvgPool2d(2, ceil_mode=True),
    "AlphaDropout": nn.AlphaDropout(0.2),
    "FeatureAlphaDropout": nn.FeatureAlphaDropout(0.2),
    "Upsample": nn.Upsample(scale_factor=2),
    "UpsamplingNearest2d": nn.UpsamplingNearest2d(scale_factor=2),
}


@pytest.mark.parametrize("name", EXACT)
def test_what_computes_the_same_is_swapped(name: str) -> None:
    activation = name in ("LeakyReLU(0)", "Threshold")
    network = around(EXACT[name])
    if activation:
        network[1] = EXACT[name]
        network[2] = nn.Identity()
    with pytest.raises(ConversionError):
        convert(network, input_shape=SHAPE, num_steps=7)
    found = prepare(network, input_shape=SHAPE)
    assert outcomes(found) == {"1" if activation else "2": "swapped"}
    assert found.difference is not None
    assert found.difference.is_none
    assert found.difference.samples == 64
    assert found.can_be_converted
    assert ("firing_delay" in found.options) == (name == "AdaptiveMaxPool2d")
    assert is_converted(found)


@pytest.mark.parametrize(
    "norm",
    [
        nn.SyncBatchNorm(4),
        nn.BatchNorm2d(4, momentum=None),  # type: ignore[arg-type]
        nn.BatchNorm2d(4, momentum=None, affine=False),  # type: ignore[arg-type]
    ],
)
def test_a_normalisation_keeps_its_statistics(norm: Any) -> None:
    network = seeded(nn.Conv2d(2, 4, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    found = prepare(network, input_shape=SHAPE)
    assert outcomes(found) == {"1": "swapped"}
    assert isinstance(found.network.get_submodule("1"), nn.BatchNorm2d)
    assert found.difference is not None
    assert found.difference.is_none
    assert is_converted(found)


def test_an_activation_is_swapped_only_if_that_is_asked_for_and_never_for_free() -> None:
    gelu = nn.GELU()
    network = seeded(
        *(nn.Conv2d(2, 4, 3, padding=1), gelu, nn.Upsample(scale_factor=2)),
        *(nn.Conv2d(4, 4, 3, padding=1), gelu, nn.AvgPool2d(16), nn.Flatten(), nn.Linear(4, 5)),
    )
    before = prepare(network, input_shape=SHAPE)
    assert [step.path for step in before.steps] == ["0", "1", "2", "3", "1", "5", "6", "7"]
    assert outcomes(before) == {"1": "refused", "2": "refused"}
    assert 'activations="relu" swaps it for a ReLU' in str(before)
    found = prepare(network, input_shape=SHAPE, activations="relu")
    assert outcomes(found) == dict.fromkeys("12", "swapped")  # values are no longer negative
    assert found.difference is not None
    assert found.difference.relative > 0.01
    assert "they differ by" in str(found)
    assert "of the" not in str(found.difference)
    assert is_converted(found)
    assert network[1] is gelu
    assert isinstance(found.network.get_submodule("1"), nn.ReLU)
    assert found.network.get_submodule("4") is found.network.get_submodule("1")


@pytest.mark.parametrize(
    "module",
    [
        *(nn.LeakyReLU(), nn.PReLU(), nn.RReLU(), nn.ELU(), nn.CELU(), nn.SELU(), nn.SiLU()),
        *(nn.Mish(), nn.Softplus(), nn.Hardswish(), nn.Hardtanh()),
    ],
    ids=lambda module: type(module).__name__,
)
def test_relatives_of_a_relu(module: nn.Module) -> None:
    network = seeded(nn.Flatten(), nn.Linear(128, 8), module, nn.Linear(8, 5))
    if isinstance(module, nn.PReLU):
        nn.init.constant_(module.weight, 0.25)
    assert outcomes(prepare(network, input_shape=SHAPE)) == {"2": "refused"}
    found = prepare(network, input_shape=SHAPE, activations="relu")
    assert outcomes(found) == {"2": "swapped"}
    assert found.difference is not None
    assert found.difference.same_class is not None
    assert not found.difference.is_none
    assert is_converted(found)


def test_a_maximum_is_kept_phased_or_becomes_an_average_if_that_is_asked_for() -> None:
    network = around(nn.MaxPool2d(2))
    found = prepare(network, input_shape=SHAPE, num_steps=5)
    assert found.options == {"input_shape": SHAPE, "num_steps": 5, "firing_delay": "phased"}
    assert is_converted(found)
    average = prepare(network, input_shape=SHAPE, max_pooling="average")
    assert outcomes(average) == {"2": "swapped"}
    assert average.difference is not None
    assert average.difference.relative > 0.01
    assert "firing_delay" not in average.options
    assert is_converted(average)


def test_a_maximum_that_a_function_takes_is_phased_too() -> None:
    class Pooled(nn.Sequential):
        def forward(self, input: Tensor) -> Tensor:
            result: Tensor = self[2](F.max_pool2d(self[1](self[0](input)), 8).flatten(1))
            return result

    found = prepare(
        Pooled(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Linear(4, 5)), input_shape=SHAPE
    )
    assert found.options["firing_delay"] == "phased"
    assert is_converted(found)


def test_what_a_maximum_cannot_be_swapped_for_stays() -> None:
    network = around(nn.MaxPool2d(2, ceil_mode=True))
    found = prepare(network, input_shape=SHAPE, max_pooling="average")
    assert outcomes(found) == {}
    assert found.options["firing_delay"] == "phased"


def test_a_sigmoid_at_the_end_is_left_out_and_one_within_is_not() -> None:
    network = seeded(nn.Flatten(), nn.Linear(128, 5), nn.Sigmoid())
    found = prepare(network, input_shape=SHAPE)
    assert outcomes(found) == {"2": "left out"}
    assert found.difference is not None
    assert found.difference.is_none  # with the sigmoid behind both
    assert is_converted(found)
    within = seeded(nn.Flatten(), nn.Linear(128, 5), nn.Sigmoid(), nn.Linear(5, 5))
    assert outcomes(prepare(within, input_shape=SHAPE, activations="relu")) == {"2": "refused"}


def test_a_softmax_at_the_end_is_what_a_conversion_leaves_out_itself() -> None:
    network = seeded(nn.Flatten(), nn.Linear(128, 5), nn.Softmax(1))
    found = prepare(network, input_shape=SHAPE)
    assert outcomes(found) == {}
    assert is_converted(found)


def test_a_layer_with_hooks_or_of_an_own_class_is_not_swapped() -> None:
    class OwnGELU(nn.GELU):
        def forward(self, input: Tensor) -> Tensor:
            return 2 * super().forward(input)

    hooked = nn.SiLU()
    hooked.register_forward_hook(lambda *_: None)
    network = seeded(
        nn.Flatten(), nn.Linear(128, 8), OwnGELU(), nn.Linear(8, 8), hooked, nn.Linear(8, 5)
    )
    found = prepare(network, input_shape=SHAPE, activations="relu")
    assert {"4"} < set(outcomes(found))
    assert set(outcomes(found).values()) == {"refused"}


def test_given_samples_are_compared() -> None:
    network = seeded(nn.Flatten(), nn.Linear(128, 8), nn.ELU(), nn.Linear(8, 1))
    samples = torch.rand(9, *SHAPE, generator=torch.Generator().manual_seed(1))
    found = prepare(network, input_shape=SHAPE, activations="relu", samples=samples.numpy())
    assert found.difference is not None
    assert (found.difference.samples, found.difference.are_random) == (9, False)
    assert found.difference.same_class is None
    with torch.no_grad():
        wanted = network.double()(samples.double()) - found.network.double()(samples.double())
    assert found.difference.largest == pytest.approx(float(wanted.abs().max()), rel=1e-9)
    assert "9 of your samples" in str(found)


def test_short_formats_become_float32_in_the_copy_alone() -> None:
    network = around(nn.Identity()).to(torch.bfloat16)
    found = prepare(network, input_shape=SHAPE)
    assert found.can_be_converted
    assert {value.dtype for value in found.network.parameters()} == {torch.float32}
    assert {value.dtype for value in network.parameters()} == {torch.bfloat16}


def test_layers_keep_their_training_mode() -> None:
    network = around(nn.BatchNorm2d(4)).train()
    network[2].eval()
    found = prepare(network, input_shape=SHAPE)
    modes = [one.training for one in network.modules()]
    assert [one.training for one in found.network.modules()] == modes


def test_what_only_a_conversion_finds_is_refused_too() -> None:
    class Skipping(nn.Sequential):
        def forward(self, input: Tensor) -> Tensor:
            result: Tensor = self[1](torch.relu(self[0](input))) + input
            return torch.relu(result)

    network = Skipping(nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1))
    found = prepare(network, input_shape=SHAPE, readout="count")
    assert outcomes(found) == {}
    assert not found.can_be_converted
    assert "could not be deployed: layer conv2: the skip path" in found.refusals[0]
    assert "cannot be converted yet" in str(found)
    counted = prepare(seeded(nn.Flatten(), nn.Linear(128, 5)), input_shape=SHAPE, readout="count")
    assert counted.options["readout"] == "count"
    assert is_converted(counted)


def test_the_linear_bottlenecks_of_a_public_architecture_are_all_named() -> None:
    found = prepare(mobilenet_v2(0.1, 5).eval(), input_shape=(3, 32, 32))
    assert [text.split(" ")[1] for text in found.refusals] == ["3.layers.6", "4.layers.6", "6"]
    assert "without a ReLU between" in found.refusals[0]
    assert "stands before the ReLU of 5.add" in found.refusals[2]  # and no word of what follows


def test_a_pooling_before_its_relu_is_one_refusal() -> None:
    network = seeded(
        *(nn.Conv2d(2, 4, 3, padding=1), nn.AvgPool2d(2), nn.ReLU(), nn.Conv2d(4, 4, 3)),
        *(nn.Dropout(0.1), nn.ReLU6(), nn.Flatten(), nn.Linear(16, 5)),
    )
    found = prepare(network, input_shape=SHAPE)
    assert outcomes(found) == {"1": "refused", "4": "refused"}
    assert len(found.refusals) == 2


def test_the_html_shows_the_same() -> None:
    found = prepare(around(nn.GroupNorm(2, 4)), input_shape=SHAPE)
    html = found._repr_html_()
    assert "cannot be converted yet" in html
    assert "GroupNorm(2, 4" in html
    assert "use batch normalisation" in html


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": "tanh"}, 'activations is "tanh"; allowed are keep, relu'),
        ({"max_pooling": "min"}, 'max_pooling is "min"; allowed are phased, average'),
        ({"samples": torch.zeros(3, 2, 8)}, r"give real numbers as the ordinary network takes"),
        ({"samples": torch.zeros(0, *SHAPE)}, "at least one"),
        ({"samples": torch.zeros(1, *SHAPE, dtype=torch.uint8)}, r"samples are torch\.uint8"),
        ({"input_shape": (3, 8, 8)}, "does not take samples of shape"),
        ({"input_shape": 3}, "give the shape of one sample as a tuple"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        prepare(around(nn.Identity()), **({"input_shape": SHAPE} | options))


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"takes a network as torch\.nn\.Module, found int"):
        prepare(3, input_shape=SHAPE)  # type: ignore[arg-type]
    network = around(nn.Identity())
    network.last = network[0].weight * 2  # no leaf, which PyTorch does not copy
    with pytest.raises(ConversionError, match="cannot be copied"):
        prepare(network, input_shape=SHAPE)
    infinite = around(nn.Identity())
    infinite[0].weight.data[0] = torch.inf
    with pytest.raises(ConversionError, match=r"parameter 0\.weight is infinite or not a number"):
        prepare(infinite, input_shape=SHAPE)
