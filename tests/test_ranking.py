"""What slots are worth, and the ranks within branches, of every kernel set against PyTorch's stable sort."""

import math

import pytest
import torch
from torch import Tensor

from sparbor.topology.units import NATIVE_BRANCHES, _rank_slots, rank_slots
from tests.kernel_sets import KERNEL_SETS


def scores(shape: tuple[int, int], values: str) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    if values != "all different":
        drawn = drawn.round()
    return torch.where(drawn > 0, math.inf, drawn) if values == "with infinities" else drawn


@pytest.mark.parametrize("isa", KERNEL_SETS)
@pytest.mark.parametrize(
    ("shape", "neuron_block", "groups"),
    [((16, 32), 16, 1), ((1, 1), 16, 1), ((40, 100), 16, 1), ((60, 75), 16, 3), ((6, 31), 4, 2), ((33, 640), 5, 1)],
)
@pytest.mark.parametrize("values", ["all different", "few", "with infinities"])
@pytest.mark.parametrize("branch", NATIVE_BRANCHES)
@pytest.mark.parametrize("rows", [1, 3])
def test_native(
    isa: str,
    shape: tuple[int, int],
    neuron_block: int,
    groups: int,
    values: str,
    branch: int,
    rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPARBOR_ISA", isa)
    score, input_row = scores((shape[0], shape[1] * rows), values), shape[1]
    ranks, worth = rank_slots(score, neuron_block, branch, groups, input_row)
    assert ranks.dtype == torch.uint8, "PyTorch's own has 64 bits"
    expected_ranks, expected_worth = _rank_slots(score, neuron_block, branch, groups, input_row)
    assert torch.equal(ranks.long(), expected_ranks)
    torch.testing.assert_close(worth, expected_worth)
    spread = torch.stack([score, score], -1)[..., 0]  # not contiguous
    assert torch.equal(rank_slots(spread, neuron_block, branch, groups, input_row)[0], ranks)


@pytest.mark.parametrize(("shape", "neuron_block", "branch"), [((9, 5), 4, 1), ((9, 30), 4, 7), ((16, 80), 16, 40)])
def test_ranks_and_means(shape: tuple[int, int], neuron_block: int, branch: int) -> None:
    score = scores(shape, "few")
    ranks, worth = rank_slots(score, neuron_block, branch)
    for row, found in zip(score, ranks, strict=True):
        for first in range(0, shape[1], branch):
            part = row[first : first + branch]
            order = part.argsort(descending=True, stable=True)
            assert torch.equal(found[first : first + branch][order], torch.arange(len(part)))
    for number in range(len(worth)):
        neurons = score[number * neuron_block : (number + 1) * neuron_block]
        for place, first in enumerate(range(0, shape[1], branch)):
            means = neurons[:, first : first + branch].sort(descending=True).values.mean(0)
            torch.testing.assert_close(worth[number, place, : len(means)], means)
            assert (worth[number, place, len(means) :] == -math.inf).all()
