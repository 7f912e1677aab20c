"""A forward pass that waits for the device once is the one that looks at every number at once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils import prune
from torch.utils._python_dispatch import TorchDispatchMode

from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.arithmetic.neurons import LayerActivity
from tandem_hw.errors import ConversionError, NetworkError
from tandem_hw.learning import layers as layers_module
from tandem_hw.learning import model as model_module
from tandem_hw.learning.architecture import Architecture, LayerSpec
from tandem_hw.learning.layers import TandemLayer
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.learning.passes.deferred_pass import may_be_deferred
from tandem_hw.learning.quantizer import IntegerParameters
from tandem_hw.learning.spiking_options import SpikingOptions
from tandem_hw.network.input_spec import InputSpec
from tests.helpers.graph_networks import NETWORKS, converted, inputs_of
from tests.helpers.onednn import onednn
from tests.helpers.wide_network import wide_model

Told = tuple[str, list[Tensor], int | None, float]


@pytest.fixture
def deferred(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Let the first item say whether passes on the CPU are deferred."""
    switch = [False]
    monkeypatch.setattr(model_module, "may_be_deferred", lambda *_: switch[0])
    return switch


def trained(
    model: TandemNetwork, inputs: Tensor, steps: int = 3
) -> tuple[list[Told], list[Tensor]]:
    """Train a little; return what an observer was told and all outputs."""
    told: list[Told] = []

    def observe(layer: TandemLayer, activity: LayerActivity, integers: IntegerParameters) -> None:
        result = activity.potential if activity.counts is None else activity.counts
        assert result is not None
        values = [result, activity.final_state(), *integers.weights, integers.bias]
        told.append((layer.name, values, integers.threshold, integers.unit))

    torch.manual_seed(1)  # of the dropout
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    outputs = []
    for _ in range(3):
        found = model(inputs, observe)
        outputs.append(found.detach())
        optimizer.zero_grad()
        (found - 1).square().mean().backward()
        optimizer.step()
    return told, outputs


def check_equal(model: TandemNetwork, inputs: Tensor, deferred: list[bool]) -> TandemNetwork:
    """Train a model in both ways and compare everything; return the one that was deferred."""
    other = copy.deepcopy(model)
    told, outputs = trained(model, inputs)
    deferred[0] = True
    other_told, other_outputs = trained(other, inputs)
    assert all(map(torch.equal, outputs, other_outputs))
    for (name, values, *numbers), (other_name, other_values, *other_numbers) in zip(
        told, other_told, strict=True
    ):
        assert (name, numbers) == (other_name, other_numbers)
        assert all(
            torch.equal(one.double(), another.double())
            for one, another in zip(values, other_values, strict=True)
        )
    assert any(values[0].any() for _, values, threshold, _ in told if threshold is not None)
    for key, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key
    return other


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "options",
    [
        {"reset": "zero", "activation_max": 0.06},
        {"reset": "zero", "encoding": "events", "voltage_decay": 100, "activation_max": 0.06},
        {
            "initial_potential": 0.5,
            "learn_thresholds": True,
            "weight_bits": 4,
            "readout": "count",
            "activation_max": 0.5,
        },
        {"firing_delay": 1},
        {"firing_delay": "phased", "learn_thresholds": True},
        {"firing_delay": "phased", "encoding": "events", "readout": "count"},
    ],
    ids=[
        "zero",
        "leaky events",
        "counted, rounding and learnt thresholds",
        "waiting",
        "phased",
        "phased events",
    ],
)
def test_a_deferred_pass_trains_the_same_network(
    name: str, options: dict[str, Any], deferred: list[bool]
) -> None:
    model = converted(name, **options).train()
    found = check_equal(model, inputs_of(model), deferred)
    assert found._deferred.wrapping == frozenset()


def deferred_or_not(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return a list to which every later pass of a network adds whether it was deferred."""
    passes: list[bool] = []
    run = TandemNetwork._run

    def counted(self: TandemNetwork, *arguments: Any, **options: Any) -> Tensor:
        passes.append(len(arguments) > 2 and arguments[2] is not None)
        return run(self, *arguments, **options)

    monkeypatch.setattr(TandemNetwork, "_run", counted)
    return passes


@pytest.mark.parametrize(
    ("reset", "firing_delay"), [("subtract", 0), ("zero", 0), ("subtract", 1), ("subtract", 3)]
)
def test_a_pass_whose_states_left_24_bits_is_taken_back_and_run_with_wrap_and_clip(
    reset: str, firing_delay: int, deferred: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers_module, "_HEAD_ROOM", 0.0)
    model = wide_model(reset, firing_delay)
    inputs = torch.full((6, 40, 1, 1), 255, dtype=torch.uint8)
    inputs[1::2] = torch.randint(0, 256, (3, 40, 1, 1)).to(torch.uint8)
    passes = deferred_or_not(monkeypatch)
    found = check_equal(model, inputs, deferred)
    first = found.tandem_layers[0].name
    assert first in found._deferred.wrapping
    # Three immediate ones of the other model; then one that is taken back, and two that wrap.
    assert passes == [False] * 3 + [True, False] + [True] * 2


def test_a_pass_that_is_taken_back_leaves_the_one_before_its_gradient(
    deferred: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers_module, "_HEAD_ROOM", 0.0)
    model = wide_model()
    dark, bright = (torch.full((6, 40, 1, 1), value, dtype=torch.uint8) for value in (1, 255))
    gradients = []
    for deferred[0] in (False, True):
        one = copy.deepcopy(model)
        torch.manual_seed(2)  # of the dropout
        (one(dark).sum() + one(bright).square().sum()).backward()
        gradients.append([weight.grad for weight in one.parameters() if weight.grad is not None])
    assert one._deferred.wrapping
    assert any(gradient.any() for gradient in gradients[0])
    assert all(map(torch.equal, *gradients))


def test_what_the_weights_do_not_show_is_looked_at_closely_from_the_next_pass_on(
    deferred: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = deferred_or_not(monkeypatch)
    torch.manual_seed(0)
    architecture = Architecture(
        InputSpec((8,), bits=4, scale=1 / 15),
        SpikingOptions(4, "subtract", activation_max=0.2, firing_delay=3),
        (LayerSpec("linear", 6000), LayerSpec("linear", 4, source=0)),
    )
    model = TandemNetwork(architecture)
    with torch.no_grad():
        assert model.tandem_layers[0].bias is not None
        model.tandem_layers[0].bias.fill_(-0.5)  # so that few neurons fire
    inputs = torch.randint(0, 16, (6, 8)).to(torch.uint8)
    found = check_equal(model, inputs, deferred)
    assert found._deferred.watched == frozenset({"dense2"})
    assert found._deferred.wrapping == frozenset()
    # Three immediate ones of the other model; then one that is taken back, and two that are not.
    assert passes == [False] * 3 + [True, False] + [True] * 2


@pytest.mark.parametrize("wrong", ["weight", "input", "accumulator"])
def test_what_is_wrong_is_refused_as_ever(wrong: str, deferred: list[bool]) -> None:
    model = wide_model()
    inputs = torch.ones((4, 40, 1, 1), dtype=torch.uint8)
    errors: dict[str, tuple[type[Exception], str]] = {
        "weight": (ConversionError, "a weight or bias is infinite or not a number"),
        "input": (ConversionError, "the inputs reach 9, but 2 bits end at 3"),
        "accumulator": (NetworkError, "the synaptic input of one step can reach"),
    }
    if wrong == "weight":
        with torch.no_grad():
            assert model.tandem_layers[1].weight is not None
            model.tandem_layers[1].weight[0, 0] = torch.nan
    elif wrong == "input":
        model.architecture = copy.copy(model.architecture)
        spec = InputSpec((40, 1, 1), bits=2, scale=1 / 3, encoding="constant")
        object.__setattr__(model.architecture, "input", spec)
        inputs[2, 3] = 9
    else:
        model = TandemNetwork(
            Architecture(
                InputSpec((200, 1, 1), bits=8, scale=1 / 255, encoding="constant"),
                SpikingOptions(4, "subtract"),
                (LayerSpec("linear", 5),),
                "potential",
            )
        )
        with torch.no_grad():
            assert model.tandem_layers[0].weight is not None
            model.tandem_layers[0].weight.fill_(1.0)
        inputs = torch.zeros((4, 200, 1, 1), dtype=torch.uint8)
    for switch in (False, True):
        deferred[0] = switch
        kind, message = errors[wrong]
        with pytest.raises(kind, match=message):
            model(inputs)


class _Reads(TorchDispatchMode):
    """Counts what would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any | None = None
    ) -> Any:
        waits = ("_local_scalar_dense", "equal", "is_nonzero", "nonzero", "masked_select")
        if func.overloadpacket.__name__ in waits:
            self.found.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_a_deferred_pass_of_max_pooling_is_the_one_that_looks(deferred: list[bool]) -> None:
    model = converted("pooled", learn_thresholds=True).train()
    check_equal(model, inputs_of(model), deferred)


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_read_before_the_end(
    name: str, deferred: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = converted(name, learn_thresholds=True, reset="zero", activation_max=0.06).train()
    inputs = inputs_of(model)
    deferred[0] = True

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("read")

    asked = []
    failed = DeferredChecks.failed

    def ask(checks: DeferredChecks) -> frozenset[str] | None:
        asked.append(len(reads.found))
        monkeypatch.undo()  # the one place where a number is read
        return failed(checks)

    with onednn(False):  # bytes are packed on a CPU alone
        model(inputs)  # the trials are over
        reads = _Reads()
        with reads:
            torch.ones(()).item()
            assert reads.found == ["_local_scalar_dense"]  # so it would be seen
            reads.found.clear()
            for method in ("numpy", "tolist", "cpu", "item"):
                monkeypatch.setattr(Tensor, method, refuse)
            monkeypatch.setattr(model_module, "may_be_deferred", lambda *_: True)
            monkeypatch.setattr(TandemLayer, "evaluated_branch", refuse)
            monkeypatch.setattr(DeferredChecks, "failed", ask)
            model(inputs)
    assert asked == [0]


def test_what_others_look_at_is_not_taken_back() -> None:
    model = wide_model().train()
    there = torch.empty((2, 40, 1, 1), dtype=torch.uint8, device="meta")
    assert may_be_deferred(model, there)
    assert not may_be_deferred(model, torch.zeros((2, 40, 1, 1), dtype=torch.uint8))
    prune.l1_unstructured(model.tandem_layers[0], "weight", amount=0.5)
    assert may_be_deferred(model, there)
    for register in (
        torch.nn.Module.register_forward_hook,
        torch.nn.Module.register_forward_pre_hook,
    ):
        handle = register(model.layers[0], lambda *_: None)
        assert not may_be_deferred(model, there)
        handle.remove()
    assert may_be_deferred(model, there)
    model.layers[0].eval()
    assert not may_be_deferred(model, there)


@pytest.mark.parametrize("learn_thresholds", [False, True])
def test_layers_that_do_not_spike_yet_are_the_same_as_well(
    learn_thresholds: bool, deferred: list[bool]
) -> None:
    model = converted("residual", learn_thresholds=learn_thresholds, activation_max=0.5).train()
    inputs = inputs_of(model)
    found = []
    for deferred[0] in (False, True):
        one = copy.deepcopy(model)
        torch.manual_seed(2)  # of the dropout
        outputs = one(inputs, spiking=2)
        outputs.square().mean().backward()
        gradients = [weight.grad for weight in one.parameters() if weight.grad is not None]
        assert any(gradient.any() for gradient in gradients)
        found.append([outputs, *gradients])
    assert all(map(torch.equal, *found))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine")
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_a_pass_on_a_gpu_is_the_one_that_looks_at_every_number(
    name: str, reset: str, deferred: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    model = converted(name, reset=reset, activation_max=0.2).train().cuda()
    inputs = inputs_of(model).cuda()
    seen: list[list[tuple[str, Tensor, int | None, float]]] = []

    def observe(layer: TandemLayer, activity: LayerActivity, integers: IntegerParameters) -> None:
        result = activity.potential if activity.counts is None else activity.counts
        assert result is not None
        seen[-1].append((layer.name, result, integers.threshold, integers.unit))

    outputs = []
    for deferred[0] in (False, True):
        torch.manual_seed(2)  # of the dropout
        seen.append([])
        outputs.append(copy.deepcopy(model)(inputs, observe))
    assert torch.equal(*outputs)
    assert any(result.any() for _, result, threshold, _ in seen[0] if threshold is not None)
    for one, other in zip(*seen, strict=True):
        assert (one[0], *one[2:]) == (other[0], *other[2:])
        assert torch.equal(one[1].double(), other[1].double())
