from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem_hw.data.dataset import Dataset
from tandem_hw.data.datasets import load_dataset
from tandem_hw.data.event_data import (
    BinnedEvents,
    EventDataset,
    bin_events,
    event_dataset,
)
from tandem_hw.errors import DataError
from tandem_hw.network.quantized import InputSpec
from tests.helpers.command_line import run

FIELDS = ("x", "y", "t", "p")
WIDTH, HEIGHT = 5, 4


class Recorded:
    """A data set as tonic's are: events and a label by index."""

    def __init__(
        self,
        recordings: Sequence[Sequence[tuple[int, ...]]],
        labels: Sequence[int] | None = None,
        sensor_size: Any = (WIDTH, HEIGHT, 2),
        fields: Sequence[str] = FIELDS,
        types: Any = np.int64,
    ) -> None:
        self.dtype = np.dtype([(name, types) for name in fields])
        self.recordings = [np.array(list(events), self.dtype) for events in recordings]
        self.labels = list(range(len(recordings))) if labels is None else labels
        self.sensor_size = sensor_size

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.recordings[index], self.labels[index]


def made_events(random: np.random.Generator, many: int) -> list[tuple[int, ...]]:
    return [
        tuple(int(random.integers(0, limit)) for limit in (WIDTH, HEIGHT, 1000, 2))
        for _ in range(many)
    ]


@pytest.fixture
def tonic() -> Any:
    return pytest.importorskip("tonic")


# Binning -----------------------------------------------------------------------------------------


def counted(events: list[tuple[int, ...]], num_steps: int) -> npt.NDArray[np.int64]:
    """Count events one at a time, by the definition."""
    counts = np.zeros((num_steps, 2, HEIGHT, WIDTH), np.int64)
    times = [t for _, _, t, _ in events]
    for x, y, t, p in events:
        length = (max(times) - min(times)) // num_steps + 1
        counts[(t - min(times)) // length, p, y, x] += 1
    return counts


@given(
    recordings=st.lists(
        st.lists(
            st.tuples(
                st.integers(0, WIDTH - 1),
                st.integers(0, HEIGHT - 1),
                st.integers(-(2**50), 2**50) | st.integers(0, 30),
                st.integers(0, 1),
            ),
            max_size=40,
        ),
        min_size=1,
        max_size=3,
    ),
    num_steps=st.integers(1, 12),
    input_bits=st.integers(1, 8),
)
@settings(deadline=None, max_examples=60)
def test_every_event_is_in_the_one_bin_that_the_definition_says(
    recordings: list[list[tuple[int, ...]]], num_steps: int, input_bits: int
) -> None:
    pytest.importorskip("tonic")
    binned = bin_events(Recorded(recordings), num_steps=num_steps, input_bits=input_bits)
    expected = np.array([counted(events, num_steps) for events in recordings])
    assert expected.sum() == sum(map(len, recordings))
    largest = 2**input_bits - 1
    assert np.array_equal(binned.counts, np.minimum(expected, largest))
    assert binned.counts.dtype == np.uint8
    assert binned.clipped == np.maximum(expected - largest, 0).sum()
    assert binned.labels.tolist() == list(range(len(recordings)))


@pytest.mark.parametrize("types", [np.int16, np.uint16, np.uint64])
def test_integers_of_every_kind_give_the_same_counts(tonic: Any, types: Any) -> None:
    recordings = [made_events(np.random.default_rng(1), 200) for _ in range(3)]
    expected = np.array([counted(events, 6) for events in recordings])
    source = Recorded(recordings, types=types)
    before = [events.copy() for events in source.recordings]
    assert np.array_equal(bin_events(source, num_steps=6, input_bits=8).counts, expected)
    assert all(map(np.array_equal, source.recordings, before))


def test_events_on_a_line_have_units_and_a_single_polarity_has_no_axis(tonic: Any) -> None:
    events = [(0, 0, 1), (3, 10, 1), (3, 19, 1), (6, 39, 1)]
    line = Recorded([events], sensor_size=(7, 1, 1), fields=("x", "t", "p"))
    binned = bin_events(line, num_steps=2, input_bits=4)
    assert binned.counts.tolist() == [[[1, 0, 0, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1]]]
    two = Recorded([events], sensor_size=(7, 1, 2), fields=("x", "t", "p"))
    binned = bin_events(two, num_steps=2, input_bits=4)
    assert binned.counts.shape == (1, 2, 2, 7)
    assert binned.counts[:, :, 1].sum() == 4
    assert line.recordings[0]["p"].tolist() == [1, 1, 1, 1]  # tonic would set them to 0


def test_silence_is_a_recording_without_counts(tonic: Any) -> None:
    binned = bin_events(Recorded([[], [(1, 2, 5, 0)]]), num_steps=3, input_bits=4)
    assert binned.counts.sum((1, 2, 3, 4)).tolist() == [0, 1]


def test_a_transform_of_tonic_augments_and_resizes(tonic: Any) -> None:
    source = Recorded([made_events(np.random.default_rng(0), 100)], labels=[3])
    flip = tonic.transforms.RandomFlipLR(sensor_size=source.sensor_size, p=1)
    keywords: dict[str, Any] = {"num_steps": 4, "input_bits": 8}
    plain = bin_events(source, **keywords)
    flipped = bin_events(source, **keywords, transform=flip)
    assert plain.counts.sum() == 100
    assert np.array_equal(flipped.counts, plain.counts[..., ::-1])
    half = tonic.transforms.Downsample(spatial_factor=0.5)
    small = bin_events(source, **keywords, transform=half, sensor_size=(3, 2, 2))
    assert small.counts.shape == (1, 4, 2, 2, 3)
    assert np.array_equal(small.counts[..., 0, 0], plain.counts[..., :2, :2].sum((-1, -2)))


def test_copies_are_augmented_anew(tonic: Any) -> None:
    recordings = [made_events(np.random.default_rng(seed), 100) for seed in (0, 1)]
    np.random.seed(0)
    binned = bin_events(
        Recorded(recordings, labels=[4, 2]),
        num_steps=3,
        input_bits=8,
        transform=tonic.transforms.DropEvent(p=0.5),
        copies=3,
    )
    assert binned.labels.tolist() == [4, 2, 4, 2, 4, 2]
    assert len(np.unique(binned.counts[::2], axis=0)) == 3
    assert binned.counts.sum((1, 2, 3, 4)).tolist() == [50] * 6


PLAIN = [[(0, 0, 0, 0), (4, 3, 9, 1)]]
BAD_RECORDINGS: dict[str, tuple[Recorded, dict[str, Any], str]] = {
    "no sensor": (Recorded(PLAIN, sensor_size=None), {}, "Recorded: has no sensor_size; give"),
    "two numbers": (Recorded(PLAIN, sensor_size=(5, 4)), {}, r"sensor_size is \(5, 4\); three"),
    "no polarity": (Recorded(PLAIN, sensor_size=(5, 4, 0)), {}, r"sensor_size is \(5, 4, 0\); all"),
    "huge": (Recorded(PLAIN, sensor_size=(1 << 20, 1 << 20, 2)), {}, "pixels and polarities at"),
    "empty": (Recorded([]), {}, "Recorded: there are no recordings"),
    "no steps": (Recorded(PLAIN), {"num_steps": 0}, "num_steps is 0; allowed are 1 to 4096"),
    "no bits": (Recorded(PLAIN), {"input_bits": 0}, "input_bits is 0; allowed are 1 to 8"),
    "no copies": (Recorded(PLAIN), {"copies": 0}, "copies is 0; give 1 or more"),
    "x": (Recorded([[(5, 0, 0, 0)]]), {}, "recording 0: x spans 5 to 5; allowed are 0 to 4"),
    "negative": (Recorded([[(0, -1, 0, 0)]]), {}, "recording 0: y spans -1 to -1; allowed"),
    "p": (Recorded([[(0, 0, 0, 2)]]), {}, "recording 0: p spans 2 to 2; allowed are 0 to 1"),
    "two p": (
        Recorded(PLAIN, sensor_size=(5, 4, 1)),
        {},
        "recording 0: p spans 0 to 1; allowed are 0 to 0",
    ),
    "floats": (Recorded(PLAIN, types=np.float64), {}, "recording 0: x is float64; whole numbers"),
    "no field": (Recorded([[(0, 0, 0)]], fields=("x", "y", "t")), {}, "recording 0: is ndarray wi"),
    "no y": (
        Recorded([[(0, 0, 0)]], fields=("x", "t", "p")),
        {},
        "recording 0: has no field y, and the sensor's height is 4, not 1",
    ),
    "labels": (Recorded(PLAIN, labels=[-1]), {}, "Recorded: labels spans -1 to -1"),
    "text": (Recorded(PLAIN, labels=["a"]), {}, "Recorded: labels is <U1; integer"),  # type: ignore[list-item]
    "failing": (
        Recorded(PLAIN),
        {"transform": lambda events: events["q"]},
        "recording 0: cannot be read or transformed .*no field of name q",
    ),
    "frames": (
        Recorded(PLAIN),
        {"transform": lambda events: np.zeros((3, 2, 4, 5))},
        r"recording 0: is ndarray with fields \(\); a structured array",
    ),
}


@pytest.mark.parametrize("case", BAD_RECORDINGS)
def test_recordings_that_do_not_fit_are_refused(tonic: Any, case: str) -> None:
    source, changes, message = BAD_RECORDINGS[case]
    keywords: dict[str, Any] = {"num_steps": 3, "input_bits": 4} | changes
    with pytest.raises(DataError, match=message):
        bin_events(source, **keywords)


def test_a_hot_pixel_is_clipped_as_any_other() -> None:
    binned = bin_events(Recorded([[(0, 0, 0, 0)] * 40000]), num_steps=3, input_bits=4)
    assert (int(binned.counts.sum()), binned.clipped) == (15, 40000 - 15)


def test_counts_are_those_of_tonic(tonic: Any) -> None:
    events = Recorded([made_events(np.random.default_rng(7), 300)])
    first = events.recordings[0]["t"].min()
    width = int(events.recordings[0]["t"].max() - first) // 5 + 1
    frames = tonic.transforms.ToFrame(
        sensor_size=events.sensor_size,
        time_window=width,
        start_time=first,
        end_time=first + 5 * width,
    )(np.sort(events.recordings[0], order="t"))
    binned = bin_events(events, num_steps=5, input_bits=8)
    assert np.array_equal(binned.counts[0], frames)


SECONDS = [("x", int), ("y", int), ("t", float), ("p", int)]


def seconds(times: list[float], polarities: list[int]) -> Any:
    events = np.zeros(len(times), SECONDS)
    events["t"], events["p"] = times, polarities
    return events


def test_seconds_become_microseconds_and_signs_polarities() -> None:
    events = seconds([1.5, 1.500001, 1.500002, 1.500003], [-1, 1, 1, -1])
    binned = bin_events([(events, 0)], num_steps=2, input_bits=4, sensor_size=(1, 1, 2))
    assert binned.counts[0, :, :, 0, 0].tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("times", "signs", "message"),
    [
        ([1.0, 2.0], [0, 1], "holds whole numbers only, so it is not clear whether they are sec"),
        ([0.5, np.nan], [0, 1], "t holds float64 that are not finite"),
        ([0.5, 1e300], [0, 1], "t holds float64 that are not finite or beyond 1e"),
        ([0.5, 0.6, 0.7], [-1, 0, 1], "p holds -1 and 0; give polarities -1 and 1"),
    ],
)
def test_times_and_polarities_that_may_mean_two_things_are_refused(
    times: list[float], signs: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        bin_events([(seconds(times, signs), 0)], num_steps=2, input_bits=4, sensor_size=(1, 1, 2))


def windowed(times: list[int], window: Any, stride: Any = None, steps: int = 2) -> BinnedEvents:
    events = [(0, 0, t, 0) for t in times]
    return bin_events(
        Recorded([events, [(0, 0, 3, 1)]], labels=[4, 2]),
        num_steps=steps,
        input_bits=8,
        window=window,
        stride=stride,
    )


def test_windows_slide_over_recordings() -> None:
    binned = windowed([100, 101, 105, 110, 119, 120], 10)
    # 100 to 109 and 110 to 119; 120 begins a window that ends behind the recording.
    assert binned.counts[:2, :, 0, 0, 0].tolist() == [[2, 1], [1, 1]]
    assert binned.labels.tolist() == [4, 4, 2]
    assert binned.counts[2, 0, 1, 0, 0] == 1
    sliding = windowed([100, 101, 105, 110, 119, 120], 10, 5)
    assert sliding.counts[:, :, 0, 0, 0].tolist()[:3] == [[2, 1], [1, 1], [1, 1]]
    assert sliding.labels.tolist() == [4, 4, 4, 2]
    odd = windowed([0, 1, 2, 3, 4, 5, 6], 7, steps=3)  # bins of 3, 3 and 1
    assert odd.counts[0, :, 0, 0, 0].tolist() == [3, 3, 1]


@pytest.mark.parametrize(
    ("window", "stride", "message"),
    [
        (0, None, "window is 0; give a whole number from 1"),
        (0.1, None, "window is 0.1; give a whole number from 1, in the recordings' unit"),
        (10, -1, "stride is -1"),
        (None, True, "window is True"),
        (1, 1, "2 events over 1000000 units of time would be 1000001 windows of 1"),
    ],
)
def test_windows_that_make_no_sense_are_refused(window: Any, stride: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        windowed([0, 1_000_000], window, stride)


def test_a_missing_tonic_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tonic", None)
    message = r"need tonic, .*pip install '\.\[events\]'"
    assert bin_events(Recorded(PLAIN), num_steps=3, input_bits=4).counts.sum() == 2
    for name in ("nmnist", "dvs-gesture", "cifar10-dvs", "shd"):
        with pytest.raises(DataError, match=message):
            load_dataset(name, num_steps=3, input_bits=4)


def test_a_reader_that_a_data_set_lacks_is_named(tonic: Any) -> None:
    class NoReader(Recorded):
        def __getitem__(self, index: int) -> tuple[Any, int]:
            raise ModuleNotFoundError("No module named 'aedat'")

    with pytest.raises(DataError, match=r"recording 0: .*'aedat'.*pip install '\.\[events\]'"):
        bin_events(NoReader(PLAIN), num_steps=3, input_bits=4)


# Data sets by name -------------------------------------------------------------------------------


class Downloaded(Recorded):
    """A data set as tonic names them, with files in the order of some folder's listing."""

    sensor_size = (WIDTH, HEIGHT, 2)
    made: ClassVar[list[tuple[str, bool]]] = []
    samples: ClassVar[int] = 6

    def __init__(self, save_to: str, train: bool = True) -> None:
        print("Downloading")
        self.made.append((save_to, train))
        random = np.random.default_rng(int(train))
        labels = [index % 3 for index in range(self.samples)]
        super().__init__([made_events(random, 50) for _ in labels], labels)
        self.data = [f"{9 - index}.bin" for index in range(self.samples)]
        self.targets = labels


class Unsplit(Downloaded):
    samples: ClassVar[int] = 60

    def __init__(self, save_to: str) -> None:
        super().__init__(save_to)
        self.data = [f"{index:02}.aedat4" for index in range(self.samples)]


@pytest.mark.parametrize(
    ("name", "class_name", "classes"),
    [("nmnist", "NMNIST", 10), ("dvs-gesture", "DVSGesture", 11), ("shd", "SHD", 20)],
)
@pytest.mark.parametrize("need", ["all", "test"])
def test_tonic_data_sets_have_their_parts_in_the_order_of_their_files(
    tonic: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    class_name: str,
    classes: int,
    need: Any,
) -> None:
    monkeypatch.setattr(tonic.datasets, class_name, Downloaded)
    Downloaded.made.clear()
    data = load_dataset(name, need=need, folder=tmp_path, num_steps=4, input_bits=8)
    printed = capsys.readouterr()
    assert "Downloading" not in printed.out
    assert "Downloading" in printed.err
    assert isinstance(data, EventDataset)
    assert (data.name, data.classes, data.num_steps) == (name, classes, 4)
    assert data.y_test.tolist() == [2, 1, 0, 2, 1, 0]
    expected = bin_events(Downloaded("", train=False), num_steps=4, input_bits=8)
    assert expected.counts.sum() == 6 * 50
    assert np.array_equal(data.x_test, expected.counts[::-1])
    assert len(data.x_train) == len(data.y_train) == (6 if need == "all" else 0)
    assert ((str(tmp_path), True) in Downloaded.made) is (need == "all")


def test_cifar10_dvs_is_split_by_class(
    tonic: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tonic.datasets, "CIFAR10DVS", Unsplit)
    data = load_dataset("cifar10-dvs", folder=tmp_path, num_steps=4, input_bits=8)
    assert np.bincount(data.y_train).tolist() == [18, 18, 18]
    assert np.bincount(data.y_test).tolist() == [2, 2, 2]
    assert data.classes == 10
    whole = bin_events(Unsplit(""), num_steps=4, input_bits=8).counts
    parts = np.concatenate([data.x_train, data.x_test]).reshape(60, -1)
    assert np.array_equal(np.unique(parts, axis=0), np.unique(whole.reshape(60, -1), axis=0))
    again = load_dataset("cifar10-dvs", need="test", folder=tmp_path, num_steps=4, input_bits=8)
    assert np.array_equal(again.x_test, data.x_test)
    assert again.x_train.shape[0] == 0


@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_a_failed_download_says_where_the_files_go(
    tonic: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: type[Exception]
) -> None:
    def failing(save_to: str, train: bool) -> None:
        raise error("no route to host")

    failing.__name__ = "NMNIST"
    monkeypatch.setattr(tonic.datasets, "NMNIST", failing)
    with pytest.raises(DataError, match=r"no route to host.*into .*NMNIST, or .*events:PATH"):
        load_dataset("nmnist", folder=tmp_path, num_steps=4, input_bits=8)


def test_an_empty_folder_of_a_data_set_is_refused(
    tonic: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class SHD(Downloaded):
        samples: ClassVar[int] = 0

    monkeypatch.setattr(tonic.datasets, "SHD", SHD)
    with pytest.raises(DataError, match="SHD holds no recordings; remove that folder"):
        load_dataset("shd", folder=tmp_path, num_steps=4, input_bits=8)


# The data set ------------------------------------------------------------------------------------


def part(samples: int = 4, shape: tuple[int, ...] = (3, 2, 4, 5), bits: int = 4) -> BinnedEvents:
    counts = np.random.default_rng(samples).integers(0, 1 << bits, (samples, *shape), np.uint8)
    return BinnedEvents(counts, np.arange(samples), bits, 0)


def test_two_parts_make_a_data_set() -> None:
    data = event_dataset("made", part(6), part(4))
    assert (data.shape, data.num_steps, data.input_bits) == ((2, 4, 5), 3, 4)
    assert (data.classes, len(data.x_train), len(data.x_test)) == (6, 6, 4)
    assert event_dataset("made", None, part(4)).x_train.shape == (0, 3, 2, 4, 5)
    assert event_dataset("made", None, part(4), 9).classes == 9


@pytest.mark.parametrize("other", [part(shape=(4, 2, 4, 5)), part(bits=3)])
def test_parts_that_are_not_alike_are_refused(other: BinnedEvents) -> None:
    with pytest.raises(DataError, match=r"made: training samples are .*; bin both parts alike"):
        event_dataset("made", part(), other)


def spec(**changes: Any) -> InputSpec:
    fields: dict[str, Any] = {"shape": (2, 4, 5), "bits": 4, "scale": 1, "encoding": "events"}
    return InputSpec(**(fields | changes))


def test_counts_go_into_a_network_as_they_are() -> None:
    data = event_dataset("made", None, part())
    data.check_fit(spec(), 3)
    data.check_fit(spec(bits=5), 3)
    assert np.array_equal(data.integers(data.x_test[1:3], spec()), data.x_test[1:3])


@pytest.mark.parametrize(
    ("given_spec", "num_steps", "message"),
    [
        (spec(encoding="constant"), 3, 'holds events, and the network takes images .*"constant"'),
        (
            spec(shape=(2, 5, 4)),
            3,
            r"samples have shape \(2, 4, 5\); the network takes \(2, 5, 4\)",
        ),
        (spec(), 4, "is binned in 3 steps; the network has num_steps 4"),
        (spec(bits=3), 3, "counts have 4 bits; the network takes 3"),
    ],
)
def test_networks_that_do_not_fit_events_are_refused(
    given_spec: InputSpec, num_steps: int, message: str
) -> None:
    with pytest.raises(DataError, match=f"made: {message}"):
        event_dataset("made", None, part()).check_fit(given_spec, num_steps)


def test_images_do_not_go_into_a_network_that_takes_events() -> None:
    images: Dataset = load_dataset("digits", num_steps=3, input_bits=4)
    with pytest.raises(DataError, match="digits: holds images, and the network takes events"):
        images.check_fit(spec(shape=(1, 8, 8)), 3)


@pytest.mark.parametrize("name", ["moving-digits", "nmnist", "events:none.npz"])
def test_events_need_the_number_of_bins(name: str) -> None:
    with pytest.raises(DataError, match=f"{name}: events are counted in bins; give num_steps"):
        load_dataset(name, input_bits=4)


# From training to verification -------------------------------------------------------------------


def write_moving_bars(path: Path) -> None:
    """Write the edges of bars that move right, left or down over 6x6 pixels in 4 steps."""
    random = np.random.default_rng(0)
    labels = np.arange(240) % 3
    counts = random.integers(0, 2, (240, 4, 2, 6, 6), np.uint8)
    for step in range(4):
        for polarity in (0, 1):
            edge = step + 1 - polarity
            counts[labels == 0, step, polarity, :, edge] += 9
            counts[labels == 1, step, polarity, :, 5 - edge] += 9
            counts[labels == 2, step, polarity, edge] += 9
    arrays = {"x_test": counts[:24], "x_train": counts[24:]}
    np.savez(path, y_test=labels[:24], y_train=labels[24:], **arrays)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_events_go_from_training_to_verification(
    tmp_path: Path, reset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tonic", None)
    write_moving_bars(tmp_path / "bars.npz")
    data, net, result = f"events:{tmp_path / 'bars.npz'}", tmp_path / "m.net", tmp_path / "v.json"
    steps = ("--num-steps", 4, "--reset", reset)
    training = ("--model", "lenet", "--epochs", 4, "--batch-size", 16, "--learning-rate", 0.005)
    done = run("train", data, "--encoding", "events", *steps, *training, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    done = run("export", tmp_path / "run" / "checkpoint.pt", "--out", net)
    assert done.exit_code == 0, done.output
    done = run(
        *("verify", net, "--data", data, "--backends", "reference"),
        *("--checkpoint", tmp_path / "run" / "checkpoint.pt", "--json", result),
    )
    assert done.exit_code == 0, done.output
    report = json.loads(result.read_text())
    assert report["match"] is True
    assert report["samples"] == 24
    assert all(layer["spikes"] > 0 for layer in report["layers"])
    assert report["accuracy"]["reference"] > 0.9
    done = run("simulate", net, "--data", data, "--samples", 5)
    assert done.exit_code == 0, done.output
    assert "5 samples on reference" in done.stdout
    done = run("simulate", net, "--data", "digits")
    assert done.exit_code == 2
    assert "digits: holds images, and the network takes events" in done.stderr


def test_event_data_choose_their_encoding_and_refuse_another(tmp_path: Path) -> None:
    write_moving_bars(tmp_path / "bars.npz")
    data = f"events:{tmp_path / 'bars.npz'}"
    short = ("--num-steps", 4, "--model", "mlp", "--epochs", 1)
    done = run("train", data, *short, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["architecture"]["input"]["encoding"] == "events"
    done = run("train", data, *short, "--encoding", "constant", "--out", tmp_path / "other")
    assert done.exit_code == 2
    assert "holds events, and the network takes images" in done.stderr
    done = run("train", "digits", "--encoding", "events", "--out", tmp_path / "other")
    assert done.exit_code == 2
    assert "digits: holds images, and the network takes events" in done.stderr
    done = run("train", data, "--num-steps", 5, "--out", tmp_path / "other")
    assert done.exit_code == 2
    assert "x_train is binned in 4 steps, the network has num_steps 5" in done.stderr
