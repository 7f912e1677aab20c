"""What a conversion has lost is found out by trying, and what is tried is what there would be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tandem_hw import TandemNetwork, convert
from tandem_hw.conversion.preparation.remedies import is_lost, remedies
from tandem_hw.learning.calibration import calibrate
from tandem_hw.network.quantized import Reset
from tandem_hw.training.loop import evaluate
from tandem_hw.training.objectives import Classification, Regression

OBJECTIVE = Classification()


def late_inhibition() -> nn.Sequential:
    """Return a network that asks whether twice the first input is more than the second.

    Of 3 spikes of the first and 6 of the second, 3 excite and inhibit, and 3 inhibit later.
    """
    network = nn.Sequential(
        nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False), nn.ReLU()
    )
    network.append(nn.Linear(1, 2))
    values = ([[1.0, 0.0], [0.0, 1.0]], [[2.0, -1.0]], [[0.0], [4.0]])
    with torch.no_grad():
        for layer, value in zip((network[0], network[2], network[4]), values, strict=True):
            layer.weight.copy_(torch.tensor(value))
        network[4].bias.copy_(torch.tensor([0.9, 0.0]))
    return network


def everything(network: nn.Module) -> tuple[Tensor, Tensor]:
    """Return all inputs of 4 bits that are no close call, and the classes that a network gives."""
    inputs = torch.cartesian_prod(torch.arange(16), torch.arange(16)).to(torch.uint8)
    with torch.no_grad():
        logits = network(inputs.float() / 15)
    clear = (logits[:, 0] - logits[:, 1]).abs() > 0.5
    return inputs[clear], logits[clear].argmax(1)


def calibrated(num_steps: int, reset: Reset = "subtract") -> tuple[TandemNetwork, Tensor, Tensor]:
    network = late_inhibition()
    inputs, classes = everything(network)
    model = convert(network, input_shape=(2,), num_steps=num_steps, reset=reset).eval()
    calibrate(model, inputs)
    return model, inputs, classes


def test_a_network_that_fires_too_early_is_exact_where_it_waits() -> None:
    model, inputs, classes = calibrated(15)
    before = {"accuracy": 1.0}
    after = evaluate(model, inputs, classes, OBJECTIVE)
    assert after is not None
    assert is_lost(OBJECTIVE, before, after)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    tried = remedies(model, inputs, None, inputs, classes, OBJECTIVE, before)
    assert [(one.num_steps, one.is_enough) for one in tried] == [(15, True)]
    assert tried[-1].metrics["accuracy"] > after["accuracy"] + 0.05
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_neurons_that_forget_cannot_wait() -> None:
    model, inputs, classes = calibrated(7, reset="zero")
    assert remedies(model, inputs, None, inputs, classes, OBJECTIVE, {"accuracy": 1.0}) == []


@pytest.mark.parametrize(
    ("before", "after", "lost"), [(0.98, 0.97, False), (0.98, 0.965, True), (0.5, 0.9, False)]
)
def test_a_point_of_accuracy_may_go(before: float, after: float, lost: bool) -> None:
    assert is_lost(OBJECTIVE, {"accuracy": before}, {"accuracy": after}) == lost


@pytest.mark.parametrize(("before", "after", "lost"), [(1.0, 1.05, False), (1.0, 1.2, True)])
def test_a_tenth_of_a_squared_error_may_come(before: float, after: float, lost: bool) -> None:
    assert is_lost(Regression(), {"mse": before}, {"mse": after}) == lost


def test_where_waiting_is_not_enough_a_longer_window_is_tried() -> None:
    model, inputs, _ = calibrated(3)
    wrong = torch.zeros(len(inputs), dtype=torch.int64)
    tried = remedies(model, inputs, None, inputs, wrong, OBJECTIVE, {"accuracy": 1.0})
    assert [(one.num_steps, one.is_enough) for one in tried] == [(3, False), (7, False)]
