"""Patterns against a mask maker in plain Python, over shapes that fill no group and no branch."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparbor.errors import ArgumentError
from sparbor.nn.layers import why_not_wrappable
from sparbor.recipe.pattern import NM, BlockPattern, Pattern, Quads, Slots, Unstructured
from sparbor.topology.rewire import magnitude_mask
from sparbor.topology.units import select, slot_counts, units_of

torch.set_num_threads(1)

PATTERNS = [Slots(), Slots(4, 8), Quads(), Quads(4, 8), NM(2, 4), NM(1, 32), Unstructured()]


def brute_force(units: list[tuple[Fraction, list[tuple[int, int]]]], budget: int) -> set[tuple[int, int]]:
    """Keep the best units, the earlier of equals first, until the next would lead further from the budget."""
    kept: set[tuple[int, int]] = set()
    for _, places in sorted(units, key=lambda unit: -unit[0]):
        if abs(len(kept) + len(places) - budget) > abs(len(kept) - budget):
            break
        kept.update(places)
    return kept


def branches_by_hand(fan_in: int, input_row: int, branch: int) -> list[range]:
    rows = [range(start, start + input_row) for start in range(0, fan_in, input_row)]
    return [row[start : start + branch] for row in rows for start in range(0, input_row, branch)]


def units_by_hand(
    score: list[list[int]], pattern: BlockPattern, groups: int, input_row: int | None = None
) -> list[tuple[Fraction, list[tuple[int, int]]]]:
    outputs, fan_in = len(score), len(score[0])
    neurons = outputs // groups
    units = []
    for conv_group in range(groups):
        for first in range(conv_group * neurons, (conv_group + 1) * neurons, pattern.neuron_block):
            group = range(first, min(first + pattern.neuron_block, (conv_group + 1) * neurons))
            for branch in branches_by_hand(fan_in, input_row or fan_in, pattern.branch):
                ranked = {o: sorted(branch, key=lambda i, o=o: -score[o][i]) for o in group}
                for j in range(0, len(branch), pattern.synapses):
                    places = [(o, i) for o in group for i in ranked[o][j : j + pattern.synapses]]
                    units.append((Fraction(sum(score[o][i] for o, i in places), len(places)), places))
    return units


def with_exact_means(score: torch.Tensor, pattern: BlockPattern, groups: int) -> torch.Tensor:
    """Multiples of all that a quad's mean of means divides by: rounded twice, units of equal worth might differ."""
    last_block = (len(score) // groups - 1) % pattern.neuron_block + 1
    return score * last_block * 12 if pattern.synapses > 1 else score


def as_mask(places: set[tuple[int, int]], shape: tuple[int, ...]) -> torch.Tensor:
    mask = torch.zeros(shape, dtype=torch.bool)
    for place in places:
        mask[place] = True
    return mask


@st.composite
def scored(draw: st.DrawFn, most_outputs: int = 40, most_inputs: int = 70) -> tuple[torch.Tensor, int, int]:
    """Whole numbers as scores (so ties are many or few), convolution groups, and a budget."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    outputs = groups * draw(st.integers(1, most_outputs // groups))
    fan_in = draw(st.integers(1, most_inputs))
    highest = draw(st.sampled_from([0, 1, 5, 1000]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    score = torch.randint(0, highest + 1, (outputs, fan_in), generator=generator)
    share = draw(st.sampled_from([0.0, 0.03, 0.1, 0.5, 0.97, 1.0]))
    return score, groups, round(share * outputs * fan_in)


@settings(max_examples=150, deadline=None)
@given(
    scored(), st.sampled_from([Slots(), Slots(4, 8), Slots(1, 1), Slots(3, 5), Quads(), Quads(4, 8)]), st.integers(1, 4)
)
def test_what_the_mask_maker_in_plain_python_keeps_is_kept(
    case: tuple[torch.Tensor, int, int], pattern: BlockPattern, rows: int
) -> None:
    score, groups, budget = case
    score = with_exact_means(score, pattern, groups)
    input_row = score.shape[1] // rows if score.shape[1] % rows == 0 else None
    (mask,) = select([units_of(pattern, score.float(), groups=groups, input_row=input_row)], budget)
    expected = brute_force(units_by_hand(score.tolist(), pattern, groups, input_row), budget)
    assert torch.equal(mask, as_mask(expected, mask.shape))


@settings(max_examples=50, deadline=None)
@given(scored())
def test_unstructured_keeps_the_best_weights(case: tuple[torch.Tensor, int, int]) -> None:
    score, _, budget = case
    (mask,) = select([units_of(Unstructured(), score.float())], budget)
    assert mask.sum() == budget
    if 0 < budget < mask.numel():
        assert score[mask].min() >= score[~mask].max()


@settings(max_examples=50, deadline=None)
@given(st.lists(scored(20, 40), min_size=2, max_size=4), st.floats(0, 1))
def test_layers_that_share_a_budget_are_chosen_from_together(
    cases: list[tuple[torch.Tensor, int, int]], share: float
) -> None:
    pattern = Quads(4, 8)
    cases = [(score * 144, groups, _) for score, groups, _ in cases]  # see with_exact_means: blocks of 1 to 4 neurons
    budget = round(share * sum(score.numel() for score, _, _ in cases))
    masks = select([units_of(pattern, score.float(), groups=groups) for score, groups, _ in cases], budget)
    units = [
        (worth, [(layer, *place) for place in places])
        for layer, (score, groups, _) in enumerate(cases)
        for worth, places in units_by_hand(score.tolist(), pattern, groups)
    ]
    expected = brute_force(units, budget)  # type: ignore[arg-type]
    got = {(layer, *place) for layer, mask in enumerate(masks) for place in mask.nonzero().tolist()}
    assert got == expected


@settings(max_examples=100, deadline=None)
@given(
    outputs=st.integers(1, 50),
    fan_in=st.integers(1, 100),
    groups=st.sampled_from([1, 1, 2]),
    density=st.floats(0, 1),
    pattern=st.sampled_from([Slots(), Quads(), Unstructured()]),
)
def test_density_is_within_a_unit_of_what_was_asked(
    outputs: int, fan_in: int, groups: int, density: float, pattern: Pattern
) -> None:
    weight = torch.randn(outputs * groups, fan_in)
    mask = magnitude_mask(weight, pattern, density, groups)
    assert abs(int(mask.sum()) - density * mask.numel()) < 16 * pattern.synapses


@settings(max_examples=100, deadline=None)
@given(scored(), st.sampled_from([Slots(), Slots(4, 8), Quads(), Quads(4, 8)]))
def test_neurons_of_a_group_have_equally_many_synapses_on_a_branch(
    case: tuple[torch.Tensor, int, int], pattern: BlockPattern
) -> None:
    score, groups, budget = case
    (mask,) = select([units_of(pattern, score.float(), groups=groups)], budget)
    counts = slot_counts(mask, pattern, groups)
    neurons = len(mask) // groups
    row = 0
    for conv_group in mask.view(groups, neurons, -1):
        for group in conv_group.split(pattern.neuron_block):
            for column, branch in enumerate(group.split(pattern.branch, dim=1)):
                of_neuron = branch.sum(dim=1)
                assert (of_neuron == of_neuron[0]).all()
                assert counts[row, column] == math.ceil(of_neuron[0] / pattern.synapses)
                assert of_neuron[0] % pattern.synapses == 0 or of_neuron[0] == branch.shape[1]
            row += 1
    assert row == len(counts)


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
@pytest.mark.parametrize("shape", [(1, 1), (1, 100), (100, 1), (17, 33), (16, 32)], ids=str)
def test_extreme_densities(pattern: Pattern, shape: tuple[int, int]) -> None:
    weight = torch.randn(shape)
    assert magnitude_mask(weight, pattern, 1.0).all()
    assert not magnitude_mask(weight, pattern, 0.0).any()


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
def test_equal_weights_give_the_same_mask_every_time(pattern: Pattern) -> None:
    masks = [magnitude_mask(torch.ones(35, 70), pattern, 0.3) for _ in range(3)]
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], masks[2])
    assert abs(int(masks[0].sum()) - 0.3 * 35 * 70) < 16 * pattern.synapses


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
def test_nan_is_worth_nothing_and_infinity_most(pattern: Pattern) -> None:
    weight = torch.rand(16, 32) + 1
    weight[:, 3] = math.nan
    weight[:, 8] = -math.inf
    weight[:, 31] = torch.finfo(torch.float32).max
    mask = magnitude_mask(weight, pattern, 2 * pattern.synapses / 32)
    expected = torch.zeros_like(mask)
    expected[:, [8, 31]] = True
    if pattern == NM(1, 32):
        assert abs(int(mask.sum()) - 32) < 16
    elif pattern.synapses > 1:
        assert mask[:, [8, 31]].all()
        assert mask.sum() == 2 * pattern.synapses * 16
        assert not mask[:, 3].any()
    else:
        assert torch.equal(mask, expected)
    everything_nan = magnitude_mask(torch.full((16, 32), math.nan), pattern, 0.25)
    assert everything_nan.sum() == 128


def test_half_precision_does_not_overflow() -> None:
    weight = torch.full((16, 64), 60000.0, dtype=torch.float16)
    weight[:, 40] = 65000.0
    assert magnitude_mask(weight, Slots(), 1 / 64)[:, 40].all()


@settings(max_examples=100, deadline=None)
@given(
    outputs=st.integers(1, 20),
    fan_in=st.integers(1, 70),
    quota=st.sampled_from([(1, 2), (2, 4), (1, 4), (4, 16), (1, 32), (32, 32), (3, 7)]),
    share=st.sampled_from([1.0, 0.9, 0.3, 0.0]),
)
def test_nm_never_exceeds_its_quota(outputs: int, fan_in: int, quota: tuple[int, int], share: float) -> None:
    n, m = quota
    density = share * n / m
    mask = magnitude_mask(torch.randn(outputs, fan_in), NM(n, m), density)
    for window in mask.split(m, dim=1):
        assert (window.sum(dim=1) <= n).all()
    assert abs(int(mask.sum()) - density * mask.numel()) < 16


def test_nm_keeps_the_best_of_each_window() -> None:
    weight = torch.randn(6, 32)
    mask = magnitude_mask(weight, NM(2, 4), 0.5)
    best = weight.abs().view(-1, 4).topk(2).indices
    assert torch.equal(mask, torch.zeros(48, 4, dtype=torch.bool).scatter(1, best, True).view(6, 32))


def test_nm_is_no_stricter_than_the_density_asked_for() -> None:
    """On the way from dense to 1:4 the quota falls with the density: 3 of 4 at 70 %."""
    mask = magnitude_mask(torch.randn(16, 64), NM(1, 4), 0.7)
    assert mask.view(-1, 4).sum(1).max() == 3
    assert mask.sum() == round(0.7 * 16 * 64)


def test_a_group_never_spans_two_convolution_groups() -> None:
    score = torch.zeros(48, 32)
    score[:24, :3] = 1  # three synapses for each neuron of the first convolution group, none for the second
    (mask,) = select([units_of(Slots(), score, groups=2)], 3 * 24)
    assert torch.equal(mask, score.bool())


def test_layers_that_slots_refuse() -> None:
    assert Slots().refuses(32, 4) == "8 outputs in each convolution group, a slot needs 16"
    assert Slots().refuses(64, 4) is None
    assert Slots().refuses(3, 1) is None  # one group, partly filled
    assert Slots(neuron_block=8).refuses(32, 4) is None
    assert Quads().refuses(32, 4) == "8 outputs in each convolution group, a quad needs 16"
    for pattern in (NM(2, 4), Unstructured()):
        assert why_not_wrappable(nn.Conv2d(32, 32, 4, groups=32), pattern) is None


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Slots(neuron_block=0), r"Slots\(neuron_block=0\): neuron_block must be a whole number of at least 1"),
        (lambda: Slots(branch=2.5), r"Slots\(branch=2\.5\): branch must be a whole number"),
        (lambda: Quads(branch=0), r"Quads\(branch=0\): branch must be a whole number of at least 1"),
        (lambda: Quads(branch=30), r"Quads\(branch=30\): branch must be a multiple of 4, such as 32"),
        (lambda: NM(0, 4), r"NM\(n=0\): n must be a whole number of at least 1"),
        (lambda: NM(5, 4), r"NM\(n=5, m=4\): n must be at most m; swap them or lower n"),
    ],
)
def test_bad_patterns(make: object, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        make()  # type: ignore[operator]
