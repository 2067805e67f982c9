"""Pure mask makers: what each weight is worth -> which weights stay.

A pattern divides a weight matrix ``(outputs, fan_in)`` into *units*, the smallest sets of weights that are kept or
dropped together. :func:`select` keeps the best units until a budget of weights is spent. :mod:`sparbor.topology.matrix`
says which matrix the weight of a convolution is.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sparbor.errors import ArgumentError
from sparbor.topology.ranking import rank_slots


class Units(NamedTuple):
    """A matrix divided into units.

    ``worth`` and ``size`` have one entry a unit: the mean score of its weights (``-inf``: it cannot be kept) and how
    many weights it has (or what it costs, see :func:`priced`). ``to_mask`` makes the matrix's mask of one bool a unit,
    which of them are kept: any that :func:`best` may choose.
    """

    worth: Tensor
    size: Tensor
    to_mask: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Slots:
    """Sparbor's own pattern: a slot is one weight for each of ``group`` neurons, all on one branch of inputs.

    A layer's weight is seen as a matrix (outputs, fan-in); a convolution's fan-in is its input channels times the size
    of its kernel. On each branch (``branch`` consecutive inputs) every neuron sorts its weights by score; the j-th slot
    of a (group, branch) pair holds each neuron's j-th best weight there and is worth their mean. Worth falls with j, so
    slots are taken in order, and all neurons of a group have equally many weights on a branch. Groups and branches at
    the edge of the matrix may be partly filled: only their real weights count.

    Args:
        group: how many consecutive neurons share a slot. The engine's kernels are made for 16.
        branch: how many consecutive inputs the weights of a slot lie within. The engine's kernels are made for 32.

    Raises:
        ArgumentError: one of them is no whole number from 1 on.

    >>> Slots()
    Slots(group=16, branch=32)
    """

    group: int = 16
    branch: int = 32

    def __post_init__(self) -> None:
        _require_positive("Slots", group=self.group, branch=self.branch)

    def refuses(self, outputs: int, groups: int) -> str | None:
        """Why a layer with ``outputs`` neurons in ``groups`` convolution groups cannot have this pattern, if so."""
        if groups > 1 and outputs // groups < self.group:
            return f"{outputs // groups} outputs in each convolution group, a slot needs {self.group}"
        return None

    def units(self, score: Tensor, density: float = 1.0, groups: int = 1) -> Units:
        """Rank each neuron's weights on each branch; the j-th ranks of a group's neurons form a unit."""
        outputs, fan_in = score.shape
        neurons = outputs // groups
        rank, worth = rank_slots(score, self.group, self.branch, groups)
        tiles = groups, len(worth) // groups, worth.shape[1], self.branch

        # Of a partly filled group or branch, the real neurons and the places that have an input.
        real = torch.full(tiles[:2], self.group, device=score.device)
        real[:, -1] -= -neurons % self.group
        exists = torch.arange(worth.shape[1] * self.branch, device=score.device) < fan_in
        size = real[:, :, None] * exists

        def to_mask(kept: Tensor) -> Tensor:
            """Worth falls with the rank, so what is kept of a (group, branch) are its first ranks."""
            counts = kept.view(tiles).sum(-1).to(rank.dtype).repeat_interleave(self.branch, -1)[..., :fan_in]
            counts = counts.repeat_interleave(self.group, 1)[:, :neurons]
            return rank < counts.reshape(outputs, fan_in)

        return Units(worth.flatten(), size.flatten(), to_mask)


@dataclass(frozen=True)
class NM:
    """N:M sparsity: at most ``n`` of every ``m`` consecutive inputs of a neuron (Mishra et al. 2021, for any n, m).

    While a schedule is still denser than ``n/m`` the quota is the smallest one that can hold its density.

    Args:
        n: how many weights of a window are kept, at most.
        m: how many consecutive inputs make a window.

    Raises:
        ArgumentError: one of them is no whole number from 1 on, or ``n`` is larger than ``m``.

    >>> NM(2, 4)
    NM(n=2, m=4)
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        _require_positive("NM", n=self.n, m=self.m)
        if self.n > self.m:
            raise ArgumentError(f"NM(n={self.n}, m={self.m}): n must be at most m; swap them or lower n")

    def refuses(self, outputs: int, groups: int) -> str | None:
        """Every layer can have this pattern."""
        return None

    def units(self, score: Tensor, density: float = 1.0, groups: int = 1) -> Units:
        """Each weight is a unit; it cannot be kept if a quota of better ones stands in its window."""
        outputs, fan_in = score.shape
        quota = max(self.n, math.ceil(density * self.m - 1e-9))
        windows = F.pad(score, (0, -fan_in % self.m), value=-math.inf).view(outputs, -1, self.m)
        order = windows.argsort(dim=-1, descending=True, stable=True)
        beyond_quota = torch.zeros_like(windows, dtype=torch.bool).scatter_(-1, order[..., quota:], True)
        worth = windows.masked_fill(beyond_quota, -math.inf).view(outputs, -1)[:, :fan_in]
        return Unstructured().units(worth)


@dataclass(frozen=True)
class Unstructured:
    """No pattern: every weight stands for itself, and is kept or dropped by its own score.

    The engine runs such a model too, in more time and room than one of slots, since slots have to be padded.

    >>> Unstructured()
    Unstructured()
    """

    def refuses(self, outputs: int, groups: int) -> str | None:
        """Every layer can have this pattern."""
        return None

    def units(self, score: Tensor, density: float = 1.0, groups: int = 1) -> Units:
        """Each weight is a unit."""
        worth = score.flatten()
        return Units(worth, torch.ones_like(worth, dtype=torch.int64), lambda kept: kept.view(score.shape))


Pattern = Slots | NM | Unstructured


def select(layers: Sequence[Units], budget: float) -> list[Tensor]:
    """Keep the best units of all ``layers`` until ``budget`` weights are kept; one bool mask a layer.

    The number of weights kept is as near to the budget as whole units allow, so it differs by less than a unit.
    Equal worths are taken in the order of the units, which makes the choice deterministic.
    """
    return [units.to_mask(kept) for kept, units in zip(best(layers, budget), layers, strict=True)]


def best(layers: Sequence[Units], budget: float) -> list[Tensor]:
    """Which units :func:`select` keeps, one bool a unit."""
    worth = torch.cat([units.worth for units in layers])
    size = torch.cat([units.size for units in layers])
    order = _best_first(worth, _most(size, budget))
    spent = size[order].cumsum(0)
    nearer_with_it = 2 * spent - size[order] <= 2 * budget
    keep = torch.zeros_like(worth, dtype=torch.bool)
    keep[order] = nearer_with_it & (worth[order] > -math.inf)
    return list(torch.split(keep, [len(units.worth) for units in layers]))


def _most(size: Tensor, budget: float) -> int:
    """A bound for how many units of these sizes a budget can keep."""
    real = size[size > 0]
    return min(len(size), int(budget / float(real.min())) + 2) if len(real) else 0


def _best_first(worth: Tensor, count: int) -> Tensor:
    """The numbers of the ``count`` best units in order; to sort the others too would take many times as long."""
    if count == 0:
        return worth.new_empty(0, dtype=torch.int64)
    last = worth.kthvalue(len(worth) - count + 1).values
    better = (worth > last).nonzero().squeeze(1)
    equal = (worth == last).nonzero().squeeze(1)[: count - len(better)]
    return torch.cat([better[worth[better].argsort(descending=True, stable=True)], equal])


def priced(units: Units, price: Tensor) -> Units:
    """The same units with the ``price`` of each, above 0, as their size, and worth what they hold for what it costs."""
    exists = units.size > 0
    price = torch.where(exists, price.double(), 0)
    worth = torch.where(exists, units.worth.double() * units.size / price, -math.inf)
    return units._replace(worth=worth, size=price)


def slot_counts(mask: Tensor, pattern: Slots, groups: int = 1) -> Tensor:
    """How many slots each (group, branch) of a slot-shaped ``mask`` has: ``(all groups, branches)``."""
    outputs, fan_in = mask.shape
    neurons = outputs // groups
    padding = (0, -fan_in % pattern.branch, 0, -neurons % pattern.group)
    padded = F.pad(mask.reshape(groups, neurons, fan_in), padding)
    tiles = padded.reshape(-1, pattern.group, padded.shape[-1] // pattern.branch, pattern.branch)
    return tiles.sum(dim=-1).amax(dim=1)


def _require_positive(owner: str, **values: int) -> None:
    for name, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise ArgumentError(f"{owner}({name}={value!r}): {name} must be a whole number of at least 1")
