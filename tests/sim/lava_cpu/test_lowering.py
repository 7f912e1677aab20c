"""The graph that goes to the chip: stock processes only, and the counts of the reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from tandem_hw.conformance.layers import dense_layer, network_of
from tests.helpers.networks import random_inputs, small_network

pytest.importorskip("lava.magma", reason="Lava is not installed; it needs Python 3.10")

from lava.proc.conv.process import Conv
from lava.proc.dense.process import Dense
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.sparse.process import Sparse

from tandem_hw.chip.timing import board_period, default_period
from tandem_hw.errors import BackendError, NetworkError
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork, Reset
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend, LavaStockBackend
from tandem_hw.sim.lava_cpu.graph import build_graph
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import compare

pytestmark = [
    pytest.mark.usefixtures("warm_lava"),
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore:pandas not found:ImportWarning"),
]

#: Stock processes that have been seen to run on Loihi 2, with the public evidence.
ON_LOIHI_2 = {
    LIF: "lava.proc.lif.ncmodels.NcL2ModelLif, imported by Sandia's Fugu (lava_interfaces.py)",
    LIFReset: "lava-dl netx/mnist/run.ipynb, printed output 'Accuracy on Loihi Board'",
    Dense: "lava.proc.dense.ncmodels.NcModelDense, imported by lava-optimization's solver.py",
    Sparse: "lava.proc.sparse.ncmodel.NcModelSparse, imported by lava-optimization's solver.py",
    Conv: "partition tables of lava-dl's pilotnet and yolo_kp benchmarks list Conv layers",
}


@pytest.mark.parametrize("padded", [False, True], ids=["shortest", "padded"])
@pytest.mark.parametrize("reset", get_args(Reset))
def test_every_process_of_the_lowered_graph_has_been_seen_on_loihi_2(
    reset: Reset, padded: bool, tmp_path: Path
) -> None:
    network = small_network(reset, num_steps=7)
    period = 16 if padded else default_period(network)
    graph = build_graph(network, random_inputs(network), tmp_path, period, lowered=True)
    processes = [process for layer in graph.layers for process in layer]
    assert {type(process) for process in processes} <= set(ON_LOIHI_2)
    guarded = reset == "subtract" or padded
    assert (len(processes) > 2 * len(network.layers)) == guarded


@pytest.mark.parametrize("reset", ["subtract", pytest.param("zero", marks=pytest.mark.exhaustive)])
def test_lowered_graph_gives_the_counts_of_the_leaf_models_at_every_period(reset: Reset) -> None:
    network = small_network(reset, num_steps=7)
    inputs = random_inputs(network, 6)
    expected = ReferenceBackend().run(network, inputs, keep_final_state=True)
    lowered = [default_period(network), board_period(network), 11]
    backends = [*(LavaStockBackend(period=period) for period in lowered), LavaCpuBackend(period=11)]
    for backend in backends:
        found = backend.run(network, inputs, keep_final_state=True)
        report = compare(network, [expected, found])
        report.require_match()
        assert report.checked_states == ("reference", backend.name)
        assert [layer.mismatched_states for layer in report.layers] == [0, 0]
        assert report.checked_parameters == report.backends


@pytest.mark.parametrize(
    ("num_steps", "delay"),
    [
        pytest.param(6, 1, marks=pytest.mark.exhaustive),
        pytest.param(5, 2, marks=pytest.mark.exhaustive),
        pytest.param(4, 3, marks=pytest.mark.exhaustive),
    ],
)
def test_lowered_layers_that_wait_give_the_counts_of_the_leaf_models_at_every_period(
    num_steps: int, delay: int
) -> None:
    network = replace(small_network("subtract", num_steps), firing_delay=delay)
    inputs = random_inputs(network, 6)
    expected = ReferenceBackend().run(network, inputs, keep_final_state=True)
    assert all(counts.any() for counts in expected.counts.values())
    shortest = default_period(network)
    assert shortest == num_steps + delay + 1
    backends = [
        *(LavaStockBackend(period=period) for period in (shortest, board_period(network), 19)),
        LavaCpuBackend(period=19),
    ]
    for backend in backends:
        found = backend.run(network, inputs, keep_final_state=True)
        report = compare(network, [expected, found])
        report.require_match()
        assert report.checked_states == ("reference", backend.name)
        assert report.checked_parameters == report.backends


def _network(weight: Any, bias: Any, threshold: int) -> QuantizedNetwork:
    spec = InputSpec((40,), 8, 1 / 255, "constant")
    first = dense_layer("first", weight, 8, bias, threshold, (40,))
    readout = dense_layer("readout", [[2, -2]], 8, [0], None, (2,))
    return network_of(spec, (first, readout), 4, "subtract")


def test_a_state_that_no_guard_silences_is_refused_and_not_approximated() -> None:
    weight = [[254] * 4 + [2] * 36, [2] * 40]
    network = _network(weight, [0, 0], 1024)
    assert not network.bounds[0].proven
    inputs = random_inputs(network, 2)
    with pytest.raises(BackendError, match=r"layer first fired \d+ times between two windows"):
        LavaStockBackend().run(network, inputs)


def test_a_threshold_that_no_weight_carries_is_refused_before_lava_starts() -> None:
    network = _network([[2] * 40, [4] * 40], [0, 0], 65_536)
    with pytest.raises(NetworkError, match="first: threshold 65536 needs a weight exponent of 9"):
        LavaStockBackend().run(network, random_inputs(network))
