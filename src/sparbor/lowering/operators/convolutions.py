"""Convolutions of one and two dimensions, transposed ones, and the zeros that are put around an image before one.

A transposed convolution is one of stride 1 over its upsampled input, with each kernel turned around.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch.fx import Node

from sparbor.errors import ArgumentError
from sparbor.lowering.graph import WAY_OUT, Argument, Constant, Graph, Operator, Padded, Value
from sparbor.lowering.neurons import NeuronRule, layer_rule, padded
from sparbor.lowering.operators.pairs import pair
from sparbor.lowering.tracing import where
from sparbor.program.windows import Pair, Window
from sparbor.topology.matrix import to_matrix


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
        raise ArgumentError(f"{where(node)} is a convolution with a computed weight or bias. {WAY_OUT}")
    dimensions = weight.tensor.dim() - 2
    if dimensions not in (1, 2):
        raise ArgumentError(f"{where(node)} is a convolution over {dimensions} dimensions. {WAY_OUT}")
    around = (0,) * 4
    if isinstance(x, Padded):
        if transposed:
            raise ArgumentError(f"{where(node)} is a transposed convolution of a padded value: crop its output instead")
        x, around = x.value, tuple(x.sides)
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
    shape = graph.result_shape(node)
    if not len(graph.shapes[x]) == len(shape) == weight.tensor.dim() - 1:
        raise ArgumentError(
            f"{where(node)} takes items of shape {graph.shapes[x]}: pass a batch of images or of sequences"
        )
    name = graph.layer_name(node, weight)
    graph.layer_weights(name, weight, partial(to_matrix, groups=window.groups, transposed=transposed), bias)
    return graph.append("convolution", (x,), shape, layer=name, settings=window)


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


def pad(
    graph: Graph, node: Node, x: Argument, sides: Sequence[int], mode: str = "constant", value: float | None = None
) -> Argument:
    """Zeros around the last two dimensions, which the convolution that follows takes in."""
    if mode != "constant" or value:
        what = f"mode {mode!r}" if mode != "constant" else f"{value}"
        remedy = "train and deploy with padding_mode='zeros'"
        raise ArgumentError(f"{where(node)} pads with {what}: the engine pads with zeros; {remedy}. {WAY_OUT}")
    inner = graph.value(node, x)
    if not any(sides):
        return inner
    if len(sides) > 2 * (len(graph.shapes[inner]) - 1) or len(sides) > 4:
        raise ArgumentError(f"{where(node)} pads more than the planes of an image: the engine pads those. {WAY_OUT}")
    return Padded(inner, (*sides, 0, 0)[:4] if len(sides) < 4 else tuple(sides))


_CONVOLUTIONS: Mapping[str, Operator] = {
    "conv1d.default": conv,
    "conv1d.padding": conv,
    "conv2d.default": conv,
    "conv2d.padding": conv,
    "conv3d.default": conv,
    "conv3d.padding": conv,
    "convolution.default": convolution,
    "conv_transpose1d.default": conv_transpose,
    "conv_transpose2d.input": conv_transpose,
    "conv_transpose3d.input": conv_transpose,
}
_PADS: Mapping[str, Operator] = {
    "pad.default": pad,
    "constant_pad_nd.default": lambda graph, node, x, sides, value=0: pad(graph, node, x, sides, "constant", value),
}

OPERATORS: Mapping[str, Operator] = {**_CONVOLUTIONS, **_PADS}

NEURONS: Mapping[str, NeuronRule] = {**dict.fromkeys(_CONVOLUTIONS, layer_rule), **dict.fromkeys(_PADS, padded)}
