"""Time and energy on a Loihi 2, as ``inspect --chip`` and ``simulate`` tell them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tandem_hw.chip.budget import chip_budget
from tandem_hw.cli import main
from tandem_hw.export.net_file import write_net
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.chip_layers import chip_network, dense
from tests.helpers.networks import random_inputs, small_network


def run(folder: Path, network: QuantizedNetwork, command: str) -> tuple[dict[str, Any], str]:
    """Write a network and samples, run a command on them, and return its JSON and its output."""
    write_net(network, folder / "model.net")
    inputs = random_inputs(network, 6)
    images = inputs.astype(np.float32) / network.input.largest
    labels = np.arange(6) % 2
    np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    arguments = [*command.split(), "--json", str(folder / "out.json"), "--overwrite"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads((folder / "out.json").read_text(encoding="utf-8")), result.output


def test_inspect_tells_the_most_time_and_simulate_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network = small_network("subtract", 3)
    most, said = run(tmp_path, network, "inspect model.net --chip")
    assert most["chip"]["time"]["work"] == "upper bound"
    assert "time (at most): " in said
    assert "µs a step, latency " in said
    found, said = run(tmp_path, network, "simulate model.net --data npz:data.npz")
    chip = found["chip"]
    recording = ReferenceBackend().run(network, random_inputs(network, 6))
    assert chip == json.loads(json.dumps(chip_budget(network, recording).totals_dict()))
    assert chip["energy"]["synops_source"] == chip["time"]["work"] == "recording"
    for name in ("seconds_per_step", "seconds_per_sample", "latency_seconds"):
        times = chip["time"][name]
        assert 0 < times["least"] < times["expected"] < times["most"]
        assert times["expected"] <= most["chip"]["time"][name]["expected"]
    assert "Loihi 2 (estimate), time (recorded work): " in said
    assert "energy (estimate): recorded " in said
    busiest = chip["time"]["busiest_layer"]
    assert f"busiest core: {busiest}, " in said


def test_simulate_says_what_no_chip_can_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network = chip_network(dense(12_001, 2), num_steps=4)
    found, said = run(tmp_path, network, "simulate model.net --data npz:data.npz")
    assert "12001 words of synapse memory" in found["chip"]["refused"]
    assert f"no Loihi 2 board can run it: {found['chip']['refused']}" in said
    assert found["accuracy"] >= 0
