"""Damaged files by the thousand, in processes that may come to grief."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tests.helpers.fuzz import case
from tests.helpers.fuzz.formats import FORMATS
from tests.helpers.fuzz.worker import BATCH

#: Seconds on the clock for a batch; a case that waits for something hangs.
_PATIENCE = 1200


@click.command()
@click.option("--minutes", default=1.0, show_default=True)
@click.option("--format", "names", multiple=True, type=click.Choice(list(FORMATS)))
@click.option("--first", default=0, show_default=True, help="Number of the first case of each.")
@click.option("--jobs", default=2, show_default=True, help="Processes at a time.")
@click.option("--cases", type=int, help="Of each format, whatever time they take.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder for files that fail.")
def main(
    minutes: float,
    names: Sequence[str],
    first: int,
    jobs: int,
    cases: int | None,
    keep: Path | None,
) -> None:
    """Read damaged files until the time is over; exit with 1 if one was not refused as it should.

    Every case may take 10 seconds and 1 GB.
    """
    end = time.monotonic() + 60 * minutes
    chosen = list(names or FORMATS)
    starts = dict.fromkeys(chosen, first)
    lock, found, faults = threading.Lock(), Counter[tuple[str, str]](), list[dict[str, Any]]()

    def next_batch() -> tuple[str, int] | None:
        with lock:
            if cases is None and time.monotonic() > end:
                return None
            name = min(starts, key=lambda one: starts[one])
            if cases is not None and starts[name] >= first + cases:
                return None
            starts[name] += BATCH
            return name, starts[name] - BATCH

    def work() -> None:
        while (batch := next_batch()) is not None:
            for result in _run_batch(*batch):
                with lock:
                    found[result["format"], result["outcome"]] += 1
                    if result["outcome"] == "fault":
                        faults.append(result)
                        click.echo(f"{result['format']} {result['number']}: {result['what']}")

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in chosen:
        counts = {kind: found[name, kind] for kind in ("refused", "read", "fault")}
        click.echo(f"{name}: {sum(counts.values())} cases, {counts}")
    for fault in faults if keep else ():
        assert keep is not None
        _keep(fault["format"], fault["number"], keep)
    sys.exit(1 if faults else 0)


def _run_batch(name: str, start: int) -> list[dict[str, Any]]:
    """Run some cases in a process of their own; one that ends it, or hangs, is a fault."""
    results: list[dict[str, Any]] = []
    number = start
    while number < start + BATCH:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "tests.helpers.fuzz.worker", name, str(number)]
            command += [str(start + BATCH), folder]
            try:
                done = subprocess.run(
                    command,
                    capture_output=True,
                    text=True,
                    timeout=_PATIENCE,
                    check=False,
                )
                output, ending = done.stdout, f"ended with {done.returncode}: {done.stderr[-300:]}"
            except subprocess.TimeoutExpired as error:
                output, ending = (error.stdout or b"").decode(), "hangs"
        results += [json.loads(line) for line in output.splitlines()]
        number = max([number - 1, *(one["number"] for one in results)]) + 1
        if number < start + BATCH:
            fault = {"format": name, "number": number, "outcome": "fault", "what": ending}
            results.append(fault)
            number += 1
    return results


def _keep(name: str, number: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        path = case.make(name, number, Path(temporary))
        shutil.copy(path, folder / f"{name}-{number}{path.suffix}")


if __name__ == "__main__":
    main()
