"""What is released: an sdist with all that a build needs and nothing else, and a package that brings little with it.

Building takes minutes: `make wheel-check` does it, and runs the golden models through what was built.
"""

import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from importlib.metadata import requires
from pathlib import Path

import numpy as np
import pytest
import safetensors

import sparbor
from sparbor import _native
from sparbor.engine.runtime import kernel_sets, load
from sparbor.program.model_file import save
from sparbor.program.program import Port
from tests.golden.check import CASES, HERE, TOLERANCE
from tests.wheel_check import REFUSED, WORKING, check_commands

REPOSITORY = Path(__file__).resolve().parent.parent
RELEASED = re.compile(
    r"(native|src/sparbor|tests/golden)/.+|docs/[\w/-]+\.md|(CMakeLists\.txt|pyproject\.toml|LICENSE|README\.md|CHANGELOG\.md)"
)
BUILD_SDIST = "import sys; from scikit_build_core.build import build_sdist; build_sdist(sys.argv[1])"


def test_the_runtime_needs_numpy_and_safetensors_alone() -> None:
    listed = requires("sparbor") or []
    needed = {re.split(r"[^\w-]", line)[0] for line in listed if "extra ==" not in line}
    assert needed == {"numpy", "safetensors"}


def test_the_sdist_is_what_git_has_of_what_a_build_needs(tmp_path: Path) -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    in_git = {name for name in listing.stdout.split("\0") if name and (REPOSITORY / name).exists()}
    subprocess.run([sys.executable, "-c", BUILD_SDIST, str(tmp_path)], cwd=REPOSITORY, check=True, capture_output=True)
    (sdist,) = tmp_path.iterdir()
    with tarfile.open(sdist) as archive:
        released = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert released == {name for name in in_git if RELEASED.fullmatch(name)} | {"PKG-INFO"}
    assert sdist.stat().st_size < 2**20


@pytest.mark.skipif(sys.platform == "win32", reason="makes links")
def test_with_numpy_and_safetensors_alone_every_command_works_or_names_its_extra(tmp_path: Path) -> None:
    """Python without its site-packages, and in their place these two and the package."""
    packages = tmp_path / "packages"
    (packages / "sparbor").mkdir(parents=True)
    for module in (np, safetensors):
        folder = Path(module.__file__).parent
        for each in folder.parent.glob(f"{folder.name}*"):  # wheels keep shared libraries in a folder beside
            (packages / each.name).symlink_to(each)
    engine = Path(_native.__file__)  # an editable installation has it elsewhere
    for each in {file.name: file for file in (*Path(sparbor.__file__).parent.iterdir(), engine)}.values():
        (packages / "sparbor" / each.name).symlink_to(each)
    golden = shutil.copytree(HERE, tmp_path / "golden")
    check_commands([sys.executable, "-S"], golden, {"PYTHONPATH": str(packages)})
    assert (golden / "report.html").stat().st_size > 10_000
    assert not (golden / "PAI").exists()


def test_every_command_of_the_readme_is_tried_with_the_wheel_alone() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    shown = {
        (name, *re.findall(r"--to \w+", options)) for name, options in re.findall(r"^sparbor (\w+)(.*)", readme, re.M)
    }
    tried = {(command.split()[0], *re.findall(r"--to \w+", command)) for command in (*WORKING, *REFUSED)}
    assert shown <= tried


@pytest.mark.parametrize(("name", "value"), [("rows", 5), ("planes", 9)])
def test_the_models_of_the_middle_are_the_golden_ones_up_to_a_value(name: str, value: int, tmp_path: Path) -> None:
    save(replace(load(HERE / f"{name}.safetensors").program, outputs=(Port("output", value),)), tmp_path / "middle")
    assert (tmp_path / "middle").read_bytes() == (HERE / f"{name}_middle.safetensors").read_bytes()


@pytest.mark.parametrize("kernels", kernel_sets())
@pytest.mark.parametrize(("model", "given", "expected"), CASES)
def test_the_answers_recorded_are_those_of_every_kernel_set(
    model: str, given: str, expected: str, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARBOR_ISA", kernels)
    wanted = np.load(HERE / f"{expected}.output.npy")
    found = load(HERE / f"{model}.safetensors")(np.load(HERE / f"{given}.input.npy"))
    np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE)
