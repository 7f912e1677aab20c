"""What a pass does on a device that is no CPU, on one that has no numbers: PyTorch's "meta".

Whatever is read there is an error, and so is an operation whose types do not fit, which a CPU may
never meet on its own way.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from tandem_hw.arithmetic import exact_sums, neurons
from tandem_hw.arithmetic.deferred_checks import DeferredChecks
from tandem_hw.arithmetic.spikes.packed_spikes import PackedSpikes
from tandem_hw.learning.passes import deferred_pass
from tests.helpers.graph_networks import NETWORKS, PHASED_NETWORKS, converted, inputs_of


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let passes run on "meta"; counts how often conditions would have been read."""
    reads: list[int] = []

    def not_read(checks: DeferredChecks) -> None:
        reads.append(len(checks._conditions))

    monkeypatch.setattr(neurons, "exact_arithmetic", lambda *_: nullcontext())
    monkeypatch.setattr(exact_sums, "exact_way", lambda problem: problem.ways[0])
    monkeypatch.setitem(exact_sums._SCOPE.settings, "meta", ())
    monkeypatch.setattr(DeferredChecks, "failed", not_read)
    monkeypatch.setattr(
        deferred_pass, "RandomNumbers", lambda device: None if device.type == "meta" else 1 / 0
    )
    return reads


@pytest.mark.parametrize("name", [*NETWORKS, *PHASED_NETWORKS])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"reset": "zero"}, id="zero"),
        pytest.param(
            {"reset": "zero", "encoding": "events", "voltage_decay": 100},
            id="leaky events",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            {
                "learn_thresholds": True,
                "thresholds_per_channel": True,
                "weight_bits": 4,
                "readout": "count",
            },
            id="counted",
        ),
        pytest.param({"firing_delay": 1}, id="waiting", marks=pytest.mark.exhaustive),
        pytest.param({"firing_delay": "phased", "encoding": "events"}, id="phased events"),
    ],
)
def test_a_pass_reads_nothing_and_its_types_fit(
    name: str, options: dict[str, Any], unread: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in PHASED_NETWORKS and options.get("firing_delay") != "phased":
        pytest.skip("it has a max pooling, which asks for a phased network")
    model = converted(name, **options).train()
    inputs = inputs_of(model)
    shape = model(inputs).shape
    signals: list[torch.dtype] = []
    samples_first = PackedSpikes.samples_first

    def watched(self: PackedSpikes, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
        signals.append(dtype)
        return samples_first(self, dtype)

    monkeypatch.setattr(PackedSpikes, "samples_first", watched)
    found = model.to("meta")(inputs.to("meta"))
    assert (found.device.type, found.shape) == ("meta", shape)
    found.sum().backward()
    assert all(one.grad is not None for one in model.parameters() if one.requires_grad)
    assert len(unread) == 1
    assert unread[0] > len(model.tandem_layers)
    assert set(signals) <= {torch.float32}
