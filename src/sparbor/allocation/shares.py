"""A share of the whole model's weights divided among its layers: evenly, by their shapes, or by their scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sparbor.recipe.recipe import Distribution, Recipe

Shape = Sequence[int]


@dataclass(frozen=True)
class BudgetShare:
    """Layers, by index, that share one budget: together they keep ``density`` of their ``weights``.

    ``start``: how dense they were before.
    """

    layers: tuple[int, ...]
    weights: int
    density: float
    start: float = 1.0

    def budget(self, progress: float) -> int:
        """Weights kept when ``progress`` of the way to the final density is gone."""
        return round(self.weights * (self.start - progress * (self.start - self.density)))


def divide_weights(
    recipe: Recipe,
    wrapped: Sequence[Shape],
    grown: Sequence[Shape],
    own: Mapping[int, float] | None = None,
    active: Mapping[int, int] | None = None,
) -> list[BudgetShare]:
    """How layers of these shapes, neurons first, share the weights that a recipe without a budget of costs keeps.

    What has grown has no weights of its own in the total: it shares those of the layers that it grew on. Indices go on
    from the ``wrapped`` to the ``grown``. Layers in ``own`` have this sparsity, and share nothing. ``active`` says of
    layers that came with masks how many weights these had; see :func:`from_masks`.
    """
    own, active = own or {}, active or {}
    shapes = [*wrapped, *grown]
    sharing = [index for index in range(len(shapes)) if index not in own]
    weights = sum(math.prod(shapes[index]) for index in sharing if index < len(wrapped))
    alone = [BudgetShare((index,), math.prod(shapes[index]), 1 - sparsity) for index, sparsity in own.items()]
    divided = [share for each in alone for share in from_masks([each], shapes, active, recipe)]
    if not sharing:
        return divided
    everything = sum(math.prod(shapes[index]) for index in sharing)
    assert recipe.sparsity is not None  # a recipe without a budget of costs has both
    assert recipe.distribution is not None
    density = (1 - recipe.sparsity) * weights / everything
    shared = shares(recipe.distribution, [shapes[index] for index in sharing], density)
    shared = [replace(share, layers=tuple(sharing[index] for index in share.layers)) for share in shared]
    return divided + from_masks(shared, shapes, active, recipe)


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


def from_masks(
    divided: Sequence[BudgetShare], shapes: Sequence[Shape], active: Mapping[int, int], recipe: Recipe
) -> list[BudgetShare]:
    """The shares of layers of which some came with masks, of so many ``active`` weights each: they begin with those.

    Where a method only drops, no layer can become denser. What one has no room for, the others get in proportion to
    what is theirs, so that the sum stays the recipe's.
    """
    if not active:
        return list(divided)
    had = {index: active.get(index, math.prod(shape)) for index, shape in enumerate(shapes)}
    begun = [replace(share, start=sum(had[index] for index in share.layers) / share.weights) for share in divided]
    if recipe.grows_synapses:
        return begun
    wanted = [share.density * share.weights for share in begun]
    kept = filled(wanted, [share.start * share.weights for share in begun], sum(wanted))
    return [replace(share, density=keep / share.weights) for share, keep in zip(begun, kept, strict=True)]


def erk_densities(shapes: Sequence[Shape], density: float) -> list[float]:
    """Erdős–Rényi-Kernel densities (Evci et al. 2020): ``density_l = min(1, e * sum(shape_l) / prod(shape_l))``.

    ``e`` is the number for which all layers together keep ``density`` of their weights. Layers that would need more
    than all of their weights stay dense and the others share what is left.
    """
    weights = [math.prod(shape) for shape in shapes]
    kept = filled([sum(shape) for shape in shapes], weights, density * sum(weights))
    return [keep / weight for keep, weight in zip(kept, weights, strict=True)]


def filled(parts: Sequence[float], rooms: Sequence[float], total: float) -> list[float]:
    """The ``total`` divided in proportion to ``parts``; what would get more than its room gets that alone."""
    full: set[int] = set()
    while len(full) < len(parts):
        left = total - sum(rooms[index] for index in full)
        free = [index for index in range(len(parts)) if index not in full]
        scale = left / sum(parts[index] for index in free)
        overfull = {index for index in free if scale * parts[index] >= rooms[index]}
        if not overfull:
            return [rooms[index] if index in full else scale * parts[index] for index in range(len(parts))]
        full |= overfull
    return list(rooms)
