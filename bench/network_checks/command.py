"""``python bench/networks.py``: every network in a process of its own, the rows as they come, and the page of them."""

from __future__ import annotations

import argparse
import fnmatch
import json
import subprocess
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from bench import CHECKOUT
from bench.children import run_child
from bench.network_checks.check import check
from bench.network_checks.page import PAGE, ROWS, page
from bench.network_zoo.network import Network
from bench.network_zoo.registry import NETWORKS, importable
from bench.results_file import ResultsFile
from sparbor.files import write_file

TIMEOUT_S = 600  # after which a network counts as one that hangs
AT_ONCE = 2
PACKAGES = ("torchvision", "timm", "transformers")


def main() -> None:
    """The command."""
    options = _parsed()
    if options.one:
        _be_the_child(options.one)
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
    chosen = _chosen(options.only or ["*"])
    if options.again and not options.only:
        options.json.unlink(missing_ok=True)
    results = ResultsFile(options.json, {package: _version(package) for package in PACKAGES})
    for network in [each for each in chosen if not importable(each)]:
        print(f"{network.name}: left out, {network.package} is not installed; `make networks` installs it")
        chosen.remove(network)
    if options.again:
        for network in chosen:
            results.forget({"name": network.name})
    waiting = [network for network in chosen if not results.has(name=network.name)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(_in_a_process, network) for network in waiting]
        for count, done in enumerate(as_completed(running), 1):
            row = done.result()
            results.add(row)
            came = f"fails ({row['failed']}): {row['error'].splitlines()[0]}" if row["failed"] else "deploys"
            print(f"{count}/{len(waiting)} {row['name']} {came}", flush=True)


def _chosen(patterns: Sequence[str]) -> list[Network]:
    """The networks that the patterns name, each of which has to name one."""
    for pattern in patterns:
        if not fnmatch.filter(NETWORKS, pattern):
            sys.exit(f"--only {pattern}: there is no such network; --list names them")
    return [network for name, network in NETWORKS.items() if any(fnmatch.fnmatchcase(name, each) for each in patterns)]


def _in_a_process(network: Network) -> dict[str, Any]:
    """The network's row; a process that crashes or hangs is a row too."""
    command = [sys.executable, str(CHECKOUT / "bench" / "networks.py"), "--one", network.name]
    lost = {"name": network.name, "family": network.family, "package": network.package}
    try:
        child = run_child(command, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return {**lost, "failed": "hang", "error": f"took longer than {TIMEOUT_S} s"}
    if child.returncode != 0:
        last = (child.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return {**lost, "failed": "crash", "error": f"the process ended with status {child.returncode}: {last}"}
    row: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return row


def _be_the_child(name: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of what packages say of themselves
    print(json.dumps(check(NETWORKS[name])))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
