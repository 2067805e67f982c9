"""How dense each layer becomes: as its user says by name, and what the others keep together shared among them."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from sparbor.allocation.shares import shares
from sparbor.oneshot.discovery import Sizes
from sparbor.oneshot.targets import SparseLayer
from sparbor.recipe.pattern import Pattern
from sparbor.recipe.recipe import Distribution as OfShapes
from sparbor.topology.units import Units, best, units_of

Distribution = Literal["sensitivity", "uniform", "erk"]
DISTRIBUTIONS: tuple[Distribution, ...] = ("sensitivity", "uniform", "erk")


def divide(
    layers: Sequence[SparseLayer],
    sizes: Mapping[SparseLayer, Sizes],
    pattern: Pattern,
    distribution: Distribution,
    density: float,
) -> dict[SparseLayer, float]:
    """The density of each of the ``layers``, which keep ``density`` of their weights together.

    ``sensitivity``: slots (or quads) of all layers compete by the share of their layer's answers that they make, as far
    as that shows in the sizes of inputs: ``w_ij^2 sum x_j^2 / sum |y|^2``. Layers that no batch has reached, of which
    that is not known, have the density of all.
    """
    if distribution != "sensitivity":
        of_shapes: OfShapes = distribution
        divided = shares(of_shapes, [layer.module.outputs_first for layer in layers], density)
        return {layers[share.layers[0]]: share.density for share in divided}
    known = [layer for layer in layers if layer in sizes]
    densities = dict.fromkeys(layers, density)
    if known:
        units = [_units(layer, sizes[layer], pattern) for layer in known]
        budget = density * sum(layer.module.mask.numel() for layer in known)
        for layer, each, kept in zip(known, units, best(units, budget), strict=True):
            densities[layer] = float(each.size[kept].sum()) / layer.module.mask.numel()
    return densities


def _units(layer: SparseLayer, sizes: Sizes, pattern: Pattern) -> Units:
    module = layer.module
    worth = squares(module.weight_matrix(), in_order(sizes.inputs, layer)) / max(sizes.output, 1e-30)
    return units_of(pattern, worth, 1.0, module.groups, module.input_row)


def in_order(by_input: Tensor, layer: SparseLayer) -> Tensor:
    """Numbers ``(groups, fan_in)`` of a layer's inputs, the inputs as its pattern sees them."""
    return by_input[:, layer.columns()]


def squares(matrix: Tensor, inputs: Tensor) -> Tensor:
    """``w_ij^2 sum x_j^2`` of a matrix ``(outputs, fan_in)``, whose groups have these sums of squares each."""
    scores: Tensor = matrix.float().square().unflatten(0, (len(inputs), -1)) * inputs[:, None].float()
    return torch.flatten(scores, 0, 1)
