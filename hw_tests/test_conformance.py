"""Every backend gives the counts, potentials and final states of the plain Python oracle."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hw_tests.case_networks import Case
from hw_tests.cases import cases
from hw_tests.default_cases import OF_EVERY_KIND, runs_by_default
from tandem_hw.chip.timing import board_period, default_period
from tandem_hw.errors import TandemError
from tandem_hw.sim.backend import Backend
from tandem_hw.sim.loihi2.backend import Loihi2Backend
from tandem_hw.verification.step import compare
from tests.helpers.oracle import record


@pytest.mark.usefixtures("warm_lava")
def test_backend_gives_the_spike_counts_of_the_oracle(
    backend: Backend, case: Case, record_property: Callable[[str, object], None]
) -> None:
    record_property("backend", backend.name)
    record_property("padded", case.padded)
    expected = record(case.network, case.inputs)
    for layer in case.network.spiking_layers:
        fired = bool(expected.counts[layer.name].any())
        assert fired == case.fires, (
            f"{layer.name} was expected to {'fire' if case.fires else 'be silent'}"
        )
    try:
        found = backend.run(case.network, case.inputs, keep_final_state=True)
    except TandemError as refusal:
        if not case.overflows:
            raise
        record_property("refused", str(refusal))
        return
    report = compare(case.network, [expected, found], allow_silence=not case.fires)
    report.require_match()
    if backend.name != Loihi2Backend.name:  # a board tells neither
        assert backend.name in report.checked_parameters
        assert report.checked_states == ("oracle", backend.name) or not expected.final_state


def test_padded_cases_have_a_longer_period_with_delays_and_without() -> None:
    padded = [case for case in cases() if case.padded]
    assert all(board_period(case.network) > default_period(case.network) for case in padded)
    assert {0, 1, 2, 6} <= {case.network.firing_delay for case in padded}
    by_default = [case for case in padded if runs_by_default("lava-stock", case)]
    assert [case.network.firing_delay for case in by_default] == [1, 1]


def test_every_kind_that_runs_by_default_is_there() -> None:
    named = {case.name.removeprefix(f"{case.network.reset}-") for case in cases()}
    assert named >= OF_EVERY_KIND
