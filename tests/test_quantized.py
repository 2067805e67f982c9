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
from tests.quantized_oracle import dequantize, quantize

NORMAL = Quantization(0.0173, 131)
COARSE = Quantization(0.25, 3)
FLOATS = np.random.default_rng(9)
CHANNELS = (1, 3, 17, 64, 100)
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
            "a value of type u8 and of 1 dimensions has a step",
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


def test_shapes_that_do_not_fit() -> None:
    for shapes in ([(2, 3, 4), (2, 4, 3), (2, 4, 3)], [(2, 3, 4), (2, 3, 4), (2, 3, 5)]):
        with pytest.raises(ArgumentError, match="cannot take shape"):
            Runtime(chain(shapes, [None, NORMAL, None], "quantize", "dequantize"))
