"""The conformance suite on backends that are wrong, and the command that runs it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import tandem_hw.conformance
from tandem_hw.conformance.case_networks import Case
from tandem_hw.conformance.suite import (
    cases_of,
    check_case,
    count,
    describe,
    period_of,
    run_suite,
)
from tandem_hw.errors import BackendError, DataError, NetworkError, TandemError
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim import registry
from tandem_hw.sim.backend import Progress, SimulationResult
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.command_line import run, succeed, written_json

#: A few cases with a readout of each kind.
SOME = "one-layer"

Change = Callable[[SimulationResult], SimulationResult]


class Twin(ReferenceBackend):
    """The reference, whose results a test changes or whose networks it refuses."""

    name = "twin"
    change: Change = staticmethod(lambda result: result)
    refusal: TandemError | None = None

    def check_network(self, network: QuantizedNetwork) -> None:
        if self.refusal is not None:
            raise self.refusal

    def simulate(
        self,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
    ) -> SimulationResult:
        found = super().simulate(network, inputs, progress, keep_final_state=keep_final_state)
        return type(self).change(found)


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> type[Twin]:
    class Own(Twin):
        """One of this test alone."""

    monkeypatch.setitem(registry.BACKENDS, Own.name, Own)
    return Own


@cache
def all_cases() -> tuple[Case, ...]:
    return tuple(cases_of("reference"))


def case_named(name: str) -> Case:
    (found,) = [case for case in all_cases() if case.name == name]
    return found


def test_only_backends_with_periods_run_the_cases_of_a_board() -> None:
    padded = [case for case in cases_of("lava-stock") if case.padded]
    assert len(padded) > 100
    assert all(period_of(case)["period"] > case.network.num_steps for case in padded)
    plain = all_cases()
    assert len(plain) > 300
    assert not any(case.padded or period_of(case) for case in plain)
    assert len({case.name for case in cases_of("lava-stock")}) == len(padded) + len(plain)
    with pytest.raises(DataError, match=r'no case .* has "nothing" in its name; give a part'):
        cases_of("reference", "nothing")


def fewer_spikes(result: SimulationResult) -> SimulationResult:
    counts = {name: np.maximum(counts - 1, 0) for name, counts in result.counts.items()}
    return replace(result, counts=counts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (fewer_spikes, "the backends differ; first in"),
        (lambda result: replace(result, parameter_digest={}), "did not tell with which integers"),
        (lambda result: replace(result, final_state={}), "did not give the states at the window"),
        (
            lambda result: replace(
                result, parameter_digest=dict.fromkeys(result.parameter_digest, "0" * 64)
            ),
            "layer first",
        ),
    ],
)
def test_what_is_wrong_or_missing_fails(twin: type[Twin], change: Change, message: str) -> None:
    case = case_named("subtract-biases-of-both-signs")
    assert check_case(twin(), case) is None
    twin.change = staticmethod(change)  # type: ignore[assignment]
    with pytest.raises(TandemError, match=message):
        check_case(twin(), case)


def test_a_case_that_is_not_as_active_as_it_says_fails() -> None:
    case = case_named("subtract-biases-of-both-signs")
    with pytest.raises(TandemError, match="first was expected to be silent"):
        check_case(ReferenceBackend(), replace(case, fires=False))
    silent = case_named("subtract-zero-weights-and-biases")
    with pytest.raises(TandemError, match="first was expected to fire"):
        check_case(ReferenceBackend(), replace(silent, fires=True))


def test_only_a_backend_that_says_so_may_refuse_what_does_not_overflow(twin: type[Twin]) -> None:
    case, overflow = case_named("subtract-T1"), case_named("subtract-overflow")
    twin.refusal = NetworkError("no room")
    with pytest.raises(NetworkError, match="no room"):
        check_case(twin(), case)
    assert check_case(twin(), overflow) == "no room"
    twin.refuses_some = True
    assert check_case(twin(), case) == "no room"
    twin.refusal = BackendError("it broke")
    with pytest.raises(BackendError, match="it broke"):
        check_case(twin(), case)


def test_a_board_need_not_tell_its_states(twin: type[Twin]) -> None:
    twin.change = staticmethod(  # type: ignore[assignment]
        lambda result: replace(result, final_state={}, parameter_digest={})
    )
    twin.needs_board = True
    assert check_case(twin(), case_named("subtract-T1")) is None


def test_a_report_counts_and_tells_suites_apart(twin: type[Twin]) -> None:
    chosen = cases_of("reference", SOME)
    assert len(chosen) > 3
    outcomes = list(run_suite(twin, chosen))
    assert count(outcomes) == {"passed": len(chosen), "refused": 0, "failed": 0}
    report = describe("twin", chosen, outcomes)
    assert report["complete"]
    assert report["suite_digest"] == describe("c", chosen, [])["suite_digest"]
    assert report["suite_digest"] != describe("c", chosen[1:], [])["suite_digest"]
    assert {"numpy", "torch"} <= set(report["packages"])
    twin.change = staticmethod(fewer_spikes)  # type: ignore[assignment]
    (failed,) = run_suite(twin, chosen[-1:] * 3, fail_fast=True)
    assert failed.outcome == "failed"
    assert "VerificationError: " in failed.reason
    assert failed.network_digest == chosen[-1].network.digest


def test_the_command_estimates_shows_and_writes(twin: type[Twin], tmp_path: Path) -> None:
    number = len(cases_of("reference", SOME))
    told = ("conformance", "--backend", "reference", "-k", SOME, "--json", tmp_path / "r.json")
    shown = succeed(*told).stdout.splitlines()
    assert shown[0] == f"{number} cases on reference"
    assert "about" in shown[1]
    assert shown[-2] == f"reference: {number} passed, 0 refused, 0 failed"
    assert shown[-1].startswith("wrote ")
    report: dict[str, Any] = written_json(tmp_path / "r.json")
    assert (report["conformance_report"], report["backend"]) == (1, "reference")
    assert [one["outcome"] for one in report["outcomes"]] == ["passed"] * number
    assert str(tmp_path) not in (tmp_path / "r.json").read_text(encoding="utf-8")
    listed = succeed("conformance", "--backend", "reference", "-k", SOME, "--list").stdout
    assert listed.splitlines() == [one["name"] for one in report["outcomes"]]


def test_the_command_ends_with_1_where_a_case_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    simulate = ReferenceBackend.simulate
    monkeypatch.setattr(
        ReferenceBackend, "simulate", lambda *args, **more: fewer_spikes(simulate(*args, **more))
    )
    told = ("conformance", "--backend", "reference", "-k", "biases-of-both-signs", "--fail-fast")
    result = run(*told, "--json", tmp_path / "r.json")
    assert result.exit_code == 1, result.output
    assert "failed: subtract-biases-of-both-signs: VerificationError: " in result.output
    number = len(cases_of("reference", "biases-of-both-signs"))
    assert f"reference: 0 passed, 0 refused, 1 failed, {number - 1} not run" in result.output
    assert not written_json(tmp_path / "r.json")["complete"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--backend", "loihi2", "--board", "ncl-og-01"), "backend loihi2: "),
        (("--backend", "reference", "-k", "nothing"), 'has "nothing" in its name'),
        (("--backend", "nobody"), "Invalid value for '--backend'"),
        (("--backend", "reference", "--device", "nowhere"), "device nowhere cannot be used"),
    ],
)
def test_the_command_ends_with_2_where_it_cannot_run(
    options: tuple[str, ...], message: str
) -> None:
    result = run("conformance", *options)
    assert result.exit_code == 2
    assert message in result.output


def test_the_suite_needs_nothing_that_a_wheel_has_not() -> None:
    modules = sorted(Path(tandem_hw.conformance.__file__).parent.glob("*.py"))
    assert len(modules) > 8
    roots = set()
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                roots.add(str(node.module).partition(".")[0])
            elif isinstance(node, ast.Import):
                roots |= {alias.name.partition(".")[0] for alias in node.names}
    assert "tandem_hw" in roots
    assert not roots & {"tests", "hw_tests", "pytest", "hypothesis"}
