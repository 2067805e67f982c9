"""Builds the sdist and from it a wheel, installs that alone into a new environment, and runs the golden models there.

Every command that README shows is tried there as well: it works, or names the extra that it needs.

``make wheel-check`` runs it, for minutes. Arguments are the Pythons to build with. A wheel for the stable ABI is also
tried on those among them that are later than the one that built it, which then build none.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
LARGEST_WHEEL = 6 * 2**20  # with the engine twice: for Python and for ONNX Runtime
WANTED = {"sparbor", "numpy", "safetensors"}
WORKING = (  # in a folder with what lies in tests/golden
    "inspect rows.safetensors",
    "time rows.safetensors --batch 1 --threads 1",
    "report metrics.json --out report.html",
    "run rows.safetensors --input rows.input.npy --output y.npy",
    "export rows.safetensors --to c --out exported",
    "--version",
)
REFUSED = {  # each with the extra that it needs
    "export rows.safetensors --to onnx --out model.onnx": "onnx",
    "onnx pack rows.safetensors --out packed.onnx": "onnx",
    "deploy rows.safetensors --out model.safetensors": "onnx",
}
NAMES = {"load": None, "ByteInput": None, "perforate": "train", "deploy": "train", "Recipe": None}
STABLE_SINCE = (3, 12)
MOVED = ("sparbor/benchmark/", "sparbor/data/")  # to bench/, which stays in the checkout


def run(*command: str | Path, cwd: Path = REPOSITORY, **variables: str) -> str:
    """What the command prints, with these environment variables too; its errors go where ours go."""
    settings: dict[str, Any] = {"cwd": cwd, "env": {**os.environ, **variables}, "stdout": subprocess.PIPE}
    return subprocess.run(list(map(str, command)), check=True, text=True, **settings).stdout


def version_of(python: str) -> tuple[int, int]:
    """Its major and minor version."""
    major, minor = run(python, "-c", "import sys; print(*sys.version_info[:2])").split()
    return int(major), int(minor)


def environment(python: str, folder: Path) -> Path:
    """The Python of a new environment, in which nothing is installed."""
    run(python, "-m", "venv", folder)
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def build(python: str, folder: Path) -> Path:
    """The wheel that this Python makes of the sdist that it makes of the working tree."""
    builder = environment(python, folder / "builder")
    run(builder, "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt", "build")
    unpacked = tempfile.gettempdir()  # the sdist; a compiler cache then has what the working tree's engine is made of
    run(builder, "-m", "build", "--outdir", folder / "dist", REPOSITORY, CCACHE_BASEDIR=unpacked)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def check_wheel(wheel: Path, version: tuple[int, int]) -> None:
    """It is named for the Pythons that it is for, small, holds the engine, and no more than the package."""
    python = f"cp{version[0]}{version[1]}"
    tags = f"-{python}-{python}-" if version < STABLE_SINCE else "-cp312-abi3-"
    assert tags in wheel.name, f"{wheel.name} should be for {tags}"
    names = zipfile.ZipFile(wheel).namelist()
    engines = [name for name in names if name.startswith("sparbor/_native.") and not name.endswith(".pyi")]
    assert len(engines) == 1, f"{wheel.name} holds the engines {engines}"
    strays = [name for name in names if not name.startswith(("sparbor/", "sparbor-")) or name.startswith(MOVED)]
    assert not strays, f"{wheel.name} holds {strays}"
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / 2**20:.2f} MiB")
    assert size <= LARGEST_WHEEL, f"{wheel.name} has {size:,} bytes, more than {LARGEST_WHEEL:,}"


def check_installed(python: str, wheel: Path, folder: Path) -> None:
    """It brings NumPy and safetensors and nothing else, and the golden models run."""
    installed = environment(python, folder)
    run(installed, "-m", "pip", "install", "--quiet", wheel)
    listed = json.loads(run(installed, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"))
    names = {package["name"] for package in listed} - {"pip", "setuptools"}  # those that an environment begins with
    assert names == WANTED, f"the wheel brings {sorted(names)}, not {sorted(WANTED)}"
    print(f"{python} has {', '.join(sorted(names))} alone")
    shutil.copytree(REPOSITORY / "tests" / "golden", folder / "golden")
    print(run(installed, folder / "golden" / "check.py", cwd=folder), end="")
    check_commands([str(installed)], folder / "golden", {})


def check_commands(python: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Where nothing but the wheel and what it brings is installed, every command works or names its extra."""

    def result(*arguments: str) -> tuple[int, str]:
        """The exit status, and the last line of what went wrong."""
        command = [*python, *arguments]
        done = subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)
        return done.returncode, done.stderr[:-1].rpartition("\n")[2]

    for command in WORKING:
        assert result("-m", "sparbor", *command.split()) == (0, ""), f"sparbor {command}: {result('-m', *command)}"
    for command, extra in REFUSED.items():
        status, error = result("-m", "sparbor", *command.split())
        remedy = f", which is not installed: run `pip install 'sparbor[{extra}]'`"
        assert status == 2, f"sparbor {command} ended with {status}"
        assert error.startswith("sparbor: error: "), f"sparbor {command}: {error}"
        assert error.endswith(remedy), f"sparbor {command}: {error}"
    for name, needed in NAMES.items():
        status, error = result("-c", f"from sparbor import {name}")
        remedy = f"PackageMissingError: sparbor.{name} needs torch, which is not installed: run `pip install"
        assert status == (needed is not None), f"sparbor.{name}: {error}"
        assert needed is None or f"{remedy} 'sparbor[{needed}]'`" in error, f"sparbor.{name}: {error}"
    print(f"{len(WORKING)} commands work, {len(REFUSED)} name their extra, and so do names that need torch")


def main() -> None:
    pythons = sorted((version_of(python), python) for python in sys.argv[1:] or [sys.executable])
    stable = [python for version, python in pythons if version >= STABLE_SINCE]
    for version, python in pythons:
        if python in stable[1:]:
            continue
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            wheel = build(python, folder)
            check_wheel(wheel, version)
            for number, runner in enumerate(stable if python in stable else [python]):
                check_installed(runner, wheel, folder / f"installed-{number}")


if __name__ == "__main__":
    main()
