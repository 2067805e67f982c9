"""Makes docs/results.md, its picture and README's table from committed results: ``python bench/overview.py``.

Nothing is trained or timed here. Accuracies are of the study's current rows, latencies of latency.py's. A test holds
the pages to what is made here.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import CHECKOUT, RESULTS
from bench.results_page.plot import plot
from bench.results_page.tables import (
    ACCURACIES,
    NETWORKS,
    Speed,
    accuracy_line,
    accuracy_table,
    batch_table,
    latency_table,
    plainly,
    readme_table,
    speed,
    sweep_table,
    took_part,
)
from bench.study.report import STUDY_FILES
from bench.study.rows import Row, StudyFile
from sparbor.files import write_file

README = CHECKOUT / "README.md"
RESULTS_PAGE = CHECKOUT / "docs" / "results.md"
PICTURE = CHECKOUT / "docs" / "overview.svg"
LATENCY_FILES = {  # where each table has its latencies
    "rivals": "latency-rivals.json",
    "sweep": "latency-convolutions.json",
    "batches": "latency.json",
}
BEGIN, END = "<!-- made by: python bench/overview.py -->\n", "<!-- end -->\n"

PAGE = """# Results

For whoever wants to know how accurate and how fast sparse models are, against what, and where they are not. This page
is made by `python bench/overview.py` from [the committed results](../bench/results); do not edit it by
hand. All arms of the accuracy study, with controls, are on [a page of their own](study.md).

![Latency against rivals, and accuracy against active weights](overview.svg)

## Accuracy

Each sparse model is compared with the dense one that started from the same weights and saw the same batches, over
several seeds. The paired difference is the mean over the seeds with its 95 % interval (Student's t), in points of
test accuracy. The *remaining error reduction* is the share of the dense model's test errors that the sparse model
does not make. Active parameters are those that are not dropped.

### MNIST, MLP 784-256-256-10

6 epochs of Adam at a constant rate of 0.001, batches of 128, unless said otherwise.

{mnist}
### CIFAR-10, two 3 × 3 convolutions and two linear layers

6 epochs of Adam at a constant rate of 0.001, batches of 128, unless said otherwise. The images were JPEG-compressed,
so the figures are not those of the official bytes. Layers are divided by ERK, which leaves the first convolution
dense; at 65 % all layers have the same density.

{cifar10}
**What to make of it.** At a constant learning rate models of up to 95 % sparsity are at least as accurate as the dense
one, most of them more; at 98 % the CNN is not. Much of the gain is less noise and less overfitting, which a learning
rate that falls to zero (the cosine rows) removes as well: there the sparse model is about as accurate as the dense one
on MNIST, and less accurate on CIFAR-10. Both data sets are small, and so are the networks; nothing here was measured
on ImageNet or on text.

## Latency

One input, one thread, 90 % of the weights dropped, random weights with masks as training makes them, on an
{rivals_machine}. Times are medians; all runtimes of a row took turns in one run, after their outputs had been
compared with PyTorch's. Ratios are the rival's time over Sparbor's: above 1 Sparbor is faster, **below 1 the rival
is**. Rivals that run dense run the same model with zeros in it. OpenVINO's INT8 models were quantised by NNCF, ONNX
Runtime's by its own tools, both statically, calibrated on the input that is timed. This processor has AMX, matrix
instructions for INT8 and bfloat16, which OpenVINO uses; on processors without them its INT8 gains less.

The rivals of this run: {took_part}.

{latency}
{plainly}
### How sparse it has to be

Times as fast as the best dense f32 rival, batch 1, one thread, on another machine ({sweep_machine}):

{sweep}
### Many inputs at once

On {batches_machine}, before OpenVINO's INT8 was among the rivals:

{batches}
## Training

What training sparse costs is on [a page of its own](training.md). With two epochs or fewer the dense baseline is more
accurate.

## Where it was measured

{sources}"""


def source(name: str, about: dict[str, Any]) -> str:
    """Machine, versions and commit of a file, of its environment."""
    peers = ", ".join(f"{package} {version}" for package, version in about["peers"].items() if version)
    return (
        f"- [{name}](../bench/results/{name}): {about['cpu']}, {about['cores']} cores, commit"
        f" {about['commit'][:7]}; {peers}."
    )


def with_table(readme: str, table: str) -> str:
    """README with its table in place of the one that it has."""
    pattern = re.escape(BEGIN) + r".*?" + re.escape(END)
    replaced, count = re.subn(pattern, lambda _: f"{BEGIN}\n{table}\n{END}", readme, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"README.md has {count} places between {BEGIN.strip()} and {END.strip()}: there must be one")
    return replaced


def latencies() -> dict[str, dict[str, Any]]:
    """The contents of latency.py's files, by the table that they are for."""
    return {part: json.loads((RESULTS / name).read_text()) for part, name in LATENCY_FILES.items()}


def speeds(rows: Sequence[Row]) -> list[Speed]:
    """Those networks of ``NETWORKS`` that were timed."""
    return [each for model in NETWORKS if (each := speed(rows, model))]


def accuracies() -> list[Row]:
    """The study's rows that count today."""
    return [row for name in STUDY_FILES.values() for row in StudyFile(RESULTS / name).current()]


def pages(trained: Sequence[Row], files: Mapping[str, dict[str, Any]]) -> dict[Path, str]:
    """What docs/results.md and README are to say of the study's rows and of latency.py's files."""
    timed = speeds(files["rivals"]["rows"])
    page = PAGE.format(
        **{dataset: accuracy_table(trained, dataset) for dataset in ACCURACIES},
        took_part=took_part(files["rivals"]["rows"]),
        latency=latency_table(timed),
        plainly=plainly(timed),
        sweep=sweep_table(files["sweep"]["rows"]),
        batches=batch_table(files["batches"]["rows"]),
        sources="\n".join(source(LATENCY_FILES[part], file["environment"]) for part, file in files.items()) + "\n",
        **{f"{part}_machine": file["environment"]["cpu"] for part, file in files.items()},
    )
    return {RESULTS_PAGE: page, README: with_table(README.read_text(), readme_table(timed))}


def main() -> None:
    """Write the pages and the picture."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    trained, files = accuracies(), latencies()
    for path, content in pages(trained, files).items():
        write_file(path, content.encode())
    curves = {name: [accuracy_line(trained, name, each) for each in wanted] for name, wanted in ACCURACIES.items()}
    plot(speeds(files["rivals"]["rows"]), curves, PICTURE)
