"""Choose the backends: ``pytest hw_tests --backend lava-cpu``; by default all that can run here.

The reference computes on a GPU with ``--device cuda``.
A board is asked for by ``--backend loihi2 --partition oheogulch`` (or ``--board``, ``--host``).
"""

from __future__ import annotations

import pytest
from _pytest.terminal import TerminalReporter

from hw_tests.default_cases import runs_by_default
from tandem_hw.conformance.case_networks import Case
from tandem_hw.conformance.suite import cases_of, period_of
from tandem_hw.sim.backend import Backend
from tandem_hw.sim.loihi2.backend import Loihi2Backend
from tandem_hw.sim.loihi2.host import CHIP_GENERATIONS, DEFAULT_GENERATION
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.registry import BACKENDS, make_backend
from tests.helpers.warm_lava import lava_server, warm_lava

__all__ = ["lava_server", "warm_lava"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=list(BACKENDS),
        help="Backend of the conformance suite, may be given several times; one that is asked for "
        "and cannot run here fails (default: all that can run here).",
    )

    parser.addoption(
        "--device", default="cpu", help="Where the backend reference computes (default: cpu)."
    )
    for option, what in (
        ("--partition", "SLURM partition"),
        ("--board", "SLURM node"),
        ("--host", "address of an Ethernet host"),
    ):
        parser.addoption(option, help=f"Board of the backend loihi2: {what}.")
    parser.addoption(
        "--loihi-gen",
        choices=CHIP_GENERATIONS,
        help=f"Generation of the chip of the backend loihi2 (default: {DEFAULT_GENERATION}).",
    )


def backend_of(name: str, config: pytest.Config, **options: int) -> Backend:
    """Make a backend with the options that were given for it, and further ones."""
    if name == ReferenceBackend.name:
        return make_backend(name, device=config.getoption("--device"))
    if name != Loihi2Backend.name:
        return make_backend(name, **options)
    given = {key: config.getoption(key) for key in ("partition", "board", "host", "loihi_gen")}
    return make_backend(name, **given)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a board without its backend: nothing would run there."""
    named = [f"--{key}" for key in ("partition", "board", "host") if config.getoption(key)]
    asked = config.getoption("--backend")
    if named and asked is not None and Loihi2Backend.name not in asked:
        raise pytest.UsageError(f"{named[0]} names a board; add --backend {Loihi2Backend.name}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames:
        return
    names = metafunc.config.getoption("--backend")
    if names is None:
        # A board that is named is asked for, whether it can run or not.
        board = backend_of(Loihi2Backend.name, metafunc.config)
        assert isinstance(board, Loihi2Backend)
        names = [
            name
            for name in BACKENDS
            if backend_of(name, metafunc.config).why_unavailable() is None
            or (name == board.name and board.choice.named)
        ]
    runs = [(name, case) for name in names for case in cases_of(name)]
    metafunc.parametrize(
        ("backend", "case"),
        runs,
        indirect=["backend"],
        ids=[f"{name}-{case}" for name, case in runs],
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to exhaustive runs what takes long."""
    for item in items:
        chosen = getattr(getattr(item, "callspec", None), "params", {})
        case = chosen.get("case")  # tests of other folders have parameters of these names too
        if isinstance(case, Case) and not runs_by_default(chosen["backend"], case):
            item.add_marker(pytest.mark.exhaustive)


@pytest.fixture
def backend(request: pytest.FixtureRequest, case: Case) -> Backend:
    runner = backend_of(request.param, request.config, **period_of(case))
    reason = runner.why_unavailable()
    if reason is not None:
        pytest.fail(reason, pytrace=False)
    return runner


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say which backends the suite covered, so that a green run cannot hide a missing one."""
    results: dict[str, dict[str, int]] = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            properties = dict(getattr(report, "user_properties", ()))
            if "backend" in properties:
                padded = ", padded" if properties["padded"] else ""
                counts = results.setdefault(f"{properties['backend']}{padded}", {})
                shown = "refused" if "refused" in properties else outcome
                counts[shown] = counts.get(shown, 0) + 1
    if not results:
        return
    terminalreporter.section("conformance of backends")
    for name in BACKENDS:
        ran = [shown for shown in (name, f"{name}, padded") if shown in results]
        for shown in ran:
            outcomes = ", ".join(f"{n} {outcome}" for outcome, n in results[shown].items())
            terminalreporter.line(f"{shown}: {outcomes}")
        if not ran:
            reason = backend_of(name, terminalreporter.config).why_unavailable()
            terminalreporter.line(f"{name}: not run ({reason or 'not asked for'})")
