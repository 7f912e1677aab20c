"""Images in files, PNG, JPEG and others, through Pillow; nothing but plain pixels is taken."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.data.dataset import ImageDataset, Need
from tandem_hw.data.large_samples import are_large, in_unnamed_file
from tandem_hw.data.own.arrays import TEST, TRAIN
from tandem_hw.data.own.labelled_files import find_labelled_files
from tandem_hw.data.own.streamed import streamed_if_large
from tandem_hw.errors import DataError, how_to_install
from tandem_hw.pointer_file import refuse_pointer

#: Formats that hold pixels and no programs, as Pillow calls them, and the ends of their files.
_FORMATS: Final = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES: Final = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm")
)
#: Longest side that images are scaled to.
_SIDE_MAX: Final = 4096
#: What ``color=`` says, and Pillow's name for it.
_MODES: Final = {"gray": "L", "rgb": "RGB"}
#: Pillow's modes that are one of these, or become one without a loss.
_GRAY: Final = ("1", "L", "LA")
_COLOR: Final = ("RGB", "RGBA")
_TRANSPARENT: Final = ("LA", "RGBA")
_OPAQUE: Final = 255
#: Modes of printing and video, which become gray or color where that is asked for.
_PRINTED: Final = ("CMYK", "YCbCr")
#: Bytes that are written at a time.
_PIECE: Final = 1 << 24


@dataclass(frozen=True)
class _Wanted:
    """What images are made alike by.

    Attributes:
        mode: Pillow's name of gray or color; None until the first image says it.
        size: (height, width); None likewise.
        converts: whether others are converted to the mode, and not refused.
        scales: whether others are scaled to the size, and not refused.
        like: the first image, for messages; None until it is read.
    """

    mode: str | None
    size: tuple[int, int] | None
    converts: bool
    scales: bool
    like: Path | None = None


def load_image_folder(
    path: Path, need: Need, *, name: str, options: Mapping[str, str] | None = None
) -> ImageDataset:
    """Load images from a folder, or by a CSV file (``tandem_hw.data.own.labelled_files``).

    Args:
        path: the folder or the CSV file.
        need: "test" for the test part alone; the others are not read.
        name: the spec.
        options: "size", as "32" or "32x48" (height, width), to which images are scaled, whatever
            their sides; "color", "gray" or "rgb". Without them all images have to be alike.

    Returns:
        uint8 [N, 1 or 3, H, W]; from a GiB on they lie in a file without a name in the folder for
        temporary files.

    Raises:
        DataError: a file is no image or differs from the first one, or Pillow is missing.
    """
    wanted = _wanted(path, options or {})
    found = find_labelled_files(path, need, SUFFIXES)
    _import_pillow()
    parts = {}
    for part, (files, labels) in found.items():
        images, wanted = _read_all(files, wanted, name)
        parts[part] = images, labels
    x_test, y_test = parts[TEST]
    x_train, y_train = parts.get(TRAIN, (x_test[:0], y_test[:0]))
    return ImageDataset(
        name, streamed_if_large(x_train), y_train, streamed_if_large(x_test), y_test
    )


def _wanted(path: Path, options: Mapping[str, str]) -> _Wanted:
    color = options.get("color")
    if color is not None and color not in _MODES:
        raise DataError(f"{path}: color is {color!r}; allowed are {', '.join(_MODES)}")
    mode, size = _MODES.get(color or ""), options.get("size")
    if size is None:
        return _Wanted(mode, None, mode is not None, False)
    found = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", size)
    sides = [int(side) for side in found.groups() if side] if found else [0]
    if not all(1 <= side <= _SIDE_MAX for side in sides):
        raise DataError(
            f"{path}: size is {size!r}; give pixels, such as 32, or 32x48 (height, width), up to "
            f"{_SIDE_MAX}"
        )
    return _Wanted(mode, (sides[0], sides[-1]), mode is not None, True)


def _import_pillow() -> Any:
    """Import Pillow.

    Raises:
        DataError: it is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise DataError(
            f"image files need Pillow, which cannot be imported ({error}): pip install pillow, or, "
            f"with torchvision, {how_to_install('vision')}"
        ) from error
    return Image


def _read_all(
    files: Sequence[Path], wanted: _Wanted, name: str
) -> tuple[npt.NDArray[np.uint8], _Wanted]:
    """Return the pixels of files, [N, C, H, W], and what the first one made of what is wanted."""
    images: npt.NDArray[np.uint8] | None = None
    for row, path in enumerate(files):
        pixels, wanted = _read(path, wanted)
        if images is None:
            images = room_for((len(files), *pixels.shape), name)
        images[row] = pixels
    assert images is not None
    return images, wanted


def room_for(shape: tuple[int, ...], name: str) -> npt.NDArray[np.uint8]:
    """Return room for samples, which from a GiB on is a file without a name, not memory.

    Args:
        shape: of all samples.
        name: the data set, for the message.

    Returns:
        uint8, to be filled.

    Raises:
        DataError: there is no room.
    """
    size = math.prod(shape)
    if not are_large(size):
        return np.empty(shape, np.uint8)
    return in_unnamed_file(
        (bytes(min(_PIECE, size - start)) for start in range(0, size, _PIECE)),
        shape,
        f"{name}: {size} bytes of samples",
        "make them smaller, for images with size=",
    )


def _read(path: Path, wanted: _Wanted) -> tuple[npt.NDArray[np.uint8], _Wanted]:
    """Return the pixels of a file, [C, H, W], and what all further ones have to be."""
    pillow = _import_pillow()
    refuse_pointer(path, DataError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what Pillow says of damaged EXIF
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            # A file by its name would be mapped, and what Pillow 13 maps of a TIFF that is to be
            # turned are other pixels.
            with path.open("rb") as file, pillow.open(file, formats=_FORMATS) as image:
                frames = getattr(image, "n_frames", 1)
                image.load()
                image = _upright(image)
    except Exception as error:  # whatever a damaged file leads to
        is_other = isinstance(error, pillow.UnidentifiedImageError)
        reason = f"it is none of {', '.join(_FORMATS)}" if is_other else error
        raise DataError(
            f"{path}: cannot be read as an image ({reason}); mend it or take it out"
        ) from error
    if frames > 1:
        raise DataError(f"{path}: holds {counted(frames, 'image')}; give files of one image each")
    image = _colored(image, path, wanted)
    if wanted.size is not None and wanted.scales and image.size != wanted.size[::-1]:
        image = image.resize(wanted.size[::-1], pillow.Resampling.BILINEAR)
    size = (image.height, image.width)
    if wanted.like is None:
        wanted = replace(wanted, mode=image.mode, size=size, like=path)
    elif size != wanted.size:
        raise DataError(
            f"{path}: is {size[0]}x{size[1]} pixels (height x width), and {wanted.like} is "
            f"{'x'.join(map(str, wanted.size or ()))}; give images of one size, or say "
            f"folder:PATH,size=32 to have them scaled"
        )
    pixels = np.asarray(image)
    return (pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)), wanted


def _upright(image: Any) -> Any:
    """Return an image as it is to be seen: turned or mirrored as its EXIF orientation says.

    As in a viewer, EXIF that cannot be read says nothing.
    """
    from PIL import ImageOps

    try:
        image.getexif()
    except Exception:  # whatever Pillow makes of damage
        return image
    return ImageOps.exif_transpose(image)


def _colored(image: Any, path: Path, wanted: _Wanted) -> Any:
    """Return an image in gray or in color, as Pillow's "L" or "RGB"."""
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    may_be = image.mode in _TRANSPARENT or "transparency" in image.info
    if may_be and image.convert("RGBA").getextrema()[3][0] < _OPAQUE:
        raise DataError(
            f"{path}: has transparent pixels; give it a ground (Pillow: Image.alpha_composite)"
        )
    natural = "L" if image.mode in _GRAY else "RGB" if image.mode in _COLOR else None
    if natural is None and not (wanted.converts and image.mode in _PRINTED):
        raise DataError(
            f"{path}: has pixels of Pillow's mode {image.mode}; 8 bits of gray or color are "
            f"needed: save it so, or load it yourself and call tandem_hw.image_dataset with "
            f"value_range"
        )
    if not wanted.converts and wanted.mode not in (None, natural):
        kinds = {mode: kind for kind, mode in _MODES.items()}
        raise DataError(
            f"{path}: is {kinds[str(natural)]}, and {wanted.like} is {kinds[str(wanted.mode)]}; "
            f"give images of one kind, or say folder:PATH,color=gray or color=rgb"
        )
    mode = wanted.mode or natural
    return image if image.mode == mode else image.convert(mode)
