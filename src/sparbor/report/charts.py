"""Charts and heat maps as inline SVG; colours come from the page's style sheet, by class."""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias
from xml.etree.ElementTree import Element

from sparbor.packing.slots import Counts
from sparbor.report.elements import details, element, listing

Place: TypeAlias = Callable[[float], str]

WIDTH, HEIGHT = 380, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 44
MOST_MARKERS = 30
BAR, BAR_GAP, BAR_TEXT = 16, 4, 118
LEVELS = 6
WIDEST_MAP, LARGEST_CELL = 560, 14


class Series(NamedTuple):
    """One line of a chart: ``style`` is its class; a ``step`` line keeps a value until the next."""

    name: str
    style: str
    points: Sequence[tuple[float, float]]
    step: bool = False


class Mark(NamedTuple):
    """A vertical line at ``x``, such as the switch to dendrite mode."""

    x: float
    name: str
    style: str


def scale(low: float, high: float, start: float, end: float) -> Place:
    """Where values from ``low`` to ``high`` stand between ``start`` and ``end``."""
    return lambda value: f"{start + (value - low) / (high - low) * (end - start):.1f}"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most ``most`` + 1 round numbers, evenly spaced, that reach from ``low`` or below to ``high`` or above.

    >>> ticks(97.2, 98.3, 4)
    [97.0, 97.5, 98.0, 98.5]
    """
    if high - low <= 1e-6 * max(1, abs(high)):
        low, high = low - 0.5, high + 0.5
    magnitude = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (magnitude * factor for factor in (1, 2, 5, 10, 20)):
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= most:
            break
    return [round(index * step, 9) for index in range(first, last + 1)]


def svg(key: str, title: str, description: str, width: float, height: float, *children: Element) -> Element:
    """An image with a name and a description for those who do not see it; ``key`` is unique on the page."""
    return element(
        "svg",
        element("title", title, id=f"{key}-title"),
        element("desc", description, id=f"{key}-desc"),
        *children,
        role="img",
        aria_labelledby=f"{key}-title",
        aria_describedby=f"{key}-desc",
        viewBox=f"0 0 {width:g} {height:g}",
        width=f"{width:g}",
        height=f"{height:g}",
    )


def line_chart(
    key: str,
    title: str,
    description: str,
    series: Sequence[Series],
    marks: Sequence[Mark],
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
) -> Element:
    """Lines over epochs, with a legend below."""
    top, bottom, left, right = TOP, HEIGHT - BOTTOM, LEFT, WIDTH - RIGHT
    x, y = scale(x_ticks[0], x_ticks[-1], left, right), scale(y_ticks[0], y_ticks[-1], bottom, top)
    parts = []
    for value in y_ticks:
        parts.append(element("path", class_="grid", d=f"M{left} {y(value)}H{right}"))
        parts.append(element("text", f"{value:g}", x=left - 7, y=float(y(value)) + 4, text_anchor="end"))
    for value in x_ticks:
        parts.append(element("path", class_="axis", d=f"M{x(value)} {bottom}v5"))
        parts.append(element("text", f"{value:g}", x=x(value), y=bottom + 19, text_anchor="middle"))
    parts.append(element("path", class_="axis", d=f"M{left} {bottom}H{right}"))
    parts.append(element("text", "epochs trained", x=(left + right) / 2, y=HEIGHT - 6, text_anchor="middle"))
    parts += [element("path", class_=f"line {mark.style}", d=f"M{x(mark.x)} {bottom}V{top}") for mark in marks]
    parts += [part for each in series for part in _line(each, x, y)]
    chart = svg(key, title, description, WIDTH, HEIGHT, *parts)
    return element("div", chart, _legend(series, marks), class_="chart")


def _line(series: Series, x: Place, y: Place) -> list[Element]:
    (x0, y0), *others = places = [(x(at), y(value)) for at, value in series.points]
    path = f"M{x0} {y0}" + "".join(f"H{at}V{height}" if series.step else f"L{at} {height}" for at, height in others)
    marked = [] if series.step or len(places) > MOST_MARKERS else places
    markers = [_marker(series.style, float(at), float(height)) for at, height in marked]
    return [element("path", class_=f"line {series.style}", d=path), *markers]


def _marker(style: str, x: float, y: float) -> Element:
    """A square for the baseline and a disc for the others: told apart without colours."""
    if style == "baseline":
        return element("rect", class_=f"mark {style}", x=x - 4, y=y - 4, width=8, height=8)
    return element("circle", class_=f"mark {style}", cx=x, cy=y, r=4)


def _legend(series: Sequence[Series], marks: Sequence[Mark]) -> Element:
    items = [_legend_item(each.name, each.style, None if each.step else _marker(each.style, 14, 7)) for each in series]
    items += [_legend_item(name, style) for name, style in dict.fromkeys((mark.name, mark.style) for mark in marks)]
    return element("ul", *items, class_="legend")


def _legend_item(name: str, style: str, marker: Element | None = None) -> Element:
    line = element("path", class_=f"line {style}", d="M0 7H28")
    sample = element("svg", line, marker, viewBox="0 0 28 14", width=28, height=14, aria_hidden="true")
    return element("li", sample, " ", name)


class Bar(NamedTuple):
    """A bar of a group: ``text`` stands at its end; without a value there is the text alone."""

    style: str
    value: float | None
    text: str


def bar_chart(key: str, title: str, description: str, groups: Sequence[tuple[str, Sequence[Bar]]]) -> Element:
    """Groups of horizontal bars on a scale from zero, each group under its name."""
    largest = max((bar.value or 0 for _, bars in groups for bar in bars), default=0) or 1
    parts, y = [], 0
    for name, bars in groups:
        parts.append(element("text", name, x=0, y=y + 14))
        y += 21
        for bar in bars:
            length = (bar.value or 0) / largest * (WIDTH - BAR_TEXT)
            if bar.value is not None:
                parts.append(element("rect", class_=f"bar {bar.style}", x=0, y=y, width=f"{length:.1f}", height=BAR))
            parts.append(element("text", bar.text, x=f"{length + 6:.1f}", y=y + 13))
            y += BAR + BAR_GAP
        y += 8
    return element("div", svg(key, title, description, WIDTH, y, *parts), class_="chart")


def sparkline(key: str, title: str, description: str, points: Sequence[tuple[int, float]], epochs: int) -> Element:
    """Values from 0 to 1 (or to the largest beyond), each after an epoch of 1 to ``epochs``."""
    x, y = scale(1, max(2, epochs), 3, 93), scale(0, max(1.0, *(value for _, value in points)), 23, 3)
    path = "M" + "L".join(f"{x(at)} {y(value)}" for at, value in points)
    parts = (
        element("path", class_="grid", d="M1 23.5H95"),
        element("path", class_="line dendritic", d=path),
        element("circle", class_="mark dendritic", cx=x(points[-1][0]), cy=y(points[-1][1]), r=2.5),
    )
    return svg(key, title, description, 96, 26, *parts)


def heat_map(key: str, title: str, description: str, counts: Counts) -> Element:
    """A cell for each of ``counts`` ``(rows, columns)``, its legend, and the counts themselves to unfold.

    One path for each level of colour keeps thousands of cells small.
    """
    rows, columns = counts.shape
    levels = -(-counts * LEVELS // max(1, int(counts.max())))  # 0 for none, else 1 to LEVELS
    parts = [element("rect", class_="frame", width=columns, height=rows)]
    for level in range(1, LEVELS + 1):
        path = "".join(_runs(levels[row] == level, row) for row in range(rows))
        if path:
            parts.append(element("path", class_=f"cell level{level}", d=path))
    image = svg(key, title, description, columns, rows, *parts)
    cell = min(LARGEST_CELL, WIDEST_MAP / columns)
    image.set("width", f"{cell * columns:.0f}")
    image.set("height", f"{cell * rows:.0f}")
    return element("div", image, _map_legend(int(counts.max())), _values(title, counts), class_="map")


def _runs(chosen: Sequence[bool], row: int) -> str:
    """The chosen cells of a row as rectangles, one for each run of them."""
    path, at = [], 0
    for is_chosen, cells in groupby(chosen):
        length = len(list(cells))
        if is_chosen:
            path.append(f"M{at} {row}h{length}v1h-{length}z")
        at += length
    return "".join(path)


def _map_legend(most: int) -> Element:
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
