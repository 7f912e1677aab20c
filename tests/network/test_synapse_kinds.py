"""Every stage has a row for each kind of synapses or refuses it, and what it does not know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tandem_hw.arithmetic.synapses import synapse_of
from tandem_hw.chip.budget import chip_budget
from tandem_hw.chip.partition import layer_budget
from tandem_hw.chip.synapse_memory import in_blocks, synapse_use
from tandem_hw.cli.work.network_tables import describe, layer_tables
from tandem_hw.conformance.oracle import run_sample
from tandem_hw.errors import NetworkError
from tandem_hw.export.net_file import read_net, write_net
from tandem_hw.export.nir_writer import network_tree, why_inexact
from tandem_hw.network.digests.parameter_digest import digest_of_layer
from tandem_hw.network.layers import Neurons, chain
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork
from tandem_hw.network.synapses.catalogue import SYNAPSE_KINDS
from tandem_hw.network.synapses.convolutions import Conv1d, Conv2d, ConvTranspose2d
from tandem_hw.network.synapses.dense import Dense, OneToOne
from tandem_hw.network.synapses.kind import Synapses
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tandem_hw.sim.loihi2.calibration import check_input_path
from tandem_hw.sim.reference import ReferenceBackend

#: Of each kind the shape of what comes in and of the weights.
_SHAPES: dict[type[Synapses], tuple[tuple[int, ...], tuple[int, ...]]] = {
    Conv2d: ((2, 4, 4), (3, 2, 2, 2)),
    Conv1d: ((2, 6), (3, 2, 3)),
    ConvTranspose2d: ((2, 2, 3), (3, 2, 2, 2)),
    Dense: ((5,), (4, 5)),
    OneToOne: ((2, 3), (1,)),
}


@dataclass(frozen=True, eq=False)
class OddDense(Dense):
    """What no stage has a row for, although it is a ``Dense``."""


@dataclass(frozen=True, eq=False)
class OddConv2d(Conv2d):
    """What no stage has a row for, although it is a ``Conv2d``."""


def synapses_of(kind: type[Synapses], shapes: type[Synapses] | None = None) -> Synapses:
    shape, weights = _SHAPES[shapes or kind]
    weight = 2 * np.arange(3, 3 + int(np.prod(weights))).reshape(weights)
    return kind("only", weight, 8, shape)


def network_with(synapses: Synapses) -> QuantizedNetwork:
    """Return a network of these synapses and of others that read them out."""
    bias = np.arange(len(synapses.weight))
    outputs = int(np.prod(synapses.output_shape))
    readout = Dense("readout", 2 * np.eye(2, outputs, dtype=int), 8, synapses.output_shape)
    layers = chain((synapses, Neurons(bias, 20)), (readout, Neurons(np.zeros(2, int), None)))
    return QuantizedNetwork(InputSpec(synapses.input_shape, 3, 1 / 7), layers, 4, "zero")


def in_lava(synapses: Synapses) -> Any:
    from tandem_hw.sim.graph.synapses import synapse_process, weights_of_process

    return weights_of_process(synapses, synapse_process(synapses, graded=False))


#: What is done with synapses on the way, each in the place where a table is asked.
STAGES: dict[str, Callable[[Synapses], object]] = {
    "arithmetic": synapse_of,
    "memory of a core": lambda synapses: synapse_use(synapses, 4, 2),
    "blocks": in_blocks,
    "cores": lambda synapses: layer_budget(network_with(synapses).layers[0]),
    "chip": lambda synapses: chip_budget(network_with(synapses)),
    "reference": lambda synapses: ReferenceBackend().run(
        network_with(synapses), np.full((2, *synapses.input_shape), 5, np.uint8)
    ),
    "file": lambda synapses: write_net(network_with(synapses), "model.net"),
    "NIR": lambda synapses: network_tree(network_with(synapses), 1.0),
    "NIR for ourselves": lambda synapses: network_tree(
        network_with(synapses), 1.0, tandem_only=True
    ),
    "Lava": in_lava,
    "a board's input": lambda synapses: check_input_path(network_with(synapses)),
}
#: What a stage cannot do, with the words of its refusal.
REFUSALS = {
    ("NIR", ConvTranspose2d): "which NIR does not know",
    ("NIR", OneToOne): "which NIR does not know",
    ("a board's input", ConvTranspose2d): "feeds Dense, Conv1d and Conv2d",
    ("a board's input", OneToOne): "feeds Dense, Conv1d and Conv2d",
}


def skip_without_lava(stage: str) -> None:
    reason = LavaCpuBackend().why_unavailable()
    if stage == "Lava" and reason is not None:
        pytest.skip(reason)


def test_every_kind_is_tried() -> None:
    assert set(_SHAPES) == set(SYNAPSE_KINDS)
    assert {kind for _, kind in REFUSALS} < set(SYNAPSE_KINDS)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("kind", SYNAPSE_KINDS)
def test_every_stage_has_a_row_for_every_kind_or_refuses_it(
    kind: type[Synapses], stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without_lava(stage)
    monkeypatch.chdir(tmp_path)
    refusal = REFUSALS.get((stage, kind))
    if refusal is None:
        STAGES[stage](synapses_of(kind))
    else:
        with pytest.raises(NetworkError, match=rf"^layer only.*{refusal}"):
            STAGES[stage](synapses_of(kind))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("kind", "shapes"), [(OddDense, Dense), (OddConv2d, Conv2d)])
def test_no_stage_takes_an_unknown_kind_for_the_one_that_it_inherits_from(
    kind: type[Synapses],
    shapes: type[Synapses],
    stage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    skip_without_lava(stage)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NetworkError, match=rf"^layer only.*{kind.__name__}"):
        STAGES[stage](synapses_of(kind, shapes))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kind", SYNAPSE_KINDS)
def test_every_kind_comes_through_all_stages_to_the_counts_of_the_oracle(
    kind: type[Synapses], tmp_path: Path
) -> None:
    network = network_with(synapses_of(kind))
    write_net(network, tmp_path / "model.net")
    found = read_net(tmp_path / "model.net")
    assert found.digest == network.digest
    inputs = np.random.default_rng(1).integers(0, 8, (3, *network.input.shape), dtype=np.uint8)
    recording = ReferenceBackend().run(found, inputs)
    assert recording.counts["only"].any()
    assert recording.parameter_digest["only"] == digest_of_layer(network.layers[0])
    for sample, counts in zip(inputs, recording.counts["only"], strict=True):
        expected = run_sample(network, sample.reshape(-1).tolist())[0].counts
        assert counts.reshape(-1).tolist() == expected
    assert describe(network)["layers"][0]["kind"] == kind.__name__
    (table,) = layer_tables(network, 1000)
    assert table.row_count == 2
    assert synapses_of(kind).title
    inexact = why_inexact(network)
    assert (inexact is not None) is (("NIR", kind) in REFUSALS)
