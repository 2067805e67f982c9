"""What a model has to compute for one input: the figures that latencies are divided by."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.peers import Example, arguments

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Work:
    """Of all Linear and convolutional layers: how many there are, their weights that are not zero, and multiply-adds
    for one input, of all weights and of those that are not zero. Positions in a padding count like any other."""

    layers: int
    active_weights: int
    multiply_adds: int
    active_multiply_adds: int


@torch.inference_mode()
def work_of(model: nn.Module, example: Example) -> Work:
    """Count while ``model`` (zeros for dropped weights) computes ``example``, a batch."""
    counts: list[tuple[int, int, int]] = []

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        positions = math.prod(output.shape[1:]) // weight.shape[0]
        counts.append((positions, weight.numel(), int(torch.count_nonzero(weight))))

    hooks = [
        layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, (nn.Linear, *CONVOLUTIONS))
    ]
    model(*(each[:1] for each in arguments(example)))
    for hook in hooks:
        hook.remove()
    return Work(
        layers=len(counts),
        active_weights=sum(active for _, _, active in counts),
        multiply_adds=sum(positions * weights for positions, weights, _ in counts),
        active_multiply_adds=sum(positions * active for positions, _, active in counts),
    )
