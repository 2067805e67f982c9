"""The masks of a model by the names that its weights have in the plain model, and such masks put on a plain model."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparbor.errors import ArgumentError, StateError
from sparbor.nn.dendrites import GrownLayer, parts_of_dendrites
from sparbor.nn.layers import (
    is_transposed,
    name_of_weight,
    parameter_name,
    parameter_of,
    weight_names,
    why_not_wrappable,
)
from sparbor.nn.masked_layer import Mode
from sparbor.nn.named_layers import named_layers, replace_part
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.weight_norm import norm_of
from sparbor.recipe.pattern import Pattern
from sparbor.topology.matrix import to_matrix


@dataclass(frozen=True, eq=False)
class LayerMask:
    """The mask of one weight of the plain model's layer ``layer``, and what its ``PAINeuronModule`` knows beside it.

    ``neurons`` and ``inputs`` are the orders in which the pattern sees them; ``None`` is that of the weight.
    """

    layer: str
    weight: str
    mode: Mode
    sparsity: float
    pattern: Pattern
    mask: Tensor
    neurons: Tensor | None = None
    inputs: Tensor | None = None

    @property
    def name(self) -> str:
        """What reports call the weight."""
        return name_of_weight(self.layer, self.weight)

    @property
    def active(self) -> int:
        return int(self.mask.sum())


def masks_of(model: nn.Module) -> list[LayerMask]:
    """Those of all dendritic layers, in the model's order; of several on one layer, the outermost first.

    Raises ArgumentError if dendrites have grown: the plain model has no place for them.
    """
    part_of_dendrite, seen, found = parts_of_dendrites(model), set[int](), []
    for _, path, module in named_layers(model):
        if isinstance(module, GrownLayer) or (isinstance(module, PAINeuronModule) and _has_grown(module)):
            raise ArgumentError(
                f"layer {path!r} has grown dendrites, for which the layout of a plain model has no place: save"
                " model.state_dict() by torch.save, or the deployed model by sparbor.deploy(...).save(file)"
            )
        if isinstance(module, PAINeuronModule) and not {id(module)} & (part_of_dendrite | seen):
            seen.add(id(module))
            orders = (_moved(order) for order in (module.neuron_order, module.input_order))
            settings = (module.mode, module.sparsity, module.pattern)
            found.append(LayerMask(path, module.weight_name, *settings, module.mask.cpu(), *orders))
    return found


def _has_grown(module: PAINeuronModule) -> bool:
    return module.dendrites is not None and module.dendrites.count > 0


def _moved(order: Tensor) -> Tensor | None:
    order = order.cpu()
    return None if torch.equal(order, torch.arange(len(order))) else order


def check_fit(model: nn.Module, masks: Sequence[LayerMask], weights: Mapping[str, Tensor]) -> None:
    """Refuse, with a StateError, masks that are not those of the plain model's layers, or not of these weights."""
    taken = set[tuple[int, str]]()
    for mask in masks:
        layer = _layer(model, mask)
        if (id(layer), mask.weight) in taken:
            raise StateError(f"there are two masks for {mask.name!r}: the file is damaged")
        taken.add((id(layer), mask.weight))
        weight = _weight(layer, mask, weights)
        if weight is not None and bool((weight.cpu() != 0)[~mask.mask].any()):
            raise StateError(
                f"weights of {mask.name!r} are not zero where its mask drops them: they were changed without their"
                " masks; save both by sparbor.save_pretrained, or load the weights alone as a dense model"
            )


def _weight(layer: nn.Module, mask: LayerMask, weights: Mapping[str, Tensor]) -> Tensor | None:
    """What the mask lies on; ``None`` if another layer's weight stands for it, which the layers share.

    With weight norm a neuron that has lost all of its weights has a direction again, and a length of 0.
    """
    normed = norm_of(layer)
    names = (parameter_name(layer, mask.weight), *((normed.length,) if normed is not None else ()))
    parts = [weights.get(f"{mask.layer}.{name}".removeprefix(".")) for name in names]
    there = [part for part in parts if part is not None]
    return math.prod(there, start=torch.ones(())) if len(there) == len(parts) else None


def _layer(model: nn.Module, mask: LayerMask) -> nn.Module:
    try:
        layer = model.get_submodule(mask.layer)
    except AttributeError:
        raise StateError(f"there is a mask for {mask.name!r}, and the model has no such layer: {_OTHER}") from None
    if mask.weight not in weight_names(layer) or (parameter := parameter_of(layer, mask.weight)) is None:
        kind = type(layer).__name__
        raise StateError(f"there is a mask for {mask.name!r}, which is no weight of a {kind} layer: {_OTHER}")
    if parameter.shape != mask.mask.shape:
        shapes = f"{tuple(mask.mask.shape)}, and the weight {tuple(parameter.shape)}"
        raise StateError(f"the mask of {mask.name!r} has shape {shapes}: {_OTHER}")
    if refusal := why_not_wrappable(layer, mask.pattern, mask.weight):
        raise StateError(f"there is a mask for {mask.name!r}, which cannot have one ({refusal}): {_OTHER}")
    matrix = to_matrix(mask.mask, getattr(layer, "groups", 1), is_transposed(layer))
    for order, length in zip((mask.neurons, mask.inputs), matrix.shape, strict=True):
        if order is not None and len(order) != length:
            raise StateError(f"{mask.name!r} has an order of {len(order)}, and the layer {length}: {_OTHER}")
    return layer


_OTHER = "the directory is that of another model"


def put_on(model: nn.Module, masks: Sequence[LayerMask]) -> nn.Module:
    """The plain model with these masks, which fit it, in place; where it is itself one of the layers, that layer."""
    places = defaultdict[int, list[str]](list)
    for _, path, module in named_layers(model):
        places[id(module)].append(path)
    layers = [model.get_submodule(mask.layer) for mask in masks]
    put: dict[int, PAINeuronModule] = {}
    for mask, layer in zip(reversed(masks), reversed(layers), strict=True):  # inner ones first
        within = put.get(id(layer), layer)
        module = _masked(within, mask)
        for path in places[id(layer)]:
            if path:
                replace_part(model, path, module)
        put[id(layer)] = module
    return put.get(id(model), model)


def _masked(layer: nn.Module, mask: LayerMask) -> PAINeuronModule:
    settings: dict[str, Any] = {"sparsity": mask.sparsity, "pattern": mask.pattern, "weight_name": mask.weight}
    module = PAINeuronModule(layer, mask.name, **settings)
    module.training = layer.training
    module.permute_neurons(mask.neurons, mask.inputs)
    module.set_mask(mask.mask, mask.mode)
    return module


def density(masks: Iterable[LayerMask]) -> float:
    """The share of the masked weights that is active; 1 if there are none."""
    counts = [(mask.active, mask.mask.numel()) for mask in masks]
    return sum(active for active, _ in counts) / sum(weights for _, weights in counts) if counts else 1.0
