"""What ``tandem-hw export`` does once its arguments are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tandem_hw.cli.output.written_files import written_lines
from tandem_hw.cli.terminal import make_console, warn
from tandem_hw.cli.work.budget_tables import budget_line
from tandem_hw.cli.work.network_tables import layer_tables
from tandem_hw.counted import counted
from tandem_hw.export.c99.self_test import SelfTest
from tandem_hw.export.c99.writer import write_c
from tandem_hw.export.c99.written_files import is_c, written_paths
from tandem_hw.export.files import is_network, read_network, write_network
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.saturation import unproven_lines
from tandem_hw.sim.reference import ReferenceBackend


def export(
    source: Path,
    out: Path,
    *,
    simulation_only: bool,
    tandem_only: bool,
    soft_reset: bool,
    test_samples: int | None,
    data: str | None,
) -> None:
    """Write a network and say what it is.

    Args:
        source: a checkpoint, or a network in a file.
        out: the file to write.
        simulation_only: write what no board can run.
        tandem_only: of NIR, write what only tandem-hw can run.
        soft_reset: of NIR, write reset "subtract" by the convention of docs/nir.md.
        test_samples: of C, so many samples are embedded; None for none.
        data: the data set that they are taken from; None for random integers.

    Raises:
        TandemError: the file cannot be read, or the network not be written.
    """
    network = _network(source)
    console = make_console()
    lines: list[str] = []
    if is_c(out):
        test = None if test_samples is None else _self_test(network, test_samples, data, lines)
        files = write_c(network, out, self_test=test)
        lines.append(
            f"{files.constant_bytes} bytes of constants and {files.state_bytes} of variables, "
            f"besides code and stack"
        )
    else:
        lines.append(budget_line(network, simulation_only))
        write_network(network, out, tandem_only=tandem_only, soft_reset=soft_reset)
    for table in layer_tables(network, console.width):
        console.print(table)
    warn(console, unproven_lines(network))
    for line in (*lines, *written_lines(*written_paths(out))):
        console.print(line)


def _network(source: Path) -> QuantizedNetwork:
    if is_network(source):
        return read_network(source)
    from tandem_hw.export.freezing import freeze
    from tandem_hw.learning.checkpoint import load_checkpoint

    return freeze(load_checkpoint(source).model)


def _self_test(
    network: QuantizedNetwork, samples: int, data: str | None, lines: list[str]
) -> SelfTest:
    """Return samples with what the reference gives for them."""
    if data is None:
        inputs = _random_inputs(network, samples)
    else:
        from tandem_hw.cli.work.samples import load_samples

        inputs = load_samples(network, data, samples).inputs
    found = ReferenceBackend().run(network, inputs)
    silent = [name for name, counts in found.counts.items() if not counts.any()]
    if silent:
        lines.append(
            f"in the {counted(samples, 'sample')} of the self-test layers {', '.join(silent)} "
            f"never fire, so "
            f"that it says little of them; use other samples with --data, or more"
        )
    return SelfTest(inputs, found.output)


def _random_inputs(network: QuantizedNetwork, samples: int) -> npt.NDArray[np.uint8]:
    """Return random integers that a network takes, the same for the same network."""
    generator = np.random.default_rng(int(network.digest[:16], 16))
    shape = (samples, *network.sample_shape)
    return generator.integers(0, network.input.largest + 1, shape).astype(np.uint8)
