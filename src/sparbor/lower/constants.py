"""What is computed of constants alone, which is done once, when a model is lowered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node
from torch.utils import _pytree as pytree

from sparbor.errors import ArgumentError
from sparbor.ops.arguments import Argument, Constant, operator_name, where


def evaluated(node: Node, args: Sequence[Argument], kwargs: Mapping[str, Argument]) -> Argument:
    """What an operation makes of constants; a weight times a mask, a bool tensor, is that weight, masked."""
    assert callable(node.target)
    if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
        raise ArgumentError(f"{where(node)} draws random numbers: a deployed model draws none")
    tensors: Any = pytree.tree_map(
        lambda each: each.tensor if isinstance(each, Constant) else each, (tuple(args), dict(kwargs))
    )
    result = node.target(*tensors[0], **tensors[1])
    if isinstance(result, (list, tuple)):
        return tuple(Constant(each, node.name) if isinstance(each, Tensor) else each for each in result)
    if not isinstance(result, Tensor):
        return result
    if operator_name(node) in _MOVING and isinstance(args[0], Constant) and args[0].mask is not None:
        return Constant(result, args[0].name, node.target(args[0].mask, *tensors[0][1:], **tensors[1]))
    if operator_name(node) == "mul.Tensor" and all(isinstance(each, Constant) for each in args):
        mask, weight = sorted(args, key=lambda each: bool(each.tensor.dtype != torch.bool))
        if mask.tensor.dtype == torch.bool and mask.tensor.shape == result.shape == weight.tensor.shape:
            return Constant(result, weight.name, mask.tensor)
    return Constant(result, node.name)


# Operators that move a weight's numbers and change none, so that its mask moves with them.
_MOVING = (
    *("t.default", "transpose.int", "permute.default", "view.default", "reshape.default", "clone.default"),
    *("squeeze.dim", "unsqueeze.default", "alias.default", "detach.default"),
)
