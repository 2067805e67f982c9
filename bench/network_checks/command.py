"""``python bench/networks.py``: every network in a process of its own, the rows as they come, and the page of them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench import CHECKOUT
from bench.network_checks.check import check
from bench.network_checks.page import PAGE, ROWS, page
from bench.network_checks.processes import chosen, quiet, rows_of, say, versions
from bench.network_zoo.registry import NETWORKS
from bench.results_file import ResultsFile
from sparbor.files import write_file

SCRIPT = CHECKOUT / "bench" / "networks.py"


def main() -> None:
    """The command."""
    options = _parsed()
    if options.one:
        quiet()
        say([check(NETWORKS[options.one])])
        return
    if not options.page:
        _measure(options)
    if options.json == ROWS:
        write_file(PAGE, page(json.loads(ROWS.read_text())).encode())
        print(f"wrote {PAGE.relative_to(CHECKOUT)}")


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these networks; * as in file names is understood")
    parser.add_argument("--again", action="store_true", help="check networks that have a row already, too")
    parser.add_argument(
        "--page", action="store_true", help="check nothing, make docs/networks.md of the rows there are"
    )
    parser.add_argument("--list", action="store_true", help="print the networks' names and end")
    parser.add_argument(
        "--json", type=Path, default=ROWS, metavar="FILE", help=f"the rows ({ROWS.relative_to(CHECKOUT)})"
    )
    parser.add_argument("--one", choices=NETWORKS, metavar="NAME", help="check one in this process, and print its row")
    options = parser.parse_args()
    if options.list:
        print(*NETWORKS, sep="\n")
        parser.exit()
    return options


def _measure(options: argparse.Namespace) -> None:
    networks = chosen(options.only or ["*"])
    if options.again and not options.only:
        options.json.unlink(missing_ok=True)
    results = ResultsFile(options.json, versions())
    if options.again:
        for network in networks:
            results.forget({"name": network.name})
    waiting = [network for network in networks if not results.has(name=network.name)]
    for count, rows in enumerate(rows_of(SCRIPT, waiting), 1):
        results.add(*rows)
        for row in rows:
            came = f"fails ({row['failed']}): {row['error'].splitlines()[0]}" if row["failed"] else "deploys"
            print(f"{count}/{len(waiting)} {row['name']} {came}", flush=True)
