"""AutoAugment: torchvision's rules and operations, drawn from the training's own numbers."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tandem_hw.errors import DataError
from tandem_hw.training.loop import train
from tandem_hw.training.methods import auto_augment
from tandem_hw.training.methods.auto_augment import auto_augmented, check_policy
from tandem_hw.training.samples import TrainingData
from tests.helpers.image_trainings import OPTIONS, make_data, make_model

try:
    from torchvision.transforms import autoaugment, functional
except (ImportError, RuntimeError):
    autoaugment = None
needs_torchvision = pytest.mark.skipif(autoaugment is None, reason="there is no torchvision")


def images(channels: int = 3, count: int = 200) -> Tensor:
    random = torch.Generator().manual_seed(4)
    shape = (count, channels, 12, 10)
    return torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)


@needs_torchvision
@pytest.mark.parametrize("channels", [1, 3])
def test_every_operation_is_torchvisions_of_each_image_alone(channels: int) -> None:
    policy = autoaugment.AutoAugment(autoaugment.AutoAugmentPolicy.CIFAR10)
    space = policy._augmentation_space(10, (12, 10))
    batch, seen = images(channels, 6), set()
    operations = {one for rule in policy.policies for one in rule}
    for name, _, magnitude in sorted(operations, key=str):
        steps, is_signed = space[name]
        for sign in (1, -1) if is_signed else (1,):
            amount = 0.0 if magnitude is None else float(steps[magnitude]) * sign
            found = auto_augment._changed(
                batch, name, magnitude, sign, auto_augment._torchvision()[1]
            )
            for image, one in zip(found, batch, strict=True):
                wanted = autoaugment._apply_op(
                    one, name, amount, functional.InterpolationMode.NEAREST, fill=None
                )
                # What is computed in float32 is rounded in another order there, by one at most.
                assert (image.int() - wanted.int()).abs().max() <= (name in _ROUNDED), name
            seen.add(name)
    assert len(seen) >= 12


#: Whose result is a real number that is cut off to an integer.
_ROUNDED = {"Brightness", "Color", "Contrast", "Sharpness", "AutoContrast"}


@needs_torchvision
def test_the_same_generator_makes_the_same_images_and_rules_change_most_of_them() -> None:
    batch = images()
    before = batch.clone()
    one, again = (auto_augmented(batch, torch.Generator().manual_seed(1)) for _ in range(2))
    other = auto_augmented(batch, torch.Generator().manual_seed(2))
    assert torch.equal(batch, before)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    # A rule leaves an image alone by (1 - p)(1 - p'), 0.22 in the mean over all rules; some
    # operations change nothing, such as an equalization of noise. Three deviations of 200 are 0.09.
    assert 0.5 < float((one != batch).flatten(1).any(1).double().mean()) < 0.87
    assert one.dtype == torch.uint8


@needs_torchvision
def test_real_images_stay_within_0_to_1() -> None:
    real = images() / 255
    changed = auto_augmented(real, torch.Generator().manual_seed(1))
    assert changed.dtype == torch.float32
    assert 0 <= changed.min() < changed.max() <= 1
    assert (changed != real).any()


@needs_torchvision
def test_a_training_takes_changed_images() -> None:
    options = replace(OPTIONS, augmentation="autoaugment")
    spec = make_model().architecture.input
    data = TrainingData(make_data(), options.make_objective(), options, spec, torch.device("cpu"))
    first, again = ([data.take(one)[0] for one in data.order(1)] for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    plain = replace(options, augmentation="none")
    usual = TrainingData(make_data(), options.make_objective(), plain, spec, torch.device("cpu"))
    assert any(
        not torch.equal(one, usual.take(indices)[0])
        for one, indices in zip(first, usual.order(1), strict=True)
    )


@pytest.mark.parametrize("shape", [(16,), (2, 8, 8)])
def test_what_the_policy_cannot_change_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"autoaugment: samples have shape .* of 1 or 3 channels"):
        check_policy(shape)


def without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    auto_augment._torchvision.cache_clear()
    monkeypatch.setitem(sys.modules, "torchvision.transforms", None)


def test_without_torchvision_it_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_torchvision(monkeypatch)
    options = replace(OPTIONS, augmentation="autoaugment+cutout")
    with pytest.raises(DataError, match=r"autoaugment needs torchvision, .* pip install"):
        train(make_model(), make_data(), options, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_operation_that_is_not_known_is_refused() -> None:
    nothing: Any = None
    with pytest.raises(DataError, match='policy has an operation "Blur", which is not known'):
        auto_augment._changed(images(3, 1), "Blur", 3, 1, nothing)
