"""Networks that hold what a copy, a swap or a comparison could trip over."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from tandem_hw import convert, prepare
from tandem_hw.errors import ConversionError


def dense(*end: nn.Module, activation: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 8), activation or nn.ReLU(), nn.Linear(8, 3), *end)


def pruned(layer: nn.Module) -> nn.Module:
    return prune.l1_unstructured(layer, "weight", amount=0.5)


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize(
    "wrap",
    [pruned, nn.utils.weight_norm, nn.utils.spectral_norm, parametrizations.weight_norm],
    ids=["pruned", "weight_norm", "spectral_norm", "parametrized"],
)
@pytest.mark.parametrize("has_run", [False, True])
def test_computed_weights_are_copied_with_what_computes_them(
    wrap: Callable[[nn.Module], nn.Module], has_run: bool
) -> None:
    network = dense(activation=nn.GELU())
    network[0] = wrap(network[0])
    if has_run:
        network(torch.rand(2, 6))
    found = prepare(network, input_shape=(6,), activations="relu")
    assert found.can_be_converted
    assert isinstance(network[1], nn.GELU)
    shown = {step.path: step.before for step in found.steps}["0"]
    assert shown.startswith(("Linear(", "ParametrizedLinear"))
    found.network.eval()
    taken = torch.rand(5, 6)
    before = found.network(taken)
    with torch.no_grad():
        next(network.parameters()).mul_(3)  # nothing of the copy hangs on the given network
    assert torch.equal(found.network(taken), before)
    parameters = dict(found.network.named_parameters())
    found.network(taken).sum().backward()
    assert all(one.grad is not None and one.grad.any() for one in parameters.values())
    convert(found.network, **found.options)


class Sums(nn.Module):
    """Ends in a sum of which a sigmoid is a part, or in what comes after the sigmoid."""

    def __init__(self, end: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 3)
        self.relu, self.sigmoid, self.end = nn.ReLU(), nn.Sigmoid(), end

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.relu(self.first(x))
        other = self.b(spikes)
        return self.end(self.sigmoid(self.a(spikes)), other)


@pytest.mark.parametrize(
    "end",
    [
        lambda gate, other: gate + other,
        lambda gate, other: gate.add_(other),
        lambda gate, other: torch.relu(gate),
        lambda gate, other: other,
    ],
    ids=["added", "added in place", "relu", "not used"],
)
def test_a_sigmoid_that_is_not_the_result_stays(end: Callable[[Tensor, Tensor], Tensor]) -> None:
    found = prepare(Sums(end), input_shape=(6,))
    assert [step.outcome for step in found.steps if step.path == "sigmoid"] == ["refused"]
    assert found.difference is not None
    assert found.difference.is_none


def test_a_sigmoid_that_is_flattened_is_the_result() -> None:
    found = prepare(nn.Sequential(dense(), nn.Sequential(nn.Sigmoid())), input_shape=(6,))
    assert found.steps[-1].outcome == "left out"
    assert found.can_be_converted

    class Flattened(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = dense(nn.Sigmoid())

        def forward(self, x: Tensor) -> Tensor:
            return torch.flatten(self.inner(x), 1)

    found = prepare(Flattened(), input_shape=(6,))
    assert found.steps[-1].outcome == "left out"
    assert str(found.difference) == "outputs on 64 random samples: the same as before"


def test_a_sigmoid_within_a_compiled_part_is_put_back_for_the_comparison() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.compile's own imports
        compiled: Any = torch.compile(nn.Sequential(nn.Linear(8, 3), nn.Sigmoid()))
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), compiled)
    found = prepare(network, input_shape=(6,))
    assert found.steps[-1].outcome == "left out"
    assert found.difference is not None
    assert found.difference.is_none


def test_a_frozen_normalisation_stays_frozen() -> None:
    norm = nn.SyncBatchNorm(4)
    norm.weight.requires_grad_(False)
    network = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(4, 3),
    )
    swapped = prepare(network, input_shape=(1, 6, 6)).network[1]  # type: ignore[index]
    assert type(swapped) is nn.BatchNorm2d
    assert [one.requires_grad for one in swapped.parameters()] == [False, True]


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = dense()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(x + torch.rand_like(x))
        return result


@pytest.mark.parametrize("network", [dense(), Noisy()], ids=["plain", "noisy"])
def test_no_random_numbers_are_drawn(network: nn.Module) -> None:
    before = torch.get_rng_state()
    found = prepare(network, input_shape=(6,))
    assert torch.equal(torch.get_rng_state(), before)
    assert found.difference is not None
    assert found.difference.is_none  # whatever is random is so in both alike


def test_an_enlargement_draws_no_random_numbers() -> None:
    network = nn.Sequential(
        *(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(2, 2, 1)),
        *(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)),
    )
    before = torch.get_rng_state()
    found = prepare(network, input_shape=(1, 6, 6))
    assert torch.equal(torch.get_rng_state(), before)
    assert [step.path for step in found.steps if step.outcome == "swapped"] == ["2"]
    assert found.difference is not None
    assert found.difference.is_none


class OfItsOwnType(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = dense()
        self.register_buffer("shift", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            raise TypeError("float32 alone")
        result: Tensor = self.inner(x + self.shift)
        return result


def test_what_does_not_run_in_double_precision_is_not_compared() -> None:
    found = prepare(OfItsOwnType(), input_shape=(6,))
    assert found.difference is None
    assert "the outputs before and after could not be compared" in str(found)


def test_a_forward_pass_that_calls_the_given_network_is_refused() -> None:
    network = dense()
    network.forward = lambda x: network[2](network[1](network[0](x)))  # type: ignore[method-assign]
    found = prepare(network, input_shape=(6,))
    assert not found.can_be_converted
    assert found.difference is None


def test_results_that_are_no_numbers_are_not_compared() -> None:
    network = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)),
    )
    network[1].running_var.fill_(float("nan"))  # type: ignore[operator,union-attr]
    found = prepare(network, input_shape=(1, 6, 6))
    assert len(found.refusals) == 1
    assert found.refusals[0].startswith("layer 1 (BatchNorm2d) has a norm.running_var that is inf")
    assert found.difference is None


def test_a_hook_is_named_where_it_is_in_the_way_of_a_swap() -> None:
    network = dense(activation=nn.GELU())
    network[1].register_forward_hook(lambda *_: None)
    found = prepare(network, input_shape=(6,), activations="relu")
    assert found.steps[1].remark.startswith('remove its hooks; then activations="relu" swaps it')


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (torch.full((2, 6), float("nan")), "hold values that are infinite or not a number; give"),
        (torch.full((2, 6), float("inf")), "hold values that are infinite or not a number; give"),
        (torch.zeros(2, 6).to_sparse(), "are torch.sparse_coo on cpu; give real numbers"),
        (torch.zeros(2, 6, device="meta"), "are torch.strided on meta; give real numbers"),
        ("abc", "are str, which is no tensor of numbers; give real numbers"),
        ([["a"] * 6], "are list, which is no tensor of numbers; give real numbers"),
    ],
)
def test_samples_that_cannot_be_compared_are_refused(samples: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=f"^samples {message}"):
        prepare(dense(), input_shape=(6,), samples=samples)
