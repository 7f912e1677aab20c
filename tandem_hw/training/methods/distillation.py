"""Knowledge distillation: a trained network teaches another one what it takes a sample for.

    loss = (1 - w) cross entropy(y) + w t^2 KL(softmax(z' / t) || softmax(z / t))

z and z' are the outputs of the network and of the teacher, t is the temperature and w the weight of
the teacher. A teacher without spikes (``--schedule ordinary``) runs as the ReLU network that it is,
any other one on its integers. Source: Hinton, Vinyals and Dean, arXiv 1503.02531.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from tandem_hw.counted import counted
from tandem_hw.errors import DataError
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tandem_hw.training.run_files import file_digest


class Teacher:
    """A trained network that is asked for its outputs.

    Args:
        path: a checkpoint of tandem-hw; no code in it is run.
        pupil: the network that it teaches, which has to take the same integers.
        device: where both compute.

    Attributes:
        digest: SHA-256 of the file.
        is_ordinary: whether it is a ReLU network, without spikes.

    Raises:
        FileFormatError: the file is missing, damaged or no checkpoint.
        DataError: its network takes other integers, or has another number of outputs or other
            classes.
    """

    def __init__(self, path: str, pupil: TandemNetwork, device: torch.device) -> None:
        checkpoint = load_checkpoint(path)
        _check_fit(path, checkpoint.model, pupil)
        self.digest = file_digest(Path(path))
        self.model = checkpoint.model.to(device).eval()
        last = checkpoint.metrics[-1] if checkpoint.metrics else {}
        self.is_ordinary = last.get("spiking_layers") == 0

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        """Return its outputs, float32 [batch, outputs].

        Args:
            inputs: uint8 [batch, *sample_shape].
        """
        found: Tensor = self.model(inputs, spiking=0 if self.is_ordinary else None)
        return found.float()


def distillation_loss(outputs: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Return t^2 KL(softmax(taught / t) || softmax(outputs / t)), the mean of a batch.

    Args:
        outputs: float32 [batch, classes], with a gradient.
        taught: float32 [batch, classes], the teacher's.
        temperature: t, positive.
    """
    known = F.log_softmax(taught / temperature, dim=1)
    found = F.log_softmax(outputs / temperature, dim=1)
    divergence = F.kl_div(found, known, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


def _check_fit(path: str, teacher: TandemNetwork, pupil: TandemNetwork) -> None:
    found, wanted = teacher.architecture.input, pupil.architecture.input
    if teacher.sample_shape != pupil.sample_shape or found.takes_events != wanted.takes_events:
        raise DataError(
            f"teacher {path}: takes samples of shape {teacher.sample_shape}, the network that it "
            f"shall teach {pupil.sample_shape}; give one that was trained on the same data"
        )
    if (found.bits, found.scale) != (wanted.bits, wanted.scale):
        raise DataError(
            f"teacher {path}: takes inputs of {found.bits} bits, scale {found.scale:.6g}, the "
            f"network that it shall teach {wanted.bits} bits, scale {wanted.scale:.6g}; train one "
            f"of them with the --input-bits of the other"
        )
    if teacher.outputs != pupil.outputs:
        raise DataError(
            f"teacher {path}: has {counted(teacher.outputs, 'output')}, the network that it shall "
            f"teach {pupil.outputs}; give one that was trained on the same data"
        )
    difference = "" if teacher.meaning is None else teacher.meaning.classes_differ(pupil.meaning)
    if difference:
        raise DataError(
            f"teacher {path}: {difference}; give one that was trained on the same classes in the "
            f"same order"
        )
