"""What is kept of a layer, sample by sample, in files that are mapped into memory.

Lava's ``Var.get`` sends every element as a message of its own, which is far too slow for the counts
and states of a layer. The processes of a graph write here instead, and the parent reads the files.
Steps are counted from 1, as Lava counts them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tandem_hw.sim.graph.window import Window


class SpikeCounts:
    """Counts the spikes of each neuron over each sample's window.

    Args:
        window: when the layer works; in the steps in which it waits it has to be silent as well.
        counts_path: an existing .npy file, int32 [samples, *shape].
        progress_path: an existing .npy file, int64 [2], that receives the last finished step and
            the number of spikes between windows.
    """

    def __init__(self, *, window: Window, counts_path: str, progress_path: str) -> None:
        self.window = window
        self.counts, self.progress = mapped_file(counts_path), mapped_file(progress_path)

    def add(self, step: int, spikes: npt.NDArray[Any]) -> None:
        """Add the spikes of a step, 0 or 1 for each neuron, to the row of its sample."""
        window = self.window
        sample, phase = divmod(step - window.first_firing, window.period)
        waits = phase >= window.period - window.firing_delay  # already in the next sample's window
        if 0 <= sample < len(self.counts) and window.may_fire(step):
            self.counts[sample] += spikes
        elif 0 <= sample + waits < len(self.counts) + waits:
            self.progress[1] += int(np.count_nonzero(spikes))
        self.progress[0] = step


class WindowStates:
    """Keeps the states of neurons at the end of each sample's window.

    Args:
        window: when the layer works.
        record_path: an existing .npy file, int32 [samples, *shape], in units of 1/64 weight unit.
    """

    def __init__(self, *, window: Window, record_path: str) -> None:
        self.last_step, self.period = window.last_step, window.period
        self.record = mapped_file(record_path)

    def due(self, step: int) -> bool:
        """Whether the window of a sample ends with this step."""
        sample, phase = divmod(step - self.last_step, self.period)
        return phase == 0 and 0 <= sample < len(self.record)

    def keep(self, step: int, state: npt.NDArray[Any]) -> None:
        """Write the states after a step that is due."""
        self.record[(step - self.last_step) // self.period] = state


def make_mapped_file(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> None:
    """Make a .npy file of zeros with all its room on the disk.

    A file with holes would be made on any disk, and end the process that first writes where there
    is no room any more, by a signal.

    Args:
        path: where.
        dtype: of its values.
        shape: of the array.

    Raises:
        OSError: the disk is full.
    """
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, array.offset + array.nbytes)
    array.flush()


def mapped_file(path: str) -> npt.NDArray[Any]:
    """Return the array of an existing .npy file, mapped into memory to be written.

    It is a plain array: indexing a ``memmap`` takes several times as long.
    """
    return np.asarray(np.lib.format.open_memmap(path, mode="r+"))
