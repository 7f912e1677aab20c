"""Every kind of layer through every stage of learning, and kinds that there are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tandem_hw.conversion import layer_reader
from tandem_hw.errors import ConversionError, FileFormatError
from tandem_hw.export.freezing import integer_network
from tandem_hw.learning.architecture import FROM_INPUT, Architecture, LayerSpec
from tandem_hw.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tandem_hw.learning.kinds.catalogue import KINDS, kind_of
from tandem_hw.learning.kinds.dense import TandemLinear
from tandem_hw.learning.kinds.kind import LayerKind
from tandem_hw.learning.kinds.max_pooling import TandemMaxPool
from tandem_hw.learning.layers import TandemLayer
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.network.quantized import InputSpec
from tandem_hw.sim.reference import ReferenceBackend

SHAPE = (2, 6, 6)
OPTIONS = SpikingOptions(num_steps=6, reset="subtract", activation_max=0.2)
INPUT = InputSpec(SHAPE, 4, 1 / 15, "constant")
FIRST = LayerSpec("conv", 4, (3, 3), padding=(1, 1), norm=True)
LAST = LayerSpec("linear", 3)
#: One of each kind behind ``FIRST``, with the shape that goes out, computed by hand.
EXAMPLES: dict[str, tuple[LayerSpec, tuple[int, ...]]] = {
    "conv": (LayerSpec("conv", 6, (3, 2), (2, 1), (1, 0), (1, 2), 2, norm=True), (6, 3, 4)),
    "conv_transpose": (
        LayerSpec("conv_transpose", 2, (3, 3), (2, 2), (1, 1), groups=2, output_padding=(1, 0)),
        (2, 12, 11),
    ),
    "linear": (LayerSpec("linear", 7, pool=(2, 4), norm=True), (7,)),
    "avgpool": (LayerSpec("avgpool", kernel=(2, 3), stride=(2, 1), bias=False), (4, 3, 4)),
    "maxpool": (
        LayerSpec("maxpool", kernel=(3, 2), stride=(2, 1), padding=(1, 0), bias=False),
        (4, 3, 5),
    ),
    "sum": (LayerSpec("sum", bias=False), (4, 6, 6)),
    "dropout": (LayerSpec("dropout", p=0.2, channels=True), (4, 6, 6)),
}
#: Synapses beside a convolution that leaves lengths as they are.
SKIPS = {
    "conv": LayerSpec("conv", 4, norm=True, bias=False),
    "conv_transpose": LayerSpec("conv_transpose", 4, (3, 3), padding=(1, 1)),
    "avgpool": LayerSpec("avgpool", kernel=(3, 3), padding=(1, 1), bias=False),
    "sum": LayerSpec("sum", bias=False),
}


def architecture_with(*between: LayerSpec) -> Architecture:
    """Connect layers one behind the other; skips keep their sources."""
    layers = (FIRST, *between, LAST)
    phased = any(one.kind == "maxpool" for one in layers)
    options = replace(OPTIONS, firing_delay=OPTIONS.num_steps - 1) if phased else OPTIONS
    return Architecture(
        INPUT, options, tuple(replace(one, source=i - 1) for i, one in enumerate(layers))
    )


def inputs() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 16, (9, *SHAPE), dtype=torch.uint8, generator=generator)


def check_all_stages(architecture: Architecture, folder: Path) -> TandemNetwork:
    """Make, train, freeze and keep a network, and compare what must agree."""
    torch.manual_seed(1)
    model = TandemNetwork(architecture)
    result = model(inputs())
    result.square().sum().backward()
    first = model.tandem_layers[0].weight
    assert first is not None
    assert first.grad is not None
    assert first.grad.abs().max() > 0
    with torch.no_grad():
        for _ in range(20):  # until the running statistics are those of these inputs
            model(inputs())
    model.eval()
    recorded = model.record(inputs())
    assert all(counts.any() for counts in recorded.counts.values()), recorded.counts.keys()
    network = integer_network(model)
    own = [layer.name for layer in network.layers if layer.name.partition(".")[0] == layer.name]
    assert own == [one.name for one in model.layers if isinstance(one, TandemLayer | TandemMaxPool)]
    recording = ReferenceBackend().run(network, inputs().numpy())
    assert recorded.potential is not None
    assert recording.output.tolist() == recorded.potential.long().tolist()
    for name, counts in recorded.counts.items():
        assert recording.counts[name].tolist() == counts.long().tolist()
    save_checkpoint(Checkpoint(model), folder / "model.pt")
    found = load_checkpoint(folder / "model.pt").model
    assert found.architecture == architecture
    assert integer_network(found).digest == network.digest
    return model


def test_there_is_an_example_of_every_kind() -> None:
    assert EXAMPLES.keys() == KINDS.keys()
    assert SKIPS.keys() <= KINDS.keys()


@pytest.mark.parametrize("word", KINDS)
def test_every_kind_goes_through_every_stage(word: str, tmp_path: Path) -> None:
    spec, shape = EXAMPLES[word]
    kind = kind_of(spec)
    assert kind is KINDS[word]
    assert kind.output_shape(spec, (4, *SHAPE[1:])) == shape
    model = check_all_stages(architecture_with(spec), tmp_path)
    layer = model.layers[1]
    assert type(layer) is kind
    names = [one.name for one in model.tandem_layers]
    if word == "dropout":
        assert names == ["conv1", "dense2"]
    elif word == "maxpool":
        assert isinstance(layer, TandemMaxPool)
        assert names == ["conv1", "dense3"]
        assert model.record(inputs()).counts["maxpool2"].shape[1:] == shape
        assert integer_network(model).layers[-2].output_shape == shape
    else:
        assert isinstance(layer, TandemLayer)
        assert names == ["conv1", f"{kind.short_name}2", "dense3"]
        assert model.record(inputs()).counts[layer.name].shape[1:] == shape
        assert integer_network(model).layers[1].output_shape == shape


@pytest.mark.parametrize("word", SKIPS)
@pytest.mark.parametrize("source", [0, 1])
def test_kinds_with_synapses_are_skips_as_well(word: str, source: int, tmp_path: Path) -> None:
    skip = replace(SKIPS[word], source=source)
    model = check_all_stages(architecture_with(FIRST, replace(FIRST, skips=(skip,))), tmp_path)
    assert [type(one) for one in model.tandem_layers[2].skips] == [KINDS[word]]
    first, second = integer_network(model).layers[2].inputs
    assert (first.source, second.source) == ("conv2", ("conv1", "conv2")[source])
    assert model.origins(2) == (1, source)


def test_a_dropout_passes_on_whose_neurons_fire() -> None:
    dropped = EXAMPLES["dropout"][0]
    skip = LayerSpec("sum", bias=False, source=2)
    model = TandemNetwork(architecture_with(dropped, dropped, replace(FIRST, skips=(skip,))))
    assert (model.sources(3), model.origins(3)) == ((2, 2), (0, 0))
    first = TandemNetwork(Architecture(INPUT, OPTIONS, (dropped, replace(LAST, source=0))))
    assert (first.sources(1), first.origins(1)) == ((0,), (FROM_INPUT,))
    assert integer_network(first).layers[0].inputs[0].source == "input"


# What there is not -------------------------------------------------------------------------------

MADE_UP = LayerSpec("made_up", 4)
WORD_STAGES: dict[str, Callable[[LayerSpec], object]] = {
    "kind": kind_of,
    "layer": lambda spec: TandemNetwork(architecture_with(spec)),
    "skip": lambda spec: TandemNetwork(architecture_with(replace(FIRST, skips=(spec,)))),
    "layer of a file": lambda spec: TandemNetwork(
        Architecture.from_dict(architecture_with(spec).to_dict())
    ),
}


@pytest.mark.parametrize("stage", WORD_STAGES)
@pytest.mark.parametrize("word", ["made_up", "Conv", "", 3, ["conv"]])
def test_a_word_for_no_kind_is_refused_at_every_stage(stage: str, word: Any) -> None:
    with pytest.raises(ConversionError, match=r"layer kind .* is not known; this file is damaged"):
        WORD_STAGES[stage](replace(MADE_UP, kind=word))


@pytest.mark.parametrize("place", ["layer", "skip"])
def test_a_word_for_no_kind_in_a_checkpoint_is_refused(place: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    skip = replace(SKIPS["sum"], source=0)
    model = TandemNetwork(architecture_with(replace(FIRST, skips=(skip,))))
    save_checkpoint(Checkpoint(model), path)
    content = torch.load(path, weights_only=True)
    layer = content["architecture"]["layers"][1]
    (layer if place == "layer" else layer["skips"][0])["kind"] = "made_up"
    torch.save(content, path)
    message = r'cannot be rebuilt \(layer kind "made_up" is not known; this file is damaged\)'
    with pytest.raises(FileFormatError, match=message):
        load_checkpoint(path)


def make(kind: type[LayerKind]) -> TandemNetwork:
    return TandemNetwork(architecture_with(replace(LAST, kind="made_up", out=5)))


#: What a class leaves out, and the stage that finds it.
METHOD_STAGES: dict[str, Callable[[type[LayerKind]], object]] = {
    "output_shape": make,
    "from_spec": make,
    "twin_input": lambda kind: make(kind)(inputs()),
    "synaptic_input": lambda kind: make(kind).eval()(inputs()),
    "bias_image": lambda kind: make(kind)(inputs()),
    "integer_synapses": lambda kind: integer_network(make(kind).eval()),
}


@pytest.mark.parametrize("method", METHOD_STAGES)
def test_what_a_kind_leaves_out_is_refused_by_name(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = type("MadeUp", (TandemLinear,), {})
    monkeypatch.setitem(KINDS, "made_up", whole)
    METHOD_STAGES[method](whole)
    lacking = type("MadeUp", (TandemLinear,), {method: LayerKind.__dict__[method]})
    monkeypatch.setitem(KINDS, "made_up", lacking)
    with pytest.raises(ConversionError, match=f"kind MadeUp have no {method}; docs/architecture"):
        METHOD_STAGES[method](lacking)


def test_every_method_of_a_kind_is_asked_for_at_some_stage() -> None:
    methods = {
        name
        for name, value in vars(LayerKind).items()
        if isinstance(value, classmethod | FunctionType)
    }
    assert METHOD_STAGES.keys() == methods


def test_a_layer_of_pytorch_of_another_kind_is_not_read() -> None:
    for read in (layer_reader.synapses_spec, layer_reader.synapse_parameters):
        with pytest.raises(ConversionError, match=r"layer last \(Bilinear\) cannot be converted"):
            read("last", nn.Bilinear(2, 2, 2))


def test_a_dropout_has_no_skips() -> None:
    spec = replace(EXAMPLES["dropout"][0], skips=(replace(SKIPS["sum"], source=0),))
    with pytest.raises(ConversionError, match="a dropout has skips, but no neurons that they"):
        TandemNetwork(architecture_with(spec))


def test_a_dropout_is_no_skip() -> None:
    skip = replace(EXAMPLES["dropout"][0], source=0)
    with pytest.raises(ConversionError, match=r"conv2\.skip1 is a dropout, which has no synapses"):
        TandemNetwork(architecture_with(replace(FIRST, skips=(skip,))))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (LayerSpec("conv", 4, (3, 3, 3), (1,) * 3, (0,) * 3, (1,) * 3), "over 3 axes"),
        (LayerSpec("conv", 4, (3,)), r"the kernel \(3,\) and the stride \(1, 1\)"),
        (LayerSpec("conv", 4, (3, 3), dilation=(1,)), r"and the dilation \(1,\); there must be as"),
        (LayerSpec("avgpool", kernel=(2, 2), padding=(0,)), r"and the padding \(0,\)"),
        (LayerSpec("conv_transpose", 4, (3,), (1,), (0,), (1,)), "has two axes, found 1"),
        (
            LayerSpec("conv_transpose", 4, (3, 3), output_padding=(0,)),
            r"the output_padding \(0,\)",
        ),
    ],
)
def test_numbers_that_do_not_fit_the_axes_are_refused(spec: LayerSpec, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        TandemNetwork(architecture_with(spec))


# Sources -----------------------------------------------------------------------------------------


def test_a_file_says_nothing_of_a_source_that_is_the_layer_before() -> None:
    skips = (replace(SKIPS["sum"], source=1), replace(SKIPS["conv"], source=FROM_INPUT))
    first = architecture_with(FIRST, replace(FIRST, skips=skips))
    branch = replace(first, layers=(*first.layers[:3], replace(first.layers[3], source=1)))
    layers = branch.to_dict()["layers"]
    assert [layer["source"] for layer in layers] == [None, None, None, 1]
    assert [skip["source"] for skip in layers[2]["skips"]] == [1, -1]
    assert Architecture.from_dict(branch.to_dict()) == branch
    for layer in (layers[0], layers[1], *layers[2]["skips"][:1]):
        layer.pop("source")
    assert Architecture.from_dict(branch.to_dict() | {"layers": layers}) == branch


@pytest.mark.parametrize("source", [-2, 1, 2, 0.0, "conv1"])
@pytest.mark.parametrize("place", ["layer", "skip"])
def test_a_source_that_is_no_layer_before_is_refused(source: Any, place: str) -> None:
    content = architecture_with(replace(FIRST, skips=(SKIPS["sum"],))).to_dict()
    layer = content["layers"][1]
    (layer if place == "layer" else layer["skips"][0])["source"] = source
    message = rf"layer 1 takes its spikes from layer {source!r}; allowed are the layers before it"
    with pytest.raises(ConversionError, match=message):
        Architecture.from_dict(content)


# Several sources joined --------------------------------------------------------------------------


def joining(*layers: LayerSpec, **options: Any) -> Architecture:
    """Return an architecture of these layers, whose sources they say themselves."""
    return Architecture(INPUT, replace(OPTIONS, **options), layers)


@pytest.mark.parametrize("delay", [0, 2, 5])
@pytest.mark.parametrize("kind", ["conv", "conv_transpose", "linear"])
def test_layers_take_several_others_that_are_joined(kind: str, delay: int, tmp_path: Path) -> None:
    second = replace(FIRST, source=0, out=3)
    middle = {
        "conv": replace(FIRST, source=1, joined=(0,), norm=True),
        "conv_transpose": LayerSpec(
            "conv_transpose", 4, (3, 3), padding=(1, 1), source=1, joined=(0,), norm=True
        ),
        "linear": LayerSpec("linear", 4, pool=(2, 3), source=1, joined=(0,), norm=True),
    }[kind]
    last = replace(LAST, source=2, joined=(1, 2))
    model = check_all_stages(joining(FIRST, second, middle, last, firing_delay=delay), tmp_path)
    network = integer_network(model)
    assert [[one.source for one in layer.inputs] for layer in network.layers[2:]] == [
        ["conv2", "conv1"],
        [network.layers[2].name, "conv2", network.layers[2].name],
    ]
    names = [one.synapses.name for one in network.layers[3].inputs]
    assert names == ["dense4", "dense4.part2", "dense4.part3"]
    assert model.origins(3) == (2, 1, 2)
    whole = model.tandem_layers[2].real_weight
    assert whole is not None
    assert [part.stop - part.start for part in model.tandem_layers[2].parts] == (
        [108, 144] if kind == "linear" else [3, 4]
    )


def test_a_skip_takes_several_others_as_well(tmp_path: Path) -> None:
    skip = LayerSpec("conv", 4, norm=True, bias=False, source=1, joined=(0,))
    third = replace(FIRST, source=1, skips=(skip,))
    model = check_all_stages(
        joining(FIRST, replace(FIRST, source=0), third, replace(LAST, source=2)), tmp_path
    )
    inputs_of_third = integer_network(model).layers[2].inputs
    assert [(one.source, one.synapses.name) for one in inputs_of_third] == [
        ("conv2", "conv3"),
        ("conv2", "conv3.skip1"),
        ("conv1", "conv3.skip1.part2"),
    ]


def test_a_file_says_nothing_of_what_earlier_versions_do_not_know(tmp_path: Path) -> None:
    later = {"joined", "ceiling", "ceil_mode", "pooled_to"}
    for architecture, version in (
        (architecture_with(FIRST), 2),
        (joining(FIRST, replace(FIRST, source=0, joined=(0,)), replace(LAST, source=1)), 3),
        (joining(replace(FIRST, ceiling=6.0), replace(LAST, source=0)), 3),
        (architecture_with(EXAMPLES["maxpool"][0]), 3),
    ):
        layers = architecture.to_dict()["layers"]
        assert (version == 2) == (
            not any(later & layer.keys() for layer in layers)
            and not any(layer["kind"] == "maxpool" for layer in layers)
        )
        save_checkpoint(Checkpoint(TandemNetwork(architecture)), tmp_path / "model.pt")
        content = torch.load(tmp_path / "model.pt", weights_only=True)
        assert content["format_version"] == version
        assert Architecture.from_dict(architecture.to_dict()) == architecture


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (LayerSpec("conv", 4, groups=2), "conv2 is a conv of 2 groups, which takes the spikes of"),
        (LayerSpec("avgpool", kernel=(2, 2), bias=False), "pool2 is a avgpool of 1 group, which"),
        (LayerSpec("sum", bias=False), "sum2 is a sum of 1 group, which takes the spikes of one"),
        (LayerSpec("dropout"), "dropout2 is a dropout of 1 group, which takes the spikes of one"),
    ],
)
def test_a_layer_of_which_each_output_has_one_input_takes_one_source(
    layer: LayerSpec, message: str
) -> None:
    with pytest.raises(ConversionError, match=message):
        TandemNetwork(
            joining(FIRST, replace(layer, source=0, joined=(0,)), replace(LAST, source=1))
        )


@pytest.mark.parametrize("ceil_mode", ["x", None, 2])
def test_a_ceil_mode_is_true_or_false(ceil_mode: Any) -> None:
    with pytest.raises(ConversionError, match="ceil_mode of layer 0 is"):
        joining(replace(FIRST, ceil_mode=ceil_mode), replace(LAST, source=0))


@pytest.mark.parametrize("ceiling", [0.0, -1.0, float("nan"), float("inf"), "x"])
def test_a_ceiling_is_positive(ceiling: Any) -> None:
    with pytest.raises(ConversionError, match="the ceiling of layer 0"):
        joining(replace(FIRST, ceiling=ceiling), replace(LAST, source=0))


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (replace(LAST, pooled_to=(4, 4), pool=(2, 2)), r"to \(4, 4\) and one of windows \(2, 2\)"),
        (replace(LAST, pooled_to=(4,)), r"cannot be folded into it for samples of shape"),
        (replace(LAST, pooled_to=(0, 4)), r"cannot be folded into it for samples of shape"),
        (replace(LAST, out=1 << 18, pooled_to=(7, 7)), "the pooling before it makes 37748736 we"),
    ],
)
def test_an_adaptive_pooling_that_cannot_be_folded_is_refused(
    last: LayerSpec, message: str
) -> None:
    with pytest.raises(ConversionError, match=message):
        TandemNetwork(joining(FIRST, replace(last, source=0)))


# What comes out -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((), "the last of 0 layers has no synapses, so there is no result"),
        ((LayerSpec("dropout", p=0.5),), "the last of 1 layer has no synapses"),
        ((FIRST, replace(EXAMPLES["dropout"][0], source=0)), "the last of 2 layers has no synapse"),
        (
            (FIRST, LayerSpec("conv", 4, (9, 9), source=0), replace(LAST, source=1)),
            r"layer 1, a conv, gives samples of shape \(4, .*-.*\) where \(4, .* comes in; allowed",
        ),
        (
            (FIRST, LayerSpec("conv", 4, padding=(1 << 24, 0), source=0), replace(LAST, source=1)),
            r"layer 1, a conv, gives samples of shape \(4, 3355.*\) where .* from 1 to 1677721",
        ),
        (
            (FIRST, replace(FIRST, source=0, skips=(LayerSpec("conv", 3, source=0),)), LAST),
            r"layer 1 has neurons of shape \(4, .*, and its skips end in \[\(3, .* to be the same",
        ),
        (
            (FIRST, LayerSpec("linear", 3, pool=(99, 1), source=0)),
            r"dense2: a pooling of windows \(99, 1\) cannot be folded into it for samples",
        ),
        (
            (FIRST, LayerSpec("linear", 3, pool=(2,), source=0)),
            r"dense2: a pooling of windows \(2,\) cannot be folded into it for samples",
        ),
        (
            (FIRST, LayerSpec("conv_transpose", 4, output_padding=(1, 0), source=0), LAST),
            r"has the output_padding \(1, 0\); it must be less than the stride \(1, 1\) or the dil",
        ),
    ],
)
def test_layers_that_give_nothing_that_can_be_used_are_refused(
    layers: tuple[LayerSpec, ...], message: str
) -> None:
    with pytest.raises(ConversionError, match=message):
        TandemNetwork(joining(*layers))
