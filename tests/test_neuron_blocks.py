"""Groups of neurons that agree: an order is found that keeps more, and hidden structure is found again."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparbor.recipe.pattern import BlockPattern, Pattern, Quads, Slots, Unstructured
from sparbor.topology.neuron_blocks import best_order
from sparbor.topology.units import select, units_of

torch.set_num_threads(1)


def kept(score: Tensor, pattern: Pattern, density: float, input_row: int | None = None) -> float:
    (mask,) = select([units_of(pattern, score, input_row=input_row)], round(density * score.numel()))
    return float((score * mask).sum())


@given(
    outputs=st.integers(1, 70),
    fan_in=st.integers(1, 100),
    rows=st.sampled_from([1, 1, 3]),
    density=st.floats(0.01, 1.0),
    group=st.sampled_from([2, 4, 16]),
    seed=st.integers(0, 99),
    of_four=st.booleans(),
)
@settings(max_examples=90, deadline=None)
def test_it_is_an_order_that_keeps_no_less(
    outputs: int, fan_in: int, rows: int, density: float, group: int, seed: int, of_four: bool
) -> None:
    score = torch.rand(outputs, fan_in * rows, generator=torch.Generator().manual_seed(seed)) ** 4
    pattern: BlockPattern = Quads(group, 16) if of_four else Slots(group)
    order = best_order(score, pattern, density, fan_in)
    assert torch.equal(order.sort().values, torch.arange(outputs))
    # Units that are partly filled are smaller, and budgets come out otherwise.
    if outputs % group == 0 and (not of_four or fan_in % 16 == 0):
        before = kept(score, pattern, density, fan_in)
        assert kept(score[order], pattern, density, fan_in) >= before * (1 - 1e-5)


def test_shuffled_neurons_find_their_groups_again() -> None:
    generator = torch.Generator().manual_seed(0)
    likes = torch.rand(4, 8, generator=generator).argsort(dim=1) < 2  # each of 4 groups reads 2 of 8 branches
    score = torch.rand(64, 256, generator=generator) * 0.01
    score += likes.repeat_interleave(16, 0).repeat_interleave(32, 1) * (1 + torch.rand(64, 256, generator=generator))
    shuffled = score[torch.randperm(64, generator=generator)]
    at_best, before = kept(score, Slots(), 0.25), kept(shuffled, Slots(), 0.25)
    assert before < 0.8 * at_best
    assert kept(shuffled[best_order(shuffled, Slots(), 0.25)], Slots(), 0.25) > 0.999 * at_best


def test_it_comes_near_to_no_pattern_at_all() -> None:
    generator = torch.Generator().manual_seed(1)
    centres = torch.rand(6, 24, generator=generator) ** 3
    score = centres[torch.randint(6, (128,), generator=generator)].repeat_interleave(32, 1)
    score = score * torch.rand(128, 768, generator=generator)
    natural, free = kept(score, Slots(), 0.1), kept(score, Unstructured(), 0.1)
    ordered = kept(score[best_order(score, Slots(), 0.1)], Slots(), 0.1)
    assert free - ordered < 0.6 * (free - natural)


@pytest.mark.parametrize("score", [torch.zeros(40, 70), torch.ones(40, 70)])
def test_neurons_that_are_alike_stay_where_they_are(score: Tensor) -> None:
    assert torch.equal(best_order(score, Slots(), 0.3), torch.arange(40))
