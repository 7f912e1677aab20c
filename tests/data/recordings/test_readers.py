"""Recordings in the formats of cameras and of arrays, written word by word or by other programs."""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw import read_events
from tandem_hw.data.recordings import event_arrays
from tandem_hw.errors import DataError
from tests.helpers.aedat4_files import write_aedat4

EVENTS = [("t", np.int64), ("y", np.int16), ("x", np.int16), ("p", np.uint8)]
NAMES = ("x", "y", "t", "p")


def made(count: int = 500, span: int = 200_000, seed: int = 0) -> npt.NDArray[Any]:
    random = np.random.default_rng(seed)
    events = np.zeros(count, EVENTS)
    events["t"] = np.sort(random.integers(0, span, count))
    for name, limit in (("x", 300), ("y", 200), ("p", 2)):
        events[name] = random.integers(0, limit, count)
    return events


def rows(count: int = 3000) -> npt.NDArray[Any]:
    """Whole rows of neighbours at one time, which EVT3 writes as vectors."""
    events = np.zeros(count, EVENTS)
    place = np.arange(count)
    events["x"], events["y"] = place % 300, (place // 300) % 200
    events["t"], events["p"] = place // 300 * 4000, place // 300 % 2
    return events


def assert_same(read: npt.NDArray[Any], events: npt.NDArray[Any]) -> None:
    assert len(read) == len(events) > 0
    assert {name: read[name].tolist() for name in NAMES} == {
        name: events[name].tolist() for name in NAMES
    }


# Cameras -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("events", [made(), rows()], ids=["scattered", "rows"])
@pytest.mark.parametrize("encoding", ["dat", "evt2", "evt3"])
def test_files_that_another_program_writes_are_read(
    tmp_path: Path, encoding: str, events: npt.NDArray[Any]
) -> None:
    expelliarmus = pytest.importorskip("expelliarmus")
    path = tmp_path / ("a.dat" if encoding == "dat" else "a.raw")
    expelliarmus.Wizard(encoding=encoding).save(str(path), events)
    read = read_events(path)
    assert_same(read.events, events)
    assert read.sensor_size is None


def header(name: str, *lines: str) -> bytes:
    return "".join(f"% {line}\n" for line in (f"evt {name}", *lines, "end")).encode()


def evt3(kind: int, value: int) -> bytes:
    return struct.pack("<H", kind << 12 | value)


def test_words_of_evt3_are_those_of_the_documentation(tmp_path: Path) -> None:
    words = [
        *(evt3(0x2, 9), evt3(0x8, 1), evt3(0x2, 9)),  # pixels without a time or a row are none
        *(evt3(0x0, 7), evt3(0x6, 5), evt3(0x2, 1 << 11 | 20)),
        *(evt3(0x3, 1 << 11 | 30), evt3(0x4, 0b100000000001), evt3(0x5, 0b11), evt3(0xE, 1)),
        *(evt3(0x8, 2), evt3(0x3, 100), evt3(0x5, 0b10000000), evt3(0xA, 3)),
        *(evt3(0x8, 0xFFF), evt3(0x6, 1), evt3(0x2, 1), evt3(0x8, 0), evt3(0x2, 2)),
    ]
    path = tmp_path / "a.raw"
    path.write_bytes(header("3.0", "geometry 640x480") + b"".join(words))
    read = read_events(path)
    first, second = (1 << 12) + 5, 2 << 12
    assert read.sensor_size == (640, 480)
    assert read.events[["x", "y", "t", "p"]].tolist() == [
        (20, 7, first, 1),
        (30, 7, first, 1),
        (41, 7, first, 1),
        (42, 7, first, 1),
        (43, 7, first, 1),
        (107, 7, second, 0),
        (1, 7, (0xFFF << 12) + 1, 0),
        (2, 7, 1 << 24, 0),
    ]


def test_words_of_evt2_and_evt21_are_those_of_the_documentation(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    event = 1 << 28 | 3 << 22 | 20 << 11 | 7
    path.write_bytes(
        header("2.0", "format EVT2;height=480;width=640")
        + struct.pack(
            "<6I", event, 0x8 << 28 | 5, event, 0xE << 28, 0x8 << 28 | 6, event & ~(15 << 28)
        )
    )
    read = read_events(path)
    assert read.sensor_size == (640, 480)
    assert read.events[["x", "y", "t", "p"]].tolist() == [(20, 7, 323, 1), (20, 7, 387, 0)]
    path.write_bytes(
        b"% format EVT21;width=640;height=480\n% end\n"
        + struct.pack(
            "<3Q", 0x8 << 60 | 5 << 32, event << 32 | 0b101, (event & ~(15 << 28)) << 32 | 1 << 31
        )
    )
    read = read_events(path)
    assert read.sensor_size == (640, 480)
    assert read.events[["x", "y", "t", "p"]].tolist() == [
        *((20, 7, 323, 1), (22, 7, 323, 1), (51, 7, 323, 0)),
    ]


def test_a_dat_file_says_its_sensor_and_its_counter_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.dat"
    words = [(2**32 - 1, 1 << 28 | 7 << 14 | 20), (3, 9 << 14 | 21)]
    content = b"".join(struct.pack("<2I", *pair) for pair in words)
    path.write_bytes(b"% Version 2\n% Width 304\n% Height 240\n" + bytes([0, 8]) + content)
    read = read_events(path)
    assert read.sensor_size == (304, 240)
    assert read.events[["x", "y", "t", "p"]].tolist() == [
        (20, 7, 2**32 - 1, 1),
        (21, 9, 2**32 + 3, 0),
    ]


def test_aedat4_files_say_events_and_sensor(tmp_path: Path) -> None:
    pytest.importorskip("aedat")
    events, path = made(), tmp_path / "a.aedat4"
    write_aedat4(path, events, (346, 260))
    read = read_events(path)
    assert_same(read.events, events)
    assert read.sensor_size == (346, 260)


# Arrays ------------------------------------------------------------------------------------------


def hdf5(path: Path, group: str, names: str, **attributes: Any) -> None:
    events = made()
    with h5py.File(path, "w") as file:
        for name, called in zip(NAMES, names.split(), strict=True):
            file.create_dataset(f"{group}{called}", data=events[name], compression="gzip")
        file.attrs.update(attributes)


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("", "x y t p"),
        ("events/", "x y t p"),
        ("events/", "xs ys ts ps"),
        ("CD/", "x y timestamp polarity"),
    ],
)
def test_hdf5_files_have_events_in_usual_places(tmp_path: Path, group: str, names: str) -> None:
    hdf5(tmp_path / "a.h5", group, names, width=320, height=240)
    read = read_events(tmp_path / "a.h5")
    assert_same(read.events, made())
    assert read.sensor_size == (320, 240)


@pytest.mark.parametrize(
    ("geometry", "size"),
    [
        ("1280x720", (1280, 720)),
        (b"1280x720", (1280, 720)),
        ("1280x0720", None),
        ("0x720", None),
        ("wide", None),
        (1280, None),
    ],
)
def test_hdf5_files_of_metavision_say_their_geometry(
    tmp_path: Path, geometry: Any, size: tuple[int, int] | None
) -> None:
    hdf5(tmp_path / "a.h5", "CD/", "x y t p", geometry=geometry)
    assert read_events(tmp_path / "a.h5").sensor_size == size


def test_hdf5_files_may_have_a_table(tmp_path: Path) -> None:
    for name in ("events", "CD/events"):
        with h5py.File(tmp_path / "a.hdf5", "w") as file:
            file[name] = made()
        read = read_events(tmp_path / "a.hdf5")
        assert_same(read.events, made())
        assert read.sensor_size is None


def seconds(sign: bool = True) -> dict[str, npt.NDArray[Any]]:
    events = made()
    p = events["p"].astype(np.int8)
    return {
        "x": events["x"],
        "y": events["y"],
        "t": events["t"] / 1e6 + 3,
        "p": 2 * p - 1 if sign else p.astype(bool),
    }


@pytest.mark.parametrize("sign", [True, False])
def test_seconds_and_signs_become_microseconds_and_polarities(tmp_path: Path, sign: bool) -> None:
    events = made()
    events["t"] += 3_000_000
    fields = seconds(sign)
    np.savez(tmp_path / "a.npz", **fields, sensor_size=(320, 240))
    read = read_events(tmp_path / "a.npz")
    assert_same(read.events, events)
    assert read.sensor_size == (320, 240)
    table = np.stack([fields[name].astype(float) for name in ("t", "x", "y", "p")], axis=1)
    np.save(tmp_path / "a.npy", table)
    assert_same(read_events(tmp_path / "a.npy", columns="txyp").events, events)
    np.save(tmp_path / "a.npy", events)
    assert_same(read_events(tmp_path / "a.npy").events, events)


# What is refused ---------------------------------------------------------------------------------


def raw(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_bytes(content)


def saved(name: str, array: Any) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, array)


def no_events(folder: Path) -> None:
    write_aedat4(folder / "a.aedat4", made(3), (3, 4), packets=0, kinds=("FRME",))


def two_cameras(folder: Path) -> None:
    write_aedat4(folder / "a.aedat4", made(3), (3, 4), kinds=("EVTS", "EVTS"))


def cut_aedat4(folder: Path) -> None:
    write_aedat4(folder / "a.aedat4", made(30), (3, 4))
    (folder / "a.aedat4").write_bytes((folder / "a.aedat4").read_bytes()[:-9])


def wrong_aedat4(folder: Path) -> None:
    """Damage at which the decoder aborts its process."""
    write_aedat4(folder / "a.aedat4", made(30), (3, 4))
    content = bytearray((folder / "a.aedat4").read_bytes())
    place = content.index(b"EVTS", content.index(b"</dv>")) - 4
    content[place : place + 4] = b"\xff\xff\xff\x7f"
    (folder / "a.aedat4").write_bytes(content)


def other_hdf5(folder: Path) -> None:
    with h5py.File(folder / "a.h5", "w") as file:
        file["images"] = np.zeros(3)


def linked_hdf5(folder: Path) -> None:
    hdf5(folder / "other.h5", "events/", "x y t p")
    with h5py.File(folder / "a.h5", "w") as file:
        file["events"] = h5py.ExternalLink("other.h5", "events")


def virtual_hdf5(folder: Path) -> None:
    hdf5(folder / "other.h5", "", "x y t p")
    layout = h5py.VirtualLayout(shape=(500,), dtype=np.int64)
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "t", shape=(500,))
    with h5py.File(folder / "a.h5", "w") as file:
        for name in NAMES:
            file.create_virtual_dataset(name, layout)


def flat_hdf5(folder: Path) -> None:
    with h5py.File(folder / "a.h5", "w") as file:
        for name in NAMES:
            file[name] = np.zeros((2, 2))


def unlike_hdf5(folder: Path) -> None:
    with h5py.File(folder / "a.h5", "w") as file:
        for length, name in enumerate(NAMES):
            file[name] = np.zeros(2 + length, int)


def huge_hdf5(folder: Path) -> None:
    with h5py.File(folder / "a.h5", "w") as file:
        for name in NAMES:
            file.create_dataset(name, (1 << 40,), np.int64, chunks=(1 << 20,))


def part_hdf5(folder: Path) -> None:
    with h5py.File(folder / "a.h5", "w") as file:
        file["x"] = file["t"] = np.zeros(3, int)


def npz_of(**arrays: Any) -> Callable[[Path], None]:
    return lambda folder: np.savez(folder / "a.npz", **arrays)


DAT = b"% Version 2\n"
FILES: list[tuple[str, Callable[[Path], Any], str]] = [
    ("a.raw", raw("a.raw", b""), 'does not say its format; a line such as "% evt 3.0"'),
    ("a.raw", raw("a.raw", b"\x93garbage"), "does not say its format"),
    ("a.raw", raw("a.raw", b"% evt 3.0"), "ends within its header"),
    ("a.raw", raw("a.raw", header("4.0")), "is in EVT4; read are EVT2, EVT21, EVT3"),
    ("a.raw", raw("a.raw", header("3.0") + b"123"), "ends within a word of 2 bytes"),
    ("a.raw", raw("a.raw", header("2.1", "endianness=legacy")), "legacy order of bytes"),
    ("a.dat", raw("a.dat", b"nothing"), "is no DAT file of version 2 (found: none)"),
    ("a.dat", raw("a.dat", b"% Version 1\n"), "is no DAT file of version 2 (found: 1)"),
    ("a.dat", raw("a.dat", DAT + bytes([14, 8])), "holds events of type and size [14, 8]"),
    ("a.dat", raw("a.dat", DAT + bytes([0, 8, 1])), "ends within an event"),
    ("a.aedat4", raw("a.aedat4", b"nothing"), "cannot be read as AEDAT4"),
    ("a.aedat4", cut_aedat4, "cannot be read as AEDAT4"),
    ("a.aedat4", wrong_aedat4, "it is damaged, copy it again"),
    ("a.aedat4", no_events, "has 0 streams of events"),
    ("a.aedat4", two_cameras, "has 2 streams of events"),
    ("a.h5", raw("a.h5", b"nothing"), "cannot be read as HDF5"),
    ("a.h5", other_hdf5, "holds ['images']; datasets x, y, t and p are needed"),
    ("a.h5", linked_hdf5, "holds ['events']; datasets x, y, t and p are needed"),
    ("a.h5", virtual_hdf5, "/x lies in another file"),
    ("a.h5", flat_hdf5, "/x is float64 (2, 2); numbers, one for each"),
    ("a.h5", unlike_hdf5, "x is int64 (2,); whole numbers, one for each of 4 events"),
    ("a.h5", huge_hdf5, "/x asks for 8796093022208 bytes"),
    ("a.h5", part_hdf5, "has the fields ['t', 'x']; one of y, ys is needed"),
    ("a.npy", raw("a.npy", b"nothing"), "a.npy: cannot be read"),
    ("a.npy", saved("a.npy", np.zeros((3, 5))), "is float64 (3, 5); a structured array"),
    ("a.npy", saved("a.npy", np.zeros((3, 4))), "say which is which, for instance fields=txyp"),
    ("a.npy", saved("a.npy", np.array([None])), "plain values are needed"),
    (
        "a.npz",
        npz_of(x=[1, 1], y=[1, 1], t=[1.0, np.nan], p=[1, 1]),
        "t holds float64 that are not finite",
    ),
    ("a.npz", npz_of(x=[0.5], y=[1], t=[1], p=[1]), "x is float64 (1,); whole numbers"),
    ("a.npz", npz_of(x=[1], y=[1], t=1, p=[1]), "t has shape (); give one time for each event"),
    ("a.npz", npz_of(x=[1], y=[1], t=[1], p=[1], sensor_size=3), "sensor_size is int64 ()"),
    ("a.bin", raw("a.bin", b""), "is no recording by its name; read are files that end in .aedat4"),
    ("b.raw", raw("a.raw", b"x"), "b.raw: there is no such file"),
    (".", raw("a.raw", b"x"), "is not an ordinary file"),
]


@pytest.mark.parametrize(("name", "prepare", "message"), FILES)
def test_files_that_cannot_be_read_are_named(
    tmp_path: Path, name: str, prepare: Callable[[Path], Any], message: str
) -> None:
    if name.endswith("aedat4"):
        pytest.importorskip("aedat")
    prepare(tmp_path)
    with pytest.raises(DataError, match=re.escape(message)):
        read_events(tmp_path / name)


def test_a_plug_in_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hdf5(tmp_path / "a.h5", "events/", "x y t p")
    monkeypatch.setattr(event_arrays, "_FILTERS", frozenset())
    with pytest.raises(DataError, match=r"/events/x is compressed by a plug-in \(filter 1\)"):
        read_events(tmp_path / "a.h5")


def test_aedat_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aedat", None)
    (tmp_path / "a.aedat4").write_bytes(b"x")
    with pytest.raises(DataError, match=r"need aedat, .*pip install '\.\[events\]'"):
        read_events(tmp_path / "a.aedat4")


@pytest.mark.parametrize("odd", [-(2**63), 2**63 - 1, 2**62 + 1, np.uint64(2**63 + 5)])
def test_times_whose_differences_are_none_are_refused(tmp_path: Path, odd: Any) -> None:
    events = made(9)
    times = events["t"].astype(np.asarray(odd).dtype)
    times[-1] = odd
    arrays = {name: events[name] for name in ("x", "y", "p")}
    np.savez(tmp_path / "a.npz", t=times, **arrays)
    with pytest.raises(DataError, match=r"allowed are times up to 2\^62 either way"):
        read_events(tmp_path / "a.npz")
