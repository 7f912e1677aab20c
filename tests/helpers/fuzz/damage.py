"""What is done to a file: bytes at random, or values in their places, as a wrong program would."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import torch

from tests.helpers.fuzz.field_edits import NAMES, changed, places

#: Values that take the place of others, of any type.
VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2, -3, 7.5, 255, 1 << 31, 1 << 40, -(1 << 62), 1e38, math.inf, -math.inf, math.nan),
    *("", "x", "subtract", "\x1b[31m\n", "ü" * 3000, None, True, False, b"\xff\x00"),
    *([], [0], [1, 2, 3], (), {}, {"a": 1}, [[1]], [-1, 1 << 40]),
)


def damage_bytes(content: bytes, random: Random) -> bytes:
    """Return bytes of which some are changed, missing, doubled or zeroed, or the end is."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8))):
        place = random.randrange(len(data) + 1)
        length = random.choice((1, 2, 8, 64, 512))
        how = random.randrange(5)
        if how == 0 and place < len(data):
            data[place] ^= 1 << random.randrange(8)
        elif how == 1:
            data[place : place + length] = random.randbytes(length)
        elif how == 2:
            del data[place : place + length]
        elif how == 3:
            data[place:place] = data[place : place + length]
        else:
            del data[place:]
        if not data:
            return b""
    return bytes(data)


def edit_torch(path: Path, random: Random) -> None:
    """Change what ``torch.save`` wrote: a value, a key or a tensor, however deep it lies."""
    try:
        content = torch.load(path, weights_only=True)
    except pickle.UnpicklingError:  # an edit before this one was of a kind that is not read again
        return
    found = list(places(content)) if isinstance(content, dict | list) else []
    if not found:
        return
    place = random.choice(found)
    torch.save(changed(content, place, lambda holder, key: _edit_place(holder, key, random)), path)


def _edit_place(holder: Any, key: Any, random: Random) -> None:
    how = random.randrange(4)
    if how == 0:
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[random.choice((*NAMES, f"{key}2"))] = holder[key]
    elif isinstance(holder[key], torch.Tensor):
        holder[key] = _other_tensor(holder[key], random)
    else:
        holder[key] = random.choice(VALUES)


def _other_tensor(tensor: torch.Tensor, random: Random) -> torch.Tensor:
    other = tensor.clone()
    odd = (math.nan, math.inf, -math.inf, -1.0, 0.0, 1e30, 1e-40, 3e8)
    choices: tuple[Callable[[], torch.Tensor], ...] = (
        lambda: other.flatten()[:0],
        lambda: other.flatten(),
        lambda: other.unsqueeze(0),
        lambda: other.to(torch.int32),
        lambda: other.to(torch.float64),
        lambda: other.to(torch.complex64),
        lambda: other.to(torch.float16),
        lambda: other.new_full(other.shape, random.choice(odd) if other.is_floating_point() else 3),
        lambda: _one_value(other, random.choice(odd), random),
        lambda: torch.zeros(1).expand(1 << 24),
    )
    return random.choice(choices)()


def _one_value(tensor: torch.Tensor, value: float, random: Random) -> torch.Tensor:
    if tensor.numel() and tensor.is_floating_point():
        tensor.view(-1)[random.randrange(tensor.numel())] = value
    return tensor


def edit_npz(path: Path, random: Random) -> None:
    """Change an array of an npz file, leave one out, or add one."""
    with np.load(path) as file:
        arrays = dict(file)
    name = random.choice(sorted(arrays))
    how = random.randrange(3)
    if how == 0:
        del arrays[name]
    elif how == 1:
        arrays[random.choice(("x", "x_train", "events_test", "\x1b[2J"))] = arrays[name]
    else:
        try:
            arrays[name] = other_array(arrays[name], random)
        except TypeError:  # fields are no numbers
            arrays[name] = arrays[name]["t"]
        except ValueError:  # an edit before this one has put a text there
            arrays[name] = arrays[name][None]
    np.savez(path, **arrays)


def other_array(array: np.ndarray[Any, Any], random: Random) -> np.ndarray[Any, Any]:
    """Return an array of another type, shape or value in the place of one."""
    choices: tuple[Callable[[], Any], ...] = (
        lambda: array[:0] if array.ndim else array,
        lambda: array.reshape(-1),
        lambda: array[None],
        lambda: array.astype(random.choice(("f8", "f4", "i8", "u1", "i1", "c8", "U3", "?"))),
        lambda: np.full_like(array, random.choice((0, 1, 3, 100))),
        lambda: np.full(array.shape, random.choice((-1.0, math.nan, math.inf, 1e300))),
        lambda: np.array(random.choice((0, -1, 7.5, "x", "ü" * 3000, 1 << 40))),
        lambda: array[..., :-1] if array.ndim else array,
        lambda: _one_entry(array.copy(), random),
    )
    found: np.ndarray[Any, Any] = random.choice(choices)()
    return found


def _one_entry(array: np.ndarray[Any, Any], random: Random) -> np.ndarray[Any, Any]:
    if array.size and array.dtype.kind in "iuf":
        array.flat[random.randrange(array.size)] = random.choice((0, 1, 2, 77))
    return array


def edit_hdf5(path: Path, random: Random) -> None:
    """Change a data set, an attribute or a link of an HDF5 file, leave one out, or add one."""
    with h5py.File(path, "r+") as file:
        objects: list[Any] = [file]
        file.visititems(lambda _, item: objects.append(item))
        item = random.choice(objects)
        attributes = sorted(item.attrs)
        if attributes and random.random() < 0.5:
            _edit_attribute(item, random.choice(attributes), random)
        elif isinstance(item, h5py.Dataset):
            _edit_dataset(item, random)
        elif sorted(item):
            _edit_link(item, random.choice(sorted(item)), random)


def _edit_attribute(item: Any, name: str, random: Random) -> None:
    how = random.randrange(3)
    if how == 0:
        del item.attrs[name]
    elif how == 1:
        item.attrs[random.choice(("x", f"{name}2"))] = item.attrs[name]
    else:
        try:
            item.attrs[name] = random.choice(VALUES)
        except (TypeError, ValueError, OSError):  # HDF5 has no such type
            item.attrs[name] = random.choice((0, -1, 7.5, "x", 1 << 40))


def _edit_dataset(item: Any, random: Random) -> None:
    group, name, values = item.parent, item.name, item[()]
    changed = np.asarray(values)
    del group[name]
    if random.randrange(4) > 0:
        try:
            group[name] = other_array(changed, random)
        except (TypeError, ValueError, OSError):
            group[name] = random.choice((0, -1, 7.5, "x", 1 << 40))


def _edit_link(group: Any, name: str, random: Random) -> None:
    how = random.randrange(4)
    if how == 0:
        del group[name]
    elif how == 1:
        other = random.choice(("x", f"{name}2", "7"))
        # A link that an edit before this one has led nowhere has nothing to copy.
        if other not in group and group.get(name) is not None:
            group.copy(group[name], other)
    elif how == 2:
        del group[name]
        group[name] = h5py.SoftLink(random.choice(("/", f"/{name}", "/nowhere")))
    else:
        del group[name]
        group[name] = h5py.ExternalLink("elsewhere.h5", "/")
