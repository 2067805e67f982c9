"""Masks as models compute them for any size, with whole numbers and flags, of which little has to be computed.

A mask of padding alone is often made of a comparison that is always true, and of indices into the flattened mask that
choose each place where it is. What is left is the mask itself, which attention reads for all queries.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sparbor.lower.rewrites.draft import Draft
from sparbor.program.program import Axis, ConstantArray, Dimension, Operation, Range, ScaleShift, Slice


def always_true(draft: Draft, operation: Operation) -> Operation | None:
    """A comparison that holds in every call is a constant: position ≥ 0."""
    sides = {"greater_equal": operation.inputs, "less_equal": operation.inputs[::-1]}.get(operation.kind)
    if sides is None:
        return None
    least, most = _least(draft, sides[0]), draft.number(sides[1])
    if least is None or most is None or least < most or draft.dtype(sides[0]) == "f32":
        return None
    return _expanded(draft, _flag(draft), operation)


def _least(draft: Draft, value: int) -> float | None:
    """What no number of the value is less than; None if that is not known."""
    if (number := draft.number(value)) is not None:
        return number
    if (made := draft.made_by(value, "range")) is not None:
        settings = made.settings_as(Range)
        return settings.start if settings.step >= 0 else None
    if (made := draft.made_by(value, "reshape", "expand", "slice", "permute")) is not None:
        return _least(draft, made.inputs[0])
    if (made := draft.made_by(value, "add")) is not None:
        left, right = (_least(draft, each) for each in made.inputs)
        return None if left is None or right is None else left + right
    return None


def _flag(draft: Draft) -> int:
    return draft.constant(ConstantArray(np.array(True)), "bool")


def _expanded(draft: Draft, value: int, operation: Operation) -> Operation:
    """The value, repeated where the operation's result is larger, in its place."""
    shape = draft.shape(operation.output)
    own = draft.shape(value)
    value = draft.reshaped(value, (*(1,) * (len(shape) - len(own)), *own))
    kind = "reshape" if draft.shape(value) == shape else "expand"
    return Operation(kind, (value,), operation.output)


def neutral(draft: Draft, operation: Operation) -> Operation | None:
    """`and` with true, `or` with false, and what adds 0 and multiplies by 1, are the other side."""
    if operation.kind == "scale_shift" and (by := draft.weights[str(operation.layer)]) is not None:
        assert isinstance(by, ScaleShift)
        changes = (by.scale != 1).any() or (by.shift != 0).any()
        return None if changes else _expanded(draft, operation.inputs[0], operation)
    numbers = {"logical_and": 1, "logical_or": 0, "add": 0, "multiply": 1}
    wanted = numbers.get(operation.kind)
    if wanted is None or operation.activation is not None:
        return None
    if operation.kind in ("add", "multiply") and draft.dtype(operation.output) == "f32":
        return None  # −0 + 0 is 0
    for value, other in (operation.inputs, operation.inputs[::-1]):
        if draft.number(other) == wanted:
            return _expanded(draft, value, operation)
    return None


def remainder_of_position(draft: Draft, operation: Operation) -> Operation | None:
    """A position from 0 to n − 1, modulo n, is itself."""
    if operation.kind != "remainder":
        return None
    position, by = operation.inputs
    size = _positions(draft, position)
    if size is None or size != _size(draft, by) or draft.shape(position) != draft.shape(operation.output):
        return None
    return Operation("reshape", (position,), operation.output)


def _positions(draft: Draft, value: int) -> Dimension | None:
    """n, if the numbers of the value are 0 to n − 1, along one dimension."""
    made = draft.made_by(draft.unreshaped(value), "range")
    if made is None or made.settings != Range(0, 1) or sum(size != 1 for size in draft.shape(value)) > 1:
        return None
    return draft.shape(made.output)[0]


def _size(draft: Draft, value: int) -> Dimension | None:
    """The size n that the value's one number is: the last of 0 to n."""
    last = draft.made_by(draft.unreshaped(value), "slice")
    if last is None or last.settings_as(Slice).start != -1 or draft.shape(last.output) != (1,):
        return None
    made = draft.made_by(draft.unreshaped(last.inputs[0]), "range")
    if made is None or made.settings != Range(0, 1) or draft.shape(made.output) != draft.shape(last.inputs[0]):
        return None
    match draft.shape(made.output)[0]:
        case ("+", size, 1):
            return size
    return None


def all_places(draft: Draft, operation: Operation) -> Operation | None:
    """Of a flattened matrix, the places row · columns + column of all rows and columns: the matrix."""
    if operation.kind != "take" or operation.settings != Axis(0):
        return None
    flat, places = operation.inputs
    made = draft.made_by(flat, "reshape")
    matrix = None if made is None or len(draft.shape(flat)) != 1 else draft.shape(made.inputs[0])
    place = draft.made_by(places, "add")
    if made is None or place is None or matrix is None or len(matrix) != 2:
        return None
    for first, column in (place.inputs, place.inputs[::-1]):
        if _positions(draft, column) == matrix[1] and _rows(draft, first, matrix[1]) == matrix[0]:
            apart = [size for size in draft.shape(places) if size != 1]
            if apart == [size for size in matrix if size != 1] and _along(draft, first) < _along(draft, column):
                return Operation("reshape", made.inputs, operation.output)
    return None


def _along(draft: Draft, value: int) -> int:
    """The dimension that the value's numbers lie along."""
    return next((axis for axis, size in enumerate(draft.shape(value)) if size != 1), -1)


def _rows(draft: Draft, value: int, columns: Dimension) -> Dimension | None:
    """n, if the numbers of the value are 0 to n − 1, each times the number of columns."""
    if (made := draft.made_by(value, "multiply")) is None:
        return None
    for rows, by in (made.inputs, made.inputs[::-1]):
        if _size(draft, by) == columns:
            return _positions(draft, rows)
    return None


def nothing_hidden(draft: Draft, operation: Operation) -> Operation | None:
    """Attention whose mask hides nothing and adds nothing needs none."""
    if operation.kind != "attention" or len(operation.inputs) < 4:
        return None
    *inputs, mask = operation.inputs
    if draft.number(mask) != (1 if draft.dtype(mask) == "bool" else 0):
        return None
    return replace(operation, inputs=tuple(inputs))


def mask_of_all_queries(draft: Draft, operation: Operation) -> Operation | None:
    """A mask that was repeated for each head or query is read as if it were."""
    if operation.kind != "attention" or len(operation.inputs) < 4:
        return None
    mask = draft.made_by(operation.inputs[3], "expand")
    if mask is None or len(draft.shape(mask.inputs[0])) != 4 or draft.shape(mask.inputs[0])[3] == 1:
        return None
    return replace(operation, inputs=(*operation.inputs[:3], mask.inputs[0]))
