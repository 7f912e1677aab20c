"""What is measured under load is what it says: networks that fire, samples that are read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.load import KINDS, measure, straight_line
from tandem_hw.cli.work.samples import load_samples
from tandem_hw.export.net_file import read_net
from tandem_hw.sim.reference import ReferenceBackend


@pytest.mark.parametrize("name", KINDS)
def test_as_much_is_written_as_is_measured_and_all_of_it_works(tmp_path: Path, name: str) -> None:
    wanted = 5 if "samples" in name else 40_000
    number = KINDS[name].write(tmp_path, wanted)
    assert 0.7 < number / wanted < 1.3
    network = read_net(tmp_path / "model.net")
    samples = load_samples(network, f"npz:{tmp_path / 'data.npz'}", None)
    found = {
        "samples of 64 KiB": len(samples.inputs),
        "samples of 784 bytes": len(samples.inputs),
        "synapses": sum(layer.synapses[0].weight.size for layer in network),
        "neurons": sum(layer.num_neurons for layer in network),
    }
    assert found[name] == number
    run = ReferenceBackend().run(network, samples.inputs)
    assert len(run.counts) == len(network.layers) - 1
    for counts in run.counts.values():
        assert np.mean(counts > 0) > 0.1


def test_the_memory_of_a_command_is_measured_and_bounded() -> None:
    free = measure(["--version"])
    assert 4 << 20 < free.memory < 200 << 20
    assert measure(["--version"], limit=1 << 30).memory < 200 << 20
    with pytest.raises(subprocess.CalledProcessError):
        measure(["--version"], limit=1 << 20)


def test_a_straight_line_goes_through_its_points() -> None:
    line = straight_line([(10, 5), (20, 9)])
    assert [line(10), line(20), line(40)] == [5, 9, 17]
