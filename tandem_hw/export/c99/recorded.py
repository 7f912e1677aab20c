"""What a program that includes a source can tell of it: see ``templates.RECORD``.

The backend ``c`` compiles a source with ``PREFIX_RECORD`` and reads from the program that runs what
it computes with.
"""

from __future__ import annotations

import numpy as np

from tandem_hw.errors import BackendError
from tandem_hw.export.c99.plan import make_plan
from tandem_hw.export.c99.synapses import summed_synapses
from tandem_hw.export.c99.text import smallest_type
from tandem_hw.network.digests.parameter_digest import parameter_digest
from tandem_hw.network.quantized import QuantizedNetwork


def state_units(network: QuantizedNetwork) -> dict[str, int]:
    """Return per layer how many units of a recorded state make a weight unit: 1 or 64."""
    return {plan.layer.name: plan.fraction for plan in make_plan(network).layers}


def digests_of_tables(network: QuantizedNetwork, tables: bytes) -> dict[str, str]:
    """Return per layer the ``parameter_digest`` of the tables of a compiled source.

    Args:
        network: what the source was made of.
        tables: the bytes of all its tables, and then the thresholds as int32, 0 for none.

    Raises:
        BackendError: they are more or fewer than the source has.
    """
    plans, at = make_plan(network).layers, 0
    found = []
    for plan in plans:
        weights = []
        for path in plan.paths:
            synapses = summed_synapses(path, "", plan.unit, plan.sum_type)
            expected = synapses.stored_weights()
            dtype = synapses.stored_type()
            stored = np.frombuffer(tables[at : at + expected.size * dtype.itemsize], dtype)
            at += stored.nbytes
            if stored.size != expected.size:
                raise _wrong_size(len(tables))
            weights.append(synapses.weights_of(stored))
        bias = plan.layer.neurons.bias
        dtype = np.dtype(smallest_type(int(bias.min()), int(bias.max())).removesuffix("_t"))
        biases = np.frombuffer(tables[at : at + bias.size * dtype.itemsize], dtype)
        at += biases.nbytes
        if biases.size != bias.size:
            raise _wrong_size(len(tables))
        found.append((weights, biases.reshape(plan.layer.bias_image().shape)))
    thresholds = np.frombuffer(tables[at:], np.int32)
    if thresholds.size != len(plans):
        raise _wrong_size(len(tables))
    return {
        plan.layer.name: parameter_digest(
            weights, bias, int(threshold) or None, plan.layer.output_shape
        )
        for plan, (weights, bias), threshold in zip(plans, found, thresholds, strict=True)
    }


def _wrong_size(size: int) -> BackendError:
    return BackendError(
        f"the compiled network has {size} bytes of parameters, which is not its own"
    )
