"""The options of ``tandem-hw train``, in the groups that the training code has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import click

from tandem_hw.cli.options import WIDTHS_HELP, FiringDelay, Widths, real_numbers, whole_numbers
from tandem_hw.errors import ConversionError, DataError
from tandem_hw.learning.per_layer.widths import common_width
from tandem_hw.learning.spiking_options import SpikingOptions, Twin
from tandem_hw.network.choices import (
    EVENTS,
    Encoding,
    Readout,
    Reset,
    default_encoding,
    steps_of_delay,
)
from tandem_hw.network.fixed_point import (
    DECAY_RANGE,
    DECAY_UNITY,
    INPUT_BITS_RANGE,
    NUM_STEPS_RANGE,
)
from tandem_hw.ranges import SEEDS, SHARE
from tandem_hw.training.methods.names import LearningRateSchedule, Mix, OptimizerName, SynOpsOf
from tandem_hw.training.objective_names import ObjectiveName
from tandem_hw.training.options import (
    BATCH_SIZE_MIN,
    EPOCHS_MAX,
    PRESETS,
    REAL_RANGES,
    TrainingOptions,
    augmentation_named,
)
from tandem_hw.training.schedule import Schedule
from tandem_hw.zoo.recipes import RECIPES

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_DEFAULTS = TrainingOptions()
_IMAGE_ENCODINGS = ", ".join(
    f"{default_encoding(reset)} with reset {reset}" for reset in get_args(Reset)
)


class AugmentationNames(click.ParamType):  # type: ignore[type-arg]
    """The type of an augmentation: names that are joined by a plus."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the names, if there are such augmentations and they go together."""
        for name in str(value).split("+"):
            if name not in PRESETS:
                known = ", ".join(map(repr, PRESETS))
                self.fail(f"{name!r} is not one of {known}, which + joins", param, ctx)
        try:
            augmentation_named(str(value))
        except DataError as error:
            self.fail(str(error), param, ctx)
        return str(value)


_NETWORK: tuple[Decorator, ...] = (
    click.option(
        "--num-steps",
        type=click.IntRange(min=NUM_STEPS_RANGE[0]),  # ``SpikingOptions`` refuses longer windows
        default=7,
        show_default=True,
        help="Length T of a sample's window.",
    ),
    click.option(
        "--reset", type=click.Choice(get_args(Reset)), default="subtract", show_default=True
    ),
    click.option("--weight-bits", type=Widths(), default=8, show_default=True, help=WIDTHS_HELP),
    click.option(
        "--input-bits", type=whole_numbers(INPUT_BITS_RANGE), default=4, show_default=True
    ),
    click.option(
        "--encoding",
        type=click.Choice(get_args(Encoding)),
        help=f"How the input is sent [default: {EVENTS} for event data, otherwise "
        f"{_IMAGE_ENCODINGS}].",
    ),
    click.option(
        "--readout", type=click.Choice(get_args(Readout)), default="potential", show_default=True
    ),
    click.option(
        "--twin",
        type=click.Choice(get_args(Twin)),
        default="clip",
        show_default=True,
        help="Gradient mask of the twin: 0 < a < T, or the paper's 0 < a.",
    ),
    click.option(
        "--activation-max",
        type=float,
        default=2.0,
        show_default=True,
        help="Activation at which a neuron fires in every step.",
    ),
    click.option(
        "--initial-potential",
        type=float,
        default=0.0,
        show_default=True,
        help="Share of the threshold that a window starts from (reset subtract only).",
    ),
    click.option(
        "--learn-thresholds", is_flag=True, help="Train every layer's activation-max as well."
    ),
    click.option(
        "--thresholds-per-channel",
        is_flag=True,
        help="An activation-max for each channel, where spikes are not added as they are.",
    ),
    click.option(
        "--firing-delay",
        type=FiringDelay(),
        default=0,
        show_default=True,
        help="Steps that a layer waits before its first spike; phased: all but one of the window "
        "(reset subtract only).",
    ),
    click.option(
        "--current-decay",
        type=whole_numbers(DECAY_RANGE),
        default=DECAY_UNITY,
        show_default=True,
        help="What a neuron's current loses a step, in 1/4096 (reset zero only).",
    ),
    click.option(
        "--voltage-decay",
        type=whole_numbers(DECAY_RANGE),
        default=0,
        show_default=True,
        help="What a neuron's voltage loses a step, in 1/4096 (reset zero only).",
    ),
)

_TRAINING: tuple[Decorator, ...] = (
    click.option(
        "--objective",
        type=click.Choice(get_args(ObjectiveName)),
        default=_DEFAULTS.objective,
        show_default=True,
        help="Classes, real targets, or the input image itself.",
    ),
    click.option(
        "--epochs",
        type=whole_numbers(range(1, EPOCHS_MAX + 1)),
        default=_DEFAULTS.epochs,
        show_default=True,
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(min=BATCH_SIZE_MIN),
        default=_DEFAULTS.batch_size,
        show_default=True,
    ),
    click.option(
        "--optimizer",
        type=click.Choice(get_args(OptimizerName)),
        default=_DEFAULTS.optimizer,
        show_default=True,
        help="adamw and sgd (momentum 0.9) let weights decay alone; adam lets all parameters.",
    ),
    click.option("--learning-rate", type=float, default=_DEFAULTS.learning_rate, show_default=True),
    click.option(
        "--learning-rate-schedule",
        type=click.Choice(get_args(LearningRateSchedule)),
        default=_DEFAULTS.learning_rate_schedule,
        show_default=True,
        help="Down to zero along a cosine, or up and down.",
    ),
    click.option(
        "--warm-up",
        type=click.IntRange(min=0),
        default=_DEFAULTS.warm_up,
        show_default=True,
        help="Epochs in which the learning rate rises.",
    ),
    click.option(
        "--clip-gradient",
        type=real_numbers(REAL_RANGES["clip_gradient"]),
        default=_DEFAULTS.clip_gradient,
        show_default=True,
        help="Largest norm of a step's gradient; 0 for any.",
    ),
    click.option(
        "--weight-decay",
        type=real_numbers(REAL_RANGES["weight_decay"]),
        default=_DEFAULTS.weight_decay,
        show_default=True,
    ),
    click.option(
        "--label-smoothing",
        type=real_numbers(SHARE),
        default=_DEFAULTS.label_smoothing,
        show_default=True,
    ),
    click.option(
        "--augmentation",
        type=AugmentationNames(),
        default=_DEFAULTS.augmentation,
        show_default=True,
        help=f"Random changes of the training images: {', '.join(PRESETS)}, joined by +.",
    ),
    click.option(
        "--mix",
        type=click.Choice(get_args(Mix)),
        default=_DEFAULTS.mix,
        show_default=True,
        help="Mix the samples of a batch in pairs, and their labels.",
    ),
    click.option(
        "--teacher",
        type=click.Path(),
        help="Learn from the outputs of this checkpoint's network as well.",
    ),
    click.option(
        "--teacher-weight",
        type=real_numbers(REAL_RANGES["teacher_weight"]),
        default=_DEFAULTS.teacher_weight,
        show_default=True,
        help="Weight of the teacher against the labels.",
    ),
    click.option(
        "--temperature",
        type=real_numbers(REAL_RANGES["temperature"]),
        default=_DEFAULTS.temperature,
        show_default=True,
        help="Divides the outputs that teacher and network are compared by.",
    ),
    click.option(
        "--ema",
        type=real_numbers(REAL_RANGES["ema"]),
        default=_DEFAULTS.ema,
        show_default=True,
        help="Decay of a moving average of the weights, which is judged and exported; 0 for none.",
    ),
    click.option(
        "--synop-weight",
        type=real_numbers(REAL_RANGES["synop_weight"]),
        default=_DEFAULTS.synop_weight,
        show_default=True,
        help="Weight of SynOps over MACs in the loss: fewer spikes.",
    ),
    click.option(
        "--penalty",
        type=click.Choice(get_args(SynOpsOf)),
        default=_DEFAULTS.penalty,
        show_default=True,
        help="With --synop-weight: all SynOps, or those of the core that a step waits for.",
    ),
    click.option(
        "--schedule",
        type=click.Choice(get_args(Schedule)),
        default=_DEFAULTS.schedule,
        show_default=True,
        help="All layers spike from the start, one after another, or never (an ordinary ReLU "
        "network, for --init).",
    ),
    click.option(
        "--validation",
        type=real_numbers(REAL_RANGES["validation"]),
        default=_DEFAULTS.validation,
        show_default=True,
        help="Share of the training data that chooses the best checkpoint.",
    ),
    click.option(
        "--samples",
        type=click.IntRange(min=1),
        help="Train on so many of the training samples [default: all].",
    ),
    click.option(
        "--mixed-precision",
        is_flag=True,
        help="The twin in bfloat16; what goes forward stays exact.",
    ),
    click.option(
        "--seed",
        type=whole_numbers(SEEDS),
        default=_DEFAULTS.seed,
        show_default=True,
    ),
)


def _use_recipe(context: click.Context, _: click.Parameter, name: str | None) -> str | None:
    """Put a recipe's values in the place of the options' defaults; those of a file win."""
    if name is not None:
        context.default_map = {**RECIPES[name].settings, **(context.default_map or {})}
    return name


_START: tuple[Decorator, ...] = (
    click.option(
        "--recipe",
        type=click.Choice(list(RECIPES)),
        is_eager=True,
        expose_value=False,
        callback=_use_recipe,
        help="Values for all options, from the documentation; what is given beside it wins.",
    ),
    click.option(
        "--init",
        type=click.Path(path_type=Path),
        help="Start from a checkpoint, or from an ordinary network's state_dict.",
    ),
)


def train_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add all options of the network and of the training."""
    for option in reversed((*_START, *_NETWORK, *_TRAINING)):
        command = option(command)
    return command


def training_options(settings: dict[str, Any]) -> TrainingOptions:
    """Take what belongs to the training out of the settings of a command."""
    names = [field.name for field in fields(TrainingOptions)]
    return TrainingOptions(**{name: settings.pop(name) for name in names})


def check_spiking_options(settings: dict[str, Any]) -> None:
    """Refuse settings that no spiking network can have, before anything is loaded.

    Args:
        settings: what ``convert`` is called with.

    Raises:
        ConversionError: one of them is out of range, or two do not go together.
    """
    values = {field.name: settings[field.name] for field in fields(SpikingOptions)}
    delay = steps_of_delay(values["firing_delay"], values["num_steps"], ConversionError)
    widths = common_width(values["weight_bits"])
    SpikingOptions(**(values | {"firing_delay": delay, "weight_bits": widths}))
