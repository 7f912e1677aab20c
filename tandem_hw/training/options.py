"""How to train: every number of a training in one place, checked before anything runs.

Without PyTorch: the options of the command line are made from these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from tandem_hw.errors import DataError
from tandem_hw.ranges import SEEDS, SHARE, RealRange, whole_number
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
_DEGREES: Final = RealRange("0 to 180 degrees", 0, 180)
#: Ranges of the options that are real numbers; the objective checks its own.
REAL_RANGES: Final = {
    "validation": SHARE,
    "learning_rate": RealRange(f"a positive number up to {_LARGEST:g}", 0, _LARGEST, True),
    "weight_decay": RealRange(f"zero or a positive number up to {_LARGEST:g}", 0, _LARGEST),
    "synop_weight": RealRange(f"zero or a positive number up to {_LARGEST:g}", 0, _LARGEST),
}


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

    Raises:
        DataError: a number is out of its range.
    """

    shift: int = 0
    flip: bool = False
    rotation: float = 0.0
    scale: float = 0.0
    cutout: int = 0

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
        return bool(self.rotation or self.scale)


#: Augmentations by name; ``cifar`` is the field's usual one for CIFAR-10.
PRESETS: Final = {
    "none": Augmentation(),
    "mnist": Augmentation(shift=2, rotation=10.0, scale=0.1),
    "cifar": Augmentation(shift=4, flip=True),
}


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    Attributes:
        epochs: passes over the training data, 1 to ``EPOCHS_MAX``.
        batch_size: samples a step, of all processes together.
        learning_rate: Adam's, at the start of the cosine schedule that ends at zero.
        weight_decay: Adam's.
        validation: share of the training data that chooses the best checkpoint, 0 to below 1; with
            0 the last epoch is the best.
        seed: of the initial weights, the split, the order of samples, the augmentation and the
            dropout.
        objective: "classification", "regression" or "reconstruction"
            (``tandem_hw.training.objectives``).
        label_smoothing: of a classification, 0 to below 1.
        augmentation: one of ``PRESETS``: "none", "mnist" or "cifar".
        synop_weight: weight of SynOps over MACs in the loss (``tandem_hw.training.synop_penalty``).
        schedule: "tandem", "progressive" or "ordinary" (``tandem_hw.training.schedule``).
        samples: train on so many of the training samples, chosen by the seed; None for all.
        mixed_precision: compute the ordinary twin in bfloat16, which touches the gradient and a
            batch's statistics; the integers that go forward stay exact.
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
    schedule: Schedule = "tandem"
    samples: int | None = None
    mixed_precision: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
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
        names = {"augmentation": tuple(PRESETS), "schedule": get_args(Schedule)}
        for name, choices in names.items():
            if getattr(self, name) not in choices:
                raise DataError(
                    f'{name} is "{getattr(self, name)}"; allowed are {", ".join(choices)}'
                )
        check_objective(self.objective, self.label_smoothing)

    def check_same(self, before: Mapping[str, Any], path: Path) -> None:
        """Refuse to resume a training that began with other options.

        Args:
            before: the options that it began with, by name.
            path: the file that says so.

        Raises:
            DataError: names the first option that differs.
        """
        defaults = asdict(TrainingOptions())  # options that came later had no other value
        for name, value in asdict(self).items():
            found = before.get(name, defaults[name])
            if found != value:
                longer = (
                    f"; to train longer, start from its result in another folder: "
                    f"--init {path.parent / BEST_NAME} --out ANOTHER"
                )
                raise DataError(
                    f"{path}: was trained with {name} {found}, not {value}; a resumed training "
                    f"keeps its options, or the result would be another"
                    f"{longer if name == 'epochs' else ''}"
                )

    def make_objective(self) -> Objective:
        """Return the objective that these options name."""
        # The command line makes its options from these, and PyTorch takes seconds.
        from tandem_hw.training.objectives import make_objective

        return make_objective(self.objective, self.label_smoothing)
