"""Pure mask makers: what each weight is worth -> which weights stay.

A pattern divides a weight matrix ``(outputs, fan_in)`` into *units*, the smallest sets of weights that are kept or
dropped together. :func:`select` keeps the best units until a budget of weights is spent. :mod:`sparbor.matrix` says
which matrix the weight of a convolution is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sparbor.errors import ArgumentError
from sparbor.ranking import ranks


class Units(NamedTuple):
    """A matrix divided into units.

    ``worth`` and ``size`` have one entry a unit: the mean score of its weights (``-inf``: it cannot be kept) and how
    many weights it has (or what it costs, see :func:`priced`). ``of_weight`` has the matrix's shape and tells to which
    unit each weight belongs.
    """

    worth: Tensor
    size: Tensor
    of_weight: Tensor


@dataclass(frozen=True)
class Slots:
    """Sparbor's own pattern: a slot is one synapse for each of ``group`` neurons, all on one branch of inputs.

    On each branch (``branch`` consecutive inputs) every neuron sorts its weights by score; the j-th slot of a (group,
    branch) pair holds each neuron's j-th best weight there and is worth their mean. Worth falls with j, so slots are
    taken in order, and all neurons of a group have equally many synapses on a branch. Groups and branches at the edge
    of the matrix may be partly filled: only their real weights count.
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
        padding = (0, -fan_in % self.branch, 0, -neurons % self.group)
        padded = F.pad(score.reshape(groups, neurons, fan_in), padding, value=-math.inf)
        tiles = padded.reshape(-1, self.group, padded.shape[-1] // self.branch, self.branch)

        rank = ranks(tiles)
        ranked = torch.empty_like(tiles).scatter_(-1, rank, tiles)

        real = F.pad(score.new_ones(groups, neurons, fan_in, dtype=torch.bool), padding).view(tiles.shape)
        real_neurons = real[:, :, 0, 0].sum(dim=1)[:, None, None]
        worth = ranked.masked_fill(~real[:, :, :1, :1], 0).sum(dim=1) / real_neurons
        size = torch.where(real.any(dim=1), real_neurons, 0)

        first_unit = torch.arange(size[..., 0].numel(), device=score.device).view(len(tiles), 1, -1, 1) * self.branch
        of_weight = (first_unit + rank).view(padded.shape)[:, :neurons, :fan_in]
        return Units(worth.flatten(), size.flatten(), of_weight.reshape(outputs, fan_in))


@dataclass(frozen=True)
class NM:
    """N:M sparsity: at most ``n`` of every ``m`` consecutive inputs of a neuron (Mishra et al. 2021, for any n, m).

    While a schedule is still denser than ``n/m`` the quota is the smallest one that can hold its density.
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
    """No pattern: every weight stands for itself."""

    def refuses(self, outputs: int, groups: int) -> str | None:
        """Every layer can have this pattern."""
        return None

    def units(self, score: Tensor, density: float = 1.0, groups: int = 1) -> Units:
        """Each weight is a unit."""
        worth = score.flatten()
        index = torch.arange(worth.numel(), device=score.device)
        return Units(worth, torch.ones_like(index), index.view(score.shape))


Pattern = Slots | NM | Unstructured


def select(layers: Sequence[Units], budget: float) -> list[Tensor]:
    """Keep the best units of all ``layers`` until ``budget`` weights are kept; one bool mask a layer.

    The number of weights kept is as near to the budget as whole units allow, so it differs by less than a unit.
    Equal worths are taken in the order of the units, which makes the choice deterministic.
    """
    return [kept[units.of_weight] for kept, units in zip(best(layers, budget), layers, strict=True)]


def best(layers: Sequence[Units], budget: float) -> list[Tensor]:
    """Which units :func:`select` keeps, one bool a unit."""
    worth = torch.cat([units.worth for units in layers])
    size = torch.cat([units.size for units in layers])
    order = worth.argsort(descending=True, stable=True)
    spent = size[order].cumsum(0)
    nearer_with_it = 2 * spent - size[order] <= 2 * budget
    keep = torch.zeros_like(worth, dtype=torch.bool)
    keep[order] = nearer_with_it & (worth[order] > -math.inf)
    return list(torch.split(keep, [len(units.worth) for units in layers]))


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
