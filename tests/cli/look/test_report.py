"""Reports of all commands: what they show is what the commands found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tandem_hw.cli.work import simulate as simulate_command
from tandem_hw.export.freezing import freeze
from tandem_hw.export.net_file import read_net, write_net
from tandem_hw.learning.checkpoint import load_checkpoint
from tandem_hw.training.options import TrainingOptions
from tests.helpers.command_line import run, succeed, written_json
from tests.helpers.pages import Seen, looked_at
from tests.helpers.trainings import run as train_rows

pytestmark = pytest.mark.usefixtures("without_pictures")


def seen(path: Path) -> Seen:
    return looked_at(path.read_text(encoding="utf-8"))


def test_a_simulation_is_shown_with_the_numbers_of_its_json(here: Path) -> None:
    line = "simulate a.net --data npz:a.npz --json a.json --report a.html"
    succeed(*line.split())
    found, page = written_json(here / "a.json"), seen(here / "a.html")
    assert page.headings == [
        "a.net on reference",
        "Confusion matrix",
        "Layer by layer",
        "A sample step by step",
        "On a Loihi 2",
        "The network",
        "Options, versions, digests",
    ]
    table = page.table("SynOps/MACs")
    for row, layer in zip(table[1:], found["layers"], strict=True):
        assert row[0] == layer["name"]
        assert row[2] == ("readout" if layer["spikes"] is None else str(layer["spikes"]))
    matrix = page.table("true class")
    counts = np.array([[int(cell or 0) for cell in row[1:]] for row in matrix[1:]])
    assert counts.shape == (3, 3)
    assert counts.sum() == found["samples"]
    assert counts.trace() / counts.sum() == found["accuracy"]
    wrong = int(counts.sum() - counts.trace())
    assert wrong > 0
    images = [text for text in page.alternatives if text.startswith("Image of sample")]
    assert len(images) == min(wrong, 12)
    options = {row[0]: row[1] for row in page.table("option")[1:]}
    assert options["NET"] == "a.net"
    assert options["--data"] == "npz:a.npz"
    assert options["--backend"] == "reference"
    digests = {row[0]: row[1] for row in page.table("digest")[1:]}
    assert digests["network"] == found["network_digest"]
    assert any("Davies 2018" in text for text in page.texts)


def test_the_same_run_gives_the_same_report(here: Path) -> None:
    for name in ("one", "two"):
        succeed("inspect", "a.net", "--chip", "--report", f"{name}.html")
    one, two = ((here / f"{name}.html").read_bytes() for name in ("one", "two"))
    assert one.replace(b"one.html", b"two.html") == two


def test_backends_that_agree_are_said_to_agree_first(here: Path) -> None:
    line = (
        "verify a.net --data npz:a.npz --backends reference,lava-cpu --json v.json --report v.html"
    )
    succeed(*line.split())
    found, page = written_json(here / "v.json"), seen(here / "v.html")
    verdict = next(text for text in page.texts if text.startswith("MATCH"))
    assert verdict == (
        "MATCH: every spike count and every output is equal on reference, shortened (24 samples)"
    )
    assert page.texts.index(verdict) < page.texts.index("Backends against each other")
    table = page.table("mismatched")
    assert [row[2] for row in table[1:-1]] == [str(layer["spikes"]) for layer in found["layers"]]
    words = f"conv: {24 * 36} counts of neurons, all of them equal."
    assert any(text.startswith(words) for text in page.texts)


def test_the_first_difference_is_shown_step_by_step_on_both(here: Path) -> None:
    line = "verify a.net --data npz:a.npz --backends reference,c --json v.json --report v.html"
    result = run(*line.split())
    assert result.exit_code == 1, result.output
    page = seen(here / "v.html")
    found = written_json(here / "v.json")["first_difference"]
    verdict = next(text for text in page.texts if text.startswith("MISMATCH"))
    assert verdict == f"MISMATCH: first in {found}"
    assert any(
        text.startswith("hidden: 144 counts of neurons, 1 of them differ") for text in page.texts
    )
    assert any("on reference, shortened" in text for text in page.texts)
    first = next(text for text in page.texts if text.startswith("First difference: "))
    assert "shortened: layer hidden, step 2, neuron [2]: " in first
    assert "The neuron of hidden with the first difference. A circle is a spike." in page.texts


def test_a_network_is_shown_without_samples(here: Path) -> None:
    succeed("inspect", "a.net", "--report", "a.html")
    page = seen(here / "a.html")
    assert page.headings[1:] == ["The network", "Proven head room", "Options, versions, digests"]
    network = read_net(here / "a.net")
    assert [row[0] for row in page.table("threshold")[1:]] == [layer.name for layer in network]
    assert "Every state is proven to stay within 24 bits, whatever the samples." in page.texts
    succeed("inspect", "a.net", "--chip", "--report", "chip.html")
    assert "On a Loihi 2" in seen(here / "chip.html").headings


def test_a_training_is_shown_as_it_ends_and_from_its_folder(here: Path) -> None:
    line = "train npz:rows.npz --model mlp --num-steps 4 --epochs 3 --batch-size 20"
    line += " --learning-rate 0.005 --activation-max 0.5 --out new"
    succeed(*line.split(), "--report", "train.html", "--report-sample", 7)
    metrics = written_json(here / "new" / "metrics.json")
    assert metrics["silent_layers"] == []
    succeed("simulate", "a.net", "--data", "npz:a.npz", "--json", "new/simulate.json")
    line = "verify a.net --data npz:a.npz --backends reference,lava-cpu --json new/verify.json"
    succeed(*line.split())
    assert written_json(here / "new" / "verify.json")["network_digest"] == read_net("a.net").digest
    told = succeed("report", "new", "--report-sample", 7).output
    assert told == "wrote new/report.html\n"
    first, page = seen(here / "train.html"), seen(here / "new" / "report.html")
    for shown in (first, page):
        assert shown.headings[1:7] == [
            "Training",
            "Confusion matrix",
            "Layer by layer",
            "A sample step by step",
            "On a Loihi 2",
            "The network",
        ]
        table = shown.table("spike rate")
        assert len(table) == 1 + len(metrics["epochs"])
        assert table[3][0] == "3"
        assert table[3][table[0].index("loss")] == f"{metrics['epochs'][2]['loss']:.4g}"
        accuracy = f"{metrics['test_accuracy']:.2%}"
        assert f"The integer network is as good on the reference as in training: {accuracy}." in (
            shown.texts
        )
        assert any(text.startswith("Sample 7 of class 1") for text in shown.texts)
        assert any(text.startswith("Learning rate as the options plan it") for text in shown.texts)
        options = {row[0]: row[1] for row in shown.table("option")[1:]}
        assert options["batch size"] == "20"
    for name in ("simulate", "verify"):
        assert f"{name}.json is of another network than checkpoint.pt" in page.texts
    assert not any(text.startswith("MATCH") for text in page.texts)
    assert {"simulate.json", "verify.json"} <= set(page.headings)
    assert not {"simulate.json", "verify.json"} & set(first.headings)

    write_net(freeze(load_checkpoint(here / "new" / "checkpoint.pt").model), here / "new.net")
    line = "verify new.net --data npz:rows.npz --backends reference,lava-cpu --overwrite"
    succeed(*line.split(), "--json", "new/verify.json")
    content = written_json(here / "new" / "verify.json")
    content_of_old = {name: one for name, one in content.items() if name != "network_digest"}
    for said in (content, content_of_old):  # older versions did not say the digest
        (here / "new" / "verify.json").write_text(json.dumps(said))
        succeed("report", "new", "--overwrite")
        texts = seen(here / "new" / "report.html").texts
        assert "MATCH on reference, shortened (40 samples, verify.json)" in texts
        assert "verify.json is of another network than checkpoint.pt" not in texts


def test_a_network_that_is_not_the_trained_one_is_noticed(here: Path) -> None:
    path = here / "run" / "metrics.json"
    content = written_json(path) | {"test_accuracy": 0.125, "silent_layers": ["dense1"]}
    path.write_text(json.dumps(content))
    succeed("report", "run")
    page = seen(here / "run" / "report.html")
    assert any("the training said 12.50%: the data are others" in text for text in page.texts)
    assert "SILENT: dense1 never fired on the test samples" in page.texts


def test_without_its_data_a_training_is_shown_by_its_curves_and_network(tmp_path: Path) -> None:
    train_rows(tmp_path / "run", TrainingOptions(epochs=1, batch_size=16))
    result = succeed("report", tmp_path / "run")
    assert 'Warning: the report is without test samples (data set "rows" is unknown' in (
        result.output
    )
    page = seen(tmp_path / "run" / "report.html")
    assert page.headings[1:] == [
        "Training",
        "On a Loihi 2",
        "The network",
        "Options, versions, digests",
    ]
    refused = run("report", tmp_path / "run", "--overwrite", "--data", "rows")
    assert refused.exit_code == 2
    refused = run("report", tmp_path / "run", "--overwrite", "--report-sample", 3)
    assert refused.exit_code == 2
    assert "--report-sample 3: there are no test samples; give --data" in refused.output


def test_a_network_that_never_spiked_has_curves_alone(here: Path) -> None:
    line = "train npz:rows.npz --model mlp --num-steps 4 --epochs 1 --schedule ordinary"
    succeed(*line.split(), "--out", "plain", "--report", "plain.html")
    page = seen(here / "plain.html")
    assert page.headings[1:] == ["Training", "Options, versions, digests"]


def training_data(folder: Path) -> Path:
    """Return the file that the training in a folder was given."""
    return Path(written_json(folder / "run" / "metrics.json")["data"].removeprefix("npz:"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("simulate a.net --report a.pdf", "a.pdf: ends in .pdf, and what is written there is html"),
        ("simulate a.net --report a.net", "a.net: would be written over a.net"),
        ("simulate a.net --report a.json --json a.json", "a.json: is given twice"),
        ("simulate a.net --report run", "run: is a folder"),
        ("simulate a.net --report a.npz/x.html", "a.npz/x.html: cannot be written"),
        ("verify a.net --report a.txt", "a.txt: ends in .txt, and what is written there is html"),
        ("inspect a.net --report a.txt", "a.txt: ends in .txt, and what is written there is html"),
        ("train digits --out new --report new/last.pt", "new/last.pt: is given twice"),
        ("report run --out run/metrics.json", "would be written over run/metrics.json, which is"),
        ("report run --out run/linked.html", "would be written over run/metrics.json, which is"),
        ("report run --data npz:a.npz --out a.npz", "would be written over a.npz, which is read"),
        ("report run --out data.html", "data.html: would be written over"),
        ("report run --out run/a.txt", "reports are HTML"),
        ("report missing", "missing: holds no training, metrics.json is missing"),
        ("report a.net", "a.net: holds no training"),
        ("report run --report-sample 40", "has samples 0 to 39 to run, sample 40"),
        ("report run --samples 41", "has 40 test samples, 41 were asked for"),
        ("simulate a.net --data npz:a.npz --report a.html --report-sample 24", "samples 0 to 23"),
        ("verify a.net --data npz:a.npz --report a.html --report-sample 24", "samples 0 to 23"),
    ],
)
def test_mistakes_give_one_line_and_exit_status_2(
    here: Path, line: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*_: Any, **__: Any) -> None:
        raise AssertionError("work began")

    monkeypatch.setattr(simulate_command, "run_samples", begin)
    (here / "run" / "linked.html").hardlink_to(here / "run" / "metrics.json")
    (here / "data.html").symlink_to(training_data(here))
    before = sorted(here.rglob("*"))
    result = run(*line.split())
    assert result.exit_code == 2, result.output
    assert reason in result.output
    assert "Traceback" not in result.output
    assert sorted(here.rglob("*")) == before


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def edited(**changes: Any) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        path.write_text(json.dumps(written_json(path) | changes))

    return edit


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("metrics.json", truncated, "run/metrics.json: is truncated or no JSON"),
        ("metrics.json", lambda path: path.write_text("[" * 100_000), "is truncated or no JSON"),
        ("metrics.json", lambda path: path.write_bytes(b"\xff\xfe\x00"), "or no JSON"),
        ("metrics.json", lambda path: path.write_text("[1]"), "the file is list, not dict"),
        ("metrics.json", edited(epochs=[]), "has no epoch"),
        ("metrics.json", edited(epochs=3), "epochs is int, not list"),
        ("metrics.json", edited(epochs=[3]), "an epoch is int, not dict"),
        ("metrics.json", edited(epochs=[{"epoch": "a"}]), "the number of an epoch is str, not int"),
        ("metrics.json", edited(epochs=[{"epoch": 1, "loss": "a"}]), "loss is str, not int or fl"),
        (
            "metrics.json",
            edited(epochs=[{"epoch": 1, "loss": 1, "accuracy": [1]}]),
            "an epoch's accuracy is list, not str",
        ),
        ("metrics.json", edited(options=None), "options is NoneType, not dict"),
        ("metrics.json", edited(test_accuracy=10**400), "test_accuracy has more digits than any"),
        ("metrics.json", edited(epochs=[{"epoch": 10**99}]), "number of an epoch has more digits"),
        ("metrics.json", edited(test_accuracy="much"), "test_accuracy is str, not int or float"),
        ("metrics.json", edited(silent_layers="all"), "silent_layers is str, not list"),
        ("metrics.json", edited(run="another"), "checkpoint.pt: is of another training than metr"),
        ("checkpoint.pt", truncated, "checkpoint.pt: "),
        ("checkpoint.pt", Path.unlink, "checkpoint.pt: does not exist"),
        ("simulate.json", truncated, "run/simulate.json: is truncated or no JSON"),
        ("simulate.json", edited(layers=[[1]]), "a layer is list, not dict"),
        ("verify.json", edited(samples=-(10**30)), "verify.json: samples has more digits"),
        ("verify.json", edited(match="yes"), "run/verify.json: match is str, not bool"),
        ("verify.json", edited(layers=[{"name": {}}]), "a layer's name is dict, not str"),
    ],
)
def test_damaged_files_of_a_run_are_named(
    here: Path, name: str, damage: Callable[[Path], None], reason: str
) -> None:
    result = {"backend": "c", "match": True, "backends": ["a", "b"], "samples": 1, "layers": []}
    for other in ("simulate.json", "verify.json"):
        (here / "run" / other).write_text(json.dumps(result | {"seconds": ["x"] * 90}))
    damage(here / "run" / name)
    told = run("report", "run")
    assert told.exit_code == 2, told.output
    assert reason in told.output
    assert told.output.count("\n") == 1
    assert not (here / "run" / "report.html").exists()


def test_hostile_names_in_files_are_only_shown(here: Path) -> None:
    path = here / "run" / "metrics.json"
    content = written_json(path)
    name = "<script>alert(1)</script>\x1b[2J"
    content["options"][name] = name
    content["epochs"][0][name] = name
    content["silent_layers"] = [name]
    path.write_text(json.dumps(content))
    shutil.copy(path, here / "run" / "verify.json")
    layer = {"name": name, name: name}
    verified = {"match": True, "backends": [name, name], "samples": 1, "layers": [layer]}
    (here / "run" / "verify.json").write_text(json.dumps(verified | {"first_difference": name}))
    succeed("report", "run")
    page = seen(here / "run" / "report.html")
    plain = name.replace("\x1b", "\\x1b")
    assert sum(plain in text for text in page.texts) >= 6
