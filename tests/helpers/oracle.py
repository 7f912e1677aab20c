"""The oracle of the conformance suite, by which tests judge as well."""

from tandem_hw.conformance.oracle import (
    HALF,
    INT32,
    SPAN,
    LayerResult,
    Neuron,
    input_train,
    record,
    run_layer,
    run_sample,
    synapses,
    synops,
)

__all__ = [
    "HALF",
    "INT32",
    "SPAN",
    "LayerResult",
    "Neuron",
    "input_train",
    "record",
    "run_layer",
    "run_sample",
    "synapses",
    "synops",
]
