"""Trainings on streamed samples: the same bits as in memory, after a break, and with processes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data import Dataset as TorchDataset

import tandem_hw
from tandem_hw.data.dataset import ImageDataset
from tandem_hw.data.own.streamed import StreamedSamples
from tandem_hw.errors import DataError
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.training.loop import train
from tandem_hw.training.reading.streamed_batches import read_batches
from tests.helpers.image_trainings import OPTIONS, interrupt_in, make_data, make_model
from tests.helpers.trainings import anonymous

Read = TorchDataset[tuple[Tensor, int]]


class Jittered(Read):
    """Images that are shifted by chance, drawn from all three kinds of random numbers."""

    def __init__(self, data: ImageDataset, part: str) -> None:
        self.images = torch.from_numpy(np.asarray(getattr(data, f"x_{part}")))
        self.targets = getattr(data, f"y_{part}").tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        shift = random.randrange(2) + int(np.random.randint(2)) + int(torch.randint(2, ()))
        return self.images[index].roll(shift, -1), int(self.targets[index])


def streamed(data: ImageDataset) -> ImageDataset:
    parts = [
        TensorDataset(torch.from_numpy(np.asarray(x)), torch.from_numpy(y))
        for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test))
    ]
    return tandem_hw.torch_dataset(*parts, name=data.name)


def jittered(workers: int = 0) -> ImageDataset:
    parts = [Jittered(make_data(), part) for part in ("train", "test")]
    return tandem_hw.torch_dataset(*parts, name="jittered", num_workers=workers)


def parameters(folder: Path) -> dict[str, Tensor]:
    return load_checkpoint(folder / "checkpoint.pt").model.state_dict()


def assert_alike(one: Path, other: Path) -> None:
    left, right = parameters(one), parameters(other)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("augmentation", ["none", "mnist"])
def test_a_streamed_training_gives_the_bits_of_one_in_memory(
    tmp_path: Path, augmentation: str
) -> None:
    options = replace(OPTIONS, augmentation=augmentation, epochs=2)
    data = make_data()
    given = streamed(data)
    assert isinstance(given.x_train, StreamedSamples)
    held = train(make_model(), data, options, tmp_path / "held")
    read = train(make_model(), given, options, tmp_path / "read")
    assert anonymous(read) == anonymous(held)
    assert_alike(tmp_path / "held", tmp_path / "read")


def test_chance_is_the_same_after_a_break_and_with_processes_that_read_ahead(
    tmp_path: Path,
) -> None:
    whole = train(make_model(), jittered(), OPTIONS, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), jittered(), OPTIONS, tmp_path / "cut", report=interrupt_in(2, 3))
    torch.rand(5)
    resumed = train(make_model(), jittered(2), OPTIONS, tmp_path / "cut", resume=True)
    assert anonymous(resumed) == anonymous(whole)
    assert_alike(tmp_path / "whole", tmp_path / "cut")
    losses = [epoch["loss"] for epoch in whole["epochs"]]
    assert len(set(losses)) == len(losses)


def test_reading_leaves_the_random_numbers_of_others_alone() -> None:
    samples: Any = jittered().x_train
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    wanted = random.random(), np.random.rand(), torch.rand(()).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    order = list(torch.arange(12).split(4))
    first, again, other = (list(read_batches(samples, order, seed)) for seed in (3, 3, 4))
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == wanted
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert not all(torch.equal(*pair) for pair in zip(first, other, strict=True))


def test_a_loader_and_a_pair_of_data_sets_go_into_a_training_as_they_are(tmp_path: Path) -> None:
    loader = DataLoader(Jittered(make_data(), "train"), batch_size=3, shuffle=True)
    options = replace(OPTIONS, epochs=1)
    summary = train(make_model(), loader, options, tmp_path / "loader")
    assert (summary["data"], len(summary["epochs"])) == ("Jittered", 1)
    data = make_data()
    parts = tuple(Jittered(data, part) for part in ("train", "test"))
    assert train(make_model(), parts, options, tmp_path / "pair")["data"] == "Jittered"


def test_what_is_reconstructed_is_not_streamed(tmp_path: Path) -> None:
    options = replace(OPTIONS, objective="reconstruction")
    data = make_data()
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 16))
    model = tandem_hw.convert(network, input_shape=data.shape, num_steps=3)
    with pytest.raises(DataError, match="is streamed, and what is reconstructed has to be there"):
        train(model, streamed(data), options, tmp_path)


def test_samples_to_convert_with_come_from_any_data_set() -> None:
    data = make_data()
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(16, 12), torch.nn.ReLU(), torch.nn.Linear(12, 10)
    )
    made: dict[str, Any] = {"input_shape": data.shape, "num_steps": 15}
    one, other = (
        tandem_hw.convert(network, samples=given, **made).state_dict()
        for given in (data, streamed(data))
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


WRONG = ["digits", Path("data.npz"), np.zeros((3, 4)), 3, [np.zeros(3)], (1, 2), None]


@pytest.mark.parametrize("given", WRONG, ids=lambda given: type(given).__name__)
def test_what_is_no_data_set_is_named_with_what_makes_one(given: Any, tmp_path: Path) -> None:
    message = rf"train takes a data set, found {type(given).__name__}.* or torch_dataset"
    with pytest.raises(TypeError, match=message):
        train(make_model(), given, OPTIONS, tmp_path)


def test_wrong_objects_elsewhere_are_named_too(tmp_path: Path) -> None:
    options: Any = {"epochs": 3}
    with pytest.raises(TypeError, match="train takes options as TrainingOptions, found dict"):
        train(make_model(), make_data(), options, tmp_path)
    spec: Any = Path("data.npz")
    with pytest.raises(TypeError, match=r"load_dataset takes a name such as .*torch_dataset"):
        tandem_hw.load_dataset(spec)
    network = torch.nn.Linear(3, 2)
    with pytest.raises(TypeError, match=r"convert\(samples=\.\.\.\) takes a data set, found str"):
        tandem_hw.convert(network, input_shape=(3,), num_steps=2, samples="digits")
