from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tandem_hw import convert
from tandem_hw.arithmetic.synapses import synapse_of
from tandem_hw.errors import InexactError
from tandem_hw.export import freezing
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.layers import TandemLayer
from tandem_hw.network.whole_numbers import whole_numbers
from tandem_hw.sim import reference
from tandem_hw.sim.batch_results import BatchResults
from tandem_hw.sim.pytorch import PyTorchBackend
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.networks import (
    random_inputs,
    small_graph_network,
    small_image_network,
    small_network,
)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64])
def test_whole_values_become_the_same_integers(dtype: Any) -> None:
    values = np.array([[-32768.0, -0.0], [7, 32767]], dtype=np.float32)
    found = whole_numbers(values, dtype, "values")
    assert found.dtype == dtype
    assert found.tolist() == [[-32768, 0], [7, 32767]]
    assert whole_numbers(np.zeros((0, 3)), dtype, "values").shape == (0, 3)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.5, "0.5"), (-1e-3, "-0.001"), (np.nan, "nan"), (np.inf, "inf"), (2.0**31, "2147483648.0")],
)
def test_anything_else_is_refused_with_its_place(value: float, shown: str) -> None:
    values = np.zeros((2, 3))
    values[1, 2] = value
    pattern = rf"^layer a: sums have to be whole int32 numbers, found {shown} at \[1, 2\]: "
    with pytest.raises(InexactError, match=pattern):
        whole_numbers(values, np.int32, "layer a: sums")


def activity(state: Tensor, **results: Tensor) -> Any:
    return SimpleNamespace(
        counts=results.get("counts"),
        potential=results.get("potential"),
        final_state=lambda: state * 64,
        saturated=lambda: torch.zeros(len(state), dtype=torch.int64),
    )


def test_results_of_a_batch_name_the_layer() -> None:
    good, bad = torch.ones(2, 3), torch.tensor([[1.0, 2.0, 2.75]])
    results = BatchResults(2, keep_final_state=True)
    results.add("a", activity(good, counts=good), 0)
    with pytest.raises(InexactError, match=r"layer b: spike counts .* found 2.75 at \[0, 2\]"):
        results.add("b", activity(good, counts=bad), 0)
    with pytest.raises(InexactError, match=r"layer c: states .* found 64.015625 at"):
        results.add("c", activity(bad + 1 / 4096, counts=good), 0)
    with pytest.raises(InexactError, match=r"layer d: potentials .* found 2.75"):
        results.add("d", activity(bad, potential=bad), 0)


def slightly_off(synapse: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda signal: synapse(signal) + 1 / 64


@pytest.mark.parametrize("network", [small_network(), small_graph_network(), small_image_network()])
def test_a_simulation_whose_sums_are_not_whole_fails(
    network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = random_inputs(network, 4)
    assert ReferenceBackend().run(network, inputs).output.any()
    original = synapse_of
    monkeypatch.setattr(
        reference, "synapse_of", lambda layer, device: slightly_off(original(layer, device))
    )
    readout = network.layers[-1].name
    with pytest.raises(InexactError, match=f"layer {readout}: potentials have to be whole"):
        ReferenceBackend().run(network, inputs)


def model() -> Any:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    return convert(network, input_shape=(6,), num_steps=4, activation_max=0.3).eval()


def test_a_model_whose_sums_are_not_whole_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    tandem = model()
    network = freeze(tandem)
    last = tandem.tandem_layers[-1]
    original = last.synaptic_input
    monkeypatch.setattr(
        last, "synaptic_input", lambda signal, weight: original(signal, weight) + 1 / 64
    )
    readout = network.layers[-1].name
    with pytest.raises(InexactError, match=f"layer {readout}: potentials have to be whole"):
        PyTorchBackend(tandem).run(network, random_inputs(network, 4))


@pytest.mark.parametrize(("name", "what"), [("weights", "weights"), ("bias", "biases")])
def test_parameters_that_are_not_whole_are_neither_frozen_nor_run(
    name: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TandemLayer._quantize

    def off(self: TandemLayer, *given: Any) -> Any:
        found = original(self, *given)
        if name == "weights":
            return replace(found, weights=(found.weight + 0.5,))
        return replace(found, bias=found.bias + 0.5)

    tandem = model()
    monkeypatch.setattr(TandemLayer, "_quantize", off)
    with pytest.raises(InexactError, match=f"layer dense1: {what} have to be whole int64"):
        freezing.freeze(tandem)
    with pytest.raises(InexactError, match=f"layer dense1: {what} have to be whole int64"):
        tandem(torch.zeros(2, 6, dtype=torch.uint8))
