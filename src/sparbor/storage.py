"""Where a layer's active weights lie: in its dense weight, or alone, in a parameter of their own.

In *compact* storage the layer's parameter is the vector of its active weights, in the order of its mask, as long as no
more than half of the weights are active. So the optimizer works on those alone, and weights, gradients and its state
take memory by the density.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Storage = Literal["masked", "compact"]
STORAGES: tuple[Storage, ...] = ("masked", "compact")


def positions_of(mask: Tensor) -> Tensor:
    """Where the active weights lie in the flattened weight, in order."""
    with torch.inference_mode(False):  # they may be first asked for in evaluation, and are kept for training
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
        return values.clone() if old is None else scatter(values, old, shape, start)

    return move
