"""AEDAT4 files written word by word, as iniVation's documentation describes them.

A file is a line, a header and packets; header and packets are FlatBuffers, each behind its size.
(docs.inivation.com, "AEDAT 4.0".)
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_STREAM = """<node name="{number}" path="/mainloop/Recorder/outInfo/{number}/">
<attr key="compression" type="string">NONE</attr>
<attr key="originalModuleName" type="string">capture</attr>
<attr key="originalOutputName" type="string">events</attr>
<attr key="typeDescription" type="string">Array of events.</attr>
<attr key="typeIdentifier" type="string">{kind}</attr>
<node name="info" path="/mainloop/Recorder/outInfo/{number}/info/">
<attr key="sizeX" type="int">{width}</attr>
<attr key="sizeY" type="int">{height}</attr>
<attr key="source" type="string">DVXplorer</attr>
</node></node>"""


def write_aedat4(
    path: Path,
    events: npt.NDArray[Any],
    sensor_size: tuple[int, int],
    *,
    packets: int = 3,
    kinds: Sequence[str] = ("EVTS",),
) -> None:
    """Write events, structured with x, y, t and p, in uncompressed packets of stream 0."""
    width, height = sensor_size
    streams = "".join(
        _STREAM.format(number=number, kind=kind, width=width, height=height)
        for number, kind in enumerate(kinds)
    )
    info = (
        f'<dv version="2.0"><node name="outInfo" path="/mainloop/Recorder/outInfo/">{streams}'
        f"</node></dv>"
    ).encode()
    content = b"#!AER-DAT4.0\r\n" + _sized(_header(info))
    for part in np.array_split(events, packets) if packets else ():
        packet = _sized(_packet(part))
        content += struct.pack("<ii", 0, len(packet)) + packet
    path.write_bytes(content)


def _sized(buffer: bytes) -> bytes:
    return struct.pack("<I", len(buffer)) + buffer


def _header(info: bytes) -> bytes:
    """Return a table of compression (0, none), place of a table of contents (-1) and a text."""
    vtable = struct.pack("<HHHHH", 10, 20, 4, 8, 16)
    table = struct.pack("<iiqI", 16, 0, -1, 4)
    text = struct.pack("<I", len(info)) + info + b"\0"
    return struct.pack("<I4s", 24, b"IOHE") + vtable + bytes(6) + table + text


def _packet(events: npt.NDArray[Any]) -> bytes:
    """Return a table of one vector of events of 16 bytes."""
    vtable = struct.pack("<HHH", 6, 8, 4)
    table = struct.pack("<iI", 8, 8)
    vector = b"".join(
        struct.pack("<qhhB3x", int(one["t"]), int(one["x"]), int(one["y"]), int(one["p"]))
        for one in events
    )
    count = struct.pack("<I", len(events))
    return struct.pack("<I4s", 16, b"EVTS") + vtable + bytes(2) + table + bytes(4) + count + vector
