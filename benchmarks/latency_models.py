"""The models whose latency is measured, with weights and masks that look like trained ones."""

from copy import deepcopy
from itertools import pairwise

import torch
from torch import nn

from sparbor import PAINeuronModule, Slots, unwrap
from sparbor.rewire import magnitude_mask

# Widths from input to output. A ReLU follows each linear layer but a classifier's last.
WIDTHS = {
    "seed-mlp": (784, 256, 256, 10),
    "mlp-2048x4": (2048,) * 5,
    "mlp-4096x4": (4096,) * 5,
    "vit-b-mlp": (3072, 768),
    "tiny": (64, 48, 10),  # for the tests of this script
}
ENDS_WITH_RELU = ("mlp-2048x4", "mlp-4096x4")

# Spread (of the logarithm) of an input's importance and of a tile's (16 neurons x 32 inputs). Slot counts then vary
# like those of the first layer that main.py trains on MNIST: standard deviation 2.2 around a mean of 3.1.
INPUT_SPREAD = 0.5
TILE_SPREAD = 0.3


def dense(model: str) -> nn.Sequential:
    """The model with fresh weights."""
    widths = WIDTHS[model]
    layers: list[nn.Module] = []
    for fan_in, outputs in pairwise(widths):
        layers += [nn.Linear(fan_in, outputs), nn.ReLU()]
    return nn.Sequential(*layers if model in ENDS_WITH_RELU else layers[:-1])


def dendritic(model: str, sparsity: float, masks: str) -> nn.Sequential:
    """The model in dendrite mode.

    ``masks="varying"`` is what training makes: the slots of the largest magnitude, wherever they are. ``"equal"``
    has the same number on every branch, as near to the sparsity as a whole number comes.
    """
    torch.manual_seed(0)
    network = dense(model)
    for index, layer in enumerate(network):
        if isinstance(layer, nn.Linear):
            weight = _uneven(layer.weight.detach())
            mask = equal_mask(weight, sparsity) if masks == "equal" else magnitude_mask(weight, Slots(), 1 - sparsity)
            # The kept weights alone carry the signal: scaled so that activations neither fade nor explode.
            scale = (2 / (weight.square() * mask).sum(dim=1).mean()).sqrt()
            with torch.no_grad():
                layer.weight.copy_(weight * scale)
            network[index] = PAINeuronModule(layer, str(index))
            network[index].set_mask(mask)
    return network.eval()


def equal_mask(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    """The same number of a neuron's largest weights on every branch of 32 inputs, the last and shorter one as well."""
    kept = max(1, round(32 * (1 - sparsity)))
    branches = weight.abs().split(32, dim=1)
    largest = [branch.topk(min(kept, branch.shape[1]), dim=1).indices for branch in branches]
    return torch.cat(
        [torch.zeros_like(b, dtype=torch.bool).scatter_(1, k, True) for b, k in zip(branches, largest, strict=True)], 1
    )


def plain(network: nn.Sequential) -> nn.Sequential:
    """A copy without masks, zeros in their place: what every rival gets."""
    copy = unwrap(deepcopy(network))
    assert isinstance(copy, nn.Sequential)
    return copy.eval().requires_grad_(False)


def active_weights(network: nn.Sequential) -> int:
    """How many weights the masks keep."""
    return sum(layer.active_weights() for layer in network if isinstance(layer, PAINeuronModule))


def _uneven(weight: torch.Tensor) -> torch.Tensor:
    outputs, fan_in = weight.shape
    tiles = torch.exp(TILE_SPREAD * torch.randn(-(-outputs // 16), -(-fan_in // 32)))
    by_weight = tiles.repeat_interleave(16, 0)[:outputs].repeat_interleave(32, 1)[:, :fan_in]
    return torch.randn(outputs, fan_in) * torch.exp(INPUT_SPREAD * torch.randn(fan_in)) * by_weight
