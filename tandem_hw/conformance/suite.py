"""The suite on one backend: which cases it runs, what it must give, and what came of it."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from tandem_hw.chip.timing import board_period
from tandem_hw.conformance.case_networks import Case
from tandem_hw.conformance.cases import cases
from tandem_hw.conformance.oracle import record
from tandem_hw.errors import DataError, NetworkError, TandemError
from tandem_hw.sim.backend import Backend, input_digest
from tandem_hw.sim.registry import make_backend
from tandem_hw.verification.step import VerificationError, compare
from tandem_hw.version import installed_version, package_versions

REPORT_VERSION: Final = 1

#: Makes the backend under test; takes a ``period`` where ``period_of`` has one.
BackendMaker = Callable[..., Backend]
Word = Literal["passed", "refused", "failed"]


def cases_of(backend: str, part_of_name: str = "") -> list[Case]:
    """Return the cases that a backend runs; one without periods leaves those of a board out.

    Args:
        backend: its name.
        part_of_name: only cases that have this in their name.

    Raises:
        DataError: no name has it.
    """
    periods = make_backend(backend).takes_period
    found = [case for case in cases() if part_of_name in case.name and (periods or not case.padded)]
    if not found:
        raise DataError(
            f'no case of the conformance suite has "{part_of_name}" in its name; give a part of '
            f"one, such as delay, residual or autoencoder"
        )
    return found


def period_of(case: Case) -> dict[str, int]:
    """Return what a backend is made with for a case: the period of a board, or nothing."""
    return {"period": board_period(case.network)} if case.padded else {}


def check_case(backend: Backend, case: Case) -> str | None:
    """Run a case and compare counts, outputs, states and parameters with the oracle's.

    Args:
        backend: made with what ``period_of`` says.
        case: what runs.

    Returns:
        None if all is equal; otherwise why the backend has refused the case, which it may if a
        state leaves 24 bits, or as ``Backend.refuses_some`` says.

    Raises:
        TandemError: something differs, the run failed, or the backend refused what it may not.
    """
    expected = record(case.network, case.inputs)
    for layer in case.network.spiking_layers:
        if bool(expected.counts[layer.name].any()) != case.fires:
            raise VerificationError(
                f"{layer.name} was expected to {'fire' if case.fires else 'be silent'}"
            )
    try:
        found = backend.run(case.network, case.inputs, keep_final_state=True)
    except TandemError as refusal:
        if case.overflows or (backend.refuses_some and isinstance(refusal, NetworkError)):
            return str(refusal)
        raise
    report = compare(case.network, [expected, found], allow_silence=not case.fires)
    report.require_match()
    if not backend.needs_board:  # a board tells neither
        if backend.name not in report.checked_parameters:
            raise VerificationError(f"{backend.name} did not tell with which integers it computed")
        if expected.final_state and report.checked_states != ("oracle", backend.name):
            raise VerificationError(f"{backend.name} did not give the states at the window's end")
    return None


@dataclass(frozen=True)
class Outcome:
    """What came of a case.

    Attributes:
        name: of the case.
        outcome: passed, refused or failed.
        reason: why it did not pass; empty if it did.
        seconds: that it took, the oracle's time included.
        network_digest: of its network.
        input_digest: of its inputs.
    """

    name: str
    outcome: Word
    reason: str
    seconds: float
    network_digest: str
    input_digest: str


def run_suite(
    make: BackendMaker, chosen: Sequence[Case], *, fail_fast: bool = False
) -> Iterator[Outcome]:
    """Run cases one after the other.

    Args:
        make: makes the backend.
        chosen: what runs, as ``cases_of`` gives it.
        fail_fast: stop behind the first one that fails.
    """
    for case in chosen:
        started = time.perf_counter()
        word: Word
        try:
            refusal = check_case(make(**period_of(case)), case)
            word, reason = ("passed", "") if refusal is None else ("refused", refusal)
        except TandemError as error:
            word, reason = "failed", f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - started
        yield Outcome(
            case.name, word, reason, seconds, case.network.digest, input_digest(case.inputs)
        )
        if fail_fast and word == "failed":
            return


def count(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Return how many cases passed, were refused and failed."""
    words: tuple[Word, ...] = ("passed", "refused", "failed")
    return {word: sum(one.outcome == word for one in outcomes) for word in words}


def describe(backend: str, chosen: Sequence[Case], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return a report as plain data, with all that is needed to tell two of them apart.

    Args:
        backend: its name.
        chosen: the cases that were to run.
        outcomes: of those that did.
    """
    state = hashlib.sha256()
    for case in chosen:
        state.update(f"{case.name}\n{case.network.digest}\n{input_digest(case.inputs)}\n".encode())
    return {
        "conformance_report": REPORT_VERSION,
        "backend": backend,
        "tandem_hw": installed_version(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": package_versions(),
        "suite_digest": state.hexdigest(),
        "cases": len(chosen),
        **count(outcomes),
        "complete": len(outcomes) == len(chosen),
        "seconds": sum(one.seconds for one in outcomes),
        "outcomes": [asdict(one) for one in outcomes],
    }
