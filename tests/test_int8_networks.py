"""Networks as people write them, deployed with 8 bits and exported: in C and in ONNX they answer as on the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import sparbor
from sparbor.train.perforator import perforate
from tests.c_programs import Compiled
from tests.kernel_sets import BYTE_DOTS
from tests.networks import EXPORTED, NETWORKS, settled
from tests.test_quantized_export import in_onnxruntime

# How far the answers of an export may be from the engine's, as a share of the largest. C has the same whole numbers.
# ONNX Runtime rounds sums in another way, and every byte that differs by one moves what is computed of it.
IN_C, IN_ONNX = 1e-3, 0.02
LARGE = ("resnet18-cifar",)  # of the operators of resnet18


@pytest.fixture(autouse=True)
def _portable(monkeypatch: pytest.MonkeyPatch) -> None:
    """C code and the portable kernels read inputs of linear layers in 8 bits; some other sets do in 7."""
    monkeypatch.setenv("SPARBOR_ISA", "portable")


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
    in_c = Compiled(runtime.program, tmp_path, "-O0")(x)
    in_onnx = in_onnxruntime(runtime.program, {"input": x}, fused=BYTE_DOTS)
    for found, tolerance in ((in_c, IN_C), (in_onnx, IN_ONNX)):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=tolerance * np.abs(wanted).max())
