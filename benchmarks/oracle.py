"""The reference against the oracle in plain Python integers, on as many random networks as asked.

The networks are those of the property tests, which hypothesis draws: of dense layers and
convolutions, with skip paths and every encoding, and in every second part such as leave 24 bits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as draw_from
from hypothesis import strategies as st

from benchmarks.equality import different
from benchmarks.result import finish, json_option
from tandem_hw.conformance.oracle import record
from tandem_hw.network.digests.network_digest import network_digest
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.sim.reference import ReferenceBackend
from tandem_hw.verification.step import compare
from tests.helpers.networks import networks, random_inputs

#: Networks that are drawn from one seed, so that any of them is soon found again.
_PART: Final = 250


@click.command("oracle")
@click.option(
    "--networks", "wanted", type=click.IntRange(1), default=1000, show_default=True,
    help="Random networks.",
)  # fmt: skip
@click.option(
    "--delayed/--at-once", default=True, show_default=True, help="With a firing delay, or without."
)
@click.option("--samples", type=click.IntRange(1), default=2, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@json_option
def command(wanted: int, delayed: bool, samples: int, seed: int, json_path: Path | None) -> None:
    """Compare the reference with the oracle on random networks, wraps included.

    Every count, output, state at the window's end, peak and step that left 24 bits is compared.
    """
    tallies = {False: _Tally(), True: _Tally()}
    started = time.monotonic()
    for part in range(-(-wanted // _PART)):
        overflowing = bool(part % 2)
        count = min(_PART, wanted - part * _PART)
        for network, inputs_seed in _drawn(seed + part, count, delayed, overflowing):
            tallies[overflowing].judge(network, samples, inputs_seed, seed + part)
        done, found = part * _PART + count, sum(tally.different for tally in tallies.values())
        minutes = (time.monotonic() - started) / 60
        click.echo(f"{done} networks, {found} of them differ, {minutes:.1f} min", err=True)
    rows = [
        {"networks": "overflowing" if overflowing else "ordinary", **tally.row}
        for overflowing, tally in tallies.items()
        if tally.drawn
    ]
    finish("oracle", rows, json_path)
    if any(row["different"] for row in rows):
        raise click.ClickException("the results differ")
    if not all(row["fired"] for row in rows):
        raise click.ClickException("no network fired, so that their equality proves nothing")


def _drawn(
    seed: int, count: int, delayed: bool, overflowing: bool
) -> Iterator[tuple[QuantizedNetwork, int]]:
    """Yield networks and the seeds of their inputs; fewer than ``count`` once all are known."""
    found: list[tuple[QuantizedNetwork, int]] = []

    @draw_from(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(networks(delayed=delayed, overflowing=overflowing), st.integers(0, 2**31 - 1))
    def collect(network: QuantizedNetwork, inputs_seed: int) -> None:
        found.append((network, inputs_seed))

    collect()
    yield from found


class _Tally:
    """What was seen in networks of one kind."""

    def __init__(self) -> None:
        self.drawn = self.phased = self.fired = self.wrapped = self.different = 0
        self.distinct: set[str] = set()

    def judge(self, network: QuantizedNetwork, samples: int, inputs_seed: int, seed: int) -> None:
        """Run one network in both ways, and name it if they differ."""
        inputs = random_inputs(network, samples, inputs_seed)
        expected = record(network, inputs)
        found = ReferenceBackend().run(network, inputs, keep_final_state=True)
        self.drawn += 1
        self.distinct.add(network_digest(network))
        self.phased += 0 < network.firing_delay == network.num_steps - 1
        self.fired += any(counts.any() for counts in expected.counts.values())
        self.wrapped += any(steps.any() for steps in expected.saturation.values())
        if _differ(network, expected, found):
            self.different += 1
            click.echo(f"seed {seed}, inputs {inputs_seed}: {network!r} differs", err=True)

    @property
    def row(self) -> dict[str, Any]:
        """What is shown and written."""
        return {
            "drawn": self.drawn,
            "distinct": len(self.distinct),
            "phased": self.phased,
            "fired": self.fired,
            "left 24 bits": self.wrapped,
            "different": self.different,
        }


def _differ(network: QuantizedNetwork, expected: Recording, found: Recording) -> bool:
    report = compare(network, [expected, found], allow_silence=True)
    return (
        different(report) > 0
        or dict(found.peak) != dict(expected.peak)
        or not all(
            np.array_equal(found.saturation[name], steps)
            for name, steps in expected.saturation.items()
        )
    )


COMMANDS = [command]
