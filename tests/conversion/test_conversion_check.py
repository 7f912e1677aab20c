"""What PyTorch runs besides the layers: hooks, replaced methods, operations in place."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ConversionError
from tests.helpers.ordinary_networks import converted
from tests.helpers.present import present

IMAGE = (2, 6, 6)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(48, 5),
        nn.ReLU(),
        nn.Linear(5, 3),
    )


def scale_output(_: nn.Module, __: Any, output: Tensor) -> Tensor:
    return output * 0.5


def shift_input(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
    return (inputs[0] + 0.25,)


def scale_unseen(_: nn.Module, __: Any, output: Tensor) -> None:
    """Change an output where neither functions nor versions tell of it."""
    with torch._C.DisableTorchFunction():
        output.data.mul_(0.5)


def shift_unseen(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    with torch._C.DisableTorchFunction():
        inputs[0].data.add_(0.25)


SEEN: dict[str, tuple[str, Any, str]] = {
    "another output": ("", scale_output, "mul"),
    "another output for some values": ("", lambda _, __, out: out.clamp(min=-1e6), "clamp"),
    "a decision": ("", lambda _, __, out: out * 2 if out.max() > 1e6 else None, r"bool"),
    "an output in place": ("", lambda _, __, out: out.clamp_(min=-1e6) and None, "clamp"),
    "another input": ("pre_", shift_input, "add"),
    "another input for some values": (
        "pre_",
        lambda _, inputs: (torch.minimum(inputs[0], torch.tensor(1e6)),),
        "minimum",
    ),
    "an input in place": ("pre_", lambda _, inputs: (inputs[0].mul_(2),), "mul"),
}


@pytest.mark.parametrize("case", SEEN)
@pytest.mark.parametrize("index", range(8))
def test_a_hook_that_computes_is_refused_even_where_it_changes_nothing(
    index: int, case: str
) -> None:
    kind, hook, name = SEEN[case]
    network = net()
    getattr(network[index], f"register_forward_{kind}hook")(hook)
    with pytest.raises(ConversionError, match=rf"{index}\.hook\.{name}[^;]*.*remove the hook, or"):
        convert(network, input_shape=IMAGE, num_steps=4)


def test_a_hook_that_takes_arguments_by_name_is_refused() -> None:
    def limit(_: nn.Module, args: Any, kwargs: Any) -> Any:
        return (args[0].clamp(min=-1e6),), kwargs

    network = net()
    network[5].register_forward_pre_hook(limit, with_kwargs=True)
    with pytest.raises(ConversionError, match=r"layer 5\.hook\.clamp"):
        convert(network, input_shape=IMAGE, num_steps=4)


def test_a_hook_that_gives_a_foreign_tensor_is_refused() -> None:
    network = net()
    network[7].register_forward_hook(lambda *_: torch.ones(3, 3))
    with pytest.raises(ConversionError, match="does not come from the input"):
        convert(network, input_shape=IMAGE, num_steps=4)


@pytest.mark.parametrize("index", range(8))
def test_an_output_that_is_changed_unseen_is_refused_by_the_layer(index: int) -> None:
    network = net()
    network[index].register_forward_hook(scale_unseen)
    with pytest.raises(ConversionError, match=r"layer \d computes something else"):
        convert(network, input_shape=IMAGE, num_steps=4)
    with pytest.raises(ConversionError, match=rf"hooks, on {index} \(.*scale_unseen"):
        convert(network, input_shape=IMAGE, num_steps=4)


@pytest.mark.parametrize("index", range(8))
def test_an_input_that_is_changed_unseen_is_refused_by_the_layer(index: int) -> None:
    network = net()
    network[index].register_forward_pre_hook(shift_unseen)
    with pytest.raises(ConversionError, match=r"layer \d computes something else"):
        convert(network, input_shape=IMAGE, num_steps=4)


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_a_hook_of_a_whole_block_or_of_the_network_is_followed(register: str) -> None:
    hook = scale_output if register == "register_forward_hook" else shift_input
    for path in ("", "0"):
        network = nn.Sequential(net())
        getattr(network.get_submodule(path), register)(hook)
        with pytest.raises(ConversionError, match=r"operation (0\.)?(mul|add) \((mul|add)\)"):
            convert(network, input_shape=IMAGE, num_steps=4)


@pytest.mark.parametrize("kind", ["hook", "pre_hook"])
def test_a_hook_of_all_modules_is_seen(kind: str) -> None:
    def everywhere(module: nn.Module, *arguments: Any) -> Any:
        if isinstance(module, nn.Linear):
            return arguments[1] * 0.5 if kind == "hook" else (arguments[0][0] * 0.5,)
        return None

    register = getattr(nn.modules.module, f"register_module_forward_{kind}")
    network = net()
    handle = register(everywhere)
    try:
        with pytest.raises(ConversionError, match=r"operation 5\..*mul|operation mul"):
            convert(network, input_shape=IMAGE, num_steps=4)
    finally:
        handle.remove()
    converted(network, IMAGE)


def test_hooks_that_only_look_pass_and_stay() -> None:
    network = net()
    seen: list[float] = []
    for module in network.modules():
        module.register_forward_hook(lambda _, __, output: seen.append(output.detach().clone()))
        module.register_forward_pre_hook(lambda _, __: None)
    converted(network, IMAGE)
    count = len(seen)
    assert count
    assert [len(module._forward_hooks) for module in network.modules()] == [1] * 9
    network(torch.zeros(2, *IMAGE))
    assert len(seen) == count + 9


def test_without_the_check_the_layers_are_converted_without_their_hooks() -> None:
    network = net()
    for index in range(8):
        network[index].register_forward_hook(scale_output)
    model = convert(network, input_shape=IMAGE, num_steps=4, check=False)
    assert torch.equal(present(model.tandem_layers[0].weight), network[0].weight)


@pytest.mark.parametrize(("index", "kind"), [(0, "Conv2d"), (1, "BatchNorm2d"), (2, "ReLU")])
def test_a_forward_pass_that_is_replaced_on_a_layer_is_refused(index: int, kind: str) -> None:
    network = net()
    before = network[index].forward
    network[index].forward = lambda x: before(x) * 2
    message = rf"layer {index} \({kind}\) has a forward pass of its own \(forward is replaced on"
    with pytest.raises(ConversionError, match=message):
        convert(network, input_shape=IMAGE, num_steps=4)


def test_a_forward_pass_that_is_replaced_on_a_block_is_what_is_read() -> None:
    network = nn.Sequential(net(), nn.ReLU(), nn.Linear(3, 2))
    inner = network[0]
    inner.forward = lambda x: inner[7](inner[6](inner[5](inner[4](inner[2](inner[0](x))))))
    model = converted(network, IMAGE)
    assert not model.architecture.layers[0].norm  # it is left out


class OwnConv(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(input, weight - weight.mean(), bias)


def test_an_overridden_convolution_is_refused() -> None:
    network = nn.Sequential(OwnConv(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    with pytest.raises(
        ConversionError, match=r"layer 0 \(OwnConv\) has .* \(_conv_forward is replaced in its cl"
    ):
        convert(network, input_shape=IMAGE, num_steps=4)


class Skip(nn.Module):
    """A block whose ReLU may write over what the skip path takes."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first = nn.Conv2d(2, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(108, 2)
        self.inplace = nn.ReLU(inplace=True)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.function(self, x)).flatten(1))


def by_module(m: Any, x: Tensor) -> Tensor:
    start = m.first(x)
    return m.second(m.inplace(start)) + start


def by_function(m: Any, x: Tensor) -> Tensor:
    start = m.first(x)
    F.relu_(start)
    return m.second(start) + start


def by_method(m: Any, x: Tensor) -> Tensor:
    start = m.first(x)
    start.relu_()
    return m.second(start).add_(start)


@pytest.mark.parametrize("function", [by_module, by_function, by_method])
def test_an_operation_in_place_is_read_as_it_runs(function: Any) -> None:
    model = converted(Skip(function), IMAGE)
    # The skip path starts behind the ReLU, which wrote over its beginning.
    assert [skip.kind for skip in model.architecture.layers[1].skips] == ["sum"]


def through_a_view(m: Any, x: Tensor) -> Tensor:
    start = m.first(x)
    return m.second(torch.relu_(start.view(-1, 3, 6, 6))) + start


def into_a_part(m: Any, x: Tensor) -> Tensor:
    start = torch.relu(m.first(x))
    start[:, 0] = 0
    return m.second(start)


def through_data(m: Any, x: Tensor) -> Tensor:
    start = torch.relu(m.first(x))
    start.data.mul_(2)
    return m.second(start)


def limit_through_data(m: Any, x: Tensor) -> Tensor:
    start = torch.relu(m.first(x))
    start.data.clamp_(max=1e6)
    return m.second(start)


def assign_data(m: Any, x: Tensor) -> Tensor:
    start = torch.relu(m.first(x))
    start.data = start.clamp(max=1e6)
    return m.second(start)


def through_detached(m: Any, x: Tensor) -> Tensor:
    start = torch.relu(m.first(x))
    start.detach().clamp_(max=1e6)
    return m.second(start)


@torch.inference_mode()
def in_inference_mode(m: Any, x: Tensor) -> Tensor:
    return m.second(torch.relu(m.first(x)).clamp_(max=1e6))


def rounded(m: Any, x: Tensor) -> Tensor:
    return m.second(torch.relu(m.first(x)).to(torch.bfloat16).to(x.dtype))


def rounded_by_type(m: Any, x: Tensor) -> Tensor:
    return m.second(torch.relu(m.first(x)).type(torch.float16).type(x.dtype))


def rounded_by_half(m: Any, x: Tensor) -> Tensor:
    return m.second(torch.relu(m.first(x)).half().to(x.dtype))


def rounded_to_integers(m: Any, x: Tensor) -> Tensor:
    return m.second(torch.relu(m.first(x)).to(torch.int64).to(x.dtype))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (rounded, r"operation to rounds values to torch\.bfloat16"),
        (rounded_by_type, r"operation type rounds values to torch\.float16"),
        (rounded_by_half, r"operation half \(half\) cannot be converted"),
        (rounded_to_integers, r"operation to rounds values to torch\.int64"),
    ],
)
def test_what_rounds_values_is_refused(function: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(Skip(function), input_shape=IMAGE, num_steps=4)


def test_a_forward_pass_in_inference_mode_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"inference mode, .*use torch\.no_grad\(\)"):
        convert(Skip(in_inference_mode), input_shape=IMAGE, num_steps=4)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (through_a_view, "first is used after an operation in place has written over it"),
        (into_a_part, "setitem"),
        (through_data, "mul writes over what it takes in, which is used again"),
        (limit_through_data, "clamp writes over what it takes in, which is used again"),
        (assign_data, "data writes over what it takes in, which is used again"),
        (through_detached, "first is used after|writes over"),
    ],
)
def test_what_is_written_behind_the_back_of_a_value_is_refused(function: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(Skip(function), input_shape=IMAGE, num_steps=4)


class Counting(nn.Module):
    """A forward pass that has a memory and takes random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.runs = 0
        self.seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.runs += 1
        self.seen = torch.rand(3)
        random.random()
        return self.layer(x)


def test_the_network_is_left_as_it_was() -> None:
    network = nn.Sequential(Counting(), nn.ReLU(), nn.Linear(3, 2))
    network[2].eval()
    inner = network[0]
    modes = [module.training for module in network.modules()]
    assert modes == [True, True, True, True, False]
    pointers = [parameter.data_ptr() for parameter in network.parameters()]
    own = random.getstate()
    before = copy.deepcopy(network.state_dict())
    told: list[int] = []
    inner.register_forward_hook(lambda *_: told.append(inner.runs))
    convert(network, input_shape=(4,), num_steps=4)
    assert told == [1, 1, 2]  # it ran once, and twice on copies for the comparison
    assert (inner.runs, float(inner.calls), inner.seen) == (0, 0.0, None)
    assert [module.training for module in network.modules()] == modes
    assert [parameter.data_ptr() for parameter in network.parameters()] == pointers
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert random.getstate() == own


def test_running_a_network_takes_no_random_numbers_of_the_user() -> None:
    network = nn.Sequential(Counting())

    def next_number(check: bool) -> float:
        torch.manual_seed(1)
        convert(network, input_shape=(4,), num_steps=4, check=check)
        return float(torch.rand(()))

    # The fresh model's initial weights take some, the runs of the network none.
    assert next_number(check=True) == next_number(check=False)


class Zero(nn.Module):
    """A residual block that starts as the identity: its last normalisation is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 5)
        self.inner = nn.Linear(5, 5)
        self.norm = nn.BatchNorm1d(5)
        self.head = nn.Linear(5, 2)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return self.head(torch.relu(x + self.norm(self.inner(x))))


def test_what_zeros_hide_is_found() -> None:
    network = Zero()
    converted(network, (4,))
    network.inner.register_forward_hook(scale_unseen)
    network.eval()
    values = torch.rand(3, 4)
    hidden = network(values)
    network.inner._forward_hooks.clear()
    assert torch.equal(network(values), hidden)
    network.inner.register_forward_hook(scale_unseen)
    with pytest.raises(ConversionError, match="layer add computes something else"):
        convert(network, input_shape=(4,), num_steps=4)


def test_weights_that_depend_on_the_input_are_refused() -> None:
    def choose(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        module.weight = module.kept * inputs[0].mean()

    network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    weight = network[2].weight
    del network[2].weight
    network[2].register_parameter("kept", weight)
    network[2].register_forward_pre_hook(choose)
    with pytest.raises(ConversionError, match="layer 2 has another weight each time the network r"):
        convert(network, input_shape=(4,), num_steps=4)


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)
        self.turn = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) if x.shape[0] == 3 else self.a(x) + self.b(x)


def test_a_forward_pass_that_is_another_for_other_samples_is_refused() -> None:
    with pytest.raises(ConversionError, match="gives other layers when it runs again"):
        convert(Noisy(), input_shape=(4,), num_steps=4)


class Batch(nn.Module):
    """Computes something else in large batches."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.layer(x))
        return self.last(x * 2 if len(x) > 8 else x)


def test_a_forward_pass_that_is_another_for_many_samples_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"operation mul \(mul\) cannot be converted exactly"):
        convert(Batch(), input_shape=(4,), num_steps=4)


def brighten(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Change dark samples alone, unseen."""
    with torch._C.DisableTorchFunction():
        inputs[0].data[inputs[0].amax(1) == 0] = 1


def test_what_dark_samples_alone_meet_is_found() -> None:
    network = nn.Sequential(nn.Linear(40, 5), nn.ReLU(), nn.Linear(5, 3))
    network[0].register_forward_pre_hook(brighten)
    with pytest.raises(ConversionError, match="layer 0 computes something else"):
        convert(network, input_shape=(40,), num_steps=4)


def test_what_the_samples_alone_meet_is_found() -> None:
    def even(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        with torch._C.DisableTorchFunction():
            first = inputs[0][:, :1]
            inputs[0].data[
                ((inputs[0] == first).all(1)) & (first[:, 0] > 0) & (first[:, 0] < 1)
            ] = 1

    network = nn.Sequential(nn.Linear(40, 5), nn.ReLU(), nn.Linear(5, 3))
    network[0].register_forward_pre_hook(even)
    convert(network, input_shape=(40,), num_steps=4)
    samples = torch.full((9, 40), 7, dtype=torch.uint8)
    with pytest.raises(ConversionError, match="layer 0 computes something else"):
        convert(network, input_shape=(40,), num_steps=4, samples=samples)


class Float(nn.Module):
    """Runs in float32 alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.layer(x.float())).to(torch.float32))


def test_a_network_that_runs_in_float32_alone_is_compared_in_it() -> None:
    network = Float()
    converted(network, (4,))
    network.last.register_forward_hook(scale_unseen)
    with pytest.raises(ConversionError, match="layer last computes something else"):
        convert(network, input_shape=(4,), num_steps=4)


def test_a_network_of_float64_is_compared_with_its_rounded_weights() -> None:
    network = net().double()
    model = converted(network, IMAGE)
    assert torch.equal(present(model.tandem_layers[0].weight), network[0].weight.float())
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}


def test_a_normalisation_that_stays_in_training_is_refused() -> None:
    class Stubborn(nn.BatchNorm1d):
        def train(self, mode: bool = True) -> Stubborn:
            return super().train(True)

    network = nn.Sequential(nn.Linear(4, 3), Stubborn(3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(ConversionError, match=r"layer 1 \(Stubborn\) stays in training mode"):
        convert(network, input_shape=(4,), num_steps=4)


def test_weights_that_are_no_numbers_are_refused() -> None:
    network = net()
    with torch.no_grad():
        network[5].weight[0, 0] = np.nan
    with pytest.raises(ConversionError, match=r"^layer 5 \(Linear\) has a weight that is infinite"):
        convert(network, input_shape=IMAGE, num_steps=4)


@pytest.mark.parametrize("name", ["bias", "running_var"])
def test_a_normalisation_that_is_no_number_is_named_alone(name: str) -> None:
    network = net()
    getattr(network[1], name).data[0] = np.inf
    message = rf"^layer 1 \(BatchNorm2d\) has a {name} that is infinite or not a number; [^;]*$"
    with pytest.raises(ConversionError, match=message):
        convert(network, input_shape=IMAGE, num_steps=4)
