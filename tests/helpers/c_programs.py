"""Networks in C, compiled with what is there: strictly, and with sanitizers against recordings."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest

from tandem_hw.export.c99.neurons import count_type
from tandem_hw.export.c99.recorded import digests_of_tables, state_units
from tandem_hw.export.c99.synapses import channels_first
from tandem_hw.export.c99.writer import write_c
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.sim.backend import SimulationResult, make_recording

STRICT: Final = ("-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror")
SANITIZED: Final = ("-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")
#: A network and its samples.
Run = tuple[QuantizedNetwork, npt.NDArray[np.uint8]]

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


def compile_c(words: Sequence[str], folder: Path, *files: str) -> Path:
    """Compile files of a folder into a program, and return it."""
    program = folder / "program"
    command = [*words, *(str(folder / file) for file in files), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return program


def run_networks(runs: Sequence[Run], folder: Path, words: Sequence[str]) -> list[Recording]:
    """Compile networks into one program, run the samples of each, and return what it recorded."""
    parts = []
    for index, (network, inputs) in enumerate(runs):
        write_c(network, folder / f"n{index}.c")
        inputs.tofile(folder / f"inputs{index}")
        parts.append(_DUMP.replace("@", str(index)).replace("%", str(folder / f"inputs{index}")))
    calls = "".join(f"    dump{index}();\n" for index in range(len(runs)))
    defines = "".join(f"#define N{index}_RECORD\n" for index in range(len(runs)))
    # Every other one lists its events as a small processor does.
    defines += "".join(f"#define N{index}_TOGETHER 4\n" for index in range(1, len(runs), 2))
    main = f"int main(void)\n{{\n{calls}    return 0;\n}}\n"
    text = f"{defines}#include <stdio.h>\n#include <stdlib.h>\n{''.join(parts)}{main}"
    (folder / "main.c").write_text(text, encoding="ascii")
    program = compile_c([*words, f"-I{folder}"], folder, "main.c")
    done = subprocess.run([str(program)], capture_output=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr
    reader = _Reader(done.stdout)
    return [_recorded(network, inputs, reader) for network, inputs in runs]


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, dtype: str, number: int) -> npt.NDArray[Any]:
        values = np.frombuffer(self.content, dtype, number, self.at)
        self.at += values.nbytes
        return values


def _recorded(
    network: QuantizedNetwork, inputs: npt.NDArray[np.uint8], reader: _Reader
) -> Recording:
    layers, units = network.layers, state_units(network)
    results, left = [], []
    counts: dict[str, list[Any]] = {layer.name: [] for layer in network.spiking_layers}
    final: dict[str, list[Any]] = {layer.name: [] for layer in network.spiking_layers}
    for _ in inputs:
        results.append(reader.take("int32", network.outputs))
        left.append(reader.take("int64", len(layers)))
        for layer in network.spiking_layers:
            dtype = count_type(network.num_steps).removesuffix("_t")
            for kept, kind in ((counts, dtype), (final, "int32")):
                values = reader.take(kind, layer.num_neurons)[None]
                image = channels_first(values, layer.output_shape).astype(np.int32)
                kept[layer.name].append(image.reshape(layer.output_shape))
    peaks = reader.take("int32", len(layers)).tolist()
    (size,) = reader.take("uint64", 1).tolist()
    tables = reader.take("uint8", size).tobytes()
    result = SimulationResult(
        counts={name: np.stack(images) for name, images in counts.items()},
        potential=np.stack(results) if network.readout == "potential" else None,
        peak={
            layer.name: -(-peak // units[layer.name])
            for layer, peak in zip(layers, peaks, strict=True)
        },
        saturation={layer.name: np.stack(left)[:, at] for at, layer in enumerate(layers)},
        final_state={name: np.stack(images) for name, images in final.items()},
        parameter_digest=digests_of_tables(network, tables),
    )
    return make_recording("c", network, inputs, None, result, 1.0)


#: Runs the samples of one network and writes all that it records.
_DUMP = """
#include "n@.c"
static void dump@(void)
{
    static uint8_t sample[N@_SAMPLE];
    static int32_t result[N@_OUTPUTS];
    const size_t layers = sizeof n@_layers / sizeof n@_layers[0];
    const size_t tables = sizeof n@_tables / sizeof n@_tables[0];
    uint64_t size = 4 * layers;
    FILE *inputs = fopen("%", "rb");
    while (fread(sample, sizeof sample, 1, inputs) == 1) {
        if (n@_run(sample, result) != 0)
            exit(3);
        fwrite(result, sizeof result, 1, stdout);
        fwrite(n@_left, sizeof n@_left, 1, stdout);
        for (size_t at = 0; at < layers; ++at) {
            const n@_layer *of = &n@_layers[at];
            const size_t neurons = (size_t)of->channels * of->positions;
            if (of->counts == NULL)
                continue;
            fwrite(of->counts, sizeof *of->counts, neurons, stdout);
            fwrite(of->final, sizeof *of->final, neurons, stdout);
        }
    }
    fclose(inputs);
    fwrite(n@_peak, sizeof n@_peak, 1, stdout);
    for (size_t at = 0; at < tables; ++at)
        size += n@_tables[at].size;
    fwrite(&size, sizeof size, 1, stdout);
    for (size_t at = 0; at < tables; ++at)
        fwrite(n@_tables[at].values, 1, n@_tables[at].size, stdout);
    for (size_t at = 0; at < layers; ++at)
        fwrite(&n@_layers[at].threshold, 4, 1, stdout);
}
"""
