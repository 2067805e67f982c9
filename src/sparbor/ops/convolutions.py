"""Convolutions of one and two dimensions, and transposed ones.

A transposed convolution is one of stride 1 over its upsampled input, with each kernel turned around.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.ops.arguments import Argument, Constant, Padded, Value, refuse
from sparbor.ops.onnx_weights import OnnxWeights, Rows
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.pairs import check_is_flat, last, pair, sides
from sparbor.ops.targets import Graph, OnnxGraph, Writer
from sparbor.packing.filters import real_rows
from sparbor.packing.quads import QuadLayer
from sparbor.packing.reading_order import ReadingOrder
from sparbor.packing.slots import SparseLayer
from sparbor.program.program import Operation
from sparbor.program.windows import Pair, Window

if TYPE_CHECKING:
    from torch.fx import Node


# From PyTorch.


def convolution(
    graph: Graph,
    node: Node,
    x: Argument,
    weight: Argument,
    bias: Argument,
    stride: Sequence[int],
    padding: Sequence[int] | str,
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Value:
    """A convolution of as many dimensions as its weight says."""
    if not isinstance(weight, Constant) or not (bias is None or isinstance(bias, Constant)):
        refuse(node, "is a convolution with a computed weight or bias")
    dimensions = weight.tensor.dim() - 2
    if dimensions not in (1, 2):
        refuse(node, f"is a convolution over {dimensions} dimensions")
    around: tuple[int, ...] = (0,) * 4
    if isinstance(x, Padded) and not transposed and len(x.sides) <= 2 * dimensions:
        x, around = x.value, (*x.sides, 0, 0)[:4]
    kernel, stride, dilation = (pair(setting, dimensions) for setting in (weight.tensor.shape[2:], stride, dilation))
    padding = padding if isinstance(padding, str) else pair(padding, dimensions, 0)
    if transposed:
        assert not isinstance(padding, str)
        window = _transposed(kernel, stride, padding, dilation, pair(output_padding, dimensions, 0), groups)
    else:
        window = _straight(kernel, stride, padding, dilation, groups, around)
    return _append(graph, node, graph.value(node, x), weight, bias, window, transposed)


def _append(
    graph: Graph, node: Node, x: Value, weight: Constant, bias: Argument, window: Window, transposed: bool
) -> Value:
    shape, own = graph.result_shape(node), graph.shape(x)
    if len(own) == len(shape) == weight.tensor.dim() - 1:  # an item alone, as PyTorch allows
        x, shape = graph.reshaped(x, (1, *own)), (1, *shape)
    name = graph.layer_name(node, weight)
    graph.layer_weights(name, weight, bias, window.groups, transposed)
    made = graph.append("convolution", (x,), shape, layer=name, settings=window)
    return graph.reshaped(made, graph.result_shape(node))


def window_of(layer: Any) -> Window:
    """The window of a convolution layer of one or two dimensions, by its settings."""
    dimensions = layer.weight.dim() - 2
    kernel, stride, dilation = (pair(each, dimensions) for each in (layer.kernel_size, layer.stride, layer.dilation))
    if layer.transposed:
        cropped, added = (pair(each, dimensions, 0) for each in (layer.padding, layer.output_padding))
        return _transposed(kernel, stride, cropped, dilation, added, layer.groups)
    padding = layer.padding if isinstance(layer.padding, str) else pair(layer.padding, dimensions, 0)
    return _straight(kernel, stride, padding, dilation, layer.groups, (0,) * 4)


def _straight(
    kernel: Pair, stride: Pair, padding: Pair | str, dilation: Pair, groups: int, around: Sequence[int]
) -> Window:
    if isinstance(padding, str):
        down, across = _reach(kernel, dilation) if padding == "same" else (0, 0)
        before = down // 2, across // 2
        after = down - down // 2, across - across // 2  # what is odd goes to the bottom and to the right
    else:
        before = after = padding
    left, right, top, bottom = around
    sides = (before[0] + top, before[1] + left, after[0] + bottom, after[1] + right)
    return Window(kernel, stride, sides, dilation, groups=groups)


def _transposed(kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, output_padding: Pair, groups: int) -> Window:
    down, across = _reach(kernel, dilation)
    top, left = down - padding[0], across - padding[1]
    sides = (top, left, top + output_padding[0], left + output_padding[1])
    return Window(kernel, (1, 1), sides, dilation, upsample=stride, groups=groups)


def _reach(kernel: Pair, dilation: Pair) -> Pair:
    """How far a kernel's last place lies from its first."""
    return dilation[0] * (kernel[0] - 1), dilation[1] * (kernel[1] - 1)


def conv(
    graph: Graph,
    node: Node,
    x: Argument,
    weight: Argument,
    bias: Argument = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Value:
    """`conv1d` and `conv2d`; `padding` may be "same" or "valid"."""
    return convolution(graph, node, x, weight, bias, stride, padding, dilation, False, [0], groups)


def conv_transpose(
    graph: Graph,
    node: Node,
    x: Argument,
    weight: Argument,
    bias: Argument = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Value:
    """`conv_transpose1d` and `conv_transpose2d`."""
    return convolution(graph, node, x, weight, bias, stride, padding, dilation, True, output_padding, groups)


def fold(
    graph: Graph,
    node: Node,
    x: Argument,
    size: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Value:
    """Windows added up where they overlap: a transposed convolution whose kernels are 1 at a place of their own."""
    value, shape, places = graph.value(node, x), graph.result_shape(node), math.prod(kernel)
    channels = int(str(shape[-3]))
    kernels = np.tile(np.eye(places).reshape(places, 1, *kernel), (channels, 1, 1, 1))
    reaches = _reach((kernel[0], kernel[1]), (dilation[0], dilation[1]))
    rests = [size[i] + 2 * padding[i] - reaches[i] - 1 for i in range(2)]
    windows = graph.reshaped(value, (*shape[:-3], channels * places, *(rests[i] // stride[i] + 1 for i in range(2))))
    left = [rests[i] % stride[i] for i in range(2)]
    constant = Constant(graph.tensor(kernels).float(), "fold")
    return convolution(graph, node, windows, constant, None, stride, padding, dilation, True, left, channels)


# To ONNX: Conv, and ConvTranspose where zeros lie between the input's pixels.


def _to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Append the convolution, without its activation."""
    window, values = operation.settings_as(Window), graph.program.values
    x, inputs = graph.name_of(operation.inputs[0]), values[operation.inputs[0]].shape[1]
    rank, outputs = len(values[operation.output].shape) - 2, values[operation.output].shape[1]
    assert isinstance(inputs, int)  # as the weights have them
    assert isinstance(outputs, int)
    check_is_flat(operation, window, rank)
    layer = _matrix(graph, operation, window, outputs, inputs)
    weight = layer.rows.reshape(outputs, inputs // window.groups, *last(window.kernel, rank))
    steps: dict[str, Any] = {"dilations": last(window.dilation, rank), "group": window.groups}
    if max(window.upsample) == 1:
        x, steps["pads"] = _cropped(graph, x, y, *sides(window, rank))
        kind, part, steps["strides"] = "Conv", "weight", last(window.stride, rank)
    else:
        x, steps["pads"] = _spread(graph, x, y, window, rank)
        weight = _turned(weight, window.groups)
        kind, part, steps["strides"] = "ConvTranspose", "weight_transposed", last(window.upsample, rank)
    names = [x, layer.constant(graph, f"{operation.layer}/{part}", weight, 0)]
    if layer.bias is not None:
        names.append(graph.constant(f"{operation.layer}/bias", layer.bias))
    graph.node(kind, names, y, kernel_shape=last(window.kernel, rank), **steps)


def _matrix(graph: OnnxGraph, operation: Operation, window: Window, outputs: int, inputs: int) -> OnnxWeights:
    """The dense kernels, without rows that only fill a group of neurons, and without what fills rows of the kernel."""
    layer, weights = graph.program.layers[str(operation.layer)], OnnxWeights.of(graph, operation)
    if isinstance(layer, QuadLayer):
        order = ReadingOrder(inputs, window.kernel, window.dilation, window.groups)
        return replace(weights, rows=order.weight(weights.rows).reshape(outputs, -1))
    real = real_rows(outputs, window.groups) if isinstance(layer, SparseLayer) else np.ones(outputs, np.bool_)
    return weights.in_order(np.flatnonzero(real))


def _cropped(graph: OnnxGraph, x: str, y: str, before: list[int], after: list[int]) -> tuple[str, list[int]]:
    """The input of a Conv, and its pads. ONNX knows no negative ones: then the input is padded and cropped before."""
    if min(*before, *after) >= 0:
        return x, [*before, *after]
    zeros = [max(0, side) for side in (*before, *after)]
    x = _padded(graph, x, y, zeros)
    starts = [max(0, -side) for side in before]
    ends = [min(0, side) or np.iinfo(np.int64).max for side in after]
    places = {"starts": starts, "ends": ends, "axes": range(2, 2 + len(starts))}
    x = graph.node("Slice", [x, *(graph.integers(f"{y}/{name}", numbers) for name, numbers in places.items())])
    return x, [0] * len(zeros)


def _padded(graph: OnnxGraph, x: str, y: str, sides: list[int]) -> str:
    """Zeros before and after each dimension of the planes, if there are to be any."""
    if not any(sides):
        return x
    rank = len(sides) // 2
    return graph.node("Pad", [x, graph.integers(f"{y}/padding", [0, 0, *sides[:rank], 0, 0, *sides[rank:]])])


def _spread(graph: OnnxGraph, x: str, y: str, window: Window, rank: int) -> tuple[str, list[int]]:
    """The input of a ConvTranspose, and its pads: what it takes away from all that the kernel reaches.

    Padding beyond that reach is made by whole pixels of zeros around the input.
    """
    if max(window.stride) > 1:
        raise ArgumentError(
            f"operation 'convolution', which computes {y}, upsamples by {window.upsample} and has a stride of "
            f"{window.stride}: ONNX has no convolution that does both; split it in two"
        )
    reach = [d * (k - 1) for d, k in zip(last(window.dilation, rank), last(window.kernel, rank), strict=True)]
    up, (before, after) = last(window.upsample, rank), sides(window, rank)
    beyond = [side - far for side, far in zip((*before, *after), (*reach, *reach), strict=True)]
    pixels = [max(0, -(-far // step)) for far, step in zip(beyond, (*up, *up), strict=True)]
    pads = [pixel * step - far for pixel, step, far in zip(pixels, (*up, *up), beyond, strict=True)]
    return _padded(graph, x, y, pixels), pads


def _turned(weight: Rows, groups: int) -> Rows:
    """A kernel as a ConvTranspose has it: (inputs, outputs / groups, ...), and turned around."""
    outputs, inputs, *kernel = weight.shape
    grouped = weight.reshape(groups, outputs // groups, inputs, *kernel).swapaxes(1, 2)
    turned = np.flip(grouped, tuple(range(3, grouped.ndim)))
    return np.ascontiguousarray(turned.reshape(groups * inputs, outputs // groups, *kernel))


# To C.


def _to_c(writer: Writer, number: int, operation: Operation) -> None:
    kind, layer = writer.weights(str(operation.layer))
    window = writer.window(number, operation, operation.settings_as(Window))
    writer.call(f"convolution_{kind}", layer, window, *writer.x_and_y(operation))


OPERATORS = (Operator("convolution", _to_onnx, _to_c, layer="yes", activation="maybe", settings=Window),)

_CONVOLUTIONS: Mapping[str, Lowering] = {
    "conv1d.default": conv,
    "conv1d.padding": conv,
    "conv2d.default": conv,
    "conv2d.padding": conv,
    "convolution.default": convolution,
    "conv_transpose1d.default": conv_transpose,
    "conv_transpose2d.input": conv_transpose,
    "conv_transpose3d.input": conv_transpose,
}
LOWERINGS: Mapping[str, Lowering] = {**_CONVOLUTIONS, "col2im.default": fold}

NEURONS: Mapping[str, str] = dict.fromkeys(_CONVOLUTIONS, "layer_rule")
