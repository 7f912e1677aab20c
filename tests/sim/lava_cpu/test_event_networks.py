"""A network that takes events gives the same counts on Lava as on the reference."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tandem_hw.conversion.convert import convert
from tandem_hw.data.moving_digits import moving_digits
from tandem_hw.export.freezing import freeze
from tandem_hw.network.quantized import Reset
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend, LavaStockBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import verify

_ABSENT = LavaCpuBackend().why_unavailable()
pytestmark = [
    pytest.mark.skipif(_ABSENT is not None, reason=str(_ABSENT)),
    pytest.mark.timeout(240),
]


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_moving_digits_give_equal_counts_on_lava(reset: Reset) -> None:
    data = moving_digits(5, 4, need="test")
    torch.manual_seed(0)
    model = convert(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 8, 10)
        ),
        input_shape=data.shape,
        num_steps=5,
        reset=reset,
        input_bits=4,
        encoding="events",
    )
    backends = [ReferenceBackend(), LavaCpuBackend(), LavaStockBackend()]
    report = verify(freeze(model.eval()), data.x_test[:6], data.y_test[:6], backends)
    assert next(layer.spikes for layer in report.layers if layer.spikes is not None) > 100
    assert report.match
