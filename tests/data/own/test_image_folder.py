"""Images in folders, with a folder for each class or a CSV file, as users have them."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tandem_hw.data import large_samples
from tandem_hw.data.dataset import ImageDataset, Labels
from tandem_hw.data.datasets import load_dataset
from tandem_hw.data.own import image_folder, streamed
from tandem_hw.errors import DataError

Image = pytest.importorskip("PIL.Image")


def pixels(seed: int, height: int = 5, width: int = 6, channels: int = 1) -> Any:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(1, 256, shape).astype(np.uint8)


def save(path: Path, seed: int = 0, **shape: Any) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels(seed, **shape)
    Image.fromarray(image).save(path)
    return image


def make(folder: Path, classes: tuple[str, ...] = ("dog", "cat"), count: int = 5) -> None:
    for place, name in enumerate(classes):
        for number in range(count):
            save(folder / name / f"{number}.png", 10 * place + number)


def load(path: Path, options: str = "", **keywords: Any) -> ImageDataset:
    data = load_dataset(f"folder:{path}{options}", **keywords)
    assert isinstance(data, ImageDataset)
    return data


def names_of(data: ImageDataset) -> tuple[str, ...] | None:
    assert isinstance(data.wanted_test, Labels)
    return data.wanted_test.names


def test_a_folder_for_each_class_is_split_the_same_way_each_time(tmp_path: Path) -> None:
    make(tmp_path)
    data, test = load(tmp_path), load(tmp_path, need="test")
    assert (data.shape, names_of(data)) == ((1, 5, 6), ("cat", "dog"))
    assert sorted(data.y_train.tolist()) == [0] * 4 + [1] * 4
    assert data.y_train[:2].tolist() == [0, 1]
    assert sorted(data.y_test.tolist()) == [0, 1]
    assert np.array_equal(data.x_test, test.x_test)
    assert len(test.x_train) == 0
    known = {pixels(10 * place + number).tobytes() for place in (0, 1) for number in range(5)}
    assert {one.tobytes() for one in np.concatenate([data.x_train, data.x_test])} == known
    assert data.x_train[0].tobytes() in {pixels(10 + number).tobytes() for number in range(5)}


@pytest.mark.parametrize("other", ["test", "val", "Validation"])
def test_folders_of_two_parts(tmp_path: Path, other: str) -> None:
    make(tmp_path / "train", ("10", "9", "2"), 2)
    make(tmp_path / other, ("10", "9", "2"), 1)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "train" / "9" / "Thumbs.db").write_bytes(b"x")
    save(tmp_path / "train" / "9" / "more" / "x.png", 99)
    data = load(tmp_path)
    assert names_of(data) == ("2", "9", "10")
    assert (data.y_train.tolist(), data.y_test.tolist()) == ([0, 1, 2, 0, 1, 2, 1], [0, 1, 2])
    assert np.array_equal(data.x_train[6, 0], pixels(99))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    make(tmp_path, ("train", "plane"))
    assert names_of(load(tmp_path)) == ("plane", "train")


@pytest.mark.parametrize(
    ("lines", "delimiter"), [(("filename", "class"), ","), (("Path", "Label"), ";")]
)
def test_a_csv_file_names_paths_and_labels(tmp_path: Path, lines: Any, delimiter: str) -> None:
    rows = [lines] + [(f"pictures/{n}.png", "ab"[n % 2]) for n in range(10)]
    for number in range(10):
        save(tmp_path / "pictures" / f"{number}.png", number)
    text = "\ufeff" + "\r\n".join(delimiter.join(row) for row in rows) + "\r\n\r\n"
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    data, again = load(tmp_path), load(tmp_path / "labels.csv")
    assert names_of(data) == ("a", "b")
    assert (len(data.x_train), len(data.x_test)) == (8, 2)
    assert np.array_equal(data.x_train, again.x_train)


def test_a_csv_file_may_say_the_parts(tmp_path: Path) -> None:
    for number in range(4):
        save(tmp_path / f"{number}.png", number)
    rows = ["image,label,split", "0.png,1,train", "1.png,2,train", "2.png,2,val", "3.png,1,val"]
    (tmp_path / "all.csv").write_text("\n".join(rows), encoding="utf-8")
    data = load(tmp_path)
    assert (names_of(data), data.y_test.tolist()) == (("1", "2"), [1, 0])
    assert np.array_equal(data.x_test[:, 0], [pixels(2), pixels(3)])
    for name in ("train", "val"):
        kept = [row.rpartition(",")[0] for row in rows if row.endswith((name, "split"))]
        (tmp_path / f"{name}.csv").write_text("\n".join(kept), encoding="utf-8")
    (tmp_path / "all.csv").unlink()
    assert np.array_equal(load(tmp_path).x_test, data.x_test)


def test_gray_and_color_and_palettes(tmp_path: Path) -> None:
    color = save(tmp_path / "a" / "0.png", 1, channels=3)
    for number in (1, 2):
        save(tmp_path / "a" / f"{number}.png", number, channels=3)
        save(tmp_path / "b" / f"{number}.png", number, channels=3)
    Image.fromarray(color).quantize(200).save(tmp_path / "b" / "0.png")
    opaque = np.dstack([color, np.full(color.shape[:2], 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "b" / "3.png")
    data = load(tmp_path)
    assert data.shape == (3, 5, 6)
    together = np.concatenate([data.x_train, data.x_test])
    assert sum(np.array_equal(one, color.transpose(2, 0, 1)) for one in together) >= 3
    assert load(tmp_path, ",color=gray").shape == (1, 5, 6)
    save(tmp_path / "b" / "4.png", 3)
    with pytest.raises(DataError, match=r"4\.png: is gray, and .*a/0\.png is rgb; .*color=gray or"):
        load(tmp_path, need="all")
    assert load(tmp_path, ",color=rgb").shape == (3, 5, 6)


def test_sizes_are_alike_or_said(tmp_path: Path) -> None:
    make(tmp_path)
    save(tmp_path / "dog" / "7.png", 3, height=9, width=4)
    save(tmp_path / "dog" / "8.png", 3, height=9, width=4)
    message = r"7\.png: is 9x4 pixels .*cat/0\.png is 5x6; .*size=32"
    with pytest.raises(DataError, match=message):
        load(tmp_path)
    assert load(tmp_path, ",size=8").shape == (1, 8, 8)
    data = load(tmp_path, ",color=rgb,size=5x6")
    assert data.shape == (3, 5, 6)
    assert np.array_equal(data.x_train[0, 0], load(tmp_path, ",size=5x6").x_train[0, 0])


#: How pixels that lie in a file become those that are seen, by the orientation that EXIF says.
SEEN: dict[int, Callable[[Any], Any]] = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: np.swapaxes(image, 0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(np.swapaxes(image, 0, 1), 2),
    8: np.rot90,
}


def turned(path: Path, orientation: int, seed: int, channels: int = 1) -> Any:
    """Save an image with EXIF as a camera does that is held otherwise, and return what is seen."""
    exif = Image.Exif()
    exif[0x112] = orientation
    stored = pixels(seed, channels=channels)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stored).save(path, exif=exif)
    return SEEN[orientation](stored)


@pytest.mark.parametrize("orientation", SEEN)
@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_taken_as_they_are_seen(
    tmp_path: Path, suffix: str, orientation: int, channels: int
) -> None:
    seen = [
        turned(tmp_path / name / f"1.{suffix}", orientation, seed, channels)
        for seed, name in enumerate(("test/a", "test/b", "train/a", "train/b"))
    ]
    data = load(tmp_path)
    shape = (channels, 6, 5) if orientation > 4 else (channels, 5, 6)
    assert data.shape == shape
    expected = np.stack(seen[:2]).reshape(2, *seen[0].shape[:2], channels).transpose(0, 3, 1, 2)
    assert np.array_equal(np.asarray(data.x_test), expected)


def test_sizes_are_those_that_are_seen(tmp_path: Path) -> None:
    make(tmp_path)  # 5 x 6
    turned(tmp_path / "dog" / "7.png", 6, 3)
    with pytest.raises(DataError, match=r"7\.png: is 6x5 pixels .*cat/0\.png is 5x6"):
        load(tmp_path)
    upright = pixels(3, height=6, width=5)
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(np.rot90(upright)).save(tmp_path / "dog" / "7.png", exif=exif)
    Image.fromarray(upright).save(tmp_path / "dog" / "8.png")
    images = load(tmp_path, ",size=4x3")
    found = Counter(one.tobytes() for one in np.concatenate([images.x_train, images.x_test]))
    assert found.most_common(1)[0][1] == 2


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage_here", b"Exif\0\0II*\0\xff\xff\xff\xff"], ids=["other", "cut"]
)
def test_exif_that_cannot_be_read_says_nothing(tmp_path: Path, suffix: str, exif: bytes) -> None:
    make(tmp_path)
    held = load(tmp_path)
    for path in sorted(tmp_path.rglob("*.png")):
        Image.open(path).save(path.with_suffix(f".{suffix}"), exif=exif, quality=100)
        if suffix != "png":
            path.unlink()
    data = load(tmp_path)
    assert data.shape == held.shape
    assert np.allclose(data.x_train, held.x_train, atol=3 if suffix == "jpg" else 0)


def test_many_images_lie_in_a_file_and_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path)
    held = load(tmp_path)
    monkeypatch.setattr(large_samples, "LARGE", 100)
    monkeypatch.setattr(image_folder, "_PIECE", 7)
    data = load(tmp_path)
    assert isinstance(data.x_train, streamed.StreamedSamples)
    assert np.array_equal(np.asarray(data.x_train), held.x_train)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(DataError, match="do not go into the folder for temporary files"):
        load(tmp_path)


def broken(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def foreign(path: Path) -> None:
    path.write_bytes(b"no image at all")


def deep(path: Path) -> None:
    Image.fromarray(pixels(0).astype(np.uint16) * 200).save(path)


def transparent(path: Path) -> None:
    Image.fromarray(pixels(0, channels=4)).save(path)


def moving(path: Path) -> None:
    frames = [Image.fromarray(pixels(seed)) for seed in (1, 2)]
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:])


def printed(path: Path) -> None:
    Image.new("CMYK", (6, 5)).save(path, format="TIFF")


def program(path: Path) -> None:
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 5\nshowpage\n")


def huge(path: Path) -> None:
    Image.new("L", (200, 100)).save(path)


FILES: list[tuple[Callable[[Path], None], str]] = [
    (broken, "cannot be read as an image"),
    (foreign, "it is none of PNG, JPEG, BMP"),
    (program, "it is none of PNG, JPEG, BMP"),
    (huge, "decompression bomb"),
    (deep, "mode I;16; 8 bits of gray or color are needed"),
    (transparent, "has transparent pixels"),
    (moving, "holds 2 images"),
    (printed, "mode CMYK; 8 bits"),
]


@pytest.mark.parametrize(("damage", "message"), FILES)
def test_files_that_are_no_plain_images_are_named(
    tmp_path: Path,
    damage: Callable[[Path], None],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9000)
    make(tmp_path)
    damage(tmp_path / "dog" / "2.png")
    with pytest.raises(DataError, match=rf"dog/2\.png: .*{re.escape(message)}"):
        load(tmp_path)


def test_printed_colors_become_gray_where_it_is_asked_for(tmp_path: Path) -> None:
    make(tmp_path)
    printed(tmp_path / "dog" / "2.png")
    assert load(tmp_path, ",color=gray").shape == (1, 5, 6)


def test_pillow_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r"need Pillow, .*pip install pillow"):
        load(tmp_path)


def write(*lines: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "x.csv").write_text("\n".join(lines), encoding="utf-8")


def no_test_cat(folder: Path) -> None:
    make(folder / "train")
    make(folder / "test", ("dog",), 1)


def unknown_test_class(folder: Path) -> None:
    make(folder / "train")
    make(folder / "test", ("dog", "cat", "eel"), 1)


def only_tests(folder: Path) -> None:
    make(folder / "test")


def extra_folder(folder: Path) -> None:
    make(folder / "train")
    make(folder / "more")


def two_lists(folder: Path) -> None:
    write("path,label")(folder)
    (folder / "y.csv").write_text("", encoding="utf-8")


def empty_class(folder: Path) -> None:
    make(folder)
    (folder / "eel").mkdir()


def parts_in_one_of_two(folder: Path) -> None:
    save(folder / "0.png")
    for name in ("train", "test"):
        (folder / f"{name}.csv").write_text("path,label,part\n0.png,a,test", encoding="utf-8")


def not_text(folder: Path) -> None:
    (folder / "x.csv").write_bytes(b"path,label\n\xff\xfe,3")


FOLDERS: list[tuple[Callable[[Path], Any], str]] = [
    (lambda folder: None, "holds no folders; give a folder for each class"),
    (empty_class, "eel: holds no file that ends in .bmp"),
    (lambda folder: make(folder, ("one",)), "all files have the label 'one'; two classes"),
    (no_test_cat, "test: has no folder 'cat', which"),
    (unknown_test_class, "class 'eel' has test files and no training files"),
    (only_tests, "has a test part alone"),
    (extra_folder, "holds ['train'] beside ['more']; give the two parts alone"),
    (two_lists, "holds ['x.csv', 'y.csv']; give one CSV file"),
    (parts_in_one_of_two, "has a column of parts, and is one of two files"),
    (not_text, "x.csv: cannot be read as a CSV file"),
    (write("path,label"), "x.csv: has 1 line;"),
    (write("a,b", "0.png,cat"), "has the columns ['a', 'b']; one of path, file"),
    (write("path,b", "0.png,cat"), "one of label, labels, class, class_name, target, category"),
    (write("path,label", "0.png,cat"), "line 2 names '0.png', and there is no such file"),
    (write("path,label", ",cat"), "line 2 names '', and there is no such file"),
    (write("path,label", "x.csv,nan"), "line 2 has the label 'nan'; give every file its label"),
    (write("path,label", "x.csv"), "line 2 has 1 field;"),
    (write("path,label,part", "x.csv,cat,dev"), "line 2 has the part 'dev'; allowed are train"),
]


@pytest.mark.parametrize(("prepare", "message"), FOLDERS)
def test_folders_and_lists_that_do_not_fit_are_refused(
    tmp_path: Path, prepare: Callable[[Path], Any], message: str
) -> None:
    prepare(tmp_path)
    with pytest.raises(DataError, match=re.escape(message)):
        load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (",size=0", "size is '0'; give pixels, such as 32"),
        (",size=32x", "size is '32x'"),
        (",size=99999", "up to 4096"),
        (",color=blue", "color is 'blue'; allowed are gray, rgb"),
        (",sise=3", "option sise is unknown; there are size, color"),
        (",size=3,size=3", "option size is given twice"),
    ],
)
def test_options_are_checked(tmp_path: Path, options: str, message: str) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match=re.escape(message)):
        load(tmp_path, options)


def test_a_folder_may_be_called_as_an_option_is(tmp_path: Path) -> None:
    make(tmp_path / "a,size=3")
    assert load(tmp_path / "a,size=3").shape == (1, 5, 6)
    with pytest.raises(DataError, match="there is no such file or folder"):
        load(tmp_path / "b", ",size=3")
    with pytest.raises(DataError, match="names no file; give folder:PATH"):
        load_dataset("folder:")


def test_a_pipe_among_the_images_is_not_waited_for(tmp_path: Path) -> None:
    make(tmp_path)
    os.mkfifo(tmp_path / "cat" / "late.png")
    with pytest.raises(DataError, match=re.escape("late.png: is not an ordinary file")):
        load(tmp_path)


def test_a_line_end_in_a_label_is_kept(tmp_path: Path) -> None:
    make(tmp_path)
    rows = [f'{name}/{number}.png,"{name}\nx"' for name in ("cat", "dog") for number in range(5)]
    (tmp_path / "labels.csv").write_text("path,label\n" + "\n".join(rows), encoding="utf-8")
    assert names_of(load(tmp_path)) == ("cat\nx", "dog\nx")
