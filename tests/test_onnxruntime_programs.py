"""A packed model in ONNX Runtime from C, C++ and Node: the programs of examples/ give what Python gives."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import sparbor.onnxruntime
from sparbor.onnx import pack
from tests.test_onnx_pack import PRODUCT, model_of, session, sparse

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
HEADERS = os.environ.get("SPARBOR_ONNXRUNTIME_INCLUDE", "/usr/include/onnxruntime")
NODE_MODULES = EXAMPLES.parent / "build" / "node" / "node_modules"
MISSING = sparbor.onnxruntime.missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))


@pytest.fixture
def packed(tmp_path: Path) -> tuple[str, np.ndarray]:
    """A packed model's file, and its answer to ones."""
    model = pack(model_of([PRODUCT], {"w": sparse(64, 96)})).model
    onnx.save(model, tmp_path / "packed.onnx")
    return str(tmp_path / "packed.onnx"), session(model).run(None, {"x": np.ones((1, 64), np.float32)})[0][0]


def numbers(command: list[str], **environment: str) -> np.ndarray:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return np.array(done.stdout.split(), np.float32)


def runtime_in(folder: Path) -> Path:
    """A folder with the runtime of Python's package under the name that programs look for."""
    (found,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    (folder / "libonnxruntime.so.1").symlink_to(found)
    return folder / "libonnxruntime.so.1"


@pytest.mark.skipif(not Path(HEADERS).is_dir(), reason="ONNX Runtime's headers: SPARBOR_ONNXRUNTIME_INCLUDE names none")
@pytest.mark.parametrize("compiler", ["cc -std=c99", "c++ -std=c++17"])
def test_c_and_cpp(compiler: str, packed: tuple[str, np.ndarray], tmp_path: Path) -> None:
    source = EXAMPLES / ("onnxruntime.c" if "99" in compiler else "onnxruntime.cpp")
    library, program = runtime_in(tmp_path), tmp_path / "run"
    built = [*compiler.split(), "-Wall", "-Wextra", "-Werror", f"-isystem{HEADERS}", str(source), str(library)]
    done = subprocess.run([*built, "-o", str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    model, expected = packed
    command = [str(program), model, sparbor.onnxruntime.library_path()]
    assert np.array_equal(numbers(command, LD_LIBRARY_PATH=str(tmp_path)), expected)
    refused = subprocess.run(
        [*command[:2], "nothing.so"], capture_output=True, text=True, env={"LD_LIBRARY_PATH": str(tmp_path)}
    )
    assert refused.returncode == 1
    assert "nothing.so" in refused.stderr


@pytest.mark.skipif(
    not NODE_MODULES.is_dir() or shutil.which("node") is None,
    reason="onnxruntime-node is not installed: npm install --prefix build/node --ignore-scripts onnxruntime-node",
)
def test_node(packed: tuple[str, np.ndarray]) -> None:
    program = NODE_MODULES.parent / "onnxruntime.mjs"  # modules are looked for beside and above it
    shutil.copy(EXAMPLES / program.name, program)
    model, expected = packed
    found = numbers(["node", str(program), model], LD_PRELOAD=sparbor.onnxruntime.preload_path())
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # maybe another release of the runtime
