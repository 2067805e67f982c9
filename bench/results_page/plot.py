"""The picture of README: how much longer the best rivals take, and what accuracy the dropped weights cost or gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.results_page.tables import Speed
from bench.study.tables import Line

matplotlib.rcParams["svg.hashsalt"] = "sparbor"  # the same rows make the same file
matplotlib.rcParams["svg.fonttype"] = "path"

F32, INT8 = "#4269d0", "#ff8a3d"
COLOURS = {"mnist": "#1b7f4f", "cifar10": "#8f4fbf"}
NAMES = {"mnist": "MNIST, MLP", "cifar10": "CIFAR-10, CNN"}


def plot(speeds: Sequence[Speed], curves: Mapping[str, Sequence[Line | None]], file: Path) -> None:
    """Both halves, side by side."""
    figure = Figure(figsize=(10.5, 4.6), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    _latency(left, speeds)
    _accuracy(right, curves)
    figure.savefig(file, metadata={"Date": None})


def _latency(axes: Axes, speeds: Sequence[Speed]) -> None:
    """Bars from 1, which is the engine's own time: to the right where the rival takes longer."""
    for kind, colour, offset in (("f32", F32, -0.2), ("int8", INT8, 0.2)):
        label = {"f32": "best dense f32 runtime", "int8": "best INT8 runtime"}[kind]
        for place, speed in enumerate(speeds):
            rival = getattr(speed, kind)
            if rival is None:
                continue
            times = rival["median_us"] / speed.ours["median_us"]
            axes.barh(place + offset, times - 1, 0.38, left=1, color=colour, label=label if place == 0 else None)
            axes.annotate(
                f"{times:.2g}" if times < 10 else f"{times:.0f}",
                (times, place + offset),
                xytext=(3 if times >= 1 else -3, 0),
                textcoords="offset points",
                ha="left" if times >= 1 else "right",
                va="center",
                fontsize=8,
            )
    axes.axvline(1, color="black", linewidth=1.2)
    axes.set(xscale="log", xlabel="the rival's time over Sparbor's (1: as fast as Sparbor)")
    axes.set_title("Time for one input, 8 bits, 90 % of the weights dropped", fontsize=10)
    axes.set_yticks(range(len(speeds)), [speed.network for speed in speeds], fontsize=8)
    axes.set_xlim(0.2, 80)  # room for the numbers beside the bars
    axes.set_xticks([0.2, 0.5, 1, 2, 5, 10, 20, 50], ["0.2", "0.5", "1", "2", "5", "10", "20", "50"])
    axes.minorticks_off()
    axes.set_ylim(len(speeds) + 0.6, -0.7)  # from above, and room for the legend below
    axes.legend(fontsize=8, loc="lower right", ncols=2)


def _accuracy(axes: Axes, curves: Mapping[str, Sequence[Line | None]]) -> None:
    """The paired difference to the dense model, over the share of parameters that is active."""
    for dataset, given in curves.items():
        measured = [line for line in given if line is not None]
        whole = next(line.active for line in measured if line.arm == "dense")
        for schedule, style in (("constant", "o-"), ("cosine", "s")):
            drawn = [line for line in measured if _is_of(line, schedule)]
            if not drawn:
                continue
            axes.errorbar(
                [100 * line.active / whole for line in drawn],
                [line.against_dense.mean for line in drawn if line.against_dense],
                yerr=[line.against_dense.margin or 0 for line in drawn if line.against_dense],
                fmt=style,
                color=COLOURS[dataset],
                markerfacecolor=None if schedule == "constant" else "white",
                capsize=2,
                markersize=5,
                linewidth=1.2,
                label=f"{NAMES[dataset]}, {schedule} learning rate",
            )
    axes.axhline(0, color="black", linewidth=1.2)
    axes.set(xscale="log", xlabel="active parameters, % of the dense model's", ylabel="points above the dense model")
    axes.set_title("Test accuracy against the dense model", fontsize=10)
    axes.set_xticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.25 * (high - low), high)  # room for the legend
    axes.legend(fontsize=8, loc="lower right")


def _is_of(line: Line, schedule: str) -> bool:
    row = line.rows[0]
    return bool(line.arm == "slots" and row["schedule"] == schedule and row["epochs"] == 6)
