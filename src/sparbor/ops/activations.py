"""The activations: functions of one number, which run by themselves or as the end of another operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sparbor.ops.arguments import Argument, Value, refuse
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.targets import Graph, OnnxGraph, Writer
from sparbor.program.program import Activation, Operation

if TYPE_CHECKING:
    from torch.fx import Node


# From PyTorch.

# The engine's activation, and the default values of its parameters in the order of the operator's arguments.
_OF_PYTORCH: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "relu.default": ("relu", ()),
    "relu6.default": ("clamp", (0.0, 6.0)),
    "hardtanh.default": ("clamp", (-1.0, 1.0)),
    "leaky_relu.default": ("leaky_relu", (0.01,)),
    "elu.default": ("elu", (1.0, 1.0)),
    "selu.default": ("elu", (1.6732632423543772, 1.0507009873554805)),
    "silu.default": ("silu", ()),
    "sigmoid.default": ("sigmoid", ()),
    "tanh.default": ("tanh", ()),
    "hardswish.default": ("hardswish", ()),
    "hardsigmoid.default": ("hardsigmoid", ()),
    "softplus.default": ("softplus", (1.0, 20.0)),
    **{
        f"{name}.default": (name, ())
        for name in (
            *("exp", "log", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "erf", "floor", "ceil", "round"),
            *("log1p", "softsign", "mish"),
        )
    },
    "log_sigmoid.default": ("log_sigmoid", ()),
}


def activation(
    graph: Graph, node: Node, x: Argument, *given: Any, kind: str, defaults: tuple[float, ...], **named: Any
) -> Value:
    """One that is computed number by number."""
    parameters = [*given, *named.values()]
    if kind == "elu" and len(parameters) > 2 and parameters[2] != 1:
        refuse(node, f"is an ELU with input_scale={parameters[2]}")
    parameters = parameters[: len(defaults)]
    values = tuple(float(value) for value in (*parameters, *defaults[len(parameters) :]))
    return _append(graph, node, x, Activation(kind, values))


def gelu(graph: Graph, node: Node, x: Argument, approximate: str = "none") -> Value:
    """Exact, or by tanh."""
    return _append(graph, node, x, Activation("gelu_tanh" if approximate == "tanh" else "gelu"))


def activated(graph: Graph, value: Value, name: str, *parameters: float) -> Value:
    """An activation of a value that an operator is put together from."""
    return graph.append("activation", (value,), graph.shape(value), activation=Activation(name, parameters))


def _append(graph: Graph, node: Node, x: Argument, what: Activation) -> Value:
    result = graph.result(node)
    if result.type != "f32":
        refuse(node, f"computes in {result.type}: the engine has activations of floats")
    value = graph.cast(graph.value(node, x), "f32")
    return graph.append("activation", (value,), result.shape, activation=what)


# To ONNX; those that it has not are put together from what it has.


def _plain(kind: str, *names: str, **attributes: float) -> Callable[..., None]:
    """One that ONNX has: what it calls the parameters, and attributes that are always the same."""

    def add(graph: OnnxGraph, x: str, y: str, *parameters: float) -> None:
        settings: dict[str, Any] = {**dict(zip(names, parameters, strict=True)), **attributes}
        graph.node(kind, [x], y, **settings)

    return add


def _clamp(graph: OnnxGraph, x: str, y: str, low: float, high: float) -> None:
    """Where ``low`` is above ``high`` the engine gives ``high``, and Clip whatever the runtime likes."""
    low = min(low, high)
    least = "" if low == -math.inf else graph.scalar(f"{y}/low", low)
    most = "" if high == math.inf else graph.scalar(f"{y}/high", high)
    graph.node("Clip", [x, least, most], y)


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


def _log1p(graph: OnnxGraph, x: str, y: str) -> None:
    graph.node("Log", [graph.node("Add", [x, graph.scalar("one", 1)])], y)


def _rsqrt(graph: OnnxGraph, x: str, y: str) -> None:
    graph.node("Reciprocal", [graph.node("Sqrt", [x])], y)


def _mish(graph: OnnxGraph, x: str, y: str) -> None:
    """x tanh(log(1 + e^x))."""
    graph.node("Mul", [x, graph.node("Tanh", [graph.node("Softplus", [x])])], y)


def _log_sigmoid(graph: OnnxGraph, x: str, y: str) -> None:
    """−log(1 + e^−x)."""
    graph.node("Neg", [graph.node("Softplus", [graph.node("Neg", [x])])], y)


def _power(graph: OnnxGraph, x: str, y: str, exponent: float) -> None:
    graph.node("Pow", [x, graph.scalar(f"{y}/exponent", exponent)], y)


def activation_to_onnx(graph: OnnxGraph, activation: Activation, x: str, y: str) -> None:
    """Append what computes the value named ``y`` from that named ``x``."""
    ACTIVATIONS[activation.name].to_onnx(graph, x, y, *activation.parameters)


def _to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    assert operation.activation is not None
    activation_to_onnx(graph, operation.activation, graph.name_of(operation.inputs[0]), y)


# To C.


def activation_in_c(activation: Activation, number: Callable[[float], str], x: str, count: str, y: str) -> list[str]:
    """The function of an activation, and its arguments for so many numbers."""
    function = ACTIVATIONS[activation.name].in_c
    assert function is not None  # the writer has looked
    return [function, x, *map(number, activation.parameters), count, y]


def activation_to_c(writer: Writer, activation: Activation, x: str, count: int, y: str) -> None:
    """Call an activation over so many numbers."""
    writer.call(*activation_in_c(activation, writer.number, x, str(count), y))


def _to_c(writer: Writer, _: int, operation: Operation) -> None:
    assert operation.activation is not None
    x, y = writer.x_and_y(operation)
    activation_to_c(writer, operation.activation, x, math.prod(writer.y_shape(operation)), y)


@dataclass(frozen=True)
class ActivationKind:
    """Its parameters' names, of which a kernel takes at most two; what it is to ONNX; its function in C, if any."""

    parameters: tuple[str, ...]
    to_onnx: Callable[..., None]
    in_c: str | None


ACTIVATIONS: Mapping[str, ActivationKind] = {
    "relu": ActivationKind((), _plain("Relu"), "relu"),
    "clamp": ActivationKind(("low", "high"), _clamp, "clamp"),
    "leaky_relu": ActivationKind(("slope",), _plain("LeakyRelu", "alpha"), "leaky_relu"),
    "elu": ActivationKind(("alpha", "scale"), _elu, "elu"),
    "gelu": ActivationKind((), _gelu, "gelu"),
    "gelu_tanh": ActivationKind((), _gelu_tanh, "gelu_tanh"),
    "silu": ActivationKind((), _silu, "silu"),
    "sigmoid": ActivationKind((), _plain("Sigmoid"), "sigmoid"),
    "tanh": ActivationKind((), _plain("Tanh"), "hyperbolic_tangent"),  # C has a function of its name
    "hardswish": ActivationKind((), _plain("HardSwish"), "hardswish"),
    "hardsigmoid": ActivationKind((), _plain("HardSigmoid", alpha=1 / 6, beta=0.5), "hardsigmoid"),
    "softplus": ActivationKind(("beta", "threshold"), _softplus, "softplus"),
    "exp": ActivationKind((), _plain("Exp"), None),
    "log": ActivationKind((), _plain("Log"), None),
    "log1p": ActivationKind((), _log1p, None),
    "sqrt": ActivationKind((), _plain("Sqrt"), None),
    "rsqrt": ActivationKind((), _rsqrt, None),
    "reciprocal": ActivationKind((), _plain("Reciprocal"), None),
    "abs": ActivationKind((), _plain("Abs"), None),
    "negative": ActivationKind((), _plain("Neg"), None),
    "sin": ActivationKind((), _plain("Sin"), None),
    "cos": ActivationKind((), _plain("Cos"), None),
    "erf": ActivationKind((), _plain("Erf"), None),
    "floor": ActivationKind((), _plain("Floor"), None),
    "ceil": ActivationKind((), _plain("Ceil"), None),
    "round": ActivationKind((), _plain("Round"), None),
    "sign": ActivationKind((), _plain("Sign"), None),
    "softsign": ActivationKind((), _plain("Softsign"), None),
    "mish": ActivationKind((), _mish, None),
    "log_sigmoid": ActivationKind((), _log_sigmoid, None),
    "power": ActivationKind(("exponent",), _power, None),
}

OPERATORS = (Operator("activation", _to_onnx, _to_c, activation="yes", in_place_in_c=True),)

LOWERINGS: Mapping[str, Lowering] = {
    **{name: partial(activation, kind=kind, defaults=defaults) for name, (kind, defaults) in _OF_PYTORCH.items()},
    "gelu.default": gelu,
}

# Other operators are tagged by PyTorch as computed number by number; these are not, and the engine has none of them.
_UNTAGGED = ("log_sigmoid.default", "where.ScalarSelf", "_to_copy.default", "to.dtype")

NEURONS: Mapping[str, str] = dict.fromkeys((*LOWERINGS, *_UNTAGGED), "number_by_number")
