"""Before anything is grown: on which layers dendrites may grow, and whether the budget has room for them.

What has grown shares one budget with the layers that it grew on: a share of these layers' weights, whatever has grown.
"""

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.optim import Optimizer

from sparbor.allocation.shares import Shape, divide_weights
from sparbor.allocation.survey import LayerEligibility
from sparbor.errors import ArgumentError
from sparbor.nn.dendrites import earlier_shape, why_not_growable
from sparbor.nn.layers import is_transposed, parameter_of, row_groups
from sparbor.nn.named_layers import plain_name
from sparbor.nn.wrapping import plain_layer
from sparbor.recipe.growth import Growth
from sparbor.recipe.recipe import Recipe
from sparbor.topology.matrix import outputs_first


def plan_growth(
    model: nn.Module, optimizer: Optimizer, recipe: Recipe, growth: Growth, taken: Sequence[LayerEligibility]
) -> list[LayerEligibility]:
    """For each of the layers ``taken`` whether dendrites may grow on it; raises if they cannot grow as planned."""
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ArgumentError("growth with LBFGS: its history is of all parameters at once; use another optimizer")
    names = [plain_name(each.name) for each in taken]
    for pattern in growth.layers:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ArgumentError(
                f"Growth(layers=...): {pattern!r} matches no dendritic layer; the model has {', '.join(names)}"
            )
    findings, shapes, growing = [], list[Shape](), dict[str, Shape]()
    for name, each in zip(names, taken, strict=True):
        layer, weight = plain_layer(model.get_submodule(each.path)), each.weight_name
        parameter = parameter_of(layer, weight)
        assert parameter is not None  # the layer has been taken
        shape = outputs_first(parameter.shape, row_groups(layer, weight), is_transposed(layer))
        reason = why_not_growable(layer)
        if not any(fnmatchcase(name, pattern) for pattern in growth.layers):
            reason = "left out by the recipe's growth"
        parameters = 0 if reason else _parameters(growth, shape)
        findings.append(LayerEligibility(f"{each.name}.dendrites", "Dendrites", parameters, reason))
        shapes.append(shape)
        if reason is None:
            growing[name] = shape
    if not growing:
        reasons = "; ".join(f"{finding.name}: {finding.reason}" for finding in findings)
        raise ArgumentError(f"growth: no layer can grow dendrites ({reasons}): change Growth(layers=...)")
    _check_room(recipe, growth, shapes, growing)
    return findings


def _parameters(growth: Growth, shape: Shape) -> int:
    """Of all generations: weights, those that read earlier generations, offsets and strengths."""
    earlier = sum(math.prod(earlier_shape(shape, generation)) for generation in range(growth.generations))
    return growth.generations * (math.prod(shape) + 2 * shape[0]) + earlier


def _check_room(recipe: Recipe, growth: Growth, wrapped: Sequence[Shape], growing: dict[str, Shape]) -> None:
    """Refuse growth that leaves a dendrite less than one slot, quad or weight when all generations have grown."""
    grown = [
        shape
        for generation in range(growth.generations)
        for main in growing.values()
        for shape in (main, *([earlier_shape(main, generation)] if generation else []))
    ]
    densities = {index: share.density for share in divide_weights(recipe, wrapped, grown) for index in share.layers}
    for index, (name, shape) in enumerate(growing.items(), start=len(wrapped)):
        budget = densities[index] * math.prod(shape)
        unit = min(recipe.pattern.neuron_block, shape[0]) * recipe.pattern.synapses
        if 2 * budget < unit:
            raise ArgumentError(
                f"growth: each dendrite of layer {name!r} would have {budget:.1f} active weights, less than one"
                f" {recipe.pattern.unit} of {unit}: lower the sparsity, grow fewer generations, or name other"
                " Growth(layers=...)"
            )
