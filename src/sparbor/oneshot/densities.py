"""How dense each layer becomes: as its user says by name, and what the others keep together shared among them."""

from collections.abc import Sequence
from typing import Literal

from sparbor.allocation.shares import divide_weights
from sparbor.oneshot.targets import SparseLayer
from sparbor.recipe.recipe import Recipe

Distribution = Literal["uniform", "erk"]
DISTRIBUTIONS: tuple[Distribution, ...] = ("uniform", "erk")


def divide(layers: Sequence[SparseLayer], recipe: Recipe) -> None:
    """Give each of the ``layers`` a sparsity: its own, or its share of what the recipe lets the others keep."""
    own = {index: layer.finding.sparsity for index, layer in enumerate(layers) if layer.finding.sparsity is not None}
    for share in divide_weights(recipe, [layer.module.outputs_first for layer in layers], [], own):
        for index in share.layers:
            layers[index].module.sparsity, layers[index].module.planned = 1 - share.density, True
