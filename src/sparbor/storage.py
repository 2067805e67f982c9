"""Where a layer's active weights lie: in its dense weight, or alone, in a parameter of their own.

In *compact* storage the layer's parameter is the vector of its active weights, in the order of its mask. So the
optimizer works on those alone, and weights, gradients and its state take memory by the density.
"""

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.autograd import Function

Storage = Literal["masked", "compact"]
STORAGES: tuple[Storage, ...] = ("masked", "compact")


def positions_of(mask: Tensor) -> Tensor:
    """Where the active weights lie in the flattened weight, in order."""
    with torch.inference_mode(False):  # they may be first asked for in evaluation, and are kept for training
        return mask.flatten().nonzero().squeeze(1)


class _Gather(Function):
    """The active weights of a dense weight. Its gradient is zero where nothing is active."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, positions: Tensor) -> Tensor:
        """One number for each position."""
        ctx.save_for_backward(positions)
        ctx.shape = dense.shape
        return dense.flatten().index_select(0, positions)

    @staticmethod
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor, None]:
        """Each where it came from."""
        (positions,) = ctx.saved_tensors
        return _scattered(gradients, positions, ctx.shape), None


class _Scatter(Function):
    """The inverse of :class:`_Gather`: the dense weight, zero where nothing is active."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, positions: Tensor, shape: torch.Size) -> Tensor:
        """A weight of this shape."""
        ctx.save_for_backward(positions)
        return _scattered(values, positions, shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """What belongs to the active weights."""
        return gradient.flatten().index_select(0, *ctx.saved_tensors), None, None


def gather(dense: Tensor, positions: Tensor) -> Tensor:
    """The active weights of a dense weight, differentiable."""
    return cast(Tensor, _Gather.apply(dense, positions))  # type: ignore[no-untyped-call]


def scatter(values: Tensor, positions: Tensor, shape: torch.Size) -> Tensor:
    """The dense weight that has these active weights, differentiable."""
    return cast(Tensor, _Scatter.apply(values, positions, shape))  # type: ignore[no-untyped-call]


def mover(old: Tensor | None, new: Tensor | None, shape: torch.Size) -> Callable[[Tensor, float], Tensor]:
    """What takes values, one for each active weight, from the ``old`` positions to the ``new`` ones.

    ``None`` stands for every weight. What was not active before has the second argument as its value.
    """

    if old is not None and new is not None:
        number = torch.full((shape.numel(),), -1, dtype=torch.int32, device=old.device)
        number[old] = torch.arange(len(old), dtype=torch.int32, device=old.device)
        source = number[new] + 1  # before the first of the old values comes that of newborns
        return lambda values, start: torch.cat([values.new_full((1,), start), values])[source]

    def move(values: Tensor, start: float) -> Tensor:
        """The values at their new positions."""
        if new is not None:
            return values.flatten().index_select(0, new)
        return values.clone() if old is None else _scattered(values, old, shape, start)

    return move


def _scattered(values: Tensor, positions: Tensor, shape: torch.Size, elsewhere: float = 0.0) -> Tensor:
    dense = values.new_full((shape.numel(),), elsewhere) if elsewhere else values.new_zeros(shape.numel())
    return dense.index_copy_(0, positions, values).view(shape)
