"""Scales and shifts by feature or by channel, which batch norms become; layer norms, and softmax."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.ops.arguments import Argument, Constant, Value, as_numpy, refuse
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph, Writer
from sparbor.packing.slots import not_finite
from sparbor.program.program import Axis, GroupNormalisation, Normalisation, Operation, ScaleShift
from sparbor.program.windows import Shape

if TYPE_CHECKING:
    from torch.fx import Node


# From PyTorch.


def batch_norm(
    graph: Graph,
    node: Node,
    x: Argument,
    weight: Constant | None,
    bias: Constant | None,
    mean: Constant,
    variance: Constant,
    momentum: float,
    epsilon: float,
) -> tuple[Value, None, None]:
    """With the statistics of the training: a scale and a shift for each channel."""
    value = graph.value(node, x)
    name = graph.layer_name(node, variance)
    scale = (variance.tensor.double() + epsilon).rsqrt()
    if weight is not None:
        scale *= weight.tensor
    shift = -mean.tensor.double() * scale
    if bias is not None:
        shift += bias.tensor
    scale_shift = ScaleShift(as_numpy(scale), as_numpy(shift))
    if not_finite(scale_shift.arrays()):
        raise ArgumentError(f"layer {name!r} is a batch norm that divides by 0 or holds NaN or infinity: mend it")
    graph.weights[name] = scale_shift
    shape = graph.shape(value)
    return graph.append("scale_shift", (value,), shape, layer=name, settings=Axis(1)), None, None


def batch_norm_of_the_batch(_: Graph, node: Node, *__: Any) -> NoReturn:
    """Of constants, which weights are normalised with, it is never asked for."""
    refuse(node, "is a batch norm without running statistics, so depends on the batch: track them in training")


def layer_norm(
    graph: Graph,
    node: Node,
    x: Argument,
    normalized: Sequence[int],
    weight: Constant | None = None,
    bias: Constant | None = None,
    epsilon: float = 1e-5,
    *_: Any,
) -> Value:
    """Over the last dimensions, as many as `normalized` has."""
    value = graph.value(node, x)
    shape = graph.shape(value)
    rows = graph.reshaped(value, (*shape[: len(shape) - len(normalized)], math.prod(normalized)))
    name = None
    if weight is not None or bias is not None:
        name = graph.layer_name(node, weight or bias)
        features = math.prod(normalized)
        scale = np.ones(features, np.float32) if weight is None else as_numpy(weight.tensor.reshape(-1))
        shift = np.zeros(features, np.float32) if bias is None else as_numpy(bias.tensor.reshape(-1))
        graph.weights[name] = ScaleShift(scale, shift)
    settings = Normalisation(float(epsilon))
    normal = graph.append("layer_norm", (rows,), graph.shape(rows), layer=name, settings=settings)
    return graph.reshaped(normal, shape)


def softmax(graph: Graph, node: Node, x: Argument, dim: int, *_: Any, kind: str = "softmax", **__: Any) -> Value:
    """Over a dimension, which is the last meanwhile."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    if graph.result(node).type != "f32" or not shape:
        refuse(node, "is a softmax of what is no row of floats")
    order = list(range(len(shape)))
    order[-1], order[dim] = order[dim], order[-1]
    last = graph.permuted(graph.cast(value, "f32"), order)
    return graph.permuted(graph.append(kind, (last,), graph.shape(last)), order)


def group_norm(
    graph: Graph,
    node: Node,
    x: Argument,
    groups: int,
    weight: Constant | None = None,
    bias: Constant | None = None,
    epsilon: float = 1e-5,
    *_: Any,
) -> Value:
    """Over groups of channels and all that lies behind them."""
    value = graph.value(node, x)
    name = None
    if weight is not None or bias is not None:
        name = graph.layer_name(node, weight or bias)
        channels = len((weight or bias).tensor)  # type: ignore[union-attr]
        scale = np.ones(channels, np.float32) if weight is None else as_numpy(weight.tensor)
        shift = np.zeros(channels, np.float32) if bias is None else as_numpy(bias.tensor)
        graph.weights[name] = ScaleShift(scale, shift)
    settings = GroupNormalisation(float(epsilon), groups)
    return graph.append("group_norm", (value,), graph.shape(value), layer=name, settings=settings)


def instance_norm(
    graph: Graph,
    node: Node,
    x: Argument,
    weight: Constant | None,
    bias: Constant | None,
    mean: Constant | None,
    variance: Constant | None,
    use_input_stats: bool,
    momentum: float,
    epsilon: float,
    *_: Any,
) -> Any:
    """A group norm of as many groups as channels; with the statistics of the training a batch norm."""
    if not use_input_stats and mean is not None and variance is not None:
        return batch_norm(graph, node, x, weight, bias, mean, variance, momentum, epsilon)[0]
    channels = graph.shape(graph.value(node, x))[1]
    if not isinstance(channels, int):
        refuse(node, "norms channels of which there are as many as the inputs' sizes say")
    return group_norm(graph, node, x, channels, weight, bias, epsilon)


def rms_norm(
    graph: Graph,
    node: Node,
    x: Argument,
    normalized: Sequence[int],
    weight: Constant | None = None,
    epsilon: float | None = None,
) -> Value:
    """x / √(mean x² + epsilon) · weight over the last dimensions (Zhang and Sennrich, 2019)."""
    value = graph.value(node, x)
    shape = graph.shape(value)
    rows = graph.reshaped(value, (*shape[: len(shape) - len(normalized)], math.prod(normalized)))
    name = None
    if weight is not None:
        name = graph.layer_name(node, weight)
        graph.weights[name] = ScaleShift(
            as_numpy(weight.tensor.reshape(-1)), np.zeros(math.prod(normalized), np.float32)
        )
    settings = Normalisation(float(np.finfo(np.float32).eps if epsilon is None else epsilon))
    return graph.reshaped(graph.append("rms_norm", (rows,), graph.shape(rows), layer=name, settings=settings), shape)


# To ONNX.


def _scale_shift_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    after = len(graph.program.values[operation.output].shape) - 1 - operation.settings_as(Axis).axis
    _scaled_and_shifted(graph, operation, graph.name_of(operation.inputs[0]), after, y)


def _layer_norm_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    if operation.layer is None:
        features = graph.program.values[operation.output].shape[-1]
        if not isinstance(features, int):
            raise ArgumentError("a layer norm of any number of features cannot be exported to ONNX: fix the size")
        names = [graph.constant(f"{y}/ones", np.ones(features, np.float32))]
    else:
        parts = _scale_and_shift(graph, operation).arrays()
        names = [graph.constant(f"{operation.layer}/{part}", array) for part, array in parts.items()]
    x = graph.name_of(operation.inputs[0])
    graph.node("LayerNormalization", [x, *names], y, axis=-1, epsilon=operation.settings_as(Normalisation).epsilon)


def _rms_norm_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """x / √(mean of x² + epsilon), scaled and shifted if there is a layer."""
    x = graph.name_of(operation.inputs[0])
    epsilon = graph.scalar(f"{y}/epsilon", operation.settings_as(Normalisation).epsilon)
    mean = graph.node("ReduceMean", [graph.node("Mul", [x, x])], axes=[-1])
    root = graph.node("Sqrt", [graph.node("Add", [mean, epsilon])])
    _scaled_and_shifted(graph, operation, graph.node("Div", [x, root], None if operation.layer else y), 0, y)


def _group_norm_to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """An instance norm of each group as if it were one channel."""
    x, settings = graph.name_of(operation.inputs[0]), operation.settings_as(GroupNormalisation)
    grouped = graph.node("Reshape", [x, graph.integers(f"{y}/groups", [0, settings.groups, -1])])
    ones = graph.constant(f"{y}/ones", np.ones(settings.groups, np.float32))
    zeros = graph.constant(f"{y}/zeros", np.zeros(settings.groups, np.float32))
    normal = graph.node("InstanceNormalization", [grouped, ones, zeros], epsilon=settings.epsilon)
    whole = graph.node("Reshape", [normal, graph.node("Shape", [x])], None if operation.layer else y)
    _scaled_and_shifted(graph, operation, whole, len(graph.program.values[operation.output].shape) - 2, y)


def _scaled_and_shifted(graph: OnnxGraph, operation: Operation, x: str, after: int, y: str) -> None:
    """By the layer, if there is one; so many dimensions come after the one along which its numbers vary."""
    if operation.layer is None:
        return
    layer, shape = _scale_and_shift(graph, operation), (-1, *[1] * after)
    scaled = graph.node("Mul", [x, graph.constant(f"{operation.layer}/scale", layer.scale.reshape(shape))])
    graph.node("Add", [scaled, graph.constant(f"{operation.layer}/shift", layer.shift.reshape(shape))], y)


def _scale_and_shift(graph: OnnxGraph, operation: Operation) -> ScaleShift:
    layer = graph.program.layers[str(operation.layer)]
    assert isinstance(layer, ScaleShift)
    return layer


def _softmax_to_onnx(graph: OnnxGraph, operation: Operation, y: str, *, node: str) -> None:
    graph.node(node, [graph.name_of(operation.inputs[0])], y, axis=-1)


# To C.


def _scale_shift_to_c(writer: Writer, _: int, operation: Operation) -> None:
    """Numbers of the last dimension have one each, planes of a channel one together."""
    x, y = writer.x_and_y(operation)
    shape, numbers = writer.y_shape(operation), writer.scale_and_shift(str(operation.layer))
    if operation.settings_as(Axis).axis == len(shape):
        writer.call("scale_shift_rows", x, *numbers, *_features_and_rows(shape), y)
    else:
        writer.call("scale_shift_channels", x, *numbers, shape[0], math.prod(shape[1:]), y)


def _layer_norm_to_c(writer: Writer, _: int, operation: Operation) -> None:
    x, y = writer.x_and_y(operation)
    numbers = ("NULL", "NULL") if operation.layer is None else writer.scale_and_shift(operation.layer)
    sizes = _features_and_rows(writer.y_shape(operation))
    writer.call("layer_norm", x, *numbers, writer.number(operation.settings_as(Normalisation).epsilon), *sizes, y)


def _softmax_to_c(writer: Writer, _: int, operation: Operation) -> None:
    x, y = writer.x_and_y(operation)
    writer.call("softmax", x, *_features_and_rows(writer.y_shape(operation)), y)


def _features_and_rows(shape: Shape) -> tuple[int, int]:
    return shape[-1], math.prod(shape[:-1])


OPERATORS = (
    Operator("scale_shift", _scale_shift_to_onnx, _scale_shift_to_c, layer="yes", settings=Axis, in_place_in_c=True),
    Operator(
        "layer_norm", _layer_norm_to_onnx, _layer_norm_to_c, layer="maybe", settings=Normalisation, in_place_in_c=True
    ),
    Operator("rms_norm", _rms_norm_to_onnx, None, layer="maybe", settings=Normalisation),
    Operator("group_norm", _group_norm_to_onnx, None, layer="maybe", settings=GroupNormalisation),
    Operator("softmax", partial(_softmax_to_onnx, node="Softmax"), _softmax_to_c, in_place_in_c=True),
    Operator("log_softmax", partial(_softmax_to_onnx, node="LogSoftmax"), None),
)

LOWERINGS: Mapping[str, Lowering] = {
    "_native_batch_norm_legit.no_stats": batch_norm_of_the_batch,
    "_native_batch_norm_legit_no_training.default": batch_norm,
    "layer_norm.default": layer_norm,
    "native_layer_norm.default": lambda *args: (layer_norm(*args), None, None),
    "softmax.int": softmax,
    "_softmax.default": softmax,
    "log_softmax.int": partial(softmax, kind="log_softmax"),
    "_log_softmax.default": partial(softmax, kind="log_softmax"),
    "group_norm.default": group_norm,
    "native_group_norm.default": lambda graph, node, x, weight, bias, n, c, hw, groups, epsilon: (
        group_norm(graph, node, x, groups, weight, bias, epsilon),
        None,
        None,
    ),
    "instance_norm.default": instance_norm,
    "rms_norm.default": rms_norm,
}

# With its own statistics, or with those of the batch, which the engine has not.
NEURONS: Mapping[str, str] = {
    "_native_batch_norm_legit_no_training.default": "channel_by_channel",
    "_native_batch_norm_legit.no_stats": "channel_by_channel",
}
