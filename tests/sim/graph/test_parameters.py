"""The integers of Lava's processes are read back, and one that is off by a step is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tandem_hw.export.net_file import write_net
from tests.helpers.networks import (
    networks,
    random_inputs,
    small_graph_network,
    small_image_network,
    small_network,
)
from tests.helpers.sabotage import other_layer, with_layer

pytest.importorskip("lava.magma", reason="Lava is not installed; it needs Python 3.10")

from tandem_hw.chip.timing import board_period, default_period
from tandem_hw.network.digests.parameter_digest import digest_of_layer
from tandem_hw.network.quantized import QuantizedNetwork, Reset
from tandem_hw.sim.graph.layers import LayerProcesses, connect_layers
from tandem_hw.sim.graph.parameters import digest_of_processes
from tandem_hw.sim.graph.processes.integrate_and_fire import IF
from tandem_hw.sim.lava_cpu import backend as lava_cpu
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend, LavaStockBackend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import VerificationError, verify

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:pandas not found:ImportWarning"),
]

Make = Callable[[Reset], QuantizedNetwork]
ALL_KINDS: list[Make] = [small_network, small_graph_network, small_image_network]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(network=networks())
def test_the_processes_of_any_network_hold_its_integers(network: QuantizedNetwork) -> None:
    for built in connect_layers(network, default_period(network)).layers:
        assert digest_of_processes(built) == digest_of_layer(built.layer)


@pytest.mark.parametrize("make", ALL_KINDS)
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_the_processes_of_a_lowered_network_hold_its_integers(reset: Reset, make: Make) -> None:
    network = make(reset)
    for period in (default_period(network), board_period(network)):
        for built in connect_layers(network, period, lowered=True).layers:
            assert digest_of_processes(built) == digest_of_layer(built.layer)


def _change_all(built: LayerProcesses) -> Iterator[str]:
    """Put every array of integers of a layer's processes off by one step, one after the other."""
    for process in built.synapses:
        var = process.vars.weight if hasattr(process, "weight") else process.vars.weights
        values = var.init.copy()
        flat = values.data if hasattr(values, "tocsr") else values.reshape(-1)
        flat[int(np.abs(flat).argmin())] += 2  # one that stays within its bits
        var.init = values
        yield f"weights of a {type(process).__name__}"
    given = built.neuron.proc_params
    if isinstance(built.neuron, IF):
        bias = given["bias"].copy()
        bias.reshape(-1)[-1] += 1
        given.overwrite("bias", bias)
        yield "bias"
        given.overwrite("threshold", given["threshold"] + 1)
        yield "threshold"
        return
    mantissa = built.neuron.bias_mant.init.copy()
    mantissa.reshape(-1)[-1] += 1
    built.neuron.bias_mant.init = mantissa
    yield "bias"
    if built.layer.fires:
        built.neuron.vth.init += 1
        yield "threshold"


@pytest.mark.parametrize("lowered", [False, True])
@pytest.mark.parametrize("make", ALL_KINDS)
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_an_integer_of_a_process_that_is_off_by_a_step_is_seen(
    reset: Reset, make: Make, lowered: bool
) -> None:
    network = make(reset)
    changes = []
    for built in connect_layers(network, default_period(network), lowered=lowered).layers:
        digests = [digest_of_layer(built.layer)]
        for name in _change_all(built):
            changes.append(name)
            digests.append(digest_of_processes(built))
        assert len(set(digests)) == len(digests) > 2
    assert changes.count("threshold") == len(network.spiking_layers)


@pytest.mark.parametrize("kind", [LavaCpuBackend, LavaStockBackend])
def test_a_child_that_runs_a_weight_off_by_a_step_is_noticed_in_the_dark(
    kind: type[LavaCpuBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = small_network()
    inputs = np.zeros_like(random_inputs(network, 2))  # no weight of the first layer has an effect
    first = network.layers[0]
    other = with_layer(network, other_layer(first, first.name, 5))
    monkeypatch.setattr(lava_cpu, "write_net", lambda _, path: write_net(other, path))
    report = verify(network, inputs, None, [ReferenceBackend(), kind()], allow_silence=True)
    assert report.difference is None
    assert report.checked_states == ("reference", kind.name)
    assert [(one.backend, one.layer) for one in report.other_parameters] == [(kind.name, "conv")]
    with pytest.raises(VerificationError, match=f"^{kind.name}: layer conv ran with other weights"):
        report.require_match()
