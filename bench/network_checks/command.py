"""``python bench/networks.py``: every network in a process of its own, the rows as they come, and the page of them."""

from __future__ import annotations

import argparse

from bench import CHECKOUT
from bench.network_checks.check import check
from bench.network_checks.page import PAGE, ROWS, pages
from bench.network_checks.processes import carry_out, chosen, parser_of, rows_of, versions
from bench.results_file import ResultsFile

SCRIPT = CHECKOUT / "bench" / "networks.py"


def main() -> None:
    """The command."""
    carry_out(parser_of(str(__doc__), ROWS, PAGE), lambda network: [check(network)], _measure, pages)


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
