"""Weight matrices and masks that look like trained ones."""

import torch
from torch import Tensor

# Spread (of the logarithm) of an input's importance and of a tile's (16 neurons x 32 inputs). Slot counts then vary
# like those of the first layer that main.py trains on MNIST: standard deviation 2.2 around a mean of 3.1.
INPUT_SPREAD = 0.5
TILE_SPREAD = 0.3


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
