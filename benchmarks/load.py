"""How much memory ``simulate`` takes for each sample, synapse and neuron, and what that allows."""

from __future__ import annotations

import contextlib
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from benchmarks.result import finish, json_option
from tandem_hw.export.net_file import write_net
from tandem_hw.network.inputs import default_scale
from tandem_hw.network.layers import Input, Layer, Neurons
from tandem_hw.network.quantized import InputSpec, QuantizedNetwork
from tandem_hw.network.synapses.convolutions import Conv2d
from tandem_hw.network.synapses.dense import Dense
from tandem_hw.network.synapses.geometry import Geometry

#: Memory that is asked about, in bytes.
MEMORY: Final = 20 << 30
_INPUT_BITS: Final = 4
_CLASSES: Final = 10
_CHANNELS: Final = 4
_HIDDEN: Final = 16
#: Pixels along an edge: of images that fill a file, and of those that a wide layer takes.
_LARGE, _SMALL = 256, 28
#: Positions along an edge that are left of a large layer for the last one.
_LEFT: Final = 32
#: Bytes that are written at a time.
_PIECE: Final = 1 << 20
#: Seconds between two looks at a process.
_LOOK: Final = 0.01


def of_large_samples(folder: Path, number: int) -> int:
    """Write a small network and so many images of 64 KiB."""
    return _write(folder, dense_network(_LARGE, _HIDDEN), number)


def of_small_samples(folder: Path, number: int) -> int:
    """Write a small network and so many images of 784 bytes."""
    return _write(folder, dense_network(_SMALL, _HIDDEN), number)


def of_synapses(folder: Path, number: int) -> int:
    """Write a dense network of about so many synapses, and a sample."""
    network = dense_network(_SMALL, number // (_SMALL**2 + _CLASSES))
    _write(folder, network, 1)
    return sum(synapses.weight.size for layer in network for synapses in layer.synapses)


def of_neurons(folder: Path, number: int) -> int:
    """Write a convolutional network of about so many neurons, and a sample."""
    network = convolutional_network(math.isqrt(number // _CHANNELS) // _LEFT * _LEFT)
    _write(folder, network, 1)
    return sum(layer.num_neurons for layer in network)


@dataclass(frozen=True)
class Kind:
    """What there may be much of.

    Attributes:
        write: writes a network and samples into a folder and returns how much of it there is.
        sizes: how much of it is measured: a straight line goes through the first two, and what it
            says of the last one is compared with what that takes.
    """

    write: Callable[[Path, int], int]
    sizes: tuple[int, int, int]


#: By the name of what there is much of. The last take some gigabytes.
KINDS: Final = {
    "samples of 64 KiB": Kind(of_large_samples, (20_000, 40_000, 80_000)),
    "samples of 784 bytes": Kind(of_small_samples, (1_500_000, 3_000_000, 6_000_000)),
    "synapses": Kind(of_synapses, (10_000_000, 40_000_000, 320_000_000)),
    "neurons": Kind(of_neurons, (2_000_000, 8_000_000, 64_000_000)),
}


def dense_network(edge: int, hidden: int) -> QuantizedNetwork:
    """Return two dense layers on images of so many pixels along an edge."""
    random = np.random.default_rng(0)
    wide = random.integers(-4, 5, (hidden, edge * edge), dtype=np.int8)
    last = random.integers(-1, 2, (_CLASSES, hidden), dtype=np.int8)
    return _network(
        (1, edge, edge),
        [
            (Dense("wide", wide * np.int8(2), 8, (1, edge, edge)), 1 << 8),
            (Dense("out", last * np.int8(2), 8, (hidden,)), None),
        ],
    )


def convolutional_network(edge: int) -> QuantizedNetwork:
    """Return a convolution on images of so many pixels along an edge, and a class for some."""
    random = np.random.default_rng(0)
    wide = Conv2d(
        "wide",
        2 * random.integers(-10, 30, (_CHANNELS, 1, 3, 3)),
        8,
        (1, edge, edge),
        Geometry(padding=(1, 1)),
    )
    step = edge // _LEFT
    few = Conv2d(
        "few",
        2 * random.integers(-9, 30, (1, _CHANNELS, 1, 1)),
        8,
        wide.output_shape,
        Geometry(stride=(step, step)),
    )
    last = 2 * random.integers(-9, 9, (_CLASSES, _LEFT * _LEFT))
    return _network(
        (1, edge, edge),
        [(wide, 1 << 8), (few, 16), (Dense("out", last, 8, few.output_shape), None)],
    )


def _network(
    shape: tuple[int, ...], layers: Sequence[tuple[Dense | Conv2d, int | None]]
) -> QuantizedNetwork:
    sources = ["input", *(synapses.name for synapses, _ in layers)]
    return QuantizedNetwork(
        InputSpec(shape, _INPUT_BITS, default_scale(_INPUT_BITS)),
        tuple(
            Layer(
                synapses.name,
                Neurons(np.zeros(len(synapses.weight), int), threshold),
                (Input(source, synapses),),
            )
            for (synapses, threshold), source in zip(layers, sources, strict=False)
        ),
        num_steps=4,
        reset="subtract",
    )


def _write(folder: Path, network: QuantizedNetwork, samples: int) -> int:
    """Write a network and noise for it, uncompressed and part by part; return the samples."""
    write_net(network, folder / "model.net")
    random = np.random.default_rng(1)
    shape = (samples, *network.input.shape)
    with zipfile.ZipFile(folder / "data.npz", "w") as archive:
        with archive.open("x_test.npy", "w", force_zip64=True) as member:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            left = math.prod(shape)
            while left:
                left -= member.write(random.bytes(min(left, _PIECE)))
        with archive.open("y_test.npy", "w") as member:
            np.lib.format.write_array(member, np.arange(samples) % _CLASSES)
    return samples


@dataclass(frozen=True)
class Measured:
    """What a command took.

    Attributes:
        memory: the most bytes of its own, and of the processes that it started; pages of files,
            which the system drops when it needs them, do not count.
        seconds: how long it ran.
    """

    memory: int
    seconds: float


def measure(arguments: Sequence[str], limit: int | None = None) -> Measured:
    """Run a command of ours to its end.

    Args:
        arguments: the command's.
        limit: bytes of memory of its own that it may not go beyond.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    command = [sys.executable, "-m", "tandem_hw", *arguments]
    bounds = (limit, limit) if limit else resource.getrlimit(resource.RLIMIT_DATA)
    started, most = time.perf_counter(), 0
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, bounds),
    )
    while process.poll() is None:
        most = max(most, sum(_own_memory(one) for one in _with_children(process.pid)))
        time.sleep(_LOOK)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Measured(most, time.perf_counter() - started)


def _with_children(number: int) -> Iterator[int]:
    yield number
    with contextlib.suppress(OSError):  # it has ended
        for task in Path(f"/proc/{number}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _with_children(int(child))


def _own_memory(number: int) -> int:
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{number}/status").read_text()
        for line in status.splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def rows_of(name: str, kind: Kind, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what each size takes, and what the memory in question has room for."""
    found: list[tuple[int, int]] = []
    for size in kind.sizes:
        number = kind.write(folder, size)
        arguments = ["simulate", f"{folder / 'model.net'}", "--data", f"npz:{folder / 'data.npz'}"]
        measured = measure([*arguments, "--json", f"{folder / 'run.json'}", "--overwrite"])
        _check_activity(folder / "run.json")
        expected = None
        if len(found) == 2:
            expected = straight_line(found)(number)
        found.append((number, measured.memory))
        (first, least), (last, most) = found[0], found[-1]
        each = (most - least) / (last - first) if last > first else None
        yield {
            "of": name,
            "number": number,
            "MiB": measured.memory / 2**20,
            "MiB expected": expected and expected / 2**20,
            "bytes each": each,
            f"in {MEMORY >> 30} GiB": each and int((MEMORY - least) / each + first),
            "MiB of data": (folder / "data.npz").stat().st_size / 2**20,
            "seconds": measured.seconds,
        }


def straight_line(points: Sequence[tuple[int, int]]) -> Callable[[int], float]:
    """Return the line through two points."""
    (first, least), (last, most) = points
    return lambda number: least + (most - least) * (number - first) / (last - first)


def _check_activity(path: Path) -> None:
    """Refuse a network that is silent: it would take less."""
    spikes = [layer["spikes"] for layer in json.loads(path.read_text())["layers"][:-1]]
    if not all(spikes):
        raise SystemExit(f"a layer was silent: {spikes}")


@click.command("load")
@click.option("--of", "names", multiple=True, type=click.Choice(list(KINDS)), default=[*KINDS])
@click.option("--share", default=1.0, show_default=True, help="Of the sizes that are measured.")
@json_option
def command(names: tuple[str, ...], share: float, json_path: Path | None) -> None:
    """Measure ``simulate`` on the reference, and say what 20 GiB have room for.

    The files need up to 12 GiB of disk in the folder for temporary files.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            sizes = [int(size * share) for size in KINDS[name].sizes]
            kind = Kind(KINDS[name].write, (sizes[0], sizes[1], sizes[2]))
            rows += list(rows_of(name, kind, Path(folder)))
    finish("load", rows, json_path)


@click.command("larger-than-memory")
@click.option("--samples", default=80_000, show_default=True, help="Of 64 KiB each.")
@click.option("--memory", default=1024, show_default=True, help="MiB that verify may take.")
@json_option
def larger_than_memory(samples: int, memory: int, json_path: Path | None) -> None:
    """Verify a data set that is larger than the memory that there is, on reference and c."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        of_large_samples(folder, samples)
        size = (folder / "data.npz").stat().st_size
        data = ["--data", f"npz:{folder / 'data.npz'}", "--backends", "reference,c"]
        measured = measure(["verify", f"{folder / 'model.net'}", *data], memory << 20)
    row = {
        "samples": samples,
        "MiB of data": size / 2**20,
        "MiB allowed": memory,
        "MiB": measured.memory / 2**20,
        "seconds": measured.seconds,
    }
    finish("larger-than-memory", [row], json_path)


COMMANDS = [command, larger_than_memory]
