"""A budget of costs divided among layers: slots of all layers compete by what they are worth for what they cost.

A weight is worth its share of its layer's energy, ``w^2 / sum(w^2)`` over the layer's active weights: with inputs that
are not correlated, the relative squared error of the layer's output that dropping it causes. So what is kept is what
makes the sum of these errors over all layers small.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sparbor.allocation.shares import BudgetShare
from sparbor.allocation.survey import LayerEligibility
from sparbor.errors import ArgumentError
from sparbor.nn.named_layers import plain_name
from sparbor.nn.wrapping import plain_layer
from sparbor.recipe.budget import Budget, LayerCost
from sparbor.recipe.pattern import Pattern
from sparbor.recipe.recipe import Recipe
from sparbor.topology.rewire import RewireInput, active_magnitude, amount, capacity
from sparbor.topology.units import Units, best, priced, units_of

SMALLEST = torch.finfo(torch.float32).tiny


class CostBudget:
    """How ``budget`` is spent on the layers that become sparse.

    ``taken`` are their names, in order, and how many weights each has; ``others`` the names of layers that stay dense.

    Raises:
        ArgumentError: the costs are missing or those of another model, or the model costs more than the budget
            with one unit, such as a slot, in each layer that becomes sparse: with none, a layer's answer is its bias.
    """

    def __init__(self, budget: Budget, pattern: Pattern, taken: dict[str, int], others: Sequence[str]) -> None:
        if budget.costs is None:
            raise ArgumentError(
                f"Budget({budget.unit}={budget.limit:g}): the costs of the model's layers are not known;"
                " pass the recipe that sparbor.calibrated(recipe, model, example) returns"
            )
        table = {cost.name: cost for cost in budget.costs.layers}
        for name, weights in taken.items():
            if name not in table or table[name].weights != weights:
                known = f"those of {table[name].weights} weights" if name in table else "none"
                raise ArgumentError(
                    f"layer {name!r} has {weights} weights, and the budget's costs hold {known} of that name: call"
                    " sparbor.calibrated(recipe, model, example) with this model, or exclude the layer if the model"
                    " does not call it"
                )
        if strangers := sorted(table.keys() - taken.keys() - set(others)):
            raise ArgumentError(
                f"the budget's costs name a layer {strangers[0]!r} that the model has not: call"
                " sparbor.calibrated(recipe, model, example) with this model"
            )
        self.budget = budget
        self.pattern = pattern
        self.costs = [table[name] for name in taken]
        self.rest = budget.costs.rest + sum(cost.dense for name, cost in table.items() if name not in taken)
        smallest = self.rest + sum(min(cost.fixed + self._of_a_unit(cost), cost.dense) for cost in self.costs)
        if budget.limit < smallest:
            raise ArgumentError(
                f"Budget({budget.unit}={budget.limit:g}): the model costs {smallest:.6g} {budget.unit}"
                f" with a single {pattern.unit} in each layer that becomes sparse; give that at least"
            )

    @classmethod
    def of(cls, model: nn.Module, recipe: Recipe, findings: Sequence[LayerEligibility]) -> "CostBudget | None":
        """For the recipe's budget, if it has one, and the layers that a survey of ``model`` found."""
        if recipe.budget is None:
            return None
        sparse = {finding: plain_layer(model.get_submodule(finding.path)) for finding in findings if finding.taken}
        taken = {plain_name(each.name): getattr(layer, each.weight_name).numel() for each, layer in sparse.items()}
        others = [plain_name(finding.name) for finding in findings if not finding.taken]
        return cls(recipe.budget, recipe.pattern, taken, others)

    def shares(self, layers: Sequence[RewireInput]) -> list[BudgetShare]:
        """Each layer's density in the end, by the active weights that there are now."""
        full = [capacity(layer, self.pattern) for layer in layers]
        return [BudgetShare((i,), full[i], final / full[i]) for i, final in enumerate(self._final(layers))]

    def budgets(self, layers: Sequence[RewireInput], progress: float) -> list[int]:
        """How many weights (or slots) each layer keeps when ``progress`` of the way to the budget is gone."""
        budgets = [share.budget(progress) for share in self.shares(layers)]
        return [
            budget if layer.growth is not None else min(budget, amount(layer, self.pattern))
            for budget, layer in zip(budgets, layers, strict=True)
        ]

    def cost(self, layers: Sequence[RewireInput]) -> float:
        """What the model costs with the masks that it has."""
        return self.rest + sum(
            self._cost(cost, amount(layer, self.pattern), capacity(layer, self.pattern))
            for cost, layer in zip(self.costs, layers, strict=True)
        )

    def _cost(self, cost: LayerCost, kept: int, full: int) -> float:
        return cost.dense if kept > cost.sparse_to * full else cost.fixed + cost.each * kept

    def _final(self, layers: Sequence[RewireInput]) -> list[int]:
        """How many weights (or slots) each layer keeps in the end, as its active weights are now.

        Where a layer would get so much that it runs dense, it keeps everything if that is no dearer, else what still
        runs sparse, and the others share what that leaves.
        """
        full = [capacity(layer, self.pattern) for layer in layers]
        spendable = self.budget.limit - self.rest
        if sum(cost.dense for cost in self.costs) <= spendable:
            return full
        kept = [amount(layer, self.pattern) for layer in layers]
        if abs(self.cost(layers) - self.budget.limit) <= self._dearest() / 2:
            return kept  # it is divided already
        units = [self._priced(layer, cost) for layer, cost in zip(layers, self.costs, strict=True)]
        final = list(full)
        free = [index for index, cost in enumerate(self.costs) if cost.dense > cost.fixed]
        spendable -= sum(cost.dense for cost in self.costs if cost.dense <= cost.fixed)
        over = free
        while free and over:
            chosen = best([units[index] for index in free], spendable - sum(self.costs[index].fixed for index in free))
            for index, keep in zip(free, chosen, strict=True):
                final[index] = round(float(units[index].size[keep].sum()) / self.costs[index].each)
            over = [index for index in free if final[index] > self.costs[index].sparse_to * full[index]]
            for index in over:
                cost = self.costs[index]
                no_dearer = cost.dense <= cost.fixed + cost.each * final[index]
                final[index] = full[index] if no_dearer else math.floor(cost.sparse_to * full[index])
                spendable -= self._cost(cost, final[index], full[index])
            free = [index for index in free if index not in over]
        return final

    def _dearest(self) -> float:
        """What the unit costs that costs most."""
        return max(map(self._of_a_unit, self.costs))

    def _of_a_unit(self, cost: LayerCost) -> float:
        """What is kept together, or not at all, of a layer costs this."""
        weights = min(cost.weights, self.pattern.neuron_block * self.pattern.synapses)
        return cost.each * (1 if self.budget.counts_slots else weights)

    def _priced(self, layer: RewireInput, cost: LayerCost) -> Units:
        units = units_of(self.pattern, energy(layer), groups=layer.groups)
        price = units.size.new_ones(()) if self.budget.counts_slots else units.size
        return priced(units, price * cost.each)


def energy(layer: RewireInput) -> Tensor:
    """Each active weight's share of the sum of the layer's squared weights; -1 for those that are not active."""
    magnitude = active_magnitude(layer)
    squares = (magnitude / magnitude.max().clamp(min=SMALLEST)).square().masked_fill(~layer.mask, 0)
    shares = squares / squares.double().sum().clamp(min=SMALLEST).float()
    return shares.masked_fill(~layer.mask, -1.0)
