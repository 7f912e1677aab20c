from __future__ import annotations

import os
import pickle
import random
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tandem_hw.conversion.convert import convert
from tandem_hw.errors import ConversionError, FileFormatError
from tandem_hw.export.freezing import freeze
from tandem_hw.learning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tandem_hw.learning.model import TandemNetwork
from tests.helpers.present import present

IMAGES = torch.randint(0, 16, (5, 1, 4, 4), dtype=torch.uint8)


def make_model(**options: Any) -> TandemNetwork:
    torch.manual_seed(2)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, (1, 2), padding=1, bias=False),
        nn.BatchNorm2d(4, eps=1e-3, momentum=0.9),
        nn.ReLU(),
        nn.Dropout2d(0.25),
        nn.Flatten(),
        nn.Linear(4 * 4 * 2, 3),
    )
    model = convert(network, input_shape=(1, 4, 4), num_steps=3, activation_max=0.3, **options)
    model(IMAGES)  # statistics that are not the initial ones
    return model


def save(folder: Path, **fields: Any) -> Path:
    path = folder / "model.pt"
    save_checkpoint(Checkpoint(make_model(), **fields), path)
    return path


def refuse(path: Path, message: str) -> None:
    with pytest.raises(FileFormatError, match=message) as caught:
        load_checkpoint(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"reset": "zero", "weight_bits": 3, "readout": "count", "twin": "relu", "input_bits": 6},
        {"reset": "zero", "current_decay": 3000, "voltage_decay": 12},
        {"firing_delay": 2},
    ],
    ids=["defaults", "others", "leaky", "waiting"],
)
def test_a_model_comes_back_bit_for_bit(tmp_path: Path, options: dict[str, Any]) -> None:
    model = make_model(**options)
    metrics = [{"epoch": 1, "loss": 0.1 + 0.2, "validation_accuracy": None}]
    training = {"epoch": 1, "state": {"step": torch.arange(3)}, "best": 0.5}
    save_checkpoint(Checkpoint(model, "digits", metrics, training), tmp_path / "a.pt")
    found = load_checkpoint(tmp_path / "a.pt")
    assert found.model.architecture == model.architecture
    assert found.model.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value), name
    assert (found.data, found.metrics) == ("digits", metrics)
    assert torch.equal(found.training["state"]["step"], torch.arange(3))
    assert not found.model.training
    assert freeze(found.model).digest == freeze(model).digest
    expected = model.eval().record(IMAGES)
    first = expected.counts["conv1"]
    assert first.any()
    assert torch.equal(found.model.record(IMAGES).counts["conv1"], first)
    assert torch.equal(found.model(IMAGES), model(IMAGES))


def test_folders_are_made_and_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.pt"
    for name in ("first", "second"):
        save_checkpoint(Checkpoint(make_model(), name), path)
        assert load_checkpoint(path).data == name
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_save_leaves_the_older_file(tmp_path: Path) -> None:
    path = save(tmp_path, data="first")
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        save_checkpoint(Checkpoint(make_model(), "second", training={"x": lambda: 0}), path)
    assert load_checkpoint(path).data == "first"
    assert list(tmp_path.iterdir()) == [path]


class Harmful:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("kind", ["plain pickle", "torch file", "inside of a checkpoint"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "harmful.pt", tmp_path / "run"
    if kind == "plain pickle":
        path.write_bytes(pickle.dumps(Harmful(target)))
    elif kind == "torch file":
        torch.save(Harmful(target), path)
    else:
        torch.save(torch.load(save(tmp_path), weights_only=True) | {"x": Harmful(target)}, path)
    refuse(path, "is damaged or not a checkpoint")
    assert not target.exists()
    torch.save(Harmful(target), path)
    torch.load(path, weights_only=False)
    assert target.exists()  # it would have been run


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path)
    content = path.read_bytes()
    for length in [0, 1, 4, 100, len(content) // 2, len(content) - 100, len(content) - 1]:
        path.write_bytes(content[:length])
        refuse(path, "is damaged or not a checkpoint; train again or restore the file")


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = save(tmp_path)
    content = path.read_bytes()
    expected = load_checkpoint(path).model.state_dict()
    draw, refused = random.Random(0), 0
    for _ in range(150):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            found = load_checkpoint(path).model.state_dict()
        except FileFormatError:
            refused += 1
        else:
            assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert refused > 50


def test_a_wrong_length_in_the_archives_directory_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path)
    with zipfile.ZipFile(path) as archive:
        record = max(
            archive.infolist(), key=lambda info: "/data/" in info.filename and info.file_size
        )
        directory = archive.start_dir
    content = bytearray(path.read_bytes())
    length = record.file_size.to_bytes(4, "little")
    # The second one of the two equal lengths before the name is that of the unpacked record.
    place = content.index(2 * length, directory) + 4
    content[place : place + 4] = (record.file_size // 2).to_bytes(4, "little")
    path.write_bytes(content)
    refuse(path, "is damaged or not a checkpoint")


def test_a_record_that_poses_as_a_folder_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path)
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    content = bytearray(path.read_bytes())
    content[content.index(b"archive/data/0", directory) - 8] ^= 0x10
    path.write_bytes(content)
    refuse(path, "is damaged or not a checkpoint")


def test_the_same_checkpoint_makes_the_same_file(tmp_path: Path) -> None:
    contents = set()
    for name in ("a.pt", "b.pt"):
        save_checkpoint(Checkpoint(make_model(), "digits"), tmp_path / name)
        contents.add((tmp_path / name).read_bytes())
    assert len(contents) == 1


def test_a_flipped_bit_of_a_weight_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path)
    weight = present(make_model().tandem_layers[1].weight).detach().numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(weight) + 6] ^= 1
    path.write_bytes(content)
    refuse(path, "is damaged or not a checkpoint")


@pytest.mark.parametrize(
    "content", [b"hello\n", b"\x80\x02.", b"\x80\x02}q\x00.", b"\x89HDF\r\n\x1a\n"]
)
def test_foreign_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.pt"
    path.write_bytes(content)
    refuse(path, "is damaged or not a checkpoint")


@pytest.mark.parametrize("content", [{}, {"weight": torch.zeros(2)}, [1, 2], torch.zeros(3), "x"])
def test_torch_files_of_other_programs_are_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "foreign.pt"
    torch.save(content, path)
    refuse(path, "is not a tandem-hw checkpoint; train one with tandem-hw train")


def test_a_zip_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    refuse(path, "is damaged or not a checkpoint")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    refuse(tmp_path / "none.pt", "does not exist; give a checkpoint that tandem-hw train wrote")
    refuse(tmp_path, "is not a file; give a checkpoint")


def test_a_folder_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="is a folder; give the name of a file"):
        save_checkpoint(Checkpoint(make_model()), tmp_path)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1.0])
def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, value: float) -> None:
    model = make_model()
    norm: Any = model.tandem_layers[0].norm
    norm.running_var[1] = value
    with pytest.raises(
        ConversionError, match=r"running_var holds values .*, and could not be read again from .*lo"
    ):
        save_checkpoint(Checkpoint(model), tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


def test_a_network_that_does_not_wait_is_written_as_before(tmp_path: Path) -> None:
    found = torch.load(save(tmp_path), weights_only=True)
    assert found["format_version"] == 2
    assert "firing_delay" not in found["architecture"]["options"]
    assert load_checkpoint(tmp_path / "model.pt").model.architecture.options.firing_delay == 0


def test_older_versions_refuse_a_network_that_waits(tmp_path: Path) -> None:
    save_checkpoint(Checkpoint(make_model(firing_delay=1)), tmp_path / "model.pt")
    found = torch.load(tmp_path / "model.pt", weights_only=True)
    assert found["format_version"] == 3  # of which they know nothing
    assert found["architecture"]["options"]["firing_delay"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"firing_delay": 3}, "firing_delay is 3; allowed are 0 to 2"),
        ({"firing_delay": "phased"}, "firing_delay is 'phased'; allowed are 0 to 2"),
        ({"firing_delay": 1, "reset": "zero"}, 'firing_delay is 1 with reset "zero"'),
    ],
)
def test_a_delay_in_a_file_is_checked(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    path = save(tmp_path)
    rewrite(path, lambda content: content["architecture"]["options"].update(options))
    refuse(path, message)


@pytest.mark.parametrize("version", [0, 5, "1", None, torch.zeros(2)])
def test_another_format_version_is_refused(tmp_path: Path, version: Any) -> None:
    path = save(tmp_path)
    rewrite(path, lambda content: content.update(format_version=version))
    refuse(path, r"checkpoint of format version .*reads versions 1 to 4")


@pytest.mark.parametrize("key", ["architecture", "parameters", "data", "metrics", "training"])
@pytest.mark.parametrize("change", ["missing", "other type"])
def test_a_missing_part_is_named(tmp_path: Path, key: str, change: str) -> None:
    path = save(tmp_path)
    if change == "missing":
        rewrite(path, lambda content: content.pop(key))
    else:
        rewrite(path, lambda content: content.update({key: 3}))
    refuse(path, f"lacks {key}; the file is damaged")


def damaged_layer(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["architecture"]["layers"][0].update(fields)


def damaged_options(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["architecture"]["options"].update(fields)


DAMAGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "no layers": lambda content: content["architecture"].update(layers=[]),
    "layers of another type": lambda content: content["architecture"].update(layers=3),
    "no input": lambda content: content["architecture"].pop("input"),
    "no options": lambda content: content["architecture"].pop("options"),
    "unknown field": damaged_layer(sparsity=0.5),
    "unknown kind": damaged_layer(kind="pool"),
    "stride of zero": damaged_layer(stride=(0, 0)),
    "text for a number": damaged_layer(out="many"),
    "short pair": damaged_layer(kernel=(3,)),
    "more channels": damaged_layer(out=5),
    "huge": damaged_layer(out=10**30),
    "three groups": damaged_layer(groups=3),
    "norm left out": damaged_layer(norm=False),
    "unknown option": damaged_options(leak=0.1),
    "unknown reset": damaged_options(reset="soft"),
    "half a decay": damaged_options(reset="zero", voltage_decay=0.5),
    "no steps": damaged_options(num_steps=0),
    "input of 9 bits": lambda content: content["architecture"]["input"].update(bits=9),
    "another shape": lambda content: content["architecture"]["input"].update(shape=(1, 5, 8)),
    "missing tensor": lambda content: content["parameters"].pop("layers.0.weight"),
    "another tensor": lambda content: content["parameters"].update(x=torch.zeros(2)),
    "no tensor": lambda content: content["parameters"].update({"layers.0.weight": "none"}),
}


def damaged_parameter(value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["parameters"].update({"layers.0.weight": value})


NAMED: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "missing": (DAMAGES["missing tensor"], r"layers\.0\.weight is missing"),
    "not expected": (DAMAGES["another tensor"], "x is not expected"),
    "shape": (damaged_parameter(torch.zeros(2)), r"layers\.0\.weight is \(2,\); \(4, 1, 3, 3\) is"),
    "no tensor": (damaged_parameter("none"), r"layers\.0\.weight is str; \(4, 1, 3, 3\) is needed"),
    "integers": (
        damaged_parameter(torch.zeros((4, 1, 3, 3), dtype=torch.int32)),
        r"layers\.0\.weight holds 36 values of type torch\.int32",
    ),
    "skips": (damaged_layer(skips=[{"kind": "sum"}] * 1023), "1026 layers and skips; 1024 are"),
}


@pytest.mark.parametrize("case", NAMED)
def test_what_is_wrong_with_a_model_is_named(tmp_path: Path, case: str) -> None:
    change, message = NAMED[case]
    path = save(tmp_path)
    rewrite(path, change)
    refuse(path, rf"the model cannot be rebuilt \(.*{message}")


def test_a_network_of_too_many_layers_is_refused_before_it_is_trained() -> None:
    architecture = make_model().architecture
    with pytest.raises(
        ConversionError, match="the network has 1025 layers and skips; allowed are 1024 at"
    ):
        replace(architecture, layers=(architecture.layers[0],) * 1025)


@pytest.mark.parametrize("case", DAMAGES)
def test_a_model_that_cannot_be_rebuilt_is_refused(tmp_path: Path, case: str) -> None:
    path = save(tmp_path)
    rewrite(path, DAMAGES[case])
    refuse(path, r"the model cannot be rebuilt \(.+\)")
