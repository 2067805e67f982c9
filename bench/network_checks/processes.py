"""Networks that are checked in a process each: which ones, and their rows as they come."""

from __future__ import annotations

import fnmatch
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from bench.children import run_child
from bench.network_zoo.network import Network
from bench.network_zoo.registry import NETWORKS, importable

TIMEOUT_S = 600  # after which a network counts as one that hangs
AT_ONCE = 2
PACKAGES = ("torchvision", "timm", "transformers")

Row = dict[str, Any]


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
    """What ``script --one NAME`` prints of each network, as they end: by :func:`quiet` and :func:`say`."""
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


def quiet() -> None:
    """One thread, and nothing of what packages say of themselves."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def say(rows: list[Row]) -> None:
    """Tell the process that waits for them."""
    print(json.dumps(rows))


def versions() -> dict[str, str | None]:
    """Of the packages that networks come from."""
    return {package: version_of(package) for package in PACKAGES}


def version_of(package: str) -> str | None:
    """The installed one."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
