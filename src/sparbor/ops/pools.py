"""Pools over windows of each plane, and over planes of any size: the largest number, or the mean.

ONNX's rounding up is not used: runtimes differ in what the last window then is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparbor.errors import ArgumentError
from sparbor.ops.arguments import Argument, Value, operator_name, refuse, where
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.pairs import check_is_flat, last, pair, sides
from sparbor.ops.targets import Graph, OnnxGraph, Writer
from sparbor.packing.slots import Floats
from sparbor.program.program import Operation
from sparbor.program.windows import AverageWindow, Window

if TYPE_CHECKING:
    from torch.fx import Node


# From PyTorch.


def max_pool(
    graph: Graph,
    node: Node,
    x: Argument,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> Value:
    """`max_pool1d` and `max_pool2d`; how far `ceil_mode` reaches shows in the shape of the result."""
    planes, dimensions = _planes(graph, node, x)
    window = Window(
        pair(kernel, dimensions),
        pair(stride or kernel, dimensions),
        pair(padding, dimensions, 0) * 2,
        pair(dilation, dimensions),
        groups=_channels(graph, node, planes),
    )
    return graph.append("max_pool", (planes,), graph.result_shape(node), settings=window)


def average_pool(
    graph: Graph,
    node: Node,
    x: Argument,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    """`avg_pool1d` and `avg_pool2d`."""
    planes, dimensions = _planes(graph, node, x)
    window = AverageWindow(
        pair(kernel, dimensions),
        pair(stride or kernel, dimensions),
        pair(padding, dimensions, 0) * 2,
        groups=_channels(graph, node, planes),
        include_padding=count_include_pad,
        divisor=divisor_override or 0,
    )
    return graph.append("average_pool", (planes,), graph.result_shape(node), settings=window)


def adaptive_pool(graph: Graph, node: Node, x: Argument, _: Any, *, kind: str) -> Value:
    """To the planes of the result; those that have its size stay as they are."""
    (planes, _), shape = _planes(graph, node, x), graph.result_shape(node)
    return planes if graph.shape(planes) == shape else graph.append(kind, (planes,), shape)


def _planes(graph: Graph, node: Node, x: Argument) -> tuple[Value, int]:
    """What is pooled, and of how many dimensions its planes are."""
    value, dimensions = graph.value(node, x), dimensions_of(operator_name(node))
    shape = graph.shape(value)
    if dimensions is None or len(shape) - 2 != dimensions:
        raise ArgumentError(f"{where(node)} pools what has shape {shape}: pass a batch of images or of sequences")
    return value, dimensions


def _channels(graph: Graph, node: Node, planes: Value) -> int:
    channels = graph.shape(planes)[1]
    if not isinstance(channels, int):
        refuse(node, "pools planes of which there are as many as the inputs' sizes say")
    return channels


def dimensions_of(name: str) -> int | None:
    """Those of the planes that PyTorch's pool of this name is over, if the name says so."""
    found = re.search(r"pool(\d)d", name)
    return found and int(found[1])


def _with_indices(operator: Lowering) -> Lowering:
    """As an operator that returns indices as well, which nothing may use."""
    return lambda *args, **kwargs: (operator(*args, **kwargs), None)


_ADAPTIVE_AVERAGE = partial(adaptive_pool, kind="adaptive_average_pool")
_ADAPTIVE_MAX = _with_indices(partial(adaptive_pool, kind="adaptive_max_pool"))


# To ONNX.


def _max_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Append a max pool."""
    window, (x, inside, outside) = operation.settings_as(Window), _sizes(graph, operation)
    check_is_flat(operation, window, len(inside))
    pads = _pads(window, inside, outside)
    dilations, kernel = last(window.dilation, len(inside)), last(window.kernel, len(inside))
    if any(pad >= size for pad, size in zip(pads, kernel * 2, strict=True)):  # no runtime takes that as an attribute
        rank = len(inside)
        edges = graph.integers(f"{y}/padding", [0, 0, *pads[:rank], 0, 0, *pads[rank:]])
        x, pads = graph.node("Pad", [x, edges, graph.scalar("minus_infinity", -math.inf)]), [0] * len(pads)
    strides = last(window.stride, len(inside))
    graph.node("MaxPool", [x], y, kernel_shape=kernel, strides=strides, pads=pads, dilations=dilations)


def _average_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Append an average pool; one that divides by other numbers than ONNX does is corrected afterwards."""
    window, (x, inside, outside) = operation.settings_as(AverageWindow), _sizes(graph, operation)
    check_is_flat(operation, window, len(inside))
    rank, pads = len(inside), _pads(window, inside, outside)
    kernel = last(window.kernel, rank)
    steps: dict[str, Any] = {"kernel_shape": kernel, "strides": last(window.stride, rank), "pads": pads}
    within = not window.include_padding and window.divisor == 0
    divisors, places = _divisors(window, inside, outside), math.prod(kernel)
    if within or np.all(divisors == places):
        graph.node("AveragePool", [x], y, count_include_pad=int(not within), **steps)
        return
    average = graph.node("AveragePool", [x], count_include_pad=1, **steps)
    graph.node("Mul", [average, graph.constant(f"{y}/correction", np.float32(places) / divisors)], y)


def _adaptive_average_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Append an adaptive average pool: of windows of unequal sizes, the mean along one dimension and then the other."""
    x, inside, outside = _sizes(graph, operation)
    if _add_even(graph, "AveragePool", x, y, inside, outside):
        return
    along = graph.constant(f"{y}/means", np.ascontiguousarray(_means(inside[-1], outside[-1]).T))
    if len(inside) == 1:
        graph.node("MatMul", [x, along], y)
        return
    rows = graph.node("MatMul", [x, along])
    graph.node("MatMul", [graph.constant(f"{y}/means_down", _means(inside[0], outside[0])), rows], y)


def _adaptive_max_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Append an adaptive max pool: of windows of unequal sizes, the maximum along one dimension and then the other."""
    x, inside, outside = _sizes(graph, operation)
    if _add_even(graph, "MaxPool", x, y, inside, outside):
        return
    for dimension in range(len(inside)):
        places = graph.constant(f"{y}/places", _places(inside[dimension], outside[dimension]))
        windows = graph.node("Gather", [x, places], axis=2 + dimension)
        done = dimension == len(inside) - 1
        x = graph.node("ReduceMax", [windows], y if done else None, axes=[3 + dimension], keepdims=0)


def _add_even(graph: OnnxGraph, pool: str, x: str, y: str, inside: list[int], outside: list[int]) -> bool:
    """Append an adaptive pool as one of ONNX's own, if its windows are of equal sizes; whether they are."""
    if set(outside) == {1}:
        graph.node(f"Global{pool}", [x], y)
        return True
    if any(a % b for a, b in zip(inside, outside, strict=True)):
        return False
    size = [a // b for a, b in zip(inside, outside, strict=True)]
    graph.node(pool, [x], y, kernel_shape=size, strides=size)
    return True


def _sizes(graph: OnnxGraph, operation: Operation) -> tuple[str, list[int], list[int]]:
    """The input's name, and the planes' sizes before and after."""
    sizes = []
    for value in (operation.inputs[0], operation.output):
        planes = graph.program.values[value].shape[2:]
        sizes.append([each for each in planes if isinstance(each, int)])
        if len(sizes[-1]) != len(planes):
            raise ArgumentError(
                f"operation {operation.kind!r} cannot be exported to ONNX for planes of any size: fix that by"
                " dynamic_shapes"
            )
    inside, outside = sizes
    return graph.name_of(operation.inputs[0]), inside, outside


def _pads(window: Window, inside: list[int], outside: list[int]) -> list[int]:
    """Padding after the plane with which exactly as many windows fit as there are outputs."""
    rank = len(inside)
    before, after = sides(window, rank)[0], []
    for i, size in enumerate(inside):
        kernel, stride, dilation = (last(pair, rank)[i] for pair in (window.kernel, window.stride, window.dilation))
        after.append(max(0, (outside[i] - 1) * stride + dilation * (kernel - 1) + 1 - size - before[i]))
    return [*before, *after]


def _divisors(window: AverageWindow, inside: list[int], outside: list[int]) -> Floats:
    """What the sum of each window is divided by: the places in the plane and its padding, or one number."""
    if window.divisor != 0:
        return np.full(outside, window.divisor, np.float32)
    rank, counts = len(inside), np.ones([], np.float32)
    before, after = sides(window, rank)
    for i, size in enumerate(inside):
        start = np.arange(outside[i]) * last(window.stride, rank)[i] - before[i]
        end = np.minimum(start + last(window.kernel, rank)[i], size + after[i])
        counts = np.multiply.outer(counts, (end - start).astype(np.float32))
    return counts


def _bounds(size: int, windows: int) -> list[tuple[int, int]]:
    """Where each window of an adaptive pool begins and ends."""
    return [(i * size // windows, -(-(i + 1) * size // windows)) for i in range(windows)]


def _means(size: int, windows: int) -> Floats:
    """The matrix (windows, size) that takes the mean of each window."""
    matrix = np.zeros((windows, size), np.float32)
    for row, (begin, end) in zip(matrix, _bounds(size, windows), strict=True):
        row[begin:end] = 1 / (end - begin)
    return matrix


def _places(size: int, windows: int) -> npt.NDArray[np.int64]:
    """The places under each window; the last is repeated until all windows have as many."""
    bounds = _bounds(size, windows)
    most = max(end - begin for begin, end in bounds)
    return np.array([[min(begin + i, end - 1) for i in range(most)] for begin, end in bounds], np.int64)


# To C.


def _max_to_c(writer: Writer, number: int, operation: Operation) -> None:
    writer.call("max_pool", writer.window(number, operation, operation.settings_as(Window)), *writer.x_and_y(operation))


def _average_to_c(writer: Writer, number: int, operation: Operation) -> None:
    window = operation.settings_as(AverageWindow)
    counted = writer.counted_places(number, operation, window)
    pointer = writer.window(number, operation, window)
    writer.call("average_pool", pointer, *counted, writer.number(window.divisor), *writer.x_and_y(operation))


def _adaptive_to_c(writer: Writer, number: int, operation: Operation) -> None:
    writer.call(operation.kind, writer.planes(number, operation), *writer.x_and_y(operation))


OPERATORS = (
    Operator("max_pool", _max_to_onnx, _max_to_c, settings=Window),
    Operator("average_pool", _average_to_onnx, _average_to_c, settings=AverageWindow),
    Operator("adaptive_max_pool", _adaptive_max_to_onnx, _adaptive_to_c),
    Operator("adaptive_average_pool", _adaptive_average_to_onnx, _adaptive_to_c),
)

LOWERINGS: Mapping[str, Lowering] = {
    "max_pool1d.default": max_pool,
    "max_pool2d.default": max_pool,
    "max_pool1d_with_indices.default": _with_indices(max_pool),
    "max_pool2d_with_indices.default": _with_indices(max_pool),
    "avg_pool1d.default": average_pool,
    "avg_pool2d.default": average_pool,
    "adaptive_avg_pool1d.default": _ADAPTIVE_AVERAGE,
    "adaptive_avg_pool2d.default": _ADAPTIVE_AVERAGE,
    "_adaptive_avg_pool2d.default": _ADAPTIVE_AVERAGE,
    "adaptive_max_pool1d.default": _ADAPTIVE_MAX,
    "adaptive_max_pool2d.default": _ADAPTIVE_MAX,
}

NEURONS: Mapping[str, str] = dict.fromkeys(LOWERINGS, "plane_by_plane")
