"""The study's plots: test accuracy against active synapses, and against batch-1 latency."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import mean

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from bench.study.rows import Cell, cell_of
from bench.study.statistics import spread
from bench.study.tables import Line

matplotlib.rcParams["svg.hashsalt"] = "sparbor"  # the same rows make the same file


def plot_synapses(lines: Iterable[Line], title: str, file: Path) -> bool:
    """Mean and standard deviation against active parameters; says whether there was enough to draw."""
    return _plot(list(lines), lambda line: line.active, title, "active parameters, biases included", file)


def plot_latency(lines: Iterable[Line], times: Mapping[Cell, float], title: str, file: Path) -> bool:
    """The same against the mean latency of those models that were timed."""

    def latency(line: Line) -> float | None:
        timed = [times[cell_of(row)] for row in line.rows if cell_of(row) in times]
        return mean(timed) if timed else None

    return _plot(list(lines), latency, title, "one image on the engine, one thread (µs)", file)


def _plot(lines: list[Line], place: Callable[[Line], float | None], title: str, axis: str, file: Path) -> bool:
    """A curve for each arm over its sparsities; ``place`` is where a line stands on the x axis."""
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    drawn = 0
    for arm in dict.fromkeys(line.arm for line in lines):
        points = [(x, line) for line in lines if line.arm == arm and (x := place(line)) is not None]
        if not points:
            continue
        axes.errorbar(
            [x for x, _ in points],
            [line.test for _, line in points],
            yerr=[spread(list(line.tests.values())) or 0 for _, line in points],
            marker="o",
            markersize=4,
            capsize=2,
            label=arm,
        )
        drawn += len(points)
        if arm == "dense":
            axes.axhline(points[0][1].test, linestyle=":", color="grey", linewidth=1)
    if drawn < 2:
        file.unlink(missing_ok=True)
        return False
    axes.set(xscale="log", title=title, xlabel=axis, ylabel="test accuracy (%), mean ± deviation over seeds")
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(file, metadata={"Date": None})
    return True
