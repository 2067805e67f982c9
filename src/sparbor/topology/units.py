"""From what each weight is worth to which weights stay: masks by a pattern.

A pattern divides a weight matrix ``(outputs, fan_in)`` into *units*, the smallest sets of weights that are kept or
dropped together. :func:`select` keeps the best units until a budget of weights is spent. :mod:`sparbor.topology.matrix`
says which matrix the weight of a convolution is.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sparbor import native
from sparbor.recipe.pattern import NM, BlockPattern, Pattern, Unstructured
from sparbor.workers import workers

NATIVE_BRANCHES = (32, 64)


class Units(NamedTuple):
    """A matrix divided into units.

    ``worth`` and ``size`` have one entry a unit: the mean score of its weights (``-inf``: it cannot be kept) and how
    many weights it has (or what it costs, see :func:`priced`). ``to_mask`` makes the matrix's mask of one bool a unit,
    which of them are kept: any that :func:`best` may choose.
    """

    worth: Tensor
    size: Tensor
    to_mask: Callable[[Tensor], Tensor]


def units_of(
    pattern: Pattern, score: Tensor, density: float = 1.0, groups: int = 1, input_row: int | None = None
) -> Units:
    """What a ``pattern`` makes of a matrix of scores, on the way to this ``density``.

    ``groups`` are sets of neurons that no unit spans, those of a grouped convolution. Branches begin anew after every
    ``input_row`` inputs; ``None``: all inputs are one row.
    """
    match pattern:
        case BlockPattern():
            return _block_units(pattern, score, groups, input_row)
        case NM():
            return _units_in_quotas(pattern, score, density)
        case Unstructured():
            return _single_weights(score)


def _block_units(pattern: BlockPattern, score: Tensor, groups: int, input_row: int | None) -> Units:
    """Rank each neuron's weights on each branch; a unit is one rank of a block's neurons, or four in a row."""
    outputs, fan_in = score.shape
    neurons, row = outputs // groups, fan_in if input_row is None else input_row
    rank, worth = rank_slots(score, pattern.neuron_block, pattern.branch, groups, row)
    tiles = groups, len(worth) // groups, worth.shape[1], pattern.branch // pattern.synapses

    # Of a partly filled neuron block or branch, the real neurons and the places that have an input.
    real = torch.full(tiles[:2], pattern.neuron_block, device=score.device)
    real[:, -1] -= -neurons % pattern.neuron_block
    places = torch.arange(row + -row % pattern.branch, device=score.device)
    exists = (places < row).view(-1, pattern.synapses).sum(-1).repeat(fan_in // row)
    size = real[:, :, None] * exists
    if pattern.synapses > 1:
        worth = _means(worth, exists.view(tiles[2:]))

    def to_mask(kept: Tensor) -> Tensor:
        """Worth falls with the rank, so what is kept of a (neuron block, branch) are its first ranks."""
        counts = kept.view(tiles).sum(-1).mul_(pattern.synapses).to(rank.dtype)
        counts = counts.repeat_interleave(pattern.branch, -1).view(*tiles[:2], -1, len(places))[..., :row].flatten(2)
        counts = counts.repeat_interleave(pattern.neuron_block, 1)[:, :neurons]
        return rank < counts.reshape(outputs, fan_in)

    return Units(worth.flatten(), size.flatten(), to_mask)


def _means(worth: Tensor, exists: Tensor) -> Tensor:
    """What several ranks in a row are worth, of each as many as exist on a branch: the mean; ``-inf`` without any."""
    by_unit = worth.view(*worth.shape[:2], exists.shape[1], -1)
    sums = by_unit.masked_fill(by_unit == -math.inf, 0).sum(-1)
    means = torch.where(exists > 0, sums / exists.clamp(min=1), -math.inf)
    return means.cummin(-1).values  # a rounding must not make a later one better, of which fewer ranks may exist


def rank_slots(
    score: Tensor, neuron_block: int, branch: int, groups: int = 1, input_row: int | None = None
) -> tuple[Tensor, Tensor]:
    """Each score's place on its branch, and the mean score at each place of a (neuron block, branch).

    The ``score`` of ``(outputs, fan_in)`` has no NaN. Blocks, of which none spans two of the ``groups`` of neurons, may
    be smaller at the end, and so may branches at the end of each ``input_row``. Ranks have the matrix's shape: how many
    scores of a neuron's branch are larger, or equal and stand before it. Worths ``(neuron blocks, branches, branch)``
    are the mean of the neurons' largest scores, of their second largest ones, and so on; ``-inf`` where a branch has no
    inputs.

    >>> rank_slots(torch.tensor([[1.0, 3.0, 2.0, 3.0]]), neuron_block=1, branch=4)[0].tolist()
    [[3, 0, 2, 1]]
    """
    score = score.contiguous()
    row = score.shape[1] if input_row is None else input_row
    if branch in NATIVE_BRANCHES and native.built and score.device.type == "cpu" and score.dtype == torch.float32:
        neuron_blocks, branches = -(-(len(score) // groups) // neuron_block), score.shape[1] // row * -(-row // branch)
        ranks = torch.empty(score.shape, dtype=torch.uint8)
        worth = torch.empty(groups * neuron_blocks, branches, branch)
        found = ranks.numpy(), worth.view(-1, branch).numpy()
        native.rank_slots(workers(), score.numpy(), groups, neuron_block, row, *found)
        return ranks, worth
    return _rank_slots(score, neuron_block, branch, groups, row)


def _rank_slots(score: Tensor, neuron_block: int, branch: int, groups: int, input_row: int) -> tuple[Tensor, Tensor]:
    outputs, fan_in = score.shape
    neurons = outputs // groups
    tiles = by_branches(score.view(groups, neurons, fan_in), neuron_block, branch, input_row, -math.inf)
    sorted_scores, order = tiles.sort(dim=-1, descending=True, stable=True)
    places = torch.arange(branch, device=score.device).expand_as(order)
    ranks = torch.empty_like(order).scatter_(-1, order, places)
    ranks = ranks.view(groups, -1, fan_in // input_row, input_row + -input_row % branch)
    real = F.pad(score.new_ones(groups, neurons, dtype=torch.bool), (0, -neurons % neuron_block)).view(
        -1, neuron_block, 1, 1
    )
    worth = sorted_scores.masked_fill(~real, 0).sum(dim=1) / real.sum(dim=1)
    return ranks[:, :neurons, :, :input_row].reshape(outputs, fan_in), worth


def _units_in_quotas(pattern: NM, score: Tensor, density: float) -> Units:
    """Each weight is a unit; it cannot be kept if a quota of better ones stands in its window."""
    outputs, fan_in = score.shape
    quota = max(pattern.n, math.ceil(density * pattern.m - 1e-9))
    windows = F.pad(score, (0, -fan_in % pattern.m), value=-math.inf).view(outputs, -1, pattern.m)
    order = windows.argsort(dim=-1, descending=True, stable=True)
    beyond_quota = torch.zeros_like(windows, dtype=torch.bool).scatter_(-1, order[..., quota:], True)
    worth = windows.masked_fill(beyond_quota, -math.inf).view(outputs, -1)[:, :fan_in]
    return _single_weights(worth)


def _single_weights(score: Tensor) -> Units:
    """Each weight is a unit."""
    worth = score.flatten()
    return Units(worth, torch.ones_like(worth, dtype=torch.int64), lambda kept: kept.view(score.shape))


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
    same = _same_size(size)
    if same:  # which are kept depends on no sums over others: there is nothing to sort
        keep = torch.zeros_like(worth, dtype=torch.bool)
        for better in _better_and_equal(worth, min(len(size), int((2 * budget + same) // (2 * same)))):
            keep[better] = True
        keep &= worth > -math.inf
    else:
        order = _best_first(worth, _most(size, budget))
        spent = size[order].cumsum(0)
        nearer_with_it = 2 * spent - size[order] <= 2 * budget
        keep = torch.zeros_like(worth, dtype=torch.bool)
        keep[order] = nearer_with_it & (worth[order] > -math.inf)
    return list(torch.split(keep, [len(units.worth) for units in layers]))


def _same_size(size: Tensor) -> int:
    """The size of all units, if all have the same and it is a whole number, else 0."""
    if size.is_floating_point() or len(size) == 0:
        return 0
    smallest, largest = (int(each) for each in size.aminmax())
    return smallest if smallest == largest else 0


def _most(size: Tensor, budget: float) -> int:
    """A bound for how many units of these sizes a budget can keep."""
    real = size[size > 0]
    return min(len(size), int(budget / float(real.min())) + 2) if len(real) else 0


def _best_first(worth: Tensor, count: int) -> Tensor:
    """The numbers of the ``count`` best units in order; to sort the others too would take many times as long."""
    better, equal = _better_and_equal(worth, count)
    return torch.cat([better[worth[better].argsort(descending=True, stable=True)], equal])


def _better_and_equal(worth: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` best units: those better than the last of them, and the first that are as good."""
    if count == 0:
        return worth.new_empty(0, dtype=torch.int64), worth.new_empty(0, dtype=torch.int64)
    last = worth.kthvalue(len(worth) - count + 1).values
    better = (worth > last).nonzero().squeeze(1)
    return better, (worth == last).nonzero().squeeze(1)[: count - len(better)]


def priced(units: Units, price: Tensor) -> Units:
    """The same units with the ``price`` of each, above 0, as their size, and worth what they hold for what it costs."""
    exists = units.size > 0
    price = torch.where(exists, price.double(), 0)
    worth = torch.where(exists, units.worth.double() * units.size / price, -math.inf)
    return units._replace(worth=worth, size=price)


def slot_counts(mask: Tensor, pattern: BlockPattern, groups: int = 1, input_row: int | None = None) -> Tensor:
    """How many slots (or quads) of a ``mask`` of slots each (neuron block, branch) has: ``(all blocks, branches)``."""
    outputs, fan_in = mask.shape
    by_group = mask.reshape(groups, outputs // groups, fan_in)
    row = fan_in if input_row is None else input_row
    ranks = by_branches(by_group, pattern.neuron_block, pattern.branch, row).sum(dim=-1).amax(dim=1)
    return -(-ranks // pattern.synapses)


def by_branches(values: Tensor, neuron_block: int, branch: int, input_row: int, filler: float = 0) -> Tensor:
    """Values ``(groups, neurons, fan_in)`` as ``(all blocks, neuron_block, branches, branch)``, all of them whole."""
    rows = values.reshape(*values.shape[:2], -1, input_row)
    padding = 0, -input_row % branch, 0, 0, 0, -values.shape[1] % neuron_block
    padded = F.pad(rows, padding, value=filler) if any(padding) else rows  # where there are none to add it copies too
    return padded.reshape(-1, neuron_block, padded.shape[2] * padded.shape[3] // branch, branch)
