"""Convolutions as nodes of ONNX: Conv, and ConvTranspose where zeros lie between the input's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.export.onnx.graph import OnnxGraph
from sparbor.packing.filters import Filters, real_rows
from sparbor.packing.slots import Floats, SparseLayer
from sparbor.program.program import Operation
from sparbor.program.windows import Window


def add_convolution(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Append the convolution, without its activation."""
    window, shapes = operation.settings, graph.program.shapes
    assert isinstance(window, Window)
    x, inputs = graph.name_of(operation.inputs[0]), shapes[operation.inputs[0]][0]
    rank = len(shapes[operation.output]) - 1
    check_is_flat(operation, window, rank)
    weight, bias = _matrix(graph, operation, window, shapes[operation.output][0])
    weight = weight.reshape(len(weight), inputs // window.groups, *last(window.kernel, rank))
    steps: dict[str, Any] = {"dilations": last(window.dilation, rank), "group": window.groups}
    if max(window.upsample) == 1:
        x, steps["pads"] = _cropped(graph, x, y, *sides(window, rank))
        kind, part, steps["strides"] = "Conv", "weight", last(window.stride, rank)
    else:
        x, steps["pads"] = _spread(graph, x, y, window, rank)
        weight = _turned(weight, window.groups)
        kind, part, steps["strides"] = "ConvTranspose", "weight_transposed", last(window.upsample, rank)
    names = [x, graph.constant(f"{operation.layer}/{part}", weight)]
    if bias is not None:
        names.append(graph.constant(f"{operation.layer}/bias", bias))
    graph.node(kind, names, y, kernel_shape=last(window.kernel, rank), **steps)


def last(pair: Sequence[int], rank: int) -> list[int]:
    """A window's (down, across) for so many dimensions."""
    return list(pair[2 - rank :])


def sides(window: Window, rank: int) -> tuple[list[int], list[int]]:
    """The padding before and after each dimension."""
    return last(window.padding[:2], rank), last(window.padding[2:], rank)


def check_is_flat(operation: Operation, window: Window, rank: int) -> None:
    """A window over items of two dimensions must not reach beyond their planes of height 1."""
    if rank == 1 and (window.kernel[0] != 1 or window.padding[::2] != (0, 0)):
        raise ArgumentError(
            f"operation {operation.kind!r}, which computes value {operation.output}, moves a window of height "
            f"{window.kernel[0]} over rows: ONNX has no such thing; give the items three dimensions"
        )


def _matrix(graph: OnnxGraph, operation: Operation, window: Window, outputs: int) -> tuple[Floats, Floats | None]:
    """The dense weights, and the bias, without the rows that only fill a group of neurons."""
    layer = graph.program.layers[str(operation.layer)]
    assert isinstance(layer, SparseLayer | Filters)
    weight, bias = layer.unpack()[0], layer.bias
    if isinstance(layer, SparseLayer):
        real = real_rows(outputs, window.groups)
        weight, bias = weight[real], bias if bias is None else bias[real]
    return weight, bias


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


def _turned(weight: Floats, groups: int) -> Floats:
    """A kernel as a ConvTranspose has it: (inputs, outputs / groups, ...), and turned around."""
    outputs, inputs, *kernel = weight.shape
    grouped = weight.reshape(groups, outputs // groups, inputs, *kernel).swapaxes(1, 2)
    turned = np.flip(grouped, tuple(range(3, grouped.ndim)))
    return np.ascontiguousarray(turned.reshape(groups * inputs, outputs // groups, *kernel))
