"""What can be chosen for a network, by name.

Plain Python, without NumPy: the options of the command line are made from these.
"""

from __future__ import annotations

from typing import Literal

#: What a neuron does when it fires.
Reset = Literal["subtract", "zero"]
#: How a sample is sent (``tandem_hw.network.quantized.InputSpec``).
Encoding = Literal["first_step", "constant", "events"]
#: What the last layer gives (``tandem_hw.network.quantized.QuantizedNetwork``).
Readout = Literal["potential", "count"]
