"""A share of the whole model's weights divided among its layers: evenly, by their shapes, or by their scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sparbor.recipe.recipe import Distribution, Recipe

Shape = Sequence[int]


@dataclass(frozen=True)
class BudgetShare:
    """Layers, by index, that share one budget: together they keep ``density`` of their ``weights``."""

    layers: tuple[int, ...]
    weights: int
    density: float

    def budget(self, progress: float) -> int:
        """Weights kept when ``progress`` of the final sparsity is reached."""
        return round(self.weights * (1 - progress * (1 - self.density)))


def divide_weights(recipe: Recipe, wrapped: Sequence[Shape], grown: Sequence[Shape]) -> list[BudgetShare]:
    """How layers of these shapes, neurons first, share the weights that a recipe without a budget of costs keeps.

    What has grown has no weights of its own in the total: it shares those of the layers that it grew on. Indices go on
    from the ``wrapped`` to the ``grown``.
    """
    weights = sum(map(math.prod, wrapped))
    everything = weights + sum(map(math.prod, grown))
    assert recipe.sparsity is not None  # a recipe without a budget of costs has both
    assert recipe.distribution is not None
    return shares(recipe.distribution, [*wrapped, *grown], (1 - recipe.sparsity) * weights / everything)


def shares(distribution: Distribution, shapes: Sequence[Shape], density: float) -> list[BudgetShare]:
    """Divide ``density`` among layers whose weights have these ``shapes``.

    ``uniform``: every layer has it. ``erk``: see :func:`erk_densities`. ``global``: one budget for all, so that the
    scores decide which layers are denser.
    """
    weights = [math.prod(shape) for shape in shapes]
    if distribution == "global":
        return [BudgetShare(tuple(range(len(shapes))), sum(weights), density)]
    densities = erk_densities(shapes, density) if distribution == "erk" else [density] * len(shapes)
    return [BudgetShare((index,), weights[index], densities[index]) for index in range(len(shapes))]


def erk_densities(shapes: Sequence[Shape], density: float) -> list[float]:
    """Erdős–Rényi-Kernel densities (Evci et al. 2020): ``density_l = min(1, e * sum(shape_l) / prod(shape_l))``.

    ``e`` is the number for which all layers together keep ``density`` of their weights. Layers that would need more
    than all of their weights stay dense and the others share what is left.
    """
    weights = [math.prod(shape) for shape in shapes]
    dense: set[int] = set()
    while len(dense) < len(shapes):
        left = density * sum(weights) - sum(weights[index] for index in dense)
        sparse = [index for index in range(len(shapes)) if index not in dense]
        scale = left / sum(sum(shapes[index]) for index in sparse)
        overfull = {index for index in sparse if scale * sum(shapes[index]) >= weights[index]}
        if not overfull:
            return [
                1.0 if index in dense else scale * sum(shapes[index]) / weights[index] for index in range(len(shapes))
            ]
        dense |= overfull
    return [1.0] * len(shapes)
