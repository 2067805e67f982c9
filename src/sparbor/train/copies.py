"""A perforated model's layers by name, and copies of it, such as an average of its weights."""

from collections.abc import Sequence

from torch import nn

from sparbor.errors import ArgumentError
from sparbor.nn.layers import name_of_weight
from sparbor.nn.named_layers import named_layers, plain_name
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.trained_layer import TrainedLayer


def named_dendritic(model: nn.Module) -> dict[str, PAINeuronModule]:
    """The wrapped layers by the names that findings have."""
    return {
        plain_name(name_of_weight(place.plain_path, place.module.weight_name)): place.module
        for place in named_layers(model)
        if isinstance(place.module, PAINeuronModule)
    }


def copy_masks(layers: Sequence[TrainedLayer], copy: nn.Module) -> None:
    """Give a copy of the model that the ``layers`` belong to their masks and orders as they are."""
    copies = named_dendritic(copy)
    names = [plain_name(layer.name) for layer in layers]
    if not all(name in copies for name in names):
        copies = {name.removeprefix("module."): module for name, module in copies.items()}  # an AveragedModel's
    for name, layer in zip(names, layers, strict=True):
        if name not in copies:
            raise ArgumentError(f"the copy has no dendritic layer {name!r}: pass a copy of the perforated model")
        copies[name].set_mask(layer.module.mask, layer.module.mode)
        copies[name].sparsity = layer.module.sparsity
        copies[name].permute_neurons(layer.module.neuron_order, layer.module.input_order)
        own, grown = layer.module.dendrites, copies[name].dendrites
        if own is not None:
            assert grown is not None  # it is a copy of ours
            grown.grow_to(own.count)
