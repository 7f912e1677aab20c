"""What runs in a process of its own to read one AEDAT4 file: ``aedat`` ends it at damaged ones.

A program by itself, which imports nothing of tandem-hw: python -I aedat4_worker.py FILE OUT
"""

from __future__ import annotations

import sys

import aedat
import numpy as np


def main(path: str, out: str) -> None:
    """Write the events of a file, and what its streams of events are, to an npz file.

    Args:
        path: an AEDAT4 file.
        out: where to; x, y, t, p and, for each stream of events, its (width, height).
    """
    decoder = aedat.Decoder(path)
    streams = {
        number: (stream["width"], stream["height"])
        for number, stream in decoder.id_to_stream().items()
        if stream["type"] == "events"
    }
    packets = [packet["events"] for packet in decoder if packet["stream_id"] in streams]
    arrays = {
        name: np.concatenate([packet[field] for packet in packets]) if packets else np.zeros(0, int)
        for name, field in (("x", "x"), ("y", "y"), ("t", "t"), ("p", "on"))
    }
    sizes = np.array(list(streams.values()), np.int64).reshape(-1, 2)
    np.savez(out, sizes=sizes, **arrays)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(str(error))
