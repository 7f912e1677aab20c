"""Every synapse of a connection on its own, neurons counted in C order.

A convolution is unrolled: each place of its kernel gives one synapse for every two neurons that it
joins, all of them with the one weight that stands there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.network.synapses.convolutions import CONVOLUTIONS, Convolution
from tandem_hw.network.synapses.dense import Dense, OneToOne
from tandem_hw.network.synapses.kind import Synapses, row_of

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SynapseList:
    """Synapses one by one; those whose weight is 0 are left out.

    Attributes:
        source: int64 [synapses], the index of the input.
        target: int64 [synapses], the index of the neuron.
        place: int64 [synapses], which of the flattened weights it has.
        weight: int64 [synapses], in weight units.
        weights: the array that they come from.
    """

    source: IntArray
    target: IntArray
    place: IntArray
    weight: IntArray
    weights: npt.NDArray[Any]

    def weights_of(self, found: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the array of weights that synapses with these weights come from.

        Args:
            found: a weight for each synapse, in their order.

        Returns:
            float64 of the shape of ``weights``; NaN where two that should have one weight differ.
            What no synapse comes from, such as a place of a kernel that only meets padding, is
            what it was.
        """
        weights = self.weights.astype(np.float64).reshape(-1)
        weights[self.place] = found
        weights[self.place[weights[self.place] != found]] = math.nan
        return weights.reshape(self.weights.shape)


def list_synapses(synapses: Synapses) -> SynapseList:
    """Return all synapses of a connection.

    Args:
        synapses: of any kind.
    """
    source, target, place = row_of(_LISTED, synapses, "the backend sana-fe")(synapses)
    weight = synapses.weight.reshape(-1)[place].astype(np.int64)
    kept = weight != 0
    return SynapseList(source[kept], target[kept], place[kept], weight[kept], synapses.weight)


def _dense(synapses: Any) -> tuple[IntArray, IntArray, IntArray]:
    outputs, inputs = synapses.weight.shape
    target, source = (index.reshape(-1) for index in np.indices((outputs, inputs)))
    return source, target, np.arange(outputs * inputs)


def _one_to_one(synapses: Any) -> tuple[IntArray, IntArray, IntArray]:
    neurons = np.arange(math.prod(synapses.input_shape))
    return neurons, neurons, np.zeros_like(neurons)


def _convolution(synapses: Any) -> tuple[IntArray, IntArray, IntArray]:
    out_channels, in_group = synapses.weight.shape[:2]
    out, part = (index.reshape(-1, 1) for index in np.indices((out_channels, in_group)))
    channel = out // (out_channels // synapses.geometry.groups) * in_group + part
    lists = []
    for kernel_place in product(*(range(length) for length in synapses.kernel)):
        outputs, inputs = _meetings(synapses, kernel_place)
        index = np.ravel_multi_index(
            (out, part, *(np.full_like(out, at) for at in kernel_place)), synapses.weight.shape
        )
        lists.append(
            (
                channel * math.prod(synapses.input_shape[1:]) + inputs,
                out * math.prod(synapses.output_shape[1:]) + outputs,
                np.broadcast_to(index, (len(out), len(inputs))),
            )
        )
    source, target, place = (
        np.concatenate([array.reshape(-1) for array in arrays])
        for arrays in zip(*lists, strict=True)
    )
    return source, target, place


def _meetings(synapses: Convolution, kernel_place: tuple[int, ...]) -> tuple[IntArray, IntArray]:
    """Return which positions of the output meet which of the input through a place of the kernel.

    Both are flattened over the axes behind the channels.
    """
    outputs = inputs = np.zeros(1, np.int64)
    for axis, at in enumerate(kernel_place):
        along = synapses.meetings(axis)[at]
        outputs, inputs = (
            (before[:, None] * shape[1 + axis] + new).reshape(-1)
            for before, new, shape in zip(
                (outputs, inputs), along, (synapses.output_shape, synapses.input_shape), strict=True
            )
        )
    return outputs, inputs


_Lister = Callable[[Any], tuple[IntArray, IntArray, IntArray]]
_LISTED: Final[Mapping[type[Any], _Lister]] = {
    Dense: _dense,
    OneToOne: _one_to_one,
    **dict.fromkeys(CONVOLUTIONS, _convolution),
}
