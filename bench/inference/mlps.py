"""The multi-layer perceptrons whose latency is measured."""

from itertools import pairwise

from torch import nn


def mlp(*widths: int, ends_with_relu: bool = False) -> nn.Sequential:
    """Linear layers of these widths, from input to output; a ReLU follows each but a classifier's last."""
    layers: list[nn.Module] = []
    for fan_in, outputs in pairwise(widths):
        layers += [nn.Linear(fan_in, outputs), nn.ReLU()]
    return nn.Sequential(*layers if ends_with_relu else layers[:-1])
