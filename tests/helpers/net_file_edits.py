"""Edits of a .net file by h5py, and the form of the refusal that follows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tandem_hw.errors import FileFormatError
from tandem_hw.export.net_file import read_net

Edit = Callable[[h5py.File], object]


def refused_after(model: Path, edit: Edit) -> str:
    with h5py.File(model, "r+") as file:
        edit(file)
    with pytest.raises(FileFormatError) as caught:
        read_net(model)
    message = str(caught.value)
    assert message.startswith(f"{model}: ")
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    assert len(message) < 1000
    return message


def set_value(name: str, value: Any) -> Edit:
    def edit(file: h5py.File) -> None:
        file[name][...] = value

    return edit


def put(name: str, value: Any, **options: Any) -> Edit:
    """Replace a dataset, or add one."""

    def edit(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, data=value, **options)

    return edit


def put_attribute(group: str, name: str, value: Any) -> Edit:
    def edit(file: h5py.File) -> None:
        file[group].attrs[name] = value

    return edit


def put_link(name: str, target: str) -> Edit:
    def edit(file: h5py.File) -> None:
        file[name] = h5py.SoftLink(target)

    return edit


def remove(name: str) -> Edit:
    def edit(file: h5py.File) -> None:
        del file[name]

    return edit


def remove_attribute(group: str, name: str) -> Edit:
    def edit(file: h5py.File) -> None:
        del file[group].attrs[name]

    return edit


def fixed(text: str) -> Any:
    """Return a text of fixed length, as the format has them."""
    encoded = text.encode()
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(1, len(encoded))))
