"""Active weights by themselves: where they lie in the dense weight, and how they get there and back."""

import torch
from torch import Tensor


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
