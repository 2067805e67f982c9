"""Attention that is spelled out, as in softmax(q @ k.transpose(-1, -2) * scale + mask) @ v, becomes the operator."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sparbor.lower.rewrites.draft import Draft
from sparbor.ops.attention import HIDDEN, with_heads
from sparbor.program.program import Attention, ConstantArray, Dimensions, Operation

# What hides a key by being added: large enough to leave nothing of a score, so that a query which sees no key weighs
# all alike, as PyTorch's softmax does; what the engine takes for hidden is larger still.
_LARGE = -1e9
_ADDED = -1e30


def attention(draft: Draft, operation: Operation) -> Operation | None:
    """The product of a softmax and a value, if that is of scores, which are scaled and masked or not."""
    if operation.kind != "matmul" or operation.activation is not None:
        return None
    weights, value = operation.inputs
    if draft.uses[weights] > 1:
        return None
    shares, times_used = _unguarded(draft, draft.unreshaped(weights))
    softmax = draft.made_by(shares, "softmax")
    if softmax is None or draft.uses[softmax.output] > times_used:
        return None
    found = _scores(draft, softmax.inputs[0])
    if found is None:
        return None
    query, key, scale, mask = found
    around = draft.shape(softmax.output)[:-2]
    parts = [_with_these_heads(draft, each, around) for each in (query, draft.turned(key), value)]
    if any(each is None for each in parts):
        return None
    inputs = [each for each in parts if each is not None]
    if mask is not None:
        inputs.append(draft.reshaped(mask, with_heads(draft.shape(mask))))
    q, v = draft.shape(inputs[0]), draft.shape(inputs[2])
    made = draft.append("attention", inputs, (*q[:-1], v[-1]), Attention(scale, False))
    return Operation("reshape", (made,), operation.output)


def _unguarded(draft: Draft, weights: int) -> tuple[int, int]:
    """The weights without a guard that makes zeros of NaN, and how often that uses them.

    PyTorch's exporter to ONNX writes one, for queries that see no key. The engine has zeros for these anyway.
    """
    if (made := draft.made_by(weights, "where")) is not None and draft.uses[weights] == 1:
        flags, yes, no = made.inputs
        guard = draft.made_by(flags, "not_equal")
        if guard is not None and guard.inputs == (no, no) and draft.number(yes) == 0 and draft.uses[flags] == 1:
            return no, 3
    return weights, 1


def _scores(draft: Draft, scores: int) -> tuple[int, int, float, int | None] | None:
    """Query, turned key, scale and mask of scores; a mask is added after they are scaled, and shapes are the same."""
    mask = None
    if (made := draft.made_by(scores, "where")) is not None:
        mask, scores = _filled(draft, made)
    elif (made := draft.made_by(scores, "add")) is not None and draft.scaled(scores) is None:
        scores, mask = made.inputs
        if _product(draft, scores) is None:
            scores, mask = mask, scores
        mask = _added(draft, mask)
    if made is not None and (mask is None or not _fits(draft, mask, scores)):
        return None
    found = _product(draft, scores)
    if found is None:
        return None
    product, scale = found
    query, key = product.inputs
    scaled = draft.scaled(query)
    if scaled is not None and scaled[2] == 0 and draft.uses[query] == 1:
        query, scale = scaled[0], scale * scaled[1]
    return (query, key, scale, mask) if scale > 0 and math.isfinite(scale) else None


def _product(draft: Draft, scores: int) -> tuple[Operation, float] | None:
    """The product of two matrices that the scores are, and what it is scaled by."""
    scale = 1.0
    for _ in range(4):
        if (made := draft.made_by(draft.unreshaped(scores), "matmul")) is not None:
            return (made, scale) if draft.uses[made.output] == 1 else None
        if (scaled := draft.scaled(draft.unreshaped(scores))) is None or scaled[2] != 0:
            return None
        scores, scale = scaled[0], scale * scaled[1]
    return None


def _fits(draft: Draft, mask: int, scores: int) -> bool:
    shape, whole = draft.shape(mask), draft.shape(scores)
    whole = (*(1,) * (len(shape) - len(whole)), *whole)
    return len(shape) == len(whole) <= 4 and all(one in (1, other) for one, other in zip(shape, whole, strict=True))


def _filled(draft: Draft, made: Operation) -> tuple[int | None, int]:
    """The mask and the scores of scores in which some are replaced by a number that hides them."""
    flags, yes, no = made.inputs
    hides_where_true = draft.number(yes) is not None
    number, scores = (draft.number(yes), no) if hides_where_true else (draft.number(no), yes)
    if number is None or number > _LARGE or _product(draft, scores) is None:
        return None, scores
    return _hiding(draft, flags, number, hides_where_true), scores


def _added(draft: Draft, mask: int) -> int:
    """The mask of what is added: flags, where it is 0 or hides."""
    if (made := draft.made_by(mask, "where")) is None:
        return mask
    flags, yes, no = made.inputs
    numbers = draft.number(yes), draft.number(no)
    for hides_where_true, (hides, shows) in ((True, numbers), (False, numbers[::-1])):
        if hides is not None and shows == 0 and hides <= _LARGE:
            return _hiding(draft, flags, hides, hides_where_true)
    return mask


def _hiding(draft: Draft, flags: int, number: float, hides_where_true: bool) -> int:
    """The mask that hides by this number.

    A query that sees nothing has zeros for an answer in the engine, and in PyTorch all keys alike, or NaN by minus
    infinity. Where all queries of an item see the same, the engine refuses that; else a large number is added.
    """
    if (made := draft.made_by(flags, "expand")) is not None and draft.shape(made.inputs[0])[-1] != 1:
        (flags,) = made.inputs
    shape = draft.shape(flags)
    if number == -math.inf or len(shape) < 2 or shape[-2] == 1:
        return draft.append("logical_not", [flags], shape, dtype="bool") if hides_where_true else flags
    rank = (1,) * len(shape)
    hidden, shown = (
        draft.constant(ConstantArray(np.full(rank, each, np.float32)), "f32") for each in (max(number, _ADDED), 0)
    )
    assert max(number, _ADDED) > HIDDEN
    return draft.append("where", [flags, *((hidden, shown) if hides_where_true else (shown, hidden))], shape)


def _with_these_heads(draft: Draft, value: int, around: Dimensions) -> int | None:
    """(batch, heads, tokens, features), of which the first are those of the scores."""
    own = draft.shape(value)
    if own[:-2] != around:
        before = draft.unreshaped(value)
        if len(own) == len(around) + 2 or len(draft.shape(before)) != len(around) + 2:
            return None
        if draft.shape(before) != (*around, *own[-2:]):
            return None
        value = before
    return draft.reshaped(value, with_heads(draft.shape(value)))


def grouped_heads(draft: Draft, operation: Operation) -> Operation | None:
    """Keys and values that were repeated for the heads of queries are read where they are, each for several heads."""
    if operation.kind != "attention":
        return None
    query, key, value, *mask = operation.inputs
    shared = [_unrepeated(draft, each) for each in (key, value)]
    if shared[0] is None or shared[1] is None or draft.shape(shared[0])[1] != draft.shape(shared[1])[1]:
        return None
    return replace(operation, inputs=(query, shared[0], shared[1], *mask))


def _unrepeated(draft: Draft, value: int) -> int | None:
    """What (batch, heads, tokens, features) was before each head was repeated: x.repeat_interleave(n, dim=1)."""
    merged = draft.made_by(value, "reshape")
    expanded = None if merged is None else draft.made_by(merged.inputs[0], "expand")
    apart = None if expanded is None else draft.made_by(expanded.inputs[0], "reshape")
    if expanded is None or apart is None:
        return None
    batch, heads, repeats, *rest = draft.shape(expanded.output)
    if not isinstance(heads, int) or not isinstance(repeats, int) or draft.shape(apart.output)[2:3] != (1,):
        return None
    before = draft.shape(apart.inputs[0])
    same = before == (batch, heads, *rest) and draft.shape(value) == (batch, heads * repeats, *rest)
    return apart.inputs[0] if same and len(before) == 4 else None
