"""Networks that are checked in a process each: which ones, and their rows as they come."""

from __future__ import annotations

import argparse
import fnmatch
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from bench import CHECKOUT
from bench.children import run_child
from bench.network_zoo.network import Network
from bench.network_zoo.registry import NETWORKS, importable
from sparbor.files import write_file

TIMEOUT_S = 600  # after which a network counts as one that hangs
AT_ONCE = 2
PACKAGES = ("torchvision", "timm", "transformers")

Row = dict[str, Any]


def parser_of(description: str, rows: Path, page: Path) -> argparse.ArgumentParser:
    """The options of a script that checks networks, into a file of rows that a page is made of."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these networks; * as in file names is understood")
    parser.add_argument("--again", action="store_true", help="check networks that have a row already, too")
    parser.add_argument(
        "--page", action="store_true", help=f"check nothing, make {page.relative_to(CHECKOUT)} of the rows there are"
    )
    parser.add_argument("--list", action="store_true", help="print the networks' names and end")
    parser.add_argument(
        "--json", type=Path, default=rows, metavar="FILE", help=f"the rows ({rows.relative_to(CHECKOUT)})"
    )
    parser.add_argument("--one", choices=NETWORKS, metavar="NAME", help="check one in this process, and print its rows")
    return parser


def carry_out(
    parser: argparse.ArgumentParser,
    check: Callable[[Network], list[Row]],
    measure: Callable[[argparse.Namespace], None],
    pages: Callable[[dict[str, Any]], dict[Path, str]],
) -> None:
    """What the options ask for: names, one network's rows, or to ``measure`` and make the pages of the usual rows."""
    options = parser.parse_args()
    if options.list:
        print(*NETWORKS, sep="\n")
        return
    if options.one:
        torch.set_num_threads(1)
        warnings.simplefilter("ignore")  # of what packages say of themselves
        print(json.dumps(check(NETWORKS[options.one])))
        return
    if not options.page:
        measure(options)
    if options.json == parser.get_default("json"):
        for file, text in pages(json.loads(options.json.read_text())).items():
            file.parent.mkdir(exist_ok=True)
            write_file(file, text.encode())
            print(f"wrote {file.relative_to(CHECKOUT)}")


def chosen(patterns: Sequence[str]) -> list[Network]:
    """The networks that the patterns name, each of which has to name one, but for those that are not installed."""
    for pattern in patterns:
        if not fnmatch.filter(NETWORKS, pattern):
            sys.exit(f"--only {pattern}: there is no such network; --list names them")
    found = [network for name, network in NETWORKS.items() if any(fnmatch.fnmatchcase(name, each) for each in patterns)]
    for network in found:
        if not importable(network):
            print(f"{network.name}: left out, {network.package} is not installed; `make networks` installs it")
    return [network for network in found if importable(network)]


def rows_of(script: Path, networks: Sequence[Network]) -> Iterator[list[Row]]:
    """What ``script --one NAME`` prints of each network, as they end."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(_in_a_process, script, network) for network in networks]
        for done in as_completed(running):
            yield done.result()


def _in_a_process(script: Path, network: Network) -> list[Row]:
    """The network's rows; a process that crashes or hangs is a row too."""
    lost = {"name": network.name, "family": network.family, "package": network.package}
    try:
        child = run_child([sys.executable, str(script), "--one", network.name], timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return [{**lost, "failed": "hang", "error": f"took longer than {TIMEOUT_S} s"}]
    if child.returncode != 0:
        last = (child.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return [{**lost, "failed": "crash", "error": f"the process ended with status {child.returncode}: {last}"}]
    rows: list[Row] = json.loads(child.stdout.splitlines()[-1])
    return rows


def versions() -> dict[str, str | None]:
    """Of the packages that networks come from."""
    return {package: version_of(package) for package in PACKAGES}


def version_of(package: str) -> str | None:
    """The installed one."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
