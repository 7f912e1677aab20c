"""Stands for lava-loihi's models of LIF and LIFReset: Lava's own, marked as neurocore models."""

from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.nc.model import AbstractNcProcessModel
from lava.magma.core.resources import Loihi2NeuroCore
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.models import PyLifModelBitAcc, PyLifResetModelBitAcc
from lava.proc.lif.process import LIF, LIFReset


@implements(proc=LIF, protocol=LoihiProtocol)
@requires(Loihi2NeuroCore)
class NcL2ModelLif(PyLifModelBitAcc, AbstractNcProcessModel):
    pass


@implements(proc=LIFReset, protocol=LoihiProtocol)
@requires(Loihi2NeuroCore)
class NcL2ModelLifReset(PyLifResetModelBitAcc, AbstractNcProcessModel):
    pass
