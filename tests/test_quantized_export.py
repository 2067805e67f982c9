"""Operations on bytes in ONNX files and in C: answers within a step of the engine's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError
from sparbor.export.c.target import export_c
from sparbor.export.onnx.target import to_onnx
from sparbor.packing.filters import Filters, pack_filters_as_bytes
from sparbor.packing.quads import QuadLayer
from sparbor.program.program import Activation, Operation, Port, Program, Quantization, ValueType, Weights
from sparbor.program.windows import AverageWindow, Window
from tests import quantized_oracle as oracle
from tests.c_programs import MACHINES, Compiled, build, scores
from tests.kernel_sets import BYTE_DOTS
from tests.layers import random_mask
from tests.quantized_convolutions import Case, X, as_bytes, as_numbers, expected_bytes, pack_case, whole_weights
from tests.quantized_network import INPUT, network_program
from tests.window_steps import steps

SAME = Window((3, 3), padding=(1, 1, 1, 1))
SILU = Activation("silu")
CASES = {
    "3 x 3": Case(20, 40, SAME, activation=Activation("relu")),
    "residual": Case(40, 40, SAME, activation=Activation("relu"), residual=X),
    "stride": Case(3, 18, Window((7, 7), (2, 2), (3, 3, 3, 3)), activation=Activation("clamp", (0.0, 6.0))),
    "1 x 1": Case(70, 33, Window((1, 1)), activation=SILU),
    "groups": Case(24, 36, dataclasses.replace(SAME, groups=3)),
    "depthwise": Case(18, 18, dataclasses.replace(SAME, groups=18), residual=X, activation=SILU),
    "dilation": Case(9, 20, Window((3, 3), padding=(2, 2, 2, 2), dilation=(2, 2))),
    "one dimension": Case(9, 20, Window((1, 5), (1, 2), (0, 2, 0, 1)), size=(11,)),
}


def layer_of(case: Case, dense: bool) -> Weights:
    rng = np.random.default_rng(case.outputs)
    weight = rng.standard_normal(case.weight_shape()).astype(np.float32)
    weight /= np.sqrt(weight[0].size).astype(np.float32)
    bias = rng.standard_normal(case.outputs).astype(np.float32)
    if dense:
        return pack_filters_as_bytes(weight, bias)
    return pack_case(case, weight, random_mask(rng, len(weight), weight[0].size, 0.4).reshape(weight.shape), bias)


def inputs_of(case: Case, items: int) -> dict[str, np.ndarray]:
    """Numbers that are just bytes, so that no runtime rounds them another way."""
    rng = np.random.default_rng(1)
    x = {"x": as_numbers(rng.integers(0, 256, (items, case.channels, *case.size)), case.x)}
    if case.residual is not None:
        residual = rng.integers(0, 256, (items, case.outputs, *case.pixels()))
        x["residual"] = as_numbers(residual, case.residual)
    return x


def in_onnxruntime(program: Program, x: dict[str, np.ndarray], fused: bool) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = to_onnx(program).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(None, x)[0]
    return answer


def assert_nearly_the_same(found: np.ndarray, wanted: np.ndarray, y: Quantization, others: float = 0.01) -> None:
    """A few bytes, of which there are as many as a part of all, may be one away."""
    steps = np.abs(np.rint((found - wanted) / np.float32(y.step)))
    assert found.shape == wanted.shape
    assert len(np.unique(wanted)) > 20
    assert steps.max() <= 1
    assert (steps > 0).mean() <= others


def answer_of(case: Case, layer: Weights, x: dict[str, np.ndarray]) -> np.ndarray:
    """NumPy's, which the engine's equal to the last bit."""
    if isinstance(layer, QuadLayer):
        weight = whole_weights(case, layer)
    else:
        assert isinstance(layer, Filters)
        weight = layer.whole_weights().reshape(case.weight_shape()).astype(np.float64)
    residual = None if case.residual is None else as_bytes(x["residual"], case.residual)
    return as_numbers(expected_bytes(case, layer, weight, as_bytes(x["x"], case.x), residual), case.y)


no_room = pytest.mark.skipif(not BYTE_DOTS, reason="ONNX Runtime has no room for sums of products of bytes here")
FUSED = [False, pytest.param(True, marks=no_room)]


@pytest.mark.parametrize("fused", FUSED)
@pytest.mark.parametrize("dense", [False, True], ids=["sparse", "dense"])
@pytest.mark.parametrize("name", CASES)
def test_convolutions_in_onnx(name: str, dense: bool, fused: bool) -> None:
    case = CASES[name]
    layer, x = layer_of(case, dense), inputs_of(case, 2)
    found = in_onnxruntime(case.program(layer), x, fused)
    assert_nearly_the_same(found, answer_of(case, layer, x), case.y)


@pytest.mark.parametrize("dense", [False, True], ids=["sparse", "dense"])
@pytest.mark.parametrize("name", CASES)
def test_convolutions_in_c(name: str, dense: bool, tmp_path: Path) -> None:
    case = CASES[name]
    layer, x = layer_of(case, dense), inputs_of(case, 2)
    program = case.program(layer)
    if case.residual is not None:  # an export to C has one input: the sum is with that
        x["residual"] = x["x"]
        program = dataclasses.replace(case, residual=None).program(layer)
        first, convolution, last = program.operations
        program = dataclasses.replace(
            program, operations=(first, dataclasses.replace(convolution, inputs=(1, 1)), last)
        )
    found = Compiled(program, tmp_path)(x["x"])
    assert_nearly_the_same(found, answer_of(case, layer, x), case.y)


Y, Z, FINE = Quantization(0.031, 110), Quantization(0.07, 60), Quantization(0.01, 128)
PLANE = (18, 6, 7)
AROUND = (1, 1, 1, 1)
MEANS = {
    "average, all": AverageWindow((6, 7), groups=18),
    "average, padded": AverageWindow((3, 3), (2, 2), AROUND, groups=18),
    "average, of pixels": AverageWindow((3, 3), (2, 2), AROUND, groups=18, include_padding=False),
    "average, by five": AverageWindow((2, 3), (2, 1), groups=18, divisor=5),
}
LARGEST = {
    "max": Window((2, 2), (2, 2), groups=18),
    "max, padded": Window((3, 3), (2, 2), AROUND, groups=18),
    "max, dilated": Window((2, 2), dilation=(2, 3), groups=18),
}


@dataclass(frozen=True)
class Made:
    """A program from planes of floats, as bytes by X and by Z, through an operation on those; and what it answers."""

    program: Program
    wanted: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # of the floats and the bytes by X and by Z


def made(kind: str, y: Quantization, shape: tuple[int, ...], wanted: Any, **fields: Any) -> Made:
    """With the kind's first inputs; a scale's second is the means of the floats' planes."""
    one, other, means = 1, 2, 3
    inputs = {"quantized_scale": (one, means), "quantized_add": (one, other), "quantized_concat": (one, other, one)}
    types = [("f32", PLANE, None), ("u8", PLANE, X), ("u8", PLANE, Z), ("f32", (18, 1, 1), None), ("u8", shape, y)]
    values = [ValueType(kind, ("batch", *size), by) for kind, size, by in (*types, ("f32", shape, None))]
    operations = (
        Operation("quantize", (0,), one),
        Operation("quantize", (0,), other),
        Operation("adaptive_average_pool", (0,), means),
        Operation(kind, inputs.get(kind, (one,)), 4, **fields),
        Operation("dequantize", (4,), 5),
    )
    return Made(Program(tuple(values), (Port("x", 0),), (Port("y", 5),), operations), wanted)


def mean_pool(window: AverageWindow) -> Made:
    size = steps(window, *PLANE[1:])
    return made(
        *("quantized_average_pool", Y, (18, *size)),
        lambda x, one, other: oracle.average_pool(one, X, window, size, Y),
        settings=window,
    )


def max_pool(window: Window) -> Made:
    size = steps(window, *PLANE[1:])
    return made(
        *("quantized_max_pool", X, (18, *size)),
        lambda x, one, other: oracle.max_pool(one, window, size),
        settings=window,
    )


def scaled(x: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return oracle.scale(one, X, x.mean((2, 3), keepdims=True), FINE)


PROGRAMS = {
    **{name: mean_pool(window) for name, window in MEANS.items()},
    **{name: max_pool(window) for name, window in LARGEST.items()},
    "add": made("quantized_add", Y, PLANE, lambda x, one, other: oracle.add(one, X, other, Z, Y)),
    "add, relu": made(
        *("quantized_add", Y, PLANE),
        lambda x, one, other: oracle.add(one, X, other, Z, Y, low=Y.zero),
        activation=Activation("relu"),
    ),
    "concat": made(
        *("quantized_concat", Y, (54, *PLANE[1:])),
        lambda x, one, other: oracle.concat([(one, X), (other, Z), (one, X)], Y),
    ),
    "map": made(
        *("quantized_map", FINE, PLANE),
        lambda x, one, other: oracle.quantize(np.tanh(oracle.dequantize(one, X)), FINE),
        activation=Activation("tanh"),
    ),
    "scale": made("quantized_scale", FINE, PLANE, scaled),
}


def assert_answers(name: str, run: Callable[[Program, np.ndarray], np.ndarray]) -> None:
    case = PROGRAMS[name]
    x = np.random.default_rng(0).standard_normal((2, *PLANE)).astype(np.float32) * 2
    to = case.program.values[4].quantization
    assert to is not None
    wanted = oracle.dequantize(case.wanted(x, oracle.quantize(x, X), oracle.quantize(x, Z)), to)
    assert_nearly_the_same(run(case.program, x), wanted, to, 0.02)


@pytest.mark.parametrize("name", PROGRAMS)
def test_operations_in_c(name: str, tmp_path: Path) -> None:
    assert_answers(name, lambda program, x: Compiled(program, tmp_path)(x))


@pytest.mark.parametrize("fused", FUSED)
@pytest.mark.parametrize("name", PROGRAMS)
def test_operations_in_onnx(name: str, fused: bool) -> None:
    assert_answers(name, lambda program, x: in_onnxruntime(program, {"x": x}, fused))


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_a_network_on_other_machines(machine: str, tmp_path: Path) -> None:
    """Whole numbers are the same on all; what is computed in floats may differ by a rounding."""
    program = network_program()
    here = Compiled(program, tmp_path / "here")
    x = np.random.default_rng(0).standard_normal((1, *INPUT)).astype(np.float32)
    export_c(program, tmp_path / "there")
    command = build(tmp_path / "there", machine)
    (tmp_path / "image").write_bytes(x.tobytes())
    wanted = here(x)[0]
    assert np.abs(scores(command, tmp_path / "image")[0] - wanted).max() < 0.01 * np.abs(wanted).max()


def test_a_network_is_nearly_the_same_in_c_and_in_onnx(tmp_path: Path) -> None:
    program = network_program()
    x = np.random.default_rng(0).standard_normal((3, *INPUT)).astype(np.float32)
    wanted = Runtime(program)(x)
    for found in (Compiled(program, tmp_path)(x), in_onnxruntime(program, {"input": x}, fused=BYTE_DOTS)):
        assert np.abs(found - wanted).max() < 0.03 * np.abs(wanted).max()


def test_bytes_that_c_cannot_take_are_named(tmp_path: Path) -> None:
    """Those that go in or out, and those of an operation that does not know what they stand for."""
    plane = ValueType("u8", ("batch", 4, 3, 3), X)
    values = (ValueType("f32", plane.shape), plane, ValueType("u8", ("batch", 36), X))
    there = Operation("quantize", (0,), 1), Operation("reshape", (1,), 2)
    for end, text in (
        (1, "'y' is u8: the target c takes and returns f32"),
        (2, "'reshape' has the value 1 of type u8"),
    ):
        program = Program(values[: end + 1], (Port("x", 0),), (Port("y", end),), there[:end])
        with pytest.raises(ArgumentError, match=text):
            export_c(program, tmp_path / "out")
    assert not (tmp_path / "out").exists()
