"""The folder through which a parent and its Lava child exchange a job; it knows nothing of Lava."""

from __future__ import annotations

from pathlib import Path

NETWORK = "network.net"
INPUTS = "inputs.npy"
OPTIONS = "options.json"
#: By name of the layer, the ``parameter_digest`` of the processes that were built.
DIGESTS = "digests.json"
#: What a layer's progress file holds, int64: the last step that it has finished, and the spikes
#: that its neurons sent after a sample's window and before the next one.
PROGRESS = ("last_step", "spikes_in_padding")


def counts_path(folder: Path, index: int) -> Path:
    """Return the file of the counts of layer ``index`` (from 1), int32 in Lava's axis order."""
    return folder / f"counts-{index}.npy"


def state_path(folder: Path, index: int) -> Path:
    """Return the file of the states of layer ``index`` (from 1) at the window's end.

    It holds int32 [samples, *shape] in Lava's axis order and units of 1/64 weight unit. It is there
    for a readout by potential, whose voltage is the result, and where states are asked for.
    """
    return folder / f"state-{index}.npy"


def progress_path(folder: Path, index: int) -> Path:
    """Return the file of ``PROGRESS`` of layer ``index`` (from 1)."""
    return folder / f"progress-{index}.npy"
