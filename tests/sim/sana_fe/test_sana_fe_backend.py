"""The backend sana-fe: what it gives, what it refuses, and how it ends where something is wrong."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tests.helpers.fake_sana_fe
from tandem_hw.cli.work.run_tables import modelled_line
from tandem_hw.conformance.layers import changed
from tandem_hw.errors import BackendError, BackendUnavailableError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.run_summary import RunTally
from tandem_hw.sim.sana_fe import backend as sana_fe
from tandem_hw.sim.sana_fe.backend import SanaFeBackend
from tandem_hw.verification.step import VerificationError, compare
from tests.helpers.networks import (
    random_inputs,
    small_graph_network,
    small_image_network,
    small_network,
)

FAKE = Path(tests.helpers.fake_sana_fe.__file__).parent
IS_INSTALLED = importlib.util.find_spec("sanafecpp") is not None


@pytest.fixture(params=["fake", "installed"])
def simulator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """SANA-FE as it is installed, where it is, and what stands for it."""
    kind = str(request.param)
    if kind == "fake":
        monkeypatch.setattr(sana_fe, "_is_installed", lambda: True)
        monkeypatch.setenv("PYTHONPATH", str(FAKE))
    elif not IS_INSTALLED:
        pytest.skip("SANA-FE is not installed")
    return kind


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(sana_fe, "_is_installed", lambda: True)
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    return monkeypatch


def waiting(delay: int) -> QuantizedNetwork:
    return replace(small_graph_network("subtract"), firing_delay=delay)


def leaking() -> QuantizedNetwork:
    plain = small_network("zero")
    layers = [changed(one, voltage_decay=123) if one.fires else one for one in plain.layers]
    return replace(plain, layers=tuple(layers))


@pytest.mark.parametrize(
    "network",
    [waiting(2), small_image_network(), leaking()],
    ids=["skips-that-wait", "image", "leak"],
)
def test_it_gives_what_the_reference_gives(simulator: str, network: QuantizedNetwork) -> None:
    inputs = random_inputs(network, 4)
    expected = ReferenceBackend().run(network, inputs, keep_final_state=True)
    assert all(counts.any() for counts in expected.counts.values())
    told: list[tuple[int, int]] = []
    found = SanaFeBackend().run(
        network, inputs, progress=lambda *done: told.append(done), keep_final_state=True
    )
    report = compare(network, [expected, found])
    report.require_match()
    assert report.checked_parameters == report.checked_states == ("reference", "sana-fe")
    assert told[-1] == (4, 4)


def test_it_tells_what_is_modelled_and_for_which_chip(simulator: str) -> None:
    network = waiting(0)
    found = SanaFeBackend().run(network, random_inputs(network, 2))
    assert not found.final_state
    modelled = found.extra["modelled"]
    assert modelled["chip"] == "Loihi 1"
    assert modelled["model"].startswith("SANA-FE ")
    wiring = network.wiring
    assert modelled["steps"] == 2 * network.num_steps + wiring.starts[-1] - 1
    assert modelled["compartments"] == sum(one.num_neurons for one in network)
    assert modelled["cores"] == len(network.layers)
    assert 0 < modelled["joules_synapse"] < modelled["joules_total"] < 1e-3
    assert 0 < modelled["seconds"] < 1e-2
    tally = RunTally(2)
    tally.add(found)
    line = modelled_line(tally.summary().extra["modelled"])
    assert line.startswith(f"modelled for Loihi 1, not measured ({modelled['model']}): ")
    assert f"{modelled['seconds'] / 2 * 1e6:.1f} µs and " in line


def test_a_run_in_parts_is_that_of_all_samples(fake: pytest.MonkeyPatch) -> None:
    network = small_network()
    inputs = random_inputs(network, 5)
    whole = SanaFeBackend().run(network, inputs)
    results = SanaFeBackend().simulate_in_parts(
        network, inputs, lambda *_: None, keep_final_state=True, size=2
    )
    parts = list(results)
    assert [len(part.counts["conv"]) for part in parts] == [2, 2, 1]
    for name, counts in whole.counts.items():
        joined = np.concatenate([part.counts[name] for part in parts])
        np.testing.assert_array_equal(joined, counts)


def test_without_sana_fe_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sana_fe, "_is_installed", lambda: False)
    network = small_network()
    with pytest.raises(BackendUnavailableError, match=r"is not installed; .*'\.\[sanafe\]'"):
        SanaFeBackend().run(network, random_inputs(network))
    monkeypatch.setattr("tandem_hw.sim.sana_fe.backend.os.name", "nt")
    assert "POSIX" in str(SanaFeBackend().why_unavailable())


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("noise", BackendError, "fired in step 0, outside of its windows"),
        ("silence", VerificationError, "differ"),
        ("weights", VerificationError, "layer hidden"),
    ],
)
def test_a_simulator_that_does_something_else_is_noticed(
    fake: pytest.MonkeyPatch, fault: str, error: type[Exception], message: str
) -> None:
    network = small_network()
    inputs = random_inputs(network)
    expected = ReferenceBackend().run(network, inputs)
    fake.setenv("FAKE_SANA_FE", fault)
    with pytest.raises(error, match=message):
        compare(network, [expected, SanaFeBackend().run(network, inputs)]).require_match()


def test_what_the_child_raises_is_told(fake: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sanafe.py").write_text("raise RuntimeError('the chip is out')")
    fake.setenv("PYTHONPATH", str(tmp_path))
    network = small_network()
    with pytest.raises(BackendError, match=r"child process of backend sana-fe failed: .* is out"):
        SanaFeBackend().run(network, random_inputs(network))


def test_results_that_are_missing_are_told(fake: pytest.MonkeyPatch) -> None:
    fake.setattr(sana_fe, "run_watched", lambda *_, **__: None)
    network = small_network()
    with pytest.raises(BackendError, match="ended without its results"):
        SanaFeBackend().run(network, random_inputs(network))
