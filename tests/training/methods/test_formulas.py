"""What a step computes, against the formulas in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tandem_hw.conversion.convert import convert
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.training.methods.averaging import WeightAverage
from tandem_hw.training.methods.distillation import distillation_loss
from tandem_hw.training.methods.learning_rate import make_schedule, planned_rates
from tandem_hw.training.methods.mixing import mixed
from tandem_hw.training.methods.optimizers import make_optimizer, parameter_groups
from tandem_hw.training.methods.task_loss import TaskLoss
from tandem_hw.training.objectives import Classification
from tandem_hw.training.options import TrainingOptions
from tests.helpers.image_trainings import make_model
from tests.helpers.rounding import rounding_bound

OPTIONS = TrainingOptions(epochs=4, learning_rate=0.1)


def residual() -> TandemNetwork:
    """Return a network with a skip that has weights, normalisations, biases and thresholds."""
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
            self.second = nn.Conv2d(4, 4, 3, padding=1)
            self.skip = nn.Conv2d(4, 4, 1, bias=False)
            self.end = nn.Linear(64, 3)

        def forward(self, images: Tensor) -> Tensor:
            hidden = self.first(images)
            total = torch.relu(self.second(hidden) + self.skip(hidden))
            result: Tensor = self.end(total.flatten(1))
            return result

    return convert(Block(), input_shape=(2, 4, 4), num_steps=3, learn_thresholds=True)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weights_alone_decay(optimizer: Any) -> None:
    model = residual()
    options = replace(OPTIONS, optimizer=optimizer, weight_decay=0.25)
    decaying, others = parameter_groups(model, 0.25)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    trained = [name for name, one in model.named_parameters() if one.requires_grad]
    assert sorted(names[id(one)] for one in decaying["params"]) == [
        name for name in sorted(trained) if name.endswith(".weight") and ".norm." not in name
    ]
    assert len(decaying["params"]) == 4  # two of the block, its skip and the readout
    rest = [names[id(one)] for one in others["params"]]
    assert sorted(rest + [names[id(one)] for one in decaying["params"]]) == sorted(trained)
    assert any("activation_max" in name for name in rest)
    assert any(".norm.weight" in name for name in rest)
    before = {name: one.detach().double() for name, one in model.named_parameters()}
    stepped = make_optimizer(model, options)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    stepped.step()
    # Without a gradient a weight is multiplied by 1 - rate * decay, in both: w - rate (decay w).
    share = 1 - 0.1 * 0.25
    for name, parameter in model.named_parameters():
        wanted = before[name] * (share if name in trained and name not in rest else 1)
        bound = rounding_bound(4, before[name].abs() * (1 + 0.1 * 0.25))
        assert ((parameter.double() - wanted).abs() <= bound).all(), name
    assert before["layers.0.weight"].abs().max() > 0.1


def test_adam_is_what_it_was() -> None:
    model = residual()
    (group,) = make_optimizer(model, replace(OPTIONS, weight_decay=0.25)).param_groups
    assert group["weight_decay"] == 0.25
    assert len(group["params"]) == len(list(model.parameters()))


def rates(**changes: Any) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = make_schedule(optimizer, replace(OPTIONS, **changes), batches=5)
    found = []
    for _ in range(20):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_planned_rates_are_those_of_the_schedule(schedule: Any) -> None:
    options = replace(OPTIONS, learning_rate=0.1, warm_up=1, learning_rate_schedule=schedule)
    wanted = rates(warm_up=1, learning_rate_schedule=schedule)
    assert planned_rates(options, 20 // options.epochs) == wanted
    assert len(set(wanted)) > 10


@pytest.mark.parametrize("warm_up", [0, 1, 3])
def test_the_rate_rises_and_falls_along_a_cosine(warm_up: int) -> None:
    found, rising = rates(warm_up=warm_up), 5 * warm_up
    for step, rate in enumerate(found):
        if step < rising:
            wanted = 0.1 * (step + 1) / rising
        else:
            wanted = 0.1 * (1 + math.cos(math.pi * (step - rising) / (20 - rising))) / 2
        # PyTorch's schedule multiplies step after step; a step is about ten operations.
        assert abs(rate - wanted) <= rounding_bound(10 * 20, 0.1, torch.float64) * 10
    assert max(found) == pytest.approx(0.1)


@pytest.mark.parametrize(("warm_up", "rising"), [(0, 6), (2, 10)])
def test_one_cycle_goes_up_and_down(warm_up: int, rising: int) -> None:
    found = rates(learning_rate_schedule="one-cycle", warm_up=warm_up)
    assert found[0] == pytest.approx(0.1 / 25)
    assert found[rising // 2] == pytest.approx(0.1 * (1 + 1 / 25) / 2)
    assert found[rising] == max(found) == 0.1
    assert found[: rising + 1] == sorted(found[: rising + 1])
    assert found[rising:] == sorted(found[rising:], reverse=True)
    assert found[-1] < 0.003


def test_an_average_is_that_of_the_formula() -> None:
    model, decay = make_model(learn_thresholds=True), 0.5
    average = WeightAverage(model, decay)
    random = torch.Generator().manual_seed(0)
    exact = {name: value.double() for name, value in model.state_dict().items()}
    largest = {name: value.abs() for name, value in exact.items()}
    averaged = {name for name, _ in model.named_parameters()}
    averaged |= {name for name in exact if name.endswith(("running_mean", "running_var"))}
    assert len(averaged) == len(list(model.parameters())) + 2
    for step in range(1, 31):
        with torch.no_grad():
            for value in model.state_dict().values():
                if value.is_floating_point():
                    value.add_(torch.rand(value.shape, generator=random))
                else:
                    value.add_(1)
        average.update(step)
        share = 1 - min(decay, step / (step + 9))
        for name, value in model.state_dict().items():
            now = value.double()
            exact[name] = exact[name] + share * (now - exact[name]) if name in averaged else now
            largest[name] = torch.maximum(largest[name], now.abs())
    assert share == 0.5
    for name, value in average.model.state_dict().items():
        # Of a step: a difference, a product and a sum of three terms of at most this size; what
        # was wrong before is halved at the end, and not enlarged ever.
        bound = 30 * rounding_bound(4, 3 * largest[name])
        assert ((value.double() - exact[name]).abs() <= bound).all(), name
        if name not in averaged:
            assert torch.equal(value, model.state_dict()[name])
    first = "layers.0.weight"
    gap = (average.model.state_dict()[first] - model.state_dict()[first]).abs().min()
    assert gap > 0.1  # the average lags behind


@pytest.mark.parametrize("seed", range(5))
def test_a_mixup_is_the_rounded_mean_and_its_loss_that_of_mixed_labels(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    inputs = torch.randint(0, 16, (12, 2, 5, 4), generator=random, dtype=torch.uint8)
    mixture = mixed(inputs, "mixup", torch.Generator().manual_seed(seed))
    assert 0 < mixture.share < 1
    assert sorted(mixture.partner.tolist()) == list(range(12))
    assert mixture.partner.tolist() != list(range(12))
    exact = mixture.share * inputs.double()
    exact = exact + (1 - mixture.share) * inputs[mixture.partner].double()
    assert torch.equal(mixture.inputs.double(), (exact + 0.5).floor())
    labels = torch.randint(0, 7, (12,), generator=random)
    outputs = torch.randn(12, 7, generator=random)
    options = replace(OPTIONS, label_smoothing=0.1)
    loss = TaskLoss(Classification(0.1), options, None)(outputs, labels, mixture, None)
    hot = F.one_hot(labels, 7).double()
    soft = mixture.share * hot + (1 - mixture.share) * hot[mixture.partner]
    soft = 0.9 * soft + 0.1 / 7
    wanted = -(soft * F.log_softmax(outputs.double(), 1)).sum(1).mean()
    # Along the way to the loss: exp, a sum of 7, log, a difference, products and sums of 7 and 12.
    bound = rounding_bound(7 + 7 + 12 + 12, float(outputs.abs().max()) * 2 + math.log(7))
    assert abs(float(loss) - float(wanted)) <= bound


@pytest.mark.parametrize("seed", range(8))
def test_a_cutmix_puts_a_rectangle_of_another_image_in_its_place(seed: int) -> None:
    inputs = torch.arange(1, 11, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, 8, 6)
    mixture = mixed(inputs, "cutmix", torch.Generator().manual_seed(seed))
    foreign = mixture.inputs != inputs
    others = inputs[mixture.partner]
    assert torch.equal(mixture.inputs[foreign], others[foreign])
    moved = mixture.partner != torch.arange(10)
    assert moved.sum() >= 5
    assert not foreign[~moved].any()
    assert (foreign[moved] == foreign[moved][:1]).all()
    hole = foreign[moved][0, 0]
    rows, columns = hole.any(1).nonzero(), hole.any(0).nonzero()
    if len(rows):
        assert hole[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
    assert mixture.share == 1 - int(hole.sum()) / 48
    assert torch.equal(inputs[:, 0, 0, 0], torch.arange(1, 11, dtype=torch.uint8))  # untouched


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine")
@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_a_gpu_mixes_as_the_cpu_does(mix: Any) -> None:
    inputs = torch.randint(0, 16, (12, 2, 5, 4), dtype=torch.uint8)
    on_cpu, on_gpu = (
        mixed(inputs.to(device), mix, torch.Generator().manual_seed(3))
        for device in ("cpu", "cuda")
    )
    assert torch.equal(on_cpu.inputs, on_gpu.inputs.cpu())
    assert torch.equal(on_cpu.partner, on_gpu.partner.cpu())
    assert on_cpu.share == on_gpu.share


def test_rectangles_have_half_of_the_image_in_the_mean_before_they_are_cut_off() -> None:
    random, inputs = torch.Generator().manual_seed(0), torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    shares = [mixed(inputs, "cutmix", random).share for _ in range(300)]
    assert min(shares) < 0.2
    assert max(shares) > 0.95
    # Evenly drawn areas have a mean of 1/2, and less inside: about 0.29 over all centres.
    assert 0.6 < sum(shares) / 300 < 0.8


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation_is_the_divergence_of_the_formula(temperature: float) -> None:
    random = torch.Generator().manual_seed(1)
    outputs, taught = 3 * torch.randn(2, 9, 6, generator=random)
    found = float(distillation_loss(outputs, taught, temperature))
    teacher = (taught.double() / temperature).softmax(1)
    pupil = (outputs.double() / temperature).softmax(1)
    wanted = temperature**2 * float((teacher * (teacher / pupil).log()).sum(1).mean())
    assert wanted > 0.5
    # Both logarithms of shares are differences of at most 2 max + log 6; exp, sums of 6 and of 9.
    size = float(torch.maximum(outputs.abs().max(), taught.abs().max())) * 2 / temperature
    bound = rounding_bound(40, temperature**2 * 2 * (size + math.log(6)))
    assert abs(found - wanted) <= bound
    assert float(distillation_loss(taught, taught, temperature)) == pytest.approx(0, abs=1e-6)


def test_a_teacher_has_its_weight_in_the_loss() -> None:
    random = torch.Generator().manual_seed(1)
    outputs, taught = torch.randn(2, 9, 6, generator=random)
    labels = torch.arange(9) % 6
    options = replace(OPTIONS, teacher="t.pt", teacher_weight=0.25, temperature=2.0)
    loss = TaskLoss(Classification(), options, None)(outputs, labels, None, taught)
    parts = F.cross_entropy(outputs, labels), distillation_loss(outputs, taught, 2.0)
    wanted = 0.75 * float(parts[0]) + 0.25 * float(parts[1])
    assert abs(float(loss) - wanted) <= rounding_bound(6, wanted)
