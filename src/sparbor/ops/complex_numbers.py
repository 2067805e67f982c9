"""Complex numbers, as rotary positions have them: a value for their real parts, and one for their imaginary parts.

The engine has none. Whatever moves numbers moves both parts; the others have their rules here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sparbor.ops.activations import activated
from sparbor.ops.arguments import Argument, Complex, Constant, Value, refuse
from sparbor.ops.arithmetic import of_two
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.shapes import RESHAPES, concatenate, sliced
from sparbor.ops.targets import Graph

if TYPE_CHECKING:
    from torch.fx import Node


def is_complex(argument: Argument) -> bool:
    """Whether it is made of two parts."""
    return isinstance(argument, Complex) or (isinstance(argument, Constant) and argument.tensor.is_complex())


def of_parts(graph: Graph, node: Node, name: str, lowering: Lowering | None, args: Any, kwargs: Any) -> Argument:
    """What the operator of that name makes of complex numbers."""
    if name in _RULES:
        return _RULES[name](graph, node, *args, **kwargs)
    if lowering is None or name not in _MOVING:
        refuse(node, f"computes with complex numbers, which the engine does by {', '.join(sorted(_RULES))} alone")
    parts = ([_parts(each, which) for each in args] for which in (0, 1))
    return Complex(*(lowering(graph, node, *part, **kwargs) for part in parts))


def _parts(argument: Argument, which: int) -> Argument:
    """That part of it, or of each that a list holds."""
    return [_part(each, which) for each in argument] if isinstance(argument, (list, tuple)) else _part(argument, which)


def _part(argument: Argument, which: int) -> Argument:
    """The real part, or the imaginary one; what is not complex stays as it is."""
    if isinstance(argument, Complex):
        return argument.imaginary if which else argument.real
    if is_complex(argument):
        return Constant((argument.tensor.imag if which else argument.tensor.real).contiguous(), argument.name)
    return argument


def _multiply(graph: Graph, node: Node, left: Argument, right: Argument) -> Complex:
    """(a + bi)(c + di) = ac − bd + (ad + bc)i."""
    compute = partial(of_two, graph, node, dtype="f32")
    if not (is_complex(left) and is_complex(right)):
        number, factor = (left, right) if is_complex(left) else (right, left)
        return Complex(*(compute("multiply", _part(number, which), factor) for which in (0, 1)))
    products = [[compute("multiply", _part(left, i), _part(right, j)) for j in (0, 1)] for i in (0, 1)]
    real = compute("subtract", products[0][0], products[1][1])
    return Complex(real, compute("add", products[0][1], products[1][0]))


def _add(graph: Graph, node: Node, left: Argument, right: Argument, *, kind: str) -> Complex:
    if not (is_complex(left) and is_complex(right)):
        refuse(node, "adds a complex number and a real one")
    return Complex(*(of_two(graph, node, kind, _part(left, i), _part(right, i), "f32") for i in (0, 1)))


def _size(graph: Graph, node: Node, x: Argument) -> Value:
    """√(a² + b²)."""
    real, imaginary = (of_two(graph, node, "multiply", _part(x, i), _part(x, i), "f32") for i in (0, 1))
    total = of_two(graph, node, "add", real, imaginary, "f32")
    return activated(graph, total, "sqrt")


def _conjugate(graph: Graph, node: Node, x: Argument) -> Complex:
    return Complex(_part(x, 0), of_two(graph, node, "multiply", _part(x, 1), -1, "f32"))


def _pairs(graph: Graph, node: Node, x: Argument) -> Argument:
    """Both parts behind each other along a new last dimension."""
    shape = graph.result_shape(node)
    parts = [graph.reshaped(graph.value(node, _part(x, which)), (*shape[:-1], 1)) for which in (0, 1)]
    return concatenate(graph, node, parts, len(shape) - 1)


def from_pairs(graph: Graph, node: Node, x: Argument) -> Complex:
    """Of a last dimension of two numbers."""
    value, shape = graph.value(node, x), graph.result_shape(node)
    return Complex(*(graph.reshaped(sliced(graph, value, len(shape), which, 1), shape) for which in (0, 1)))


def from_parts(graph: Graph, node: Node, real: Argument, imaginary: Argument) -> Complex:
    """a + bi."""
    return Complex(graph.value(node, real), graph.value(node, imaginary))


def from_angles(graph: Graph, node: Node, size: Argument, angle: Argument) -> Complex:
    """r cos φ + r sin φ i."""
    value = graph.value(node, angle)
    curves = [activated(graph, value, name) for name in _CURVES]
    return Complex(*(of_two(graph, node, "multiply", curve, size, "f32") for curve in curves))


_CURVES: Sequence[str] = ("cos", "sin")

_RULES: Mapping[str, Callable[..., Argument]] = {
    "mul.Tensor": _multiply,
    "add.Tensor": partial(_add, kind="add"),
    "sub.Tensor": partial(_add, kind="subtract"),
    "abs.default": _size,
    "_conj.default": _conjugate,
    "conj_physical.default": _conjugate,
    "view_as_real.default": _pairs,
    "real.default": lambda graph, node, x: graph.value(node, _part(x, 0)),
    "imag.default": lambda graph, node, x: graph.value(node, _part(x, 1)),
}
_MOVING = {
    *RESHAPES,
    *("slice.Tensor", "select.int", "transpose.int", "permute.default", "expand.default", "cat.default"),
    *("index_select.default", "index.Tensor", "repeat.default"),
}

OPERATORS: tuple[Operator, ...] = ()

LOWERINGS: Mapping[str, Lowering] = {
    "view_as_complex.default": from_pairs,
    "complex.default": from_parts,
    "polar.default": from_angles,
}

NEURONS: Mapping[str, str] = {}
