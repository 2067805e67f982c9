"""What `sparsify` is asked for, checked before anything is done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sparbor.errors import ArgumentError
from sparbor.oneshot.densities import DISTRIBUTIONS, Distribution
from sparbor.recipe.checks import check_choice, is_number
from sparbor.recipe.pattern import Pattern
from sparbor.recipe.recipe import Recipe

Method = Literal["second-order", "wanda", "magnitude"]
METHODS: tuple[Method, ...] = ("second-order", "wanda", "magnitude")


@dataclass(frozen=True)
class Options:
    """The arguments of :func:`sparbor.sparsify` that are no model and no data.

    Raises:
        ArgumentError: one is out of range, or does not fit the others.
    """

    sparsity: float
    method: Method
    pattern: Pattern
    distribution: Distribution
    exclude: tuple[str, ...]
    damping: float
    layers: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recipe  # noqa: B018  # a recipe refuses what no layer can have
        check_choice("method", self.method, METHODS)
        check_choice("distribution", self.distribution, DISTRIBUTIONS)
        if not is_number(self.damping) or self.damping < 0:
            raise ArgumentError(f"damping={self.damping!r}: must be a number of at least 0, such as 0.01")

    @property
    def recipe(self) -> Recipe:
        """The parts that recipes of training have too."""
        if self.sparsity is None:  # which a recipe would take for its own default
            raise ArgumentError("sparsity=None: must be at least 0 and below 1, the share of weights to drop")
        return Recipe(
            sparsity=self.sparsity,
            pattern=self.pattern,
            exclude=self.exclude,
            distribution=self.distribution,
            layers=self.layers,
        )
