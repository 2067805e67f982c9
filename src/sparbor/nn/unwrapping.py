"""The way back: the plain model that a dendritic one was."""

from torch import nn

from sparbor.errors import ArgumentError
from sparbor.nn.dendrites import parts_of_dendrites
from sparbor.nn.named_layers import named_layers, replace_part
from sparbor.nn.neuron import PAINeuronModule


def unwrap(model: nn.Module) -> nn.Module:
    """Give the plain model back, in place: dropped weights are zero, masks and hooks are gone.

    Works on a model that was perforated, on one whose layers were wrapped by hand, and on copies of both. A layer that
    has grown dendrites becomes a :class:`sparbor.nn.dendrites.GrownLayer` of plain layers, which computes the
    same; :func:`sparbor.nn.dendrites.regrow` makes one to load its state dict into.

    Args:
        model: the model; what is returned is it, or, where it is itself a wrapped layer, the layer within.

    Raises:
        ArgumentError: it is no ``torch.nn.Module``.

    >>> import torch, sparbor
    >>> model = torch.nn.Sequential(sparbor.PAINeuronModule(torch.nn.Linear(64, 32), "hidden"))
    >>> sparbor.unwrap(model)
    Sequential(
      (0): Linear(in_features=64, out_features=32, bias=True)
    )
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"model is a {type(model).__name__}: must be a torch.nn.Module")
    if isinstance(model, PAINeuronModule):
        model = model.unwrap()
    grown = parts_of_dendrites(model)  # which go with the layers that they grew on
    for _, path, module in list(named_layers(model)):
        if isinstance(module, PAINeuronModule) and id(module) not in grown:
            replace_part(model, path, module.unwrap())
    return model
