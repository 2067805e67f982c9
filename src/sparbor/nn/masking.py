"""Numbers under a mask: those that it drops become zero whatever they were, where a product would leave NaN as it is.

Their bits are masked, which takes no longer than to multiply.
"""

import contextlib

import torch
from torch import Tensor

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits_of(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What numbers of this type keep of their bits: all of them, or, where dropped, the sign.

    So finite numbers become what multiplying by 0 or 1 makes of them. A bool mask itself takes five times as long.
    """
    size = dtype.itemsize
    if dtype.is_complex:  # two numbers each
        mask, size = mask.repeat_interleave(2, dim=-1), size // 2
    integers = _INTEGERS[size]
    return mask.to(integers).neg_().bitwise_or_(torch.iinfo(integers).min)


def mask_in_place(values: Tensor, bits: Tensor) -> None:
    """Set those of the ``values`` to zero that the mask drops."""
    values.view(bits.dtype).bitwise_and_(bits)


def masked(values: Tensor, mask: Tensor, bits: Tensor) -> Tensor:
    """The ``values``, zero where the mask drops them; differentiable."""
    if not values.requires_grad:
        # Gradients that come in a batch, as torch.autograd.grad(is_grads_batched=True) makes them, have no bits to see.
        with contextlib.suppress(RuntimeError):
            return values.view(bits.dtype).bitwise_and(bits).view(values.dtype)
    return values.where(mask, 0)
