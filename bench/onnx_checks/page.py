"""docs/onnx-files.md, made of the rows of one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import CHECKOUT, RESULTS
from bench.network_checks.page import joined, short, size_in_words
from bench.network_zoo.network import FAMILIES
from bench.onnx_checks.check import EXACT_LIMIT, INT8_LIMIT, Row
from bench.results_file import environments_of

OTHERS = "from other exporters"  # the family of files that were not made here
PAGE, ROWS = CHECKOUT / "docs" / "onnx-files.md", RESULTS / "onnx-files.json"

TEXT = """# ONNX files that are tested

For whoever wants to know whether an ONNX file like theirs can be [packed for ONNX Runtime](onnx-pack.md), or
[run on the engine](onnx.md#an-onnx-file-on-our-engine). The files are made of [networks that are tested](networks.md),
trained sparse for some steps and written by both of PyTorch's exporters; of estimators of scikit-learn, by skl2onnx;
and of networks of Keras and Flax, by tf2onnx and jax2onnx. Weights are random, but for those of scikit-learn, and about
80 % of them zero in the larger layers.

**Of {count} files {packed} can be packed and {engine} run on the engine; {both} do both.** `onnx.checker` accepts every
packed file, and every answer is compared with that of ONNX Runtime to the original file; where the file takes batches
of any size, at a second size as well.

What the columns say:

- **exporter**: `torch.export` is PyTorch's newer one (`torch.onnx.export(..., dynamo=True)`), `TorchScript` the older.
- **batch**: whether the file takes batches of any size; shown for networks that were exported here.
- **layers**: how many products and convolutions with constant weights were packed, of how many there are. Layers with
  fewer zeros than 60 % are left as they are, by default.
- **exact**, **8 bits**: how far the packed file's answer is from the original's, as a share of it (by the Euclidean
  norm), when weights are stored as they are and with 8 bits. More than {exact:g} and {int8:.0%} would be a failure.
- **engine**: the same for `sparbor.from_onnx(..., weights="exact")`; "no" where the file has operators that the engine
  has not.
- **bytes**: of the file, and of the packed one with 8 bits.

Made by `python bench/onnx_files.py` ([the rows](../bench/results/onnx-files.json)) with
{versions}.
`make networks` sets up what it needs. Files of scikit-learn, Keras and Flax are made by `scikit_learn.py`,
`tensorflow_models.py` and `jax_models.py` in `bench/onnx_checks/`, the latter two in an environment of their own
(tensorflow-cpu and tf2onnx; jax, flax and jax2onnx), and checked by `python bench/onnx_files.py --files FILE...`.
"""
COLUMNS = ("file", "exporter", "batch", "nodes", "layers", "exact", "8 bits", "engine", "bytes")
LEFT = ("file", "exporter", "batch")
VERSIONS = ("torch", "torchvision", "timm", "transformers", "onnx", "onnxruntime", "onnxscript", "skl2onnx")


def pages(results: dict[str, Any]) -> dict[Path, str]:
    """The page, by where it lies."""
    rows: list[Row] = results["rows"]
    works = [row for row in rows if not row["failed"]]
    parts = [_introduction(list(environments_of(results)), works)]
    for family in (*FAMILIES, OTHERS):
        of_family = sorted((row for row in works if row["family"] == family), key=lambda row: str(row["name"]))
        if of_family:
            parts.append(_table(family, of_family))
    parts.append(_reasons("What is not packed", [(row, row["pack"]) for row in works if row["pack"]]))
    parts.append(
        _reasons("What the engine does not run", [(row, row["from_onnx"]) for row in works if row["from_onnx"]])
    )
    parts.append(
        _reasons(
            "What could not be written or compared",
            [(row, f"{row['failed']}: {row['error']}") for row in rows if row["failed"]],
        )
    )
    return {PAGE: "".join(parts)}


def _introduction(environments: Sequence[dict[str, Any]], works: Sequence[Row]) -> str:
    return TEXT.format(
        count=len(works),
        packed=sum(not row["pack"] for row in works),
        engine=sum(not row["from_onnx"] for row in works),
        both=sum(not row["pack"] and not row["from_onnx"] for row in works),
        exact=EXACT_LIMIT,
        int8=INT8_LIMIT,
        versions=", ".join(f"{package} {_versions(environments, package)}" for package in VERSIONS),
    )


def _versions(environments: Sequence[dict[str, Any]], package: str) -> str:
    return " and ".join(dict.fromkeys(str(each[package]) for each in environments))


def _table(family: str, rows: Sequence[Row]) -> str:
    rule = ["---" if each in LEFT else "--:" for each in COLUMNS]
    title = f"\n## {family[0].upper()}{family[1:]}\n\n"
    return title + "\n".join([joined(COLUMNS), joined(rule), *map(_line, rows)]) + "\n"


def _line(row: Row) -> str:
    cells = [row["name"], row["exporter"], _batch(row), str(row["nodes"])]
    if row["pack"]:
        cells += ["none", "", ""]
    else:
        cells += [f"{row['packed']} of {row['layers']}", f"{row['packed_exact']:.0e}", f"{row['packed_int8']:.2%}"]
    cells.append("no" if row["from_onnx"] else f"{row['engine']:.0e}")
    cells.append(size_in_words(row["bytes"]) + ("" if row["pack"] else f" → {size_in_words(row['packed_bytes'])}"))
    return joined(cells)


def _batch(row: Row) -> str:
    return "" if "any_batch" not in row else "any" if row["any_batch"] else "one"


def _reasons(title: str, reasons: Sequence[tuple[Row, str]]) -> str:
    """Why, and which files: those with one reason together."""
    if not reasons:
        return ""
    names: dict[str, list[str]] = {}
    for row, reason in reasons:
        names.setdefault(short(reason), []).append(f"{row['name']} ({row.get('exporter', 'all')})")
    lines = [f"- {', '.join(sorted(some))}: `{reason}`" for reason, some in names.items()]
    return f"\n## {title}\n\n" + "\n".join(lines) + "\n"
