"""docs/networks.md and the pages under docs/networks/, a family each, made of the rows of one run."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import CHECKOUT, RESULTS
from bench.network_checks.check import (
    DEEP,
    EXACT_LIMIT,
    EXACT_LIMIT_OF_DEEP,
    STEPS,
    TIMES_PYTORCH,
    WORD16_LIMIT,
)
from bench.network_zoo.network import FAMILIES

PAGE, ROWS = CHECKOUT / "docs" / "networks.md", RESULTS / "networks.json"
FOLDER = CHECKOUT / "docs" / "networks"
Row = dict[str, Any]

TEXT = """# Networks that are tested

For whoever wants to know whether a network like theirs trains sparse and runs on the engine. Each network here is
built with random weights by the package that it comes from (or in plain PyTorch, under `bench/network_zoo/`), at a
small size that keeps its structure. It is trained for {steps} steps with `Recipe(sparsity=0.8)`, then deployed, and
its answers are compared with PyTorch's. Nothing here says how accurate a network becomes, or how fast: for some,
[Results](results.md) does.

**Of {count} networks {trained} train sparse, and {deployed} deploy as well and answer as PyTorch does.** Of those,
{close} are within {word16:.1%} with 16-bit weights too.

{families}
## What the columns say

- **trains**: `perforate` takes it, and weights are dropped and exchanged while it trains.
- **deploys**: `deploy` runs all of it on the engine, and with exact weights no answer differs from PyTorch's by more
  than {exact:g} of it ({deep:g} for networks of more than {layers} matrices). Compared are batches of 1 and of 5, and
  sequences of 1, 7, 128 and 500 steps as far as the network takes them, with masks for texts of different lengths.
  Some networks with random weights magnify every rounding, PyTorch's own too: where PyTorch's answer differs from its
  own in double precision, the engine's may differ {times} times as much{magnify}.
- **matrices taken**: how many of the weights that are matrices, kernels or tables become sparse, of how many there
  are. [Train](train.md) says which layers stay dense; `print(perforator)` says so of your own network.
- **weights taken**: which share of all the network's numbers that is. **density**: how much of it is left.
- **exact**, **16-bit**: the largest difference from PyTorch's answer, as a share of it, when weights are stored as
  they are and with 16 bits. A 16-bit weight is rounded by up to 1/64, so that one layer's answer changes by 0.5 to 1 %.
  Each layer adds its own and passes on those before it: with random weights, as here, that comes to more than
  {word16:.1%} in many networks of more than a few layers, whatever rounds them; of {shallow} networks with up to
  {layers} matrices it stays below for {shallow_close}. Where it is more, the figure in brackets says how far PyTorch's
  own answer moves when each weight that is kept changes at random by up to 1/64; the engine's may be off by {times}
  times that. What 16 bits do to the accuracy of trained networks, [Results](results.md) says; pass `weights="exact"`
  where they do too much.
- **dense**, **file**: the bytes of the network's numbers in float32, and of the file with 16-bit weights.
- **deploying**: how long `deploy` took with 16-bit weights; two networks were tried at a time, on this machine:
  {cpu}, {cores} cores.

Made by `python bench/networks.py` ([the rows](../bench/results/networks.json)) with
{versions}. `make networks` sets up what it needs and runs it;
`python bench/networks.py --only NAME` tries one.
"""
TEXT_OF_FAMILY = """# Networks that are tested: {family}

For whoever wants to know whether a network of this kind trains sparse and runs on the engine. [The first
page](../networks.md) says how that was tested and what the columns mean. {works} of {count} train and deploy.

"""
COLUMNS = (
    *("network", "from", "trains", "deploys", "matrices taken", "weights taken", "density"),
    *("exact", "16-bit", "dense", "file", "deploying"),
)
CENTRED, LEFT = ("trains", "deploys"), ("network", "from")
FAILURES = """
## What does not work yet

The step at which it ended, and the error.

"""
MOST_OF_AN_ERROR = 300  # characters on the page


def pages(results: dict[str, Any]) -> dict[Path, str]:
    """The first page, and one for each family."""
    rows: list[Row] = results["rows"]
    families = {
        family: sorted((row for row in rows if row["family"] == family), key=lambda row: str(row["name"]))
        for family in FAMILIES
    }
    families = {family: some for family, some in families.items() if some}
    first = _introduction(results["environment"], rows, families)
    failed = sorted((row for row in rows if row["failed"]), key=lambda row: str(row["name"]))
    if failed:
        first += FAILURES + "\n".join(_failure(row) for row in failed) + "\n"
    return {PAGE: first} | {_page_of(family): _page(family, some) for family, some in families.items()}


def _page_of(family: str) -> Path:
    return FOLDER / f"{re.sub('[^a-z]+', '-', family)}.md"


def _introduction(environment: dict[str, Any], rows: Sequence[Row], families: dict[str, list[Row]]) -> str:
    works = [row for row in rows if not row["failed"]]
    shallow = [row for row in works if row["matrices"] <= DEEP]
    magnify = ", ".join(str(row["name"]) for row in works if "pytorch_exact" in row)
    packages = ("torch", "torchvision", "timm", "transformers")
    return TEXT.format(
        families=_families(families),
        steps=STEPS,
        count=len(rows),
        trained=sum(map(_trains, rows)),
        deployed=len(works),
        close=sum(row["word16"] <= WORD16_LIMIT for row in works),
        word16=WORD16_LIMIT,
        shallow=len(shallow),
        shallow_close=sum(row["word16"] <= WORD16_LIMIT for row in shallow),
        magnify=f" ({magnify})" if magnify else "",
        exact=EXACT_LIMIT,
        deep=EXACT_LIMIT_OF_DEEP,
        layers=DEEP,
        times=TIMES_PYTORCH,
        cpu=environment["cpu"],
        cores=environment["cores"],
        versions=", ".join(f"{package} {environment[package]}" for package in packages),
    )


def _trains(row: Row) -> bool:
    return row["failed"] not in ("build", "train") and "density" in row


def _families(families: dict[str, list[Row]]) -> str:
    """A line for each, which leads to its page."""
    lines = [joined(("networks", "tested", "train and deploy")), joined(("---", "--:", "--:"))]
    for family, rows in families.items():
        link = f"[{_capital(family)}](networks/{_page_of(family).name})"
        lines.append(joined((link, str(len(rows)), str(_works(rows)))))
    return "\n".join(lines) + "\n"


def _page(family: str, rows: Sequence[Row]) -> str:
    rule = ["---" if each in LEFT else ":-:" if each in CENTRED else "--:" for each in COLUMNS]
    top = TEXT_OF_FAMILY.format(family=family, works=_works(rows), count=len(rows))
    return top + "\n".join([joined(COLUMNS), joined(rule), *map(_line, rows)]) + "\n"


def _works(rows: Sequence[Row]) -> int:
    return sum(not row["failed"] for row in rows)


def _capital(family: str) -> str:
    return family[0].upper() + family[1:]


def joined(cells: Sequence[str]) -> str:
    """A line of a table."""
    return "| " + " | ".join(cells) + " |"


def _line(row: Row) -> str:
    name = str(row["name"]).rpartition("/")[2]
    package = "plain PyTorch" if row["package"] == "torch" else row["package"]
    density, exact = row.get("density"), row.get("exact")
    cells = [
        name,
        package,
        "yes" if _trains(row) else "no",
        "no" if row["failed"] else "yes",
        f"{row['taken']} of {row['matrices']}" if "taken" in row else "",
        f"{row['weights_taken'] / row['parameters']:.0%}" if "weights_taken" in row else "",
        "" if density is None else f"{density:.0%}",
        "" if exact is None else f"{exact:.0e}",
        _of_words(row),
        size_in_words(row.get("dense_bytes")),
        size_in_words(row.get("file_bytes")),
        f"{row['deploying_word16_s']:.1f} s" if "deploying_word16_s" in row else "",
    ]
    return joined(cells)


def _of_words(row: Row) -> str:
    """How far the answer is off with 16-bit weights, and how far roundings move PyTorch's own."""
    if "word16" not in row:
        return ""
    moved = f" ({_percent(row['pytorch_word16'])})" if "pytorch_word16" in row else ""
    return _percent(row["word16"]) + moved


def _percent(share: float) -> str:
    return f"{share:.2%}" if math.isfinite(share) else "not finite"


def size_in_words(count: int | None) -> str:
    """So many bytes, for people."""
    if count is None:
        return ""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} KB"


def _failure(row: Row) -> str:
    return f"- **{row['name']}**, {row['failed']}: `{short(row['error'])}`"


def short(error: object) -> str:
    """An error on one line that no table or code would end."""
    text = " ".join(str(error).split()).replace("|", "\\|").replace("`", "'")
    return text if len(text) <= MOST_OF_AN_ERROR else text[:MOST_OF_AN_ERROR].rstrip() + " …"
