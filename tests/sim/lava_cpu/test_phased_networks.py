"""Pooled maxima and joined layers of networks: Lava gives what reference and PyTorch do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tandem_hw.chip.timing import board_period
from tandem_hw.export.freezing import freeze
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend, LavaStockBackend
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import compare
from tests.helpers.graph_networks import converted, inputs_of

_ABSENT = LavaCpuBackend().why_unavailable()
pytestmark = [
    pytest.mark.usefixtures("warm_lava"),
    pytest.mark.skipif(_ABSENT is not None, reason=str(_ABSENT)),
    pytest.mark.timeout(400),
]


@pytest.mark.parametrize(
    ("name", "options", "lowered"),
    [
        pytest.param(
            "joined", {"firing_delay": 1}, False, marks=pytest.mark.exhaustive, id="joined"
        ),
        pytest.param(
            *("joined", {"firing_delay": 1}, True),
            marks=pytest.mark.exhaustive,
            id="joined, of stock processes",
        ),
        pytest.param("pooled", {}, False, marks=pytest.mark.exhaustive, id="pooled"),
        pytest.param(
            "pooled", {}, True, marks=pytest.mark.exhaustive, id="pooled, of stock processes"
        ),
    ],
)
def test_lava_gives_the_counts_of_the_reference_and_of_pytorch(
    name: str, options: dict[str, Any], lowered: bool
) -> None:
    model = converted(name, **options)
    for _ in range(3):  # batch normalisation has to see something
        model(inputs_of(model))
    network = freeze(model.eval())
    inputs = inputs_of(model, 4).numpy()
    period = board_period(network) if lowered else None
    lava = LavaStockBackend(period=period) if lowered else LavaCpuBackend()
    with torch.no_grad():
        runs = [
            backend.run(network, inputs, keep_final_state=True)
            for backend in (ReferenceBackend(), PyTorchBackend(model), lava)
        ]
    assert sum(counts.any() for counts in runs[0].counts.values()) > len(runs[0].counts) // 2
    compare(network, runs, allow_silence=True).require_match()
