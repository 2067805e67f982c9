"""Builds the sdist and from it a wheel, installs that alone into a new environment, and runs the golden models there.

``make wheel-check`` runs it, for minutes. Arguments are the Pythons to build with. A wheel for the stable ABI is also
tried on those among them that are later than the one that built it, which then build none.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LARGEST_WHEEL = 5 * 2**20
WANTED = {"sparbor", "numpy", "safetensors"}
STABLE_SINCE = (3, 12)


def run(*command: str | Path, cwd: Path = REPOSITORY) -> str:
    """What the command prints; its errors go where ours go."""
    return subprocess.run(list(map(str, command)), cwd=cwd, check=True, text=True, stdout=subprocess.PIPE).stdout


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
    run(builder, "-m", "build", "--outdir", folder / "dist", REPOSITORY)
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
    strays = [name for name in names if not name.startswith(("sparbor/", "sparbor-"))]
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
