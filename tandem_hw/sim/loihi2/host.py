"""Whether a Loihi 2 board can be reached from here, and which one is meant.

Lava offers two ways to a board: a SLURM scheduler (a partition, or one board of it) and an Ethernet
host. What is meant is said by explicit arguments only; the environment variables that lava-loihi
would otherwise obey are taken away (``without_host_variables``).

Sources: ``lava/utils/loihi.py`` and ``lava/utils/slurm.py`` of lava-nc 0.10.0.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tandem_hw.errors import BackendUnavailableError

#: Names of ``lava.utils.loihi.ChipGeneration``.
CHIP_GENERATIONS: Final = ("N2A2", "N3B2", "N3B3", "N3C1", "N3D1")
#: "Most Loihi 2 systems available to the INRC are N3B3" (lava/utils/loihi.py).
DEFAULT_GENERATION: Final = "N3B3"
#: Default of ``use_ethernet_host``.
DEFAULT_HOST_BINARY: Final = "nxcore/bin/nx_driver_server"
#: What a run can measure besides (``tandem_hw.sim.loihi2.profile``).
PROFILES: Final = ("time", "power")
#: Variables of nxcore and Lava that overrule what a program asks for.
HOST_VARIABLES: Final = (
    "SLURM",
    "NOSLURM",
    "PARTITION",
    "BOARD",
    "LOIHI_GEN",
    "NXSDKHOST",
    "HOST_BINARY",
)
#: A scheduler may be slow; Lava itself gives it one second.
_SINFO_SECONDS = 20.0
_INSTEAD = (
    "Run --backends reference,lava-stock with tandem-hw verify instead: it runs the same stock "
    "processes on Lava's simulator"
)


@dataclass(frozen=True)
class HostChoice:
    """Which board shall run; exactly one of partition, board and host.

    Attributes:
        partition: a SLURM partition, such as ``oheogulch``.
        board: a SLURM node, such as ``ncl-ext-og-01``.
        host: address of an Ethernet host.
        loihi_gen: generation of the chip, one of ``CHIP_GENERATIONS``.
        host_binary: path of nxcore's driver server on an Ethernet host.
    """

    partition: str | None = None
    board: str | None = None
    host: str | None = None
    loihi_gen: str = DEFAULT_GENERATION
    host_binary: str = DEFAULT_HOST_BINARY

    def __str__(self) -> str:
        """Return what was named as it stands on the command line."""
        given = " ".join(f"{option} {value}" for option, value in self.named.items())
        return f"{given} --loihi-gen {self.loihi_gen}"

    @property
    def named(self) -> dict[str, str]:
        """What was named, by its option."""
        options = {"--partition": self.partition, "--board": self.board, "--host": self.host}
        return {option: value for option, value in options.items() if value is not None}

    def why_not(self) -> str | None:
        """Return why this names no board, or None if it does."""
        if len(self.named) > 1:
            given = " and ".join(self.named)
            return f"backend loihi2: {given} name different ways to a board; give one of them"
        if not self.named:
            return (
                "backend loihi2: no board was named; use tandem-hw deploy with --partition "
                "(SLURM), --board (one SLURM node) or --host (the address of an Ethernet host)"
            )
        option, value = next(iter(self.named.items()))
        if not value or value.startswith("-") or not value.isprintable() or " " in value:
            return f"backend loihi2: {option} {value!r} is no name of a board or host"
        if self.loihi_gen not in CHIP_GENERATIONS:
            return (
                f"backend loihi2: --loihi-gen {self.loihi_gen} is not known; Lava knows "
                f"{', '.join(CHIP_GENERATIONS)}"
            )
        return None


def why_unavailable(choice: HostChoice) -> str | None:
    """Return why no board can be reached from here, or None as far as can be told without one.

    Only what needs neither Lava's runtime nor a board is looked at, so that it takes no time.

    Args:
        choice: what the user named.
    """
    return _why_not_installed() or choice.why_not() or _why_no_tool(choice)


def _why_not_installed() -> str | None:
    if not _can_be_found("lava.utils.loihi"):
        version = ".".join(map(str, sys.version_info[:2]))
        return (
            f"backend loihi2: Lava is not installed (this is Python {version}; lava-nc 0.10.0 "
            f"exists for Python 3.10 only), and lava-loihi neither. Use a Python 3.10 and there, "
            f"in the folder of tandem-hw's sources, pip install ., then install lava-loihi as a "
            f"member of Intel's Neuromorphic Research Community, or use the backend reference, "
            f"which gives the same counts"
        )
    # lava.utils is a namespace and this module imports nothing of Lava's runtime.
    if importlib.import_module("lava.utils.loihi").is_installed():
        return None
    return (
        "backend loihi2: lava-loihi is not installed. Intel gives it, with nxcore and access to "
        "boards, to members of its Neuromorphic Research Community (to join: "
        f"inrc_interest@intel.com); members install it beside lava-nc. {_INSTEAD}"
    )


def _can_be_found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _why_no_tool(choice: HostChoice) -> str | None:
    # Lava starts these programs and raises a bare FileNotFoundError where they are missing.
    tool = "ping" if choice.host is not None else "sinfo"
    if shutil.which(tool) is not None:
        return None
    option = next(iter(choice.named))
    if tool == "sinfo":
        return (
            f"backend loihi2: there is no SLURM here (sinfo is not on the PATH), which {option} "
            f"needs; run this on a machine of the scheduler, or give --host for a board on Ethernet"
        )
    return (
        "backend loihi2: ping is not on the PATH, with which Lava looks for the host; install it "
        "(iputils), or give --partition for a board behind SLURM"
    )


def without_host_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which nothing overrules the board that was named.

    Args:
        environment: environment variables.
    """
    return {name: value for name, value in environment.items() if name not in HOST_VARIABLES}


def select_host(choice: HostChoice) -> None:
    """Tell Lava which board to use; it sets variables of this process's environment.

    Args:
        choice: a choice whose ``why_not`` is None.

    Raises:
        BackendUnavailableError: the scheduler, the board or the host is not there.
    """
    loihi: Any = importlib.import_module("lava.utils.loihi")
    if choice.host is None:
        _select_slurm(loihi, choice)
        return
    try:
        loihi.use_ethernet_host(
            choice.host, choice.host_binary, loihi.ChipGeneration[choice.loihi_gen]
        )
    except (OSError, ValueError, ImportError) as error:
        raise BackendUnavailableError(
            f"backend loihi2: --host {choice.host} cannot be used ({error}); look whether it "
            f"answers a ping, or name another one"
        ) from error


def _select_slurm(loihi: Any, choice: HostChoice) -> None:
    """Do what ``use_slurm_host`` is meant to do.

    lava-nc 0.10.0 splits the output of sinfo at line ends and then takes the first word of the
    empty rest (``slurm.get_partitions``, ``get_boards``): it raises IndexError whatever is named,
    and does not know a default partition, which sinfo marks with a star.
    """
    option, name = next(iter(choice.named.items()))
    states = _slurm_states(choice)
    usable = sorted(known for known, state in states.items() if "down" not in state)
    if name not in usable:
        found = f"is {states[name]}" if name in states else "is not there"
        raise BackendUnavailableError(
            f"backend loihi2: {option} {name} {found}; sinfo shows "
            f"{', '.join(usable) or 'nothing that is up'}"
        )
    os.environ["SLURM"] = "1"
    os.environ.pop("NOSLURM", None)
    os.environ["LOIHI_GEN"] = choice.loihi_gen
    os.environ.pop("PARTITION" if choice.board is not None else "BOARD", None)
    os.environ["BOARD" if choice.board is not None else "PARTITION"] = name
    loihi.host = "SLURM"


def _slurm_states(choice: HostChoice) -> dict[str, str]:
    """Return the states of all boards or partitions, as sinfo shows them, the best one of each."""
    by_node = ["--Node", "--format=%N %T"] if choice.board is not None else ["--format=%R %a/%T"]
    try:
        answer = subprocess.run(
            ["sinfo", "--noheader", *by_node],
            capture_output=True,
            check=True,
            text=True,
            timeout=_SINFO_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BackendUnavailableError(
            f"backend loihi2: sinfo does not answer ({error}); look whether the SLURM controller "
            f"is up, or give --host for a board on Ethernet"
        ) from error
    states: dict[str, str] = {}
    for line in answer.stdout.splitlines():
        name, _, state = line.strip().partition(" ")
        # A partition has a line for each state of its nodes; one that is up is enough.
        if name and (name not in states or "down" in states[name]):
            states[name] = state
    return states
