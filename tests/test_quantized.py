"""Quantized values: bytes that equal NumPy's on every kernel set, and what is refused of files that have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sparbor.engine.runtime import Runtime, kernel_sets
from sparbor.errors import ArgumentError, ModelFileError
from sparbor.program import model_file
from sparbor.program.program import Activation, Axis, Operation, Order, Port, Program, Quantization, Slice, ValueType
from sparbor.program.windows import AverageWindow, Window
from tests import quantized_oracle as oracle
from tests.quantized_oracle import dequantize, quantize

NORMAL = Quantization(0.0173, 131)
COARSE = Quantization(0.25, 3)
FLOATS = np.random.default_rng(9)
CHANNELS = (1, 2, 3, 4, 17, 64, 100)
PLANES = ((1, 1), (5, 7), (16, 33))


@pytest.fixture(params=kernel_sets())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SPARBOR_ISA", request.param)
    return str(request.param)


def floats(*shape: int) -> np.ndarray:
    return FLOATS.standard_normal(shape).astype(np.float32)


def bytes_like(*shape: int) -> np.ndarray:
    return FLOATS.integers(0, 256, shape, dtype=np.uint8)


def chain(shapes: Sequence[tuple[Any, ...]], quantizations: Sequence[Quantization | None], *kinds: Any) -> Program:
    """Operations of which each reads what the one before computes; a kind may be an operation's other fields too."""
    values = tuple(
        ValueType("f32" if each is None else "u8", tuple(shape), each)
        for shape, each in zip(shapes, quantizations, strict=True)
    )
    fields = [{"kind": kind} if isinstance(kind, str) else kind for kind in kinds]
    operations = tuple(Operation(inputs=(i,), output=i + 1, **each) for i, each in enumerate(fields))
    return Program(values, (Port("x", 0),), (Port("y", len(kinds)),), operations)


def there_and_back(shape: tuple[Any, ...], quantization: Quantization) -> Program:
    return chain([shape] * 3, [None, quantization, None], "quantize", "dequantize")


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("plane", PLANES)
def test_planes_become_bytes_and_numbers_again(isa: str, channels: int, plane: tuple[int, int]) -> None:
    for batch, threads, quantization in ((1, 1, NORMAL), (3, 2, COARSE)):
        x = floats(batch, channels, *plane) * 4
        runtime = Runtime(there_and_back(("batch", channels, *plane), quantization), threads)
        wanted = dequantize(quantize(x, quantization), quantization)
        np.testing.assert_array_equal(runtime(x), wanted)


@pytest.mark.parametrize("shape", [(1, 5), (3, 64), (3, 203), (4, 6, 50), (2, 130, 1)])
def test_rows_and_sequences_do_too(isa: str, shape: tuple[int, ...]) -> None:
    x = floats(*shape)
    runtime = Runtime(there_and_back(("batch", *shape[1:]), NORMAL))
    np.testing.assert_array_equal(runtime(x), dequantize(quantize(x, NORMAL), NORMAL))


def test_large_planes_on_several_threads(isa: str) -> None:
    x = floats(2, 33, 75, 61)
    runtime = Runtime(there_and_back(x.shape, NORMAL), 2)
    np.testing.assert_array_equal(runtime(x), dequantize(quantize(x, NORMAL), NORMAL))


@pytest.mark.parametrize("zero", [0, 131, 255])
def test_numbers_between_two_bytes_and_beyond_all(isa: str, zero: int) -> None:
    """Half to even, infinities to the ends, NaN to the zero; the largest and the smallest floats too."""
    quantization = Quantization(0.5, zero)
    halves = np.arange(-300, 300, dtype=np.float32) * np.float32(0.25)
    special = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, -0.0, 2**31, -(2**31), 2**40, 1073741824.0]
    x = np.concatenate([halves, np.array(special, np.float32)])[None]
    for shape in ((1, x.size), (1, x.size, 1, 1), (1, 1, x.size, 1), (1, 13, x.size // 13)):
        given = np.ascontiguousarray(x[:, : np.prod(shape)]).reshape(shape)
        runtime = Runtime(there_and_back(shape, quantization))
        np.testing.assert_array_equal(runtime(given), dequantize(quantize(given, quantization), quantization))


def test_steps_at_the_ends_of_what_floats_are(isa: str) -> None:
    for step in (1.1754944e-38, 3.4028234e38, 1e-30):
        quantization = Quantization(step, 100)
        x = np.array([[0, 1, -1, 1e-38, 3e38, -3e38, step, 40 * step if step < 1 else 0, np.nan]], np.float32)
        runtime = Runtime(there_and_back(x.shape, quantization))
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(runtime(x), dequantize(quantize(x, quantization), quantization))


@pytest.mark.parametrize("order", [(0, 3, 1, 2), (0, 2, 3, 1), (1, 0, 3, 2), (3, 2, 1, 0)])
@pytest.mark.parametrize("step", [1, 2])
def test_planes_that_lie_in_another_way(isa: str, order: tuple[int, ...], step: int) -> None:
    """Views of what comes in, and views of what goes out."""
    x = floats(3, 6, 5, 34)
    cut = (*x.shape[:3], x.shape[3] // step)
    shape = tuple(cut[i] for i in order)
    back = tuple(int(i) for i in np.argsort(order))
    program = chain(
        [x.shape, cut, shape, shape, shape, cut],
        [None, None, None, NORMAL, None, None],
        {"kind": "slice", "settings": Slice(3, 0, step)},
        {"kind": "permute", "settings": Order(order)},
        "quantize",
        "dequantize",
        {"kind": "permute", "settings": Order(back)},
    )
    wanted = dequantize(quantize(x[..., ::step], NORMAL), NORMAL)
    np.testing.assert_array_equal(Runtime(program)(x), wanted)


def test_what_reads_numbers_gets_them_as_it_wants_them(isa: str) -> None:
    """A softmax over rows after planes of bytes, whose rows are padded."""
    x = floats(2, 3, 4, 5)
    program = chain([x.shape] * 4, [None, NORMAL, None, None], "quantize", "dequantize", "softmax")
    numbers = dequantize(quantize(x, NORMAL), NORMAL).astype(np.float64)
    wanted = np.exp(numbers) / np.exp(numbers).sum(-1, keepdims=True)
    np.testing.assert_allclose(Runtime(program)(x), wanted, rtol=1e-5)


FINE = Quantization(0.011, 90)
OTHERS = (Quantization(0.0173, 131), Quantization(0.25, 3), Quantization(0.009, 255))


def of_bytes(
    kind: str,
    given: Sequence[tuple[np.ndarray, Quantization | None]],
    shape: Sequence[int],
    to: Quantization,
    **more: Any,
) -> Program:
    """The operation of these inputs, which are quantized of numbers where they have a quantization, as numbers."""
    count = len(given)
    values = [ValueType("f32", x.shape) for x, _ in given]
    operations, inputs = [], []
    for i, (x, of) in enumerate(given):
        inputs.append(i if of is None else len(values))
        if of is not None:
            operations.append(Operation("quantize", (i,), len(values)))
            values.append(ValueType("u8", x.shape, of))
    last = len(values)
    values += [ValueType("u8", tuple(shape), to), ValueType("f32", tuple(shape))]
    operations += [Operation(kind, tuple(inputs), last, **more), Operation("dequantize", (last,), last + 1)]
    ports = tuple(Port(f"x{i}", i) for i in range(count))
    return Program(tuple(values), ports, (Port("y", last + 1),), tuple(operations))


def check(
    kind: str,
    given: Sequence[tuple[np.ndarray, Quantization | None]],
    wanted: np.ndarray,
    to: Quantization,
    **more: Any,
) -> None:
    """The engine answers with exactly these bytes, on one thread and on two."""
    program = of_bytes(kind, given, wanted.shape, to, **more)
    numbers = [x if of is None else dequantize(x, of) for x, of in given]
    for threads in (1, 2):
        np.testing.assert_array_equal(Runtime(program, threads)(*numbers), dequantize(wanted, to))


SHAPES = [(1, 1, 1, 1), (3, 3, 5, 7), (1, 17, 5, 7), (3, 64, 1, 1), (2, 100, 9, 4), (3, 65), (2, 5, 130)]


@pytest.mark.parametrize("shape", SHAPES)
def test_sums(isa: str, shape: tuple[int, ...]) -> None:
    left, right = bytes_like(*shape), bytes_like(*shape)
    given = [(left, NORMAL), (right, COARSE)]
    for to in (FINE, Quantization(0.4, 20)):
        for activation, ends in (
            (None, {}),
            (Activation("relu"), {"low": to.zero}),
            (Activation("clamp", (0.0, 1.0)), {"low": to.zero, "high": int(quantize(np.float32(1), to))}),
        ):
            wanted = oracle.add(left, NORMAL, right, COARSE, to, **ends)
            check("quantized_add", given, wanted, to, activation=activation)


def test_a_sum_with_itself_and_into_its_place(isa: str) -> None:
    x = bytes_like(2, 20, 6, 6)
    program = chain(
        [x.shape] * 5, [None, NORMAL, COARSE, FINE, None], "quantize", RELU_MAP, "quantized_add", "dequantize"
    )
    doubled = Operation("quantized_add", (2, 2), 3)
    operations = tuple(doubled if each.kind == "quantized_add" else each for each in program.operations)
    made = Program(program.values, program.inputs, program.outputs, operations)
    relu = quantize(np.maximum(dequantize(x, NORMAL), 0), COARSE)
    wanted = dequantize(oracle.add(relu, COARSE, relu, COARSE, FINE), FINE)
    np.testing.assert_array_equal(Runtime(made)(dequantize(x, NORMAL)), wanted)


@pytest.mark.parametrize("name", ["silu", "gelu", "sigmoid", "hardswish", "log"])
def test_sums_with_another_activation(isa: str, name: str) -> None:
    """The numbers differ from those of the engine by themselves in roundings alone: by a byte at most."""
    left, right = bytes_like(2, 33, 5, 7), bytes_like(2, 33, 5, 7)
    program = of_bytes(
        "quantized_add", [(left, NORMAL), (right, NORMAL)], left.shape, FINE, activation=Activation(name)
    )
    found = quantize(Runtime(program)(dequantize(left, NORMAL), dequantize(right, NORMAL)), FINE)
    numbers = dequantize(left, NORMAL) + dequantize(right, NORMAL)
    wanted = quantize(activated(numbers, name), FINE)
    differences = np.abs(found.astype(int) - wanted)
    differences[np.abs(numbers) < 1e-5] = 0  # where a logarithm may be of 0 or of what rounding left
    assert differences.max() <= 1
    assert (differences > 0).mean() < 0.02


def activated(x: np.ndarray, name: str) -> np.ndarray:
    """As the engine has it for f32."""
    return np.asarray(
        Runtime(chain([x.shape] * 2, [None] * 2, {"kind": "activation", "activation": Activation(name)}))(x)
    )


RELU_MAP = {"kind": "quantized_map", "activation": Activation("relu")}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "activation", [Activation("relu"), Activation("silu"), Activation("log"), Activation("elu", (1.0, 1.0))]
)
def test_every_byte_by_an_activation(isa: str, shape: tuple[int, ...], activation: Activation) -> None:
    """As the engine has it for f32, whose bytes these are."""
    x = np.resize(FLOATS.permutation(256).astype(np.uint8), shape)
    activated = {"kind": "activation", "activation": activation}
    exact = chain([x.shape] * 2, [None] * 2, activated)
    wanted = quantize(Runtime(exact)(dequantize(x, NORMAL)), FINE)
    check("quantized_map", [(x, NORMAL)], wanted, FINE, activation=activation)


@pytest.mark.parametrize("rest", [(), (7,), (5, 7), (1, 1)])
def test_concatenations(isa: str, rest: tuple[int, ...]) -> None:
    for channels in ((17, 64, 3), (1,), (100, 28)):
        given = [(bytes_like(3, count, *rest), of) for count, of in zip(channels, OTHERS, strict=False)]
        for to in (NORMAL, FINE):
            check("quantized_concat", given, oracle.concat(given, to), to)


@pytest.mark.parametrize("shape", SHAPES)
def test_planes_times_gates(isa: str, shape: tuple[int, ...]) -> None:
    x = bytes_like(*shape)
    gates = floats(*shape[:2], *(1 for _ in shape[2:]))
    check("quantized_scale", [(x, NORMAL), (gates, None)], oracle.scale(x, NORMAL, gates, FINE), FINE)
    gates.flat[0] = np.nan
    gates.flat[-1] = -np.inf
    check("quantized_scale", [(x, NORMAL), (gates, None)], oracle.scale(x, NORMAL, gates, FINE), FINE)


POOLS = [
    ((5, 7), (2, 3), dict(kernel=(2, 2), stride=(2, 2))),
    ((5, 7), (3, 4), dict(kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1))),
    ((5, 7), (3, 4), dict(kernel=(2, 2), stride=(2, 2))),  # the last ones over the edge
    ((9, 8), (9, 8), dict(kernel=(5, 5), padding=(2, 2, 2, 2))),
    ((9, 11), (3, 6), dict(kernel=(3, 1), stride=(3, 2))),
    ((1, 1), (1, 1), dict(kernel=(3, 3), padding=(1, 1, 1, 1))),
    ((6, 6), (6, 6), dict(kernel=(4, 4), padding=(1, 2, 2, 1))),
]


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("size", "to", "window"), POOLS)
def test_pools(isa: str, channels: int, size: tuple[int, int], to: tuple[int, int], window: dict[str, Any]) -> None:
    x = bytes_like(3, channels, *size)
    most = Window(**window, groups=channels)
    check("quantized_max_pool", [(x, NORMAL)], oracle.max_pool(x, most, to), NORMAL, settings=most)
    for include_padding, divisor in ((True, 0), (False, 0), (True, 7)):
        mean = AverageWindow(**window, groups=channels, include_padding=include_padding, divisor=divisor)
        wanted = oracle.average_pool(x, NORMAL, mean, to, FINE)
        check("quantized_average_pool", [(x, NORMAL)], wanted, FINE, settings=mean)


def test_pools_with_holes_and_over_whole_planes(isa: str) -> None:
    x = bytes_like(2, 40, 11, 13)
    holes = Window((3, 3), (2, 1), (1, 1, 1, 1), (3, 2), groups=40)
    check("quantized_max_pool", [(x, COARSE)], oracle.max_pool(x, holes, (4, 11)), COARSE, settings=holes)
    whole = AverageWindow((11, 13), groups=40)
    wanted = oracle.average_pool(x, COARSE, whole, (1, 1), NORMAL)
    check("quantized_average_pool", [(x, COARSE)], wanted, NORMAL, settings=whole)
    sequence = bytes_like(2, 40, 30)
    pairs = AverageWindow((1, 2), (1, 2), groups=40)
    wanted = oracle.average_pool(sequence[:, :, None], COARSE, pairs, (1, 15), NORMAL)[:, :, 0]
    check("quantized_average_pool", [(sequence, COARSE)], wanted, NORMAL, settings=pairs)


def test_much_on_several_threads(isa: str) -> None:
    x, other = bytes_like(2, 33, 75, 61), bytes_like(2, 33, 75, 61)
    gates = floats(2, 33, 1, 1)
    window = Window((3, 3), (2, 2), (1, 1, 1, 1), groups=33)
    check("quantized_add", [(x, NORMAL), (other, FINE)], oracle.add(x, NORMAL, other, FINE, COARSE), COARSE)
    check("quantized_scale", [(x, NORMAL), (gates, None)], oracle.scale(x, NORMAL, gates, FINE), FINE)
    check("quantized_max_pool", [(x, NORMAL)], oracle.max_pool(x, window, (38, 31)), NORMAL, settings=window)
    given = [(x, NORMAL), (other, FINE)]
    check("quantized_concat", given, oracle.concat(given, FINE), FINE)


def test_a_file_keeps_quantizations() -> None:
    program = there_and_back(("batch", 3, "height", "width"), Quantization(0.1, 7))
    loaded = model_file.from_bytes(model_file.to_bytes(program))
    assert loaded.values == program.values
    plain = chain([("batch", 3)] * 2, [None] * 2, {"kind": "activation", "activation": Activation("relu")})
    assert "step" not in model_file.graph_to_json(plain)["values"][0]


QUANTIZED = ("batch", 4, 3, 3)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"type": "u8", "step": 0.1}, "has the step 0.1 and the zero null, not both or none"),
        ({"type": "u8", "zero": 3}, "has the step null and the zero 3, not both or none"),
        ({"type": "i8", "step": 0.1, "zero": 3}, "a value of type i8 and of 4 dimensions has a step"),
        (
            {"type": "u8", "shape": ["batch"], "step": 0.1, "zero": 3},
            "type u8 and of 1 dimensions has a step",
        ),
        ({"type": "u8", "step": 0, "zero": 3}, "has the step 0, not a positive normal number"),
        ({"type": "u8", "step": -0.5, "zero": 3}, "has the step -0.5, not a positive normal number"),
        ({"type": "u8", "step": 1e-39, "zero": 3}, "not a positive normal number"),
        ({"type": "u8", "step": 1e39, "zero": 3}, "not a positive normal number"),
        ({"type": "u8", "step": "0.1", "zero": 3}, "not a positive normal number"),
        ({"type": "u8", "step": 0.1, "zero": 256}, "has the zero 256, not 0 to 255"),
        ({"type": "u8", "step": 0.1, "zero": -1}, "has the zero -1, not 0 to 255"),
        ({"type": "u8", "step": 0.1, "zero": 1.5}, "has the zero 1.5, not 0 to 255"),
    ],
)
def test_quantizations_that_cannot_be(value: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparbor.program.graph_json._value_to_json", lambda each: changed(each, value))
    content = model_file.to_bytes(there_and_back(QUANTIZED, NORMAL))
    with pytest.raises(ModelFileError, match=text):
        model_file.from_bytes(content)


def changed(value: ValueType, entry: dict[str, Any]) -> dict[str, Any]:
    """What a file says of a value; of one that is quantized, another thing."""
    plain = {"type": value.type, "shape": value.shape}
    return plain if value.quantization is None else plain | entry


RELU = {"kind": "activation", "activation": Activation("relu")}


@pytest.mark.parametrize(
    ("quantizations", "kinds", "text"),
    [
        ([NORMAL, None], ["dequantize"], "has no quantized inputs and outputs, as 'x' is"),
        ([None, NORMAL], ["quantize"], "has no quantized inputs and outputs, as 'y' is"),
        ([None, None], ["quantize"], "it is not from f32 to a quantized value"),
        ([None, None], ["dequantize"], "it is not from a quantized value to f32"),
        ([None, NORMAL, COARSE, None], ["quantize", "quantize", "dequantize"], "it is not from f32"),
        ([None, NORMAL, None], ["quantize", RELU], "its inputs are not all f32"),
        ([None, NORMAL, NORMAL, None], ["quantize", "reshape", "dequantize"], "its inputs are quantized"),
        ([None, NORMAL, None], ["quantize", "cast"], "its inputs are quantized"),
        (
            [None, NORMAL, NORMAL, None],
            ["quantize", {"kind": "concat", "settings": Axis(1)}, "dequantize"],
            "its inputs are quantized",
        ),
        ([None, NORMAL, None], ["cast", "dequantize"], "its output is quantized"),
    ],
)
def test_operations_that_quantized_values_cannot_have(
    quantizations: list[Quantization | None], kinds: list[Any], text: str
) -> None:
    with pytest.raises(ArgumentError, match=text):
        Runtime(chain([QUANTIZED] * len(quantizations), quantizations, *kinds))


P = np.zeros((2, 4, 3, 3), np.uint8)
G = np.zeros((2, 4, 1, 1), np.float32)
TINY = Quantization(1e-30, 0)
WINDOW = Window((3, 3), groups=4)
MEAN = AverageWindow((3, 3), groups=4)


@pytest.mark.parametrize(
    ("kind", "given", "shape", "to", "more", "text"),
    [
        ("quantized_add", [(P, NORMAL), (P[:1], NORMAL)], P.shape, NORMAL, {}, "cannot take shape"),
        ("quantized_add", [(P, NORMAL), (G, None)], P.shape, NORMAL, {}, "its inputs are not all quantized"),
        ("quantized_add", [(P, NORMAL), (P, NORMAL)], P.shape, TINY, {}, "less than an input's by more than 2"),
        ("quantized_map", [(G, None)], G.shape, NORMAL, {"activation": Activation("silu")}, "not all quantized"),
        ("quantized_map", [(P, NORMAL)], (2, 4, 9), NORMAL, {"activation": Activation("silu")}, "cannot take shape"),
        ("quantized_concat", [(P, NORMAL), (P, FINE)], (2, 9, 3, 3), NORMAL, {}, "cannot take shape"),
        ("quantized_concat", [(P, NORMAL), (P, FINE)], (4, 4, 3, 3), NORMAL, {}, "cannot take shape"),
        ("quantized_concat", [(P, NORMAL), (P[0], FINE)], (2, 8, 3, 3), NORMAL, {}, "cannot take shape"),
        (
            "quantized_scale",
            [(P, NORMAL), (P, NORMAL)],
            P.shape,
            NORMAL,
            {},
            "it is not of a quantized value and an f32",
        ),
        ("quantized_scale", [(G, None), (G, None)], G.shape, NORMAL, {}, "it is not of a quantized value and an f32"),
        ("quantized_scale", [(P, NORMAL), (G[:1], None)], P.shape, NORMAL, {}, "cannot take shape"),
        ("quantized_scale", [(P, NORMAL), (G, None)], P.shape, TINY, {}, "less than an input's by more than 2"),
        ("quantized_max_pool", [(P, NORMAL)], G.shape, FINE, {"settings": WINDOW}, "another step or zero"),
        ("quantized_max_pool", [(G, None)], G.shape, FINE, {"settings": WINDOW}, "not all quantized"),
        (
            "quantized_average_pool",
            [(P, NORMAL)],
            P.shape,
            FINE,
            {"settings": MEAN},
            r"its outputs are \(1, 1\) pixels",
        ),
        ("quantized_average_pool", [(P, NORMAL)], G.shape, TINY, {"settings": MEAN}, "by more than 2"),
        ("quantized_average_pool", [(P, NORMAL)], G.shape, FINE, {"settings": AverageWindow((3, 3))}, "by itself"),
    ],
)
def test_operations_that_cannot_be(
    kind: str, given: Any, shape: tuple[int, ...], to: Quantization, more: dict[str, Any], text: str
) -> None:
    with pytest.raises(ArgumentError, match=text):
        Runtime(of_bytes(kind, given, shape, to, **more))


def test_shapes_that_do_not_fit() -> None:
    for shapes in ([(2, 3, 4), (2, 4, 3), (2, 4, 3)], [(2, 3, 4), (2, 3, 4), (2, 3, 5)]):
        with pytest.raises(ArgumentError, match="cannot take shape"):
            Runtime(chain(shapes, [None, NORMAL, None], "quantize", "dequantize"))
