"""C files: what is written compiles without a warning, tests itself, and shares no names."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tandem_hw import write_c
from tandem_hw.errors import DataError, FileFormatError
from tandem_hw.export.c99.identifiers import comment, layer_mark, prefix_of
from tandem_hw.export.c99.self_test import SelfTest
from tandem_hw.export.c99.tables import axis_table
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.synapses.geometry import Geometry, TransposedGeometry
from tandem_hw.sim.reference import ReferenceBackend
from tests.helpers.c_programs import STRICT, compile_c, needs_compiler
from tests.helpers.networks import (
    random_inputs,
    small_file_network,
    small_graph_network,
    small_image_network,
    small_network,
)


def self_test(network: QuantizedNetwork, samples: int = 3) -> SelfTest:
    inputs = random_inputs(network, samples)
    found = ReferenceBackend().run(network, inputs)
    assert all(counts.any() for counts in found.counts.values())
    return SelfTest(inputs, found.output)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_what_is_written_compiles_strictly_and_tests_itself(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    for network in (small_graph_network("zero"), small_image_network("subtract")):
        test = self_test(network)
        write_c(network, tmp_path / "net.c", self_test=test)
        words = [compiler, *STRICT, "-DNET_SELF_TEST"]
        assert subprocess.run([compile_c(words, tmp_path, "net.c")], check=False).returncode == 0
        wrong = replace(test, output=test.output + np.int32(1))
        write_c(network, tmp_path / "net.c", self_test=wrong)
        assert subprocess.run([compile_c(words, tmp_path, "net.c")], check=False).returncode == 1


MAIN = """
#include <string.h>
#include "a.h"
#include "b.h"
int main(void)
{
    static uint8_t sample[A_SAMPLE], image[B_SAMPLE];
    static int32_t first[A_OUTPUTS], second[B_OUTPUTS], third[A_OUTPUTS];
    for (uint32_t at = 0; at < A_SAMPLE; ++at)
        sample[at] = (uint8_t)(at * 7 % (A_INPUT_LARGEST + 1));
    if (a_run(sample, first) != 0)
        return 1;
    a_begin();
    if (a_step(sample) != 0)  /* begun and left */
        return 2;
    a_begin();
    for (uint32_t step = 1; step < A_STEPS; ++step)
        if (a_step(step == 1 ? sample : NULL) != 0)
            return 3;
    if (a_step(NULL) != 1 || memcmp(a_result(), first, sizeof first) != 0)
        return 4;
    for (uint32_t at = 0; at < A_OUTPUTS; ++at)
        if (first[at] > first[a_prediction()])
            return 5;
    sample[3] = A_INPUT_LARGEST + 1;
    if (a_run(sample, third) != -1 || a_step(sample) != -1)
        return 6;
    if (b_run(image, second) != 0 || memcmp(a_result(), first, sizeof first) != 0)
        return 7;
    return 0;
}
"""


@needs_compiler
def test_two_networks_are_one_program_and_go_step_by_step(tmp_path: Path) -> None:
    write_c(small_network(), tmp_path / "a.c")
    write_c(small_image_network(), tmp_path / "b.c")
    (tmp_path / "main.c").write_text(MAIN, encoding="ascii")
    program = compile_c(["gcc", *STRICT], tmp_path, "main.c", "a.c", "b.c")
    assert subprocess.run([program], check=False).returncode == 0  # else the number of the fault


@needs_compiler
def test_a_source_calls_nothing_but_functions_of_memory(tmp_path: Path) -> None:
    write_c(small_graph_network("zero"), tmp_path / "net.c")
    command = ["gcc", *STRICT, "-O0", "-fno-builtin", "-c", "net.c", "-o", "net.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
    listed = subprocess.run(
        ["nm", "-u", "net.o"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    called = {line.split()[-1] for line in listed.stdout.splitlines()} - {"_GLOBAL_OFFSET_TABLE_"}
    assert "memset" in called
    assert called <= {"memset", "memcpy"}
    text = (tmp_path / "net.c").read_text(encoding="ascii")
    assert not {"float", "double", "malloc"} & set(text.replace("(", " ").split())


def test_the_same_network_is_the_same_text_and_says_what_it_is(tmp_path: Path) -> None:
    network = small_graph_network()
    files = write_c(network, tmp_path / "net.c")
    assert write_c(network, tmp_path / "net.c") == files
    text = (tmp_path / "net.c").read_text(encoding="ascii")
    assert f"digest       {network.digest}" in text
    assert f"{files.constant_bytes} bytes of flash" in text
    assert f'"{network.digest}"' in (tmp_path / "net.h").read_text(encoding="ascii")


def test_names_become_identifiers_and_comments_that_hold() -> None:
    assert [prefix_of(name) for name in ("a/digits.c", "3 d.c", "_x.c", "a-b.c")] == [
        "digits",
        "net_3_d",
        "x",
        "a_b",
    ]
    assert layer_mark(2, 0, "größe 1") == "2_gr__e_1"
    assert layer_mark(2, 1, "x" * 99) == f"2_1_{'x' * 24}"
    found = comment("a */ b /* c ??) ü *" + "/")
    assert "*/" not in found
    assert "/*" not in found
    assert "??" not in found
    assert found.isascii()


@pytest.mark.parametrize("name", ["net.cpp", "net", "net.C", 'a"b.c', "ü.c"])
def test_a_name_that_is_no_c_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"named \*\.c|letters without accents"):
        write_c(small_network(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_self_test_of_another_network_is_refused(tmp_path: Path) -> None:
    network = small_file_network()
    test = self_test(network)
    with pytest.raises(DataError, match=r"results of a self-test are .* give the whole numbers"):
        write_c(network, tmp_path / "net.c", self_test=replace(test, output=test.output[:, 1:]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 2])
def test_tables_join_what_meets(transposed: bool, stride: int, dilation: int, padding: int) -> None:
    kind = TransposedGeometry if transposed else Geometry
    geometry = kind((stride,), (padding,), (dilation,))
    length, kernel = 11, 4
    meetings = geometry.meetings(0, length, kernel)
    table = axis_table(meetings, length)
    found = {
        (first + number * table.stride, position, table.order[stored + number])
        for position, (first, stored, count) in enumerate(table.rows.tolist())
        for number in range(count)
    }
    expected = {
        (output, position, place)
        for place, (outputs, inputs) in enumerate(meetings)
        for output, position in zip(outputs.tolist(), inputs.tolist(), strict=True)
    }
    assert expected
    assert found == expected
