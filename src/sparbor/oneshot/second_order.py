"""Weights chosen and corrected by the second-order error of a layer's answers: OBS, with slots and quads as its units.

The Optimal Brain Surgeon (Hassibi and Stork, 1993) knows what it costs to drop the weight ``w_j`` of a neuron,
``w_j^2 / [H^-1]_jj``, and how the others make up for it, where ``H = sum x^T x`` of the neuron's inputs. SparseGPT
(Frantar and Alistarh, 2023) does so for all neurons at once by going through the inputs in one order: what is dropped
is made up for by inputs that are still to come, and all that is needed of the inverses stands in one triangular matrix.

Here a branch of inputs is gone through at a time. How many weights each neuron keeps on which branch is decided first,
by a pattern's units over all branches and neurons together; which ones, when their branch has its turn, with what it
has had to make up for. In the end each neuron's kept weights are the least squares solution for that mask.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sparbor.errors import ArgumentError
from sparbor.oneshot.moments import Problem
from sparbor.recipe.pattern import NM, BlockPattern, Pattern
from sparbor.topology.units import select, units_of

SPAN = 64  # inputs that are gone through together where a pattern has no branches
LEAST_DAMPING, MOST_DAMPING = (
    1e-6,
    1e6,
)  # times the mean of the diagonal: with more than that the inputs would count for nothing
RESIDUAL = 1e-4  # where the refit stops: what is left of the gradient, relative to what it would be for zeros
MOST_STEPS = 100


class Pruned(NamedTuple):
    """A matrix's new weight and its mask, ``(groups, neurons, fan_in)``, and the ``damping`` that it took."""

    weight: Tensor
    mask: Tensor
    damping: float


def prune(problem: Problem, pattern: Pattern, density: float, input_row: int | None, damping: float) -> Pruned:
    """Keep ``density`` of the weights by the pattern, so that the answers to the inputs change least."""
    factor, added, damping = inverse_factor(problem.gram, damping)
    wanted = problem.cross + added[:, None, None].float() * problem.weight
    best = wanted @ factor.mT @ factor  # (cross + added weight) H^-1: least squares without a mask
    scores = best.square() / factor.square().sum(1)[:, None, :]
    mask = chosen(scores, pattern, density, input_row)
    together = spans(pattern, best.shape[-1], input_row)
    swept = [sweep(*of_group, together) for of_group in zip(best, factor, mask, strict=True)]
    weight, mask = (torch.stack(parts) for parts in zip(*swept, strict=True))
    return Pruned(refit(weight, mask, problem.gram, wanted, added), mask, damping)


def inverse_factor(gram: Tensor, damping: float) -> tuple[Tensor, Tensor, float]:
    """The upper triangular ``U`` with ``(gram + added I)^-1 = U^T U`` of each group, what was added, and the damping.

    ``added`` is ``damping`` times the mean of the group's diagonal, so that inputs which depend on each other, or which
    are always zero, leave something to invert; ten times as much, and so on, until there is.

    >>> gram = torch.full((1, 2, 2), 4.0, dtype=torch.float64)
    >>> factor, added, damping = inverse_factor(gram, 0.25)
    >>> (factor.mT @ factor @ (gram + torch.eye(2))).round(decimals=6).tolist()
    [[[1.0, 0.0], [0.0, 1.0]]]
    """
    mean = gram.diagonal(dim1=-2, dim2=-1).double().mean(-1)
    mean = torch.where(mean > 0, mean, 1.0)  # of inputs that are all zero nothing is known: every weight counts alike
    while True:
        # With the lower factor L of the matrix turned around, the inverse of L is, turned back, U.
        turned = gram.flip(-2, -1).double()
        turned.diagonal(dim1=-2, dim2=-1).add_(damping * mean[:, None])
        lower, failed = torch.linalg.cholesky_ex(turned)
        if not failed.any():
            break
        damping = max(10 * damping, LEAST_DAMPING)
        if damping > MOST_DAMPING:
            raise ArgumentError("its inputs are too large for float32")
    factor = turned.zero_()  # its memory: matrices of float64 are the most that pruning needs
    factor.diagonal(dim1=-2, dim2=-1).fill_(1)
    torch.linalg.solve_triangular(lower, factor, upper=False, out=factor)
    return factor.to(gram.dtype).flip(-2, -1), damping * mean, damping


def chosen(scores: Tensor, pattern: Pattern, density: float, input_row: int | None) -> Tensor:
    """The mask of the pattern's units with the largest scores, squared errors of ``(groups, neurons, fan_in)``."""
    matrix = scores.flatten(0, 1)
    budget = round(density * matrix.numel())
    units = units_of(pattern, matrix.contiguous(), (budget - 0.5) / matrix.numel(), len(scores), input_row)
    return select([units], budget)[0].view(scores.shape)


def spans(pattern: Pattern, fan_in: int, input_row: int | None) -> list[tuple[int, int]]:
    """Which inputs are gone through together: those of a branch, or of an N:M pattern's window.

    >>> spans(NM(2, 4), 10, None)
    [(0, 4), (4, 8), (8, 10)]
    """
    row = fan_in if input_row is None else input_row
    width = pattern.branch if isinstance(pattern, BlockPattern) else pattern.m if isinstance(pattern, NM) else SPAN
    return [
        (at, min(at + width, start + row)) for start in range(0, fan_in, row) for at in range(start, start + row, width)
    ]


def sweep(weight: Tensor, factor: Tensor, mask: Tensor, spans: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Drop weights ``(neurons, fan_in)`` span by span, and let those that come later make up for them.

    On each span a neuron keeps as many as in the ``mask``, those that are then the best; returns what became of both.
    """
    weight, kept = weight.clone(), torch.empty_like(mask)
    for start, stop in spans:
        triangle = factor[start:stop, start:stop].contiguous()
        span = weight[:, start:stop].T.contiguous()  # an input's weights side by side
        counts = mask[:, start:stop].sum(1)
        drop = (span / triangle.diagonal()[:, None]).square().argsort(dim=0, descending=True, stable=True).argsort(
            dim=0
        ) >= counts
        errors = torch.empty_like(span)
        for column in range(stop - start):
            errors[column] = span[column] * drop[column] / triangle[column, column]
            span[column:].addr_(triangle[column, column:], errors[column], alpha=-1)
        weight[:, start:stop] = span.masked_fill_(drop, 0).T
        weight[:, stop:].addmm_(errors.T, factor[start:stop, stop:], alpha=-1)
        kept[:, start:stop] = ~drop.T
    return weight, kept


def refit(weight: Tensor, mask: Tensor, gram: Tensor, wanted: Tensor, added: Tensor) -> Tensor:
    """The kept weights that solve ``(gram + added I) w = wanted`` over the kept inputs of each neuron.

    Conjugate gradients (Hestenes and Stiefel, 1952), preconditioned by the diagonal, for all neurons at once: a step is
    one product of matrices, where to factor each neuron's own part of ``gram`` takes as many times the memory as there
    are neurons, or a call for each.
    """
    diagonal = (gram.diagonal(dim1=-2, dim2=-1) + added[:, None].to(gram.dtype))[:, None, :]
    size = (wanted * mask).square().div(diagonal).sum(-1, keepdim=True)
    residual = (wanted - weight @ gram - added[:, None, None].to(gram.dtype) * weight) * mask
    turned = residual / diagonal
    left = (residual * turned).sum(-1, keepdim=True)
    direction = turned
    for _ in range(MOST_STEPS):
        if not (left > RESIDUAL**2 * size).any():
            break
        product = (direction @ gram + added[:, None, None].to(gram.dtype) * direction) * mask
        curvature = (direction * product).sum(-1, keepdim=True)
        step = torch.where(curvature > 0, left / curvature, 0)
        weight = weight + step * direction
        residual = residual - step * product
        turned = residual / diagonal
        before, left = left, (residual * turned).sum(-1, keepdim=True)
        direction = turned + torch.where(before > 0, left / before, 0) * direction
    return weight
