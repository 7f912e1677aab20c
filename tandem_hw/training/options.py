"""How to train: every number of a training in one place, checked before anything runs.

Without PyTorch: the options of the command line are made from these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from tandem_hw.errors import DataError
from tandem_hw.ranges import POSITIVE, SEEDS, SHARE, RealRange, whole_number
from tandem_hw.training.methods.names import LearningRateSchedule, Mix, OptimizerName, SynOpsOf
from tandem_hw.training.objective_names import ObjectiveName, check_objective
from tandem_hw.training.run_files import BEST_NAME
from tandem_hw.training.schedule import Schedule

#: More passes over the data than any training needs.
EPOCHS_MAX: Final = 1_000_000
#: A batch's statistics need more than one sample.
BATCH_SIZE_MIN: Final = 2
if TYPE_CHECKING:
    from tandem_hw.training.objectives import Objective

#: Beyond any that trains. Adam multiplies them before they become float32, which holds 3e38.
_LARGEST: Final = 1e6
_UP_TO_LARGEST: Final = RealRange(f"zero or a positive number up to {_LARGEST:g}", 0, _LARGEST)
_DEGREES: Final = RealRange("0 to 180 degrees", 0, 180)
#: Ranges of the options that are real numbers; the objective checks its own.
REAL_RANGES: Final = {
    "validation": SHARE,
    "learning_rate": RealRange(f"a positive number up to {_LARGEST:g}", 0, _LARGEST, True),
    "weight_decay": _UP_TO_LARGEST,
    "synop_weight": _UP_TO_LARGEST,
    "clip_gradient": _UP_TO_LARGEST,
    "ema": SHARE,
    "teacher_weight": RealRange("a share above 0, up to 1", 0, 1, without_least=True),
    "temperature": POSITIVE,
}
#: What only a labelled sample can be used for, and what it is when it is not.
_FOR_LABELS: Final[dict[str, Any]] = {"mix": "none", "teacher": None}
#: What says how a teacher is heard.
_OF_TEACHER: Final = ("teacher_weight", "temperature")


@dataclass(frozen=True)
class Augmentation:
    """How far images may be changed (``tandem_hw.training.augmentation``).

    Every number is drawn evenly from its range.

    Attributes:
        shift: pixels up, down, left and right; what comes in from outside is 0.
        flip: mirror left and right, every second image.
        rotation: degrees to either side.
        scale: share by which an image may grow or shrink, 0 to below 1.
        cutout: side in pixels of a square that becomes 0; its centre lies within the image.
        autoaugment: change every image by a rule of AutoAugment's policy for CIFAR-10, which needs
            torchvision (``tandem_hw.training.methods.auto_augment``).

    Raises:
        DataError: a number is out of its range.
    """

    shift: int = 0
    flip: bool = False
    rotation: float = 0.0
    scale: float = 0.0
    cutout: int = 0
    autoaugment: bool = False

    def __post_init__(self) -> None:
        """Refuse what makes no image."""
        for name in ("shift", "cutout"):
            if getattr(self, name) < 0:
                raise DataError(
                    f"augmentation: {name} is {getattr(self, name)}; give 0 or more pixels"
                )
        _DEGREES.check("augmentation: rotation", self.rotation, DataError)
        SHARE.check("augmentation: scale", self.scale, DataError)

    @property
    def changes(self) -> bool:
        """Whether anything is changed at all."""
        return self != Augmentation()

    @property
    def turns(self) -> bool:
        """Whether values are changed; otherwise they are moved, or become 0."""
        return bool(self.rotation or self.scale or self.autoaugment)


#: Augmentations by name; ``cifar`` is the field's usual one for CIFAR-10.
PRESETS: Final = {
    "none": Augmentation(),
    "shift": Augmentation(shift=2),
    "mnist": Augmentation(shift=2, rotation=10.0, scale=0.1),
    "cifar": Augmentation(shift=4, flip=True),
    "autoaugment": Augmentation(autoaugment=True),
    "cutout": Augmentation(cutout=16),
}


def augmentation_named(names: str) -> Augmentation:
    """Return an augmentation by its name, or several in one.

    Args:
        names: of ``PRESETS``, joined by "+", such as "cifar+autoaugment+cutout"; whatever their
            order, images are turned, shifted and mirrored, changed by a policy, and cut.

    Raises:
        DataError: a name is unknown, or two of them say different things of the same change.
    """
    together: dict[str, Any] = {}
    named = names.split("+")
    for name in named:
        if name not in PRESETS or (len(named) > 1 and name == "none"):
            raise DataError(
                f'augmentation is "{names}"; allowed are {", ".join(PRESETS)}, and all but none '
                f"joined by + (cifar+cutout)"
            )
        for field in fields(Augmentation):
            value = getattr(PRESETS[name], field.name)
            if value == field.default:
                continue
            if field.name in together:
                raise DataError(
                    f'augmentation is "{names}", which says twice what {field.name} is; leave '
                    f"{name} or another one out"
                )
            together[field.name] = value
    return Augmentation(**together)


#: The names that options are chosen from.
_CHOICES: Final[dict[str, Any]] = {
    "schedule": Schedule,
    "optimizer": OptimizerName,
    "learning_rate_schedule": LearningRateSchedule,
    "mix": Mix,
    "penalty": SynOpsOf,
}


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    Attributes:
        epochs: passes over the training data, 1 to ``EPOCHS_MAX``.
        batch_size: samples a step, of all processes together.
        learning_rate: the largest one of the schedule, which ends at zero.
        weight_decay: the optimizer's.
        validation: share of the training data that chooses the best checkpoint, 0 to below 1; with
            0 the last epoch is the best.
        seed: of the initial weights, the split, the order of samples, the augmentation and the
            dropout.
        objective: "classification", "regression" or "reconstruction"
            (``tandem_hw.training.objectives``).
        label_smoothing: of a classification, 0 to below 1.
        augmentation: names of ``PRESETS``, joined by "+" (``augmentation_named``).
        synop_weight: weight of SynOps over MACs in the loss (``tandem_hw.training.synop_penalty``).
        penalty: whose SynOps these are, "total" or "busiest-core".
        schedule: "tandem", "progressive" or "ordinary" (``tandem_hw.training.schedule``).
        samples: train on so many of the training samples, chosen by the seed; None for all.
        mixed_precision: compute the ordinary twin in bfloat16, which touches the gradient and a
            batch's statistics; the integers that go forward stay exact.
        optimizer: "adam", "adamw" or "sgd" (``tandem_hw.training.methods.optimizers``).
        learning_rate_schedule: "cosine" or "one-cycle"
            (``tandem_hw.training.methods.learning_rate``).
        warm_up: epochs in which the learning rate rises, fewer than there are.
        clip_gradient: largest norm of a step's gradient, which is scaled down to it; 0 for any.
        mix: "none", "mixup" or "cutmix" (``tandem_hw.training.methods.mixing``).
        teacher: path of a checkpoint whose network teaches this one, or None
            (``tandem_hw.training.methods.distillation``).
        teacher_weight: weight of what the teacher says against the labels, above 0 to 1.
        temperature: by which the outputs of teacher and network are divided.
        ema: decay of a moving average of the weights, which is then what is judged and kept
            (``tandem_hw.training.methods.averaging``); 0 for none.
    """

    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    validation: float = 0.1
    seed: int = 0
    objective: ObjectiveName = "classification"
    label_smoothing: float = 0.0
    augmentation: str = "none"
    synop_weight: float = 0.0
    penalty: SynOpsOf = "total"
    schedule: Schedule = "tandem"
    samples: int | None = None
    mixed_precision: bool = False
    optimizer: OptimizerName = "adam"
    learning_rate_schedule: LearningRateSchedule = "cosine"
    warm_up: int = 0
    clip_gradient: float = 0.0
    mix: Mix = "none"
    teacher: str | None = None
    teacher_weight: float = 0.5
    temperature: float = 4.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        for name in ("epochs", "batch_size", "samples"):
            value = getattr(self, name)
            if not (hasattr(value, "__index__") or (name == "samples" and value is None)):
                raise DataError(f"{name} is {value!r}; a whole number is needed")
        if not (self.teacher is None or isinstance(self.teacher, str)):
            raise DataError(f"teacher is {self.teacher!r}; give the path of a checkpoint, a text")
        if self.epochs < 1 or self.batch_size < BATCH_SIZE_MIN:
            raise DataError(
                f"training needs at least one epoch and batches of at least {BATCH_SIZE_MIN} "
                f"samples"
            )
        if self.epochs > EPOCHS_MAX:
            raise DataError(f"epochs is {self.epochs}; give at most {EPOCHS_MAX}")
        for name, allowed in REAL_RANGES.items():
            allowed.check(name, getattr(self, name), DataError)
        whole_number("seed", self.seed, SEEDS, DataError)
        if self.samples is not None and self.samples < 1:
            raise DataError(f"samples is {self.samples}; give a positive number")
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                raise DataError(
                    f'{name} is "{getattr(self, name)}"; allowed are {", ".join(get_args(kind))}'
                )
        augmentation_named(self.augmentation)
        check_objective(self.objective, self.label_smoothing)
        self._check_methods()

    def _check_methods(self) -> None:
        """Refuse options that do not go together."""
        if whole_number("warm_up", self.warm_up, range(EPOCHS_MAX), DataError) >= self.epochs:
            raise DataError(
                f"warm_up is {self.warm_up} and epochs {self.epochs}; let the learning rate rise "
                f"in fewer epochs than there are"
            )
        for name, without in _FOR_LABELS.items():
            if self.objective != "classification" and getattr(self, name) != without:
                raise DataError(
                    f"{name} is for labels, and the objective is {self.objective}; leave it away"
                )
        if self.penalty != "total" and not self.synop_weight:
            raise DataError(
                f'penalty is "{self.penalty}", but synop_weight is 0, so there is none; give '
                f"synop_weight, or leave penalty away"
            )
        for name in _OF_TEACHER:
            value, default = getattr(self, name), getattr(TrainingOptions, name)
            if self.teacher is None and value != default:
                raise DataError(
                    f"{name} is {value}, but there is no teacher; give a checkpoint as teacher, or "
                    f"leave {name} away"
                )

    def check_same(self, before: Mapping[str, Any], path: Path) -> None:
        """Refuse to resume a training that began with other options; more epochs may follow.

        Args:
            before: the options that it began with, by name.
            path: the file that says so.

        Raises:
            DataError: names the first option that differs.
        """
        defaults = asdict(TrainingOptions())  # options that came later had no other value
        for name, value in asdict(self).items():
            found = before.get(name, defaults[name])
            if name == "teacher" and None not in (found, value):
                continue  # the file may have moved; its digest tells whether it is the same
            if name == "epochs" and found in range(1, value) and self._check_longer(found, path):
                continue
            if found != value:
                raise DataError(
                    f"{path}: was trained with {name} {found}, not {value}; a resumed training "
                    f"keeps its options, or the result would be another"
                    f"{' (more epochs can be added)' if name == 'epochs' else ''}"
                )

    def _check_longer(self, epochs: int, path: Path) -> bool:
        """Refuse more epochs where one plan goes over all of them; otherwise return True."""
        plans = {"schedule": "progressive", "learning_rate_schedule": "one-cycle"}
        for name, planned in plans.items():
            if getattr(self, name) == planned:
                raise DataError(
                    f'{path}: was trained with epochs {epochs} and {name} "{planned}", which is '
                    f"one plan for all of them and cannot be made longer; to train longer, start "
                    f"from its result in another folder: --init {path.parent / BEST_NAME} --out "
                    f"ANOTHER"
                )
        return True

    def make_objective(self) -> Objective:
        """Return the objective that these options name."""
        # The command line makes its options from these, and PyTorch takes seconds.
        from tandem_hw.training.objectives import make_objective

        return make_objective(self.objective, self.label_smoothing)
