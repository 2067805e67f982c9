"""One layer made sparse: by a method, from what is known of its inputs."""

from dataclasses import replace

import torch
from torch import Tensor

from sparbor.oneshot.moments import Inputs, Problem, Targets, problem
from sparbor.oneshot.second_order import chosen, prune
from sparbor.oneshot.targets import SparseLayer
from sparbor.topology.rewire import scores_of


def keep_largest(layer: SparseLayer, inputs: Tensor | None) -> None:
    """Keep the largest weights as they are, or by Wanda (Sun et al. 2023) those with the largest ``w_ij^2 sum x_j^2``.

    For the latter ``inputs`` ``(groups, fan_in)`` has the sum of squares of each input.
    """
    module = layer.module
    matrix = module.weight_matrix().float()
    by_group = matrix.reshape(module.groups, -1, matrix.shape[1])
    if inputs is None:
        scores = scores_of(by_group, module.pattern)
    else:
        scores = by_group.square() * inputs[:, None, layer.columns()].float()
    mask = chosen(scores, module.pattern, 1 - module.sparsity, module.input_row)
    layer.change(matrix, mask.flatten(0, 1))


def fit(layer: SparseLayer, inputs: Inputs, targets: Targets | None, damping: float) -> tuple[float, float]:
    """Prune the layer by its second-order error; returns the error of its answers, and the damping that it took."""
    module = layer.module
    posed = _posed(layer, inputs, targets)
    weight, mask, damping = prune(posed, module.pattern, 1 - module.sparsity, module.input_row, damping)
    bias = None
    if posed.means is not None:
        in_order = posed.bias(weight).flatten()
        bias = torch.empty_like(in_order).index_copy_(0, module.neuron_order, in_order)
    layer.change(weight.flatten(0, 1), mask.flatten(0, 1), bias)
    return posed.error(weight), damping


def _posed(layer: SparseLayer, inputs: Inputs, targets: Targets | None) -> Problem:
    """The layer's problem with neurons and inputs as its pattern sees them."""
    module, columns = layer.module, layer.columns()
    weight = module.weight_matrix().float().reshape(module.groups, -1, len(columns))
    if not torch.equal(columns, torch.arange(len(columns), device=columns.device)):
        gram = inputs.gram.index_select(1, columns).index_select(2, columns)
        origin = None if inputs.origin is None else inputs.origin[:, columns]
        inputs = replace(inputs, gram=gram, sum=inputs.sum[:, columns], origin=origin)
    if targets is not None:
        neurons = module.neuron_order.view(module.groups, -1) % weight.shape[1]  # in each group by themselves
        cross = targets.cross.gather(1, neurons[..., None].expand(targets.cross.shape))[..., columns]
        targets = Targets(cross, targets.sum.gather(1, neurons), targets.energy)
    return problem(weight, inputs, targets)
