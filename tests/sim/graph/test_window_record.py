"""What is kept of a layer belongs to the sample in whose window it happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tandem_hw.sim.graph.window import Window
from tandem_hw.sim.graph.window_record import SpikeCounts, WindowStates

#: Two samples with windows of two steps, 4 and 5, and 7 and 8.
_WINDOW = Window(num_steps=2, period=3, offset=4)


def _file(path: Path, dtype: type, *shape: int) -> str:
    np.save(path, np.zeros(shape, dtype))
    return str(path)


def _spikes(step: int) -> npt.NDArray[np.int32]:
    """Return spikes of three neurons: one always fires, one in odd steps, one never."""
    return np.array([1, step % 2, 0], dtype=np.int32)


def test_spikes_are_counted_in_windows_and_between_two_of_them(tmp_path: Path) -> None:
    counts_path = _file(tmp_path / "counts.npy", np.int32, 2, 3)
    progress_path = _file(tmp_path / "progress.npy", np.int64, 2)
    counts = SpikeCounts(window=_WINDOW, counts_path=counts_path, progress_path=progress_path)
    between = {6: 1, 7: 1, 8: 1, 9: 3}  # two neurons fire in step 9, one in step 6
    for step in range(1, 12):
        counts.add(step, _spikes(step))
        last_step, padding = np.load(progress_path)
        assert last_step == step
        assert padding == between.get(step, 0 if step < 6 else 3), step
    assert np.load(counts_path).tolist() == [[2, 1, 0], [2, 1, 0]]


def test_a_spike_while_a_layer_waits_is_between_windows(tmp_path: Path) -> None:
    counts_path = _file(tmp_path / "counts.npy", np.int32, 2, 3)
    progress_path = _file(tmp_path / "progress.npy", np.int64, 2)
    window = Window(num_steps=2, period=5, offset=4, firing_delay=2)
    counts = SpikeCounts(window=window, counts_path=counts_path, progress_path=progress_path)
    found = []
    for step in range(1, 18):
        counts.add(step, np.array([1, 0, 0], np.int32))
        found.append(int(np.load(progress_path)[1]))
    # The first window starts in step 4, its neurons may fire in steps 6 and 7, then in 11 and 12.
    between = [step for step in range(1, 18) if found[step - 1] > ([0, *found][step - 1])]
    assert between == [4, 5, 8, 9, 10, 13, 14, 15]
    assert np.load(counts_path).tolist() == [[2, 0, 0], [2, 0, 0]]


def test_states_are_kept_after_the_last_step_of_each_window(tmp_path: Path) -> None:
    path = _file(tmp_path / "states.npy", np.int32, 2, 3)
    states = WindowStates(window=_WINDOW, record_path=path)
    due = [step for step in range(1, 15) if states.due(step)]
    assert due == [5, 8]
    for step in due:
        states.keep(step, np.array([step, -step, 0]))
    assert np.load(path).tolist() == [[5, -5, 0], [8, -8, 0]]
