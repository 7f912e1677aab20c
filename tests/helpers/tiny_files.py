"""Files of some kilobytes that ask for gigabytes, or would never come to an end."""

from __future__ import annotations

import copy
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from tandem_hw.conformance.layers import conv2d_layer, network_of
from tandem_hw.conversion.convert import convert
from tandem_hw.export.net_file import write_net
from tandem_hw.export.nir_writer import write_nir
from tandem_hw.learning.checkpoint import Checkpoint, save_checkpoint
from tandem_hw.network.quantized import InputSpec

Content = dict[str, Any]
#: Sizes of a heap's object: the library goes round for ever with the first.
HEAP_SIZES = [2**64 - 16, 2**64 - 32, 2**63, 1 << 40, 4081, 0]


def checkpoint_content(folder: Path) -> Content:
    """Return what is in a checkpoint of a network 8-6-3."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    save_checkpoint(
        Checkpoint(convert(network, input_shape=(8,), num_steps=4)), folder / "plain.pt"
    )
    content: Content = torch.load(folder / "plain.pt", weights_only=True)
    return content


def _wide(content: Content) -> None:
    content["architecture"]["layers"][1]["out"] = 16_000_000


def _deep(content: Content) -> None:
    first, last = content["architecture"]["layers"]
    middle = {**first, "out": 6}
    content["architecture"]["layers"] = [first, *[middle] * 30_000, last]


def _not_stored(content: Content) -> None:
    _wide(content)
    content["parameters"]["layers.1.weight"] = torch.zeros(1).expand(16_000_000, 6)
    content["parameters"]["layers.1.bias"] = torch.zeros(1).expand(16_000_000)


def _nested(content: Content) -> None:
    first, last = content["architecture"]["layers"]
    for _ in range(40):
        first = {**first, "skips": [first, first]}
    content["architecture"]["layers"] = [first, last]


def _folded(content: Content) -> None:
    architecture, parameters = content["architecture"], content["parameters"]
    architecture["input"]["shape"] = (8, 100_000, 100_000)
    architecture["layers"] = [{**architecture["layers"][1], "pool": (100_000, 100_000)}]
    last = "layers.1."
    content["parameters"] = {
        f"layers.0.{name.removeprefix(last)}": value
        for name, value in parameters.items()
        if name.startswith(last)
    } | {"layers.0.weight": torch.zeros(3, 8)}


CHECKPOINTS: dict[str, tuple[Callable[[Content], None], str]] = {
    "wide": (_wide, r"layers\.1\.weight is \(3, 6\); \(16000000, 6\) is needed"),
    "deep": (_deep, "30002 layers and skips; 1024 are allowed"),
    "not_stored": (_not_stored, "is damaged or not a checkpoint"),
    "nested": (_nested, "a skip has skips of its own"),
    "folded": (_folded, "the pooling before it makes 240000000000 weights"),
}


def write_checkpoints(folder: Path) -> dict[str, str]:
    """Write checkpoints of ``CHECKPOINTS``; return by file the message that refuses it."""
    content = checkpoint_content(folder)
    for name, (change, _) in CHECKPOINTS.items():
        changed = copy.deepcopy(content)
        changed["architecture"]["layers"] = list(changed["architecture"]["layers"])
        change(changed)
        torch.save(changed, folder / f"{name}.pt")
    return {f"{name}.pt": message for name, (_, message) in CHECKPOINTS.items()}


# NIR ----------------------------------------------------------------------------------------------


def write_foreign(path: Path, edit: Callable[[h5py.File], None] | None = None) -> Path:
    """Write a graph of another program: 5 inputs, a matrix and 3 neurons."""
    import nir

    nodes = {
        "in": nir.Input(np.array([5])),
        "w": nir.Affine(np.arange(15, dtype=np.float32).reshape(3, 5), np.zeros(3, np.float32)),
        "n": nir.IF(np.ones(3), np.ones(3)),
        "out": nir.Output(np.array([3])),
    }
    nir.write(path, nir.NIRGraph(nodes, [("in", "w"), ("w", "n"), ("n", "out")]))
    if edit is not None:
        with h5py.File(path, "r+") as file:
            edit(file)
    return path


def put_weight(shape: tuple[int, ...], **options: Any) -> Callable[[h5py.File], None]:
    """Return an edit that stores other weights; none are written unless ``fill`` is given."""
    fill = options.pop("fill", None)
    dtype = options.pop("dtype", "i1")

    def edit(file: h5py.File) -> None:
        del file["node/nodes/w/weight"]
        dataset = file["node/nodes/w"].create_dataset("weight", shape, dtype, **options)
        if fill is not None:
            dataset[...] = fill

    return edit


def _many_texts(file: h5py.File) -> None:
    del file["node/edges"]
    shape, chunks = (20_000_000, 2), (1 << 20, 2)
    file["node"].create_dataset("edges", shape, h5py.string_dtype(), chunks=chunks, compression=9)


def _pooling(window: int, padding: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import nir

        pair = (np.array([value] * 2) for value in (2, 2, 0))
        nodes = {
            "in": nir.Input(np.array([2, 8, 8])),
            "p": nir.SumPool2d(*pair),
            "n": nir.IF(np.ones((2, 4, 4)), np.ones((2, 4, 4))),
            "out": nir.Output(np.array([2, 4, 4])),
        }
        nir.write(path, nir.NIRGraph(nodes, [("in", "p"), ("p", "n"), ("n", "out")]))
        with h5py.File(path, "r+") as file:
            file["node/nodes/p/kernel_size"][...] = window
            file["node/nodes/p/padding"][...] = padding

    return write


def damage_heap(path: Path, size: int) -> None:
    """Give the first text of variable length another size."""
    content = bytearray(path.read_bytes())
    place = content.index(b"GCOL") + 24
    content[place : place + 8] = struct.pack("<Q", size)
    path.write_bytes(content)


def _damaged(path: Path) -> None:
    damage_heap(write_foreign(path), HEAP_SIZES[0])


def _grouped(path: Path) -> None:
    """Write a convolution of 20 000 groups whose file says that the zeros between are in it."""
    channels, spec = 20_000, InputSpec((20_000, 2, 2), 1, 1.0, "constant")
    weight, bias = np.full((channels, 1, 1, 1), 2), np.zeros(channels, int)
    conv = conv2d_layer("conv", weight, 8, bias, 2, spec.shape, groups=channels)
    write_nir(network_of(spec, (conv,), 4, "zero", "count"), path, tandem_only=True)
    with h5py.File(path, "r+") as file:
        file["node/metadata/tandem_only"][...] = 0


NIR_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "bytes": (
        lambda path: write_foreign(
            path, put_weight((8, 1 << 23), fill=0, chunks=(8, 1 << 20), compression=9)
        ),
        "a file may hold 1 to 67108864 values",
    ),
    "compressed": (
        lambda path: write_foreign(
            path, put_weight((3, 13 << 20), fill=0, chunks=(3, 1 << 20), compression=9)
        ),
        "becomes too large; write it without compression",
    ),
    "nothing stored": (
        lambda path: write_foreign(path, put_weight((3, 1 << 22), dtype="f4", chunks=(3, 1 << 20))),
        "asks for 50331648 bytes, which the 0 bytes",
    ),
    "chunk": (
        lambda path: write_foreign(
            path,
            put_weight((3, 5), fill=1, maxshape=(None, None), chunks=(9000, 9000), compression=9),
        ),
        "becomes too large; write it without compression",
    ),
    "texts": (lambda path: write_foreign(path, _many_texts), "which the 0 bytes that the file has"),
    "window": (_pooling(40_000, 0), "its windows become 1600000000 weights; at most 16777216"),
    "padding": (_pooling(2, 10**7), "node n is made for 32 neurons"),
    "heap": (_damaged, "the heap of its texts is damaged"),
    "groups": (_grouped, "the nodes hold fewer numbers than the network has"),
}


# Arrays -------------------------------------------------------------------------------------------


def write_zip_bomb(path: Path, mebibytes: int) -> None:
    """Write a data set whose x_test is so large when it is unpacked, and a thousandth here."""
    header = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": (mebibytes, 1 << 20)}
    np.lib.format.write_array_header_1_0(header, fields)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(header.getvalue()) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = start + zeros * mebibytes + packer.flush()
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x_train", "y_train", "y_test"):
            array = io.BytesIO()
            np.save(array, np.arange(4))
            archive.writestr(f"{name}.npy", array.getvalue())
        archive.writestr("x_test.npy", packed)
    # As it was written, the record passes for one that is not compressed.
    content, size = bytearray(path.read_bytes()), len(header.getvalue()) + (mebibytes << 20)
    local, central = content.index(b"x_test.npy") - 30, content.rindex(b"x_test.npy") - 46
    for method, length in ((local + 8, local + 22), (central + 10, central + 24)):
        content[method : method + 2] = struct.pack("<H", zipfile.ZIP_DEFLATED)
        content[length : length + 4] = struct.pack("<I", size)
    path.write_bytes(content)


def write_wide_sensor(path: Path) -> None:
    """Write four events of a sensor of 5000 x 5000."""
    events = np.zeros(4, [(name, np.int64) for name in ("sample", "x", "y", "t", "p")])
    size = np.array([5000, 5000, 2])
    np.savez(path, events_test=events, y_test=np.arange(6) % 3, sensor_size=size)


# Networks -----------------------------------------------------------------------------------------


def write_wide_net(path: Path) -> None:
    """Write a valid network of 268 million neurons."""
    spec = InputSpec((1, 1, 1), 1, 1.0, "constant")
    wide = conv2d_layer(
        "wide", np.full((1, 1, 1, 1), 2), 8, [0], 2, spec.shape, padding=(8191, 8191)
    )
    step = (16383, 16383)
    last = conv2d_layer("last", np.full((1, 1, 1, 1), 2), 8, [0], 2, wide.output_shape, stride=step)
    write_net(network_of(spec, (wide, last), 4, "zero", "count"), path)
