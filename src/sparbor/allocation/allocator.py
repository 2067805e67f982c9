"""How the layers of a model share what its recipe lets them keep: a share of their weights, or a budget of costs."""

from collections.abc import Iterator, Sequence

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
        self, layers: Sequence[TrainedLayer], growth: Sequence[Tensor | None], progress: float
    ) -> Iterator[tuple[list[TrainedLayer], list[RewireInput], int]]:
        """The layers of each share, and how many active weights (or slots) they keep when ``progress`` of the way is
        gone. How rewiring sees them, with what each one's ``growth`` goes by, is made when it is their turn: that of
        all layers together would be two copies of the model.
        """
        if self._cost_budget is not None:  # which compares all of them
            inputs = [self.rewire_input(layer, its_growth) for layer, its_growth in zip(layers, growth, strict=True)]
            budgets = self._cost_budget.budgets(inputs, progress)
            yield from (([layer], [seen], budget) for layer, seen, budget in zip(layers, inputs, budgets, strict=True))
            return
        for share in self.divide(layers):
            members = [layers[index] for index in share.layers]
            yield members, [self.rewire_input(layers[i], growth[i]) for i in share.layers], share.budget(progress)

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
            input_row=module.input_row,
        )

    def cost(self, layers: Sequence[TrainedLayer]) -> float:
        """What the model costs with the masks that it has, in the unit of the budget."""
        if self._cost_budget is None:
            raise ArgumentError("cost(): the recipe has no budget; give it one, such as Budget(latency_us=40)")
        return self._cost_budget.cost([self.rewire_input(layer) for layer in layers])
