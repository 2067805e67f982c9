"""`deploy(weights="int8", calibration=...)`: what is rounded, by which ranges, and how far that moves the answers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sparbor
from bench.inference import models
from sparbor.engine.runtime import kernel_sets
from sparbor.errors import ArgumentError
from sparbor.program.program import Operation, Port, Program, Quantization, ValueType
from sparbor.program.windows import Window
from sparbor.quantization import quantizing
from sparbor.quantization.choice import Wiring, chosen
from sparbor.quantization.ranges import Range, best_quantization, quantization_of, quantizations, ranges, rounded
from tests.deploying import Function, relative_error


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def convolution(channels: int, outputs: int, kernel: int = 3, **settings: int) -> nn.Conv2d:
    return nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, **settings)


def residual(x: Tensor, first: nn.Module, inner: nn.Module, last: nn.Module) -> Tensor:
    x = torch.relu(first(x))
    return torch.relu(x + last(torch.relu(inner(x))))


def gated(x: Tensor, first: nn.Module, squeeze: nn.Module, excite: nn.Module, last: nn.Module) -> Tensor:
    x = nn.functional.silu(first(x))
    gate = torch.sigmoid(excite(nn.functional.silu(squeeze(nn.functional.adaptive_avg_pool2d(x, 1)))))
    return last(x * gate)


def concatenated(x: Tensor, first: nn.Module, inner: nn.Module, up: nn.Module, last: nn.Module) -> Tensor:
    x = torch.relu(first(x))
    inside = torch.relu(inner(nn.functional.max_pool2d(x, 2)))
    return last(torch.cat([x, up(inside)], 1))


def normalised_after(x: Tensor, first: nn.Module, norm: nn.Module, last: nn.Module) -> Tensor:
    """The batch norm cannot join the convolution, which has two readers."""
    x = first(x)
    return last(torch.relu(norm(x))) + x


def sequence(x: Tensor, first: nn.Module, last: nn.Module) -> Tensor:
    return last(nn.functional.avg_pool1d(torch.relu(first(x)), 2))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], dict[str, int]]] = {
    "residual": (
        lambda: Function(residual, convolution(3, 32), convolution(32, 32), convolution(32, 32)),
        (3, 12, 12),
        {"quantize": 1, "quantized_convolution": 3, "dequantize": 1},
    ),
    "gated": (
        lambda: Function(gated, convolution(3, 48), nn.Conv2d(48, 8, 1), nn.Conv2d(8, 48, 1), convolution(48, 32)),
        (3, 12, 12),
        {
            **{"quantize": 1, "quantized_convolution": 2, "quantized_average_pool": 1, "quantized_scale": 1},
            **{"convolution": 2, "dequantize": 2},
        },
    ),
    "concatenated": (
        lambda: Function(
            concatenated,
            *(convolution(3, 32), convolution(32, 48), nn.ConvTranspose2d(48, 32, 2, 2), convolution(64, 32)),
        ),
        (3, 12, 12),
        {
            **{"quantize": 2, "quantized_convolution": 3, "quantized_max_pool": 1, "quantized_concat": 1},
            **{"dequantize": 2, "convolution": 1},
        },
    ),
    "normalised after": (
        lambda: Function(normalised_after, convolution(3, 32), nn.BatchNorm2d(32), convolution(32, 32)),
        (3, 12, 12),
        {"quantize": 1, "quantized_convolution": 3, "dequantize": 1},
    ),
    "sequence": (
        lambda: Function(sequence, nn.Conv1d(16, 48, 5, padding=2), nn.Conv1d(48, 32, 3, dilation=2)),
        (16, 40),
        {"quantize": 1, "quantized_convolution": 2, "quantized_average_pool": 1, "dequantize": 1},
    ),
    "groups": (
        lambda: nn.Sequential(
            *(convolution(3, 32), nn.ReLU6(), convolution(32, 32, groups=32), nn.ReLU6(), convolution(32, 64, groups=4)),
            *(nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
        ),
        (3, 12, 12),
        {
            **{"quantize": 1, "quantized_convolution": 3, "quantized_average_pool": 1, "dequantize": 1},
            **{"reshape": 1, "linear": 1},
        },
    ),
}


def sparse(build: Callable[[], nn.Module]) -> nn.Module:
    """With masks and weights that look like trained ones."""
    torch.manual_seed(0)
    model = build()
    models.make_sparse(model, 0.7, "varying")
    return model.eval()


@pytest.mark.parametrize("is_sparse", [True, False], ids=["sparse", "dense"])
@pytest.mark.parametrize("name", MODELS)
def test_what_is_in_bytes_and_how_far_answers_move(
    name: str, is_sparse: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, shape, kinds = MODELS[name]
    model = sparse(build) if is_sparse else build().eval()
    x = noise(6, *shape)
    with torch.no_grad():
        wanted = model(x)
    runtime = sparbor.deploy(model, x[:1], weights="int8", calibration=[x[:4], x[4:]])
    assert Counter(operation.kind for operation in runtime.program.operations) == kinds
    report = runtime.quantization
    assert report is not None
    assert 1e-4 < report.error < 0.05
    assert report.error == pytest.approx(relative_error(runtime(x), wanted), rel=0.01)
    assert len(report.in_8_bits) >= kinds["quantized_convolution"]
    file = tmp_path / "model.safetensors"
    runtime.save(file)
    for isa in kernel_sets():
        monkeypatch.setenv("SPARBOR_ISA", isa)
        assert relative_error(sparbor.load(file)(x), wanted) < 0.05
    described = {layer.name: layer for layer in sparbor.load(file).describe()}
    for layer, why in report.kept.items():
        assert described[layer].note == why
        assert described[layer].weights != "int8"
    assert all(described[layer].weights == "int8" for layer in report.in_8_bits if layer in described)
