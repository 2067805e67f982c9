"""Activations as nodes of ONNX; those that it has not are put together from what it has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from sparbor.export.onnx.graph import OnnxGraph
from sparbor.program.program import Activation


def add_activation(graph: OnnxGraph, activation: Activation, x: str, y: str) -> None:
    """Append what computes the value named ``y`` from that named ``x``."""
    _ACTIVATIONS[activation.name](graph, x, y, *activation.parameters)


def _plain(kind: str, **attributes: float) -> Callable[[OnnxGraph, str, str], None]:
    def add(graph: OnnxGraph, x: str, y: str) -> None:
        graph.node(kind, [x], y, **attributes)

    return add


def _clamp(graph: OnnxGraph, x: str, y: str, low: float, high: float) -> None:
    """Where ``low`` is above ``high`` the engine gives ``high``, and Clip whatever the runtime likes."""
    low = min(low, high)
    least = "" if low == -math.inf else graph.scalar(f"{y}/low", low)
    most = "" if high == math.inf else graph.scalar(f"{y}/high", high)
    graph.node("Clip", [x, least, most], y)


def _leaky_relu(graph: OnnxGraph, x: str, y: str, slope: float) -> None:
    graph.node("LeakyRelu", [x], y, alpha=slope)


def _elu(graph: OnnxGraph, x: str, y: str, alpha: float, scale: float) -> None:
    unscaled = graph.node("Elu", [x], y if scale == 1 else None, alpha=alpha)
    if scale != 1:
        graph.node("Mul", [unscaled, graph.scalar(f"{y}/scale", scale)], y)


def _gelu(graph: OnnxGraph, x: str, y: str) -> None:
    """x / 2 · (1 + erf(x / √2))."""
    narrowed = graph.node("Div", [x, graph.scalar("sqrt_2", math.sqrt(2))])
    _half_of_x_times_one_plus(graph, x, graph.node("Erf", [narrowed]), y)


def _gelu_tanh(graph: OnnxGraph, x: str, y: str) -> None:
    """x / 2 · (1 + tanh(√(2 / π) · (x + 0.044715 x³)))."""
    square = graph.node("Mul", [x, x])
    bend = graph.node("Mul", [square, graph.scalar("gelu_cubic", 0.044715)])
    factor = graph.node("Add", [bend, graph.scalar("one", 1)])
    bent = graph.node("Mul", [x, factor])
    inside = graph.node("Mul", [bent, graph.scalar("sqrt_2_over_pi", math.sqrt(2 / math.pi))])
    _half_of_x_times_one_plus(graph, x, graph.node("Tanh", [inside]), y)


def _half_of_x_times_one_plus(graph: OnnxGraph, x: str, curve: str, y: str) -> None:
    raised = graph.node("Add", [curve, graph.scalar("one", 1)])
    product = graph.node("Mul", [x, raised])
    graph.node("Mul", [product, graph.scalar("half", 0.5)], y)


def _silu(graph: OnnxGraph, x: str, y: str) -> None:
    graph.node("Mul", [x, graph.node("Sigmoid", [x])], y)


def _softplus(graph: OnnxGraph, x: str, y: str, beta: float, threshold: float) -> None:
    """log(1 + e^(beta x)) / beta, and x itself where beta x is above the threshold."""
    steepness = graph.scalar(f"{y}/beta", beta)
    steep = graph.node("Mul", [x, steepness])
    smooth = graph.node("Div", [graph.node("Softplus", [steep]), steepness])
    straight = graph.node("Greater", [steep, graph.scalar(f"{y}/threshold", threshold)])
    graph.node("Where", [straight, x, smooth], y)


_ACTIVATIONS: Mapping[str, Callable[..., None]] = {
    "relu": _plain("Relu"),
    "clamp": _clamp,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "sigmoid": _plain("Sigmoid"),
    "tanh": _plain("Tanh"),
    "hardswish": _plain("HardSwish"),
    "hardsigmoid": _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    "softplus": _softplus,
}
