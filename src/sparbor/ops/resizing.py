"""Planes that become larger or smaller, by the nearest pixels or by those around a place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.ops.arguments import Argument, Value
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph
from sparbor.program.program import NearestResizing, Operation, Resizing, Settings

if TYPE_CHECKING:
    from torch.fx import Node


# From PyTorch.


def resize(graph: Graph, node: Node, x: Argument, size: Any, *given: Any, kind: str, **named: Any) -> Value:
    """`upsample_*`: to the size of the result; a scale that is given says how far apart two pixels are, too."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    smooth = kind != "resize_nearest"
    corners = bool(given[0] if given else named.get("align_corners", False)) if smooth else False
    scales = _scales(given[1:] if smooth else given, named, len(shape) - 2)
    down, across = (0.0 if each is None else 1 / float(each) for each in scales)
    if smooth:
        settings: Settings = Resizing(down, across, corners)
    else:
        settings = NearestResizing(down, across, "exact" in str(node.target))
    return graph.append(kind, (value,), shape, settings=settings)


def _scales(given: Sequence[Any], named: Mapping[str, Any], rank: int) -> list[Any]:
    """Down and across, of rows only across; None where the sizes say."""
    listed = named.get("scale_factors", given[0] if given and not isinstance(given[0], (int, float)) else None)
    scales = list(listed) if listed is not None else [*(each for each in given), *(named.get(n) for n in _NAMES)]
    scales = [each for each in scales if each is not None]
    return [*[None] * (2 - len(scales)), *scales] if len(scales) == rank else [None, None]


_NAMES = ("scales", "scales_h", "scales_w")


# To ONNX.


def _nearest_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Half a pixel rounded up is where a pixel's centre is, rounded down."""
    settings = operation.settings_as(NearestResizing)
    centers = {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}
    begins = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    _resize(graph, operation, y, settings, mode="nearest", **(centers if settings.centers else begins))


def _smooth_to_onnx(graph: OnnxGraph, operation: Operation, y: str, *, mode: str) -> None:
    settings = operation.settings_as(Resizing)
    places = "align_corners" if settings.corners else "half_pixel"
    attributes = {"cubic_coeff_a": -0.75} if mode == "cubic" else {}
    _resize(graph, operation, y, settings, mode=mode, coordinate_transformation_mode=places, **attributes)


def _resize(
    graph: OnnxGraph, operation: Operation, y: str, settings: Resizing | NearestResizing, **attributes: Any
) -> None:
    """ONNX Runtime resizes planes alone: rows become planes of height 1. Both dimensions' steps are given, or none."""
    x, shape = graph.name_of(operation.inputs[0]), graph.program.values[operation.output].shape
    steps, is_flat = [settings.step_down, settings.step_across][-(len(shape) - 2) :], len(shape) == 3
    source = graph.node("Unsqueeze", [x, graph.integers("height_axis", [2])]) if is_flat else x
    sized = None if is_flat else y
    corners = isinstance(settings, Resizing) and settings.corners
    if all(steps) and not corners:
        scales = np.array([1, 1, *[1] * is_flat, *(1 / step for step in steps)], np.float32)
        resized = graph.node("Resize", [source, "", graph.constant(f"{y}/scales", scales)], sized, **attributes)
    else:
        sizes = [*[1] * is_flat, *(size for size in shape[2:] if isinstance(size, int))]
        if len(sizes) != 2 or (any(steps) and not corners):
            raise ArgumentError(
                f"operation {operation.kind!r}, which computes value {operation.output}, cannot be exported to ONNX:"
                " give its planes sizes that are numbers, and both steps or none"
            )
        there = graph.node("Slice", [graph.node("Shape", [x]), *(graph.integers(f"at_{n}", [n]) for n in (0, 2))])
        wanted = graph.node("Concat", [there, graph.integers(f"{y}/sizes", sizes)], axis=0)
        resized = graph.node("Resize", [source, "", "", wanted], sized, **attributes)
    if is_flat:
        graph.node("Squeeze", [resized, graph.integers("height_axis", [2])], y)


OPERATORS = (
    Operator("resize_nearest", _nearest_to_onnx, None, settings=NearestResizing),
    Operator("resize_linear", partial(_smooth_to_onnx, mode="linear"), None, settings=Resizing),
    Operator("resize_cubic", partial(_smooth_to_onnx, mode="cubic"), None, settings=Resizing),
)

LOWERINGS: Mapping[str, Lowering] = {
    f"{name}{form}": partial(resize, kind=kind)
    for kind, names in {
        "resize_nearest": (
            *("upsample_nearest1d", "upsample_nearest2d", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d"),
        ),
        "resize_linear": ("upsample_linear1d", "upsample_bilinear2d"),
        "resize_cubic": ("upsample_bicubic2d",),
    }.items()
    for name in names
    for form in (".default", ".vec")
}
NEURONS: Mapping[str, str] = {}
