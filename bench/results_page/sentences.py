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
ARMS = (DENSE, *SPARSITIES)
TICKS = (0.2, 0.5, 1, 2, 5, 10, 20, 50)


def accuracy_table(rows: Sequence[Row]) -> str:
    """Test texts, of the seeds with the most arms; in brackets how far a model is from the dense one in PyTorch."""
    headings = ("task", "seeds", "dense, PyTorch", *(f"{arm}, 8 bits" for arm in ARMS), f"{CONTROL}, PyTorch")
    table = []
    for task in TASKS:
        of_task = [row for row in rows if row["task"] == task]
        if seeds := _complete(of_task):
            table.append(_accuracy_cells([row for row in of_task if row["seed"] in seeds], task, seeds))
    return markdown(headings, table)


def _complete(rows: Sequence[Row]) -> list[int]:
    """The seeds with which the most arms were trained, sparse ones beside the dense, but for the control."""
    arms = {
        seed: {row["arm"] for row in rows if row["seed"] == seed} & {*ARMS} for seed in {row["seed"] for row in rows}
    }
    most = max(map(len, arms.values()), default=0)
    return sorted(seed for seed, trained in arms.items() if most > 1 and len(trained) == most and DENSE in trained)


def _accuracy_cells(rows: Sequence[Row], task: str, seeds: Sequence[int]) -> tuple[str, ...]:
    dense = {row["seed"]: row for row in rows if row["arm"] == DENSE}
    cells = [TITLES[task], ", ".join(map(str, seeds)), _figure(mean_of([*dense.values()], "test_torch"), task)]
    for arm in (*ARMS, CONTROL):
        of_arm = [row for row in rows if row["arm"] == arm]
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
            below = row["runtime"] == "torch-eager"  # where ONNX Runtime has the very same accuracy
            away = (0, -14) if below else (0, 7)
            axes.annotate(_label(row), place, xytext=away, textcoords="offset points", fontsize=8, ha="center")
        axes.set(xscale="log", xlabel="milliseconds for one text, one thread")
        axes.set_xticks(TICKS, [f"{each:g}" for each in TICKS])
        axes.minorticks_off()
        times = [row[f"us_{length}"] / 1000 for row in rows]
        axes.set_xlim(min(times) / 2, max(times) * 2)  # room for the names
        axes.set_title(f"{length} tokens", fontsize=10)
        axes.grid(alpha=0.3)
        axes.margins(y=0.2)
    figure.axes[0].set_ylabel("test accuracy, %")
    figure.savefig(file, metadata={"Date": None})
