"""Operators on host values: how shapes are computed, in numbers and in symbols of sizes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from sparbor.onnx_import.node import Array, Node
from sparbor.onnx_import.values import (
    SYMBOLS,
    has_symbols,
    host,
    least_of,
    most_of,
    places_backwards,
    torch_type,
    whole_of,
)

HostOperator: TypeAlias = Callable[..., Any]  # of a node and of its inputs, all of them host values

_MOST = 4096  # numbers of one host value: what is larger is no shape, and becomes a tensor


class NotOnHostError(Exception):
    """What is to be computed as a tensor after all."""


def _each(function: Callable[..., Any]) -> HostOperator:
    """A function of single numbers, over arrays that are broadcast."""

    def applied(_: Node, *given: Array) -> Array:
        arrays = np.broadcast_arrays(*given)
        made = [function(*each) for each in zip(*(array.ravel().tolist() for array in arrays), strict=True)]
        return _like(host(_filled(arrays[0].shape, made)), given)

    return applied


def _filled(shape: tuple[int, ...], flat: Sequence[Any]) -> Array:
    made = np.empty(len(flat), object)
    for place, each in enumerate(flat):  # of symbols NumPy would ask whether they are sequences
        made[place] = each
    return made.reshape(shape)


def _like(made: Array, given: Sequence[Array]) -> Array:
    """Numbers in the type that arithmetic keeps in ONNX, where all that is given has one."""
    types = {array.dtype for array in given}
    kept = len(types) == 1 and not has_symbols(made) and not has_symbols(given[0]) and made.dtype != np.bool_
    return made.astype(given[0].dtype) if kept else made


def _folded(function: Callable[[Any, Any], Any]) -> HostOperator:
    """A function of two numbers, over any number of arrays."""

    def applied(node: Node, first: Array, *others: Array) -> Array:
        for each in others:
            first = _each(function)(node, first, each)
        return first

    return applied


def _quotient(one: Any, other: Any) -> Any:
    """Of whole numbers rounded towards zero, as ONNX has it; sizes are not negative."""
    if isinstance(one, (float, torch.SymFloat)) or isinstance(other, (float, torch.SymFloat)):
        return one / other
    if isinstance(one, SYMBOLS) or isinstance(other, SYMBOLS):
        return one // other
    return abs(one) // abs(other) * (1 if (one < 0) == (other < 0) else -1)


def _chosen(condition: Any, one: Any, other: Any) -> Any:
    return one if condition else other


def _cast(node: Node, x: Array) -> Any:
    dtype = torch_type(node, node.get("to"))
    if not has_symbols(x):
        return x.astype(str(dtype).removeprefix("torch."))
    if dtype in (torch.int64, torch.int32):
        return _whole(node, x)
    if dtype == torch.float32:
        return _real(node, x)
    raise NotOnHostError


_whole = _each(lambda each: whole_of(each) if isinstance(each, (float, torch.SymFloat)) else each)
_real = _each(torch.sym_float)


def _mod(node: Node, one: Array, other: Array) -> Any:
    if node.get("fmod", 0):
        raise NotOnHostError
    return _remainder(node, one, other)


_remainder = _each(operator.mod)


def _rounded(function: Callable[[float], int]) -> HostOperator:
    """A function that rounds; symbols are whole numbers, unless they are quotients."""

    def applied(node: Node, x: Array) -> Any:
        if has_symbols(x):
            raise NotOnHostError
        return _each(lambda each: float(function(each)))(node, x)

    return applied


def _gather(node: Node, x: Array, places: Array) -> Array:
    if has_symbols(places):
        raise NotOnHostError
    return np.array(np.take(x, places.astype(np.int64), node.get("axis", 0)), x.dtype)  # of one number, no scalar


def _slice(node: Node, x: Array, *bounds: Array) -> Array:
    if any(has_symbols(each) for each in bounds):
        raise NotOnHostError
    if bounds:
        starts, ends, axes, steps = (each.tolist() for each in (*bounds, *_rest(bounds, x.ndim)))
    else:
        starts, ends = node.get("starts"), node.get("ends")
        axes, steps = node.get("axes", list(range(len(starts)))), [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        wanted: Any = slice(start, end, step) if step > 0 else places_backwards(x.shape[axis], start, end, step)
        x = x[(slice(None),) * (axis % x.ndim) + (wanted,)]
    return x


def _rest(bounds: Sequence[Array], rank: int) -> list[Array]:
    """Axes and steps, where they are left out."""
    count = len(bounds[0])
    return [np.arange(count), np.ones(count, np.int64)][len(bounds) - 2 :]


def _axes(node: Node, given: Sequence[Array]) -> tuple[int, ...] | None:
    """Which are an attribute or, from operator set 13 on, an input."""
    axes = given[0].tolist() if given else node.get("axes")
    return None if axes is None else tuple(int(axis) for axis in axes)


def _squeeze(node: Node, x: Array, *axes: Array) -> Array:
    return np.squeeze(x, _axes(node, axes))


def _unsqueeze(node: Node, x: Array, *axes: Array) -> Array:
    return np.expand_dims(x, _axes(node, axes) or ())


def _concat(node: Node, *given: Array) -> Array:
    return np.concatenate(given, node.get("axis", 0))


def _reshape(node: Node, x: Array, shape: Array) -> Array:
    if has_symbols(shape):
        raise NotOnHostError
    wanted = [x.shape[place] if size == 0 else size for place, size in enumerate(shape.tolist())]
    return x.reshape(wanted)


def _transpose(node: Node, x: Array) -> Array:
    return np.transpose(x, node.get("perm"))


def _constant_of_shape(node: Node, shape: Array) -> Array:
    if has_symbols(shape) or int(np.prod(shape)) > _MOST:
        raise NotOnHostError
    fill = node.get("value")
    value: Array = np.zeros(1, np.float32) if fill is None else fill
    return np.full(shape.astype(np.int64).tolist(), value.reshape(()))


def _expand(_: Node, x: Array, shape: Array) -> Array:
    if has_symbols(shape) or int(np.prod(shape)) > _MOST:
        raise NotOnHostError
    return np.array(np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.astype(np.int64).tolist()))))


def _tile(_: Node, x: Array, times: Array) -> Array:
    if has_symbols(times):
        raise NotOnHostError
    return np.tile(x, times.tolist())


def _range(_: Node, start: Array, limit: Array, step: Array) -> Array:
    if any(has_symbols(each) for each in (start, limit, step)):
        raise NotOnHostError
    made = np.arange(start.item(), limit.item(), step.item(), dtype=start.dtype)
    if made.size > _MOST:
        raise NotOnHostError
    return made


def _reduced(function: Callable[[Any, Any], Any]) -> HostOperator:
    """Over all dimensions of a host value, which has one at most where sizes are in it."""

    def applied(node: Node, x: Array, *axes: Array) -> Array:
        if x.ndim > 1 or not x.size:
            raise NotOnHostError
        result, *others = x.ravel().tolist()
        for each in others:
            result = function(result, each)
        return _like(host([result] if x.ndim and node.get("keepdims", 1) else result), [x])

    return applied


def _split(node: Node, x: Array, *sizes: Array) -> tuple[Array, ...]:
    wanted = sizes[0].tolist() if sizes else node.get("split")
    axis, parts = node.get("axis", 0), len(node.outputs)
    if wanted is None:
        each = -(-x.shape[axis] // parts)
        wanted = [each] * (parts - 1)
        return tuple(np.split(x, np.cumsum(wanted).tolist(), axis))
    return tuple(np.split(x, np.cumsum(wanted)[:-1].tolist(), axis))


HOST: Mapping[str, HostOperator] = {
    "Abs": _each(abs),
    "Add": _each(operator.add),
    "And": _each(lambda one, other: bool(one) and bool(other)),
    "Cast": _cast,
    "Ceil": _rounded(math.ceil),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": _each(_quotient),
    "Equal": _each(lambda one, other: bool(one == other)),
    "Expand": _expand,
    "Floor": _rounded(math.floor),
    "Gather": _gather,
    "Greater": _each(lambda one, other: bool(one > other)),
    "GreaterOrEqual": _each(lambda one, other: bool(one >= other)),
    "Identity": lambda _, x: x,
    "Less": _each(lambda one, other: bool(one < other)),
    "LessOrEqual": _each(lambda one, other: bool(one <= other)),
    "Max": _folded(most_of),
    "Min": _folded(least_of),
    "Mod": _mod,
    "Mul": _each(operator.mul),
    "Neg": _each(operator.neg),
    "Not": _each(lambda each: not each),
    "Or": _each(lambda one, other: bool(one) or bool(other)),
    "Pow": _each(operator.pow),
    "Range": _range,
    "ReduceMax": _reduced(most_of),
    "ReduceMin": _reduced(least_of),
    "ReduceProd": _reduced(operator.mul),
    "ReduceSum": _reduced(operator.add),
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _each(lambda each: torch.sym_sqrt(each) if isinstance(each, SYMBOLS) else each**0.5),
    "Squeeze": _squeeze,
    "Sub": _each(operator.sub),
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _each(_chosen),
}


def on_host(node: Node, given: Sequence[Any]) -> Any:
    """What the node makes of host values; ``None`` if that is for tensors to compute."""
    computed = HOST.get(node.kind)
    while given and given[-1] is None:
        given = given[:-1]
    if computed is None or not given or any(each is None or not isinstance(each, np.ndarray) for each in given):
        return None
    try:
        return computed(node, *given)
    except NotOnHostError:
        return None
