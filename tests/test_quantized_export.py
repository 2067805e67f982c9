"""Operations on bytes in ONNX files and in C: answers within a step of the engine's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from sparbor.export.onnx.target import to_onnx
from sparbor.packing.filters import Filters, pack_filters_as_bytes
from sparbor.packing.quads import QuadLayer
from sparbor.program.program import Activation, Program, Quantization, Weights
from sparbor.program.windows import Window
from tests.c_programs import Compiled
from tests.layers import random_mask
from tests.quantized_convolutions import Case, X, as_bytes, as_numbers, expected_bytes, pack_case, whole_weights

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
    answer: np.ndarray = session.run(["y"], x)[0]
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


@pytest.mark.parametrize("fused", [False, True])
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
