"""One layer made sparse: by a method, from the moments of what it is given and was to answer."""

from typing import Literal

import torch
from torch import Tensor

from sparbor.oneshot.moments import Inputs, Problem, Targets, problem
from sparbor.oneshot.second_order import chosen, prune
from sparbor.oneshot.targets import SparseLayer
from sparbor.recipe.pattern import Pattern
from sparbor.topology.rewire import scores_of

Method = Literal["second-order", "wanda", "magnitude"]
METHODS: tuple[Method, ...] = ("second-order", "wanda", "magnitude")


def by_magnitude(layer: SparseLayer, density: float) -> None:
    """Keep the largest weights: of a layer of whose inputs nothing is known."""
    module = layer.module
    matrix = module.weight_matrix().float()
    mask = chosen(scores_of(matrix, module.pattern).unflatten(0, (module.groups, -1)), module.pattern, density, module.input_row)
    layer.change(matrix, mask.flatten(0, 1), None)


def by_moments(
    layer: SparseLayer, method: Method, density: float, inputs: Inputs, targets: Targets | None, damping: float
) -> tuple[float, float]:
    """Make the layer sparse; returns the error of its answers, and the damping that it took."""
    module, pattern = layer.module, layer.module.pattern
    fits = method == "second-order"
    posed = _in_order(layer, inputs, targets, centered=fits and layer.bias is not None)
    bias = None
    match method:
        case "second-order":
            weight, mask, damping = prune(posed, pattern, density, module.input_row, damping)
            bias = posed.bias(weight) if posed.means is not None else None
        case "wanda":
            scores = posed.weight.square() * posed.gram.diagonal(dim1=-2, dim2=-1)[:, None]
            mask = chosen(scores, pattern, density, module.input_row)
            weight = posed.weight * mask
        case "magnitude":
            mask = chosen(scores_of(posed.weight, pattern), pattern, density, module.input_row)
            weight = posed.weight * mask
    error = posed.error(weight)
    if bias is not None:
        bias = torch.empty_like(bias.flatten()).index_copy_(0, module.neuron_order, bias.flatten())
    layer.change(weight.flatten(0, 1), mask.flatten(0, 1), bias)
    return error, damping


def _in_order(layer: SparseLayer, inputs: Inputs, targets: Targets | None, *, centered: bool) -> Problem:
    """The layer's problem with neurons and inputs as its pattern sees them."""
    module = layer.module
    columns, rows = layer.columns(), module.neuron_order
    weight = module.weight_matrix().float().unflatten(0, (module.groups, -1))
    if module.is_permuted() or pattern_turns(layer):
        inputs = Inputs(_both(inputs.gram, columns), inputs.sum[:, columns], inputs.rows)
    if targets is not None:
        neurons = len(rows) // module.groups  # of grouped convolutions the neurons stay in order
        cross, total = targets.cross, targets.sum
        if module.groups == 1:
            cross, total = cross[:, rows], total[:, rows]
        assert cross.shape[1] == neurons
        targets = Targets(cross[..., columns], total, targets.energy)
    return problem(weight, inputs, targets, centered=centered)


def pattern_turns(layer: SparseLayer) -> bool:
    """Whether the pattern sees a convolution's inputs in another order than it has them."""
    return layer.module.pattern.channels_last and len(layer.module.outputs_first) > 2


def _both(gram: Tensor, columns: Tensor) -> Tensor:
    return gram.index_select(1, columns).index_select(2, columns)
