"""AEDAT4, which the cameras of iniVation write, through the decoder of ``aedat``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tandem_hw.data.recordings.recording import EventRecording, recording_of
from tandem_hw.errors import DataError, how_to_install


def read_aedat4(path: Path) -> EventRecording:
    """Return the events of a file, which has one stream of them.

    Args:
        path: an AEDAT4 file.

    Raises:
        DataError: ``aedat`` is missing, or the file is damaged or is not of one camera.
    """
    try:
        import aedat
    except ImportError as error:
        raise DataError(
            f"{path}: AEDAT4 files need aedat, which cannot be imported ({error}); "
            f"{how_to_install('events')}"
        ) from error
    try:
        decoder = aedat.Decoder(path)
        streams = {
            number: stream
            for number, stream in decoder.id_to_stream().items()
            if stream.get("type") == "events"
        }
        packets = [packet["events"] for packet in decoder if packet.get("stream_id") in streams]
    except Exception as error:  # of whatever class, from damaged files
        raise DataError(f"{path}: cannot be read as AEDAT4 ({error})") from error
    if len(streams) != 1:
        raise DataError(
            f"{path}: has {len(streams)} streams of events; a recording of one camera is needed"
        )
    (stream,) = streams.values()
    fields: dict[str, Any] = {
        name: np.concatenate([packet[source] for packet in packets])
        if packets
        else np.zeros(0, int)
        for name, source in (("x", "x"), ("y", "y"), ("t", "t"), ("p", "on"))
    }
    return recording_of(fields, (int(stream["width"]), int(stream["height"])), path)
