"""A raster keeps who fired when, or says in which share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_hw.report.raster import raster_of


def spikes_of(steps: int, neurons: int, seed: int = 0) -> npt.NDArray[np.int8]:
    return np.random.default_rng(seed).integers(0, 2, (steps, neurons)).astype(np.int8)


def test_where_there_is_room_a_cell_is_one_neuron_in_one_step() -> None:
    spikes = spikes_of(5, 12).reshape(5, 3, 4)
    assert spikes.any()
    raster = raster_of(spikes, 12, 5)
    assert raster.is_whole
    assert raster.cell_words == "one neuron in one step"
    np.testing.assert_array_equal(raster.shares, spikes.reshape(5, 12).T)
    assert raster.neurons == tuple(range(13))
    assert raster.steps == tuple(range(6))


@settings(max_examples=40)
@given(
    steps=st.integers(1, 40),
    neurons=st.integers(1, 90),
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
)
def test_shares_add_up_to_all_spikes(steps: int, neurons: int, rows: int, columns: int) -> None:
    spikes = spikes_of(steps, neurons, seed=steps)
    raster = raster_of(spikes, rows, columns)
    assert raster.shares.shape[0] <= rows
    assert raster.shares.shape[1] <= columns
    sizes = np.outer(np.diff(raster.neurons), np.diff(raster.steps))
    assert (sizes > 0).all()
    # Counts of at most 3600 are exact in float64, and so is a share times its size to that.
    assert round(float((raster.shares * sizes).sum()), 6) == spikes.sum()


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [(3, 5, "up to 4 neurons in one step"), (12, 2, "one neuron in up to 3 steps")],
)
def test_what_a_cell_is_is_said(rows: int, columns: int, words: str) -> None:
    raster = raster_of(spikes_of(5, 12), rows, columns)
    assert not raster.is_whole
    assert raster.cell_words == words
