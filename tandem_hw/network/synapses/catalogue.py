"""Every kind of synapses that a network can have."""

from __future__ import annotations

from typing import Final

from tandem_hw.network.synapses.convolutions import CONVOLUTIONS
from tandem_hw.network.synapses.dense import Dense, OneToOne
from tandem_hw.network.synapses.kind import Synapses

SYNAPSE_KINDS: Final[tuple[type[Synapses], ...]] = (*CONVOLUTIONS, Dense, OneToOne)
