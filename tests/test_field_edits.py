"""Whatever a checkpoint or ``last.pt`` holds in a field: it is refused in a line, or can be used.

Every field is left out, doubled under another name, and replaced by whatever is of another type,
shape or range. ``tests.helpers.fuzz.field_edits`` says by what.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from tandem_hw.errors import ConversionError, NetworkError, TandemError
from tandem_hw.plain_text import plain
from tests.helpers.command_line import run
from tests.helpers.fuzz import case
from tests.helpers.fuzz.field_edits import Edit, changed, edits, places, value_at
from tests.helpers.fuzz.formats import FORMATS

#: Seed files: their format and name, and how many edits the default run passes over for each that
#: it tries. The numbers are prime, so that each way of editing meets each field in time.
FILES = {
    ("checkpoint", "0.pt"): 19,
    ("checkpoint", "1.pt"): 71,
    ("checkpoint", "kinds.pt"): 151,
    ("training", "adam.pt"): 127,
    ("training", "sgd.pt"): 223,
}


def content_of(kind: str, name: str) -> Any:
    (path,) = (path for path in case.seeds(kind) if path.name == name)
    return torch.load(path, weights_only=True)


def outcome(kind: str, name: str, edit: Edit, folder: Path) -> str:
    """Return "refused" or "read"; whatever else comes out of it is a fault."""
    path = folder / name
    torch.save(edit.content, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch comments on some values
            FORMATS[kind].read(path)
    except TandemError as error:
        message = str(error)
        # Of a network that is read, and then cannot be exported or trained, the layer is named.
        refusals = ConversionError, NetworkError
        of_layer = isinstance(error, refusals) and message.startswith("layer ")
        assert name in message or "last.pt" in message or of_layer, edit.name
        assert "\n" not in message, edit.name
        assert len(plain(message)) < 2000, edit.name
        return "refused"
    except Exception as error:
        raise AssertionError(f"{edit.name}: {type(error).__name__}") from error
    return "read"


def try_edits(kind: str, name: str, folder: Path, step: int) -> Counter[str]:
    found = Counter[str]()
    for number, edit in enumerate(islice(edits(content_of(kind, name)), 0, None, step)):
        place = folder / str(number)
        place.mkdir()
        found[outcome(kind, name, edit, place)] += 1
    return found


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_a_field_that_is_another_one_is_refused_or_used(
    kind: str, name: str, tmp_path: Path
) -> None:
    found = try_edits(kind, name, tmp_path, FILES[kind, name])
    assert sum(found.values()) > 25
    assert found["refused"] > 4 * found["read"] > 0


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kind", "name"), FILES)
def test_every_field_that_is_another_one_is_refused_or_used(
    kind: str, name: str, tmp_path: Path
) -> None:
    found = try_edits(kind, name, tmp_path, 1)
    assert sum(found.values()) > 3000
    assert found["refused"] > 4 * found["read"] > 0


def test_an_edit_changes_one_field_and_leaves_the_file_as_it_was() -> None:
    content = {"a": (1, [2, 3]), "b": {"c": torch.zeros(2)}}
    assert list(places(content)) == [
        *(("a",), ("a", 0), ("a", 1), ("a", 1, 0), ("a", 1, 1), ("b",), ("b", "c")),
    ]
    found = changed(content, ("a", 1, 0), lambda holder, key: holder.pop(key))
    assert found["a"] == (1, [3])
    assert content["a"] == (1, [2, 3])
    assert found["b"] is content["b"]
    assert value_at(content, ("a", 1, 1)) == 3
    names = [edit.name for edit in edits(content)]
    assert len(names) == len(set(names)) > 6 * 20
    assert "a/1/0 = infinite" in names
    assert "b/c = complex" in names
    assert "b/c also step" in names


#: What the issue names: each was a traceback, or another network without a word.
NAMED = {
    "architecture/layers/0/norm_eps = text": "the norm_eps of layer 0 is 'x'; allowed are zero or",
    "architecture/layers/1/p = text": "the p of layer 1 is 'x'; allowed are a share from 0",
    "architecture/options/weight_bits = fraction": "weight_bits is 7.5; allowed are 2 to 8, as a",
    "architecture/options/activation_max = negative": "activation_max must be a positive number",
    "parameters/layers.0.norm.running_var = infinite": r"running_var holds values that are infini",
    "parameters/layers.0.norm.running_var = negative": r"running_var holds values below zero",
    "parameters/layers.0.peak = infinite": r"layers\.0\.peak holds values that are infinite or no",
    "architecture/options/num_steps = true": "the num_steps is True; allowed are 1 to 4096, as a",
    "format_version = true": "checkpoint of format version True; this tandem-hw reads v",
    "metrics/0 = text": "the metrics of its epochs are damaged",
}


@pytest.mark.parametrize("name", NAMED)
def test_the_command_line_names_the_field(name: str, tmp_path: Path) -> None:
    (edit,) = (edit for edit in edits(content_of("checkpoint", "0.pt")) if edit.name == name)
    path = tmp_path / "model.pt"
    torch.save(edit.content, path)
    result = run("export", path, "--out", tmp_path / "model.net")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert re.search(NAMED[name], result.stderr)
    assert [one.name for one in tmp_path.iterdir()] == ["model.pt"]
