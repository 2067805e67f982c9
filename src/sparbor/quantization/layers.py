"""The layers of what computes with bytes, packed from exact ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.packing.filters import Filters, real_rows
from sparbor.packing.quads import QUAD_BRANCH, QuadLayer, pack_quads
from sparbor.packing.slots import Bools, Floats, SparseLayer
from sparbor.program.program import Operation, Program, ScaleShift, Weights
from sparbor.program.windows import Window


def packed_convolutions(exact: Program) -> tuple[dict[str, Weights], dict[str, str]]:
    """By layer, the exact program's convolutions and scales with 8 bits; and of those that refuse, why."""
    packed: dict[str, Weights] = {}
    refused: dict[str, str] = {}
    for operation in exact.operations:
        if operation.kind not in ("convolution", "scale_shift"):
            continue
        name = str(operation.layer)
        try:
            packed[name] = _packed(exact, operation, exact.layers[name])
        except ArgumentError as error:
            refused[name] = f"no 8 bits: {error}"
    return packed, refused


def _packed(program: Program, operation: Operation, layer: Weights) -> Weights:
    if isinstance(layer, ScaleShift):
        channels = Window((1, 1), groups=len(layer.scale))
        return _quads(layer.scale[:, None], layer.scale[:, None] != 0, layer.shift, channels)
    assert isinstance(layer, SparseLayer | Filters)
    window, outputs = operation.settings_as(Window), program.values[operation.output].shape[1]
    assert isinstance(outputs, int)  # as the weights have them
    weight, mask = layer.unpack()
    if isinstance(layer, Filters):
        return _quads(weight, weight != 0, layer.bias, window)
    real = real_rows(outputs, window.groups)
    return _quads(weight[real], mask[real], None if layer.bias is None else layer.bias[real], window)


def _quads(weight: Floats, mask: Bools, bias: Floats | None, window: Window) -> QuadLayer:
    return pack_quads(in_reading_order(weight, window), in_reading_order(mask, window), bias)


def in_reading_order(rows: Any, window: Window) -> Any:
    outputs, (down, across), groups = len(rows), window.kernel, window.groups
    kernels = rows.reshape(outputs, -1, down, across)
    each, channels = kernels.shape[1], kernels.shape[1] * groups
    spread = np.zeros((outputs, down, across, channels), rows.dtype)
    for group in range(groups):
        o = slice(group * outputs // groups, (group + 1) * outputs // groups)
        spread[o, :, :, group * each : (group + 1) * each] = kernels[o].transpose(0, 2, 3, 1)
    parts = spread.reshape(outputs, down, -1) if window.dilation[1] == 1 else spread.reshape(outputs, -1, channels)
    filled = np.pad(parts, ((0, 0), (0, 0), (0, -parts.shape[2] % QUAD_BRANCH)))
    return np.ascontiguousarray(filled.reshape(outputs, -1))
