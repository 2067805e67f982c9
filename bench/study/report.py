"""Makes docs/study.md, docs/study/ and the plots from the rows of the study: ``python bench/accuracy_report.py``.

Rows with other settings than today's are left out, and the lines that lack them are listed. Nothing is trained or timed
here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from bench import CHECKOUT, RESULTS
from bench.study.arms import ARMS
from bench.study.plans import PLANS
from bench.study.plots import plot_latency, plot_synapses
from bench.study.rows import Cell, Row, StudyFile, cell_of
from bench.study.statistics import Paired, paired
from bench.study.tables import HEADINGS, Group, Line, cells, groups, lines, percent, points_apart, seeds
from sparbor.files import write_file

STUDY_FILES = {"mnist": "study-mnist.json", "cifar10": "study-cifar10.json", "mnist-vit": "study-mnist-vit.json"}
LATENCIES = "study-latency.json"
NAMES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "mnist-vit": "MNIST, vision transformer"}

INTRODUCTION = """# The accuracy study

For whoever wants every arm and control of the study; [results](results.md) has the figures that matter most. Made by
`python bench/accuracy_report.py` from [the rows](../bench/results); do not edit it by hand.

{contents}
## How it was done

All arms of a seed start from the same weights, see the same batches for the same number of epochs, and use Adam with
batches of 128. The constant learning rate is 0.001; the cosine falls from there to zero, step by step,
for every arm.

- `dense-half-rate`, `dense-double-rate`: dense, at half and twice the learning rate.
- `small-dense`: the same network with narrower hidden layers. They are scaled by the one factor with which the
  parameters are nearest to the active ones of `slots`.
- `slots`: the product's default recipe for the task.
- `quads`: that recipe with the pattern of 8-bit layers, quads on branches of 64 inputs.
- `unstructured`: that recipe, but every weight stands for itself: what the pattern costs.
- `rigl`: RigL as published: unstructured, ERK, three tenths exchanged at first, steps as the optimizer takes them.
- `magnitude`: gradual magnitude pruning as published: unstructured, every layer alike, no growth, plain steps.
- `nm`: as `slots`, but rigid 3:32, which is 90.62 % in every layer; CIFAR-10's first convolution stays dense.
- `static-random`: slots drawn by lot, fixed from the first step on, divided by ERK.
- `slots-grown`: `slots` with one generation of dendrites, within the same number of synapses.
- `slots-...`, else: `slots` with one thing changed: the distribution over layers (`uniform`, `erk`), RigL as the method
  (`rigl`), steps as the optimizer takes them (`plain-steps`), longer by the root of the density (`longer-steps`) or as
  long as maximal update parameterization has them (`full-steps`), neurons in the groups that they happen to be in
  (`in-order`).
- `perforatedai`: PerforatedAI 3.2.9, dense, with dendrites added after every second epoch; its active parameters are
  those that outputs depend on. It cannot be deployed.

The validation set is the last tenth of the training set. Settings are chosen on it; the test set is read once, with the
last weights. Test accuracy is mean ± sample standard deviation over seeds. A paired difference is the mean over the
seeds that both arms have, with its two-sided 95 % interval (Student's t). Remaining error reduction is that of mean
test errors, against the dense arm of the same seeds. Fewer than five seeds are marked "few"; an empty line is planned
and not measured, or its rows are [stale](#stale-rows). The commits are those at which the line's rows were measured.
"""


TOP = """# The accuracy study: {dataset}

For whoever wants every arm and control of the study on this data set. [The first page](../study.md) says what the arms
are and how they were trained; it has what the engine's rounding does to them, the machines and the stale rows as well.

"""


def report(results: Sequence[StudyFile], latencies: list[Row], folder: Path) -> dict[str, str]:
    """The texts of study.md and of a page for each data set, by file; their plots are written into ``folder``."""
    rows = [row for file in results for row in file.current()]
    stale = [row for file in results for row in file.stale()]
    planned = [cell for plan in PLANS.values() for cell in plan()]
    times = times_of(rows, latencies)
    pages: dict[str, str] = {}
    for group in groups(rows):
        name = _file(group)
        text = pages.get(name) or TOP.format(dataset=NAMES.get(group.dataset, group.dataset))
        pages[name] = text + section(group, lines(rows, group, planned), times, folder) + "\n"
    parts = [INTRODUCTION.format(contents=_contents(groups(rows))), deployed(rows), sources(results)]
    if stale:
        parts += [left_out(stale, planned)]
    return {"study.md": "\n".join(parts), **{name: text.rstrip() + "\n" for name, text in pages.items()}}


def _file(group: Group) -> str:
    """The page of a data set, from docs/ on."""
    return f"study/{group.dataset}.md"


def _contents(some: Sequence[Group]) -> str:
    """A line for each page, with its data set and how long it was trained for."""
    titles: dict[str, list[Group]] = {}
    for group in some:
        titles.setdefault(_file(group), []).append(group)
    table = [
        (
            f"[{NAMES.get(same[0].dataset, same[0].dataset)}]({file})",
            "; ".join(f"{group.epochs} epochs, {group.schedule} learning rate" for group in same),
        )
        for file, same in titles.items()
    ]
    return markdown(("data set", "trained"), table)


def section(group: Group, table: list[Line], times: dict[Cell, float], folder: Path) -> str:
    """One data set, schedule and number of epochs."""
    name = title(group)
    measured = [line for line in table if line.rows]
    data = ", ".join(sorted({row["data"] for line in measured for row in line.rows}))
    parts = [f"## {name}\n", f"Data: {data}.\n"]
    latency = {id(line): latency_of(line, times) for line in measured}
    headings = (*HEADINGS, "one image (µs)", "commits")
    parts.append(markdown(headings, [(*cells(line), latency.get(id(line), ""), line.commits) for line in table]))
    gaps = [*gap_lines(measured, "slots"), *gap_lines(measured, "quads", against=("unstructured",))]
    if gaps:
        parts.append("Differences on the same seeds. Each of the two bounds is a one-sided 95 % one:\n")
        parts.append(markdown(("difference", "sparsity", "mean", "deviation", "95 % bounds", "seeds"), gaps))
    stem = f"{group.dataset}-{group.schedule}-{group.epochs}"
    if plot_synapses(measured, name, folder / f"accuracy-synapses-{stem}.svg"):
        shows = "each arm's test accuracy against the weights that are active"
        parts.append(f"![{name}: {shows}](../accuracy-synapses-{stem}.svg)\n")
    if plot_latency(measured, times, name, folder / f"accuracy-latency-{stem}.svg"):
        shows = "each arm's test accuracy against the time for one image"
        parts.append(f"![{name}: {shows}](../accuracy-latency-{stem}.svg)\n")
    return "\n".join(parts)


def title(group: Group) -> str:
    """What a group is called."""
    return f"{NAMES.get(group.dataset, group.dataset)}, {group.epochs} epochs, {group.schedule} learning rate"


def left_out(stale: list[Row], planned: list[Cell]) -> str:
    """Which planned lines lack rows because those that there are were measured with other settings."""
    wanted = set(planned)
    missed = [row for row in stale if cell_of(row) in wanted]
    table = []
    for group in groups(missed):
        by_arm: dict[str, list[str]] = {}
        for line in lines(missed, group):
            by_arm.setdefault(line.arm, []).append(f"{percent(line.sparsity)} ({len(line.rows)})")
        table += [(title(group), arm, ", ".join(sparsities)) for arm, sparsities in by_arm.items()]
    return (
        "## Stale rows\n\n"
        f"{len(stale)} rows were measured with other settings than today's, or when training computed something else"
        f" (an earlier revision), and are left out. {len(missed)} of them are of planned lines, which are empty or have"
        " fewer seeds until they are trained again:\n\n" + markdown(("where", "arm", "sparsity (stale rows)"), table)
    )


def gap_lines(table: list[Line], arm: str, against: Collection[str] = ARMS) -> Iterator[tuple[str, ...]]:
    """The arm minus each of the others at its sparsity."""
    ours = {line.sparsity: line for line in table if line.arm == arm}
    for line in table:
        if line.arm != arm and line.arm in against and line.sparsity in ours:
            gap = paired(ours[line.sparsity].tests, line.tests)
            if gap is not None:
                name = f"{arm} - {line.arm}"
                yield (name, percent(line.sparsity), f"{gap.mean:+.2f}", *bounds(gap), seeds(gap.seeds))


def bounds(gap: Paired) -> tuple[str, str]:
    """Deviation over seeds, and both one-sided bounds."""
    if gap.deviation is None:
        return "", ""
    return f"{gap.deviation:.2f}", f"{gap.lower:+.2f}, {gap.upper:+.2f}"


def times_of(rows: list[Row], latencies: list[Row]) -> dict[Cell, float]:
    """Median microseconds by cell, where the model that was timed is the one whose accuracy the row holds."""
    accuracies = {cell_of(row): row["test_accuracy"] for row in rows}
    return {
        cell_of(row): row["latency_us_median"]
        for row in latencies
        if accuracies.get(cell_of(row)) == row["test_accuracy"]
    }


def latency_of(line: Line, times: dict[Cell, float]) -> str:
    """The mean over the seeds that were timed."""
    timed = [times[cell_of(row)] for row in line.rows if cell_of(row) in times]
    return f"{mean(timed):.3g}" if timed else ""


def deployed(rows: list[Row]) -> str:
    """What the engine's rounding does to accuracy."""
    if not rows:
        return "Nothing has been measured yet.\n"
    return (
        "## On the engine\n\n"
        "The models were deployed with 16-bit synapses; over the whole test set the engine's accuracy is within"
        f" {max(map(points_apart, rows)):.3f} points of PyTorch's.\n"
        f"{_with_int8(rows)}"
        "Latencies are medians of one call with one image on one thread, in the mean over seeds; all models took turns"
        f" in one run ([rows](../bench/results/{LATENCIES})).\n"
    )


def _with_int8(rows: list[Row]) -> str:
    """The same of 8-bit weights and inputs, where it was measured: rows of before there were any have none."""
    measured = [row for row in rows if row.get("int8_test_accuracy") is not None]
    table = []
    for group in groups(measured):
        for line in lines(measured, group):
            moved = [row["int8_test_accuracy"] - row["test_accuracy"] for row in line.rows]
            most, count = max(map(abs, moved)), seeds(len(moved))
            table.append((title(group), line.arm, percent(line.sparsity), f"{mean(moved):+.3f}", f"{most:.2f}", count))
    if not table:
        return ""
    headings = ("where", "arm", "sparsity", "mean", "at most", "seeds")
    return f"\nWith 8-bit weights and inputs test accuracy moves by so many points:\n\n{markdown(headings, table)}\n"


def sources(results: Sequence[StudyFile]) -> str:
    """Machines and commits."""
    parts = ["## Where it was measured\n"]
    machines = {name: description for file in results for name, description in file.environments.items()}
    for machine, about in machines.items():
        rows = [row for file in results for row in file.current() if row["environment"] == machine]
        commits = ", ".join(dict.fromkeys(str(row["commit"]) for row in rows))
        software = ", ".join(
            f"{package} {about[package]}" for package in ("python", "torch", "numpy") if package in about
        )
        if rows:
            parts.append(f"- {len(rows)} rows: {about['cpu']}, {about['cores']} cores; {software}; commits {commits}")
    return "\n".join(parts) + "\n"


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines_ = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines_)


def main() -> None:
    """Read the files that are there, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=CHECKOUT / "docs", help="folder for study.md, study/ and the plots")
    options = parser.parse_args()
    files = [options.results / name for name in STUDY_FILES.values() if (options.results / name).exists()]
    if not files:
        sys.exit(f"{options.results} holds none of {', '.join(STUDY_FILES.values())}: run bench/accuracy.py first")
    timed = options.results / LATENCIES
    latencies: list[dict[str, Any]] = json.loads(timed.read_text())["rows"] if timed.exists() else []
    (options.out / "study").mkdir(parents=True, exist_ok=True)
    for name, text in report([StudyFile(file) for file in files], latencies, options.out).items():
        write_file(options.out / name, text.encode())
