"""``python bench/onnx_files.py``: the rows as they come, and the page of them."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from bench import CHECKOUT
from bench.network_checks.processes import chosen, quiet, rows_of, say, version_of, versions
from bench.network_zoo.registry import NETWORKS
from bench.onnx_checks.check import Row, check, failure
from bench.onnx_checks.exporters import check_network
from bench.onnx_checks.page import OTHERS, PAGE, ROWS, page
from bench.results_file import PooledFile
from sparbor.files import write_file

SCRIPT = CHECKOUT / "bench" / "onnx_files.py"
PACKAGES = ("onnx", "onnxruntime", "onnxscript", "skl2onnx")


def main() -> None:
    """The command."""
    options = _parsed()
    if options.one:
        quiet()
        with tempfile.TemporaryDirectory() as folder:
            say(check_network(NETWORKS[options.one], Path(folder)))
        return
    if not options.page:
        _measure(options)
    if options.json == ROWS:
        write_file(PAGE, page(json.loads(ROWS.read_text())).encode())
        print(f"wrote {PAGE.relative_to(CHECKOUT)}")


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Packs ONNX files of many networks, runs them on the engine, and compares the answers."
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these networks; * as in file names is understood")
    parser.add_argument(
        "--files", nargs="+", type=Path, metavar="FILE", help="these files, called EXPORTER-NAME.onnx, and no networks"
    )
    parser.add_argument("--again", action="store_true", help="check networks that have rows already, too")
    parser.add_argument("--page", action="store_true", help="check nothing, make docs/onnx-files.md of the rows")
    parser.add_argument(
        "--json", type=Path, default=ROWS, metavar="FILE", help=f"the rows ({ROWS.relative_to(CHECKOUT)})"
    )
    parser.add_argument("--one", choices=NETWORKS, metavar="NAME", help="check one in this process, and print its rows")
    return parser.parse_args()


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
