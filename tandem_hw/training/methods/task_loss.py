"""What a step minimises: the objective's loss, of mixed samples and with a teacher where asked."""

from __future__ import annotations

from torch import Tensor

from tandem_hw.training.methods.distillation import Teacher, distillation_loss
from tandem_hw.training.methods.mixing import Mixture
from tandem_hw.training.objectives import Objective
from tandem_hw.training.options import TrainingOptions


class TaskLoss:
    """The loss of a batch.

    Args:
        objective: what is wanted of single samples.
        options: the weight of the teacher and its temperature.
        teacher: who is asked beside, or None.
    """

    def __init__(
        self, objective: Objective, options: TrainingOptions, teacher: Teacher | None
    ) -> None:
        self._objective, self._options, self._teacher = objective, options, teacher

    def taught(self, inputs: Tensor) -> Tensor | None:
        """Return the teacher's outputs of a batch, if there is a teacher.

        Args:
            inputs: uint8 [batch, *sample_shape], mixed already.
        """
        return None if self._teacher is None else self._teacher.outputs(inputs)

    def __call__(
        self, outputs: Tensor, targets: Tensor, mixture: Mixture | None, taught: Tensor | None
    ) -> Tensor:
        """Return the mean loss.

        Args:
            outputs: float32 [batch, outputs], the network's.
            targets: the batch's targets, before samples were mixed.
            mixture: how they were, or None.
            taught: the teacher's outputs, or None.
        """
        loss = self._objective.loss(outputs, targets)
        if mixture is not None:
            other = self._objective.loss(outputs, targets[mixture.partner])
            loss = mixture.share * loss + (1 - mixture.share) * other
        if taught is not None:
            weight = self._options.teacher_weight
            heard = distillation_loss(outputs, taught, self._options.temperature)
            loss = (1 - weight) * loss + weight * heard
        return loss
