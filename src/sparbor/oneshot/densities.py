"""How dense each layer becomes: as its user says by name, and what the others keep together shared among them."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from sparbor.allocation.shares import shares
from sparbor.errors import ArgumentError
from sparbor.nn.named_layers import plain_name
from sparbor.oneshot.targets import SparseLayer

Distribution = Literal["uniform", "erk"]
DISTRIBUTIONS: tuple[Distribution, ...] = ("uniform", "erk")


def divide(layers: Sequence[SparseLayer], distribution: Distribution, sparsity: float) -> None:
    """Give each of the ``layers`` a sparsity, so that they drop this share of their weights together."""
    for share in shares(distribution, [layer.module.outputs_first for layer in layers], 1 - sparsity):
        for index in share.layers:
            layers[index].module.sparsity, layers[index].module.planned = 1 - share.density, True


def take_named(layers: Sequence[SparseLayer], named: Mapping[str, float]) -> list[SparseLayer]:
    """Give the layers that a pattern names its sparsity, the first that does; returns the others.

    Raises:
        ArgumentError: a pattern names none of them.
    """
    others, used = [], set[str]()
    for layer in layers:
        names = plain_name(layer.finding.name), plain_name(layer.finding.path)
        matching = [pattern for pattern in named if any(fnmatchcase(name, pattern) for name in names)]
        used |= set(matching)
        if matching:
            layer.module.sparsity, layer.module.planned = named[matching[0]], True
        else:
            others.append(layer)
    if unused := [pattern for pattern in named if pattern not in used]:
        there = ", ".join(plain_name(layer.finding.name) for layer in layers)
        raise ArgumentError(f"layers[{unused[0]!r}]: matches no layer that becomes sparse; those are {there}")
    return others
