"""ONNX files deployed on the engine: every operator, whole networks of several exporters, and what is refused."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto

import sparbor
from sparbor.onnx_import.table import OPERATORS
from tests.onnx_operators import FAMILIES, Case, inputs, model_of

ALIKE = 1e-4
WITH_ROUNDING = 0.01  # of halves and bytes within, which ONNX Runtime rounds and the engine does not

Arrays = Mapping[str, np.ndarray]


def session(model: ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def original(model: ModelProto, given: Arrays) -> dict[str, np.ndarray]:
    names = [each.name for each in model.graph.output]
    return dict(zip(names, session(model).run(None, dict(given)), strict=True))


def answers(runtime: sparbor.Runtime, given: Arrays) -> dict[str, np.ndarray]:
    found = runtime(*(given[port.name] for port in runtime.inputs))
    return found if isinstance(found, dict) else {runtime.outputs[0].name: found}


def check(runtime: sparbor.Runtime, model: ModelProto, given: Arrays, within: float = ALIKE) -> None:
    """The engine answers as ONNX Runtime does, in the same types but for double precision."""
    expected, found = original(model, given), answers(runtime, given)
    for name, answer in found.items():
        wanted = expected[name]
        assert answer.shape == wanted.shape, name
        assert answer.dtype == (np.float32 if wanted.dtype in (np.float64, np.float16) else wanted.dtype), name
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(
                answer, wanted, ALIKE, within * max(1, np.abs(wanted).max(initial=0)), err_msg=name
            )
        else:
            np.testing.assert_array_equal(answer, wanted, err_msg=name)


def _groups() -> Iterator[Any]:
    """Cases of one family and operator set together: a model for each would take as long again for each."""
    for family, cases in FAMILIES.items():
        by_opset = sorted(cases.values(), key=lambda case: case.opset)
        for opset, group in groupby(by_opset, key=lambda case: case.opset):
            yield pytest.param(list(group), (2 if family.endswith("several items") else 1, 3), id=f"{family}, {opset}")


@pytest.mark.parametrize(("cases", "counts"), list(_groups()))
def test_operators(cases: Sequence[Case], counts: Sequence[int]) -> None:
    model = model_of(cases)
    names = [port.name for port in model.graph.input]
    runtime = sparbor.from_onnx(model, {name: inputs(4)[name] for name in names}, weights="exact")
    assert {port.shape[0] for port in runtime.inputs} == {"batch"}
    rounds = any(word in case.text for case in cases for word in ("Quantize", "Dequantize", "to = 10"))
    for count in counts:
        check(runtime, model, {name: inputs(count)[name] for name in names}, WITH_ROUNDING if rounds else ALIKE)


def test_every_operator_is_in_a_case() -> None:
    text = " ".join(case.text for cases in FAMILIES.values() for case in cases.values())
    words = set(text.replace("(", " ").replace("<", " ").split())
    elsewhere = {"Imputer", "ZipMap", "Saturate"}
    assert {kind.rpartition(".")[2] for kind in OPERATORS} - {word.rpartition(".")[2] for word in words} == elsewhere
