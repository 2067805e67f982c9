"""Ranks of every kernel set against PyTorch's stable sort."""

import math

import pytest
import torch
from torch import Tensor

from sparbor.ranking import NATIVE_WIDTH, ranks
from sparbor.runtime import kernel_sets


def sorted_ranks(scores: Tensor) -> Tensor:
    return scores.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1, stable=True)


@pytest.mark.parametrize("isa", kernel_sets())
@pytest.mark.parametrize(
    "shape", [(1, NATIVE_WIDTH), (3000, NATIVE_WIDTH), (4, 16, 5, NATIVE_WIDTH), (0, NATIVE_WIDTH)]
)
@pytest.mark.parametrize("values", ["all different", "few", "with infinities"])
def test_ranks(isa: str, shape: tuple[int, ...], values: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARBOR_ISA", isa)
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    if values != "all different":
        scores = scores.round()
    if values == "with infinities":
        scores = torch.where(scores > 0, math.inf, torch.where(scores < 0, -math.inf, scores))
    assert torch.equal(ranks(scores), sorted_ranks(scores))
    spread = torch.stack([scores, scores], -2)[..., 0, :]  # not contiguous
    assert torch.equal(ranks(spread), sorted_ranks(scores))


@pytest.mark.parametrize("width", [1, 7, 40])
def test_other_widths(width: int) -> None:
    scores = torch.randn(9, width).round()
    assert torch.equal(ranks(scores), sorted_ranks(scores))
