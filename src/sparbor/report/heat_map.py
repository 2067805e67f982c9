"""Counts as a heat map: one SVG path for each level of colour, so that thousands of cells stay small."""

import math
from collections.abc import Sequence
from itertools import groupby
from xml.etree.ElementTree import Element

from sparbor.packing.slots import Counts
from sparbor.report.charts import svg
from sparbor.report.elements import details, element, listing

LEVELS = 6
WIDEST, LARGEST_CELL = 560, 14


def heat_map(key: str, title: str, description: str, counts: Counts) -> Element:
    """A cell for each of ``counts`` ``(rows, columns)``, its legend, and the counts themselves to unfold."""
    rows, columns = counts.shape
    levels = -(-counts * LEVELS // max(1, int(counts.max())))  # 0 for none, else 1 to LEVELS
    parts = [element("rect", class_="frame", width=columns, height=rows)]
    for level in range(1, LEVELS + 1):
        path = "".join(_runs(levels[row] == level, row) for row in range(rows))
        if path:
            parts.append(element("path", class_=f"cell level{level}", d=path))
    image = svg(key, title, description, columns, rows, *parts)
    cell = min(LARGEST_CELL, WIDEST / columns)
    image.set("width", f"{cell * columns:.0f}")
    image.set("height", f"{cell * rows:.0f}")
    return element("div", image, _legend(int(counts.max())), _values(title, counts), class_="map")


def _runs(chosen: Sequence[bool], row: int) -> str:
    """The chosen cells of a row as rectangles, one for each run of them."""
    path, at = [], 0
    for is_chosen, cells in groupby(chosen):
        length = len(list(cells))
        if is_chosen:
            path.append(f"M{at} {row}h{length}v1h-{length}z")
        at += length
    return "".join(path)


def _legend(most: int) -> Element:
    """The counts that each level stands for; levels that no count can have are left out."""
    items = [element("li", _swatch(0), " 0")]
    for level in range(1, LEVELS + 1):
        low, high = (level - 1) * most // LEVELS + 1, level * most // LEVELS
        if low <= high:
            items.append(element("li", _swatch(level), " ", str(low) if low == high else f"{low}–{high}"))
    return element("ul", *items, class_="legend", aria_label="synapses of a cell")


def _swatch(level: int) -> Element:
    box = element("rect", class_=f"cell level{level}" if level else "frame", width=14, height=14)
    return element("svg", box, viewBox="0 0 14 14", width=14, height=14, aria_hidden="true")


def _values(title: str, counts: Counts) -> Element:
    width = int(math.log10(max(1, counts.max()))) + 1
    lines = "\n".join(" ".join(f"{count:{width}}" for count in row) for row in counts.tolist())
    return details("Counts, row by row", listing(lines, f"{title}: counts, row by row"))
