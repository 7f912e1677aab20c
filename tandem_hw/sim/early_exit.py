"""When a sample may end early: as soon as its result is far enough ahead.

With o[t] the readout after step t of the exact window (``readout_by_step``), best and second the
two largest of its values,

    lead[t] = best(o[t]) - second(o[t])
    a sample ends after the first step t with lead[t] >= margin, at the latest after step T
    its class is argmax(o[t])

Source: Li, Geller, Kim, Panda, *SEENN: Towards Temporal Spiking Early-Exit Neural Networks*,
NeurIPS 2023, whose SEENN-I has a threshold for a softmax in the place of the lead. A difference of
integers needs no exponential.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.errors import BackendError, ComparisonRefusedError, NetworkError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import RunResults
from tandem_hw.sim.backend import Backend
from tandem_hw.sim.reference import ReferenceBackend, readout_by_step

#: Points of a curve whose margins nobody gave.
_CURVE_POINTS: Final = 11


@dataclass(frozen=True, eq=False)
class Leads:
    """How far ahead which class is after each step.

    Attributes:
        lead: int64 [samples, num_steps], in weight units of a potential, or in spikes.
        prediction: int64 [samples, num_steps], the lowest index among equals.
    """

    lead: npt.NDArray[np.int64]
    prediction: npt.NDArray[np.int64]


@dataclass(frozen=True)
class EarlyExit:
    """What a margin is worth.

    Attributes:
        margin: in logits, the real value of a potential, or in spikes.
        units: the same as the integer that leads are compared with.
        accuracy: share of samples whose class is right where they end.
        mean_steps: of the window, 1 to num_steps.
        share_by_step: of each step the share of the samples that end after it.
    """

    margin: float
    units: int
    accuracy: float
    mean_steps: float
    share_by_step: tuple[float, ...]


def check_early_exit(network: QuantizedNetwork, backend: Backend, objective: str) -> None:
    """Refuse where an early exit means nothing, or cannot be told.

    Args:
        network: what shall run.
        backend: where.
        objective: what the network does.

    Raises:
        NetworkError: no classes compete, or the window has one step.
        ComparisonRefusedError: the backend does not tell the readout after each step.
    """
    if objective != "classification" or network.outputs < 2:
        raise NetworkError(
            f"--early-exit compares the two best classes, and this is a {objective} with "
            f"{counted(network.outputs, 'output')}; leave it out"
        )
    if network.num_steps == 1:
        raise NetworkError(
            "--early-exit needs a window of more than one step, and num_steps is 1; leave it out"
        )
    if not isinstance(backend, ReferenceBackend):
        raise ComparisonRefusedError(
            f"--early-exit needs the readout after each step, which backend {backend.name} "
            f"does not give; use the backend reference, whose windows are the same"
        )


def find_leads(
    network: QuantizedNetwork, inputs: npt.NDArray[np.uint8], run: RunResults, device: str = "cpu"
) -> Leads:
    """Return how far ahead which class is after each step, on the reference.

    Args:
        network: what to run, with two outputs or more.
        inputs: uint8 [samples, *network.sample_shape].
        run: what whole windows gave; the last step has to give the same.
        device: where to compute.

    Raises:
        BackendError: the last step gave another result than the whole window.
    """
    leads, predictions, done = [], [], 0
    for readout in readout_by_step(network, inputs, device):
        if not np.array_equal(readout[:, -1], run.output[done : done + len(readout)]):
            raise BackendError(
                "the readout after the last step is not that of the whole window; this is a defect "
                "of tandem-hw"
            )
        done += len(readout)
        second, best = np.moveaxis(np.partition(readout, -2, axis=-1)[..., -2:], -1, 0)
        leads.append(best.astype(np.int64) - second)
        predictions.append(readout.argmax(axis=-1))
    return Leads(np.concatenate(leads), np.concatenate(predictions))


def margin_in_units(network: QuantizedNetwork, margin: float) -> int:
    """Return the least lead that a margin lets pass, in weight units or in spikes.

    Args:
        network: of whose readout it is.
        margin: 0 or more, in logits or in spikes.
    """
    if network.readout == "count":
        return math.ceil(margin)
    units = math.ceil(margin / network.readout_scale)
    while units * network.readout_scale < margin:  # the quotient was rounded
        units += 1
    while units > 0 and (units - 1) * network.readout_scale >= margin:
        units -= 1
    return units


def early_exits(
    network: QuantizedNetwork,
    leads: Leads,
    label: npt.NDArray[np.int64],
    margins: Sequence[float] | None,
) -> list[EarlyExit]:
    """Return what margins are worth.

    Args:
        network: what ran.
        leads: what came out after each step.
        label: int64 [samples].
        margins: 0 or more each, in logits or spikes; None for some between no steps saved and all
            but one, evenly spread over the leads that there are.
    """
    real = 1.0 if network.readout == "count" else network.readout_scale
    if margins is None:
        shares = np.linspace(0, 1, _CURVE_POINTS)[1:]
        before_the_end = np.quantile(leads.lead[:, :-1], shares, method="higher")
        units = [0, *np.unique(before_the_end[before_the_end > 0]).tolist()]
        units.append(int(leads.lead[:, :-1].max()) + 1)  # nobody reaches it: whole windows
        pairs = [(one * real, int(one)) for one in dict.fromkeys(units)]
    else:
        pairs = [(float(margin), margin_in_units(network, margin)) for margin in margins]
    return [_exit(leads, label, margin, units) for margin, units in pairs]


def _exit(leads: Leads, label: npt.NDArray[np.int64], margin: float, units: int) -> EarlyExit:
    ends = leads.lead >= units
    ends[:, -1] = True
    index = ends.argmax(axis=1)
    prediction = np.take_along_axis(leads.prediction, index[:, None], axis=1)[:, 0]
    shares = np.bincount(index, minlength=ends.shape[1]) / len(index)
    return EarlyExit(
        margin=margin,
        units=units,
        accuracy=float(np.mean(prediction == label)),
        mean_steps=float(index.mean()) + 1,
        share_by_step=tuple(shares.tolist()),
    )


def accuracy_by_step(leads: Leads, label: npt.NDArray[np.int64]) -> list[float]:
    """Return for each step the accuracy if all samples ended after it.

    Args:
        leads: what came out after each step.
        label: int64 [samples].
    """
    right: npt.NDArray[np.float64] = (leads.prediction == label[:, None]).mean(axis=0)
    return [float(one) for one in right]
