"""The folder through which the Loihi 2 backend and its child exchange a job; no Lava here."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tandem_hw.atomic_write import write_json
from tandem_hw.sim.loihi2.host import HostChoice
from tandem_hw.sim.loihi2.schedule import Delays

NETWORK = "network.net"
FRAMES = "frames.npy"
OPTIONS = "options.json"
START = "start.npy"
PHASE = "phase.txt"
DELAYS = "delays.json"
PROFILE = "profile.json"
CLOCK = "clock"
CLOCK_VOLTAGE = "clock-voltage"
VOLTAGE = "voltage"
#: What the child is doing, as it writes it into ``PHASE``.
COMPILING = "compiling"
RUNNING = "running"


def spikes(index: int) -> str:
    """Return the name of the record of layer ``index`` (from 1)."""
    return f"spikes-{index}"


def record_path(folder: Path, name: str) -> Path:
    """Return the file of a record, [steps, *shape] in Lava's axis order."""
    return folder / f"record-{name}.npy"


def progress_path(folder: Path, name: str) -> Path:
    """Return the file that holds the last step that a recorder has finished."""
    return folder / f"progress-{name}.npy"


def write_phase(folder: Path, phase: str) -> None:
    """Say what is being done."""
    (folder / PHASE).write_text(phase, encoding="utf-8")


def read_phase(folder: Path) -> str:
    """Return what is being done, "" before anything is."""
    path = folder / PHASE
    return path.read_text(encoding="utf-8") if path.exists() else ""


def write_options(folder: Path, choice: HostChoice, period: int, profile: str | None) -> None:
    """Write what the child needs beside the network and the frames."""
    content = {"host": asdict(choice), "period": period, "profile": profile}
    write_json(folder / OPTIONS, content)


def read_options(folder: Path) -> tuple[HostChoice, int, str | None]:
    """Read what ``write_options`` wrote."""
    content: dict[str, Any] = json.loads((folder / OPTIONS).read_text(encoding="utf-8"))
    return HostChoice(**content["host"]), content["period"], content["profile"]


def write_delays(folder: Path, delays: Delays) -> None:
    """Write what the calibration measured."""
    (folder / DELAYS).write_text(json.dumps(asdict(delays)), encoding="utf-8")


def read_delays(folder: Path) -> Delays:
    """Read what the calibration measured."""
    return Delays(**json.loads((folder / DELAYS).read_text(encoding="utf-8")))
