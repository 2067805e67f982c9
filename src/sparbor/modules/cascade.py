"""Cascade correlation: a new dendrite learns to follow the error that its neuron leaves, before anything reads it."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Correlate(torch.autograd.Function):
    """Gives ``y`` unchanged; backwards, teaches ``z`` to covary with the error that comes for ``y``.

    The objective (Fahlman & Lebiere 1990, "The Cascade-Correlation Learning Architecture") is
    ``S = sum_n |sum_b (z_bn - mean z_n) (e_bn - mean e_n)|``, n the neurons or channels, b the batch and positions,
    ``e`` the gradient of the loss by ``y``. ``z`` gets the gradient of ``-S``: ``-sign(C_n) (e_bn - mean e_n)``, where
    ``C_n`` is the sum over b. In the ordinary backward pass, so that accumulation, autocast and gradient scaling do
    with it what they do with all gradients.

    ``kept`` says where the neurons are, counted from the last dimension: 1 for ``(batch, ..., neurons)``, 3 for
    ``(batch, channels, height, width)``.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, z: Tensor, kept: int) -> Tensor:
        """``y`` itself."""
        ctx.save_for_backward(z)
        ctx.kept = kept
        return y.clone()  # not y: whoever works in place on what he gets must not find a view

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """What came for ``y`` goes on; ``z`` gets what raises the covariance."""
        (error,), (z,) = gradients, ctx.saved_tensors
        wide = error.to(torch.promote_types(error.dtype, torch.float32))
        others = [axis for axis in range(error.dim()) if axis != error.dim() - ctx.kept]
        centred = wide - wide.mean(dim=others, keepdim=True)
        covariance = (centred * z).sum(dim=others, keepdim=True)
        return error, (-covariance.sign() * centred).to(z.dtype), None


def freeze(optimizer: torch.optim.Optimizer, learning: Iterable[nn.Parameter]) -> None:
    """Take the gradients of all parameters but those that are ``learning``: neither momentum nor decay moves them."""
    free = {id(parameter) for parameter in learning}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if id(parameter) not in free:
                parameter.grad = None


def freezing(closure: Callable[[], Any], freeze_others: Callable[[], None]) -> Callable[[], Any]:
    """A closure after which only what is learning has gradients."""

    def then_freeze() -> Any:
        """The user's closure, and then the others' gradients taken."""
        loss = closure()
        freeze_others()
        return loss

    return then_freeze
