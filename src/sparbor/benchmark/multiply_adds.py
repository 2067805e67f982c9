"""How many multiply-adds a step of training takes, by the masks that the model has."""

import torch
from torch import Tensor, nn

from sparbor.layers import ONE_WEIGHT
from sparbor.lowering import evaluating
from sparbor.modules import PAINeuronModule
from sparbor.positions import positions
from sparbor.wrapping import plain_layer


def of_training(model: nn.Module, images: Tensor) -> int | None:
    """Multiply-adds of the active weights in a forward and a backward pass over ``images``.

    Each use of a linear or convolution layer's active weight takes three: its own, one for the gradient of the weight,
    and one for that of the layer's input, which a layer that reads the images themselves has no need of (nor has a
    frozen weight of its gradient)::

        sum over layers of  active weights * positions * (2 if the layer reads the images else 3)

    ``None`` for a model with attention, most of whose arithmetic this does not see.
    """
    if any(isinstance(module, nn.MultiheadAttention) for module in model.modules()):
        return None
    active = {id(plain_layer(m)): m.active_weights() for m in model.modules() if isinstance(m, PAINeuronModule)}
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, Tensor)
        uses = active.get(id(layer), weight.numel()) * positions(layer, inputs[0], output)
        total += uses * (1 + weight.requires_grad + inputs[0].requires_grad)

    hooks = [layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, ONE_WEIGHT)]
    try:
        with evaluating(model), torch.enable_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return total
