"""Prophesee's RAW (EVT2, EVT2.1, EVT3) and DAT files, as their documentation describes the words.

Both begin with lines of text that start with "% ". Behind them, RAW has words of 32, 64 or 16 bits
that carry times, rows and pixels in turn; DAT has 8 bytes for each event. (docs.prophesee.ai, "Data
Encoding Formats" and "File Formats".) Decoded here, since no reader of them that is kept well comes
as a wheel for Python 3.10 to 3.13.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.data.recordings.recording import EventRecording, recording_of
from tandem_hw.errors import DataError

Words = npt.NDArray[np.int64]
Fields = dict[str, npt.NDArray[Any]]

#: The longest text in front of a recording that is looked at.
_HEADER_MAX: Final = 1 << 16
#: Bits of a time that high words carry, and that each event or low word carries.
_EVT2_HIGH, _EVT2_LOW = 28, 6
_EVT3_HIGH, _EVT3_LOW = 12, 12
_ELEVEN: Final = (1 << 11) - 1
#: Pixels that the vectors of EVT3 tell of, by their type.
_VECTORS: Final = {0x4: 12, 0x5: 8}
#: In a DAT file: event types of changes of brightness, bytes of an event, bits of a coordinate.
_DAT_TYPES, _DAT_BYTES, _DAT_BITS = (0x00, 0x0C), 8, 14


def read_raw(path: Path) -> EventRecording:
    """Return the events of a RAW file.

    Args:
        path: the file, in EVT2, EVT2.1 or EVT3.

    Raises:
        DataError: it is damaged, of another format, or does not say its format.
    """
    text, content = _opened(path)
    found = re.search(r"^% format (EVT\d+)|^% evt (\d)\.(\d)", text, re.MULTILINE)
    if found is None:
        raise DataError(f'{path}: does not say its format; a line such as "% evt 3.0" is needed')
    name = found.group(1) or f"EVT{found.group(2)}{found.group(3).replace('0', '')}"
    if name not in _FORMATS:
        raise DataError(f"{path}: is in {name}; read are {', '.join(_FORMATS)}")
    if "endianness=legacy" in text:
        raise DataError(f"{path}: is in the legacy order of bytes; record it anew in {name}")
    width, decode = _FORMATS[name]
    if len(content) % width:
        raise DataError(
            f"{path}: ends within a word of {width} bytes; it is cut short, copy it again"
        )
    return recording_of(decode(np.frombuffer(content, f"<u{width}")), _sensor_size(text), path)


def read_dat(path: Path) -> EventRecording:
    """Return the events of a DAT file.

    Args:
        path: the file, of version 2.

    Raises:
        DataError: it is damaged or of another version.
    """
    text, content = _opened(path)
    version = re.search(r"^% Version (\d+)", text, re.MULTILINE)
    if not text or (version is not None and version.group(1) != "2"):
        shown = "none" if version is None else version.group(1)
        raise DataError(f"{path}: is no DAT file of version 2 (found: {shown})")
    if len(content) < 2 or content[0] not in _DAT_TYPES or content[1] != _DAT_BYTES:
        raise DataError(
            f"{path}: holds events of type and size {list(content[:2])}; changes of brightness "
            f"(type 0 or 12, size {_DAT_BYTES}) are read"
        )
    if (len(content) - 2) % _DAT_BYTES:
        raise DataError(f"{path}: ends within an event; it is cut short, copy it again")
    pairs = np.frombuffer(content, "<u4", offset=2).reshape(-1, 2).astype(np.int64)
    times, words = pairs[:, 0], pairs[:, 1]
    coordinate = (1 << _DAT_BITS) - 1
    fields: Fields = {
        "t": _unwrapped(times, 32),
        "x": words & coordinate,
        "y": (words >> _DAT_BITS) & coordinate,
        "p": words >> 2 * _DAT_BITS,
    }
    return recording_of(fields, _sensor_size(text), path)


def _opened(path: Path) -> tuple[str, bytes]:
    """Return the lines of text of a file, and what is behind them."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    place = 0
    while content.startswith(b"% ", place) and place < _HEADER_MAX:
        end = content.find(b"\n", place)
        if end < 0:
            raise DataError(f"{path}: ends within its header")
        is_last = content[place:end].strip() == b"% end"
        place = end + 1
        if is_last:
            break
    return content[:place].decode("latin-1"), content[place:]


def _sensor_size(text: str) -> tuple[int, int] | None:
    """Return (width, height), where the header says it."""
    found = re.search(r"^% geometry (\d{1,6})x(\d{1,6})", text, re.MULTILINE)
    if found is not None:
        return int(found.group(1)), int(found.group(2))
    sides = [
        re.search(rf"(?:^% |;){side}[ =](\d{{1,6}})", text, re.MULTILINE | re.IGNORECASE)
        for side in ("width", "height")
    ]
    if sides[0] is None or sides[1] is None:
        return None
    return int(sides[0].group(1)), int(sides[1].group(1))


def _unwrapped(times: Words, bits: int) -> Words:
    """Return times of a counter that starts anew after so many bits as ever growing ones."""
    falls = np.diff(times, prepend=times[:1]) < -(1 << (bits - 1))
    return times + (np.cumsum(falls) << bits)


def _last(is_one: npt.NDArray[np.bool_]) -> Words:
    """Return for each place that of the last one up to it, -1 where there is none."""
    places = np.where(is_one, np.arange(len(is_one)), -1)
    return np.maximum.accumulate(places) if len(places) else places


def _high_times(kinds: Words, values: Words, bits: int, low_bits: int) -> tuple[Words, Words]:
    """Return what the high words say of the time at each word, and where the last one is."""
    is_high = kinds == 0x8
    last = _last(is_high)
    highs = np.zeros(len(kinds), np.int64)
    highs[is_high] = _unwrapped(values[is_high], bits)
    return highs[last] << low_bits, last


def _evt2(given: npt.NDArray[Any]) -> Fields:
    """Decode words of 32 bits: type 4, then time 6, x 11 and y 11, or a high time 28."""
    words = given.astype(np.int64)
    kinds = words >> 28
    highs, last = _high_times(kinds, words & ((1 << _EVT2_HIGH) - 1), _EVT2_HIGH, _EVT2_LOW)
    kept = (kinds <= 1) & (last >= 0)
    words = words[kept]
    return {
        "t": highs[kept] | ((words >> 22) & ((1 << _EVT2_LOW) - 1)),
        "x": (words >> 11) & _ELEVEN,
        "y": words & _ELEVEN,
        "p": kinds[kept],
    }


def _evt21(given: npt.NDArray[Any]) -> Fields:
    """Decode words of 64 bits: those of EVT2, and 32 pixels from x on."""
    upper, valid = (given >> np.uint64(32)).astype(np.int64), given.astype(np.uint32)
    kinds = upper >> 28
    highs, last = _high_times(kinds, upper & ((1 << _EVT2_HIGH) - 1), _EVT2_HIGH, _EVT2_LOW)
    kept = (kinds <= 1) & (last >= 0)
    rows, bits = np.nonzero((valid[kept, None] >> np.arange(32, dtype=np.uint32)) & 1)
    words = upper[kept][rows]
    return {
        "t": highs[kept][rows] | ((words >> 22) & ((1 << _EVT2_LOW) - 1)),
        "x": ((words >> 11) & _ELEVEN) + bits,
        "y": words & _ELEVEN,
        "p": kinds[kept][rows],
    }


def _evt3(given: npt.NDArray[Any]) -> Fields:
    """Decode words of 16 bits: type 4, and 12 of a time, a row, a pixel or a vector of pixels."""
    words = given.astype(np.int64)
    kinds, values = words >> 12, words & 0xFFF
    highs, last_high = _high_times(kinds, values, _EVT3_HIGH, _EVT3_LOW)
    last_low, last_row, last_base = (_last(kinds == kind) for kind in (0x6, 0x0, 0x3))
    # A low time belongs to the high one in front of it.
    changes = np.diff(highs, prepend=highs[:1] - 1) != 0
    lows = np.where(last_low > _last(changes & (kinds == 0x8)), values[last_low], 0)
    # Some programs leave the high time out where a low one that falls says as much.
    falls = np.zeros(len(words), np.int64)
    steps = np.flatnonzero(kinds == 0x6)
    is_fall = (np.diff(values[steps]) < 0) & (last_high[steps[1:]] < steps[:-1])
    falls[steps[1:]] = is_fall
    passed = np.cumsum(falls)
    times = highs + lows + ((passed - passed[last_high]) << _EVT3_LOW)
    rows = values[last_row] & _ELEVEN
    is_placed = (last_high >= 0) & (last_row >= 0)
    single = np.flatnonzero((kinds == 0x2) & is_placed)
    found = [(single, values[single] & _ELEVEN, values[single] >> 11)]
    lengths = np.select([kinds == kind for kind in _VECTORS], list(_VECTORS.values()), 0)
    before = np.cumsum(lengths) - lengths
    for kind, length in _VECTORS.items():
        places = np.flatnonzero((kinds == kind) & is_placed & (last_base >= 0))
        vectors, bits = np.nonzero((values[places, None] >> np.arange(length)) & 1)
        places = places[vectors]
        bases = last_base[places]
        x = (values[bases] & _ELEVEN) + before[places] - before[bases] + bits
        found.append((places, x, values[bases] >> 11))
    places, x, p = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(places, kind="stable")
    places = places[order]
    return {"t": times[places], "x": x[order], "y": rows[places], "p": p[order]}


#: Bytes of a word and how words are decoded, by the name of the format.
_FORMATS: Final[dict[str, tuple[int, Callable[[npt.NDArray[Any]], Fields]]]] = {
    "EVT2": (4, _evt2),
    "EVT21": (8, _evt21),
    "EVT3": (2, _evt3),
}
