"""Networks as people write them, deployed with 8 bits and exported: in C and in ONNX they answer as on the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import sparbor
from sparbor.export.onnx.target import to_onnx
from sparbor.program.program import Program
from sparbor.train.perforator import perforate
from tests.c_programs import Compiled
from tests.kernel_sets import BYTE_DOTS
from tests.networks import EXPORTED, NETWORKS, settled

# How far the answers of an export may be from the engine's, as a share of the largest. C has the same whole numbers.
# ONNX Runtime rounds sums in another way, and every byte that differs by one moves what is computed of it.
IN_C, IN_ONNX = 1e-3, 0.02
LARGE = ("resnet18-cifar",)  # of the operators of resnet18


@pytest.fixture(autouse=True)
def _portable(monkeypatch: pytest.MonkeyPatch) -> None:
    """C code and the portable kernels read inputs of linear layers in 8 bits; some other sets do in 7."""
    monkeypatch.setenv("SPARBOR_ISA", "portable")


def onnx_session(program: Program) -> onnxruntime.InferenceSession:
    """As a user would run it, where that gives the right numbers."""
    options = onnxruntime.SessionOptions()
    if not BYTE_DOTS:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(to_onnx(program).SerializeToString(), options)


@pytest.mark.parametrize("name", [name for name in EXPORTED if name not in LARGE])
def test_a_network_of_bytes_answers_as_on_the_engine(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    model = build()
    perforate(model, torch.optim.SGD(model.parameters(), lr=0.1), sparbor.Recipe(sparsity=0.7), total_steps=1)
    calibration = torch.randn(8, *shape, generator=torch.Generator().manual_seed(1))
    runtime = sparbor.deploy(settled(model), calibration[:1], weights="int8", calibration=[calibration])
    assert any(operation.kind == "quantized_convolution" for operation in runtime.program.operations)
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(2)).numpy()
    wanted = runtime(x)
    session = onnx_session(runtime.program)
    in_c, (in_onnx,) = Compiled(runtime.program, tmp_path, "-O0")(x), session.run(None, {"input": x})
    for found, tolerance in ((in_c, IN_C), (in_onnx, IN_ONNX)):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=tolerance * np.abs(wanted).max())
