"""Batch norms as scales and shifts, layer norms, and softmax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from sparbor.errors import ArgumentError
from sparbor.lowering.graph import Argument, Constant, Graph, Operator, Value
from sparbor.lowering.neurons import NeuronRule, channel_by_channel
from sparbor.lowering.tracing import where
from sparbor.lowering.weights import as_numpy
from sparbor.packing.slots import not_finite
from sparbor.program.program import Affine, Normalisation


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
    scale = torch.rsqrt(variance.tensor.double() + epsilon)
    if weight is not None:
        scale *= weight.tensor
    shift = -mean.tensor.double() * scale
    if bias is not None:
        shift += bias.tensor
    affine = Affine(as_numpy(scale), as_numpy(shift))
    if not_finite(affine.arrays()):
        raise ArgumentError(f"layer {name!r} is a batch norm that divides by 0 or holds NaN or infinity: mend it")
    graph.weights[name] = affine
    shape = graph.shapes[value]
    kind = "affine" if len(shape) == 1 else "channel_affine"
    return graph.append(kind, (value,), shape, layer=name), None, None


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
    rows = graph.in_rows(graph.value(node, x), len(normalized))
    name = None
    if weight is not None or bias is not None:
        name = graph.layer_name(node, weight or bias)
        features = graph.shapes[rows][-1]
        scale = np.ones(features, np.float32) if weight is None else as_numpy(weight.tensor.reshape(-1))
        shift = np.zeros(features, np.float32) if bias is None else as_numpy(bias.tensor.reshape(-1))
        graph.weights[name] = Affine(scale, shift)
    settings = Normalisation(float(epsilon))
    normal = graph.append("layer_norm", (rows,), graph.shapes[rows], layer=name, settings=settings)
    return graph.reshaped(normal, graph.result_shape(node))


def softmax(graph: Graph, node: Node, x: Argument, dim: int, *_: Any, **__: Any) -> Value:
    """Over the last dimension."""
    value = graph.value(node, x)
    shape = graph.shapes[value]
    if not shape or dim not in (-1, len(shape)):
        raise ArgumentError(f"{where(node)} is a softmax over dimension {dim}: the engine has it over the last")
    rows = graph.in_rows(value)
    return graph.reshaped(graph.append("softmax", (rows,), graph.shapes[rows]), graph.result_shape(node))


OPERATORS: Mapping[str, Operator] = {
    "_native_batch_norm_legit_no_training.default": batch_norm,
    "layer_norm.default": layer_norm,
    "native_layer_norm.default": lambda *args: (layer_norm(*args), None, None),
    "softmax.int": softmax,
    "_softmax.default": softmax,
}

# With its own statistics, or with those of the batch, which the engine has not.
NEURONS: Mapping[str, NeuronRule] = {
    "_native_batch_norm_legit_no_training.default": channel_by_channel,
    "_native_batch_norm_legit.no_stats": channel_by_channel,
}
