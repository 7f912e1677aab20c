"""What can be told of every target before anything runs: exact here, on a board, or refused.

It is found out, not written down: each backend of the registry is asked for a case of the suite of
every kind, and so is the writer of NIR. The suite runs these same cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tandem_hw.conformance.cases import cases
from tandem_hw.errors import TandemError
from tandem_hw.export.nir_reader import read_nir
from tandem_hw.export.nir_writer import write_nir
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.registry import BACKENDS, make_backend
from tandem_hw.temporaries import temporary_folder

EXACT: Final = "exact, verified here"
UNTESTED: Final = "needs a board, untested"
#: Kinds of networks that a target may refuse, and cases of the suite for each. It refuses a kind if
#: it refuses all of them.
KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "reset by subtraction": ("subtract-T4", "subtract-one-layer-count"),
    "reset to zero": ("zero-T4", "zero-one-layer-count"),
    "a firing delay": ("subtract-T4-events-delay-3",),
    "skip paths": ("subtract-many-skips", "zero-skip-into-a-counted-readout"),
    "a voltage that leaks": ("zero-decays-4096-and-1000",),
    "a current that is kept": ("zero-decays-1024-and-0", "zero-decays-3000-and-1024"),
    "reset by subtraction beyond 24 bits": ("subtract-overflow",),
    "reset to zero beyond 24 bits": ("zero-overflow",),
}


class Target(NamedTuple):
    """What is known of a target.

    Attributes:
        name: of the backend, of the file format, or PyTorch.
        label: ``EXACT`` or ``UNTESTED``, for what it does not refuse.
        refused: kinds of networks, by the keys of ``KINDS``.
    """

    name: str
    label: str
    refused: tuple[str, ...]


def targets() -> list[Target]:
    """Return all targets: the model itself, every backend of the registry, and NIR.

    The model in PyTorch is what networks come from: it refuses none of them.
    """
    networks = {case.name: case.network for case in cases()}
    found = [Target("PyTorch", EXACT, ())]
    for name in BACKENDS:
        backend = make_backend(name)
        label = UNTESTED if backend.needs_board else EXACT
        found.append(Target(f"`{name}`", label, _refused(backend.check_network, networks)))
    found.append(Target("`nir`", EXACT, _refused(_there_and_back, networks)))
    return found


def targets_table() -> str:
    """Return the targets as a table in Markdown."""
    rows = [f"| {one.name} | {one.label} | {'; '.join(one.refused)} |\n" for one in targets()]
    return "| target | what it runs is | refused |\n|---|---|---|\n" + "".join(rows)


def _refused(
    check: Callable[[QuantizedNetwork], None], networks: Mapping[str, QuantizedNetwork]
) -> tuple[str, ...]:
    return tuple(
        kind
        for kind, names in KINDS.items()
        if not any(_passes(check, networks[name]) for name in names)
    )


def _passes(check: Callable[[QuantizedNetwork], None], network: QuantizedNetwork) -> bool:
    try:
        check(network)
    except TandemError:
        return False
    return True


def _there_and_back(network: QuantizedNetwork) -> None:
    """Write a network as NIR and read it again.

    Raises:
        TandemError: it was refused, or came back as another network.
    """
    with temporary_folder() as folder:
        path = Path(folder) / "network.nir"
        write_nir(network, path)
        if read_nir(path).digest != network.digest:
            raise TandemError("what was read from the NIR file is another network")
