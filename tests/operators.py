"""Programs of one operation, and what they must answer: for tests of operators, one file a family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest

from sparbor.engine.runtime import Runtime
from sparbor.export.onnx.target import to_onnx
from sparbor.program.program import DTYPES, Operation, Order, Port, Program, Slice, ValueType
from tests.kernel_sets import KERNEL_SETS

RANDOM = np.random.default_rng(5)
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@pytest.fixture(params=KERNEL_SETS)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SPARBOR_ISA", request.param)
    return str(request.param)


def floats(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def wholes(*shape: int, low: int = -50, high: int = 50, dtype: str = "int64") -> np.ndarray:
    return RANDOM.integers(low, high, shape).astype(dtype)


def of_type(kind: str, *shape: int) -> np.ndarray:
    """Numbers of one of the types that values have."""
    if kind == "f32":
        return floats(*shape)
    low, high = {"bool": (0, 2), "u8": (0, 256), "i8": (-128, 128)}.get(kind, (-50, 50))
    return wholes(*shape, low=low, high=high, dtype=DTYPES[kind])


def value(array: np.ndarray) -> ValueType:
    return ValueType(NAMES[str(array.dtype)], tuple(array.shape))


def of_one(kind: str, inputs: Sequence[np.ndarray], wanted: np.ndarray, **more: Any) -> Program:
    """The operation of these inputs; `layer` is its layer itself."""
    layer = more.pop("layer", None)
    count = len(inputs)
    operation = Operation(kind, tuple(range(count)), count, None if layer is None else "layer", **more)
    ports = tuple(Port(f"x{number}", number) for number in range(count))
    values = (*map(value, inputs), value(wanted))
    return Program(values, ports, (Port("y", count),), (operation,), {} if layer is None else {"layer": layer})


def strided(kind: str, inputs: Sequence[np.ndarray], wanted: np.ndarray, how: str, **more: Any) -> tuple[Program, Any]:
    """The same of inputs that are turned, or cut from larger ones, within the program; and what is given then."""
    plain = of_one(kind, inputs, wanted, **more)
    values, operations, given = [], [], []
    for number, array in enumerate(inputs):
        axes = tuple(range(array.ndim))
        if how == "turned":
            source = np.ascontiguousarray(array.transpose(axes[::-1]))
            look = Operation("permute", (number,), number + 100, settings=Order(axes[::-1]))
        else:
            axis = array.ndim - 1
            source = np.zeros((*array.shape[:-1], 2 * array.shape[-1] + 1), array.dtype)
            source[..., 1::2] = array
            look = Operation("slice", (number,), number + 100, settings=Slice(axis, 1, 2))
        values.append(value(source))
        given.append(source)
        operations.append(look)
    count = len(inputs)
    looks = [Operation(each.kind, each.inputs, count + i, settings=each.settings) for i, each in enumerate(operations)]
    (last,) = plain.operations
    last = Operation(kind, tuple(range(count, 2 * count)), 2 * count, last.layer, last.activation, last.settings)
    everything = (*values, *plain.values[:count], plain.values[count])
    made = Program(everything, plain.inputs, (Port("y", 2 * count),), (*looks, last), plain.layers)
    return made, given


def check(
    kind: str,
    inputs: Sequence[np.ndarray],
    wanted: np.ndarray,
    *,
    tolerance: float = 1e-6,
    exported: bool = True,
    views: bool = True,
    **more: Any,
) -> None:
    """The engine answers as NumPy does, however its inputs lie, and so does ONNX Runtime."""
    plain = of_one(kind, inputs, wanted, **more)
    ways = [(plain, list(inputs))]
    if views and all(array.ndim for array in inputs):
        ways += [strided(kind, inputs, wanted, how, **more) for how in ("turned", "cut")]
    for made, given in ways:
        same(Runtime(made)(*given), wanted, tolerance)
    if exported:
        same(in_onnx(plain, inputs), wanted, max(tolerance, 1e-5))


def in_onnx(program: Program, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """What ONNX Runtime answers."""
    session = onnxruntime.InferenceSession(to_onnx(program).SerializeToString())
    given = {port.name: array for port, array in zip(program.inputs, inputs, strict=True)}
    return np.asarray(session.run(None, given)[0])


def same(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    if wanted.dtype == np.float32:
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(found, wanted)
