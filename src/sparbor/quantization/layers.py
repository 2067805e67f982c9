"""The layers of what computes with bytes, packed from exact ones."""

from __future__ import annotations

from sparbor.errors import ArgumentError
from sparbor.packing.filters import Filters, real_rows
from sparbor.packing.quads import QuadLayer, pack_quads
from sparbor.packing.reading_order import ReadingOrder
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
    if isinstance(layer, ScaleShift):  # a convolution of each channel by itself, whose kernel has one weight
        scale = layer.scale[:, None]
        return _quads(scale, scale != 0, layer.shift, Window((1, 1), groups=len(scale)))
    assert isinstance(layer, SparseLayer | Filters)
    window, outputs = operation.settings_as(Window), program.values[operation.output].shape[1]
    assert isinstance(outputs, int)  # as the weights have them
    weight, mask = layer.unpack()
    if isinstance(layer, Filters):
        return _quads(weight, weight != 0, layer.bias, window)
    real = real_rows(outputs, window.groups)
    return _quads(weight[real], mask[real], None if layer.bias is None else layer.bias[real], window)


def _quads(weight: Floats, mask: Bools, bias: Floats | None, window: Window) -> QuadLayer:
    """Of a matrix of kernels, its mask and its bias."""
    kernels = (len(weight), -1, *window.kernel)
    weight, mask = weight.reshape(kernels), mask.reshape(kernels)
    order = ReadingOrder(weight.shape[1] * window.groups, window.kernel, window.dilation, window.groups)
    return pack_quads(order.matrix(weight), order.matrix(mask), bias)
