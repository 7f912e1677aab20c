"""What verify compares where nobody says what: all that can run here, slow ones on few samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.errors import NetworkError
from tandem_hw.export.net_file import write_net
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.report.page import svg
from tandem_hw.sim import registry
from tandem_hw.sim.backend import Progress, SimulationResult
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.command_line import run, succeed, written_json
from tests.helpers.pages import looked_at
from tests.helpers.recordings import small_network

SAMPLES = 30


def backend(name: str, **attributes: Any) -> Callable[..., ReferenceBackend]:
    """Return what makes a backend that gives what the reference gives, or refuses."""

    def why_unavailable(self: ReferenceBackend) -> str | None:
        missing = attributes.get("missing")
        return None if missing is None else f"backend {name}: {missing}"

    def check_network(self: ReferenceBackend, network: QuantizedNetwork) -> None:
        if "refused" in attributes:
            raise NetworkError(attributes["refused"])

    def simulate(
        self: ReferenceBackend,
        network: QuantizedNetwork,
        inputs: npt.NDArray[np.uint8],
        progress: Progress,
        *,
        keep_final_state: bool,
    ) -> SimulationResult:
        ran.append((name, len(inputs)))
        result = ReferenceBackend.simulate(
            self, network, inputs, progress, keep_final_state=keep_final_state
        )
        assert result.potential is not None
        result.potential[7:8] += attributes.get("error", 0)
        return result

    methods = {
        "why_unavailable": why_unavailable,
        "check_network": check_network,
        "simulate": simulate,
    }
    kind = type(name, (ReferenceBackend,), {"name": name, **attributes, **methods})
    return lambda **_: kind()


ran: list[tuple[str, int]] = []


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network, data for it, and a registry of backends that are all the reference."""
    monkeypatch.chdir(tmp_path)
    write_net(small_network(), "model.net")
    images = np.random.default_rng(0).integers(0, 256, (SAMPLES, 4, 4)).astype(np.uint8)
    labels = np.arange(SAMPLES) % 3
    np.savez("data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    ran.clear()
    with_backends(monkeypatch)
    return tmp_path


def with_backends(monkeypatch: pytest.MonkeyPatch, **changed: dict[str, Any]) -> None:
    told: dict[str, dict[str, Any]] = {
        **{name: {} for name in ("reference", "lava-cpu", "c")},
        "lava-stock": {"few_samples": 20},
        "sana-fe": {"few_samples": 20, "missing": "it is not installed"},
        "loihi2": {"needs_board": True},
    }
    for name in registry.BACKENDS:
        made = backend(name, **{**told[name], **changed.get(name.replace("-", "_"), {})})
        monkeypatch.setitem(registry.BACKENDS, name, made)


VERIFY = ("verify", "model.net", "--data", "npz:data.npz")


def test_all_that_can_run_here_are_compared_and_the_slow_ones_on_few_samples(here: Path) -> None:
    result = succeed(*VERIFY, "--json", "verify.json")
    assert ran == [
        *(("reference", SAMPLES), ("lava-cpu", SAMPLES), ("c", SAMPLES)),
        *(("reference", 20), ("lava-stock", 20)),
    ]
    assert "30 samples on reference, lava-cpu, c" in result.stdout
    assert "MATCH of reference and lava-stock on the first 20 samples (more" in result.stdout
    assert "left out: sana-fe: it is not installed" in result.stdout
    content = written_json(here / "verify.json")
    assert content["match"] is True
    assert content["backends"] == ["reference", "lava-cpu", "c"]
    few = content["few_samples"]
    assert (few["backends"], few["samples"]) == (["reference", "lava-stock"], 20)
    assert content["left_out"] == {"sana-fe": "backend sana-fe: it is not installed"}


def test_so_many_samples_as_are_asked_for_are_those_of_all(here: Path) -> None:
    succeed(*VERIFY, "--samples", 25, "--json", "verify.json")
    assert ran == [(name, 25) for name in ("reference", "lava-cpu", "lava-stock", "c")]
    assert "few_samples" not in written_json(here / "verify.json")


def test_backends_that_are_named_take_all_samples(here: Path) -> None:
    assert "left out" not in succeed(*VERIFY, "--backends", "reference,lava-stock").stdout
    assert ran == [("reference", SAMPLES), ("lava-stock", SAMPLES)]


def test_a_difference_in_few_samples_is_one(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_backends(monkeypatch, lava_stock={"error": 1})
    result = run(*VERIFY, "--json", "verify.json")
    assert result.exit_code == 1
    assert "MISMATCH: first in lava-stock: layer out, sample 7" in result.stdout
    content = written_json(here / "verify.json")
    assert content["match"] is False
    assert content["few_samples"]["match"] is False


MATCH = "MATCH: every spike count and every output is equal on "


@pytest.mark.parametrize("sample", [None, 25])
def test_a_report_of_two_comparisons_has_both_verdicts(
    here: Path, monkeypatch: pytest.MonkeyPatch, sample: int | None
) -> None:
    monkeypatch.setattr(svg, "drawn", lambda *_: b'<svg viewBox="0 0 1 1"></svg>')
    line = (*VERIFY, "--report", "v.html", *(() if sample is None else ("--report-sample", sample)))
    succeed(*line)
    page = looked_at((here / "v.html").read_text(encoding="utf-8"))
    all_of = f"{MATCH}reference, lava-cpu, c ({SAMPLES} samples)"
    assert [text for text in page.texts if text.startswith("MATCH")] == [
        all_of,
        f"{MATCH}reference, lava-stock (20 samples)",
    ]
    # What differs is shown, and both are told; a sample that only the others took is found.
    with_backends(monkeypatch, lava_stock={"error": 1})
    result = run(*line, "--overwrite")
    assert result.exit_code == 1
    page = looked_at((here / "v.html").read_text(encoding="utf-8"))
    verdicts = [text for text in page.texts if text.startswith(("MATCH", "MISMATCH"))]
    assert verdicts[0].startswith("MISMATCH: first in lava-stock: layer out, sample 7, neuron [0]")
    assert verdicts[1:] == [all_of]
    shown = 7 if sample is None else sample
    assert any(text.startswith(f"Sample {shown} of class {shown % 3}") for text in page.texts)


def test_a_backend_that_refuses_the_network_is_left_out_with_its_reason(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_backends(monkeypatch, lava_stock={"refused": "layer out: its state leaves 24 bits"})
    result = succeed(*VERIFY)
    assert "left out: lava-stock: layer out: its state leaves 24 bits" in result.stdout
    assert [name for name, _ in ran] == ["reference", "lava-cpu", "c"]


def test_where_the_others_are_slow_all_take_few(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = {"missing": "gone"}
    with_backends(monkeypatch, lava_cpu=gone, c=gone)
    result = succeed(*VERIFY)
    assert ran == [("reference", 20), ("lava-stock", 20)]
    assert "left out: lava-cpu, c: gone" in result.stdout


def test_one_backend_alone_proves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {"missing": "gone"}
    with_backends(monkeypatch, lava_cpu=gone, lava_stock=gone, c=gone)
    result = run(*VERIFY)
    assert result.exit_code == 2
    first, *further = result.stderr.splitlines()
    assert first.startswith("Error: a comparison needs two backends, and reference alone can run")
    assert "  backend c: gone" in further
    assert not ran


def test_a_period_that_cannot_be_does_not_leave_lava_out(here: Path) -> None:
    result = run(*VERIFY, "--period", 3)
    assert result.exit_code == 2
    assert "a period of 3 steps is too short" in result.stderr
