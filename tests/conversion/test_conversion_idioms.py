"""Forward passes as people write them: what is harmless passes, the rest is refused with advice."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw.conversion.convert import convert
from tandem_hw.conversion.layer_reader import SUPPORTED
from tandem_hw.errors import ConversionError
from tandem_hw.user_warnings import ConversionWarning
from tests.helpers.ordinary_networks import converted, random_inputs
from tests.helpers.present import present

IMAGE = (2, 6, 6)


class Net(nn.Module):
    """Two convolutions and a linear layer, used by a function."""

    def __init__(self, forward: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first = nn.Conv2d(2, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(108, 4)
        self.wide = nn.Linear(4, 4)
        self.gain = nn.Parameter(torch.ones(1, 3, 1, 1))
        self.register_buffer("mean", torch.full((1, 2, 1, 1), 0.5))
        self.function = forward

    def forward(self, x: Tensor, mask: Tensor | None = None, *, scale: float = 1.0) -> Any:
        if mask is not None:
            x = x * mask * scale
        return self.function(self, x)


def by_length(m: Any, x: Tensor) -> Tensor:
    return m.head(torch.relu(m.first(x)).view(len(x), -1))


def by_arithmetic(m: Any, x: Tensor) -> Tensor:
    x = torch.relu(m.first(x))
    batch, channels, height, width = x.shape
    return m.head(x.reshape(batch, channels * height * width // 1))


def by_product(m: Any, x: Tensor) -> Tensor:
    x = torch.relu(m.first(x))
    return m.head(x.reshape(-1, math.prod(x.shape[1:])))


def by_assertions(m: Any, x: Tensor) -> Tensor:
    assert x.dim() == 4
    assert x.shape[1] == 2, x.shape
    if x.size(2) != 6 or not x.is_floating_point() or x.ndim > 4:
        raise ValueError(f"images of {x.size()[2:]}")
    torch._assert(x.size(3) == 6, "wide")
    x = F.relu(m.first(x.to(m.gain.dtype)))
    return m.head(x.flatten(1) if x.dim() > 2 else x)


def by_kernel(m: Any, x: Tensor) -> Tensor:
    x = torch.relu(m.first(x))
    pooled = F.avg_pool2d(x, kernel_size=x.size()[2:]).squeeze(-1).squeeze(-1)
    assert isinstance(pooled, Tensor)
    return F.relu(m.second(x)).mean((2, 3)) if pooled.dim() != 2 else m.tail(pooled)


def by_squeezing(m: Any, x: Tensor) -> Tensor:
    x = torch.relu(m.first(x)).unsqueeze(1).squeeze(1)[:, :, None].squeeze(2)
    x = torch.relu(m.second(x))
    return m.head(x.unflatten(1, (3, 1)).flatten(2).view(x.size(0), -1).squeeze())


def by_sum(m: Any, x: Tensor) -> Tensor:
    x = torch.relu(m.first(x))
    added: Any = sum([m.second(x), x])
    return m.head(torch.relu(added).flatten(1))


def by_loop(m: Any, x: Tensor) -> Tensor:
    branches = [layer(x) for layer in (m.first,)]
    x = torch.relu(branches[0])
    return m.head(F.dropout(x, 0.3, m.training).contiguous().clone().flatten(1))


def by_switching(m: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        x = torch.relu(m.first(x.float() if x.dtype == torch.float16 else x))
    if m.training:
        x = F.dropout2d(x, 0.1)
    return m.head(torch.flatten(x, start_dim=1))


HARMLESS = [
    by_length, by_arithmetic, by_product, by_assertions, by_kernel, by_squeezing, by_sum, by_loop,
    by_switching,
]  # fmt: skip


@pytest.mark.parametrize("function", HARMLESS)
def test_a_harmless_idiom_is_read(function: Any) -> None:
    network = Net(function)
    network.tail = nn.Linear(3, 4)
    converted(network, IMAGE)


def test_a_dropout_that_drops_in_evaluation_is_refused() -> None:
    network = Net(lambda m, x: m.head(F.dropout(torch.relu(m.first(x))).flatten(1)))
    with pytest.raises(ConversionError, match="drops in evaluation too; pass training=self"):
        convert(network, input_shape=IMAGE, num_steps=4)


def scripted_relu(x: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of PyTorch call it deprecated
        return torch.jit.script(torch.nn.functional.relu)(x)


def relu_of_first(function: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    return lambda m, x: function(m, torch.relu(m.first(x)))


ADVICE: dict[str, tuple[Callable[[Any, Tensor], Any], str]] = {
    "leaky_relu": (lambda m, x: m.second(F.leaky_relu(m.first(x))), "use ReLU, the spike counts"),
    "leaky_relu_": (lambda m, x: m.second(F.leaky_relu_(m.first(x))), "use ReLU, the spike counts"),
    "gelu": (lambda m, x: m.second(F.gelu(m.first(x))), 'prepare with activations="relu" swaps'),
    "hardtanh": (lambda m, x: m.second(F.hardtanh(m.first(x))), "use ReLU, the spike counts"),
    "clamp": (lambda m, x: m.second(m.first(x).clamp(-1, 6)), "use ReLU, the spike counts"),
    "tanh": (lambda m, x: m.second(torch.tanh(m.first(x))), "use ReLU, the spike counts"),
    "sigmoid": (lambda m, x: m.second(m.first(x).sigmoid()), "inside a network use ReLU"),
    "softmax inside": (lambda m, x: m.second(F.softmax(m.first(x), 1)), "inside a network use Re"),
    "max_pool2d": (relu_of_first(lambda m, x: F.max_pool2d(x, 2)), 'firing_delay="phased" .*or'),
    "lp_pool2d": (relu_of_first(lambda m, x: F.lp_pool2d(x, 2, 2)), "use MaxPool1d or MaxPool2d"),
    "interpolate": (
        relu_of_first(lambda m, x: F.interpolate(x, scale_factor=2)), "use a ConvTranspose2d"
    ),
    "layer_norm": (lambda m, x: m.second(F.layer_norm(m.first(x), (6,))), "use batch normalisat"),
    "conv2d": (lambda m, x: F.conv2d(x, m.first.weight), "use the layer of torch.nn"),
    "mul": (lambda m, x: torch.relu(m.first(x) * 2), "scale, subtract or stack by the weights"),
    "a parameter times": (lambda m, x: torch.relu(m.gain * m.first(x)), "scale, subtract or"),
    "sub": (lambda m, x: m.first(x - m.mean), "scale, subtract or stack by the weights"),
    "stack": (
        relu_of_first(lambda m, x: m.second(torch.stack([x, x], 1).flatten(1, 2)[:, :3])),
        r"join what layers with a ReLU put out along their channels, torch.cat\(\[a, b\], 1\)",
    ),
    "a slice": (relu_of_first(lambda m, x: m.second(x[:, :, ::1, 1:])), "takes in all neurons of"),
    "chunk": (relu_of_first(lambda m, x: x.chunk(3, 1)[0]), "takes in all neurons of the one bef"),
    "unbind": (relu_of_first(lambda m, x: next(iter(x))), "takes in all neurons of the"),
    "permute": (lambda m, x: m.first(x.permute(0, 1, 3, 2)), "reorder the data before the netw"),
    "pad": (lambda m, x: m.first(F.pad(x, (1, 1))), "use the padding of the convolution"),
    "a flattened batch": (relu_of_first(lambda m, x: m.head(x.view(-1))), "samples included"),
    "unsqueezed input": (
        lambda m, x: m.first(x.unflatten(1, (1, 2)).flatten(1, 2)[:, :, None].view(-1, 2, 36, 1)),
        r"give such samples, input_shape=\(2, 36, 1\), and leave out what reshapes",
    ),
    "a parameter added": (lambda m, x: torch.relu(m.first(x) + m.gain), "adds something else than"),
    "a buffer added": (lambda m, x: m.first(x + m.mean), "belongs into the bias"),
    "a number added": (lambda m, x: torch.relu(1 + m.first(x)), "belongs into the bias"),
    "a tuple": (lambda m, x: (m.first(x), x), "returns tuple; it must return one tensor"),
    "a decision": (lambda m, x: m.first(x) if x.mean() > 0 else x, r"out of the network \(bool\)"),
    "an item": (lambda m, x: m.first(x) if x[0, 0, 0, 0].item() else x, r"network \(item\)"),
    "numbers": (lambda m, x: m.first(torch.from_numpy(x.numpy())), r"out of the network \(numpy"),
    "a constant": (lambda m, x: m.gain, "does not come from the input through operations that can"),
    "a function of TorchScript": (
        lambda m, x: m.second(scripted_relu(m.first(x))), "functions of TorchScript and other libr"
    ),
    "a missing argument": (lambda m, x: m.first(), "does not take samples of shape"),
    "broadcasting": (
        lambda m, x: torch.relu(m.wide(x.mean((2, 3))) + m.second(x)), "does not take samples"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ADVICE)
def test_what_cannot_be_converted_comes_with_advice(case: str) -> None:
    function, message = ADVICE[case]
    network = Net(function)
    network.to(torch.float64)
    with pytest.raises(ConversionError, match=message):
        convert(network, input_shape=IMAGE, num_steps=4)


def test_everything_that_is_refused_comes_in_one_message() -> None:
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"),
        nn.LeakyReLU(),
        nn.AdaptiveMaxPool2d(3),
        nn.Conv2d(4, 4, 1),
        nn.GroupNorm(2, 4),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(36, 4),
        nn.Linear(4, 2),
        nn.Sigmoid(),
    )
    with pytest.raises(ConversionError) as caught:
        convert(network, input_shape=IMAGE, num_steps=4)
    lines = str(caught.value).splitlines()
    assert lines[0] == "7 things in the network cannot be converted:"
    assert [line.split(maxsplit=3)[2] for line in lines[1:-1]] == [
        "0",
        "1",
        "2",
        "4",
        "5",
        "7",
        "9",
    ]
    assert lines[3] == (
        "- layer 2 (AdaptiveMaxPool2d) cannot be converted exactly; use MaxPool1d or MaxPool2d in "
        "a phased network, average pooling, or a stride of 2 in the convolution before it"
    )
    assert lines[-1] == f"supported are {SUPPORTED}"


class Head(nn.Module):
    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.last, self.end = nn.Linear(4, 6), nn.Linear(6, 3), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.last(torch.relu(self.layer(x))))


@pytest.mark.parametrize(
    "end",
    [
        nn.Softmax(1),
        nn.LogSoftmax(dim=-1),
        lambda x: F.log_softmax(x, dim=1),
        lambda x: torch.softmax(x, -1),
        lambda x: x.log_softmax(1).squeeze(),
    ],
)
@pytest.mark.parametrize("readout", ["potential", "count"])
def test_a_softmax_at_the_very_end_is_left_out_and_this_is_said(end: Any, readout: Any) -> None:
    network = Head(end)
    with pytest.warns(ConversionWarning, match=r"(?i)softmax\).* is left out: the model returns"):
        model = convert(network, input_shape=(4,), num_steps=4, activation_max=1e4, readout=readout)
    inputs = random_inputs((4,))
    with torch.no_grad():
        logits = network.last(torch.relu(network.layer(inputs.float() / 15)))
        found = model.eval()(inputs, spiking=0)
    if readout == "count":
        logits = logits.relu() / model.tandem_layers[-1].spike_value
    torch.testing.assert_close(found, logits, rtol=1e-5, atol=1e-5)


def test_a_softmax_over_the_samples_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"\(Softmax\) cannot .* at its end leave it out"):
        convert(Head(nn.Softmax(0)), input_shape=(4,), num_steps=4)


def plain() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def compiled(network: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.compile's own imports
        made = torch.compile(network)
    assert isinstance(made, nn.Module)
    return made


WRAPPED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DataParallel": nn.DataParallel,
    "compiled": compiled,
    "compiled DataParallel": lambda network: compiled(nn.DataParallel(network)),
    "a part in DataParallel": lambda network: nn.Sequential(nn.DataParallel(network)),
    "a compiled part": lambda network: nn.Sequential(compiled(network)),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_wrappers_are_taken_off(kind: str) -> None:
    inner = plain()
    model = convert(WRAPPED[kind](inner), input_shape=(4,), num_steps=4)
    assert torch.equal(present(model.tandem_layers[1].weight), inner[2].weight)
    inner[1] = nn.GELU()
    with pytest.raises(ConversionError, match=r"layer (0\.|0\.module\.)?1 \(GELU\) cannot be"):
        convert(WRAPPED[kind](inner), input_shape=(4,), num_steps=4)


def test_a_network_that_is_compiled_in_place_is_read_uncompiled() -> None:
    network = plain()

    def fail(*_: Any) -> Any:
        raise AssertionError("it was compiled")

    network.compile(backend=fail)
    model = convert(network, input_shape=(4,), num_steps=4)
    assert torch.equal(present(model.tandem_layers[0].weight), network[0].weight)
    assert network._compiled_call_impl is not None


@pytest.mark.parametrize("place", ["the network", "a layer"])
def test_torchscript_is_refused_with_the_way_out(place: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of PyTorch call it deprecated
        scripted: nn.Module = torch.jit.script(plain())
    if place == "a layer":
        scripted = nn.Sequential(nn.Identity(), scripted)
    message = "is TorchScript, whose forward pass cannot be read; give the Python module"
    with pytest.raises(ConversionError, match=message):
        convert(scripted, input_shape=(4,), num_steps=4)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Linear, "found type; give an instance of the class"),
        (plain().state_dict(), "takes a network as torch.nn.Module, found OrderedDict"),
        (lambda x: x, "found function"),
    ],
)
def test_what_is_no_network_is_refused(network: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(network, input_shape=(4,), num_steps=4)
