"""Planes that become larger or smaller, by the nearest pixels or by those around a place."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import OnnxGraph
from sparbor.program.program import NearestResizing, Operation, Resizing


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

LOWERINGS: Mapping[str, Lowering] = {}
NEURONS: Mapping[str, str] = {}
