"""How the layers of a model share what its recipe lets them keep: a share of their weights, or a budget of costs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from torch import Tensor, nn

from sparbor.allocation.aims import MARGIN
from sparbor.allocation.cost_budget import CostBudget
from sparbor.allocation.shares import BudgetShare, divide_weights
from sparbor.allocation.survey import LayerEligibility
from sparbor.errors import ArgumentError, StateError
from sparbor.nn.named_layers import plain_name
from sparbor.nn.trained_layer import TrainedLayer
from sparbor.nn.wrapping import plain_layer
from sparbor.recipe.recipe import Recipe
from sparbor.topology.rewire import RewireInput

_Value = TypeVar("_Value")


class Allocator:
    """Divides what ``recipe`` allows among layers: those of the ``model`` first, then those that have grown on them.

    ``active``: of layers that came with masks, how many weights were active before the first step.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, findings: Sequence[LayerEligibility]) -> None:
        self.recipe = recipe
        self._cost_budget = CostBudget.of(model, recipe, findings)
        taken = {plain_name(each.name): each for each in findings if each.taken}
        self._own = {name: each.sparsity for name, each in taken.items() if each.sparsity is not None}
        wrapped = {name: each.wrapper_in(model) for name, each in taken.items()}
        self.active = {name: each.active_weights() for name, each in wrapped.items() if each and each.mode == "d"}
        self._check_room(model, taken)

    def _check_room(self, model: nn.Module, taken: Mapping[str, LayerEligibility]) -> None:
        """Refuse masks that are clearly sparser than the recipe, where none of their weights can come back."""
        if self.recipe.sparsity is None or self.recipe.grows_synapses or not self.active:
            return
        sizes = {
            name: getattr(plain_layer(model.get_submodule(each.path)), each.weight_name).numel()
            for name, each in taken.items()
        }
        rest = [name for name in sizes if name not in self._own]
        for said, names, sparsity in [
            *((f"layer {name!r}", [name], sparsity) for name, sparsity in self._own.items()),
            ("the layers that share its sparsity", rest, self.recipe.sparsity),
        ]:
            weights, room = (sum(each.get(name, sizes[name]) for name in names) for each in (sizes, self.active))
            if (1 - sparsity) * weights > MARGIN * room:
                raise ArgumentError(
                    f"the masks that {said} came with keep {100 * room / weights:.3g} % of the weights, the recipe"
                    f" wants {100 * (1 - sparsity):.3g} %, and method={self.recipe.method!r} only drops: raise the"
                    " sparsity, or pass method='fixed', which keeps the masks, or 'rigl', which lets weights grow"
                )

    def divide(self, layers: Sequence[TrainedLayer]) -> list[BudgetShare]:
        """Which layers share how much, by index; the ``sparsity`` of each module becomes that of its share."""
        if self._cost_budget is not None:
            divided = self._cost_budget.shares([self.rewire_input(layer) for layer in layers])
        elif self.recipe.method == "fixed":
            sizes = [(layer.module.mask.numel(), layer.module.active_weights()) for layer in layers]
            divided = [BudgetShare((i,), weights, active / weights) for i, (weights, active) in enumerate(sizes)]
        else:
            wrapped = [layer.module.outputs_first for layer in layers if not layer.grown]
            grown = [layer.module.outputs_first for layer in layers if layer.grown]
            own, active = _by_index(self._own, layers), _by_index(self.active, layers)
            divided = divide_weights(self.recipe, wrapped, grown, own, active)
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

    def begin_with(self, active: object, layers: Sequence[TrainedLayer]) -> None:
        """Take these for the numbers of weights that were :attr:`active` when the run began that is resumed now."""
        sizes = {plain_name(layer.name): layer.module.mask.numel() for layer in layers}
        if not isinstance(active, dict) or not all(
            name in sizes and isinstance(count, int) and 0 <= count <= sizes[name] for name, count in active.items()
        ):
            raise StateError("the state is damaged: it has no numbers of the active weights that its run began with")
        self.active = dict(active)

    def cost(self, layers: Sequence[TrainedLayer]) -> float:
        """What the model costs with the masks that it has, in the unit of the budget."""
        if self._cost_budget is None:
            raise ArgumentError("cost(): the recipe has no budget; give it one, such as Budget(latency_us=40)")
        return self._cost_budget.cost([self.rewire_input(layer) for layer in layers])


def _by_index(by_name: Mapping[str, _Value], layers: Sequence[TrainedLayer]) -> dict[int, _Value]:
    """What is known by a layer's name, by its index."""
    names = [plain_name(layer.name) for layer in layers]
    return {index: by_name[name] for index, name in enumerate(names) if name in by_name}
