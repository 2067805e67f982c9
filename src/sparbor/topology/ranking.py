"""Scores ranked within branches, and what slots of them are worth."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sparbor import native
from sparbor.workers import workers

NATIVE_BRANCH = 32


def rank_slots(score: Tensor, neuron_block: int, branch: int, groups: int = 1) -> tuple[Tensor, Tensor]:
    """Each score's place on its branch, and the mean score at each place of a (neuron block, branch).

    Args:
        score: ``(outputs, fan_in)``, none of it NaN.
        neuron_block: how many neurons a slot has a synapse of; the last block of a group may be smaller.
        branch: consecutive inputs; the last branch may be smaller.
        groups: of neurons, those of a convolution: no block spans two.

    Returns:
        Ranks of the matrix's shape: how many scores of a neuron's branch are larger, or equal and stand before it.
        Worths ``(neuron blocks, branches, branch)``: the mean of the neurons' largest scores, of their second largest
        ones, and so on; ``-inf`` where the last branch has no inputs.

    >>> rank_slots(torch.tensor([[1.0, 3.0, 2.0, 3.0]]), neuron_block=1, branch=4)[0].tolist()
    [[3, 0, 2, 1]]
    """
    score = score.contiguous()
    if branch == NATIVE_BRANCH and native.built and score.device.type == "cpu" and score.dtype == torch.float32:
        neuron_blocks, branches = -(-(len(score) // groups) // neuron_block), -(-score.shape[1] // branch)
        ranks = torch.empty(score.shape, dtype=torch.uint8)
        worth = torch.empty(groups * neuron_blocks, branches, branch)
        native.rank_slots(workers(), score.numpy(), groups, neuron_block, ranks.numpy(), worth.view(-1, branch).numpy())
        return ranks, worth
    return _rank_slots(score, neuron_block, branch, groups)


def _rank_slots(score: Tensor, neuron_block: int, branch: int, groups: int) -> tuple[Tensor, Tensor]:
    outputs, fan_in = score.shape
    neurons = outputs // groups
    padding = (0, -fan_in % branch, 0, -neurons % neuron_block)
    padded = F.pad(score.view(groups, neurons, fan_in), padding, value=-math.inf)
    tiles = padded.view(-1, neuron_block, padded.shape[-1] // branch, branch)
    sorted_scores, order = tiles.sort(dim=-1, descending=True, stable=True)
    places = torch.arange(branch, device=score.device).expand_as(order)
    ranks = torch.empty_like(order).scatter_(-1, order, places)
    real = F.pad(score.new_ones(groups, neurons, dtype=torch.bool), (0, -neurons % neuron_block)).view(
        -1, neuron_block, 1, 1
    )
    worth = sorted_scores.masked_fill(~real, 0).sum(dim=1) / real.sum(dim=1)
    return ranks.view(padded.shape)[:, :neurons, :fan_in].reshape(outputs, fan_in), worth
