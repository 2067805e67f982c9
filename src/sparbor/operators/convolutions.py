"""Convolutions of one and two dimensions, transposed ones, and the zeros that are put around an image before one.

A transposed convolution is one of stride 1 over its upsampled input, with each kernel turned around.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch.fx import Node

from sparbor.errors import ArgumentError
from sparbor.graph import WAY_OUT, Argument, Constant, Graph, Operator, Padded, Value
from sparbor.matrix import to_matrix
from sparbor.tracing import where
from sparbor.windows import Pair, Sides, Window


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
    kernel = weight.tensor.shape[2:]
    steps = [_each(setting, dimensions) for setting in (stride, dilation, output_padding)]
    if transposed:
        window = _transposed(kernel, steps[0], _each(padding, dimensions), steps[1], steps[2], groups)
    else:
        window = _straight(kernel, steps[0], padding, steps[1], groups, around)
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


def _straight(
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int] | str,
    dilation: Sequence[int],
    groups: int,
    around: Sequence[int],
) -> Window:
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if padding == "same":  # what is odd goes to the bottom and to the right
        before = [size // 2 for size in reach]
        after = [size - size // 2 for size in reach]
    else:
        before = after = [0] * len(kernel) if padding == "valid" else [*_each(padding, len(kernel))]
    sides = _sides(before, after)
    left, right, top, bottom = around
    padded = (sides[0] + top, sides[1] + left, sides[2] + bottom, sides[3] + right)
    return Window(_pair(kernel), _pair(stride), padded, _pair(dilation), groups=groups)


def _transposed(
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
) -> Window:
    before = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    after = [size + extra for size, extra in zip(before, output_padding, strict=True)]
    sides = _sides(before, after)
    return Window(_pair(kernel), (1, 1), sides, _pair(dilation), upsample=_pair(stride), groups=groups)


def _each(setting: Any, dimensions: int) -> Sequence[int]:
    """A number for each dimension: PyTorch's operators take one for all."""
    given = [setting] if isinstance(setting, int) else list(setting)
    return given * dimensions if len(given) == 1 else given


def _pair(given: Sequence[int]) -> Pair:
    """Down and across; a sequence is an image of height 1."""
    return (1, given[0]) if len(given) == 1 else (given[0], given[1])


def _sides(before: Sequence[int], after: Sequence[int]) -> Sides:
    if len(before) == 1:
        return 0, before[0], 0, after[0]
    return before[0], before[1], after[0], after[1]


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
    if len(sides) > 2 * (len(graph.shapes[inner]) - 1) or len(sides) > 4:
        raise ArgumentError(f"{where(node)} pads more than the planes of an image: the engine pads those. {WAY_OUT}")
    return Padded(inner, (*sides, 0, 0)[:4] if len(sides) < 4 else tuple(sides))


OPERATORS: Mapping[str, Operator] = {
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
    "pad.default": pad,
    "constant_pad_nd.default": lambda graph, node, x, sides, value=0: pad(graph, node, x, sides, "constant", value),
}
