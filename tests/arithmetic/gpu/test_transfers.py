"""Copies that nobody waits for arrive whole."""

from __future__ import annotations

import pytest
import torch

from tandem_hw.arithmetic.gpu import transfers
from tandem_hw.arithmetic.gpu.transfers import HeldSamples, Received, sent

needs_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no GPU on this machine"
)
DEVICES = ["cpu", pytest.param("cuda", marks=needs_gpu)]


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("fit", [True, False])
def test_samples_are_taken_from_where_they_fit(
    name: str, fit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fit:
        monkeypatch.setattr(transfers, "_SHARE", 0.0)
    device = torch.device(name)
    samples = torch.arange(60, dtype=torch.uint8).reshape(20, 3)
    held = HeldSamples(samples, device)
    assert held._samples.device.type == (name if fit else "cpu")
    indices = torch.tensor([3, 3, 19])
    found = held.take(indices)
    assert found.device.type == name
    assert torch.equal(found.cpu(), samples[indices])


def test_what_does_not_fit_stays_and_batches_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "_fit", lambda samples, device: False)
    held = HeldSamples(torch.zeros(20, 3), torch.device("meta"))
    assert held._samples.device.type == "cpu"
    found = held.take(torch.tensor([0, 5]))
    assert (found.device.type, found.shape) == ("meta", (2, 3))


@pytest.mark.parametrize("name", DEVICES)
def test_what_is_sent_is_what_was_there_before_it_changed(name: str) -> None:
    device = torch.device(name)
    numbers = torch.arange(1000)
    there = sent(numbers, device)
    if name == "cuda":
        numbers.zero_()
    assert torch.equal(there.cpu(), torch.arange(1000))
    received = Received([there + 1, there.double().sum()])
    if name == "cuda":
        there.zero_()
    first, total = received.tensors()
    assert first.device.type == total.device.type == "cpu"
    assert torch.equal(first, torch.arange(1, 1001))
    assert float(total) == 499_500
