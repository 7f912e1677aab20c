"""Recipes name options that exist, with values that they take; what is given beside them wins."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from tandem_hw.cli import main, train
from tandem_hw.cli.work import train as train_command
from tandem_hw.conversion.convert import convert
from tandem_hw.data.dataset import Dataset, ImageDataset, Labels, Targets
from tandem_hw.data.event_data import EventDataset
from tandem_hw.errors import ConversionError, DataError
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.network.choices import steps_of_delay
from tandem_hw.training.options import TrainingOptions
from tandem_hw.zoo.models import build
from tandem_hw.zoo.recipes import RECIPES
from tests.helpers.row_images import write_data

OPTIONS = {
    option.name: option
    for option in train.command.params
    if option.name not in ("out", "resume", "overwrite", "init", "recipe", "device")
}
#: The shape of one sample of the data sets that recipes name.
SHAPES = {
    "mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "cifar100": (3, 32, 32),
    "digits": (1, 8, 8),
    "moving-digits": (2, 20, 20),
    "diabetes": (10,),
    "nmnist": (2, 34, 34),
    "dvs-gesture": (2, 128, 128),
    "cifar10-dvs": (2, 128, 128),
    "shd": (700,),
    "npz:signals.npz,layout=NCL": (3, 128),
}
#: Those of them that are events.
EVENTS = ("moving-digits", "nmnist", "dvs-gesture", "cifar10-dvs", "shd")


class Stopped(BaseException):
    """Carries what the training was called with; no command takes it for an error."""

    def __init__(self, model: TandemNetwork, options: TrainingOptions) -> None:
        super().__init__()
        self.model, self.options = model, options


def data_like(spec: str, **_: Any) -> Dataset:
    """Return a few samples of noise in the place of a data set that would be downloaded."""
    random = np.random.default_rng(0)
    count, labels = 4, Labels(np.arange(4) % 10, classes=10)
    if spec in EVENTS:
        events = random.integers(0, 2, (count, 12, *SHAPES[spec]), dtype=np.uint8)
        return EventDataset(spec, events, labels, events, labels, input_bits=4, clipped=0)
    images = random.random((count, *SHAPES[spec]), dtype=np.float32)
    if spec == "diabetes":
        targets = Targets(images[:, 0])
        return ImageDataset(spec, images, targets, images, targets)
    return ImageDataset(spec, images, labels, images, labels)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return what runs the command until the training would begin, and tells what with."""

    def stop(model: TandemNetwork, _: Any, options: TrainingOptions, *__: Any, **___: Any) -> None:
        raise Stopped(model, options)

    def small(name: str, shape: tuple[int, ...], outputs: int) -> nn.Module:
        built.append(name)
        # A synaptic input of many thousand events a step would not fit 24 bits.
        large = len(shape) == 3 and shape[1] > 32
        smaller = nn.AvgPool2d(8) if large else nn.Identity()
        values = smaller(torch.zeros(1, *shape)).numel()
        return nn.Sequential(smaller, nn.Flatten(), nn.Linear(values, outputs))

    def run(*arguments: object) -> tuple[str, TandemNetwork, TrainingOptions]:
        with pytest.raises(Stopped) as stopped:
            CliRunner().invoke(
                main, ["train", *map(str, arguments), "--out", str(tmp_path / "run")]
            )
        return built[-1], stopped.value.model, stopped.value.options

    built: list[str] = []
    monkeypatch.setattr(train_command, "train", stop)
    monkeypatch.setattr(train_command, "load_dataset", data_like)
    monkeypatch.setattr(train_command, "build_model", small)
    return run


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_names_options_and_values_that_they_take(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.purpose
    assert "\n" not in recipe.purpose
    assert {"data", "model", "num_steps"} <= recipe.settings.keys() <= OPTIONS.keys()
    for key, value in recipe.settings.items():
        option = OPTIONS[key]
        assert option.type(value, option, None) == value, key
        if isinstance(option.type, click.types.IntParamType):
            assert isinstance(value, int)
        if isinstance(option, click.Option):
            assert isinstance(value, bool) == option.is_flag, key
    named = {field.name for field in dataclasses.fields(TrainingOptions)}
    chosen = {key: value for key, value in recipe.settings.items() if key in named}
    assert TrainingOptions(**chosen).epochs >= 1


@pytest.mark.parametrize("name", RECIPES)
def test_every_value_of_a_recipe_reaches_the_training(name: str, called: Any) -> None:
    settings = dict(RECIPES[name].settings)
    model_name, model, options = called("--recipe", name)
    architecture = model.architecture
    assert architecture.input.shape == SHAPES[settings.pop("data")]
    assert model_name == settings.pop("model")
    found = (
        dataclasses.asdict(options)
        | dataclasses.asdict(architecture.options)
        | {"input_bits": architecture.input.bits, "encoding": architecture.input.encoding}
    )
    if "firing_delay" in settings:
        settings["firing_delay"] = steps_of_delay(
            settings["firing_delay"], settings["num_steps"], ConversionError
        )
    assert {key: found[key] for key in settings} == settings


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_recipe_does_not_name_is_as_without_it(name: str, called: Any) -> None:
    settings = RECIPES[name].settings
    _, model, options = called("--recipe", name)
    _, plain_model, plain = called(settings["data"], "--num-steps", settings["num_steps"])
    for found, default in (
        (options, plain),
        (model.architecture.options, plain_model.architecture.options),
    ):
        for field in dataclasses.fields(found):
            if field.name not in settings:
                assert getattr(found, field.name) == getattr(default, field.name), field.name


def test_an_option_beside_a_recipe_wins_wherever_it_stands(called: Any) -> None:
    given = ("--num-steps", 5, "--model", "mlp", "--augmentation", "none", "--reset", "zero",
             "--initial-potential", 0.0)  # fmt: skip
    before, after = called(*given, "--recipe", "mnist"), called("--recipe", "mnist", *given)
    for name, model, options in (before, after):
        assert name == "mlp"
        assert model.architecture.options.num_steps == 5
        assert model.architecture.options.reset == "zero"
        assert model.architecture.options.initial_potential == 0
        assert options.augmentation == "none"
        assert options.synop_weight == 0.2  # the recipe's
        assert model.architecture.input.shape == SHAPES["mnist"]
    _, model, _ = called("digits", "--recipe", "mnist")
    assert model.architecture.input.shape == SHAPES["digits"]


@pytest.mark.parametrize(("delay", "steps"), [(2, 2), ("phased", 6)])
def test_a_recipe_may_name_a_firing_delay(
    called: Any, monkeypatch: pytest.MonkeyPatch, delay: Any, steps: int
) -> None:
    settings = MappingProxyType({**RECIPES["mnist"].settings, "firing_delay": delay})
    monkeypatch.setitem(RECIPES, "mnist", dataclasses.replace(RECIPES["mnist"], settings=settings))
    _, model, _ = called("--recipe", "mnist")
    assert model.architecture.options.firing_delay == steps
    _, model, _ = called("--recipe", "mnist", "--firing-delay", 1)
    assert model.architecture.options.firing_delay == 1


def test_an_unknown_recipe_is_refused_and_the_known_ones_are_listed(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["train", "--recipe", "nothing", "--out", str(tmp_path)])
    assert result.exit_code == 2
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "'nothing' is not one of" in error
    assert all(f"'{name}'" in error for name in RECIPES)
    assert not list(tmp_path.iterdir())


def test_a_recipe_trains_on_data_of_a_file(tmp_path: Path) -> None:
    write_data(tmp_path / "data.npz")
    arguments = f"train npz:{tmp_path / 'data.npz'} --recipe mnist --epochs 1 --batch-size 16"
    result = CliRunner().invoke(main, [*arguments.split(), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    metrics = (tmp_path / "run" / "metrics.json").read_text(encoding="utf-8")
    assert '"synop_weight": 0.2' in metrics
    assert '"augmentation": "mnist"' in metrics


#: Recipes of large networks, which take seconds each; those of CIFAR-10 are converted already.
LARGE = [
    f"{model}-{data}"
    for model in ("cifarnet", "vgg16", "resnet18")
    for data in ("cifar10", "cifar100")
]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.exhaustive) if name in LARGE else name
        for name in RECIPES
    ],
)
def test_the_network_of_a_recipe_converts_with_its_options(name: str) -> None:
    settings = dict(RECIPES[name].settings)
    data, model = settings.pop("data"), settings.pop("model")
    named = {field.name for field in dataclasses.fields(TrainingOptions)}
    options = TrainingOptions(**{key: settings.pop(key) for key in named & settings.keys()})
    outputs = options.make_objective().outputs(data_like(data))
    network = build(model, SHAPES[data], outputs)
    # The networks are compared with what they become on smaller images (tests/zoo/test_zoo.py).
    converted = convert(network, input_shape=SHAPES[data], **settings, check=False)
    assert converted.outputs == outputs
    assert len(converted.tandem_layers) >= 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "guess"}, 'objective is "guess"; allowed are classification, regression'),
        ({"augmentation": "blur"}, 'augmentation is "blur"; allowed are none, shift, mnist, cifar'),
        ({"schedule": "fast"}, 'schedule is "fast"; allowed are tandem, progressive, ordinary'),
        ({"samples": 0}, "samples is 0; give a positive number"),
        ({"synop_weight": -1.0}, r"synop_weight is -1\.0; give zero or a positive number"),
        ({"synop_weight": float("nan")}, "synop_weight is nan"),
        ({"label_smoothing": 1.0}, r"label_smoothing is 1\.0; give a share from 0 to below 1"),
        ({"objective": "regression", "label_smoothing": 0.1}, "label_smoothing is for labels"),
    ],
)
def test_training_options_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        TrainingOptions(**changes)
