"""Where a figure was measured: without this a figure cannot be compared."""

import functools
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("sparbor", "torch", "numpy")


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
        "commit": _commit(),
    }


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


@functools.cache  # asked for after every epoch, and a process to start each time
def _commit() -> str | None:
    """The commit of the source tree this package runs from, marked where files differ from it."""
    source = Path(__file__).parent
    if not (source.parents[2] / ".git").exists():
        return None
    try:
        result = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty"],
            cwd=source,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
