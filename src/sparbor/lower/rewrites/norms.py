"""Norms over the last dimension that are spelled out become the operators."""

from __future__ import annotations

import numpy as np

from sparbor.lower.rewrites.draft import Draft
from sparbor.program.program import Axis, Normalisation, Operation, ScaleShift


def norm_of_rows(draft: Draft, operation: Operation) -> Operation | None:
    """x · rsqrt(mean(x²) + epsilon) is an RMS norm, and a layer norm if x is something less its mean."""
    found = _times_reciprocal_root(draft, operation)
    if found is None:
        return None
    x, under = found
    scaled = draft.scaled(draft.unreshaped(under))
    if scaled is None or scaled[1] != 1 or not scaled[2] >= 0:
        return None
    squares = draft.mean_of(scaled[0])
    square = None if squares is None else draft.made_by(squares, "multiply")
    power = None if squares is None else draft.activation(squares, "power")
    if (square is None or square.inputs != (x, x)) and power != x:
        return None
    if draft.shape(x) != draft.shape(operation.output) or not isinstance(draft.shape(x)[-1], int):
        return None
    kind, whole = "rms_norm", x
    difference = draft.made_by(x, "subtract")
    if difference is not None and draft.mean_of(difference.inputs[1]) == difference.inputs[0]:
        kind, whole = "layer_norm", difference.inputs[0]
    return Operation(kind, (whole,), operation.output, settings=Normalisation(scaled[2]))


def _times_reciprocal_root(draft: Draft, operation: Operation) -> tuple[int, int] | None:
    """x and y of x · rsqrt(y), or x / sqrt(y)."""
    if operation.activation is not None or operation.kind not in ("multiply", "divide"):
        return None
    if operation.kind == "divide":
        x, root = operation.inputs
        under = draft.activation(draft.unreshaped(root), "sqrt")
        return None if under is None else (x, under)
    for x, root in (operation.inputs, operation.inputs[::-1]):
        if (under := draft.activation(draft.unreshaped(root), "rsqrt")) is not None:
            return x, under
        inner = draft.activation(draft.unreshaped(root), "reciprocal")
        if inner is not None and (under := draft.activation(draft.unreshaped(inner), "sqrt")) is not None:
            return x, under
    return None


def norm_with_scale(draft: Draft, operation: Operation) -> Operation | None:
    """A scale and a shift of each feature join the norm before them that nothing else reads."""
    if operation.kind != "scale_shift":
        return None
    (x,) = operation.inputs
    norm = draft.made_by(x, "layer_norm", "rms_norm")
    if norm is None or draft.uses[x] > 1 or operation.settings_as(Axis).axis != len(draft.shape(x)) - 1:
        return None
    then = draft.weights[str(operation.layer)]
    assert isinstance(then, ScaleShift)
    if norm.layer is None:
        return Operation(norm.kind, norm.inputs, operation.output, operation.layer, settings=norm.settings)
    first = draft.weights[norm.layer]
    assert isinstance(first, ScaleShift)
    name = str(operation.layer)
    both = first.then(then)
    draft.weights[name] = ScaleShift(both.scale.astype(np.float32), both.shift.astype(np.float32))
    return Operation(norm.kind, norm.inputs, operation.output, name, settings=norm.settings)
