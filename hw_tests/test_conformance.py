"""Every backend gives the counts, potentials and final states of the plain Python oracle."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hw_tests.default_cases import OF_EVERY_KIND, runs_by_default
from tandem_hw.chip.timing import board_period, default_period
from tandem_hw.conformance.case_networks import Case
from tandem_hw.conformance.cases import cases
from tandem_hw.conformance.suite import check_case
from tandem_hw.sim.backend import Backend


@pytest.mark.usefixtures("warm_lava")
def test_backend_gives_the_spike_counts_of_the_oracle(
    backend: Backend, case: Case, record_property: Callable[[str, object], None]
) -> None:
    record_property("backend", backend.name)
    record_property("padded", case.padded)
    refusal = check_case(backend, case)
    if refusal is not None:
        record_property("refused", refusal)


def test_padded_cases_have_a_longer_period_with_delays_and_without() -> None:
    padded = [case for case in cases() if case.padded]
    assert all(board_period(case.network) > default_period(case.network) for case in padded)
    assert {0, 1, 2, 6} <= {case.network.firing_delay for case in padded}
    by_default = [case for case in padded if runs_by_default("lava-stock", case)]
    assert [case.network.firing_delay for case in by_default] == [1, 1]


def test_every_kind_that_runs_by_default_is_there() -> None:
    named = {case.name.removeprefix(f"{case.network.reset}-") for case in cases()}
    assert named >= OF_EVERY_KIND
