"""Augmentation: each parameter has its effect, no more, and a training with it can be resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tandem_hw.data.dataset import Labels
from tandem_hw.data.event_data import EventDataset
from tandem_hw.errors import DataError
from tandem_hw.training.augmentation import augment
from tandem_hw.training.loop import train
from tandem_hw.training.options import PRESETS, Augmentation, augmentation_named
from tandem_hw.training.samples import TrainingData
from tests.helpers.image_trainings import OPTIONS, contents, interrupt_in, make_data, make_model
from tests.helpers.rounding import rounding_bound
from tests.helpers.trainings import anonymous

SHAPE = (40, 2, 6, 9)
AUGMENTATIONS = {
    "shift": Augmentation(shift=2),
    "flip": Augmentation(flip=True),
    "rotation": Augmentation(rotation=30.0),
    "scale": Augmentation(scale=0.3),
    "cutout": Augmentation(cutout=3),
    "all": Augmentation(shift=1, flip=True, rotation=5.0, scale=0.1, cutout=2),
}


def images(dtype: torch.dtype = torch.uint8) -> Tensor:
    """Return noise without a 0, so that what was blanked can be told."""
    noise = torch.randint(1, 256, SHAPE, generator=torch.Generator().manual_seed(3))
    return noise.to(torch.uint8) if dtype == torch.uint8 else (noise / 255).to(dtype)


def changed(augmentation: Augmentation, of: Tensor, seed: int = 0) -> Tensor:
    return augment(of, augmentation, torch.Generator().manual_seed(seed))


def shifted(image: np.ndarray[Any, Any], down: int, right: int) -> np.ndarray[Any, Any]:
    """Shift an image [channels, height, width] in plain NumPy, with 0 from outside."""
    height, width = image.shape[1:]
    result = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                result[:, y, x] = image[:, y - down, x - right]
    return result


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_a_shift_moves_whole_images_by_every_distance(dtype: torch.dtype) -> None:
    before = images(dtype)
    after = changed(Augmentation(shift=1), before).numpy()
    distances = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    found = [
        [d for d in distances if np.array_equal(shifted(old, *d), new)]
        for old, new in zip(before.numpy(), after, strict=True)
    ]
    assert [len(matches) for matches in found] == [1] * len(before)
    assert {matches[0] for matches in found} == set(distances)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_flip_mirrors_about_half_of_the_images(dtype: torch.dtype) -> None:
    before = images(dtype)
    after = changed(Augmentation(flip=True), before)
    mirrored = [torch.equal(new, old.flip(2)) for old, new in zip(before, after, strict=True)]
    kept = [torch.equal(new, old) for old, new in zip(before, after, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 10 <= sum(mirrored) <= 30


@pytest.mark.parametrize("side", [1, 2, 3, 4, 20])
def test_a_cutout_blanks_one_square_whose_centre_is_inside(side: int) -> None:
    before = images()
    after = changed(Augmentation(cutout=side), before)
    holes = set()
    for old, new in zip(before.numpy(), after.numpy(), strict=True):
        blank = (new == 0).all(axis=0)
        assert np.array_equal(blank, (new == 0).any(axis=0))  # in all channels alike
        assert np.array_equal(new[:, ~blank], old[:, ~blank])
        rows, columns = np.flatnonzero(blank.any(1)), np.flatnonzero(blank.any(0))
        assert blank.sum() == len(rows) * len(columns) > 0  # one rectangle
        for line, length in ((rows, 6), (columns, 9)):
            assert np.array_equal(line, np.arange(line[0], line[-1] + 1))
            # Cut off at the edges alone, by half a square at most.
            assert len(line) == side or line[0] == 0 or line[-1] == length - 1
            assert min(side, length, side // 2) <= len(line) <= min(side, length)
        holes.add((rows[0], columns[0]))
    assert len(holes) > (10 if side < 6 else 0)


def fixed(monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    """Draw the same share of a range, 0 to 1, for every image."""
    monkeypatch.setattr(torch, "rand", lambda n, generator: torch.full((n,), share))


def turning_bound(side: int) -> float:
    """Return how far a turned image may be off that is computed on coordinates in float32.

    A coordinate in pixels takes some twelve operations on magnitudes up to the side; between
    pixels the values, from 0 to 1, change by at most 1 a pixel in each of two directions, and
    taking that change into account rounds about as much again.
    """
    return 4 * rounding_bound(12, float(side))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize(("share", "turns"), [(1.0, 1), (0.0, -1)])
def test_a_rotation_by_90_degrees_is_exact(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, share: float, turns: int
) -> None:
    fixed(monkeypatch, share)
    before = images(dtype)[..., :6]
    after = changed(Augmentation(rotation=90.0), before)
    wanted = before.rot90(turns, (2, 3))
    if dtype == torch.uint8:
        assert torch.equal(after, wanted)
    else:
        torch.testing.assert_close(after, wanted, rtol=0, atol=turning_bound(6))


def test_a_rotation_of_an_image_that_is_no_square_keeps_its_angles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # An upright line of 3 pixels in the middle becomes a level one of 3 pixels.
    fixed(monkeypatch, 1.0)
    upright, level = torch.zeros(1, 1, 5, 9), torch.zeros(1, 1, 5, 9)
    upright[..., 1:4, 4] = 1
    level[..., 2, 3:6] = 1
    after = changed(Augmentation(rotation=90.0), upright)
    torch.testing.assert_close(after, level, rtol=0, atol=turning_bound(9))


@pytest.mark.parametrize(("share", "side"), [(1.0, 6), (0.5, 4), (0.0, 2)])
def test_a_scale_of_a_half_makes_a_square_half_as_large_again_or_half_as_large(
    monkeypatch: pytest.MonkeyPatch, share: float, side: int
) -> None:
    fixed(monkeypatch, share)
    square = torch.zeros(1, 1, 12, 12, dtype=torch.uint8)
    square[..., 4:8, 4:8] = 200
    after = changed(Augmentation(scale=0.5), square)
    first = 6 - side // 2
    area = after[0, 0] > 100
    wanted = torch.zeros(12, 12, dtype=torch.bool)
    wanted[first : first + side, first : first + side] = True
    assert torch.equal(area, wanted)


@pytest.mark.parametrize("name", ["rotation", "scale", "all"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bright_images_stay_within_0_to_1(name: str, dtype: torch.dtype) -> None:
    # Four weights of an interpolation add up to 1 and a rounding error.
    bright = torch.ones(200, 1, 28, 28, dtype=dtype)
    after = changed(AUGMENTATIONS[name], bright)
    assert after.dtype == dtype
    assert float(after.min()) == 0
    assert float(after.max()) == 1


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_same_generator_makes_the_same_images(name: str, dtype: torch.dtype) -> None:
    before = images(dtype)
    kept = before.clone()
    first, again, other = (changed(AUGMENTATIONS[name], before, seed) for seed in (1, 1, 2))
    assert torch.equal(before, kept)
    assert (first.shape, first.dtype) == (before.shape, before.dtype)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, before)
    # The images of a batch are changed each in its own way.
    alike = changed(AUGMENTATIONS[name], before[:1].expand(SHAPE))
    assert len(alike.flatten(1).unique(dim=0)) > 1


def test_uint8_and_float_images_are_changed_alike() -> None:
    for augmentation in AUGMENTATIONS.values():
        whole = changed(augmentation, images())
        real = changed(augmentation, images(torch.float32))
        # Half a step of uint8, and a hundredth of one for the rounding of float32.
        torch.testing.assert_close(whole / 255, real, rtol=0, atol=0.51 / 255)


def test_no_augmentation_changes_nothing() -> None:
    assert PRESETS["none"] == Augmentation()
    assert not Augmentation().changes
    assert all(augmentation.changes for augmentation in AUGMENTATIONS.values())
    assert torch.equal(changed(Augmentation(), images()), images())


def test_the_presets_are_what_the_documentation_says() -> None:
    assert list(PRESETS) == ["none", "shift", "mnist", "cifar", "autoaugment", "cutout"]
    assert PRESETS["autoaugment"] == Augmentation(autoaugment=True)
    assert PRESETS["shift"] == Augmentation(shift=2)
    assert PRESETS["cutout"] == Augmentation(cutout=16)
    assert PRESETS["mnist"] == Augmentation(shift=2, rotation=10.0, scale=0.1)
    assert PRESETS["cifar"] == Augmentation(shift=4, flip=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shift": -1}, "shift is -1; give 0 or more pixels"),
        ({"cutout": -2}, "cutout is -2; give 0 or more pixels"),
        ({"rotation": -1.0}, r"rotation is -1\.0; give 0 to 180 degrees"),
        ({"rotation": 181.0}, r"rotation is 181\.0"),
        ({"rotation": float("nan")}, "rotation is nan"),
        ({"scale": 1.0}, r"scale is 1\.0; give a share from 0 to below 1"),
        ({"scale": -0.1}, r"scale is -0\.1"),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"augmentation: {message}"):
        Augmentation(**changes)


def test_samples_that_are_no_images_are_refused() -> None:
    with pytest.raises(DataError, match=r"samples have shape \(16,\); images .* are needed"):
        changed(PRESETS["cifar"], torch.zeros(3, 16))


@pytest.mark.parametrize("preset", ["mnist", "cifar"])
def test_a_resumed_training_with_augmentation_gives_the_same_bits(
    tmp_path: Path, preset: str
) -> None:
    options = replace(OPTIONS, augmentation=preset)
    whole = train(make_model(), make_data(), options, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), make_data(), options, tmp_path / "cut", report=interrupt_in(2, 3))
    torch.rand(5)
    resumed = train(make_model(), make_data(), options, tmp_path / "cut", resume=True)
    assert anonymous(resumed) == anonymous(whole)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    plain = train(make_model(), make_data(), OPTIONS, tmp_path / "plain")
    assert plain["epochs"] != whole["epochs"]
    with pytest.raises(DataError, match=f"was trained with augmentation {preset}, not none"):
        train(make_model(), make_data(), OPTIONS, tmp_path / "cut", resume=True)


def training_data(**changes: Any) -> TrainingData:
    options = replace(OPTIONS, **({"augmentation": "cifar"} | changes))
    spec = make_model().architecture.input
    return TrainingData(make_data(), options.make_objective(), options, spec, torch.device("cpu"))


def test_every_epoch_changes_the_images_anew_and_the_validation_data_never() -> None:
    data, plain = training_data(), training_data(augmentation="none")
    epochs = {epoch: [data.take(indices) for indices in data.order(epoch)] for epoch in (1, 2, 1)}
    again = [data.take(indices) for indices in data.order(1)]
    for (inputs, labels), (inputs_again, labels_again) in zip(epochs[1], again, strict=True):
        assert inputs.dtype == torch.uint8
        assert torch.equal(inputs, inputs_again)
        assert torch.equal(labels, labels_again)
    assert not torch.equal(epochs[1][0][0], epochs[2][0][0])
    assert torch.equal(data.validation[0], plain.validation[0])
    # The samples of an epoch are the same ones, by their labels.
    for (_, labels), indices in zip(again, plain.order(1), strict=True):
        assert torch.equal(labels, plain.take(indices)[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("name", ["shift", "flip", "cutout"])
@pytest.mark.parametrize("bits", [3, 8])
def test_integers_that_are_moved_or_blanked_are_those_of_the_image(
    dtype: Any, name: str, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "cifar", AUGMENTATIONS[name])
    x = make_data().x_train
    x = (x * 255).astype(np.uint8) if dtype == np.uint8 else x.astype(dtype)
    dataset = make_data(x_train=x)
    options = replace(OPTIONS, augmentation="cifar", validation=0.0)
    spec = make_model(input_bits=bits).architecture.input
    data = TrainingData(dataset, options.make_objective(), options, spec, torch.device("cpu"))
    batches = list(data.order(2))
    generator = torch.Generator()
    list(data.order(2))
    generator.set_state(data._generator.get_state())
    changed = 0
    for indices in batches:
        inputs, _ = data.take(indices)
        images = augment(torch.from_numpy(x)[indices], AUGMENTATIONS[name], generator)
        assert torch.equal(inputs, torch.from_numpy(dataset.integers(images.numpy(), spec)))
        changed += not np.array_equal(inputs.numpy(), dataset.integers(x[indices.numpy()], spec))
    assert changed > len(batches) // 2


class _Everywhere(TorchDispatchMode):
    """Refuses what would wait for a GPU or take the CPU's way."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal"):
            raise AssertionError(f"{name} reads from the device")
        return func(*args, **(kwargs or {}))


def test_a_batch_is_made_without_a_look_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "cifar", Augmentation(shift=1, flip=True, cutout=2))
    data = training_data()
    indices = next(data.order(1))

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("read")

    for method in ("numpy", "tolist", "item"):
        monkeypatch.setattr(Tensor, method, refuse)
    with _Everywhere():  # type: ignore[no-untyped-call]
        inputs, _ = data.take(indices)
        with pytest.raises(AssertionError, match="reads from the device"):
            float(inputs.sum())
    assert inputs.any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine")
@pytest.mark.parametrize("preset", ["none", "cifar", "mnist"])
def test_a_gpu_gets_the_batches_of_the_cpu(preset: str) -> None:
    options = replace(OPTIONS, augmentation=preset)
    spec = make_model().architecture.input
    found = []
    for name in ("cpu", "cuda"):
        data = TrainingData(
            make_data(), options.make_objective(), options, spec, torch.device(name)
        )
        found.append([data.take(indices) for indices in data.order(1)])
        assert all(one.device.type == name for batch in found[-1] for one in batch)
    for one, other in zip(*found, strict=True):
        assert all(
            torch.equal(values, others.cpu()) for values, others in zip(one, other, strict=True)
        )


def test_a_reconstruction_is_measured_against_the_changed_image() -> None:
    data = training_data(objective="reconstruction")
    inputs, targets = data.take(next(data.order(1)))
    assert targets.shape == (16, 16)
    assert targets.std() > 0.1
    # Half a step of the 4-bit inputs, and a little for the rounding of float32.
    torch.testing.assert_close(inputs.flatten(1) / 15, targets, rtol=0, atol=0.5001 / 15)


@pytest.mark.parametrize("name", ["shift", "cifar", "cutout", "cifar+cutout"])
def test_all_steps_of_events_are_moved_and_blanked_alike(name: str) -> None:
    augmentation = augmentation_named(name)
    events = torch.stack([images(), images().flip(1), images() // 2], dim=1)
    found = changed(augmentation, events)
    assert found.shape == events.shape
    assert found.dtype == torch.uint8
    for step in range(3):
        assert torch.equal(found[:, step], changed(augmentation, events[:, step]))
    assert not torch.equal(found, events)


def test_events_are_not_turned() -> None:
    events = torch.stack([images()] * 3, dim=1)
    with pytest.raises(DataError, match=r"samples have shape \(3, 2, 6, 9\); images"):
        changed(PRESETS["mnist"], events)


def moved_points(name: str, shape: tuple[int, ...] = (1, 4, 4)) -> TrainingData:
    """Return what trains on events at random places."""
    events = np.random.default_rng(0).integers(0, 3, (30, 4, *shape), dtype=np.uint8)
    labels = Labels(np.arange(30) % 3, classes=3)
    binned = EventDataset("points", events, labels, events, labels, input_bits=4, clipped=0)
    spec = replace(make_model(encoding="events").architecture.input, shape=shape)
    options = replace(OPTIONS, augmentation=name, validation=0.0)
    return TrainingData(binned, options.make_objective(), options, spec, torch.device("cpu"))


@pytest.mark.parametrize(
    ("name", "shape"), [("mnist", (1, 4, 4)), ("shift+autoaugment", (1, 4, 4)), ("shift", (16,))]
)
def test_events_that_an_augmentation_cannot_change_are_refused(
    name: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(DataError, match=r"points: holds events of shape \(.*which augmentation"):
        moved_points(name, shape)


def test_a_training_on_events_moves_them_anew_in_every_epoch() -> None:
    source = moved_points("shift")
    indices = next(source.order(1))
    first, _ = source.take(indices)
    again, _ = source.take(indices)
    assert first.shape == (len(indices), 4, 1, 4, 4)
    assert first.any()
    assert not torch.equal(first, again)
    next(source.order(1))
    assert torch.equal(source.take(indices)[0], first)  # the same epoch, from the same seed


def test_images_out_of_range_are_refused_before_the_training(tmp_path: Path) -> None:
    data = make_data(x_train=np.full((120, 1, 4, 4), 2.0))
    options = replace(OPTIONS, augmentation="mnist", validation=0.0)
    with pytest.raises(DataError, match=r"samples span 2\.0 to 2\.0"):
        train(make_model(), data, options, tmp_path / "new")
    assert not (tmp_path / "new").exists()
