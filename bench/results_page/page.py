"""Makes docs/results.md, its picture and README's table from committed results: ``python bench/overview.py``.

Nothing is trained or timed here: accuracies are of the study's current rows, the rest of ``FILES``. A test holds the
pages to what is made here.
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
from bench.results_file import environments_of
from bench.results_page import sentences
from bench.results_page.plot import plot
from bench.results_page.tables import (
    ACCURACIES,
    NETWORKS,
    Speed,
    accuracy_line,
    accuracy_table,
    batch_table,
    eight_bits_table,
    latency_table,
    plainly,
    readme_table,
    speed,
    sweep_table,
    took_part,
)
from bench.sentences.serving import LENGTHS
from bench.sentences.study import CONTROL
from bench.study.report import STUDY_FILES
from bench.study.rows import Row, StudyFile
from sparbor.files import write_file

README = CHECKOUT / "README.md"
RESULTS_PAGE = CHECKOUT / "docs" / "results.md"
PICTURE = CHECKOUT / "docs" / "overview.svg"
SENTENCES_PICTURE = CHECKOUT / "docs" / "sentences.svg"
FILES = {  # where each part has its figures, but for the accuracy study
    "eight_bits": "latency-int8.json",
    "words": "latency-rivals.json",
    "sweep": "latency-convolutions.json",
    "batches": "latency.json",
    "sentences": "sentences.json",
    "serving": "sentences-serving.json",
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
**What to make of it.** At a constant learning rate and at one that falls to zero (the cosine rows) models of 90 %
sparsity are at least as accurate as the dense one that was trained in the same way. Much of the gain is less noise and
less overfitting. A dense model can also gain by another learning rate:
[recipes](recipes.md#what-a-falling-rate-asks-for) compares with dense models at half, twice and four times the rate.
Both data sets are small, and so are the networks; nothing here was measured on ImageNet.

Lines without figures have not been measured since the recipe's defaults changed (dropped weights later, longer steps
as the rate falls). With the earlier recipe, at a constant rate, the CNN's test accuracy was 0.85 points above the dense
one's at 65 % sparsity, 0.77 at 80 % and 0.35 at 95 %, and 2.11 below it at 98 % (commit 263ec29).

## A pre-trained sentence encoder

all-MiniLM-L6-v2 (22.7 million weights, 10.6 million of them in the encoder's linear layers, which become sparse, in
quads) is fine-tuned dense, on labels. A copy of it is then trained for as many epochs on the same texts and becomes
sparse, with the dense model as its teacher ([how](fine-tuning.md#with-a-teacher)). *{again}* is the control: trained
like the sparse ones, with nothing dropped. For the embeddings, which need no labels, the pre-trained model is the
dense one. All but the columns *PyTorch* are deployed with 8 bits. Test texts; in brackets points against the dense
model in PyTorch of the same seeds.

{sentences}
What serving the models of WordNet's first seed costs: one text, one thread, all in turns in one run
(`bench/sentence_serving.py`). Rivals serve the dense model. Memory is what a fresh process takes, beyond the runtime's
own libraries, to load the file and answer a text of {longest} tokens. Most of Sparbor's files are the embeddings of
words, which stay dense and have 16 bits; OpenVINO's have 8.

{serving}
![Accuracy against latency](sentences.svg)

## Latency

One input, one thread, 90 % of the weights dropped, random weights with masks as training makes them. Times are
medians; all runtimes of a row took turns in one run, after their outputs had been compared with PyTorch's. Ratios are
the other's time over Sparbor's: above 1 Sparbor is faster, **below 1 the rival is**. Rivals that run dense run the
same model with zeros in it. OpenVINO's INT8 models were quantised by NNCF, ONNX Runtime's by its own tools, both
statically, calibrated on the input that is timed, as Sparbor's were.

### With 8 bits

Sparbor with `deploy(..., weights="int8", calibration=batches)` on masks of `Quads()`, on an {eight_bits_machine} with
{eight_bits_kernels} kernels. The column *16 bits* is how many times as long Sparbor takes with 16-bit weights, on masks
of `Quads()` or `Slots()`, whichever is faster. *Off by* is the relative error of the answers against PyTorch's: these
networks have random weights, trained ones are in [the study](study.md). Rivals: {eight_bits_rivals}.

{eight_bits}
{eight_bits_plainly}### With 16 bits

On another machine, an {words_machine} with AMX, matrix instructions for INT8 and bfloat16, which OpenVINO uses: on
such a processor dense INT8 gains more than on those without them. Sparbor's 8 bits were not measured there. Rivals:
{words_rivals}.

{words}
{words_plainly}### How sparse it has to be

With 16 bits: times as fast as the best dense f32 rival, batch 1, one thread, on {sweep_machine}:

{sweep}
### Many inputs at once, with 16 bits

On {batches_machine}, before OpenVINO's INT8 was among the rivals:

{batches}
## Training

What training sparse costs is on [a page of its own](training.md). With two epochs or fewer the dense baseline is more
accurate.

## Where it was measured

{sources}"""


def source(name: str, about: dict[str, Any]) -> str:
    """Machine, versions and commit of a file, of its environment."""
    software = about.get("peers") or {"torch": about["torch"]}
    peers = ", ".join(f"{package} {version}" for package, version in software.items() if version)
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


def measured() -> dict[str, dict[str, Any]]:
    """The contents of ``FILES``, by the part that they are for."""
    return {part: json.loads((RESULTS / name).read_text()) for part, name in FILES.items()}


def speeds(rows: Sequence[Row], precision: str) -> list[Speed]:
    """Those networks of ``NETWORKS`` that were timed, one input at a time and then several."""
    batches = sorted({row["batch"] for row in rows})
    contests = [speed(rows, model, precision, batch=batch) for model in NETWORKS for batch in batches]
    return [each for each in contests if each]


def of_one_input(timed: Sequence[Speed]) -> list[Speed]:
    """Without those of batches."""
    return [each for each in timed if each.ours["batch"] == 1]


def accuracies() -> list[Row]:
    """The study's rows that count today."""
    return [row for name in STUDY_FILES.values() for row in StudyFile(RESULTS / name).current()]


def pages(trained: Sequence[Row], files: Mapping[str, dict[str, Any]]) -> dict[Path, str]:
    """What docs/results.md and README are to say of the study's rows and of what was measured."""
    eight_bits, words = files["eight_bits"]["rows"], files["words"]["rows"]
    with_eight, with_sixteen = speeds(eight_bits, "int8"), speeds(words, "f16")
    page = PAGE.format(
        **{dataset: accuracy_table(trained, dataset) for dataset in ACCURACIES},
        eight_bits=eight_bits_table(with_eight, eight_bits),
        eight_bits_plainly=plainly(with_eight),
        eight_bits_rivals=took_part(eight_bits),
        eight_bits_kernels=with_eight[0].ours["isa"],
        words=latency_table(with_sixteen),
        words_plainly=plainly(with_sixteen),
        words_rivals=took_part(words),
        sweep=sweep_table(files["sweep"]["rows"]),
        batches=batch_table(files["batches"]["rows"]),
        sentences=sentences.accuracy_table(files["sentences"]["rows"]),
        serving=sentences.serving_table(files["serving"]["rows"]),
        again=CONTROL.capitalize(),
        longest=max(LENGTHS),
        sources="\n".join(source(FILES[part], about) for part, file in files.items() for about in environments_of(file))
        + "\n",
        **{f"{part}_machine": next(environments_of(file))["cpu"] for part, file in files.items()},
    )
    return {RESULTS_PAGE: page, README: with_table(README.read_text(), readme_table(of_one_input(with_eight)))}


def main() -> None:
    """Write the pages and the picture."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    trained, files = accuracies(), measured()
    for path, content in pages(trained, files).items():
        write_file(path, content.encode())
    curves = {name: [accuracy_line(trained, name, each) for each in wanted] for name, wanted in ACCURACIES.items()}
    plot(of_one_input(speeds(files["eight_bits"]["rows"], "int8")), curves, PICTURE)
    sentences.plot(files["serving"]["rows"], SENTENCES_PICTURE)
