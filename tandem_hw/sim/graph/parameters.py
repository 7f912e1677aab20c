"""The integers that Lava's processes compute with, read back from a built graph.

What stands in a process is turned back into PyTorch's axis order and weight units, through the same
truncation that Lava's fixed-point models do, so that the digest is of what is added up and not of
what was meant.

This module imports Lava; import it only where Lava is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from lava.magma.core.process.process import AbstractProcess
from lava.proc.dense.process import Dense as LavaDense
from lava.utils.weightutils import clip_weights, truncate_weights

from tandem_hw.chip.axis_order import from_lava
from tandem_hw.chip.connection_matrix import connection_matrix
from tandem_hw.network.fixed_point import STATE_FRACTION_BITS, VTH_MAX
from tandem_hw.network.parameter_digest import parameter_digest
from tandem_hw.network.quantized import Conv1d, Conv2d, ConvTranspose2d, Layer
from tandem_hw.sim.graph.layers import LayerProcesses
from tandem_hw.sim.graph.processes.integrate_and_fire import IF

#: Bits of a weight in Lava's processes.
_WEIGHT_BITS = 8


def digest_of_processes(built: LayerProcesses) -> str:
    """Return the ``parameter_digest`` of the processes of one layer.

    Args:
        built: the processes, run or not.
    """
    layer = built.layer
    connections = zip((layer, *layer.skips), built.synapses, strict=True)
    weights = [_weights(synapses, process) for synapses, process in connections]
    bias, threshold = _bias_and_threshold(built.neuron)
    return parameter_digest(
        weights, from_lava(bias, layer.output_shape), threshold, layer.output_shape
    )


def _weights(synapses: Layer, process: AbstractProcess) -> npt.NDArray[Any]:
    """Return the weights of a process in the axis order and shape of the network's."""
    if isinstance(synapses, Conv2d | Conv1d):
        # Lava's (out, x, y, in), flipped, into (out, in, y, x).
        weight: npt.NDArray[Any] = process.weight.init.transpose(0, 3, 2, 1)[:, :, ::-1, ::-1]
        return weight[:, :, 0] if isinstance(synapses, Conv1d) else weight
    matrix = _matrix(process)
    if isinstance(process, LavaDense):
        return np.asarray(matrix)
    if isinstance(synapses, ConvTranspose2d):
        return _kernel(synapses, matrix)
    values: npt.NDArray[Any] = matrix.diagonal()
    one_to_one = matrix.nnz == len(values) and np.all(values == values[0])
    return values[:1] if one_to_one else _entries(matrix)


def _matrix(process: AbstractProcess) -> Any:
    """Return the weights of a ``Dense`` or ``Sparse`` as its fixed-point model adds them up."""
    given = process.proc_params
    mode, exponent = given["sign_mode"], given["weight_exp"]
    weights = clip_weights(process.weights.init, mode, num_bits=_WEIGHT_BITS)
    weights = truncate_weights(weights, mode, given.get("num_weight_bits", _WEIGHT_BITS))
    factor = 1 << abs(exponent)
    if isinstance(weights, np.ndarray):
        return weights * factor if exponent >= 0 else weights // factor
    weights.data = weights.data * factor if exponent >= 0 else weights.data // factor
    return weights


def _kernel(synapses: ConvTranspose2d, matrix: Any) -> npt.NDArray[Any]:
    """Return the kernel whose matrix this is: the layer's own, or the matrix where it is not."""
    same = (connection_matrix(synapses) != matrix).nnz == 0
    return synapses.weight if same else _entries(matrix)


def _entries(matrix: Any) -> npt.NDArray[Any]:
    """Return rows, columns and values [3, entries], which no layer has as its weights."""
    found = matrix.tocoo()
    return np.stack([found.row, found.col, found.data])


def _bias_and_threshold(neuron: AbstractProcess) -> tuple[npt.NDArray[Any], int | None]:
    """Return the biases in Lava's shape of the neurons, and the threshold, in weight units."""
    if isinstance(neuron, IF):
        return np.asarray(neuron.proc_params["bias"]), int(neuron.proc_params["threshold"])
    mantissa, exponent = np.asarray(neuron.bias_mant.init), neuron.bias_exp.init
    vth = int(neuron.vth.init)
    # What never fires has a threshold that no voltage exceeds.
    threshold = None if vth > VTH_MAX else vth + 1
    return np.left_shift(mantissa, exponent - STATE_FRACTION_BITS), threshold
