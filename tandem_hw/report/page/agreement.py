"""Spike counts of two backends against each other, gathered part by part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

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
#: Counts beyond 0 ... T, which only a wrong backend gives, are put to the next of these.
_BEYOND: Final = 1


class CountPairs:
    """How often a neuron had one count on the first backend and another one on the second.

    What it keeps does not grow with the samples: for each layer a number for every pair of counts.
    """

    def __init__(self, network: QuantizedNetwork) -> None:
        """Begin.

        Args:
            network: what runs.
        """
        self._most = network.num_steps + _BEYOND
        self._seen: dict[str, npt.NDArray[np.int64]] = {
            layer.name: np.zeros((self._most + 1, self._most + 1), np.int64)
            for layer in network.spiking_layers
        }
        self.backends: tuple[str, ...] = ()

    def add(self, parts: Sequence[Recording]) -> None:
        """Take in the next part of every run; the first two are looked at."""
        self.backends = tuple(part.backend for part in parts[:2])
        for name, seen in self._seen.items():
            first, second = (
                np.clip(part.counts[name].reshape(-1), 0, self._most).astype(np.int64)
                for part in parts[:2]
            )
            size = self._most + 1
            found = np.bincount(first * size + second, minlength=size * size)
            seen += found.reshape(size, size)

    def pictures(self) -> list[Picture]:
        """Return a scatter of each layer's counts; points off the diagonal differ."""
        shown = list(self._seen.items())
        different = [name for name, seen in shown if _off_diagonal(seen)]
        shown.sort(key=lambda item: item[0] not in different)
        left_out = len(shown) - _LAYERS_MAX
        note = f" {left_out} further layers are not drawn." if left_out > 0 else ""
        return [
            self._picture(number, name, seen, note if number == 0 else "")
            for number, (name, seen) in enumerate(shown[:_LAYERS_MAX])
        ]

    def _picture(self, number: int, name: str, seen: npt.NDArray[np.int64], note: str) -> Picture:
        first, second = np.nonzero(seen)
        times = seen[first, second]
        kept = np.argsort(-times, kind="stable")
        off = first[kept] != second[kept]
        kept = np.concatenate([kept[off], kept[~off]])[:_POINTS_MAX]  # differences are never lost
        first, second, times = first[kept], second[kept], times[kept]
        sizes = 12 + 60 * np.log1p(times) / np.log1p(times.max(initial=1))
        differs = first != second
        sizes[differs] = sizes.max(initial=0)  # one alone is to be seen as well

        def draw(figure: Figure) -> None:
            axes = figure.subplots()
            end = self._most - _BEYOND
            axes.plot([0, end], [0, end], color=FAINT, linewidth=1, zorder=0)
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
            f"{int(seen.sum())} counts of neurons, "
            f"{f'{wrong} of them differ' if wrong else 'all of them equal'}"
        )
        svg = svg_of(
            draw,
            f"counts-{number}",
            f"Spike counts of layer {name} on {' and '.join(self.backends)}",
            f"{words}.",
        )  # fmt: skip
        thinned = np.count_nonzero(seen) - len(first)
        rule = f" The {thinned} rarest pairs are left out." if thinned > 0 else ""
        return Picture(
            svg, f"{name}: {words}. The larger, the more often; a cross differs.{rule}{note}"
        )


def _off_diagonal(seen: npt.NDArray[np.int64]) -> int:
    return int(seen.sum() - np.trace(seen))
