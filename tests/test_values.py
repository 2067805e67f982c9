"""Values of any type and shape: named inputs and outputs, sizes that are known when a model runs, views, sessions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sparbor.engine.runtime import Runtime
from sparbor.engine.session import Session
from sparbor.errors import ArgumentError
from sparbor.packing.dense_weights import pack_dense
from sparbor.packing.filters import pack_filters
from sparbor.packing.slots import SLOT_ENCODINGS, Encoding, pack
from sparbor.program.program import Activation, Axis, Operation, Order, Port, Program, ScaleShift, Slice, ValueType
from sparbor.program.windows import Window
from tests.kernel_sets import KERNEL_SETS
from tests.layers import slot_mask

RANDOM = np.random.default_rng(0)


@pytest.fixture(params=KERNEL_SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SPARBOR_ISA", request.param)
    return str(request.param)


def f32(*shape: Any) -> ValueType:
    return ValueType("f32", shape)


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def program(values: list[ValueType], inputs: str, outputs: str, *operations: Operation, **more: Any) -> Program:
    """Inputs and outputs as names with the numbers of their values: "x0 y3"."""
    ports = [
        tuple(Port(each.rstrip("0123456789"), int(each.lstrip("abcdefghijklmnopqrstuvwxyz_"))) for each in side.split())
        for side in (inputs, outputs)
    ]
    return Program(tuple(values), ports[0], ports[1], operations, **more)


def two_inputs() -> Program:
    """Tokens weighted by a mask, and their sum with a vector for each item; two outputs."""
    tokens = f32("batch", "sequence", 8)
    return program(
        [
            tokens,
            f32("batch", "sequence", 1),
            f32("batch", 1, 8),
            tokens,
            tokens,
        ],
        "tokens0 mask1 vector2",
        "masked3 shifted4",
        Operation("multiply", (0, 1), 3),
        Operation("add", (3, 2), 4, activation=Activation("relu")),
    )


@pytest.mark.parametrize(("batch", "sequence"), [(1, 1), (2, 7), (5, 1), (3, 128)])
def test_named_inputs_and_outputs_of_any_sizes(isa: str, batch: int, sequence: int) -> None:
    runtime = Runtime(two_inputs())
    tokens, mask, vector = numbers(batch, sequence, 8), numbers(batch, sequence, 1), numbers(batch, 1, 8)
    masked = tokens * mask
    for answer in (
        runtime(tokens, mask, vector),
        runtime(tokens, vector=vector, mask=mask),
        runtime(mask=mask, vector=vector, tokens=tokens),
    ):
        assert list(answer) == ["masked", "shifted"]
        np.testing.assert_array_equal(answer["masked"], masked)
        np.testing.assert_allclose(answer["shifted"], np.maximum(masked + vector, 0), rtol=1e-6)
    tensors = runtime(*map(torch.from_numpy, (tokens, mask, vector)))
    assert torch.equal(tensors["masked"], torch.from_numpy(masked))


def test_a_runtime_says_what_it_takes_and_returns() -> None:
    runtime = Runtime(two_inputs())
    assert [port.name for port in runtime.inputs] == ["tokens", "mask", "vector"]
    assert runtime.inputs[0].shape == ("batch", "sequence", 8)
    assert runtime.signature() == (
        "tokens float32 (batch, sequence, 8), mask float32 (batch, sequence, 1), vector float32 (batch, 1, 8) -> "
        "masked float32 (batch, sequence, 8), shifted float32 (batch, sequence, 8)"
    )


T, M, V = numbers(2, 3, 8), numbers(2, 3, 1), numbers(2, 1, 8)


@pytest.mark.parametrize(
    ("given", "by_name", "text"),
    [
        ((T, M), {}, "vector is missing: this model takes tokens, mask, vector"),
        ((T, M, V), {"vectors": V}, "vectors is no input: this model takes tokens, mask, vector"),
        ((T, M, V), {"mask": M}, "mask is given twice, by its position and by its name: pass it once"),
        ((T, M, V, V), {}, "4 inputs are given without a name"),
        ((T, numbers(2, 4, 1), V), {}, "mask has sequence 4 and tokens 3: sizes of one name must be equal"),
        ((T, numbers(3, 3, 1), V), {}, "mask has batch 3 and tokens 2"),
        ((T, numbers(2, 3, 2), V), {}, r"mask has shape \(2, 3, 2\): this model's is \(batch, sequence, 1\)"),
        ((T, M[0], V), {}, r"mask has shape \(3, 1\)"),
        ((T.astype(np.float64), M, V), {}, r'tokens is float64: .* pass tokens.astype\("float32"\)'),
        ((T, torch.from_numpy(M), V), {}, "some inputs are tensors and some NumPy arrays"),
        ((T, M, V), {"out": T}, "out is given, and the model has 2 outputs"),
        ((T[:, :0], M[:, :0], V), {}, "tokens is an empty batch"),
    ],
)
def test_calls_that_cannot_be(given: Any, by_name: Any, text: str) -> None:
    runtime = Runtime(two_inputs())
    with pytest.raises(ArgumentError, match=text):
        runtime(*given, **by_name)
    assert list(runtime(T, M, V)) == ["masked", "shifted"]


def test_sizes_that_the_operations_cannot_have_are_refused_by_name() -> None:
    """Windows of four numbers, of which a sequence must have whole ones."""
    windows = program(
        [f32("batch", "sequence"), f32("batch", ["//", "sequence", 4], 4)], "x0", "y1", Operation("reshape", (0,), 1)
    )
    with pytest.raises(ArgumentError, match="a dimension is 0"):
        Runtime(windows)  # with a sequence of 1
    rows = program([f32("rows", 4), f32(("*", 2, ("//", "rows", 2)), 4)], "x0", "y1", Operation("reshape", (0,), 1))
    with pytest.raises(ArgumentError, match="a dimension is 0"):
        Runtime(rows)
    pairs = program([f32("rows", 4), f32(("+", ("//", "rows", 2), 1), 4)], "x0", "y1", Operation("reshape", (0,), 1))
    runtime = Runtime(pairs)
    for count in (1, 2):
        np.testing.assert_array_equal(runtime(T[0, :count, :4].copy()), T[0, :count, :4])
    with pytest.raises(ArgumentError, match=r"with rows 3: operation 'reshape' cannot take shape \(3, 4\) to"):
        runtime(T[0, :, :4].copy())
    np.testing.assert_array_equal(runtime(T[0, :2, :4].copy()), T[0, :2, :4])


def test_dimensions_are_computed_of_sizes(isa: str) -> None:
    """Rows of all tokens of all items, as many models flatten them."""
    weight = numbers(6, 8)
    values = [f32("batch", "sequence", 8), f32(("*", "batch", "sequence"), 8), f32(("*", "batch", "sequence"), 6)]
    flat = program(
        values,
        "x0",
        "y2",
        Operation("reshape", (0,), 1),
        Operation("linear", (1,), 2, "fc"),
        layers={"fc": pack_dense(weight)},
    )
    runtime = Runtime(flat)
    for batch, sequence in ((2, 5), (5, 2), (1, 1)):
        x = numbers(batch, sequence, 8)
        np.testing.assert_allclose(runtime(x), x.reshape(-1, 8) @ weight.T, rtol=1e-5, atol=1e-6)


VIEWS = [
    ((2, 3, 4, 5), Order((0, 2, 1, 3)), lambda x: x.transpose(0, 2, 1, 3)),
    ((2, 3, 4, 5), Order((3, 2, 1, 0)), lambda x: x.transpose()),
    ((2, 7), Order((1, 0)), lambda x: x.T),
    ((2, 9, 5), Slice(1, 2, 3), lambda x: x[:, 2::3]),
    ((2, 9, 5), Slice(2, -2, 1), lambda x: x[:, :, -2:]),
    ((4, 9), Slice(0, 1, 2), lambda x: x[1::2]),
    ((2, 1, 5), None, lambda x: np.broadcast_to(x, (2, 6, 5))),
    ((1, 3, 1, 2), None, lambda x: np.broadcast_to(x, (4, 3, 5, 2))),
]


@pytest.mark.parametrize(("shape", "settings", "view"), VIEWS)
def test_views_cost_nothing_and_are_read_as_what_they_are(isa: str, shape: Any, settings: Any, view: Any) -> None:
    """By an operator that takes numbers as they lie, one that wants rows, and as an output."""
    x = numbers(*shape)
    y = view(x)
    kind = {Order: "permute", Slice: "slice", type(None): "expand"}[type(settings)]
    weight = numbers(3, y.shape[-1])
    look = program(
        [f32(*shape), *[f32(*y.shape)] * 3, f32(*y.shape[:-1], 3)],
        "x0",
        "view1 doubled2 rows4 soft3",
        Operation(kind, (0,), 1, settings=settings),
        Operation("add", (1, 1), 2),
        Operation("activation", (1,), 3, activation=Activation("tanh")),
        Operation("linear", (1,), 4, "fc"),
        layers={"fc": pack_dense(weight)},
    )
    answer = Runtime(look)(x)
    np.testing.assert_array_equal(answer["view"], y)
    np.testing.assert_array_equal(answer["doubled"], y + y)
    np.testing.assert_allclose(answer["soft"], np.tanh(y), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(answer["rows"], y @ weight.T, rtol=1e-4, atol=1e-5)
    alone = program([f32(*shape), f32(*y.shape)], "x0", "view1", Operation(kind, (0,), 1, settings=settings))
    assert Runtime(alone).item_bytes == Runtime(program([f32(*shape)], "x0", "x0")).item_bytes


@pytest.mark.parametrize("kind", ["f32", "u8", "i8", "i32", "i64", "bool"])
def test_every_type_of_numbers_is_moved(kind: str) -> None:
    """Twice the numbers, turned, and the last of them."""
    values = [ValueType(kind, shape) for shape in (("batch", 3, 5), ("batch", 5, 3), ("batch", 10, 3), ("batch", 1, 3))]
    moved = program(
        values,
        "x0",
        "both2 last3",
        Operation("permute", (0,), 1, settings=Order((0, 2, 1))),
        Operation("concat", (1, 1), 2, settings=Axis(1)),
        Operation("slice", (2,), 3, settings=Slice(1, -1, 1)),
    )
    runtime = Runtime(moved)
    dtype = runtime.inputs[0].dtype
    x = RANDOM.integers(0, 2 if kind == "bool" else 100, (2, 3, 5)).astype(dtype)
    answer = runtime(x)
    turned = x.transpose(0, 2, 1)
    assert answer["both"].dtype == dtype
    np.testing.assert_array_equal(answer["both"], np.concatenate([turned, turned], 1))
    np.testing.assert_array_equal(answer["last"], turned[:, -1:])
    if kind != "f32":
        with pytest.raises(ArgumentError, match=rf'x is float32: this model takes {dtype}, pass x.astype\("{dtype}"\)'):
            runtime(x.astype(np.float32))


def test_a_value_and_a_view_of_it_are_not_written_over(isa: str) -> None:
    """A sum of a matrix and its transpose reads each number twice."""
    square = program(
        [f32(6, 6)] * 3, "x0", "y2", Operation("permute", (0,), 1, settings=Order((1, 0))), Operation("add", (0, 1), 2)
    )
    x = numbers(6, 6)
    np.testing.assert_array_equal(Runtime(square)(x), x + x.T)


def test_views_of_one_number_are_computed_with(isa: str) -> None:
    """Where both operands of a sum stand still along some dimension, or along all; and steps beyond a size of 1."""
    a, b = numbers(2, 1), numbers(2, 1)
    still = program(
        [f32(2, 1), f32(2, 1), *[f32(2, 5)] * 5],
        "a0 b1",
        "square4 sum5 soft6",
        Operation("expand", (0,), 2),
        Operation("expand", (1,), 3),
        Operation("multiply", (2, 2), 4),
        Operation("add", (2, 3), 5),
        Operation("activation", (2,), 6, activation=Activation("tanh")),
    )
    answer = Runtime(still)(a, b)
    np.testing.assert_array_equal(answer["square"], np.broadcast_to(a * a, (2, 5)))
    np.testing.assert_array_equal(answer["sum"], np.broadcast_to(a + b, (2, 5)))
    np.testing.assert_allclose(answer["soft"], np.broadcast_to(np.tanh(a), (2, 5)), rtol=1e-5)
    far = program(
        [f32(2, 64, 32), *[f32(1, 64, 32)] * 2],
        "x0",
        "y2",
        Operation("slice", (0,), 1, settings=Slice(0, 1, 2**40)),
        Operation("activation", (1,), 2, activation=Activation("tanh")),
    )
    x = numbers(2, 64, 32)
    np.testing.assert_allclose(Runtime(far)(x), np.tanh(x[1:]), rtol=1e-5)
    within = program(
        [f32(1, 68), f32(1, 35), *[f32(1, 35)] * 2],
        "x0",
        "y2 z3",
        Operation("slice", (0,), 1, settings=Slice(1, 33, 1)),
        Operation("activation", (1,), 2, activation=Activation("tanh")),
        Operation("add", (1, 2), 3),
    )
    x = numbers(1, 68)
    answer = Runtime(within)(x)
    np.testing.assert_allclose(answer["z"], x[:, 33:] + np.tanh(x[:, 33:]), rtol=1e-5)


def random_program(random: np.random.Generator) -> tuple[Program, Any]:
    """Views, sums and products of one input, in any order, and what NumPy makes of it."""
    shape = tuple(int(each) for each in random.choice([1, 1, 2, 3, 5, 8], int(random.integers(1, 5))))
    shapes, operations, steps = [shape], [], []
    for output in range(1, int(random.integers(3, 9))):
        source = int(random.integers(output))
        x = shapes[source]
        kind = str(random.choice(["permute", "slice", "reshape", "expand", "add", "multiply", "activation", "concat"]))
        axis = int(random.integers(len(x)))
        settings: Any = None
        inputs, activation = (source,), None
        if kind == "permute":
            settings = Order(tuple(int(each) for each in random.permutation(len(x))))
            step, y = (lambda a, o=settings.order: a.transpose(o)), tuple(x[each] for each in settings.order)
        elif kind == "slice":
            start, by = int(random.integers(x[axis])), int(random.integers(1, 4))
            settings, cut = Slice(axis, start, by), (*[slice(None)] * axis, slice(start, None, by))
            step, y = (lambda a, c=cut: a[c]), np.empty(x)[cut].shape
        elif kind == "reshape":
            y = (int(np.prod(x)),) if random.random() < 0.5 else (x[0], int(np.prod(x[1:])))
            step = lambda a, s=y: a.reshape(s)  # noqa: E731
        elif kind == "expand":
            y = tuple(int(random.choice([1, 3])) if each == 1 else each for each in x)
            step = lambda a, s=y: np.broadcast_to(a, s)  # noqa: E731
        elif kind == "concat":
            settings, y = Axis(axis), (*x[:axis], 2 * x[axis], *x[axis + 1 :])
            inputs, step = (source, source), lambda a, i=axis: np.concatenate([a, a], i)
        elif kind == "activation":
            activation, step, y = Activation("relu"), lambda a: np.maximum(a, 0), x
        else:
            same = [other for other in range(output) if shapes[other] == x]
            other = int(random.choice(same))
            inputs, y = (source, other), x
            step = np.add if kind == "add" else np.multiply  # of two
        operations.append(Operation(kind, inputs, output, None, activation, settings))
        steps.append((step, inputs if kind in ("add", "multiply") else (source,)))
        shapes.append(tuple(y))
    outputs = tuple(Port(f"y{number}", number) for number in range(1, len(shapes)))
    made = Program(tuple(f32(*each) for each in shapes), (Port("x", 0),), outputs, tuple(operations))

    def wanted(x: np.ndarray) -> list[np.ndarray]:
        values = [x]
        for step, inputs in steps:
            values.append(step(*(values[each] for each in inputs)))
        return values[1:]

    return made, wanted


def test_random_programs_of_views(isa: str) -> None:
    """Each value of 300 programs, against NumPy."""
    random = np.random.default_rng(1)
    for _ in range(300):
        made, wanted = random_program(random)
        x = random.standard_normal(made.values[0].shape).astype(np.float32)
        answer = Runtime(made)(x)
        found = list(answer.values()) if isinstance(answer, dict) else [answer]
        for each, value in zip(found, wanted(x), strict=True):
            np.testing.assert_allclose(each, value, rtol=1e-5, atol=1e-6, err_msg=str(made))


def test_grouped_convolutions_of_any_number_of_outputs(isa: str) -> None:
    """What was laid out for some sizes is not used for others."""
    weight, mask = np.zeros((32, 9), np.float32), np.zeros((32, 9), bool)
    weight[[0, 16]], mask[[0, 16]] = numbers(2, 9), True
    grouped = program(
        [f32("k", 1), f32(1, 2, 5, 5), f32(1, ("*", 2, "k"), 5, 5)],
        "size0 x1",
        "y2",
        Operation("convolution", (1,), 2, "conv", settings=Window((3, 3), padding=(1, 1, 1, 1), groups=2)),
        layers={"conv": pack(weight, mask)},
    )
    runtime, x = Runtime(grouped), numbers(1, 2, 5, 5)
    assert runtime.describe()[0].outputs == 32  # its rows: how many are outputs, each call says
    first = runtime(np.ones((1, 1), np.float32), x)
    for k in (3, 16, 1):
        y = runtime(np.ones((k, 1), np.float32), x)
        assert y.shape == (1, 2 * k, 5, 5)
        np.testing.assert_allclose(y[:, [0, k]], first, rtol=1e-6)
        assert not np.delete(y, [0, k], axis=1).any()


def test_an_image_is_turned_between_planes_and_rows(isa: str) -> None:
    """A convolution, then a linear layer over the channels of each pixel, then a convolution again."""
    filters, weight, back = numbers(6, 27), numbers(5, 6), numbers(4, 5)
    images = program(
        [
            f32("batch", 3, 7, 5),
            f32("batch", 6, 7, 5),
            f32("batch", 7, 5, 6),
            f32("batch", 7, 5, 5),
            f32("batch", 5, 7, 5),
            f32("batch", 4, 7, 5),
        ],
        "x0",
        "y5",
        Operation("convolution", (0,), 1, "first", settings=Window((3, 3), padding=(1, 1, 1, 1))),
        Operation("permute", (1,), 2, settings=Order((0, 2, 3, 1))),
        Operation("linear", (2,), 3, "middle"),
        Operation("permute", (3,), 4, settings=Order((0, 3, 1, 2))),
        Operation("convolution", (4,), 5, "last", settings=Window((1, 1))),
        layers={"first": pack_filters(filters), "middle": pack_dense(weight), "last": pack_filters(back)},
    )
    x = torch.from_numpy(numbers(2, 3, 7, 5))
    wanted = torch.conv2d(x, torch.from_numpy(filters).view(6, 3, 3, 3), padding=1)
    wanted = torch.einsum("nchw,dc,ed->nehw", wanted, torch.from_numpy(weight), torch.from_numpy(back))
    np.testing.assert_allclose(Runtime(images)(x), wanted, rtol=1e-4, atol=1e-4)


def test_plans_are_kept_for_sizes_that_come_back() -> None:
    """Memory grows with the largest call alone, and answers do not depend on what ran before."""
    weight = numbers(64, 64)
    mask = slot_mask(RANDOM, 64, 64, 0.3)
    rows = program(
        [f32("rows", 64)] * 2, "x0", "y1", Operation("linear", (0,), 1, "fc"), layers={"fc": pack(weight, mask)}
    )
    runtime = Runtime(rows)
    x = numbers(40, 64)
    wanted = {count: Runtime(rows)(x[:count]) for count in range(1, 41)}
    runtime(x)
    kept = runtime.workspace_bytes
    for count in [*range(1, 41), *range(40, 0, -1)]:
        np.testing.assert_array_equal(runtime(x[:count]), wanted[count])
    assert runtime.workspace_bytes <= 2 * kept  # a smaller call may want more scratch


def recurrent(units: int = 8) -> Program:
    """h' = tanh(W [x, h] + b), y = h' scaled: an Elman network, one step."""
    weight, bias = numbers(units, 2 * units) / 4, numbers(units)
    return program(
        [f32("batch", units), f32("batch", units), f32("batch", 2 * units), f32("batch", units), f32("batch", units)],
        "x0 h1",
        "y4 next3",
        Operation("concat", (0, 1), 2, settings=Axis(1)),
        Operation("linear", (2,), 3, "cell", Activation("tanh")),
        Operation("scale_shift", (3,), 4, "scaled", settings=Axis(1)),
        layers={"cell": pack_dense(weight, bias), "scaled": ScaleShift(np.full(units, 2, np.float32), bias)},
        states=(("h", "next"),),
    )


def test_a_session_remembers_and_its_runtime_does_not(isa: str) -> None:
    step = recurrent()
    runtime = Runtime(step)
    one, other = Session(runtime), Session(runtime)
    h = np.zeros((3, 8), np.float32)
    for turn in range(5):
        x = numbers(3, 8)
        computed = runtime(x, h)
        np.testing.assert_array_equal(one(x), computed["y"])
        h = computed["next"]
        assert torch.equal(other(torch.from_numpy(x)), torch.from_numpy(computed["y"])) == (turn == 0)
        other.reset()
    with pytest.raises(ArgumentError, match=r"session's 'h' has shape \(3, 8\), and this call needs \(2, 8\); reset"):
        one(x[:2])
    np.testing.assert_array_equal(one(x), runtime(x, h)["y"])
    one.reset()
    np.testing.assert_array_equal(one(x[:2]), runtime(x[:2], np.zeros((2, 8), np.float32))["y"])


def test_a_state_may_be_one_number() -> None:
    count = program([f32(), f32(), f32()], "x0 h1", "next2 y2", Operation("add", (0, 1), 2), states=(("h", "next"),))
    session = Session(Runtime(count))
    one = np.ones((), np.float32)
    assert [float(session(one)) for _ in range(3)] == [1, 2, 3]


def test_sessions_that_cannot_be() -> None:
    runtime = Runtime(recurrent())
    session = Session(runtime)
    x = numbers(2, 8)
    two = Session(
        Runtime(
            program([f32("batch", 8)] * 4, "x0 z1 h2", "y3 next3", Operation("add", (0, 2), 3), states=(("h", "next"),))
        )
    )
    with pytest.raises(ArgumentError, match="some inputs are tensors"):
        two(x, torch.from_numpy(x))
    np.testing.assert_array_equal(two(x, x), x)  # what was refused has changed nothing
    for given, by_name, text in (
        ((), {}, "x is missing: this model takes x"),
        ((x, x), {}, "2 inputs are given without a name"),
        ((x,), {"h": x}, "h is no input: this model takes x"),
        ((x[:, :4].copy(),), {}, r"x has shape \(2, 4\)"),
    ):
        with pytest.raises(ArgumentError, match=text):
            session(*given, **by_name)
    with pytest.raises(ArgumentError, match="runtime has no states"):
        Session(Runtime(two_inputs()))


def test_states_and_names_are_kept_in_files(tmp_path: Any) -> None:
    for each in (recurrent(), two_inputs()):
        runtime = Runtime(each)
        runtime.save(tmp_path / "model")
        again = Runtime((tmp_path / "model").read_bytes()).program
        assert (again.values, again.inputs, again.outputs, again.states) == (
            each.values,
            each.inputs,
            each.outputs,
            each.states,
        )


@pytest.mark.parametrize("encoding", SLOT_ENCODINGS)
@pytest.mark.parametrize("relu", [False, True])
def test_a_layer_answers_alike_sparse_and_dense(isa: str, encoding: Encoding, relu: bool) -> None:
    """Stored sparse, and dense enough to be faster dense; a word is a half, so that nothing is rounded again."""
    weight, bias = numbers(50, 90), numbers(50)
    layer = pack(weight, np.ones((50, 90), bool), bias, encoding)
    activation = Activation("relu") if relu else None
    operations = (Operation("linear", (0,), 1, "fc", activation),)
    made = program([f32("batch", 90), f32("batch", 50)], "x0", "y1", *operations, layers={"fc": layer})
    chosen, stored = Runtime(made), Runtime(made, as_stored=True)
    for batch in (1, 16):
        assert chosen.ways_at(batch) == {"fc": "dense"}
        assert stored.ways_at(batch) == {"fc": "sparse"}
        x = numbers(batch, 90)
        wanted = x.astype(np.float64) @ layer.unpack()[0].T + bias
        wanted = np.maximum(wanted, 0) if relu else wanted
        for runtime in (chosen, stored):
            np.testing.assert_allclose(runtime(x), wanted, rtol=1e-4, atol=1e-4)


def test_two_synapses_to_one_input_are_refused() -> None:
    """A dense layer has one place for both."""
    layer = pack(np.ones((16, 32), np.float32), np.tile(np.arange(32) < 2, (16, 1)))
    words = layer.words.copy()
    words[1] = words[0]
    made = program(
        [f32("batch", 32), f32("batch", 16)],
        "x0",
        "y1",
        Operation("linear", (0,), 1, "fc"),
        layers={"fc": replace(layer, words=words)},
    )
    with pytest.raises(ArgumentError, match="layer 'fc': a neuron has two synapses to one input"):
        Runtime(made)
