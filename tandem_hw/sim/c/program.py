"""A network as a compiled program, and what a run of it leaves in a folder.

The program is the exported source, compiled with what it records, and ``driver.c``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import tandem_hw.export.c99 as c99
import tandem_hw.network as network_room
from tandem_hw.errors import BackendError
from tandem_hw.export.c99.neurons import count_type
from tandem_hw.export.c99.recorded import digests_of_tables, state_units
from tandem_hw.export.c99.writer import write_c
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.backend import Progress, SimulationResult
from tandem_hw.sim.c.compiler import (
    Compiler,
    ProgramCache,
    compile_program,
    find_compiler,
    key_of,
)
from tandem_hw.sim.child.watched_process import run_watched
from tandem_hw.version import installed_version

_DRIVER: Final = Path(__file__).with_name("driver.c")
#: The source that the driver includes; its symbols begin with its name.
_SOURCE: Final = "network.c"


@contextmanager
def compiled(network: QuantizedNetwork, cache: ProgramCache) -> Iterator[Path]:
    """Give the program of a network, compiled now if it is not kept from an earlier run.

    Args:
        network: what it runs.
        cache: where programs are kept.

    Raises:
        BackendError: there is no compiler that works.
    """
    compiler = find_compiler()
    key = key_of(
        {
            "network": network.digest,
            "generator": _generator(),
            "version": installed_version(),
            "compiler": compiler.identity,
        }
    )
    program = cache.find(key)
    if program is not None:
        yield program
        return
    with cache.workplace() as folder:
        yield cache.keep(key, build(network, compiler, folder))


def build(network: QuantizedNetwork, compiler: Compiler, folder: Path) -> Path:
    """Write the source of a network to a folder, and compile it there with the driver."""
    write_c(network, folder / _SOURCE)
    (folder / _DRIVER.name).write_bytes(_DRIVER.read_bytes())
    recording = Compiler((*compiler.command, "-DNETWORK_RECORD"), compiler.identity)
    return compile_program(recording, folder, _DRIVER.name, "program")


@cache
def _generator() -> str:
    """Return the digest of all modules that a program's source depends on, and of the driver."""
    state = hashlib.sha256()
    folders = [Path(room.__file__ or "").parent for room in (c99, network_room)]
    paths = sorted(path for folder in folders for path in folder.rglob("*.py"))
    for path in (*paths, _DRIVER):
        state.update(path.read_bytes())
    return state.hexdigest()


def run_program(
    program: Path,
    network: QuantizedNetwork,
    inputs: npt.NDArray[np.uint8],
    progress: Progress,
    folder: Path,
    processes: int,
    *,
    keep_final_state: bool,
    environment: dict[str, str] | None = None,
) -> SimulationResult:
    """Run all samples and return what the program has recorded.

    Args:
        program: as ``compiled`` gives it.
        network: what it was made of.
        inputs: uint8 [samples, *network.sample_shape].
        progress: told how many samples are done.
        folder: an empty one, for the files between here and there.
        processes: how many take turns.
        keep_final_state: as for ``Backend.run``.
        environment: variables of the program's environment.

    Raises:
        BackendError: it failed, or its results are not complete.
    """
    samples = len(inputs)
    np.ascontiguousarray(inputs).tofile(folder / "inputs")

    def done() -> int:
        try:
            (number,) = np.fromfile(folder / "progress", np.uint64, 1).tolist()
        except (OSError, ValueError):  # it is not there yet
            return 0
        progress(min(number, samples), samples)
        return int(number)

    run_watched(
        [str(program), str(folder), str(samples), str(processes), str(int(keep_final_state))],
        name="the compiled network of backend c",
        folder=folder,
        environment=os.environ if environment is None else environment,
        progress=done,
    )
    progress(samples, samples)
    return _results(network, samples, folder, keep_final_state)


def _results(
    network: QuantizedNetwork, samples: int, folder: Path, keep_final_state: bool
) -> SimulationResult:
    layers, units = network.layers, state_units(network)
    count_dtype = count_type(network.num_steps).removesuffix("_t")

    def read(name: str, dtype: str, *shape: int) -> npt.NDArray[Any]:
        return np.array(mapped(name, dtype, *shape))

    def mapped(name: str, dtype: str, *shape: int) -> npt.NDArray[Any]:
        try:
            return np.memmap(folder / name, dtype, "r").reshape(shape)
        except (OSError, ValueError) as error:
            raise BackendError(
                f"the compiled network ended without its results ({error}); run it again"
            ) from error

    counts, final = {}, {}
    for index, layer in enumerate(layers):
        if layer.fires:
            shape = (samples, *layer.output_shape)
            counts[layer.name] = mapped(f"counts-{index}", count_dtype, *shape).astype(np.int32)
            if keep_final_state:
                final[layer.name] = read(f"final-{index}", "int32", *shape)
    results = read("results", "int32", samples, network.outputs)
    left = read("left", "int64", samples, len(layers))
    peaks = read("peak", "int32", -1, len(layers)).max(axis=0).tolist()
    return SimulationResult(
        counts=counts,
        potential=results if network.readout == "potential" else None,
        peak={
            layer.name: -(-peak // units[layer.name])
            for layer, peak in zip(layers, peaks, strict=True)
        },
        saturation={layer.name: left[:, index].copy() for index, layer in enumerate(layers)},
        final_state=final,
        parameter_digest=digests_of_tables(network, (folder / "parameters").read_bytes()),
    )
