"""Weight matrices and masks that look like trained ones."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sparbor.topology.units import Units, rank_slots, select

# Spread (of the logarithm) of an input's importance and of a tile's (16 neurons x 32 inputs). Slot counts then vary
# like those of the first layer that main.py trains on MNIST: standard deviation 2.2 around a mean of 3.1.
INPUT_SPREAD = 0.5
TILE_SPREAD = 0.3

NEURONS, BRANCH, SYNAPSES = 16, 64, 4  # of a quad


def uneven(outputs: int, fan_in: int) -> Tensor:
    """Weights of which some inputs and some tiles have larger ones."""
    tiles = torch.exp(TILE_SPREAD * torch.randn(-(-outputs // 16), -(-fan_in // 32)))
    by_weight = tiles.repeat_interleave(16, 0)[:outputs].repeat_interleave(32, 1)[:, :fan_in]
    return torch.randn(outputs, fan_in) * torch.exp(INPUT_SPREAD * torch.randn(fan_in)) * by_weight


def equal_mask(weight: Tensor, sparsity: float) -> Tensor:
    """The same number of a neuron's largest weights on every branch of 32 inputs, the last and shorter one as well."""
    kept = max(1, round(32 * (1 - sparsity)))
    branches = weight.abs().split(32, dim=1)
    largest = [branch.topk(min(kept, branch.shape[1]), dim=1).indices for branch in branches]
    return torch.cat(
        [torch.zeros_like(b, dtype=torch.bool).scatter_(1, k, True) for b, k in zip(branches, largest, strict=True)], 1
    )


def quad_mask(weight: Tensor, kernel: Sequence[int], density: float, groups: int = 1) -> Tensor:
    """The quads of the largest magnitude: each has four of the weights that 16 neurons have on a branch of 64 inputs.

    The matrix's columns are channels times a `kernel`, empty for a linear layer. Branches are of inputs as they lie in
    memory when 8-bit layers read them: those of a kernel's row, channels last, and none reaches into the next row.
    """
    if density == 1:
        return torch.ones_like(weight, dtype=torch.bool)
    columns = _in_reading_order(weight.shape[1], kernel)
    filled = F.pad(weight.abs()[:, columns], (0, -columns.shape[1] % BRANCH), value=-torch.inf)
    ranks, slots = rank_slots(filled.flatten(1), NEURONS, BRANCH, groups)
    worth = slots.unflatten(-1, (-1, SYNAPSES)).mean(-1)
    block = torch.arange(len(weight)).view(groups, -1) % (len(weight) // groups) // NEURONS
    block += torch.arange(groups)[:, None] * (len(worth) // groups)
    size = SYNAPSES * block.flatten().bincount()[:, None, None].expand_as(worth)

    def to_mask(kept: Tensor) -> Tensor:
        """Worth falls with the rank, so what is kept of a branch are its first ranks."""
        counts = SYNAPSES * kept.view(worth.shape).sum(-1)[block.flatten()]
        mask = torch.zeros_like(weight, dtype=torch.bool)
        of_branches = ranks.unflatten(1, (-1, BRANCH)) < counts[..., None]
        mask[:, columns] = of_branches.view(filled.shape)[..., : columns.shape[1]]
        return mask

    (mask,) = select([Units(worth.flatten(), size.flatten(), to_mask)], density * weight.numel())
    return mask


def _in_reading_order(fan_in: int, kernel: Sequence[int]) -> Tensor:
    """The columns of a matrix by rows of the kernel, and within these by its columns and channels."""
    columns = torch.arange(fan_in).view(-1, *kernel)  # channels first
    return columns.movedim(0, -1).reshape(kernel[0] if len(kernel) > 1 else 1, -1)
