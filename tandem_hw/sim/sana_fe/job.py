"""The folder through which a parent and the child that runs SANA-FE exchange a job."""

from __future__ import annotations

from pathlib import Path

NETWORK = "network.net"
INPUTS = "inputs.npy"
OPTIONS = "options.json"
#: The last step that is finished, int64 [1].
PROGRESS = "progress.npy"
#: By name of the layer, the ``parameter_digest`` of what the simulator was given.
DIGESTS = "digests.json"
#: What the simulator's model of the chip says of time and energy.
MODELLED = "modelled.json"


def counts_path(folder: Path, index: int) -> Path:
    """Return the file of the counts of a layer, int32 [samples, neurons], in C order."""
    return folder / f"counts-{index}.npy"


def state_path(folder: Path, index: int) -> Path:
    """Return the file of the states of a layer, int32 [samples, neurons], in C order.

    Of a readout they are potentials in weight units, of firing layers final states as ``Recording``
    has them.
    """
    return folder / f"state-{index}.npy"
