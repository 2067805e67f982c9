"""The model file: golden bytes, and one test for each way in which a file can lie."""

import json
import math
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import sparbor
from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError, ModelFileError, OutputError
from sparbor.packing.dense_weights import pack_dense
from sparbor.packing.filters import pack_by_groups, pack_filters, pack_filters_as_bytes
from sparbor.packing.quads import QuadLayer, pack_quads
from sparbor.packing.reading_order import ReadingOrder
from sparbor.packing.slots import BRANCH, Encoding, SlotLayout, SparseLayer, neuron_scale, pack
from sparbor.packing.words import nearest_words
from sparbor.program.byte_input import ByteInput
from sparbor.program.model_file import checksummed, load, save
from sparbor.program.program import (
    Activation,
    Axis,
    Normalisation,
    Operation,
    Port,
    Program,
    Quantization,
    ScaleShift,
    ValueType,
)
from sparbor.program.windows import AverageWindow, Window
from tests.layers import mlp

GOLDEN = Path(__file__).parent / "golden"


def rows_program() -> Program:
    """A small program with every kind of operation and of layer that there is for rows."""
    mask = np.zeros((20, 40), bool)
    mask[:, 3], mask[16:, 35], mask[2, 39] = True, True, True
    weight = np.linspace(-1, 1, 800, dtype=np.float32).reshape(20, 40)
    bias = np.linspace(0, 1, 20, dtype=np.float32)
    square = np.linspace(-0.5, 0.5, 400, dtype=np.float32).reshape(20, 20)
    layers = {
        "words": pack(representable(weight, mask), mask, bias),
        "exact": pack(square, np.tri(20, dtype=bool), None, Encoding.EXACT),
        "norm": ScaleShift(bias + 1, bias),
        "dense": pack_dense(np.ones((4, 10), np.float32)),
        "halves": pack_dense(np.eye(4, dtype=np.float32), np.ones(4, np.float32), Encoding.WORD16),
    }
    operations = (
        Operation("linear", (0,), 1, "words", Activation("relu")),
        Operation("linear", (1,), 2, "exact", Activation("leaky_relu", (0.25,))),
        Operation("scale_shift", (2,), 3, "norm", settings=Axis(1)),
        Operation("add", (1, 3), 4),
        Operation("activation", (4,), 5, None, Activation("tanh")),
        Operation("reshape", (5,), 6),
        Operation("linear", (6,), 7, "dense"),
        Operation("linear", (7,), 8, "halves"),
        Operation("softmax", (8,), 9),
    )
    shapes = ((40,), (20,), (20,), (20,), (20,), (20,), (2, 10), (2, 4), (2, 4), (2, 4))
    return Program.of_items(shapes, 0, 9, operations, layers)


def planes_program() -> Program:
    """The same for images, which may come as bytes."""
    rng = np.random.default_rng(0)
    mask = np.zeros((20, 27), bool)
    mask[:, [2, 20]], mask[3, 26] = True, True
    weight = np.linspace(-1, 1, 540, dtype=np.float32).reshape(20, 27)
    grouped = np.linspace(-0.5, 0.5, 200, dtype=np.float32).reshape(20, 10)
    ones, shift = np.ones(20, np.float32), np.linspace(0, 1, 20, dtype=np.float32)
    layers = {
        "channels": ScaleShift(shift[1:4], shift[:3]),
        "words": pack_by_groups(representable(weight, mask), mask, shift, 1),
        "grouped": pack_by_groups(grouped, rng.random((20, 10)) < 0.4, ones, 2, Encoding.EXACT),
        "filters": pack_filters(np.linspace(-1, 1, 160, dtype=np.float32).reshape(40, 4)),
        "halves": pack_filters(np.linspace(-1, 1, 160, dtype=np.float32).reshape(4, 40), ones[:4], Encoding.WORD16),
        "norm": ScaleShift(shift[3:5], shift[7:9]),
    }
    up = Window((2, 2), padding=(1, 1, 1, 1), upsample=(2, 2), groups=40)
    average = AverageWindow((3, 3), (2, 2), (1, 1, 1, 1), groups=40, include_padding=False)
    relu, leaky = Activation("relu"), Activation("leaky_relu", (0.25,))
    operations = (
        Operation("scale_shift", (0,), 1, "channels", settings=Axis(1)),
        Operation("convolution", (1,), 2, "words", relu, Window((3, 3), padding=(1, 1, 1, 1))),
        Operation("max_pool", (2,), 3, settings=Window((2, 2), (2, 2), groups=20)),
        Operation("convolution", (3,), 4, "grouped", settings=Window((1, 1), groups=2)),
        Operation("concat", (3, 4), 5, settings=Axis(1)),
        Operation("convolution", (5,), 6, "filters", settings=up),
        Operation("average_pool", (6,), 7, settings=average),
        Operation("add", (5, 7), 8, activation=relu),
        Operation("convolution", (8,), 9, "halves", leaky, Window((1, 1))),
        Operation("adaptive_average_pool", (9,), 10),
        Operation("adaptive_max_pool", (10,), 11),
        Operation("reshape", (11,), 12),
        Operation("layer_norm", (12,), 13, "norm", settings=Normalisation(1e-5)),
        Operation("layer_norm", (13,), 14, settings=Normalisation(1e-3)),
    )
    shapes = ((3, 6, 5), (3, 6, 5), (20, 6, 5), (20, 3, 2), (20, 3, 2), (40, 3, 2), (40, 6, 4), (40, 3, 2), (40, 3, 2))
    shapes += ((4, 3, 2), (4, 1, 2), (4, 1, 1), (2, 2), (2, 2), (2, 2))
    byte_input = ByteInput((0.5, 0.25, 0.125), (0.25, 0.5, 1.0))
    return Program.of_items(shapes, 0, 14, operations, layers, byte_input)


def representable(weight: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The nearest weights that words hold exactly: how they are rounded is then no matter of the golden files."""
    scale = neuron_scale(np.where(mask, weight, 0))[:, None]
    index = np.broadcast_to(np.arange(weight.shape[1]) % BRANCH, weight.shape)
    return nearest_words(weight / scale, index).view(np.float16).astype(np.float32) * scale


def quads_program() -> Program:
    """Layers of 8 bits, with padding and with a branch that is not whole, of weights that need no rounding."""
    whole = np.arange(20 * 100).reshape(20, 100) % 255 - 127
    mask = (np.arange(100) * np.arange(1, 21)[:, None] % 7 < 3) & (np.arange(20)[:, None] != 5)
    whole[:, 0], mask[:, 0] = 127, np.arange(20) != 5
    scale = np.float32(2.0) ** -(np.arange(20)[:, None] % 4)
    bias = np.linspace(0, 1, 20, dtype=np.float32)
    layers = {"whole": pack_quads((whole * scale).astype(np.float32), mask, bias)}
    operation = Operation("linear", (0,), 1, "whole", Activation("relu"))
    return Program.of_items(((100,), (20,)), 0, 1, (operation,), layers)


def quantized_program() -> Program:
    """Values of bytes that stand for numbers, and every kind of operation on them that has no layer."""
    plane, half, both, gates = (4, 6, 6), (4, 3, 3), (8, 3, 3), (8, 1, 1)
    first, second, third = Quantization(0.5, 128), Quantization(0.25, 0), Quantization(0.125, 3)
    of_bytes = [(plane, first), (half, first), (half, second), (half, third), (both, second), (gates, second)]
    values = [ValueType("u8", ("batch", *shape), of) for shape, of in of_bytes]
    values = [ValueType("f32", ("batch", *plane)), *values, ValueType("f32", ("batch", *gates))]
    values += [ValueType("u8", ("batch", *both), third), ValueType("f32", ("batch", *both))]
    operations = (
        Operation("quantize", (0,), 1),
        Operation("quantized_max_pool", (1,), 2, settings=Window((2, 2), (2, 2), groups=4)),
        Operation("quantized_map", (2,), 3, activation=Activation("relu")),
        Operation("quantized_add", (2, 3), 4, activation=Activation("clamp", (0.0, 6.0))),
        Operation("quantized_concat", (4, 3), 5),
        Operation("quantized_average_pool", (5,), 6, settings=AverageWindow((3, 3), groups=8)),
        Operation("dequantize", (6,), 7),
        Operation("quantized_scale", (5, 7), 8),
        Operation("dequantize", (8,), 9),
    )
    return Program(tuple(values), (Port("x", 0),), (Port("y", 9),), operations)


def whole(*shape: int) -> np.ndarray:
    """Weights that are whole numbers up to 127, times a power of two."""
    numbers = (np.arange(math.prod(shape)).reshape(shape) * 7 % 255 - 127).astype(np.float32)
    numbers[:, 0] = 127
    scale = np.float32(2.0) ** -(np.arange(shape[0]) % 4)
    return (numbers * scale.reshape(-1, *[1] * (len(shape) - 1))).astype(np.float32)


def dense_bytes_program() -> Program:
    """Dense layers of 8 bits: filters, depthwise ones, and rows; their weights need no rounding."""
    first, last = Quantization(0.5, 128), Quantization(0.25, 0)
    planes = [("f32", (4, 6, 6), None), ("u8", (4, 6, 6), first), ("u8", (20, 3, 3), last), ("u8", (20, 2, 2), last)]
    values = [ValueType(kind, ("batch", *shape), of) for kind, shape, of in planes]
    values += [ValueType("f32", ("batch", *shape)) for shape in ((20, 2, 2), (80,), (5,))]
    operations = (
        Operation("quantize", (0,), 1),
        Operation(
            "quantized_convolution", (1,), 2, "filters", Activation("relu"), Window((3, 2), (2, 2), (1, 0, 1, 0))
        ),
        Operation("quantized_convolution", (2,), 3, "depthwise", settings=Window((2, 2), groups=20)),
        Operation("dequantize", (3,), 4),
        Operation("reshape", (4,), 5),
        Operation("linear", (5,), 6, "rows"),
    )
    layers = {
        "filters": pack_filters_as_bytes(whole(20, 4, 3, 2), np.linspace(0, 1, 20, dtype=np.float32)),
        "depthwise": pack_filters_as_bytes(whole(20, 1, 2, 2)),
        "rows": pack_dense(whole(5, 80), np.ones(5, np.float32), Encoding.INT8),
    }
    return Program(tuple(values), (Port("x", 0),), (Port("y", 6),), operations, layers)


def sparse_bytes_program() -> Program:
    """Sparse convolutions of bytes, whose weights need no rounding: kernel rows of one branch and of two, a residual.

    The last one has groups, and a kernel whose columns lie apart.
    """
    planes, bias = ((3, 6, 5), (20, 6, 5), (32, 3, 3)), np.linspace(0, 1, 20, dtype=np.float32)
    steps = (Quantization(0.03125, 128), Quantization(2.0, 3), Quantization(64.0, 100), Quantization(1.0, 120))
    of_bytes = zip((*planes[:2], *planes[1:]), steps, strict=True)
    values = [
        ValueType("f32", ("batch", *planes[0])),
        *(ValueType("u8", ("batch", *size), of) for size, of in of_bytes),
    ]
    values.append(ValueType("f32", ("batch", *planes[2])))
    window = Window((3, 3), padding=(1, 1, 1, 1))
    apart = Window((2, 2), (2, 2), (1, 1, 1, 1), (2, 2), groups=4)
    operations = (
        Operation("quantize", (0,), 1),
        Operation("quantized_convolution", (1,), 2, "narrow", Activation("relu"), window),
        Operation("quantized_convolution", (2, 2), 3, "wide", Activation("clamp", (-1000.0, 2000.0)), window),
        Operation("quantized_convolution", (3,), 4, "groups", None, apart),
        Operation("dequantize", (4,), 5),
    )

    def sparse(weight: np.ndarray, window: Window, channels: int, bias: np.ndarray | None) -> QuadLayer:
        kept = np.arange(weight.size).reshape(weight.shape) * 11 % 13 < 4
        kept[:, 0] = True
        order = ReadingOrder(channels, window.kernel, window.dilation, window.groups)
        return pack_quads(order.matrix(np.where(kept, weight, 0)), order.matrix(kept), bias)

    layers = {
        "narrow": sparse(whole(20, 3, 3, 3), window, 3, bias),
        "wide": sparse(whole(20, 20, 3, 3) / 64, window, 20, None),
        "groups": sparse(whole(32, 5, 2, 2) / 4096, apart, 20, np.ones(32, np.float32)),
    }
    return Program(tuple(values), (Port("x", 0),), (Port("y", 5),), operations, layers)


PROGRAMS = {"rows": rows_program, "planes": planes_program}  # those that all targets have
GOLDEN_PROGRAMS = {
    **PROGRAMS,
    "quads": quads_program,
    "quantized": quantized_program,
    "dense_bytes": dense_bytes_program,
    "sparse_bytes": sparse_bytes_program,
}


def assert_same(left: Program, right: Program) -> None:
    assert (left.values, left.inputs, left.outputs) == (right.values, right.inputs, right.outputs)
    assert left.states == right.states
    assert left.operations == right.operations
    assert left.byte_input == right.byte_input
    assert left.layers.keys() == right.layers.keys()
    for name, layer in left.layers.items():
        ours, theirs = layer.arrays(), right.layers[name].arrays()
        assert ours.keys() == theirs.keys()
        for part in ours:
            np.testing.assert_array_equal(ours[part], theirs[part])


@pytest.mark.parametrize("name", GOLDEN_PROGRAMS)
def test_the_golden_files_read_as_the_programs_they_hold(name):
    assert_same(load(GOLDEN / f"{name}.safetensors"), GOLDEN_PROGRAMS[name]())


@pytest.mark.parametrize("name", GOLDEN_PROGRAMS)
def test_the_golden_files_are_what_is_written(name, tmp_path):
    save(GOLDEN_PROGRAMS[name](), tmp_path / "model.safetensors")
    written = (tmp_path / "model.safetensors").read_bytes()
    assert written == golden_bytes(name)


OLDER = {"version_1": rows_program, "rows_version_2": rows_program, "planes_version_2": planes_program}


@pytest.mark.parametrize("name", OLDER)
def test_files_of_older_versions_read_as_before(name):
    assert_same(load(GOLDEN / f"{name}.safetensors"), OLDER[name]())


def test_rows_may_have_any_number_of_dimensions():
    layers = mlp([40, 20]).layers
    operations = (Operation("linear", (0,), 1, "fc0"), Operation("softmax", (1,), 2))
    program = Program.of_items(((2, 3, 40), (2, 3, 20), (2, 3, 20)), 0, 2, operations, layers)
    x = np.random.default_rng(0).standard_normal((5, 2, 3, 40)).astype(np.float32)
    in_rows = Program.of_items(((40,), (20,), (20,)), 0, 2, operations, layers)
    wanted = Runtime(in_rows)(x.reshape(-1, 40)).reshape(5, 2, 3, 20)
    np.testing.assert_allclose(Runtime(program)(x), wanted, rtol=1e-5)


def test_the_golden_images_run_on_floats_and_on_bytes():
    """The same numbers: to NumPy's (byte / 255 - mean) / std the engine's multiplication is equal but for rounding."""
    runtime = Runtime(load(GOLDEN / "planes.safetensors"))
    given = np.random.default_rng(0).integers(256, size=(4, 3, 6, 5), dtype=np.uint8)
    mean, std = (np.array(each)[:, None, None] for each in ([0.5, 0.25, 0.125], [0.25, 0.5, 1.0]))
    wanted = runtime(((given / 255 - mean) / std).astype(np.float32))
    assert np.isfinite(wanted).all()
    np.testing.assert_allclose(runtime(given), wanted, atol=1e-4)


def test_other_readers_of_safetensors_find_the_arrays():
    tensors = load_file(GOLDEN / "rows.safetensors")
    assert tensors["words/words"].dtype == np.uint16
    assert tensors["dense/panels"].shape == (1, 10, 16)


def test_arrays_start_on_cache_lines():
    for layer in sparbor.load(GOLDEN / "planes.safetensors").program.layers.values():
        assert all(array.ctypes.data % 64 == 0 for array in layer.arrays().values())


def test_saving_replaces_a_file_only_by_a_whole_one(tmp_path):
    path = tmp_path / "model.safetensors"
    save(mlp([40, 20]), path)
    save(rows_program(), path)
    assert_same(load(path), rows_program())
    assert [each.name for each in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_file_that_cannot_be_written_is_an_output_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    there = sorted(tmp_path.iterdir())
    for name in ("missing/model", "file/model", "folder", "pipe", "loop", "x" * 300, "a\0b"):
        with pytest.raises(OutputError, match="could not be written"):
            save(rows_program(), f"{tmp_path}/{name}")
    for name in ("", "/", os.devnull):
        with pytest.raises(OutputError, match="not a regular file"):
            save(rows_program(), name)
    assert sorted(tmp_path.iterdir()) == there


def test_a_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save(rows_program(), path)

    def fail(source, target):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError, match="the disk is full"):
        save(mlp([40, 20]), path)
    assert_same(load(path), rows_program())
    assert list(tmp_path.iterdir()) == [path]


def test_saving_through_a_link_replaces_what_it_leads_to(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "model")
    for program in (mlp([40, 20]), rows_program()):
        save(program, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert_same(load(tmp_path / "there" / "model"), rows_program())


def test_two_writers_do_not_write_to_one_file(tmp_path, monkeypatch):
    """Each has a whole file of its own until the moment it takes its place."""
    path, sources = tmp_path / "model.safetensors", []
    replace = os.replace

    def meet(source, target):
        sources.append(Path(source).name)
        if len(sources) == 1:
            save(mlp([40, 20]), path)
        replace(source, target)

    monkeypatch.setattr(os, "replace", meet)
    save(rows_program(), path)
    assert len(set(sources)) == 2
    assert_same(load(path), rows_program())


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelFileError, match="could not read"):
        load(tmp_path / "none.safetensors")


def refuse(tmp_path: Path, data: bytes, text: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=text):
        load(path)


def golden_bytes(name: str = "rows") -> bytes:
    return (GOLDEN / f"{name}.safetensors").read_bytes()


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_truncation_is_refused(tmp_path, name):
    data = golden_bytes(name)
    for length in [*range(64), *range(64, len(data), 97), len(data) - 1]:
        refuse(tmp_path, data[:length], "bad.safetensors")


def test_a_longer_file_is_refused(tmp_path):
    refuse(tmp_path, golden_bytes() + b"\0", "the file at")


@pytest.mark.parametrize("name", PROGRAMS)
def test_flipped_bits_are_refused_or_change_nothing(tmp_path, name):
    data = golden_bytes(name)
    path = tmp_path / "flipped.safetensors"
    rng = np.random.default_rng(0)
    for place in rng.choice(len(data), 600, replace=False):
        flipped = bytearray(data)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            found = load(path)
        except ModelFileError:
            continue
        assert_same(found, GOLDEN_PROGRAMS[name]())


def split(data: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: dict, tensors: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + tensors


def with_graph(change, data: bytes | None = None) -> bytes:
    """A file, or the golden one, with its graph changed and its checksum made to fit: a liar, not an accident."""
    header, tensors = split(data or golden_bytes())
    graph = json.loads(header["__metadata__"]["sparbor"][8:])
    change(graph)
    header["__metadata__"] = {"sparbor": checksummed(json.dumps(graph))}
    return join(header, tensors)


def with_array(name: str, change, data: bytes | None = None) -> bytes:
    """A file, or the golden one, with one array changed in place, and all checksums made to fit."""
    header, tensors = split(data or golden_bytes())
    begin, end = header[name]["data_offsets"]
    dtype = {"U8": np.uint8, "U16": np.uint16, "F32": np.float32}[header[name]["dtype"]]
    array = np.frombuffer(tensors[begin:end], dtype).copy()
    change(array)
    tensors = tensors[:begin] + array.tobytes() + tensors[end:]
    graph = json.loads(header["__metadata__"]["sparbor"][8:])
    graph["crc32"][name] = zlib.crc32(array.tobytes())
    header["__metadata__"] = {"sparbor": checksummed(json.dumps(graph))}
    return join(header, tensors)


def shaped(*shape):
    """A value of float32 of this shape, the batch before it."""
    return {"type": "f32", "shape": ["batch", *shape]}


def put(place, value):
    def change(target):
        *path, last = place
        for step in path:
            target = target[step]
        target[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (put(["version"], 4), "version 4.*upgrade sparbor"),
        (put(["version"], "1"), 'version "1"'),
        (put(["version"], 0), "version 0"),
        (put(["version"], True), "version true"),
        (put(["version"], None), "version null"),
        (put(["inputs", 0, "value"], 10), "the input 'input' is value 10 of 10"),
        (put(["inputs", 0, "value"], -1), "the input 'input' is value -1"),
        (put(["outputs", 0, "value"], 99), "the output 'output' is value 99 of 10"),
        (put(["outputs"], []), r"the outputs are \[\], not a list"),
        (put(["inputs"], [{"name": "a", "value": 0}] * 2), "two inputs have the name 'a'"),
        (put(["inputs"], [{"name": "a", "value": 0}, {"name": "b", "value": 0}]), "two inputs are value 0"),
        (put(["inputs", 0, "name"], ""), 'an input has the name ""'),
        (put(["inputs", 0, "name"], 7), "an input has the name 7"),
        (put(["states"], [["input", "output"]]), r"goes from shape \(batch, 2, 4\) to \(batch, 40\)"),
        (put(["states"], [["input", "hidden"]]), 'has the output "hidden", which there is not'),
        (put(["states"], [7]), "a state is 7, not an input and an output"),
        (put(["values", 0], shaped(10**18)), "dimension 1000000000000000000 is none"),
        (put(["values", 0], shaped(-40)), "dimension -40 is none"),
        (put(["values", 0], shaped(0)), "dimension 0 is none"),
        (put(["values", 0], shaped(2.5)), "dimension 2.5 is none"),
        (put(["values", 0], shaped("a size")), 'dimension "a size" is none'),
        (put(["values", 0], shaped(["*", 2, "batch"])), r'dimension \["\*",2,"batch"\] is none'),
        (put(["values", 1], shaped("sequence")), "size 'sequence' is a dimension of no input"),
        (put(["values", 1], shaped(["%", 20, "batch"])), 'no dimension that is computed by "%".*upgrade'),
        (put(["values", 1], shaped(["//", 1, 2])), "a dimension is 0"),
        (put(["values", 1], shaped(["*", 2**40, 2**40])), "a dimension is beyond"),
        (put(["values", 1], shaped(["+", ["+", ["+", ["+", 1, 1], 1], 1], ["+", 1, 1]])), "cannot take shape"),
        (put(["values", 0], 7), "a value is 7, not a type and a shape"),
        (put(["values", 0], {"type": "f32", "shape": 7}), "no model can have"),
        (put(["values", 0], shaped(*[1] * 9)), "no model can have"),
        (put(["values", 0, "type"], "f64"), 'has no value of type "f64".*upgrade'),
        (put(["values", 0, "type"], "u16"), 'has no value of type "u16"'),
        (put(["values", 0, "type"], "i64"), "cannot take shape.*its inputs are not all f32"),
        (put(["values", 1, "type"], "u8"), "cannot take shape.*its output is not f32"),
        (put(["values", 0], shaped(41)), "cannot take shape"),
        (put(["values", 6], shaped(3, 10)), "cannot take shape"),
        (put(["values"], [shaped(40)]), "the output 'output' is value 9 of 1"),
        (put(["operations", 2, "settings", "axis"], 2), "its axis is none of the output's dimensions"),
        (put(["operations", 2, "settings", "axis"], 0), "neither the channels nor the last dimension"),
        (
            put(["operations", 0, "kind"], "perceptron"),
            'version 3 of the format has no operation "perceptron" of 1 inputs.*upgrade',
        ),
        (put(["operations", 0, "kind"], ["linear"]), "has no operation"),
        (put(["operations", 0, "kind"], "convolution"), "'convolution' has the settings null"),
        (put(["operations", 0, "settings"], {}), "'linear' has the settings"),
        (put(["operations", 0, "kind"], "max_pool"), "'max_pool' has the layer"),
        (put(["operations", 0, "inputs"], [5]), "uses value 5 too early"),
        (put(["operations", 0, "inputs"], [0, 0]), 'has no operation "linear" of 2 inputs'),
        (put(["operations", 0, "inputs"], [True]), "value true, which is no number"),
        (put(["operations", 1, "output"], 1), "computes value 1, which it cannot"),
        (put(["operations", 1, "output"], 50), "computes value 50, which it cannot"),
        (put(["operations", 0, "layer"], "nowhere"), "the layer 'nowhere', which there is not"),
        (put(["operations", 0, "layer"], None), "has the layer null"),
        (put(["operations", 0, "layer"], "norm"), "cannot take shape"),
        (put(["operations", 0, "activation"], ["relux"]), "has no activation 'relux' of 0 parameters"),
        (put(["operations", 0, "activation"], ["relu", 1]), "has no activation 'relu' of 1 parameters"),
        (put(["operations", 1, "activation"], ["leaky_relu", "x"]), "a parameter that is not a number"),
        (put(["operations", 1, "activation"], ["leaky_relu", float("nan")]), "not JSON"),
        (put(["operations", 8, "activation"], ["relu"]), "'softmax' has the activation"),
        (put(["byte_input"], {"mean": [0.5, 0.5], "std": [1.0, 1.0]}), "byte_input has 2 channels"),
        (put(["operations"], []), "never computed"),
        (put(["operations"], 3), "malformed"),
        (put(["layers", "words", "outputs"], 10**12), "bias has shape"),
        (put(["layers", "words", "outputs"], 0), "outputs 0"),
        (put(["layers", "exact", "outputs"], 10**12), "groups listed"),
        (put(["layers", "words", "fan_in"], 30), "beyond the fan-in"),
        (put(["layers", "words", "kind"], "dense"), 'has no weights of kind "word16", which layer .words. is of'),
        (put(["layers", "words", "kind"], "holy"), 'has no kind "holy", which layer .words. is of.*upgrade'),
        (put(["layers", "words", "weights"], "int4"), 'has no weights of kind "int4".*upgrade'),
        (put(["layers", "words", "weights"], "exact"), "no weights"),
        (put(["layers", "dense", "fan_in"], 11), "panels has shape"),
        (put(["layers"], {}), "belongs to no layer"),
        (put(["crc32"], {}), "has no checksum"),
        (put(["crc32", "words/words"], 1), "does not match its checksum"),
    ],
)
def test_graphs_that_lie_are_refused(tmp_path, change, text):
    refuse(tmp_path, with_graph(change), text)


def setting(operation: int, name: str, value):
    return put(["operations", operation, "settings", name], value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (put(["operations", 1, "settings"], None), "'convolution' has the settings null"),
        (put(["operations", 1, "settings"], [3]), r"'convolution' has the settings \[3\], not kernel, stride"),
        (put(["operations", 1, "settings"], {"kernel": [3, 3]}), "not kernel, stride"),
        (setting(1, "colour", 1), "not kernel, stride"),
        (setting(1, "kernel", 3), "kernel is 3, not two whole numbers"),
        (setting(1, "kernel", [3]), r"kernel is \[3\], not"),
        (setting(1, "kernel", [3, 3.0]), "kernel is"),
        (setting(1, "kernel", [3, True]), "kernel is"),
        (setting(1, "kernel", [3, 2]), "outputs are"),
        (setting(1, "kernel", [0, 3]), "not between 1 and 65536"),
        (setting(1, "kernel", [10**9, 3]), "not between 1 and 65536"),
        (setting(1, "kernel", [30, 3]), "outputs are"),
        (setting(1, "stride", [0, 1]), "not between 1"),
        (setting(1, "stride", [-1, 1]), "not between 1"),
        (setting(1, "stride", [1, 2]), "outputs are"),
        (setting(1, "dilation", [2, 1]), "outputs are"),
        (setting(1, "padding", [1, 1]), "padding is .*four whole"),
        (setting(1, "padding", [1, 1, 1, 2]), "outputs are"),
        (setting(1, "padding", [-7, 1, 1, 1]), "are empty"),
        (setting(1, "padding", [2**40, 1, 1, 1]), "padding is beyond"),
        (setting(1, "padding", [60000, 60000, 0, 0]), "beyond 67108864 numbers"),
        (setting(1, "upsample", [60000, 60000]), "beyond 67108864 numbers"),
        (setting(1, "groups", 0), "groups do not divide"),
        (setting(1, "groups", 3), "groups do not divide 3 and 20"),
        (setting(1, "groups", 1.0), "groups is 1.0, not a whole number"),
        (setting(3, "groups", 4), "fan-in 10, not 5"),
        (setting(3, "groups", 1), "fan-in 10, not 20"),
        (put(["layers", "grouped", "outputs"], 20), "bias has shape"),
        (put(["layers", "words", "outputs"], 16), "bias has shape"),
        (put(["layers", "words", "fan_in"], 28), "fan-in 28, not 27"),
        (put(["layers", "filters", "fan_in"], 5), "weights has shape"),
        (put(["layers", "filters", "kind"], "dense"), "no panels"),
        (put(["layers", "halves", "weights"], "exact"), "no weights"),
        (put(["operations", 1, "layer"], "filters"), "fan-in 4, not 27"),
        (put(["operations", 1, "layer"], "channels"), "not a convolution's"),
        (put(["operations", 1, "layer"], None), "'convolution' has the layer null"),
        (put(["values", 0], shaped(3, 30)), "cannot take shape"),
        (put(["values", 2], shaped(20, 6, 6)), "outputs are"),
        (put(["values", 2], shaped(20, 30)), "from 4 to 3 dimensions"),
        (put(["values", 3], shaped(20, 3, 3)), "outputs are"),
        (put(["values", 3], shaped(21, 3, 2)), "do not divide 20 and 21"),
        (setting(2, "groups", 10), "pool each channel by itself"),
        (setting(2, "upsample", [2, 1]), "pool each channel by itself"),
        (setting(2, "padding", [2, 0, 0, 0]), "more than half its kernel"),
        (setting(2, "padding", [-1, 0, 0, 0]), "more than half its kernel"),
        (setting(2, "include_padding", True), "'max_pool' has the settings"),
        (setting(6, "include_padding", 1), "include_padding is 1, not true or false"),
        (setting(6, "divisor", -1), "averages with divisor -1"),
        (setting(6, "dilation", [2, 2]), r"averages with divisor 0 and dilation \(2, 2\)"),
        (put(["operations", 4, "inputs"], []), 'no operation "concat" of 0 inputs'),
        (put(["operations", 4, "inputs"], [3, 3, 4]), "'concat' cannot take shape"),
        (put(["operations", 4, "inputs"], [3, 1]), "'concat' cannot take shape"),
        (put(["operations", 4, "layer"], "norm"), "'concat' has the layer"),
        (put(["operations", 7, "inputs"], [5]), 'no operation "add" of 1 inputs'),
        (put(["values", 10], shaped(5, 1, 2)), "'adaptive_average_pool' cannot take shape"),
        (put(["operations", 9, "settings"], {}), "'adaptive_average_pool' has the settings"),
        (put(["operations", 12, "layer"], "channels"), "'layer_norm' cannot take shape"),
        (put(["operations", 12, "settings"], None), "'layer_norm' has the settings null"),
        (setting(12, "epsilon", -1.0), "epsilon is -1.0"),
        (setting(12, "epsilon", float("nan")), "not JSON"),
        (setting(12, "epsilon", "0"), 'epsilon is "0"'),
        (put(["operations", 0, "layer"], "norm"), "'scale_shift' cannot take shape"),
        (put(["byte_input"], 3), "byte_input is 3"),
        (put(["byte_input"], {"mean": [0.5]}), "byte_input is"),
        (put(["byte_input", "mean"], []), "byte_input is"),
        (put(["byte_input", "mean"], [0.5]), "byte_input is"),
        (put(["byte_input", "mean", 0], "x"), 'byte_input is {"mean"'),
        (put(["byte_input", "mean", 0], float("inf")), "byte_input is .*Infinity"),
        (put(["byte_input", "std", 0], 0), "byte_input cannot be: each std must be positive"),
        (put(["byte_input"], {"mean": [0, 0], "std": [1, 1]}), "byte_input has 2 channels"),
    ],
)
def test_graphs_of_images_that_lie_are_refused(tmp_path, change, text):
    refuse(tmp_path, with_graph(change, golden_bytes("planes")), text)


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        (
            "filters/weights",
            put(
                [
                    0,
                ],
                np.nan,
            ),
            "'filters': a weight is infinite or NaN",
        ),
        ("halves/halves", put([0], 0x7C00), "infinite or NaN"),
        ("halves/scale", put([1], 0), "scale"),
        ("channels/scale", put([0], np.inf), "'channels': scale holds"),
        ("grouped/indices", put([12], 0), "only fills its group"),
        ("words/words", put([-1], 0x3C03), "beyond the outputs"),
    ],
)
def test_arrays_of_images_that_lie_are_refused(tmp_path, name, change, text):
    refuse(tmp_path, with_array(name, change, golden_bytes("planes")), text)


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("words/runs_per_group", put([0], 7), "runs do not add up"),
        ("words/run_slots", put([0], 0), "no slots"),
        ("words/run_slots", put([0], 33), "more than 32"),
        ("words/run_slots", put([0], 2), "words has shape"),
        ("words/run_branches", put([0], 0), "no branches"),
        ("words/run_branches", put([0], 60000), "branches listed"),
        ("words/branches", put([0], 2), "beyond the fan-in"),
        ("words/branches", put([0], 1), "twice"),
        ("words/words", put([0], 0x7C03), "infinite or NaN"),
        ("words/words", put([0], 0xFC03), "infinite or NaN"),
        ("words/words", put([-1], 0x3C03), "beyond the outputs"),
        ("words/scale", put([0], np.nan), "scale"),
        ("words/scale", put([0], -1), "scale"),
        ("halves/halves", put([0], 0x7C00), "infinite or NaN"),
        ("halves/scale", put([1], 0), "scale"),
        ("words/bias", put([0], np.nan), "'words': bias holds NaN"),
        ("exact/weights", put([3], np.inf), "'exact': a weight is infinite or NaN"),
        ("dense/panels", put([3], -np.inf), "'dense': a weight is infinite or NaN"),
        ("halves/bias", put([0], np.inf), "'halves': bias holds"),
        ("norm/scale", put([0], np.nan), "'norm': scale holds"),
        ("norm/shift", put([0], np.inf), "'norm': shift holds"),
        ("exact/indices", put([0], 32), "beyond its branch"),
        ("exact/indices", put([0], 20), "beyond the fan-in"),
    ],
)
def test_arrays_that_lie_are_refused(tmp_path, name, change, text):
    refuse(tmp_path, with_array(name, change), text)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (put(["words/words", "data_offsets"], [0, 2**60]), "needs"),
        (put(["words/words", "data_offsets"], [-2, 94]), "malformed"),
        (put(["words/words", "data_offsets"], [0]), "malformed"),
        (put(["words/words", "shape"], [2**62, 2**62]), "needs"),
        (put(["words/words", "shape"], [1.5]), "malformed"),
        (put(["words/words", "dtype"], "F64"), 'unknown type "F64"'),
        (put(["words/words", "dtype"], ["U16"]), "unknown type"),
        (put(["words/words"], []), "malformed"),
        (put(["words/runs_per_group", "shape"], [2, 1]), "not one row"),
        (put(["words/run_slots", "shape"], [1, 2]), "not one row"),
        (put(["words/run_branches", "shape"], [2, 1]), "not one row"),
        (put(["words/branches", "shape"], [2, 2]), "not one row"),
        (put(["extra"], {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}), "begins at byte"),
        (put(["__metadata__"], {}), "not a Sparbor model"),
        (put(["__metadata__"], {"sparbor": 1}), "not strings"),
        (put(["__metadata__", "sparbor"], checksummed("[1]")), "not a JSON object"),
        (put(["__metadata__", "sparbor"], checksummed("{")), "not JSON"),
        (put(["__metadata__", "sparbor"], ""), "does not match its checksum"),
        (put(["__metadata__", "sparbor"], "00000000{}"), "does not match its checksum"),
    ],
)
def test_headers_that_lie_are_refused(tmp_path, change, text):
    header, tensors = split(golden_bytes())
    change(header)
    refuse(tmp_path, join(header, tensors), text)


def test_branch_ids_of_two_groups_are_not_taken_for_one(tmp_path):
    """The last id of a group and the first of the next are 65,535 and 65,536 apart."""
    fan_in = 2**16 * 32
    layout = SlotLayout(*(np.array(row, np.uint16) for row in ([1, 1], [1, 1], [1, 1], [65535, 0])))
    words = np.full((2, 16), 0x3C00, np.uint16)
    layer = SparseLayer(32, fan_in, layout, words, None, None, np.ones(32, np.float32), None)
    operations = (Operation("linear", (0,), 1, "wide"),)
    program = Program.of_items(((fan_in,), (32,)), 0, 1, operations, {"wide": layer})
    save(program, tmp_path / "wide.safetensors")
    assert_same(load(tmp_path / "wide.safetensors"), program)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_program_is_of_finite_numbers(bad):
    layers = {"norm": ScaleShift(np.ones(4, np.float32), np.array([1, bad, 1, 1], np.float32))}
    operations = (Operation("scale_shift", (0,), 1, "norm", settings=Axis(1)),)
    with pytest.raises(ArgumentError, match="layer 'norm': shift holds NaN or infinity"):
        Runtime(Program.of_items(((4,), (4,)), 0, 1, operations, layers))


def test_a_header_length_that_lies_is_refused_before_it_is_read(tmp_path):
    refuse(tmp_path, (2**63).to_bytes(8, "little") + golden_bytes()[8:], "the header claims")
    refuse(tmp_path, b"[" * 100, "the header claims")
    refuse(tmp_path, (90).to_bytes(8, "little") + b"[" * 90, "JSON is nested more than 16 deep")
    refuse(tmp_path, (9).to_bytes(8, "little") + b"[" * 9, "the header is not JSON")
