"""Nodes of our own in ONNX graphs, which ONNX Runtime computes with the library of `sparbor.onnxruntime`.

SparseLinear and SparseConv of domain ``sparbor`` take floats and a packed layer: a constant of bytes, which is a model
file of one operation. `docs/onnx-pack.md` lists them.
"""

from __future__ import annotations

import numpy as np

from sparbor.ops.pairs import check_is_flat
from sparbor.ops.targets import OnnxGraph
from sparbor.packing.quads import QuadLayer
from sparbor.packing.slots import SparseLayer
from sparbor.program.model_file import to_bytes
from sparbor.program.program import Activation, Dimension, Dimensions, Operation, Port, Program, ValueType, plus
from sparbor.program.windows import Window

DOMAIN, VERSION = "sparbor", 1
LINEAR, CONVOLUTION = "SparseLinear", "SparseConv"
_LAYER = "weight"


def add_own_node(graph: OnnxGraph, operation: Operation) -> bool:
    """Append an operation with a sparse layer as a node of ours; whether it is one."""
    if operation.layer is None or operation.kind not in ("linear", "convolution"):
        return False
    layer, values = graph.program.layers[operation.layer], graph.program.values
    if isinstance(layer, SparseLayer) and isinstance(operation.settings, Window):
        check_is_flat(operation, operation.settings, len(values[operation.output].shape) - 2)
        outputs, *sides = values[operation.output].shape[1:]
        assert isinstance(outputs, int)  # as the weights have them
        content = convolution_layer(layer, outputs, len(sides), operation.settings, operation.activation)
        kind = CONVOLUTION
    elif isinstance(layer, SparseLayer | QuadLayer) and operation.settings is None:
        content, kind = linear_layer(layer, operation.activation), LINEAR
    else:
        return False
    constant = graph.constant(f"{operation.layer}/packed", np.frombuffer(content, np.uint8))
    graph.node(kind, [graph.name_of(operation.inputs[0]), constant], graph.name_of(operation.output), domain=DOMAIN)
    return True


def linear_layer(layer: SparseLayer | QuadLayer, activation: Activation | None) -> bytes:
    """What a SparseLinear computes with: rows of inputs to rows of outputs."""
    return _model_file("linear", layer, ("rows", layer.fan_in), ("rows", layer.outputs), activation)


def convolution_layer(
    layer: SparseLayer, outputs: int, dimensions: int, window: Window, activation: Activation | None
) -> bytes:
    """What a SparseConv computes with, over one or two ``dimensions`` of any size; ``outputs`` are its channels."""
    channels = layer.fan_in // (window.kernel[0] * window.kernel[1]) * window.groups
    names = ("height", "width")[-dimensions:]
    made, least = list[Dimension](), dict[str, int]()
    for axis, name in enumerate(names, 2 - dimensions):
        more = window.padding[axis] + window.padding[axis + 2] - window.dilation[axis] * (window.kernel[axis] - 1)
        made.append(_over(_padded(_spread(name, window.upsample[axis]), more), window.stride[axis]))
        least[name] = max(1, 1 - more // window.upsample[axis])
    shapes: tuple[Dimensions, Dimensions] = ("batch", channels, *names), ("batch", outputs, *made)
    return _model_file("convolution", layer, *shapes, activation, window, least)


def _model_file(
    kind: str,
    layer: SparseLayer | QuadLayer,
    x: Dimensions,
    y: Dimensions,
    activation: Activation | None,
    window: Window | None = None,
    sizes: dict[str, int] | None = None,
) -> bytes:
    operation = Operation(kind, (0,), 1, _LAYER, activation, window)
    values = ValueType("f32", x), ValueType("f32", y)
    program = Program(values, (Port("x", 0),), (Port("y", 1),), (operation,), {_LAYER: layer}, sizes=sizes or {})
    return to_bytes(program)


def _spread(size: str, upsample: int) -> Dimension:
    """How many places so many pixels take with zeros between them."""
    return size if upsample == 1 else ("+", ("*", ("-", size, 1), upsample), 1)


def _padded(size: Dimension, more: int) -> Dimension:
    return ("-", size, -more) if more < 0 else plus(size, more)


def _over(size: Dimension, stride: int) -> Dimension:
    """How many places a window of 1 has on so many, at such steps."""
    return size if stride == 1 else ("+", ("//", ("-", size, 1), stride), 1)
