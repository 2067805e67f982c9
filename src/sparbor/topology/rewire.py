"""One change of topology: score, drop, grow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sparbor.recipe.pattern import BlockPattern, Pattern
from sparbor.topology.units import Units, select, slot_counts, units_of

LARGEST = 1e30  # what counts as infinite: the mean of as many as a neuron block has is finite
KEPT = 1e35  # above every score
LAST_RESORT = -1.0  # below every score, which is a magnitude


@dataclass(frozen=True)
class RewireInput:
    """One layer as rewiring sees it: matrices ``(outputs, fan_in)`` of weights and mask, and what growth goes by.

    ``growth`` scores inactive weights (RigL: the magnitude of their gradient, SET: a random number); ``None`` means
    that nothing can grow here now. ``groups`` and ``input_row`` are as for :func:`sparbor.topology.units.units_of`. A
    budget is in weights, or ``in_slots`` (or quads), however many neurons those have.
    """

    weight: Tensor
    mask: Tensor
    growth: Tensor | None = None
    groups: int = 1
    in_slots: bool = False
    input_row: int | None = None


@torch.no_grad()
def rewire(layers: Sequence[RewireInput], pattern: Pattern, budget: int, drop: float = 0.0) -> list[Tensor]:
    """New masks for layers that share a ``budget`` of active weights or slots (Evci et al. 2020, for any pattern).

    Of the budget, the share ``drop`` is given to growth where growth is possible; the rest goes to the active weights
    of the largest magnitude. Weights dropped just now grow again only where the budget cannot be spent otherwise.
    """
    weights = sum(layer.mask.numel() for layer in layers)
    density = (budget - 0.5) / weights  # what was asked for before rounding: a rounded budget must not raise a quota
    active = [amount(layer, pattern) for layer in layers]
    growing = [(layer, its) for layer, its in zip(layers, active, strict=True) if layer.growth is not None]
    to_grow = min(round(drop * budget), sum(capacity(layer, pattern) - its for layer, its in growing))

    ranked = [_units(layer, _active_score(layer, pattern), pattern, density) for layer in layers]
    survivors = select(ranked, min(budget - to_grow, sum(active)))
    kept = [replace(layer, mask=mask) for layer, mask in zip(layers, survivors, strict=True)]
    shortfall = budget - sum(amount(layer, pattern) for layer in kept)
    if to_grow == 0 and shortfall < max(int(units.size.max()) for units in ranked):
        return survivors
    scores = [_growth_score(layer, kept, pattern) for layer, kept in zip(layers, survivors, strict=True)]
    return select([_units(layer, score, pattern, density) for layer, score in zip(layers, scores, strict=True)], budget)


def amount(layer: RewireInput, pattern: Pattern) -> int:
    """What the layer's mask takes of a budget: its active weights, or its slots, or quads."""
    if layer.in_slots and isinstance(pattern, BlockPattern):
        return int(slot_counts(layer.mask, pattern, layer.groups, layer.input_row).sum())
    return int(layer.mask.count_nonzero())


def capacity(layer: RewireInput, pattern: Pattern) -> int:
    """What it takes with every weight active."""
    return amount(replace(layer, mask=torch.ones_like(layer.mask)), pattern) if layer.in_slots else layer.mask.numel()


def _units(layer: RewireInput, score: Tensor, pattern: Pattern, density: float) -> Units:
    units = units_of(pattern, score, density, layer.groups, layer.input_row)
    return units._replace(size=(units.size > 0).long()) if layer.in_slots else units


def magnitude_mask(
    weight: Tensor, pattern: Pattern, density: float, groups: int = 1, input_row: int | None = None
) -> Tensor:
    """The mask that keeps the ``density`` share of a matrix's weights with the largest magnitudes."""
    everything = torch.ones_like(weight, dtype=torch.bool)
    layer = RewireInput(weight, everything, groups=groups, input_row=input_row)
    return rewire([layer], pattern, round(density * weight.numel()))[0]


def active_magnitude(layer: RewireInput) -> Tensor:
    """The magnitudes of the active weights, and of others a number below."""
    return _where(layer.mask, _finite(layer.weight.abs()), LAST_RESORT)


def scores_of(values: Tensor, pattern: Pattern) -> Tensor:
    """What weights or gradients count: their magnitudes, or the squares of these where the pattern goes by them."""
    return _finite(values.float().square() if pattern.by_squares else values.abs())


def _active_score(layer: RewireInput, pattern: Pattern) -> Tensor:
    return _where(layer.mask, scores_of(layer.weight, pattern), LAST_RESORT)


def _growth_score(layer: RewireInput, kept: Tensor, pattern: Pattern) -> Tensor:
    if layer.growth is None:
        score = torch.full_like(layer.weight, LAST_RESORT, dtype=torch.float32)
    else:
        score = _where(~layer.mask, scores_of(layer.growth, pattern), LAST_RESORT)
    return _where(~kept, score, KEPT)


def _finite(score: Tensor) -> Tensor:
    # In float32 at least: means of halves overflow. A NaN would sort above everything.
    return score.float().nan_to_num_(nan=0.0, posinf=LARGEST)


def _where(mask: Tensor, values: Tensor, elsewhere: float) -> Tensor:
    """``values``, overwritten, where the mask is true; `torch.where` takes ten times as long."""
    numbers = mask.view(torch.uint8).to(values.dtype)  # of bools that takes three times as long
    return values.mul_(numbers).add_(numbers.sub_(1), alpha=-elsewhere)
