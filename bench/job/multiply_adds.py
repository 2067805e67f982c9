"""How many multiply-adds a step of training takes, by the masks that the model has."""

import torch
from torch import Tensor, nn

from sparbor.calibration.positions import positions
from sparbor.lower.deploy import evaluating
from sparbor.nn.layers import ONE_WEIGHT
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.wrapping import plain_layer

Uses = list[tuple[nn.Module, int]]


def of_training(model: nn.Module, images: Tensor) -> int | None:
    """Multiply-adds of the active weights in a forward and a backward pass over ``images``.

    Each use of a linear or convolution layer's active weight takes three: its own, one for the gradient of the weight,
    and one for that of the layer's input, which a layer that reads the images themselves has no need of (nor has a
    frozen weight of its gradient)::

        sum over layers of  active weights * positions * (2 if the layer reads the images else 3)

    ``None`` for a model with attention, most of whose arithmetic this does not see.
    """
    uses = uses_of_weights(model, images)
    return None if uses is None else by_masks(model, uses)


def uses_of_weights(model: nn.Module, images: Tensor) -> Uses | None:
    """By layer, how many multiply-adds each of its active weights takes; one that is used twice stands there twice."""
    if any(isinstance(module, nn.MultiheadAttention) for module in model.modules()):
        return None
    uses: Uses = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        at_each = 1 + weight.requires_grad + inputs[0].requires_grad
        uses.append((layer, positions(layer, inputs[0], output) * at_each))

    hooks = [layer.register_forward_hook(note) for layer in model.modules() if isinstance(layer, ONE_WEIGHT)]
    try:
        with evaluating(model), torch.enable_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return uses


def by_masks(model: nn.Module, uses: Uses) -> int:
    """The sum, with the masks that the model has now."""
    active = {id(plain_layer(m)): m.active_weights() for m in model.modules() if isinstance(m, PAINeuronModule)}
    return sum(active.get(id(layer), _weights(layer)) * count for layer, count in uses)


def _weights(layer: nn.Module) -> int:
    assert isinstance(layer.weight, Tensor)
    return layer.weight.numel()
