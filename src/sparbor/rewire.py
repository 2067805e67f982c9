"""One change of topology: score, drop, grow, and give what changed a fresh start in the optimizer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.optim import Optimizer

from sparbor.pattern import Pattern, Slots, Units, select, slot_counts
from sparbor.shards import held, held_part

KEPT = float("inf")
LAST_RESORT = -1.0  # below every score, which is a magnitude


@dataclass(frozen=True)
class Topology:
    """One layer as rewiring sees it: matrices ``(outputs, fan_in)`` of weights and mask, and what growth goes by.

    ``growth`` scores inactive weights (RigL: the magnitude of their gradient, SET: a random number); ``None`` means
    that nothing can grow here now. A budget is in weights, or ``in_slots``, however many neurons those have.
    """

    weight: Tensor
    mask: Tensor
    growth: Tensor | None = None
    groups: int = 1
    in_slots: bool = False


@torch.no_grad()
def rewire(layers: Sequence[Topology], pattern: Pattern, budget: int, drop: float = 0.0) -> list[Tensor]:
    """New masks for layers that share a ``budget`` of active weights or slots (Evci et al. 2020, for any pattern).

    Of the budget, the share ``drop`` is given to growth where growth is possible; the rest goes to the active weights
    of the largest magnitude. Weights dropped just now grow again only where the budget cannot be spent otherwise.
    """
    weights = sum(layer.mask.numel() for layer in layers)
    density = (budget - 0.5) / weights  # what was asked for before rounding: a rounded budget must not raise a quota
    growable = sum(capacity(layer, pattern) - amount(layer, pattern) for layer in layers if layer.growth is not None)
    to_grow = min(round(drop * budget), growable)

    ranked = [_units(layer, active_magnitude(layer), pattern, density) for layer in layers]
    active = sum(amount(layer, pattern) for layer in layers)
    survivors = select(ranked, min(budget - to_grow, active))
    kept = [replace(layer, mask=mask) for layer, mask in zip(layers, survivors, strict=True)]
    shortfall = budget - sum(amount(layer, pattern) for layer in kept)
    if to_grow == 0 and shortfall < max(int(units.size.max()) for units in ranked):
        return survivors
    scores = [_growth_score(layer, kept) for layer, kept in zip(layers, survivors, strict=True)]
    return select(
        [_units(layer, score, pattern, density) for layer, score in zip(layers, scores, strict=True)],
        budget,
    )


def amount(layer: Topology, pattern: Pattern) -> int:
    """What the layer's mask takes of a budget: its active weights, or its slots."""
    if layer.in_slots and isinstance(pattern, Slots):
        return int(slot_counts(layer.mask, pattern, layer.groups).sum())
    return int(layer.mask.sum())


def capacity(layer: Topology, pattern: Pattern) -> int:
    """What it takes with every weight active."""
    return amount(replace(layer, mask=torch.ones_like(layer.mask)), pattern) if layer.in_slots else layer.mask.numel()


def _units(layer: Topology, score: Tensor, pattern: Pattern, density: float) -> Units:
    units = pattern.units(score, density, layer.groups)
    return units._replace(size=(units.size > 0).long()) if layer.in_slots else units


def magnitude_mask(weight: Tensor, pattern: Pattern, density: float, groups: int = 1) -> Tensor:
    """The mask that keeps the ``density`` share of a matrix's weights with the largest magnitudes."""
    everything = torch.ones_like(weight, dtype=torch.bool)
    return rewire([Topology(weight, everything, groups=groups)], pattern, round(density * weight.numel()))[0]


def active_magnitude(layer: Topology) -> Tensor:
    """The magnitudes of the active weights, and of others a number below."""
    return _finite(layer.weight.abs()).masked_fill(~layer.mask, LAST_RESORT)


def _growth_score(layer: Topology, kept: Tensor) -> Tensor:
    if layer.growth is None:
        score = torch.full_like(layer.weight, LAST_RESORT)
    else:
        score = _finite(layer.growth.abs()).masked_fill(layer.mask, LAST_RESORT)
    return score.masked_fill(kept, KEPT)


def _finite(score: Tensor) -> Tensor:
    # In float32 at least: means of halves overflow. A NaN would sort above everything.
    return score.float().nan_to_num(nan=0.0, posinf=torch.finfo(torch.float32).max)


@torch.no_grad()
def reset_state(optimizer: Optimizer, parameter: Tensor, changed: Tensor) -> None:
    """Give the ``changed`` weights of ``parameter`` the state a new parameter would have.

    State that is not kept weight by weight (step counts, factored moments) is left alone, but for LBFGS: its history
    is of all weights at once, and starts anew with them.
    """
    if isinstance(optimizer, torch.optim.LBFGS):
        if changed.any():
            optimizer.state.clear()
        return
    group = next(group for group in optimizer.param_groups if any(p is parameter for p in group["params"]))
    for name, value in optimizer.state.get(parameter, {}).items():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            held(value).masked_fill_(held_part(changed, value), _initial_value(optimizer, group, name))


def _initial_value(optimizer: Optimizer, group: dict[str, object], name: str) -> float:
    """State starts from zero, but for two optimizers of torch that say otherwise."""
    start: object = 0.0
    if isinstance(optimizer, torch.optim.Adagrad) and name == "sum":
        start = group["initial_accumulator_value"]
    elif isinstance(optimizer, torch.optim.Rprop) and name == "step_size":
        start = group["lr"]
    return float(start)  # type: ignore[arg-type]
