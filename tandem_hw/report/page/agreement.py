"""Spike counts of two backends against each other, gathered part by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from tandem_hw.counted import counted
from tandem_hw.network.quantized import QuantizedNetwork
from tandem_hw.network.recording import Recording
from tandem_hw.report.page.content import Picture
from tandem_hw.report.page.svg import ALARM, FAINT, SERIES, short, svg_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Layers that are drawn one by one, at most.
_LAYERS_MAX: Final = 12
#: Points of a picture, at most; where there are more, the pairs that were seen least are left out.
_POINTS_MAX: Final = 1500
#: Pairs that are counted in a table; where there may be more, sorting takes longer and less room.
_TABLE_MAX: Final = 1 << 18


class CountPairs:
    """How often a neuron had one count on the first backend and another one on the second.

    What it keeps does not grow with the samples: for each layer a number for every pair that was
    seen.
    """

    def __init__(self, network: QuantizedNetwork) -> None:
        """Begin.

        Args:
            network: what runs.
        """
        self._steps = network.num_steps
        self._seen: dict[str, dict[tuple[int, int], int]] = {
            layer.name: {} for layer in network.spiking_layers
        }
        self.backends: tuple[str, ...] = ()

    def add(self, parts: Sequence[Recording]) -> None:
        """Take in the next part of every run; the first two are looked at."""
        self.backends = tuple(part.backend for part in parts[:2])
        for name, seen in self._seen.items():
            for pair, times in _count_pairs(*(part.counts[name] for part in parts[:2])):
                seen[pair] = seen.get(pair, 0) + times

    def pictures(self) -> list[Picture]:
        """Return a scatter of each layer's counts; points off the diagonal differ."""
        shown = list(self._seen.items())
        different = [name for name, seen in shown if _off_diagonal(seen)]
        shown.sort(key=lambda item: item[0] not in different)
        left_out = len(shown) - _LAYERS_MAX
        note = (
            f" {counted(left_out, 'further layer is', 'further layers are')} not drawn."
            if left_out > 0
            else ""
        )
        return [
            self._picture(number, name, seen, note if number == 0 else "")
            for number, (name, seen) in enumerate(shown[:_LAYERS_MAX])
        ]

    def _picture(
        self, number: int, name: str, seen: Mapping[tuple[int, int], int], note: str
    ) -> Picture:
        # Differences are never lost: they come first.
        pairs = sorted(seen, key=lambda pair: (pair[0] == pair[1], -seen[pair], pair))
        kept = np.array(pairs[:_POINTS_MAX]).reshape(-1, 2)
        first, second = kept.T
        times = np.array([seen[pair] for pair in pairs[:_POINTS_MAX]])
        sizes = 12 + 60 * np.log1p(times) / np.log1p(times.max(initial=1))
        differs = first != second
        sizes[differs] = sizes.max(initial=0)  # one alone is to be seen as well

        def draw(figure: Figure) -> None:
            axes = figure.subplots()
            ends = [0, self._steps]
            axes.plot(ends, ends, color=FAINT, linewidth=1, zorder=0)
            for which, color, marker in ((~differs, SERIES[0], "o"), (differs, ALARM, "X")):
                axes.scatter(
                    first[which], second[which], s=sizes[which], color=color, marker=marker,
                    alpha=0.75, linewidths=0,
                )  # fmt: skip
            axes.set_title(f"{short(name)}: spike counts", loc="left")
            axes.set(xlabel=self.backends[0], ylabel=self.backends[1])
            axes.locator_params(integer=True)

        wrong = _off_diagonal(seen)
        words = (
            f"{counted(sum(seen.values()), 'count')} of neurons, "
            f"{f'{wrong} of them differ' if wrong else 'all of them equal'}"
        )
        svg = svg_of(
            draw,
            f"counts-{number}",
            f"Spike counts of layer {name} on {' and '.join(self.backends)}",
            f"{words}.",
        )  # fmt: skip
        thinned = len(pairs) - len(first)
        rule = f" The {thinned} rarest pairs are left out." if thinned > 0 else ""
        return Picture(
            svg, f"{name}: {words}. The larger, the more often; a cross differs.{rule}{note}"
        )


def _off_diagonal(seen: Mapping[tuple[int, int], int]) -> int:
    return sum(times for (first, second), times in seen.items() if first != second)


def _count_pairs(
    first: npt.NDArray[np.int32], second: npt.NDArray[np.int32]
) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield each pair of values at the same place, and how often it is there."""
    low = min(int(first.min()), int(second.min()))  # a wrong backend may count below 0
    size = max(int(first.max()), int(second.max())) - low + 1
    keys = (first.reshape(-1).astype(np.int64) - low) * size + (second.reshape(-1) - low)
    if size * size <= _TABLE_MAX:
        table = np.bincount(keys, minlength=size * size)
        found = np.flatnonzero(table)
        times = table[found]
    else:
        found, times = np.unique(keys, return_counts=True)
    for key, number in zip(found.tolist(), times.tolist(), strict=True):
        one, other = divmod(key, size)
        yield (one + low, other + low), number
