"""Which neurons make a block: those whose large weights lie on the same branches.

A slot takes one weight of each neuron of a block, so a block whose neurons disagree on where their large weights lie
pays for it with weights that are worth little. The order of neurons is arbitrary, and so are the blocks.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sparbor.recipe.pattern import BlockPattern
from sparbor.topology.units import by_branches, rank_slots

ROUNDS = 10
LEAST_GAIN = 1e-4


@torch.no_grad()
def best_order(score: Tensor, pattern: BlockPattern, density: float, input_row: int | None = None) -> Tensor:
    """An order of the neurons of ``score`` (outputs, fan_in) in which slots at ``density`` keep as much as possible.

    What is said of slots here holds for quads, too. Branches begin anew after every ``input_row`` inputs.

    Row i of the permuted matrix is row ``order[i]`` of ``score``; its i-th block begins at row ``i * neuron_block``.
    Neurons whose best scores lie on the same branches come together first, unless that keeps less than the order that
    is there. Then, as in k-means (Lloyd 1982), two steps take turns while the score that is kept still rises by a
    ten-thousandth: the blocks choose how many slots each branch gets; neurons of two blocks change places where, with
    those numbers of slots, more of their scores are kept.
    """
    score = score.float()
    row = score.shape[1] if input_row is None else input_row
    ranked = _ranked(score, pattern, row)
    slots = round(density * score.numel() / (pattern.neuron_block * pattern.synapses))
    starts = torch.arange(len(score), device=score.device), _alike_together(score, pattern, density, row)
    order = max(starts, key=lambda order: _slots_of_blocks(ranked[order], pattern, slots)[1])
    counts, kept = _slots_of_blocks(ranked[order], pattern, slots)
    for _ in range(ROUNDS):
        moved = order[_exchange(_kept_in_each_block(ranked[order], counts), pattern.neuron_block)]
        new_counts, new_kept = _slots_of_blocks(ranked[moved], pattern, slots)
        if new_kept <= kept * (1 + LEAST_GAIN):
            break
        order, counts, kept = moved, new_counts, new_kept
    return order


def _ranked(score: Tensor, pattern: BlockPattern, input_row: int) -> Tensor:
    """Each neuron's scores on each branch, the largest first, or sums of four: ``(outputs, branches, units)``."""
    branches = by_branches(score[None], 1, pattern.branch, input_row).squeeze(1)
    places, _ = rank_slots(branches.flatten(1), pattern.neuron_block, pattern.branch)
    ranked = torch.zeros_like(branches).scatter_(2, places.view(branches.shape).long(), branches)
    return ranked if pattern.synapses == 1 else ranked.view(*ranked.shape[:2], -1, pattern.synapses).sum(dim=-1)


def _padded(values: Tensor, padding: tuple[int, ...]) -> Tensor:
    """With zeros around them; `F.pad` copies even where there are none to add."""
    return F.pad(values, padding) if any(padding) else values


def _alike_together(score: Tensor, pattern: BlockPattern, density: float, input_row: int) -> Tensor:
    """The order that puts beside the first neuron those most like it, a block of them, then goes on with the others.

    Alike are neurons that have equally many of their own best scores on each branch.
    """
    best = score.topk(max(1, round(density * score.shape[1])), dim=1, sorted=False).indices
    of_row = -(-input_row // pattern.branch)
    on_branch = score.new_zeros(len(score), score.shape[1] // input_row * of_row)
    branch = best // input_row * of_row + best % input_row // pattern.branch
    on_branch.scatter_add_(1, branch, torch.ones_like(best, dtype=score.dtype))
    left = torch.arange(len(score), device=score.device)
    order = []
    while len(left):
        unlike = (on_branch - on_branch[0]).abs().sum(dim=1)
        unlike[0] = -1  # the first itself comes first
        nearest = unlike.argsort(stable=True)[: pattern.neuron_block]
        order.append(left[nearest])
        others = torch.ones_like(left, dtype=torch.bool).index_fill_(0, nearest, False)
        left, on_branch = left[others], on_branch[others]
    return torch.cat(order)


def _slots_of_blocks(ranked: Tensor, pattern: BlockPattern, slots: int) -> tuple[Tensor, float]:
    """How many of the best ``slots`` each (block, branch) gets, ``(blocks, branches)``, and the score they keep."""
    padded = _padded(ranked, (0, 0, 0, 0, 0, -len(ranked) % pattern.neuron_block))
    worth = padded.view(-1, pattern.neuron_block, *ranked.shape[1:]).sum(dim=1)
    best = worth.flatten().topk(min(slots, worth.numel()), sorted=False)
    chosen = torch.zeros(worth.numel(), dtype=torch.long, device=worth.device).index_fill_(0, best.indices, 1)
    return chosen.view(worth.shape).sum(dim=-1), best.values.sum().item()


def _kept_in_each_block(ranked: Tensor, counts: Tensor) -> Tensor:
    """What would be kept of each neuron's score if it belonged to each of the blocks: ``(outputs, blocks)``."""
    totals = F.pad(ranked.cumsum(dim=-1), (1, 0))
    chosen = F.one_hot(counts, totals.shape[-1]).to(totals.dtype)
    return totals.flatten(1) @ chosen.flatten(1).T


def _exchange(kept: Tensor, neuron_block: int) -> Tensor:
    """The order after all exchanges of two neurons that keep more; ``kept``: :func:`_kept_in_each_block`.

    What an exchange gains is the sum of what its two neurons gain, so the best one of two blocks is that of the best
    mover of each.
    """
    outputs, blocks = kept.shape
    order = torch.arange(outputs, device=kept.device)
    places = torch.arange(blocks * neuron_block, device=kept.device).view(blocks, neuron_block)
    best = kept.new_empty(blocks, blocks)  # of a block's neurons, what the best mover to each block gains by it
    mover = torch.empty_like(best, dtype=torch.int64)
    changed = torch.arange(blocks, device=kept.device)  # only what has moved has other gains than before
    for _ in range(outputs):  # far more than it takes: each pass gains, or is the last
        rows = places[changed]
        of_neurons = kept[order[rows.clamp(max=outputs - 1)]]
        gain = of_neurons - of_neurons.gather(2, changed[:, None, None].expand(-1, neuron_block, 1))
        gain.masked_fill_((rows >= outputs)[:, :, None], -torch.inf)
        best[changed], mover[changed] = gain.max(dim=1)
        pairs = _pairs(best + best.T)
        if not pairs:
            break
        here, there = torch.tensor(pairs, device=kept.device).T
        first, second = here * neuron_block + mover[here, there], there * neuron_block + mover[there, here]
        order[first], order[second] = order[second], order[first]
        changed = torch.cat([here, there])
    return order


def _pairs(gain: Tensor) -> list[tuple[int, int]]:
    """Pairs of blocks that gain by an exchange, the best first, each block in one pair at most."""
    blocks = len(gain)
    threshold = 1e-6 * gain.abs().max()
    candidates = gain.triu(diagonal=1).flatten()
    above = (candidates > threshold).nonzero().squeeze(1)  # few: to sort all would take most of the time
    order = above[candidates[above].argsort(descending=True, stable=True)]
    taken: set[int] = set()
    pairs = []
    for index in order.tolist():
        here, there = divmod(index, blocks)
        if here not in taken and there not in taken:
            taken |= {here, there}
            pairs.append((here, there))
    return pairs
