"""Stands for lava-loihi's model of Conv; FAKE_NO_CONV takes it away, as in another version."""

import os

from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.nc.model import AbstractNcProcessModel
from lava.magma.core.resources import Loihi2NeuroCore
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.conv.models import PyConvModelFixed
from lava.proc.conv.process import Conv

if "FAKE_NO_CONV" not in os.environ:

    @implements(proc=Conv, protocol=LoihiProtocol)
    @requires(Loihi2NeuroCore)
    class NcModelConv(PyConvModelFixed, AbstractNcProcessModel):
        pass
