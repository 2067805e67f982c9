"""Activations that are spelled out: GELU in both its forms, and SiLU, whatever the order of sums and products.

What a model multiplies and adds is a polynomial in x and in a function of x, such as x/2 + x/2 · tanh(…); its
coefficients say which activation it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from sparbor.lower.rewrites.draft import Draft
from sparbor.program.program import Activation, Operation

# By how often x and the function are factors of it, the coefficient of a term.
_Polynomial: TypeAlias = dict[tuple[int, int], float]

_DEEP = 6  # operations between x and the function, or the function and the activation
_LARGEST_POWER = 4

# By the function: the activation, the polynomial that it is, and the one that the function is of.
_SPELLED: Mapping[str, tuple[str, _Polynomial, _Polynomial]] = {
    "erf": ("gelu", {(1, 0): 0.5, (1, 1): 0.5}, {(1, 0): math.sqrt(0.5)}),
    "tanh": (
        "gelu_tanh",
        {(1, 0): 0.5, (1, 1): 0.5},
        {(1, 0): math.sqrt(2 / math.pi), (3, 0): 0.044715 * math.sqrt(2 / math.pi)},
    ),
    "sigmoid": ("silu", {(1, 1): 1.0}, {(1, 0): 1.0}),
}


def activation(draft: Draft, operation: Operation) -> Operation | None:
    """A product, or a scaled one, that is an activation of some value."""
    if operation.kind not in ("multiply", "scale_shift") or operation.activation is not None:
        return None
    if draft.dtype(operation.output) != "f32":
        return None
    draft.keep(operation)
    try:
        return _found(draft, operation)
    finally:
        draft.drop(operation)


def _found(draft: Draft, operation: Operation) -> Operation | None:
    for function in _below(draft, operation.output, _DEEP):
        made = draft.made_by(function, "activation")
        if made is None or made.activation is None or made.activation.name not in _SPELLED:
            continue
        name, whole, inner = _SPELLED[made.activation.name]
        for x in _below(draft, made.inputs[0], _DEEP):
            if draft.shape(x) != draft.shape(operation.output):
                continue
            of_x = _polynomial(draft, made.inputs[0], x, None, _DEEP)
            if _alike(of_x, inner) and _alike(_polynomial(draft, operation.output, x, function, _DEEP), whole):
                return Operation("activation", (x,), operation.output, activation=Activation(name))
    return None


def _below(draft: Draft, value: int, depth: int) -> Iterator[int]:
    """The value and what it is computed of by sums, products and powers."""
    yield value
    made = draft.made_by(value, "multiply", "add", "scale_shift", "divide", "subtract")
    if made is None and draft.activation(value, "power") is not None:
        made = draft.made_by(value, "activation")
    if made is not None and depth > 0:
        for each in dict.fromkeys(made.inputs):
            yield from _below(draft, each, depth - 1)


def _polynomial(draft: Draft, value: int, x: int, function: int | None, depth: int) -> _Polynomial | None:
    """The value as a polynomial in x and in the function; None if it is computed of anything else."""
    if value == x:
        return {(1, 0): 1.0}
    if value == function:
        return {(0, 1): 1.0}
    if depth == 0:
        return None
    if (scaled := draft.scaled(value)) is not None:
        of, scale, shift = scaled
        inner = _polynomial(draft, of, x, function, depth - 1)
        return None if inner is None else _sum(_product(inner, {(0, 0): scale}), {(0, 0): shift})
    if (base := draft.activation(value, "power")) is not None:
        made = draft.made_by(value, "activation")
        assert made is not None
        assert made.activation is not None
        exponent = made.activation.parameters[0]
        inner = _polynomial(draft, base, x, function, depth - 1)
        if inner is None or exponent not in range(1, _LARGEST_POWER):
            return None
        power = inner
        for _ in range(int(exponent) - 1):
            power = _product(power, inner)
        return power
    if (made := draft.made_by(value, "add", "multiply")) is None:
        return None
    left, right = (_polynomial(draft, each, x, function, depth - 1) for each in made.inputs)
    if left is None or right is None:
        return None
    return _sum(left, right) if made.kind == "add" else _product(left, right)


def _sum(left: _Polynomial, right: _Polynomial) -> _Polynomial:
    return {key: left.get(key, 0.0) + right.get(key, 0.0) for key in {*left, *right}}


def _product(left: _Polynomial, right: _Polynomial) -> _Polynomial:
    made: _Polynomial = {}
    for (i, j), one in left.items():
        for (k, m), other in right.items():
            made[i + k, j + m] = made.get((i + k, j + m), 0.0) + one * other
    return made


def _alike(found: _Polynomial | None, wanted: _Polynomial) -> bool:
    """Whether the coefficients are the same, but for the digits that people write down."""
    if found is None:
        return False
    keys = {*(key for key, number in found.items() if number != 0), *wanted}
    return all(math.isclose(found.get(key, 0.0), wanted.get(key, 0.0), rel_tol=1e-6) for key in keys)
