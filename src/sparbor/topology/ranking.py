"""Scores ranked within branches, and what slots of them are worth."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sparbor import native
from sparbor.workers import workers

NATIVE_BRANCH = 32


def rank_slots(score: Tensor, group: int, branch: int, blocks: int = 1) -> tuple[Tensor, Tensor]:
    """Each score's place on its branch, and the mean score at each place of a (group, branch).

    Args:
        score: ``(outputs, fan_in)``, none of it NaN.
        group: neurons that a slot has a synapse of; the last group of a block may be smaller.
        branch: consecutive inputs; the last branch may be smaller.
        blocks: of neurons that no group spans.

    Returns:
        Ranks of the matrix's shape: how many scores of a neuron's branch are larger, or equal and stand before it.
        Worths ``(groups, branches, branch)``: the mean of the neurons' largest scores, of their second largest ones,
        and so on; ``-inf`` where the last branch has no inputs.

    >>> rank_slots(torch.tensor([[1.0, 3.0, 2.0, 3.0]]), group=1, branch=4)[0].tolist()
    [[3, 0, 2, 1]]
    """
    score = score.contiguous()
    if branch == NATIVE_BRANCH and native.built and score.device.type == "cpu" and score.dtype == torch.float32:
        groups, branches = (-(-size // by) for size, by in ((len(score) // blocks, group), (score.shape[1], branch)))
        ranks = torch.empty(score.shape, dtype=torch.uint8)
        worth = torch.empty(blocks * groups, branches, branch)
        native.rank_slots(workers(), score.numpy(), blocks, group, ranks.numpy(), worth.view(-1, branch).numpy())
        return ranks, worth
    return _rank_slots(score, group, branch, blocks)


def _rank_slots(score: Tensor, group: int, branch: int, blocks: int) -> tuple[Tensor, Tensor]:
    outputs, fan_in = score.shape
    neurons = outputs // blocks
    padding = (0, -fan_in % branch, 0, -neurons % group)
    padded = F.pad(score.view(blocks, neurons, fan_in), padding, value=-math.inf)
    tiles = padded.view(-1, group, padded.shape[-1] // branch, branch)
    sorted_scores, order = tiles.sort(dim=-1, descending=True, stable=True)
    places = torch.arange(branch, device=score.device).expand_as(order)
    ranks = torch.empty_like(order).scatter_(-1, order, places)
    real = F.pad(score.new_ones(blocks, neurons, dtype=torch.bool), (0, -neurons % group)).view(-1, group, 1, 1)
    worth = sorted_scores.masked_fill(~real, 0).sum(dim=1) / real.sum(dim=1)
    return ranks.view(padded.shape)[:, :neurons, :fan_in].reshape(outputs, fan_in), worth
