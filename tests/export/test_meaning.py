"""What outputs mean, in files of networks: kept, checked, and without a trace where nobody said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from tandem_hw.errors import FileFormatError
from tandem_hw.export.files import read_network, write_network
from tandem_hw.export.net_file import read_net, write_net
from tandem_hw.network.output_meaning import NAMES_BYTES_MAX, OutputMeaning
from tests.helpers.net_file_edits import fixed, put_attribute
from tests.helpers.recordings import small_network

MEANING = OutputMeaning("classification", ("cat", "dog", "Bär"))
OWN = {"objective", "class_names", "meaning_digest"}


@pytest.mark.parametrize("suffix", [".net", ".nir"])
@pytest.mark.parametrize(
    "meaning",
    [
        MEANING,
        OutputMeaning("regression"),
        None,
        OutputMeaning("classification", ("a" * 5000, "ä" * 20_000, "\n\x1b\0")),
        OutputMeaning("classification", ("a" * (NAMES_BYTES_MAX - 4),)),
        OutputMeaning(
            "classification", ("family \U0001f468\u200d\U0001f469", "a\u00a0b", "\u202e")
        ),
    ],
    ids=["names", "regression", "none", "long names", "longest name", "not printable"],
)
def test_a_file_keeps_what_outputs_mean(
    tmp_path: Path, suffix: str, meaning: OutputMeaning | None
) -> None:
    if suffix == ".nir":
        pytest.importorskip("nir")
    network = replace(small_network(), meaning=meaning)
    path = tmp_path / f"a{suffix}"
    write_network(network, path, tandem_only=suffix == ".nir")
    found = read_network(path)
    assert (found.meaning, found.digest) == (meaning, network.digest)


def test_without_a_meaning_nothing_is_written_of_it(tmp_path: Path) -> None:
    network = small_network()
    write_net(network, tmp_path / "plain.net")
    write_net(replace(network, meaning=MEANING), tmp_path / "meant.net")
    with h5py.File(tmp_path / "plain.net") as plain, h5py.File(tmp_path / "meant.net") as meant:
        assert {*meant.attrs} - {*plain.attrs} == OWN
        assert not OWN & {*plain.attrs}
        assert all(plain.attrs[name] == meant.attrs[name] for name in plain.attrs)
    write_net(read_net(tmp_path / "plain.net"), tmp_path / "again.net")
    assert (tmp_path / "again.net").read_bytes() == (tmp_path / "plain.net").read_bytes()


@pytest.mark.parametrize("name", sorted(OWN))
@pytest.mark.parametrize("value", ["regression", '["cat","dog","fox"]', None, 3])
def test_a_meaning_that_was_changed_is_refused(
    tmp_path: Path, name: str, value: str | int | None
) -> None:
    path = tmp_path / "a.net"
    write_net(replace(small_network(), meaning=MEANING), path)
    with h5py.File(path, "r+") as file:
        if value is None:
            del file.attrs[name]
        elif isinstance(value, int):
            file.attrs.modify(name, value)
        else:
            put_attribute("/", name, fixed(value))(file)
    with pytest.raises(FileFormatError, match=r"a\.net: .*do not match each other; export it aga"):
        read_net(path)


def test_more_names_than_outputs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    write_net(small_network(), path)
    attributes = OutputMeaning("classification", tuple("abcd")).to_attributes()
    with h5py.File(path, "r+") as file:
        for name, value in attributes.items():
            put_attribute("/", name, fixed(value))(file)
    with pytest.raises(FileFormatError, match="4 classes have names, and the network 3 outputs"):
        read_net(path)


@pytest.mark.parametrize("name", ["objective", "class_names"])
def test_a_meaning_that_is_no_text_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.net"
    write_net(replace(small_network(), meaning=MEANING), path)
    with h5py.File(path, "r+") as file:
        file.attrs.create(name, np.array(b'["caf\xe9"]', h5py.string_dtype("utf-8", 8)))
    with pytest.raises(FileFormatError, match=rf"a\.net: /: attribute '{name}' is not UTF-8 text$"):
        read_net(path)


@pytest.mark.parametrize("kind", ["attribute", "group"])
def test_a_name_in_a_file_that_is_no_text_is_not_expected(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.net"
    write_net(small_network(), path)
    with h5py.File(path, "r+") as file:
        if kind == "group":
            h5py.h5g.create(file.id, b"caf\xe9")
        else:
            space = h5py.h5s.create(h5py.h5s.SCALAR)
            made = h5py.h5a.create(file.id, b"caf\xe9", h5py.h5t.NATIVE_INT64, space)
            made.write(np.array(1, np.int64))
    with pytest.raises(FileFormatError, match=r"a\.net: /.*caf\\+xe9'\"? is not expected"):
        read_net(path)
