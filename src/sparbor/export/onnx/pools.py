"""Pools as nodes of ONNX. Its rounding up is not used: runtimes differ in what the last window then is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from sparbor.export.onnx.convolutions import check_is_flat, last, sides
from sparbor.export.onnx.graph import OnnxGraph
from sparbor.packing.slots import Floats
from sparbor.program.program import Operation
from sparbor.program.windows import AverageWindow, Window


def add_max_pool(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Append a max pool."""
    window, x, inside, outside = _parts(graph, operation)
    pads = _pads(window, inside, outside)
    dilations, kernel = last(window.dilation, len(inside)), last(window.kernel, len(inside))
    if any(pad >= size for pad, size in zip(pads, kernel * 2, strict=True)):  # no runtime takes that as an attribute
        rank = len(inside)
        edges = graph.integers(f"{y}/padding", [0, 0, *pads[:rank], 0, 0, *pads[rank:]])
        x, pads = graph.node("Pad", [x, edges, graph.scalar("minus_infinity", -math.inf)]), [0] * len(pads)
    strides = last(window.stride, len(inside))
    graph.node("MaxPool", [x], y, kernel_shape=kernel, strides=strides, pads=pads, dilations=dilations)


def add_average_pool(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Append an average pool; one that divides by other numbers than ONNX does is corrected afterwards."""
    window, x, inside, outside = _parts(graph, operation)
    assert isinstance(window, AverageWindow)
    rank, pads = len(inside), _pads(window, inside, outside)
    kernel = last(window.kernel, rank)
    steps: dict[str, Any] = {"kernel_shape": kernel, "strides": last(window.stride, rank), "pads": pads}
    if not window.include_padding and window.divisor == 0:
        graph.node("AveragePool", [x], y, count_include_pad=0, **steps)
        return
    divisors = _divisors(window, inside, outside)
    places = math.prod(kernel)
    if np.all(divisors == places):
        graph.node("AveragePool", [x], y, count_include_pad=1, **steps)
        return
    average = graph.node("AveragePool", [x], count_include_pad=1, **steps)
    graph.node("Mul", [average, graph.constant(f"{y}/correction", np.float32(places) / divisors)], y)


def add_adaptive_average(graph: OnnxGraph, operation: Operation, y: str) -> None:
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


def add_adaptive_max(graph: OnnxGraph, operation: Operation, y: str) -> None:
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


def _parts(graph: OnnxGraph, operation: Operation) -> tuple[Window, str, list[int], list[int]]:
    """The window, and what `_sizes` gives."""
    window = operation.settings
    assert isinstance(window, Window)
    x, inside, outside = _sizes(graph, operation)
    check_is_flat(operation, window, len(inside))
    return window, x, inside, outside


def _sizes(graph: OnnxGraph, operation: Operation) -> tuple[str, list[int], list[int]]:
    """The input's name, and the planes' sizes before and after."""
    shapes = graph.program.shapes
    inside, outside = (list(shapes[value][1:]) for value in (operation.inputs[0], operation.output))
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
