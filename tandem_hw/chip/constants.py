"""What a Loihi 2 chip holds and what its work costs: each number once, with its unit and source.

Number formats are in ``tandem_hw.network.fixed_point``; here are capacities, times and energies.
Sources
are public: the tables that the Loihi 2 compiler printed into lava-dl's notebooks
(``tutorials/lava/lib/dl/netx``: ``oxford/run.ipynb``, ``pilotnet_snn/benchmark.ipynb``,
``pilotnet_sdnn/benchmark.ipynb``, ``yolo_kp/run.ipynb``), and published figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

#: Neurons that the compiler puts on one core: it prints 3584 of them as 87.52 % (yolo_kp), and
#: splits a block of 4096 (pilotnet_snn, the fourth convolution).
NEURONS_PER_CORE: Final = 4095
#: 64-bit words of synapse memory of one core (oxford, pilotnet_snn: ``registers['SynMem']=12000``).
SYNAPSE_WORDS_PER_CORE: Final = 12_000
#: Input axons of one core ("AxonIn"; 784 of them are printed as 4.90 %).
AXONS_IN_PER_CORE: Final = 16_000
#: Outgoing axons of one core ("AxonMap"; 64 of them are printed as 0.40 %).
AXONS_OUT_PER_CORE: Final = 16_000
#: Synapses of a dense axon in one word, the fewest of all printed layers (they have 2.8 to 4.2; a
#: row of a few synapses takes whole words), so that the memory of a layer is not underestimated.
DENSE_SYNAPSES_PER_WORD: Final = Fraction(31, 10)
#: Kernel weights in one word, the fewest of all printed layers (8 to 17; 648 weights in 81 words).
KERNEL_WEIGHTS_PER_WORD: Final = 8
#: Input axons of a core that holds a block of a convolution: 1 or 2 in all printed tables.
CONVOLUTION_AXONS_IN: Final = 2
#: Neuron cores of one chip that a program can use, of 128 (profiling code counts
#: ``core + 120 * chip``; Hala Point: 140 544 cores / 1152 chips = 122).
CORES_PER_CHIP: Final = 120


@dataclass(frozen=True)
class Board:
    """A system that holds Loihi 2 chips.

    Attributes:
        name: Intel's name of it.
        chips: how many it holds.
    """

    name: str
    chips: int


#: The known systems, smallest first. Kapoho Point: ``num_chips = 8`` for the partitions kp* in
#: lava-dl's notebooks. Hala Point: Intel, April 2024.
BOARDS: Final = (
    Board("Oheo Gulch", 1),
    Board("Kapoho Point", 8),
    Board("VPX", 16),
    Board("Hala Point", 1152),
)

#: Energy of one synaptic operation on *Loihi 1*, in pJ, at 0.75 V (Davies et al., IEEE Micro 38(1),
#: 2018). Intel has published no such figure for Loihi 2.
LOIHI1_SYNOP_PJ: Final = 23.6
#: Energy of one update of an active neuron on *Loihi 1*, in pJ (same; 52 for an idle one).
LOIHI1_NEURON_UPDATE_PJ: Final = 81.0
#: Energy of one synaptic operation on Hala Point at full load, in pJ, with everything that the
#: machine draws: 2600 W / 380e12 operations a second (Intel, April 2024).
HALA_POINT_SYNOP_PJ: Final = 2600 / 380e12 * 1e12
#: Static power of one chip in W: PilotNet-LIF on Oheo Gulch (pilotnet_snn/benchmark.ipynb).
STATIC_WATTS_PER_CHIP: Final = 0.232
#: Dynamic power of one core that is in use, in W, as two published measurements on Loihi 2 give it:
#: PilotNet-LIF, (0.679 - 0.232) W on 74 cores (pilotnet_snn/benchmark.ipynb), and an autoencoder,
#: 0.0406 mJ in 48.3 us on 74 cores (arXiv 2608.18341).
CORE_WATTS: Final = ((0.679 - 0.232) / 74, 0.0406e-3 / 48.3e-6 / 74)


@dataclass(frozen=True)
class StepCosts:
    """What the parts of a step take on a machine, in seconds.

    Attributes:
        synop: one synaptic operation of a core.
        neuron_update: one update of a neuron of a core.
        barrier_least: what the chip takes at least until all cores know that a step is over.
        barrier: the same as measured with many cores in use, on one chip without a host.
        barrier_most: with several chips, or with a host that takes part in every step.
        binary_spike: one binary spike on the link of a chip.
        graded_spike: one graded spike there.
    """

    synop: float
    neuron_update: float
    barrier_least: float
    barrier: float
    barrier_most: float
    binary_spike: float
    graded_spike: float


#: Link of a chip: 8 bits at 800 MHz, 8 bytes for a binary spike and 12 for a graded one.
_LINK_BYTES_PER_SECOND: Final = 800e6
#: Loihi 2 (N3B3). Synaptic operation, neuron update, ``barrier_most`` and the link: Intel's script
#: that profiles YOLO-KP on 5 and more chips. ``barrier_least``: steps of the whole chip "under
#: 200 ns" (Intel, *Taking Neuromorphic Computing to the Next Level with Loihi 2*, 2021).
#: ``barrier``: nobody has published it for Loihi 2; that of Loihi 1 with 29 and more tiles, which
#: SANA-FE fitted to boards (its ``loihi.yaml``, ``latency_sync``), is an *assumption* here.
LOIHI2_STEP: Final = StepCosts(
    synop=0.66e-9,
    neuron_update=4e-9,
    barrier_least=0.2e-6,
    barrier=1.8e-6,
    barrier_most=10e-6,
    binary_spike=8 / _LINK_BYTES_PER_SECOND,
    graded_spike=12 / _LINK_BYTES_PER_SECOND,
)
#: Loihi 1, for published measurements on it: Davies et al. (as above) for the operations and the
#: least barrier (113 ns), SANA-FE for the barrier; its link is taken as Loihi 2's.
LOIHI1_STEP: Final = StepCosts(
    synop=3.5e-9,
    neuron_update=8.4e-9,
    barrier_least=0.113e-6,
    barrier=1.8e-6,
    barrier_most=10e-6,
    binary_spike=8 / _LINK_BYTES_PER_SECOND,
    graded_spike=12 / _LINK_BYTES_PER_SECOND,
)
