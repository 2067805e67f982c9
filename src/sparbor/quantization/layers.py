"""The layers of what computes with bytes, packed from exact ones."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from sparbor.packing.filters import Filters, pack_filters_as_bytes, real_rows
from sparbor.packing.quads import QuadLayer, pack_quads
from sparbor.packing.reading_order import ReadingOrder
from sparbor.packing.slots import NEURON_BLOCK, Bools, Floats, SparseLayer
from sparbor.packing.whole_numbers import TooLargeSumError
from sparbor.program.program import Operation, Program, ScaleShift, Weights, stored_bytes
from sparbor.program.windows import Window

Kernels: TypeAlias = npt.NDArray[np.float32]  # (outputs, channels / groups, kernel height, kernel width)


class PackedConvolution(NamedTuple):
    """A layer with 8 bits, and how its convolution reads what it computes with."""

    layer: QuadLayer | Filters
    order: ReadingOrder


def packed_convolutions(exact: Program) -> tuple[dict[str, PackedConvolution], dict[str, str]]:
    """By layer, the exact program's convolutions and scales with 8 bits; and of those that refuse, why."""
    packed: dict[str, PackedConvolution] = {}
    refused: dict[str, str] = {}
    for operation in exact.operations:
        if operation.kind not in ("convolution", "scale_shift"):
            continue
        name, order = str(operation.layer), _order(exact, operation)
        outputs = exact.values[operation.output].shape[1]
        assert isinstance(outputs, int)  # as the weights have them
        try:
            packed[name] = PackedConvolution(_packed(exact.layers[name], order, outputs), order)
        except TooLargeSumError as error:
            refused[name] = f"no 8 bits: {error.fault}"
    return packed, refused


def _order(program: Program, operation: Operation) -> ReadingOrder:
    channels = program.values[operation.inputs[0]].shape[1]
    assert isinstance(channels, int)  # as the weights have them
    if isinstance(operation.settings, Window):
        window = operation.settings
        return ReadingOrder(channels, window.kernel, window.dilation, window.groups)
    return ReadingOrder(channels, (1, 1), groups=channels)  # a scale: each channel by itself, by one weight


def _packed(layer: Weights, order: ReadingOrder, outputs: int) -> QuadLayer | Filters:
    """Sparse or dense, whichever takes fewer bytes; one by one, channels are dense, since they share no branches."""
    kernels, mask, bias = exact_kernels(layer, order, outputs)
    dense = pack_filters_as_bytes(np.where(mask, kernels, np.float32(0)), bias)
    if order.groups == order.channels == outputs:
        return dense
    sparse = pack_quads(order.matrix(kernels), order.matrix(mask), bias)
    may_be_dense = order.groups == 1 or outputs // order.groups % NEURON_BLOCK == 0
    return dense if may_be_dense and stored_bytes(dense) <= stored_bytes(sparse) else sparse


def exact_kernels(layer: Weights, order: ReadingOrder, outputs: int) -> tuple[Kernels, Bools, Floats | None]:
    """The weights that a convolution or a scale computes with, their mask, and the bias."""
    shape = (outputs, order.channels // order.groups, *order.kernel)
    if isinstance(layer, ScaleShift):
        scale = layer.scale.reshape(shape)
        return scale, scale != 0, layer.shift
    assert isinstance(layer, SparseLayer | Filters)
    (rows, mask), bias = layer.unpack(), layer.bias
    if isinstance(layer, SparseLayer):  # it has rows that only fill groups of neurons
        real = real_rows(outputs, order.groups)
        return rows[real].reshape(shape), mask[real].reshape(shape), None if bias is None else bias[real]
    return rows.reshape(shape), (rows != 0).reshape(shape), bias


def packed_kernels(packed: PackedConvolution) -> Kernels:
    """The weights that a packed convolution computes with."""
    layer, order = packed
    rows, _ = layer.unpack()
    if isinstance(layer, QuadLayer):
        return order.weight(rows)
    return rows.reshape(layer.outputs, order.channels // order.groups, *order.kernel)
