"""Read files within 1 GB more than the imports take; a command of tests/cli/test_tiny_files.py.

Standard input holds one JSON list a line: the arguments of ``tandem-hw``, or "from_nir", a path and
the shape of the input, or "events" and a path. Standard output gets one JSON list for each: exit
status, output, seconds of the CPU, and the growth of the peak of the memory in MiB.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner

import tandem_hw.cli.work.convert
import tandem_hw.cli.work.simulate
import tandem_hw.cli.work.train  # noqa: F401  (so that it is there before the limit)
from tandem_hw.cli import main
from tandem_hw.data.datasets import load_dataset
from tandem_hw.errors import TandemError
from tandem_hw.export.nir_import import from_nir
from tandem_hw.network.quantized import InputSpec

_LIMIT = 1 << 30


def _run(arguments: list[Any]) -> tuple[int, str]:
    try:
        if arguments[0] == "from_nir":
            spec = InputSpec(tuple(arguments[2]), 1, 1.0, "constant")
            from_nir(arguments[1], input_spec=spec, num_steps=4, reset="zero")
        elif arguments[0] == "events":
            load_dataset(f"events:{arguments[1]}", need="test", num_steps=9, input_bits=2)
        else:
            result = CliRunner().invoke(main, arguments)
            assert isinstance(result.exception, SystemExit | None), result.exception
            return result.exit_code, result.output
    except TandemError as error:
        return 2, f"Error: {error}\n"
    except Exception:
        return 1, traceback.format_exc()
    return 0, ""


def _main() -> None:
    torch.set_num_threads(1)
    memory = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (memory + _LIMIT, memory + _LIMIT))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for line in sys.stdin:
        start = time.process_time()
        status, output = _run(json.loads(line))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(json.dumps([status, output, time.process_time() - start, grown >> 10]), flush=True)


if __name__ == "__main__":
    _main()
