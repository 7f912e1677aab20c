"""The page about firing delays shows what the commands that it names print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import firing_delay
from benchmarks.__main__ import main
from benchmarks.firing_raster import small_network, text
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.benchmark_runs import measured, run_benchmark
from tests.helpers.project import ROOT


def test_the_page_shows_the_raster_that_the_command_prints() -> None:
    assert text() in (ROOT / "docs/firing-delay.md").read_text(encoding="utf-8")
    result = CliRunner().invoke(main, ["firing-raster"])
    assert result.exit_code == 0
    assert result.output == text() + "\n"


def test_phased_counts_of_the_raster_are_those_of_a_clipped_relu() -> None:
    network = small_network(3)
    inputs = np.array([[[1, 0], [1, 0], [1, 1], [1, 1]]], dtype=np.uint8)
    found = ReferenceBackend().run(network, inputs).counts
    counts = inputs.astype(int).sum(axis=1)
    for layer in network.layers:
        (synapses,) = layer.synapses
        assert layer.neurons.threshold is not None
        counts = np.clip(counts @ synapses.weight.T // layer.neurons.threshold, 0, 4)
        np.testing.assert_array_equal(found[layer.name], counts)


def test_delays_that_a_window_has_no_room_for_are_left_out() -> None:
    settings = list(firing_delay._settings(["ReLU", "0", "2", "phased"], (2, 4)))
    assert settings == [
        ("ReLU", 2), ("0", 2), ("0", 4), ("2", 4), ("phased", 2), ("phased", 4)
    ]  # fmt: skip


@pytest.mark.exhaustive
def test_a_measurement_of_events_is_drawn_with_one_of_another_seed(tmp_path: Path) -> None:
    files = []
    for seed in (0, 1):
        files.append(tmp_path / f"{seed}.json")
        result = run_benchmark(
            *("firing-delay", "--data", "moving-digits", "--network", "lenet", "--num-steps", 2),
            *("--delays", "ReLU,1", "--seeds", 1, "--first-seed", seed, "--epochs", 1),
            *("--samples", 64, "--out", tmp_path / "runs", "--json", files[-1]),
        )
        assert result.exit_code == 0, result.output
    picture = tmp_path / "delays.svg"
    drawn = measured(tmp_path, "firing-delay-plot", *files, "--out", picture)
    single = [json.loads(path.read_text())["rows"] for path in files]
    for row, *parts in zip(
        drawn["rows"], *(sorted(rows, key=_delay) for rows in single), strict=True
    ):
        accuracies = [part["accuracy"] for part in parts]
        assert row["seeds"] == 2
        assert row["spikes"] > 0 or row["delay"] == "ReLU"
        assert row["accuracy"] == sum(accuracies) / 2
        assert [row["lowest"], row["highest"]] == sorted(accuracies)
    assert {row["delay"] for row in drawn["rows"]} == {"ReLU", "1"}
    text = picture.read_text()
    assert "firing delay 1" in text
    assert "<path" in text


def _delay(row: dict[str, Any]) -> str:
    return str(row["delay"])
