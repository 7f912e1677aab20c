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

from tandem_hw.chip.axis_order import from_lava
from tandem_hw.network.digests.parameter_digest import parameter_digest
from tandem_hw.network.fixed_point import STATE_FRACTION_BITS, VTH_MAX
from tandem_hw.sim.graph.layers import LayerProcesses
from tandem_hw.sim.graph.processes.integrate_and_fire import IF
from tandem_hw.sim.graph.synapses import weights_of_process


def digest_of_processes(built: LayerProcesses) -> str:
    """Return the ``parameter_digest`` of the processes of one layer.

    Args:
        built: the processes, run or not.
    """
    layer = built.layer
    connections = zip(layer.synapses, built.synapses, strict=True)
    weights = [weights_of_process(synapses, process) for synapses, process in connections]
    bias, threshold = _bias_and_threshold(built.neuron)
    return parameter_digest(
        weights, from_lava(bias, layer.output_shape), threshold, layer.output_shape
    )


def _bias_and_threshold(neuron: AbstractProcess) -> tuple[npt.NDArray[Any], int | None]:
    """Return the biases in Lava's shape of the neurons, and the threshold, in weight units."""
    if isinstance(neuron, IF):
        return np.asarray(neuron.proc_params["bias"]), int(neuron.proc_params["threshold"])
    mantissa, exponent = np.asarray(neuron.bias_mant.init), neuron.bias_exp.init
    vth = int(neuron.vth.init)
    # What never fires has a threshold that no voltage exceeds.
    threshold = None if vth > VTH_MAX else vth + 1
    return np.left_shift(mantissa, exponent - STATE_FRACTION_BITS), threshold
