"""The names that options of a training choose from, without PyTorch."""

from __future__ import annotations

from typing import Final, Literal

#: "adam" decays every parameter, as PyTorch's Adam does; the others decay weights alone
#: (``tandem_hw.training.methods.optimizers``).
OptimizerName = Literal["adam", "adamw", "sgd"]
#: How the learning rate goes on after the warm-up (``tandem_hw.training.methods.learning_rate``).
LearningRateSchedule = Literal["cosine", "one-cycle"]
#: How samples of a batch are mixed (``tandem_hw.training.methods.mixing``).
Mix = Literal["none", "mixup", "cutmix"]
#: Whose synaptic operations a penalty is on (``tandem_hw.training.synop_penalty``).
SynOpsOf = Literal["total", "busiest-core"]

#: Of ``sgd``.
MOMENTUM: Final = 0.9
