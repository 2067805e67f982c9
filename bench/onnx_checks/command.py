"""``python bench/onnx_files.py``: the rows as they come, and the page of them."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from bench import CHECKOUT
from bench.network_checks.processes import carry_out, chosen, parser_of, rows_of, version_of, versions
from bench.network_zoo.network import Network
from bench.onnx_checks.check import Row, check, failure
from bench.onnx_checks.exporters import check_network
from bench.onnx_checks.page import OTHERS, PAGE, ROWS, pages
from bench.results_file import PooledFile

SCRIPT = CHECKOUT / "bench" / "onnx_files.py"
PACKAGES = ("onnx", "onnxruntime", "onnxscript", "skl2onnx")


def main() -> None:
    """The command."""
    about = "Packs ONNX files of many networks, runs them on the engine, and compares the answers."
    parser = parser_of(about, ROWS, PAGE)
    parser.add_argument(
        "--files", nargs="+", type=Path, metavar="FILE", help="these files, called EXPORTER-NAME.onnx, and no networks"
    )
    carry_out(parser, _check_one, _measure, pages)


def _check_one(network: Network) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return check_network(network, Path(folder))


def _measure(options: argparse.Namespace) -> None:
    results = PooledFile(options.json, {**versions(), **{package: version_of(package) for package in PACKAGES}})
    if options.files:
        for file in options.files:
            _add(results, [_row_of_file(file)])
        return
    networks = chosen(options.only or ["*"])
    waiting = [each for each in networks if options.again or not results.has({"name": each.name})]
    for rows in rows_of(SCRIPT, waiting):
        _add(results, rows)


def _row_of_file(file: Path) -> Row:
    """Of a file that is called ``EXPORTER-NAME.onnx``."""
    exporter, _, name = file.stem.partition("-")
    base = {"name": name, "family": OTHERS, "package": None, "exporter": exporter}
    try:
        return {**base, **check(file), "failed": None, "error": None}
    except Exception as error:  # whatever it is, it is the result
        return {**base, **failure("check", error)}


def _add(results: PooledFile, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        exporter = row.get("exporter", "")  # a process that was lost has none
        results.put(row, {"name": row["name"], "exporter": exporter} if exporter else {"name": row["name"]})
        print(row["name"], exporter, f"fails ({row['failed']}): {row['error']}" if row["failed"] else "", flush=True)
