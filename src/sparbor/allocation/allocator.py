"""How the layers of a model share what its recipe lets them keep: a share of their weights, or a budget of costs."""

from collections.abc import Sequence

from torch import Tensor, nn

from sparbor.allocation.cost_budget import CostBudget
from sparbor.allocation.shares import BudgetShare, divide_weights
from sparbor.allocation.survey import LayerEligibility
from sparbor.errors import ArgumentError
from sparbor.nn.trained_layer import TrainedLayer
from sparbor.recipe.recipe import Recipe
from sparbor.topology.rewire import RewireInput


class Allocator:
    """Divides what ``recipe`` allows among layers: those of the ``model`` first, then those that have grown on them."""

    def __init__(self, model: nn.Module, recipe: Recipe, findings: Sequence[LayerEligibility]) -> None:
        self.recipe = recipe
        self._cost_budget = CostBudget.of(model, recipe, findings)

    def divide(self, layers: Sequence[TrainedLayer]) -> list[BudgetShare]:
        """Which layers share how much, by index; the ``sparsity`` of each module becomes that of its share."""
        if self._cost_budget is not None:
            divided = self._cost_budget.shares([self.rewire_input(layer) for layer in layers])
        else:
            wrapped = [layer.module.outputs_first for layer in layers if not layer.grown]
            grown = [layer.module.outputs_first for layer in layers if layer.grown]
            divided = divide_weights(self.recipe, wrapped, grown)
        for share in divided:
            for index in share.layers:
                layers[index].module.sparsity = 1 - share.density
                layers[index].module.planned = self._cost_budget is None  # else it is decided anew as weights change
        return divided

    def budgets(
        self, layers: Sequence[TrainedLayer], inputs: Sequence[RewireInput], progress: float
    ) -> list[tuple[tuple[int, ...], int]]:
        """Which layers share how many active weights (or slots) when ``progress`` of the way is gone."""
        if self._cost_budget is not None:
            return [((index,), budget) for index, budget in enumerate(self._cost_budget.budgets(inputs, progress))]
        return [(share.layers, share.budget(progress)) for share in self.divide(layers)]

    def rewire_input(self, layer: TrainedLayer, growth: Tensor | None = None) -> RewireInput:
        """The layer as rewiring sees it, and what its ``growth`` goes by, in the layout of its weight."""
        module = layer.module
        budget = self.recipe.budget
        return RewireInput(
            module.weight_matrix(),
            module.to_matrix(module.mask),
            None if growth is None else module.to_matrix(growth),
            module.groups,
            in_slots=budget is not None and budget.counts_slots,
        )

    def cost(self, layers: Sequence[TrainedLayer]) -> float:
        """What the model costs with the masks that it has, in the unit of the budget."""
        if self._cost_budget is None:
            raise ArgumentError("cost(): the recipe has no budget; give it one, such as Budget(latency_us=40)")
        return self._cost_budget.cost([self.rewire_input(layer) for layer in layers])
