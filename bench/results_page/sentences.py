"""The part of docs/results.md on a pre-trained sentence encoder: what it is worth when sparse, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from bench.results_page.tables import RIVALS
from bench.sentences.runtimes import ENGINE
from bench.sentences.serving import LENGTHS
from bench.sentences.study import CONTROL, DENSE, SPARSITIES, mean_of
from bench.sentences.tasks import CORRELATION, TASKS
from bench.study.report import markdown
from bench.study.rows import Row

TITLES = {
    "wordnet": "WordNet: which of 45 classes a gloss is of, accuracy (%)",
    "tweets": "tweets: their sentiment, accuracy (%)",
    "embeddings": "embeddings: rank correlation of all cosines with the dense model's",
}
NAMES = {**RIVALS, ENGINE: "Sparbor"}
YARDSTICK = "openvino-int8"


def accuracy_table(rows: Sequence[Row]) -> str:
    """Test texts; in brackets how far a deployed model is from the dense one in PyTorch."""
    arms = (DENSE, *SPARSITIES)
    headings = ("task", "seeds", "dense, PyTorch", *(f"{arm}, 8 bits" for arm in arms), f"{CONTROL}, PyTorch")
    measured = {row["task"] for row in rows if row["arm"] == DENSE}
    return markdown(headings, [_accuracy_cells(rows, task, arms) for task in TASKS if task in measured])


def _accuracy_cells(rows: Sequence[Row], task: str, arms: Sequence[str]) -> tuple[str, ...]:
    of_task = [row for row in rows if row["task"] == task]
    dense = {row["seed"]: row for row in of_task if row["arm"] == DENSE}
    cells = [
        TITLES[task],
        ", ".join(map(str, sorted(dense))),
        _figure(mean_of(list(dense.values()), "test_torch"), task),
    ]
    for arm in (*arms, CONTROL):
        of_arm = [row for row in of_task if row["arm"] == arm]
        name = "test_torch" if arm == CONTROL else "test_int8"
        cells.append(_against(of_arm, name, task, [dense[row["seed"]] for row in of_arm]))
    return tuple(cells)


def _figure(value: float, task: str) -> str:
    return f"{value:.3f}" if TASKS[task].measure == CORRELATION else f"{value:.2f}"


def _against(rows: Sequence[Row], name: str, task: str, dense: Sequence[Row]) -> str:
    """The mean of ``rows``, and how far it is from that of the dense models of the same seeds."""
    if not rows:
        return "not measured"
    value = mean_of(rows, name)
    if TASKS[task].measure == CORRELATION:
        return _figure(value, task)
    return f"{_figure(value, task)} ({value - mean_of(dense, 'test_torch'):+.2f})"


def serving_table(rows: Sequence[Row]) -> str:
    """Each runtime, and how much longer OpenVINO's INT8 takes than it."""
    yardstick = next(row for row in rows if row["runtime"] == YARDSTICK)
    headings = (
        *("", "accuracy (%)", *(f"{length} tokens" for length in LENGTHS)),
        *(f"{RIVALS[YARDSTICK]}'s time over it, {length} tokens" for length in LENGTHS),
        *("memory", "file"),
    )
    table = []
    for row in rows:
        times = [f"us_{length}" for length in LENGTHS]
        table.append(
            (
                _label(row),
                f"{row['test']:.2f}",
                *(f"{row[each] / 1000:.3g} ms" for each in times),
                *(f"{yardstick[each] / row[each]:.2f} ×" for each in times),
                f"{row['memory_bytes'] / 1e6:.0f} MB" if row["memory_bytes"] else "",
                f"{row['file_bytes'] / 1e6:.1f} MB",
            )
        )
    return markdown(headings, table)


def _label(row: Row) -> str:
    name = NAMES[row["runtime"]]
    if row["runtime"] != ENGINE:
        return name
    return f"{name}, {row['arm']}" if row["arm"] == DENSE else f"{name}, {row['arm']} sparse"


def plot(rows: Sequence[Row], file: Path) -> None:
    """Accuracy against latency: a panel for each length; up and to the left is better."""
    figure = Figure(figsize=(10.5, 4), layout="constrained", facecolor="white")
    for axes, length in zip(figure.subplots(1, len(LENGTHS), sharey=True), LENGTHS, strict=True):
        for row in rows:
            place = row[f"us_{length}"] / 1000, row["test"]
            ours = row["runtime"] == ENGINE
            axes.plot(*place, "o" if ours else "s", color="#1b7f4f" if ours else "#4269d0")
            axes.annotate(_label(row), place, xytext=(0, 7), textcoords="offset points", fontsize=8, ha="center")
        axes.set(xscale="log", xlabel="milliseconds for one text, one thread")
        axes.set_title(f"{length} tokens", fontsize=10)
        axes.grid(alpha=0.3)
        axes.margins(0.2)
    figure.axes[0].set_ylabel("test accuracy, %")
    figure.savefig(file, metadata={"Date": None})
