"""C computes what the oracle in plain Python integers does, and the sanitizers have no report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tandem_hw.conformance import oracle
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.verification.step import compare
from tests.helpers.c_programs import SANITIZED, Run, needs_compiler, run_networks
from tests.helpers.networks import networks, random_inputs

#: Networks that are compiled into one program.
TOGETHER = 20
#: Networks of each kind in an exhaustive run; each takes a second to compile.
MANY = int(os.environ.get("RANDOM_NETWORKS", "40"))
KINDS: list[dict[str, bool]] = [
    {},
    {"overflowing": True},
    {"delayed": True},
    {"overflowing": True, "delayed": True},
]


def drawn(number: int, **kind: bool) -> list[Run]:
    found: list[Run] = []

    @settings(
        max_examples=number,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(network=networks(**kind))
    def draw(network: QuantizedNetwork) -> None:
        found.append((network, random_inputs(network, seed=len(found))))

    draw()
    return found[:number]


def batches(runs: list[Run]) -> Iterator[list[Run]]:
    for start in range(0, len(runs), TOGETHER):
        yield runs[start : start + TOGETHER]


def check(runs: list[Run], folder: Path) -> list[str]:
    """Compare all that was recorded, and return the networks' layers that fired or left 24 bits."""
    seen = []
    for (network, inputs), found in zip(
        runs, run_networks(runs, folder, ["gcc", *SANITIZED, "-w"]), strict=True
    ):
        expected = oracle.record(network, inputs)
        compare(network, [expected, found], allow_silence=True).require_match()
        assert dict(found.peak) == dict(expected.peak)
        for name, values in expected.saturation.items():
            np.testing.assert_array_equal(found.saturation[name], values)
            seen += ["left"] if values.any() else []
        seen += ["fired" for counts in found.counts.values() if counts.any()]
    return seen


@needs_compiler
def test_some_networks_of_every_kind_are_the_oracles(tmp_path: Path) -> None:
    runs = [run for kind in KINDS for run in drawn(5, **kind)]
    assert len(runs) == 20
    seen = check(runs, tmp_path)
    assert seen.count("fired") >= 10
    assert seen.count("left") >= 1


@pytest.mark.exhaustive
@needs_compiler
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(kind) or "plain")
def test_many_networks_of_every_kind_are_the_oracles(kind: dict[str, Any], tmp_path: Path) -> None:
    runs = drawn(MANY, **kind)
    assert len(runs) == MANY
    seen: list[str] = []
    for index, batch in enumerate(batches(runs)):
        folder = tmp_path / str(index)
        folder.mkdir()
        seen += check(batch, folder)
    assert seen.count("fired") >= MANY // 2
    assert seen.count("left") >= MANY // 10 or "overflowing" not in kind
