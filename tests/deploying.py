"""Deployed models, compared with the models themselves."""

import torch
from torch import nn

import sparbor


class Function(nn.Module):
    """A model from a function and the layers that it uses."""

    def __init__(self, function, *layers):
        super().__init__()
        self.layers, self.function = nn.ModuleList(layers), function

    def forward(self, x):
        return self.function(x, *self.layers)


def relative_error(result: torch.Tensor, expected: torch.Tensor) -> float:
    return float((result - expected).detach().norm() / expected.detach().norm())


def assert_deploys(model: nn.Module, x: torch.Tensor, limit: float = 1e-5) -> sparbor.Runtime:
    """With exact weights the engine answers as the model does, to all of x and to its first item; the model stays."""
    runtime = sparbor.deploy(model, x, weights="exact")
    was_training = model.training
    model.eval()
    with torch.no_grad():
        assert relative_error(runtime(x), model(x)) <= limit
        assert relative_error(runtime(x[:1].contiguous()), model(x[:1])) <= limit
    model.train(was_training)
    return runtime
