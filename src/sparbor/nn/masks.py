"""Masks: numbers under one, active weights by themselves, and what is made of a layer's mask while it stays as it is.

Numbers that a mask drops become zero whatever they were, where a product would leave NaN as it is: their bits are
masked, which takes no longer than to multiply.
"""

import contextlib
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparbor.distributed.shards import held_part
from sparbor.synapses.lists import ConvParams, Synapses

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


def fill_in_place(values: Tensor, where: Tensor, number: float) -> None:
    """Set the ``values`` to a number where a mask of their shape is true.

    To zero by their bits: `masked_fill_` takes six times as long.
    """
    integers = _INTEGERS.get(values.element_size())
    if number != 0 or integers is None:
        values.masked_fill_(where, number)
    else:
        values.view(integers).bitwise_and_(where.to(integers).sub_(1))


def masked(values: Tensor, mask: Tensor, bits: Tensor) -> Tensor:
    """The ``values``, zero where the mask drops them; differentiable."""
    if not values.requires_grad:
        # Gradients that come in a batch, as torch.autograd.grad(is_grads_batched=True) makes them, have no bits to see.
        with contextlib.suppress(RuntimeError):
            return values.view(bits.dtype).bitwise_and(bits).view(values.dtype)
    return values.where(mask, 0)


def positions_of(mask: Tensor) -> Tensor:
    """Where the active weights lie in the flattened weight, in order."""
    with torch.inference_mode(False):  # they may be first asked for in evaluation, and are kept for training
        if mask.device.type == "cpu":  # where NumPy takes a fraction of the time
            return torch.from_numpy(np.flatnonzero(mask.numpy()))
        return mask.flatten().nonzero().squeeze(1)


def pays_alone(mask: Tensor) -> bool:
    """Whether so few weights are active that it is worth while to keep their positions beside them."""
    return 2 * int(mask.count_nonzero()) <= mask.numel()


def gather(dense: Tensor, positions: Tensor) -> Tensor:
    """The active weights of a dense weight; its gradient is zero where nothing is active."""
    return dense.flatten().index_select(0, positions)


def scatter(values: Tensor, positions: Tensor, shape: torch.Size, elsewhere: float = 0.0) -> Tensor:
    """The dense weight that has these active weights, and this number everywhere else."""
    return values.new_full((shape.numel(),), elsewhere).index_copy(0, positions, values).view(shape)


class Mover:
    """Takes values of active weights from their ``old`` positions in a weight of this shape to the ``new`` ones.

    ``None`` stands for every weight. Values for the whole weight are taken as well, wherever they were to come from.
    """

    def __init__(self, old: Tensor | None, new: Tensor | None, shape: torch.Size) -> None:
        self.old, self.new, self.shape = old, new, shape
        self._source: Tensor | None = None
        if old is not None and new is not None:
            number = torch.full((shape.numel(),), -1, dtype=torch.int32, device=old.device)
            number[old] = torch.arange(len(old), dtype=torch.int32, device=old.device)
            self._source = number[new] + 1  # before the first of the old values comes that of newborns

    def takes(self, value: object) -> bool:
        """Whether it is such values."""
        if not isinstance(value, Tensor):
            return False
        return value.shape == self.shape or (self.old is not None and value.shape == self.old.shape)

    def __call__(self, values: Tensor, start: float) -> Tensor:
        """The values at their new positions; what was not active before has the value ``start``."""
        if self.old is not None and values.shape != self.shape:
            if self._source is not None:
                return torch.cat([values.new_full((1,), start), values])[self._source]
            return scatter(values, self.old, self.shape, start)
        return values.clone() if self.new is None else gather(values, self.new)


class MaskFacts:
    """How many weights are active, where they lie, and what kernels go by; each is made when it is first asked for.

    The mask is passed every time: a module may be given another tensor as its mask, or have its own changed in place.
    ``made`` is what there is.
    """

    def __init__(self) -> None:
        self._seen: tuple[int, int] | None = None
        self.made: dict[Hashable, Any] = {}

    def overwritten(self, mask: Tensor, positions: Tensor | None) -> None:
        """The mask has new values, of which the positions of the active weights may be known already."""
        self._seen = _version(mask)
        self.made = {} if positions is None else {"positions": positions}

    def active(self, mask: Tensor) -> int:
        """How many weights the mask keeps."""
        # To count them takes a tenth of what the sum of a bool tensor does, and less.
        return int(self._once(mask, "active", lambda: int(mask.count_nonzero())))

    def positions(self, mask: Tensor) -> Tensor:
        """Where the active weights lie in the flattened weight, in order."""
        positions: Tensor = self._once(mask, "positions", lambda: positions_of(mask))
        return positions

    def bits(self, mask: Tensor, weight: Tensor) -> Tensor:
        """What the ``weight`` keeps of its bits (see :func:`bits_of`), of the part that this rank holds."""
        dtype, device = weight.dtype, weight.device
        bits: Tensor = self._once(mask, (dtype, device), lambda: bits_of(held_part(mask, weight), dtype))
        return bits

    def synapses(self, mask: Tensor, params: ConvParams) -> Synapses:
        """The mask as training's kernels walk through it, in a layer whose kernel moves like this."""
        positions = self.positions(mask)
        synapses: Synapses = self._once(mask, "synapses", lambda: Synapses(positions, mask.shape, params))
        return synapses

    def _once(self, mask: Tensor, name: Hashable, make: Callable[[], Any]) -> Any:
        if _version(mask) != self._seen:
            self._seen, self.made = _version(mask), {}
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]


def _version(mask: Tensor) -> tuple[int, int]:
    return id(mask), 0 if mask.is_inference() else mask._version
