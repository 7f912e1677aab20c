"""Everything that is assumed of a Loihi 2 board, in one place: nothing here was run on one.

Each assumption names its public evidence and what to change if a board does not keep it. The code
takes the values from here, so that a change here is the only one. ``docs/loihi2.md`` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d
from tandem_hw.network.synapses.dense import Dense
from tandem_hw.network.synapses.kind import Synapses

#: ``reset_interval`` of a LIFReset on the chip is a power of two, up to this (seen from 16).
RESET_INTERVAL_MAX: Final = 1024
#: What the adapter of a graded input takes, by the kind of synapses behind it (lava-dl's choice).
INPUT_ADAPTERS: Final[dict[type[Synapses], Literal["vector", "image"]]] = {
    Dense: "vector",
    Conv1d: "image",
    Conv2d: "image",
}
#: Bits of a graded input for the adapter of a dense first layer and of a convolution.
DENSE_MESSAGE_BITS: Final = 24
CONV_MESSAGE_BITS: Final = 16
#: Exponent by which the convolution's adapter scales its messages; our integers go in as they are.
CONV_SPIKE_EXP: Final = 0
#: Width of a state as the board returns it, without its sign.
STATE_MESSAGE_BITS: Final = 24
#: Largest delay in steps that the calibration looks for in an adapter.
ADAPTER_DELAY_MAX: Final = 16
#: Models of lava-loihi by Process, module and class, as public code imports them. A Process that is
#: not here is left to the preference of ``Loihi2HwCfg``; what was chosen is checked in any case.
PINNED_MODELS: Final = {
    "lava.proc.lif.process.LIF": ("lava.proc.lif.ncmodels", "NcL2ModelLif"),
    "lava.proc.dense.process.Dense": ("lava.proc.dense.ncmodels", "NcModelDense"),
    "lava.proc.sparse.process.Sparse": ("lava.proc.sparse.ncmodel", "NcModelSparse"),
}
#: Base class of the models that run on a neurocore.
NEUROCORE_MODEL: Final = ("lava.magma.core.model.nc.model", "AbstractNcProcessModel")


@dataclass(frozen=True)
class Assumption:
    """One thing that a board has to do.

    Attributes:
        name: short name, used in messages and in the documents.
        claim: what is assumed.
        evidence: where it can be seen in public.
        if_wrong: how it would show, and what to change.
    """

    name: str
    claim: str
    evidence: str
    if_wrong: str


ASSUMPTIONS: Final = (
    Assumption(
        "du=-1",
        "the current of a LIF keeps its value for ever (an integrator)",
        "lava-dl tutorial netx/pilotnet_snn sets neuron.du.init = -1 on the board; netx gives "
        "du = iDecay - 1 (lava/lib/dl/netx/utils.py)",
        'potentials sink from step to step; train with reset "zero", which needs no integrator '
        'but in the readout, and use readout "count"',
    ),
    Assumption(
        "dv=4096",
        "the voltage of a LIF forgets at once, so that v = u + bias",
        "default of netx for a layer without a neuron (lava/lib/dl/netx/blocks/process.py)",
        "a residue under |v| / 4096 stays if the register holds 4095 only; change "
        "INTEGRATOR in tandem_hw/sim/graph/stock_neurons.py",
    ),
    Assumption(
        "reset_interval",
        "a LIFReset resets u and v every reset_interval steps, for any power of two",
        "lava-dl tutorial netx/mnist (power of two, prints an accuracy from the board); "
        "tests/lava/lib/dl/netx/test_hdf5_nx.py (16); seen from 16 to 1024",
        "the check of repeated samples fails; use a longer window (RESET_INTERVAL_MAX bounds it)",
    ),
    Assumption(
        "initial state",
        "u and v start at the values given to LIF and LIFReset",
        "lava-nc: proc/lif/process.py; EMSTDP sets v on the board before every image",
        "only what comes before the first window changes, and the phase of the guards: look for "
        "spikes outside a window",
    ),
    Assumption(
        "adapter delay",
        "an adapter between host and chip delays by the same number of steps all through a run, "
        "and that of every layer's output is the same",
        "lava-dl tests/lava/lib/dl/netx/test_hdf5_nx.py asserts the same steps on both backends, "
        "that is a delay of 0; the number itself is measured",
        "the calibration fails, or spikes lie outside a window; raise ADAPTER_DELAY_MAX",
    ),
    Assumption(
        "graded input",
        "unsigned 8-bit integers pass an input adapter unchanged",
        "PyToNxAdapter with num_message_bits=24: lava/networks/gradedvecnetwork.py; "
        "PyToN3ConvAdapter with 16 bits: lava-dl test_hdf5_nx.py",
        "the calibration fails with spikes that no delay explains; change DENSE_MESSAGE_BITS, "
        "CONV_MESSAGE_BITS or CONV_SPIKE_EXP",
    ),
    Assumption(
        "output of images",
        "NxToPyAdapter takes the spikes of a convolution in their shape (W, H, C)",
        "lava-dl test_hdf5_nx.py connects net.out of a dense layer; none after a Conv seen",
        "compiling fails in the adapter; flatten the port in _record_spikes of "
        "tandem_hw/sim/loihi2/graph.py",
    ),
    Assumption(
        "state read",
        "embedded_io.state.Read sends a LIF's voltage in every step",
        "public code reads neuron.sigma so, Read(shape=...) without an interval; lava-dl tutorial "
        "netx/pilotnet_snn with an interval",
        'the calibration of the read fails; use readout "count"',
    ),
    Assumption(
        "state width",
        "states come back as 24 bits without their sign",
        "lava-dl test_hdf5_nx.py: (x.astype(np.int32) << 8) >> 8",
        "potentials are wrong by 2^24; change STATE_MESSAGE_BITS",
    ),
    Assumption(
        "repeated run",
        "run() may be called again and goes on where it stopped",
        "EMSTDP and lava-dl test_hdf5_nx.py read and set variables between runs on the board",
        "the run fails or the second part is wrong from its start",
    ),
    Assumption(
        "models",
        "LIF, LIFReset, Dense, Sparse and Conv have models for the neurocores",
        "Fugu (NcL2ModelLif), lava-optimization (NcModelDense, NcModelSparse), lava-dl "
        "test_hdf5_nx.py (LIFReset, Conv)",
        "a message names the process and what was chosen; correct PINNED_MODELS",
    ),
)
