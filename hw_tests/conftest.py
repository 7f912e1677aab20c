"""Choose the backends: ``pytest hw_tests --backend lava-cpu``; by default all that can run here.

The reference computes on a GPU with ``--device cuda``.
A board is asked for by ``--backend loihi2 --partition oheogulch`` (or ``--board``, ``--host``).
"""

from __future__ import annotations

import pytest
from _pytest.terminal import TerminalReporter

from tandem_hw.sim.backend import Backend
from tandem_hw.sim.c.backend import CBackend
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend, LavaStockBackend
from tandem_hw.sim.loihi2.backend import Loihi2Backend
from tandem_hw.sim.loihi2.host import CHIP_GENERATIONS, DEFAULT_GENERATION
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.sim.registry import BACKENDS, make_backend
from tests.helpers.warm_lava import lava_server, warm_lava

__all__ = ["lava_server", "warm_lava"]


#: The cases that the backend c runs by default; ``pytest hw_tests --backend c`` runs all.
COMPILED = (
    *("subtract-T7", "zero-events-saturated", "zero-decays-1024-and-0", "zero-overflow"),
    *("subtract-many-skips", "subtract-T4-events-delay-1", "subtract-T8-first_step-delay-7"),
)


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


def backend_of(name: str, config: pytest.Config) -> Backend:
    """Make a backend with the options that were given for it."""
    if name == ReferenceBackend.name:
        return make_backend(name, device=config.getoption("--device"))
    if name != Loihi2Backend.name:
        return make_backend(name)
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
    metafunc.parametrize("backend", names, indirect=True, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to exhaustive runs what takes long, and geometry whose synapses lava-cpu runs."""
    for item in items:
        chosen = getattr(getattr(item, "callspec", None), "params", {})
        on_lava = chosen.get("backend") in (LavaCpuBackend.name, LavaStockBackend.name)
        geometry = chosen.get("backend") == LavaStockBackend.name and chosen["case"].geometry
        # Every case is a program of its own, whose compilation takes a second.
        rest = chosen.get("backend") == CBackend.name and chosen["case"].name not in COMPILED
        if geometry or rest or (on_lava and chosen["case"].long):
            item.add_marker(pytest.mark.exhaustive)


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Backend:
    runner = backend_of(request.param, request.config)
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
                counts = results.setdefault(properties["backend"], {})
                shown = "refused" if "refused" in properties else outcome
                counts[shown] = counts.get(shown, 0) + 1
    if not results:
        return
    terminalreporter.section("conformance of backends")
    for name in BACKENDS:
        if name in results:
            counts = results[name]
            terminalreporter.line(f"{name}: " + ", ".join(f"{n} {o}" for o, n in counts.items()))
        else:
            reason = backend_of(name, terminalreporter.config).why_unavailable()
            terminalreporter.line(f"{name}: not run ({reason or 'not asked for'})")
