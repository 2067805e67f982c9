"""The engine for C: programs in C99 come to the same answers as Python, and files that lie get a reason.

`make c-api` builds the library twice, plain and under AddressSanitizer and UBSan, and runs these tests.
"""

import math
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparbor.engine.runtime import Runtime, load
from sparbor.engine.session import Session
from sparbor.errors import ModelFileError
from sparbor.packing.slots import Encoding
from sparbor.packing.tables import pack_table
from sparbor.program.model_file import checksummed, save
from sparbor.program.program import Activation, Operation, Port, Program, ValueType
from tests import test_program, test_values
from tests.golden.check import CASES, HERE, TOLERANCE
from tests.layers import mlp
from tests.quantized_network import INPUT, network_program
from tests.test_hostile_files import GREEDY

REPOSITORY = Path(__file__).resolve().parent.parent
STRICT = ("-std=c99", "-D_POSIX_C_SOURCE=200112L", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
BUILDS = {"c_api": (), "c_api_sanitized": ("-fsanitize=address,undefined",)}

Compile = Callable[[str], Path]


@pytest.fixture(scope="module", params=BUILDS)
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compiles a program of tests/c_api against one of the two builds."""
    build, folder = REPOSITORY / "build" / request.param, tmp_path_factory.mktemp(request.param)
    if not any(build.glob("libsparbor.*")):
        pytest.skip(f"{build} has no libsparbor: `make c-api` builds it")

    def compile_program(name: str) -> Path:
        source, program = REPOSITORY / "tests" / "c_api" / f"{name}.c", folder / name
        if not program.exists():
            header, library = f"-I{REPOSITORY / 'native' / 'c_api'}", f"-L{build}"
            command = ["cc", *STRICT, *BUILDS[request.param], header, str(source), "-o", str(program)]
            command += [library, "-lsparbor", "-pthread", f"-Wl,-rpath,{build}"]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        return program

    return compile_program


def run(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kernels", ["portable", None])
@pytest.mark.parametrize(("model", "given", "expected"), CASES)
def test_golden_models_from_several_threads(
    compiled: Compile,
    model: str,
    given: str,
    expected: str,
    kernels: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kernels is not None:
        monkeypatch.setenv("SPARBOR_ISA", kernels)
    x, wanted = np.load(HERE / f"{given}.input.npy"), np.load(HERE / f"{expected}.output.npy")
    x.tofile(tmp_path / "x")
    kind = "bytes" if x.dtype == np.uint8 else "floats"
    said = run(compiled("run_model"), HERE / f"{model}.safetensors", kind, tmp_path / "x", tmp_path / "y")
    runtime = load(HERE / f"{model}.safetensors")
    takes_bytes = int(runtime.program.byte_input is not None)
    *sizes, isa = said.split()
    assert sizes == [str(x[0].size), str(wanted[0].size), str(takes_bytes)]
    assert isa in (runtime.isa, "portable")  # the sanitized build has that alone
    found = np.fromfile(tmp_path / "y", np.float32).reshape(wanted.shape)
    np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("encoding", Encoding)
def test_a_model_of_real_size_is_computed_as_in_python(
    compiled: Compile, encoding: Encoding, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Infinities stand in its graph as no JSON knows them."""
    monkeypatch.setenv("SPARBOR_ISA", "portable")  # which both builds have
    program = mlp([784, 256, 256, 10], encoding=encoding)
    end = Operation("activation", (program.output,), len(program.items), None, Activation("clamp", (-1.0, math.inf)))
    shapes, operations = (*program.items, program.items[program.output]), (*program.operations, end)
    save(Program.of_items(shapes, program.input, end.output, operations, program.layers), tmp_path / "model")
    x = np.random.default_rng(0).standard_normal((40, 784)).astype(np.float32)
    x.tofile(tmp_path / "x")
    run(compiled("run_model"), tmp_path / "model", "floats", tmp_path / "x", tmp_path / "y")
    wanted = load(tmp_path / "model")(x)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "y", np.float32).reshape(wanted.shape), wanted)


def test_a_network_of_bytes_is_computed_as_in_python(
    compiled: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARBOR_ISA", "portable")  # which both builds have
    save(network_program(), tmp_path / "model")
    x = np.random.default_rng(0).standard_normal((5, *INPUT)).astype(np.float32)
    x.tofile(tmp_path / "x")
    run(compiled("run_model"), tmp_path / "model", "floats", tmp_path / "x", tmp_path / "y")
    wanted = load(tmp_path / "model")(x)
    np.testing.assert_array_equal(np.fromfile(tmp_path / "y", np.float32).reshape(wanted.shape), wanted)


def calls_of(program: Program, folder: Path, calls: int, session: bool) -> tuple[Path, list[Any]]:
    """The model's file; inputs as files of the folder for so many calls, and what Python answers."""
    save(program, folder / "model")
    runtime = Runtime(program)
    caller = Session(runtime) if session else runtime
    answers = []
    for call in range(calls):
        shapes = [tuple(3 if isinstance(each, str) else each for each in port.shape) for port in caller.inputs]
        x = [np.random.default_rng(call).standard_normal(shape).astype(np.float32) for shape in shapes]
        for array, port in zip(x, caller.inputs, strict=True):
            array.tofile(folder / f"{port.name}.{call}")
        answer = caller(*x)
        answers.append(answer if isinstance(answer, dict) else {caller.outputs[0].name: answer})
    for name in answers[0] if calls else ():
        (folder / f"{name}.0.wanted").touch()
    return folder / "model", answers


@pytest.mark.parametrize("session", [False, True])
def test_models_with_several_inputs_and_outputs(
    compiled: Compile, session: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARBOR_ISA", "portable")  # which both builds have
    program = test_values.recurrent() if session else test_values.two_inputs()
    model, wanted = calls_of(program, tmp_path, 3, session)
    run(compiled("run_arrays"), model, "3", "3", str(int(session)), tmp_path)
    for call, answers in enumerate(wanted):
        for name, answer in answers.items():
            found = np.fromfile(tmp_path / f"{name}.{call}.out", np.float32).reshape(answer.shape)
            np.testing.assert_array_equal(found, answer)


def test_calls_with_arrays_that_cannot_be(compiled: Compile, tmp_path: Path) -> None:
    model, _ = calls_of(test_values.two_inputs(), tmp_path, 0, False)
    said = run(compiled("run_arrays"), model, "3", "0", "0", tmp_path).splitlines()
    patterns = [
        "there are 2 inputs and 2 outputs; pass each input and output of the model once",
        "'tokens' is missing; pass each",
        "'tokens' is missing|'mask' is given twice; pass each",
        "'tokens' is not f32; pass each",
        "'tokens' is NULL; pass each",
        r"'tokens' is not of shape \(batch, sequence, 8\)",
        "'mask' has batch 3 and another input 4; sizes of one name must be equal",
        r"'tokens' is not of shape \(batch, sequence, 8\)",
        "'masked' has room for 4 of 288 bytes; give it more",
    ]
    assert len(said) == len(patterns)
    for text, pattern in zip(said, patterns, strict=True):
        assert re.match(pattern, text), text


def test_a_call_that_is_refused_while_it_runs_says_why(compiled: Compile, tmp_path: Path) -> None:
    values = (ValueType("i64", ("batch", 5)), ValueType("f32", ("batch", 5, 3)))
    table = pack_table(np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32))
    lookup = Operation("embedding", (0,), 1, "words")
    save(Program(values, (Port("ids", 0),), (Port("rows", 1),), (lookup,), {"words": table}), tmp_path / "model")
    said = run(compiled("refused_call"), tmp_path / "model")
    assert said == "embedding 'words': id 1000 at (0, 3) is not one of its rows, 0 to 8; pass numbers from 0 to 8\n"


def with_header(change: Callable[[dict], None], data: bytes) -> bytes:
    header, tensors = test_program.split(data)
    change(header)
    return test_program.join(header, tensors)


# How each of the Python loader's tests makes its files.
LIES = {
    test_program.test_graphs_that_lie_are_refused: (test_program.with_graph, "rows"),
    test_program.test_graphs_of_images_that_lie_are_refused: (test_program.with_graph, "planes"),
    test_program.test_arrays_that_lie_are_refused: (test_program.with_array, "rows"),
    test_program.test_arrays_of_images_that_lie_are_refused: (test_program.with_array, "planes"),
    test_program.test_headers_that_lie_are_refused: (with_header, "rows"),
}


def liars() -> list[bytes]:
    """The files that those tests say are refused."""
    return [
        with_lie(*case[:-1], test_program.golden_bytes(name))
        for test, (with_lie, name) in LIES.items()
        for case in test.pytestmark[0].args[1]
    ]


def answers(program: Path, files: list[bytes], folder: Path) -> list[str]:
    for number, data in enumerate(files):
        (folder / f"{number:05}").write_bytes(data)
    return run(program, *sorted(folder.iterdir())).splitlines()


def test_files_that_python_refuses_are_refused(compiled: Compile, tmp_path: Path) -> None:
    files = liars()
    assert len(files) > 150
    for number, said in enumerate(answers(compiled("load_models"), files, tmp_path)):
        with pytest.raises(ModelFileError):
            load(tmp_path / f"{number:05}")
        assert said != "it went well", f"file {number} loads"


def test_damaged_files(compiled: Compile, tmp_path: Path) -> None:
    """Cut at any place, or with any byte of the header's first part changed."""
    data = (HERE / "planes.safetensors").read_bytes()
    cut = [data[:size] for size in [*range(64), *range(64, len(data), 97)]]
    flipped = [
        data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :] for at in [*range(200), *range(200, len(data), 41)]
    ]
    said = answers(compiled("load_models"), cut + flipped, tmp_path)
    assert len(said) == len(cut) + len(flipped)
    assert "it went well" not in said


def graph_with(change: Callable[[dict], None]) -> bytes:
    return test_program.with_graph(change, test_program.golden_bytes("planes"))


def test_files_that_ask_for_memory_are_refused(compiled: Compile, tmp_path: Path) -> None:
    """Shapes, nesting and layers that are used again and again cost a file little."""

    def wide(graph: dict) -> None:
        del graph["byte_input"]
        graph["values"] = [test_program.shaped(2**26, 1)] * 30
        graph["operations"] = [{"kind": "reshape", "inputs": [i], "output": i + 1} for i in range(29)]
        graph["outputs"][0]["value"] = 29

    def again(graph: dict) -> None:
        shaped = test_program.shaped
        graph["values"] = [shaped(3, 6, 5)] * 2 + [shaped(20, 6, 5)] * 40_000
        first, convolution = graph["operations"][:2]
        graph["operations"] = [first] + [convolution | {"output": 2 + i} for i in range(40_000)]
        graph["outputs"][0]["value"] = 40_001

    header, tensors = test_program.split(test_program.golden_bytes())
    header["__metadata__"] = {"sparbor": checksummed("[" * 500_000)}
    nested = test_program.join(header, tensors)
    deep = b"[" * 2_000_000
    files = [graph_with(wide), graph_with(again), nested, len(deep).to_bytes(8, "little") + deep]
    said = answers(compiled("load_models"), files, tmp_path)
    assert len(said) == 4
    assert ["allow for" in each for each in said] == [True, True, False, False], said
    assert ["nested" in each for each in said] == [False, False, True, True], said


def test_programs_that_would_take_long_to_load_are_refused(compiled: Compile, tmp_path: Path) -> None:
    said = answers(compiled("load_models"), [data for data, _ in GREEDY.values()], tmp_path)
    assert ["pairs of taps" in each for each in said] == [True, True, False], said
    assert "allow for" in said[2]


def test_the_library_exports_nothing_but_its_functions(compiled: Compile) -> None:
    library = compiled("load_models") and REPOSITORY / "build" / "c_api" / "libsparbor.so"
    if not library.exists():
        pytest.skip("not a system with .so files, or not built")
    table = subprocess.run(["nm", "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True)
    functions = {line.split()[-1] for line in table.stdout.splitlines() if line.split()[1] in "TBD"}
    declared = (REPOSITORY / "native" / "c_api" / "sparbor.h").read_text()
    assert functions == set(re.findall(r"^SPARBOR_API [^;(]*?(\w+)\(", declared, flags=re.MULTILINE))


def mutant(rng: random.Random, name: str) -> bytes:
    """A golden file in whose graph some place, chosen at random, holds something else."""

    def change(graph: dict) -> None:
        at, key = graph, rng.choice(sorted(graph.keys() - {"version", "crc32"}))
        while isinstance(at[key], (dict, list)) and at[key] and rng.random() < 0.95:
            at = at[key]
            key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
        at[key] = rng.choice(
            [0, 1, 2, 3, 5, 16, 20, 40, -1, 2**16, 2**26, 2**40, 2**63, 2**64, 0.5, -1e40, True, None, "x", [], {}]
        )

    return test_program.with_graph(change, test_program.golden_bytes(name))


def loads(path: Path) -> bool:
    try:
        load(path)
    except ModelFileError:
        return False
    return True


@pytest.mark.parametrize("name", ["rows", "planes"])
def test_both_loaders_refuse_the_same_files(compiled: Compile, name: str, tmp_path: Path) -> None:
    rng = random.Random(0)
    said = answers(compiled("load_models"), [mutant(rng, name) for _ in range(400)], tmp_path)
    found = {number: text for number, text in enumerate(said) if loads(tmp_path / f"{number:05}")}
    assert {text for text in found.values()} == {"it went well"}, found
    assert said.count("it went well") == len(found)
    assert len(found) >= 5
