"""Where a figure was measured: without this a figure cannot be compared."""

import functools
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import sparbor
from bench import CHECKOUT, RESULTS

PACKAGES = ("sparbor", "torch", "numpy")
ROWS = RESULTS.relative_to(CHECKOUT).as_posix()  # a study that writes its rows there leaves the code as it is


def describe(device: str = "cpu") -> dict[str, Any]:
    """The machine, the software and the thread count, as plain data; what cannot be found out is ``None``."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "training_threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "commit": commit_of(CHECKOUT) if runs_from(CHECKOUT) else None,
    }


def runs_from(checkout: Path) -> bool:
    """Whether the package is that of the checkout: an installed one may be of any commit."""
    return Path(sparbor.__file__).resolve().is_relative_to(checkout / "src")


@functools.cache
def _cpu_name() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@functools.cache  # asked for after every epoch, and processes to start each time
def commit_of(repository: Path) -> str | None:
    """The commit of a source tree, marked where files differ from it; ``None`` where there is none to be found."""
    if not (repository / ".git").exists():
        return None
    try:
        commit = _git(repository, "rev-parse", "--short=12", "HEAD")
        differing = _git(repository, "status", "--porcelain", "--untracked-files=no", "--", f":(exclude){ROWS}")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if differing else commit


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    result = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=10, check=True)
    return result.stdout.strip()
