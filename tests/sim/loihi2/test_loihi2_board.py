"""The whole way to a board and back, on a stand-in for lava-loihi.

``fake_lava_loihi`` holds modules with the names that public code imports from lava-loihi. Its
models of neurocores are Lava's own fixed-point models, and its adapters delay as they are told, so
that everything of ours runs as it would on a board. It proves nothing about a board.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tandem_hw.conformance.layers import (
    BEFORE,
    changed,
    conv1d_layer,
    dense_layer,
    network_of,
    one_to_one_layer,
)
from tandem_hw.errors import BackendError, BackendUnavailableError
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork
from tandem_hw.sim.child.watched_process import group_members
from tandem_hw.sim.lava_cpu.backend import LavaCpuBackend
from tandem_hw.sim.loihi2 import backend as loihi2
from tandem_hw.sim.loihi2.assumptions import ASSUMPTIONS
from tandem_hw.sim.loihi2.backend import Loihi2Backend
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import compare
from tests.helpers.networks import random_inputs, small_network
from tests.helpers.project import ROOT

FAKE = ROOT / "tests" / "helpers" / "fake_lava_loihi"
_ABSENT = LavaCpuBackend().why_unavailable()
#: With what it imports, which tests put something around.
module: Any = loihi2
needs_lava = pytest.mark.skipif(_ABSENT is not None, reason=str(_ABSENT))


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Put the stand-in beside Lava, for children; return the process groups of all children."""
    monkeypatch.setenv("PYTHONPATH", f"{FAKE}{os.pathsep}{ROOT}", prepend=os.pathsep)
    monkeypatch.setenv("PATH", str(FAKE / "bin"), prepend=os.pathsep)
    monkeypatch.setattr(Loihi2Backend, "why_unavailable", lambda self: self.choice.why_not())
    found: list[int] = []
    watch = module.run_watched

    def run_watched(command: list[str], **options: Any) -> None:
        # The shell's process id, which Python keeps, is that of the group.
        note = options["folder"] / "group"
        script = 'echo $$ > "$0"; exec "$@"'
        try:
            watch(["/bin/sh", "-c", script, str(note), *command], **options)
        finally:
            found.append(int(note.read_text()))

    monkeypatch.setattr(loihi2, "run_watched", run_watched)
    return found


def skipping_network() -> QuantizedNetwork:
    """Return a network over (C, L) with a skip path, a relay, and a readout that is an image."""
    generator = np.random.default_rng(2)

    def weight(*shape: int) -> Any:
        return 2 * generator.integers(-30, 70, shape)

    none = np.zeros(2, int)
    first = conv1d_layer("first", weight(2, 3, 2), 8, none, 400, (3, 5))
    second = conv1d_layer("second", weight(2, 2, 3), 8, none, 96, (2, 4), padding=(1,))
    skip = one_to_one_layer(
        "skip", np.array([64]), 8, np.zeros(1, int), None, (2, 4), source="first"
    )
    third = conv1d_layer("third", weight(2, 2, 1), 8, none, 96, (2, 4), skips=(skip,))
    last = conv1d_layer("last", weight(2, 2, 1), 8, none, None, (2, 4))
    spec = InputSpec((3, 5), 4, 1 / 15, "constant")
    return network_of(spec, (first, second, third, last), 3, "subtract")


def dense_network() -> QuantizedNetwork:
    """Return a network that takes events as vectors and counts the spikes of its last layer."""
    first = dense_layer(
        "first",
        small_network().layers[2].synapses[0].weight.repeat(2, 0),
        8,
        [-9, 0, 9] * 2,
        60,
        (6,),
    )
    last = changed(
        small_network().layers[2], name="last", threshold=20, bias=[4, 4, 4], source=BEFORE
    )
    spec = InputSpec((6,), 4, 1 / 15, "events")
    return network_of(spec, (first, last), 4, "zero", "count")


@needs_lava
@pytest.mark.parametrize(
    ("network", "delays", "measured"),
    [
        (
            small_network("subtract", 3),
            {"INPUT": 2, "OUTPUT": 1, "READ": 3},
            {"input_delay": 2, "output_delay": 1, "read_delay": 4},
        ),
        (
            skipping_network(),
            {"INPUT": 1, "READ": 1},
            {"input_delay": 1, "output_delay": 0, "read_delay": 2},
        ),
        (dense_network(), {"OUTPUT": 5}, {"input_delay": 0, "output_delay": 5}),
    ],
    ids=["images", "skips", "events"],
)
def test_run_measures_the_delays_and_gives_the_reference_s_counts(
    groups: list[int],
    monkeypatch: pytest.MonkeyPatch,
    network: QuantizedNetwork,
    delays: dict[str, int],
    measured: dict[str, int],
) -> None:
    for name, steps in delays.items():
        monkeypatch.setenv(f"FAKE_{name}_DELAY", str(steps))
    monkeypatch.setenv("PARTITION", "other")  # only what is asked for counts
    inputs, told = random_inputs(network, 3), []
    backend = Loihi2Backend(partition="oheogulch", profile="time")
    recording = backend.run(network, inputs, progress=lambda *done: told.append(done))
    expected = ReferenceBackend().run(network, inputs)
    compare(network, [expected, recording]).require_match()
    found = dict(recording.extra)
    profile = found.pop("profile")
    assert found == measured
    assert profile["cores"] == 3
    assert profile["time_per_sample_us"] == 12.5 * 4
    assert told[0] == (0, 3)
    assert group_members(groups[0]) == []


@needs_lava
def test_process_that_would_run_on_the_host_is_refused_before_the_run(
    groups: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NO_CONV", "1")
    network = small_network("subtract", 3)
    with pytest.raises(
        BackendError,
        match=r"failed: 1 process of the network would not run on neurocores: layer conv, "
        r"synapses \(Conv: lava\.proc\.conv\.models\.PyConvModel",
    ):
        Loihi2Backend(partition="oheogulch").run(network, random_inputs(network))
    assert group_members(groups[0]) == []


@needs_lava
def test_what_is_known_of_a_failure_is_kept(
    groups: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FAKE_NO_CONV", "1")
    network, kept = small_network("subtract", 3), tmp_path / "new" / "failure"
    inputs = random_inputs(network)
    with pytest.raises(BackendError, match="would not run on neurocores") as caught:
        Loihi2Backend(partition="oheogulch", failure_folder=kept).run(network, inputs)
    assert f"{kept}: has the report (report.json) and all that" in caught.value.args[-1]
    report = json.loads((kept / "report.json").read_text(encoding="utf-8"))
    assert "would not run on neurocores: layer conv" in report["error"]
    assert report["network_digest"] == network.digest
    assert report["samples"] == len(inputs)
    assert report["board"] == {"--partition": "oheogulch"}
    assert (report["phase"], report["finished_steps"]) == ("compiling", 0)
    assert report["packages"]["lava-nc"] == "0.10.0"
    assert report["tandem_hw"]
    assert (kept / "output.txt").is_file()
    names = {path.name for path in kept.iterdir()}
    assert not names & {"frames.npy", "network.net"}  # they are the user's


def test_a_failure_of_any_kind_is_kept_and_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(_: list[str], *, folder: Path, **__: Any) -> None:
        (folder / "output.txt").write_text("line 1\n" * 5000)
        raise KeyError("v")

    monkeypatch.setattr(Loihi2Backend, "why_unavailable", lambda _: None)
    monkeypatch.setattr(loihi2, "run_watched", fail)
    network = small_network("subtract", 3)
    backend = Loihi2Backend(partition="oheogulch", failure_folder=tmp_path / "kept")
    with pytest.raises(BackendError, match="loihi2: KeyError: 'v'"):
        backend.run(network, random_inputs(network))
    assert (tmp_path / "kept" / "output.txt").read_text() == "line 1\n" * 5000  # all of it

    (tmp_path / "file").write_text("")
    backend.failure_folder = tmp_path / "file"
    with pytest.raises(BackendError, match="what is known of the failure could not be kept"):
        backend.run(network, random_inputs(network))
    backend.failure_folder = None
    with pytest.raises(KeyError):
        backend.run(network, random_inputs(network))


@needs_lava
def test_board_that_the_scheduler_does_not_know_is_reported(groups: list[int]) -> None:
    network = small_network("subtract", 3)
    with pytest.raises(BackendError, match="--board nothing is not there; sinfo shows ncl-og-01"):
        Loihi2Backend(board="nothing").run(network, random_inputs(network))
    assert group_members(groups[0]) == []


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ("compiling", r"compiling for Loihi 2 took longer than 0\.3 .* raise --compile-timeout"),
        ("running", r"running for Loihi 2 took .* \(0 of \d+ steps were done\); raise --run-tim"),
    ],
)
def test_phase_that_takes_too_long_is_ended_with_all_its_processes(
    groups: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, phase: str, message: str
) -> None:
    # A module that stands in for the worker, hangs, and has a child that does not want to end.
    worker = tmp_path / "tandem_hw_hanging_worker.py"
    worker.write_text(
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "if os.fork() == 0: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"Path(sys.argv[1], 'phase.txt').write_text({phase!r})\n"
        "time.sleep(300)\n"
    )
    watched = module.run_watched

    def hang(command: list[str], **options: Any) -> None:
        watched([command[0], str(worker), command[-1]], **options)

    monkeypatch.setattr(loihi2, "run_watched", hang)
    network = small_network("subtract", 3)
    backend = Loihi2Backend(partition="oheogulch", compile_timeout=0.3, run_timeout=0.3)
    if phase == "running":
        backend.compile_timeout = 60.0
    started = time.monotonic()
    with pytest.raises(BackendError, match=message):
        backend.run(network, random_inputs(network))
    assert time.monotonic() - started < 60  # what hangs would do so for 300
    assert group_members(groups[0]) == []


def test_backend_without_a_board_refuses_to_run() -> None:
    network = small_network("subtract", 3)
    with pytest.raises(BackendUnavailableError, match="backend loihi2: "):
        Loihi2Backend(partition="oheogulch").run(network, random_inputs(network))


def test_profile_that_is_not_known_is_refused() -> None:
    with pytest.raises(BackendError, match="profile heat is not known; give one of time, power"):
        Loihi2Backend(profile="heat")


def test_every_assumption_is_in_the_document_with_its_evidence() -> None:
    document = (ROOT / "docs" / "loihi2.md").read_text(encoding="utf-8")
    rows = [line for line in document.splitlines() if line.startswith("| ")]
    assert len(ASSUMPTIONS) > 8
    for assumption in ASSUMPTIONS:
        cells = (assumption.name, assumption.claim, assumption.evidence, assumption.if_wrong)
        assert f"| {' | '.join(cells)} |" in rows
