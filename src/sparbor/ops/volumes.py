"""Convolutions and pools over volumes, by those over planes.

A volume of (channels, depth, height, width) is `depth` planes one behind the other. A convolution of depth k reads, for
each plane that it computes, k planes; with those as further channels it is a convolution over planes. A pool is one
over each plane, and then one along the depth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sparbor.ops.arguments import Argument, Constant, Padded, Value, refuse
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.padding import padded
from sparbor.ops.targets import Graph
from sparbor.program.program import Axis, Dimension, Slice, times
from sparbor.program.windows import AverageWindow, Window

if TYPE_CHECKING:
    from torch.fx import Node


def _three(setting: int | Sequence[int]) -> tuple[int, int, int]:
    given = (setting,) * 3 if isinstance(setting, int) else tuple(setting)
    return (given * 3)[:3] if len(given) == 1 else (given[0], given[1], given[2])


def convolution(
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
    """`conv3d`."""
    if not isinstance(weight, Constant) or not (bias is None or isinstance(bias, Constant)):
        refuse(node, "is a convolution with a computed weight or bias")
    kernel, stride, dilation = map(_three, (tuple(weight.tensor.shape[2:]), stride, dilation))
    reach = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
    if padding == "same":
        before, after = [each // 2 for each in reach], [each - each // 2 for each in reach]
    else:
        before = after = [0] * 3 if padding == "valid" else list(_three(padding))
    value, (batch, outputs, depth, *plane) = graph.value(node, x), graph.result_shape(node)
    if before[0] or after[0]:
        value = padded(graph, Padded(value, (0, 0, 0, 0, before[0], after[0])))
    planes = _planes_behind(graph, value, depth, kernel[0], stride[0], dilation[0])
    sides = (before[1], before[2], after[1], after[2])
    window = Window((kernel[1], kernel[2]), (stride[1], stride[2]), sides, (dilation[1], dilation[2]), groups=groups)
    name = graph.layer_name(node, weight)
    graph.layer_weights(name, weight, bias, groups)
    shape = (times(batch, depth), outputs, *plane)
    made = graph.append("convolution", (planes,), shape, layer=name, settings=window)
    return graph.permuted(graph.reshaped(made, (batch, depth, outputs, *plane)), (0, 2, 1, 3, 4))


def _planes_behind(graph: Graph, value: Value, depth: Dimension, kernel: int, stride: int, dilation: int) -> Value:
    """(batch · depth, channels · kernel, height, width): what each plane of the result is computed of."""
    batch, channels, deep, *plane = graph.shape(value)
    taps = []
    for tap in range(kernel):
        settings = Slice(2, tap * dilation, stride)
        part = value
        if (depth, kernel, stride) != (deep, 1, 1):
            part = graph.append("slice", (value,), (batch, channels, depth, *plane), settings=settings)
        taps.append(graph.reshaped(part, (batch, channels, 1, depth, *plane)))
    shape = (batch, channels, kernel, depth, *plane)
    together = taps[0] if kernel == 1 else graph.append("concat", tuple(taps), shape, settings=Axis(2))
    turned = graph.permuted(together, (0, 3, 1, 2, 4, 5))
    return graph.reshaped(turned, (times(batch, depth), times(channels, kernel), *plane))


def pool(
    graph: Graph,
    node: Node,
    x: Argument,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    *given: Any,
    kind: str,
    **named: Any,
) -> Value:
    """`max_pool3d` and `avg_pool3d`."""
    sizes, steps, sides = _three(kernel), _three(stride or kernel), _three(padding)
    if kind == "max_pool":
        dilation = _three(given[0] if given else named.get("dilation", 1))
        make: Any = partial(Window)
    else:
        dilation = (1, 1, 1)
        include = given[1] if len(given) > 1 else named.get("count_include_pad", True)
        if (given[2] if len(given) > 2 else named.get("divisor_override")) is not None:
            refuse(node, "divides by another number than there are under its window")
        make = partial(AverageWindow, include_padding=include)
    value, shape = graph.value(node, x), graph.result_shape(node)
    rows = graph.shape(value)[1], graph.shape(value)[2]
    planes = _count(node, rows)
    across = make(sizes[1:], steps[1:], (*sides[1:], *sides[1:]), dilation[1:], groups=planes)
    along = make(
        (sizes[0], 1), (steps[0], 1), (sides[0], 0, sides[0], 0), (dilation[0], 1), groups=_count(node, rows[:1])
    )
    return _pooled(graph, value, shape, kind, (across, along))


def adaptive_pool(graph: Graph, node: Node, x: Argument, _: Any, *, kind: str) -> Value:
    """`adaptive_max_pool3d` and `adaptive_avg_pool3d`."""
    return _pooled(graph, graph.value(node, x), graph.result_shape(node), kind, (None, None))


def _pooled(
    graph: Graph, value: Value, shape: tuple[Dimension, ...], kind: str, windows: Sequence[Window | None]
) -> Value:
    """Over planes, and then along the depth, for which a plane is a row."""
    batch, channels, deep, *plane = graph.shape(value)
    depth, height, width = shape[2:]
    flat = graph.reshaped(value, (batch, times(channels, deep), *plane))
    across = graph.append(kind, (flat,), (batch, times(channels, deep), height, width), settings=windows[0])
    pixels = times(height, width)
    rows = graph.reshaped(across, (batch, channels, deep, pixels))
    along = graph.append(kind, (rows,), (batch, channels, depth, pixels), settings=windows[1])
    return graph.reshaped(along, shape)


def _count(node: Node, sizes: Sequence[Dimension]) -> int:
    count = 1
    for size in sizes:
        if not isinstance(size, int):
            refuse(node, "pools volumes whose depth depends on the inputs")
        count *= size
    return count


_MAX = partial(pool, kind="max_pool")

OPERATORS: tuple[Operator, ...] = ()

LOWERINGS: Mapping[str, Lowering] = {
    "conv3d.default": convolution,
    "conv3d.padding": convolution,
    "max_pool3d.default": _MAX,
    "max_pool3d_with_indices.default": lambda *given, **named: (_MAX(*given, **named), None),
    "avg_pool3d.default": partial(pool, kind="average_pool"),
    "adaptive_avg_pool3d.default": partial(adaptive_pool, kind="adaptive_average_pool"),
    "_adaptive_avg_pool3d.default": partial(adaptive_pool, kind="adaptive_average_pool"),
    "adaptive_max_pool3d.default": lambda *given: (adaptive_pool(*given, kind="adaptive_max_pool"), None),
}

NEURONS: Mapping[str, str] = {name: "layer_rule" if name.startswith("conv") else "plane_by_plane" for name in LOWERINGS}
