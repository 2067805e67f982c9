"""Constants, ranges, and what is chosen by indices: their errors belong to one call."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch

from sparbor.engine.runtime import Runtime
from sparbor.engine.session import Session
from sparbor.errors import ArgumentError
from sparbor.packing.slots import SLOT_ENCODINGS, Encoding
from sparbor.packing.tables import pack_table
from sparbor.program.program import Axis, ConstantArray, Operation, Order, Port, Program, Range, Slice, ValueType
from tests.operators import check, floats, in_onnx, isa, of_one, of_type, same, wholes  # noqa: F401


@pytest.mark.parametrize("kind", ["f32", "u8", "i8", "i32", "i64", "bool"])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3), (1, 3, 1, 5, 1, 1, 1, 1, 2)])
@pytest.mark.usefixtures("isa")
def test_constants(kind: str, shape: tuple[int, ...], tmp_path: Any) -> None:
    """As an output of a model that has an input too; saved, loaded and exported."""
    array = of_type(kind, *shape)
    x = ValueType("f32", ("batch", 3))
    made = Program(
        (x, ValueType(kind, shape)),
        (Port("x", 0),),
        (Port("copy", 0), Port("c", 1)),
        (Operation("constant", (), 1, "c"),),
        {"c": ConstantArray(array)},
    )
    Runtime(made).save(tmp_path / "model")
    for runtime in (Runtime(made), Runtime((tmp_path / "model").read_bytes())):
        same(runtime(floats(2, 3))["c"], array, 0)
    stored = Runtime((tmp_path / "model").read_bytes()).program.layers["c"]
    assert isinstance(stored, ConstantArray)
    same(stored.values, array, 0)


@pytest.mark.usefixtures("isa")
def test_constants_are_computed_with() -> None:
    """A mask with minus infinity, and a scalar's product."""
    mask = np.where(np.tri(5, dtype=bool), 0, -np.inf).astype(np.float32)
    made = Program(
        tuple(
            ValueType("f32", shape)
            for shape in (("batch", 5, 5), (1, 5, 5), ("batch", 5, 5), (1, 1, 1), ("batch", 5, 5))
        ),
        (Port("x", 0),),
        (Port("y", 4),),
        (
            Operation("constant", (), 1, "mask"),
            Operation("add", (0, 1), 2),
            Operation("constant", (), 3, "factor"),
            Operation("multiply", (2, 3), 4),
        ),
        {"mask": ConstantArray(mask[None]), "factor": ConstantArray(np.full((1, 1, 1), 0.5, np.float32))},
    )
    x = floats(3, 5, 5)
    for answer in (Runtime(made)(x), in_onnx(made, [x])):
        np.testing.assert_array_equal(answer, (x + mask) * np.float32(0.5))


@pytest.mark.parametrize(("start", "step"), [(0, 1), (5, -3), (-(2**40), 2**20), (7, 0)])
@pytest.mark.usefixtures("isa")
def test_ranges(start: int, step: int) -> None:
    """As long as a named size, as what is computed of it, and as a number."""
    lengths = ("sequence", ("+", ("*", 2, "sequence"), 1), 4)
    made = Program(
        (ValueType("f32", ("batch", "sequence")), *(ValueType("i64", (length,)) for length in lengths)),
        (Port("x", 0),),
        (Port("a", 1), Port("b", 2), Port("c", 3)),
        tuple(Operation("range", (), output, settings=Range(start, step)) for output in (1, 2, 3)),
    )
    runtime = Runtime(made)
    for sequence in (1, 6, 33):
        x = floats(2, sequence)
        answer = runtime(x)
        for name, count in (("a", sequence), ("b", 2 * sequence + 1), ("c", 4)):
            same(answer[name], start + step * np.arange(count), 0)
        same(in_onnx(made, [x]), answer["a"], 0)


@pytest.mark.usefixtures("isa")
def test_a_model_may_begin_with_no_input() -> None:
    """Positions of rotary embeddings: a range times frequencies, by a linear layer's rows, turned."""
    made = Program(
        (
            ValueType("f32", ("batch", "sequence")),
            ValueType("i64", ("sequence",)),
            ValueType("f32", ("sequence",)),
            ValueType("f32", ("sequence", 1)),
            ValueType("f32", (1, 4)),
            ValueType("f32", ("sequence", 4)),
            ValueType("f32", (4, "sequence")),
        ),
        (Port("x", 0),),
        (Port("y", 6),),
        (
            Operation("range", (), 1, settings=Range(0, 1)),
            Operation("cast", (1,), 2),
            Operation("reshape", (2,), 3),
            Operation("constant", (), 4, "frequencies"),
            Operation("multiply", (3, 4), 5),
            Operation("permute", (5,), 6, settings=Order((1, 0))),
        ),
        {"frequencies": ConstantArray(np.array([[1, 0.5, 0.25, 0.125]], np.float32))},
    )
    runtime = Runtime(made)
    for sequence in (3, 1, 40):
        wanted = np.outer([1, 0.5, 0.25, 0.125], np.arange(sequence)).astype(np.float32)
        same(runtime(floats(2, sequence)), wanted, 0)


TAKES = [((5, 3, 4), 0, (2, 2)), ((5, 3, 4), 1, (7,)), ((5, 3, 4), 2, (2, 3)), ((9,), 0, (4,)), ((6, 33), 0, (1,))]


@pytest.mark.parametrize(("shape", "axis", "places"), TAKES)
@pytest.mark.parametrize("kind", ["f32", "u8", "i64"])
@pytest.mark.parametrize("indices", ["int32", "int64"])
@pytest.mark.usefixtures("isa")
def test_take(shape: Any, axis: int, places: Any, kind: str, indices: str) -> None:
    x = of_type(kind, *shape)
    at = wholes(*places, low=-shape[axis], high=shape[axis], dtype=indices)
    check("take", [x, at], np.take(x, at, axis), settings=Axis(axis))


@pytest.mark.usefixtures("isa")
def test_take_by_one_number() -> None:
    x, one = floats(4, 5), np.array(-2)
    same(Runtime(of_one("take", [x, one], x[:, 3], settings=Axis(1)))(x, one), x[:, -2], 0)


@pytest.mark.parametrize(("shape", "axis", "places"), [((5, 3, 4), 0, (9, 3, 2)), ((5, 3), 1, (4, 7)), ((8,), 0, (3,))])
@pytest.mark.parametrize("kind", ["f32", "i8", "i64"])
@pytest.mark.usefixtures("isa")
def test_gather(shape: Any, axis: int, places: Any, kind: str) -> None:
    x, at = of_type(kind, *shape), wholes(*places, low=0, high=shape[axis])
    wanted = torch.gather(torch.from_numpy(x), axis, torch.from_numpy(at)).numpy()
    check("gather", [x, at], wanted, settings=Axis(axis))
    check("gather", [x, at - shape[axis]], wanted, settings=Axis(axis))


@pytest.mark.parametrize("encoding", SLOT_ENCODINGS)
@pytest.mark.parametrize("features", [1, 5, 64, 384])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.usefixtures("isa")
def test_embedding(encoding: Encoding, features: int, dtype: str, tmp_path: Any) -> None:
    weight = floats(50, features) * np.float32(1e-3)
    table = pack_table(weight, None, encoding)
    kept = table.unpack()[0]
    np.testing.assert_allclose(kept, weight, rtol=0 if encoding is Encoding.EXACT else 2**-11)
    for shape in ((), (3,), (2, 7), (2, 1, 3)):
        ids = wholes(*shape, low=0, high=50, dtype=dtype)
        check("embedding", [ids], kept[ids], layer=table, tolerance=0)
    runtime = Runtime(of_one("embedding", [ids], kept[ids], layer=table))
    runtime.save(tmp_path / "model")
    again = Runtime((tmp_path / "model").read_bytes())
    same(again(ids), kept[ids], 0)
    (report,) = again.describe()
    assert (report.outputs, report.fan_in, report.kind) == (50, features, "table")


def embedded(batch: Any = "batch", sequence: Any = "sequence") -> Program:
    """Ids of any number of items, looked up; the same again as a state, so that a session has one."""
    return Program(
        (
            ValueType("i64", (batch, sequence)),
            ValueType("f32", (batch, sequence, 3)),
            ValueType("f32", (batch, sequence, 3)),
            ValueType("f32", (batch, sequence, 3)),
        ),
        (Port("ids", 0), Port("before", 1)),
        (Port("sum", 3), Port("after", 3)),
        (Operation("embedding", (0,), 2, "embeddings.word_embeddings"), Operation("add", (2, 1), 3)),
        {"embeddings.word_embeddings": pack_table(floats(9, 3))},
        states=(("before", "after"),),
    )


WRONG = r"embedding 'embeddings.word_embeddings': id {} at \(0, 3\) is not one of its rows, 0 to 8"


@pytest.mark.parametrize("id", [9, -1, 2**62, -(2**63)])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("isa")
def test_an_id_that_is_no_row_refuses_the_call_and_no_other(id: int, threads: int) -> None:
    runtime = Runtime(embedded(), threads)
    ids, zeros = wholes(2, 5, low=0, high=9), np.zeros((2, 5, 3), np.float32)
    wrong = ids.copy()
    wrong[0, 3] = id
    wanted = runtime(ids, zeros)["sum"]
    memory = runtime.workspace_bytes
    for _ in range(100):
        with pytest.raises(ArgumentError, match=WRONG.format(id)):
            runtime(wrong, zeros)
        np.testing.assert_array_equal(runtime(ids, zeros)["sum"], wanted)
    assert runtime.workspace_bytes == memory
    session = Session(runtime)
    np.testing.assert_array_equal(session(ids), wanted)
    with pytest.raises(ArgumentError, match=WRONG.format(id)):
        session(wrong)
    np.testing.assert_allclose(session(ids), 2 * wanted, rtol=1e-6)  # what it remembers is what it was


def test_calls_that_are_refused_beside_others() -> None:
    """Four threads, half of whose calls have an id that is no row."""
    runtime = Runtime(embedded(), 2)
    zeros, failures = np.zeros((2, 5, 3), np.float32), []

    def call(number: int) -> None:
        random = np.random.default_rng(number)
        for _ in range(200):
            ids = random.integers(0, 9, (2, 5))
            table = runtime.program.layers["embeddings.word_embeddings"].unpack()[0]
            try:
                if not np.array_equal(runtime(ids, zeros)["sum"], table[ids]):
                    failures.append("a wrong answer")
                ids[0, 3] = 9
                runtime(ids, zeros)
                failures.append("no error")
            except ArgumentError:
                pass

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("kind", ["take", "gather"])
def test_an_index_out_of_range_names_its_place(kind: str) -> None:
    x = floats(3, 4)
    at = np.zeros((2, 4), np.int64)
    wanted = np.take(x, at, 0) if kind == "take" else np.take_along_axis(x, at, 0)
    runtime = Runtime(of_one(kind, [x, at], wanted, settings=Axis(0)))
    for index in (3, -4):
        at[1, 2] = index
        with pytest.raises(
            ArgumentError, match=rf"{kind}: index {index} at \(1, 2\) is not one of dimension 0, -3 to 2"
        ):
            runtime(x, at)
    at[1, 2] = -3
    same(runtime(x, at), wanted, 0)


@pytest.mark.usefixtures("isa")
def test_rows_of_a_constant_are_chosen_by_a_part_of_the_input() -> None:
    """Types of tokens, every second of the ids."""
    made = Program(
        (
            ValueType("i32", ("n", 6)),
            ValueType("i32", ("n", 3)),
            ValueType("f32", (4, 5)),
            ValueType("f32", ("n", 3, 5)),
        ),
        (Port("x", 0),),
        (Port("y", 3),),
        (
            Operation("slice", (0,), 1, settings=Slice(1, 1, 2)),
            Operation("constant", (), 2, "rows"),
            Operation("take", (2, 1), 3, settings=Axis(0)),
        ),
        {"rows": ConstantArray(floats(4, 5))},
    )
    rows = made.layers["rows"].arrays()["values"]
    x = wholes(7, 6, low=0, high=4, dtype="int32")
    same(Runtime(made)(x), rows[x[:, 1::2]], 0)


@pytest.mark.parametrize(
    ("kind", "inputs", "wanted", "more", "text"),
    [
        ("take", [floats(3, 4), floats(2)], floats(2, 4), {"settings": Axis(0)}, "neither i32 nor i64"),
        ("take", [floats(3, 4), wholes(2)], floats(2, 4), {"settings": Axis(2)}, "its axis is none of the input's"),
        ("take", [floats(3, 4), wholes(2)], floats(2, 4), {"settings": Axis(-1)}, "its axis is none of the input's"),
        ("take", [floats(3, 4), wholes(2)], floats(2, 5), {"settings": Axis(0)}, "cannot take shape"),
        ("gather", [floats(3, 4), wholes(2, 5)], floats(2, 5), {"settings": Axis(0)}, "reach beyond the input"),
        ("embedding", [wholes(2)], floats(2, 4), {"layer": pack_table(floats(3, 5))}, "cannot take shape"),
        ("embedding", [floats(2)], floats(2, 5), {"layer": pack_table(floats(3, 5))}, "neither i32 nor i64"),
        ("embedding", [wholes(2)], floats(2, 5), {"layer": ConstantArray(floats(3, 5))}, "its layer is no table"),
        ("constant", [], floats(2), {"layer": ConstantArray(floats(3))}, "its layer is of another shape"),
        ("constant", [], floats(3), {"layer": ConstantArray(wholes(3))}, "of another type than its output"),
        ("constant", [], floats(3), {"layer": pack_table(floats(3, 5))}, "its layer is no array"),
        ("range", [], wholes(3, 1), {"settings": Range(0, 1)}, "its output is not one row of i64"),
        ("range", [], wholes(3), {"settings": Range(0, 2**62)}, "its last number is beyond i64"),
        ("range", [], wholes(1), {"settings": Range(2**63 - 1, 0)}, "its last number is beyond i64"),
    ],
)
def test_what_cannot_be(kind: str, inputs: Any, wanted: Any, more: Any, text: str) -> None:
    """Beside an input of its own, which a model must have."""
    made = of_one(kind, inputs, wanted, **more)
    if not inputs:
        (operation,) = made.operations
        values = (*made.values, ValueType("f32", (1,)))
        made = Program(values, (Port("x", 1),), made.outputs, (operation,), made.layers)
    with pytest.raises(ArgumentError, match=text):
        Runtime(made)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (ConstantArray(np.zeros(3, np.uint16)), "layer 'layer': its values are u16"),
        (
            ConstantArray(np.array([0, 1, 2], np.uint8).view(np.bool_)),
            "layer 'layer': a value is neither true nor false",
        ),
        (ConstantArray(np.zeros((0,), np.float32)), "layer 'layer': it has not one value"),
        (ConstantArray(np.zeros(3, np.float64)), "has the unknown type"),
    ],
)
def test_arrays_that_cannot_be(layer: ConstantArray, text: str) -> None:
    values = (ValueType("f32", (1,)), ValueType("f32", (3,)))
    made = Program(values, (Port("x", 0),), (Port("y", 1),), (Operation("constant", (), 1, "layer"),), {"layer": layer})
    with pytest.raises(ArgumentError, match=text):
        Runtime(made)
