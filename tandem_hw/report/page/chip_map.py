"""Which cores of a Loihi 2 a network takes: a square a core, coloured by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tandem_hw.chip.budget import ChipBudget
from tandem_hw.chip.constants import CORES_PER_CHIP
from tandem_hw.report.page.cell_areas import fill_cells
from tandem_hw.report.page.content import Picture
from tandem_hw.report.page.svg import FAINT, INK, SERIES, WIDTH, short, svg_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PER_ROW: Final = 20
#: Squares that are drawn, at most; where there are more cores, a square is several of them.
_SQUARES_MAX: Final = 1200
#: None of dots, whose pattern takes as much room as a hundred pictures.
_HATCHES: Final = ("", "////", "----", "xxxx")
#: Names of layers that the legend has, at most.
_NAMED_MAX: Final = 24


def chip_picture(budget: ChipBudget) -> Picture:
    """Return the cores of all layers in their order, chip by chip.

    Args:
        budget: what the network takes.
    """
    parts = [(part.name, part.total_cores) for part in (*budget.layers, *budget.relays)]
    each = max(1, -(-budget.cores // _SQUARES_MAX))
    owners = [number for number, (_, cores) in enumerate(parts) for _ in range(cores)][::each]
    per_chip = max(1, CORES_PER_CHIP // each)
    rows_of_chip = -(-min(per_chip, max(len(owners), 1)) // _PER_ROW)
    chips = -(-len(owners) // per_chip)
    whole = len(owners) if chips == 1 else per_chip
    rows = chips * (rows_of_chip + 1)
    legend_rows = -(-min(len(parts), _NAMED_MAX) // 3)

    def draw(figure: Figure) -> None:
        from matplotlib.patches import Patch

        axes = figure.subplots()
        squares: dict[int | None, list[tuple[float, float, float, float]]] = {}
        for square in range(chips * whole):
            chip, place = divmod(square, whole)
            top = chip * (rows_of_chip + 1) + place // _PER_ROW
            left = place % _PER_ROW
            owner = owners[square] if square < len(owners) else None
            squares.setdefault(owner, []).append((left + 0.05, top + 0.05, left + 0.95, top + 0.95))
        for owner, cells in squares.items():
            fill_cells(axes, cells, linewidth=0.5, **_look(owner))
        axes.set_xlim(0, _PER_ROW)
        axes.set_ylim(rows - 1, 0)
        axes.set_aspect("equal")
        axes.set_axis_off()
        named = parts[:_NAMED_MAX]
        handles = [Patch(linewidth=0.5, **_look(number)) for number in range(len(named))]
        labels = [f"{short(name)} ({cores})" for name, cores in named]
        figure.legend(handles, labels, loc="outside lower left", ncols=3, handlelength=1.2)

    words = ", ".join(f"{name} {cores}" for name, cores in parts)
    svg = svg_of(
        draw, "chip-map", "Cores by layer", f"Cores: {words}.",
        height=min(9.0, 0.5 + WIDTH / _PER_ROW * rows + 0.2 * legend_rows),
    )  # fmt: skip
    square = "core" if each == 1 else f"group of up to {each} cores"
    more = f" Of {len(parts)} parts, {_NAMED_MAX} are named." if len(parts) > _NAMED_MAX else ""
    chips_words = f" A block is a chip of {CORES_PER_CHIP} cores." if chips > 1 else ""
    return Picture(
        svg,
        f"Each square is a {square}, in the order of the layers; the compiler may place them "
        f"otherwise.{chips_words} In brackets the cores of each layer.{more}",
    )


def _look(owner: int | None) -> dict[str, Any]:
    """Return the colours of a layer's squares, a pattern where colours come again."""
    if owner is None:
        return {"facecolor": "none", "edgecolor": FAINT}
    pattern, color = divmod(owner, len(SERIES))
    return {
        "facecolor": SERIES[color],
        "edgecolor": INK if pattern % len(_HATCHES) else SERIES[color],
        "hatch": _HATCHES[pattern % len(_HATCHES)],
    }
