"""Choose the backends: ``pytest hw_tests --backend lava-cpu``; by default all that can run here."""

from __future__ import annotations

import pytest

from tandem_hw.sim.backend import Backend
from tandem_hw.sim.registry import BACKENDS, make_backend


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=list(BACKENDS),
        help="Backend of the conformance suite, may be given several times; one that is asked for "
        "and cannot run here fails (default: all that can run here).",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames:
        return
    names = metafunc.config.getoption("--backend")
    if names is None:
        names = [name for name in BACKENDS if make_backend(name).why_unavailable() is None]
    metafunc.parametrize("backend", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    runner = make_backend(request.param)
    reason = runner.why_unavailable()
    if reason is not None:
        pytest.fail(reason, pytrace=False)
    return runner


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which backends the suite covered, so that a green run cannot hide a missing one."""
    results: dict[str, dict[str, int]] = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            properties = dict(getattr(report, "user_properties", ()))
            if "backend" in properties:
                counts = results.setdefault(properties["backend"], {})
                counts[outcome] = counts.get(outcome, 0) + 1
    if not results:
        return
    terminalreporter.section("conformance of backends")
    for name in BACKENDS:
        counts = results.get(name)
        if counts is not None:
            terminalreporter.line(f"{name}: " + ", ".join(f"{n} {o}" for o, n in counts.items()))
        else:
            reason = make_backend(name).why_unavailable()
            terminalreporter.line(f"{name}: not run ({reason or 'not asked for'})")
