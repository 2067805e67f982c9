"""Files nobody trusts, into Python's loader: whatever they say, they load or are refused with a reason, soon.

And without much memory. `make fuzz` does the same to the engine for C, for minutes.
"""

import json
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparbor.engine.runtime import Runtime, load
from sparbor.errors import ArgumentError, ModelFileError
from sparbor.ops.activations import ACTIVATIONS
from sparbor.ops.table import OPERATORS
from sparbor.packing.filters import pack_filters
from sparbor.program.model_file import checksummed, save
from sparbor.program.program import Operation, Program
from sparbor.program.windows import Window
from tests import test_program

GOLDEN = (
    "rows",
    "planes",
    "quads",
    "quantized",
    "rows_middle",
    "planes_middle",
    "version_1",
    "rows_version_2",
    "planes_version_2",
)
MUTATED = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

numbers = st.one_of(
    st.integers(-3, 70),
    st.sampled_from([255, 256, 4096, 65535, 65536, 2**26, 2**31, 2**32, 2**53, 2**63, 2**64, 10**400, -(2**63)]),
    st.floats(),
)
words = st.sampled_from(
    [
        *OPERATORS,
        *ACTIVATIONS,
        "sparse",
        "dense",
        "filters",
        "word16",
        "int8",
        "exact",
        "f16",
        "f32",
        "i64",
        "batch",
        "+",
        "F32",
        "U8",
        "",
    ]
)
leaves = st.one_of(numbers, words, st.booleans(), st.none(), st.text(max_size=3))
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=3), max_leaves=6
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place inside, as the list or object that it is of and its key there."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *places(value[key])]]


def mutate(draw: st.DrawFn, value: Any) -> None:
    """A place holds something else, or what another place holds, or is gone, or is there twice."""
    of, key = draw(st.sampled_from(places(value)))
    how = draw(st.sampled_from(["another", "another", "near", "copied", "gone", "twice"]))
    if how == "near" and type(of[key]) is int:
        of[key] += draw(st.integers(-2, 2))
    elif how == "copied":
        other, there = draw(st.sampled_from(places(value)))
        of[key] = json.loads(json.dumps(other[there]))
    elif how == "gone":
        del of[key]
    elif how == "twice" and isinstance(of, list):
        of.insert(key, json.loads(json.dumps(of[key])))
    else:
        of[key] = draw(anything)


@st.composite
def changed_files(draw: st.DrawFn) -> bytes:
    """A golden file with its header changed, or its graph, whose checksums then fit."""
    header, tensors = test_program.split(test_program.golden_bytes(draw(st.sampled_from(GOLDEN))))
    if draw(st.integers(0, 4)) == 0:
        mutate(draw, header)
        return test_program.join(header, tensors)
    graph = json.loads(header["__metadata__"]["sparbor"][8:])
    for _ in range(draw(st.integers(1, 2))):
        mutate(draw, graph)
    header["__metadata__"] = {"sparbor": checksummed(json.dumps(graph))}
    return test_program.join(header, tensors)


def answer(path: Path, data: bytes) -> str:
    """What the loader says of these bytes; a model that loads runs, if it is no larger than the golden ones."""
    path.write_bytes(data)
    start = time.process_time()
    tracemalloc.start()
    try:
        runtime = load(path)
    except ModelFileError as error:
        said = str(error)
        assert said.startswith(f"{path}: ")
        assert "\n" not in said
        assert len(said) - len(str(path)) <= 300
    else:
        said = "it loads"
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= 2**22 + 64 * len(data), f"{peak:,} bytes for a file of {len(data):,}"
    assert time.process_time() - start < 5
    if said == "it loads" and runtime.item_bytes < 2**20:
        run_twice(runtime)
    return said


def run_twice(runtime: Runtime) -> None:
    """Sizes are 2, if the model can have that; and exporters read the same program."""
    sizes = [tuple(2 if isinstance(each, str) else each for each in port.shape) for port in runtime.inputs]
    ones = [np.ones(shape, port.dtype) for shape, port in zip(sizes, runtime.inputs, strict=True)]
    try:
        y = runtime(*ones)
    except ArgumentError:
        with pytest.raises(ArgumentError, match="the model cannot run with"):
            runtime(*ones)
        return
    again = Runtime(runtime.program)(*ones)
    for name in y if isinstance(y, dict) else ():
        np.testing.assert_array_equal(again[name], y[name])
    if not isinstance(y, dict):
        np.testing.assert_array_equal(again, y)


@MUTATED
@given(data=changed_files())
def test_changed_files_load_or_are_refused(tmp_path: Path, data: bytes) -> None:
    answer(tmp_path / "model.safetensors", data)


@MUTATED
@given(
    header=st.binary(max_size=60) | anything.map(lambda value: json.dumps(value).encode()), rest=st.binary(max_size=40)
)
def test_other_files_are_refused(tmp_path: Path, header: bytes, rest: bytes) -> None:
    said = answer(tmp_path / "model.safetensors", len(header).to_bytes(8, "little") + header + rest)
    assert said != "it loads"


def demands(change: Callable[[dict], None], name: str = "planes") -> bytes:
    return test_program.with_graph(change, test_program.golden_bytes(name))


def many_huge_dimensions(graph: dict) -> None:
    graph["values"][0]["shape"] = [10**4000] * 3000


def again_and_again(graph: dict) -> None:
    """One layer, laid out for each operation that uses it."""
    shaped = test_program.shaped
    graph["values"] = [shaped(3, 6, 5)] * 2 + [shaped(20, 6, 5)] * 40_000
    first, convolution = graph["operations"][:2]
    graph["operations"] = [first] + [convolution | {"output": 2 + i} for i in range(40_000)]
    graph["outputs"][0]["value"] = 40_001


def pools(kernel: int, count: int) -> Callable[[dict], None]:
    """Max-pools of 4000 x 4000, one after another."""

    def change(graph: dict) -> None:
        del graph["byte_input"]
        window = {"kernel": [kernel, kernel], "stride": [1, 1], "padding": [kernel // 2] * 4}
        window |= {"dilation": [1, 1], "upsample": [1, 1], "groups": 1}
        graph["values"] = [test_program.shaped(1, 4000, 4000)] * (count + 1)
        graph["operations"] = [
            {"kind": "max_pool", "inputs": [i], "output": i + 1, "settings": window} for i in range(count)
        ]
        graph["outputs"][0]["value"] = count

    return change


def many_channels(graph: dict) -> None:
    """Not one of which may be looked at with all the others."""
    graph["byte_input"] = {"mean": [0.5] * 100_000, "std": [0.5] * 100_000}


def saved(program: Program) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save(program, f"{folder}/model.safetensors")
        return Path(folder, "model.safetensors").read_bytes()


def kernels(*sizes: int) -> bytes:
    """Convolutions of one plane by square kernels of these sizes."""
    side, operations, layers = max(sizes), [], {}
    for number, size in enumerate(sizes):
        operations.append(Operation("convolution", (0,), number + 1, f"layer{number}", None, Window((size, size))))
        layers[f"layer{number}"] = pack_filters(np.ones((1, size * size), np.float32))
    shapes = [(1, side, side), *((1, side - size + 1, side - size + 1) for size in sizes)]
    return saved(Program.of_items(tuple(shapes), 0, len(sizes), tuple(operations), layers))


def shared_layer() -> bytes:
    """One layer of a megabyte, for each of 400 operations."""
    layers = {"layer": pack_filters(np.ones((64, 4096), np.float32))}
    operations = [Operation("convolution", (0,), i, "layer", None, Window((1, 1))) for i in range(1, 401)]
    return saved(Program.of_items(((4096, 1, 1), *[(64, 1, 1)] * 400), 0, 400, tuple(operations), layers))


GREEDY = {
    "one kernel": (kernels(129), "kernels have 276,922,881 pairs of taps, more than 268,435,456"),
    "two kernels": (kernels(127, 110), "pairs of taps"),
    "one layer": (
        shared_layer(),
        r"operations use layers of [\d,]+ bytes, more than weights of [\d,]+ bytes allow for",
    ),
}


@pytest.mark.parametrize("name", GREEDY)
def test_programs_that_would_take_long_to_load_are_refused(tmp_path: Path, name: str) -> None:
    data, text = GREEDY[name]
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=text):
        load(path)


def test_a_kernel_of_many_taps_runs(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(kernels(128))
    y = load(tmp_path / "model.safetensors")(np.ones((1, 1, 128, 128), np.float32))
    np.testing.assert_allclose(y, 128 * 128)


def wide_kernel(size: int) -> Callable[[dict], None]:
    """The first convolution has one input channel and such a kernel."""

    def change(graph: dict) -> None:
        graph["operations"][1]["settings"]["kernel"] = [size, size]

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (many_huge_dimensions, "the graph holds a number that is too large"),
        (again_and_again, r"what its layers are laid out in needs [\d,]+ bytes of workspace"),
        (pools(1001, 1), r"one item needs 1.6e\+13 multiply-adds, and weights of [\d,]+ bytes allow for 2.8e\+11"),
        (pools(101, 20), "multiply-adds"),
        (many_channels, "byte_input has 100000 channels, the input shape"),
        (wide_kernel(2**15), "cannot take shape"),
        (lambda graph: graph["byte_input"]["mean"].__setitem__(0, True), "byte_input is"),
        (lambda graph: graph["byte_input"]["std"].__setitem__(0, "1"), "byte_input is"),
        (
            lambda graph: graph["operations"][1].update(activation=["leaky_relu", True]),
            "a parameter that is not a number",
        ),
        (
            lambda graph: graph["operations"][1].update(activation=["leaky_relu", "0.1"]),
            "a parameter that is not a number",
        ),
    ],
)
def test_files_that_ask_for_much_are_refused(tmp_path: Path, change: Callable[[dict], None], text: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(demands(change))
    with pytest.raises(ModelFileError, match=text) as refusal:
        load(path)
    assert len(str(refusal.value)) - len(str(path)) <= 300
