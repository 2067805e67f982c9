"""How the layers of a model share what its recipe lets them keep: a share of their weights, or a budget of costs."""

from collections.abc import Sequence

from torch import Tensor, nn

from sparbor.errors import ArgumentError
from sparbor.nn.trained_layer import TrainedLayer
from sparbor.recipe.allocation import divide
from sparbor.recipe.cost_budget import CostBudget
from sparbor.recipe.recipe import Recipe
from sparbor.recipe.survey import LayerEligibility
from sparbor.topology.distribution import Pool
from sparbor.topology.rewire import Topology


class Allocator:
    """Divides what ``recipe`` allows among layers: those of the ``model`` first, then those that have grown on them."""

    def __init__(self, model: nn.Module, recipe: Recipe, findings: Sequence[LayerEligibility]) -> None:
        self.recipe = recipe
        self._cost_budget = CostBudget.of(model, recipe, findings)

    def divide(self, layers: Sequence[TrainedLayer]) -> list[Pool]:
        """Which layers share how much, by index; the ``sparsity`` of each module becomes that of its pool."""
        if self._cost_budget is not None:
            divided = self._cost_budget.pools([self.topology(layer) for layer in layers])
        else:
            wrapped = [layer.module.outputs_first for layer in layers if not layer.grown]
            grown = [layer.module.outputs_first for layer in layers if layer.grown]
            divided = divide(self.recipe, wrapped, grown)
        for pool in divided:
            for index in pool.layers:
                layers[index].module.sparsity = 1 - pool.density
                layers[index].module.planned = self._cost_budget is None  # else it is decided anew as weights change
        return divided

    def budgets(
        self, layers: Sequence[TrainedLayer], topologies: Sequence[Topology], progress: float
    ) -> list[tuple[tuple[int, ...], int]]:
        """Which layers share how many active weights (or slots) when ``progress`` of the way is gone."""
        if self._cost_budget is not None:
            return [((index,), budget) for index, budget in enumerate(self._cost_budget.budgets(topologies, progress))]
        return [(pool.layers, pool.budget(progress)) for pool in self.divide(layers)]

    def topology(self, layer: TrainedLayer, growth: Tensor | None = None) -> Topology:
        """The layer as rewiring sees it, and what its ``growth`` goes by, in the layout of its weight."""
        module = layer.module
        budget = self.recipe.budget
        return Topology(
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
        return self._cost_budget.cost([self.topology(layer) for layer in layers])
