"""On which layers dendrites may grow, and the budget that they share with these."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import sparbor
from sparbor import Growth, PAINeuronModule, Recipe
from sparbor.allocation.shares import divide_weights
from sparbor.errors import ArgumentError

TOTAL = 40
SHAPES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3)), min_size=1, max_size=5)


@given(
    wrapped=SHAPES,
    grown=SHAPES | st.just([]),
    sparsity=st.floats(0, 0.99),
    distribution=st.sampled_from(["uniform", "erk", "global"]),
)
def test_the_budget_is_a_share_of_the_wrapped_layers_whatever_has_grown(
    wrapped: Any, grown: Any, sparsity: float, distribution: Any
) -> None:
    shared = divide_weights(Recipe(sparsity, distribution=distribution), wrapped, grown)
    assert sorted(index for share in shared for index in share.layers) == list(range(len(wrapped) + len(grown)))
    budget = sum(share.weights * share.density for share in shared)
    assert budget == pytest.approx((1 - sparsity) * sum(map(math.prod, wrapped)))


def findings(growth: Growth, model: nn.Module) -> dict[str, str | None]:
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    perforator = sparbor.perforate(model, optimizer, Recipe(0.5, growth=growth), total_steps=TOTAL)
    return {f.name: f.reason for f in perforator.findings if f.kind == "Dendrites"}


class Mine(nn.Linear):
    """A subclass."""


def test_what_grows_and_what_does_not_is_listed() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Flatten(), nn.Linear(64, 32), Mine(32, 16))
    assert findings(Growth(at=(0.5,), layers=("0", "[23]")), model) == {
        "0.dendrites": None,
        "2.dendrites": None,
        "3.dendrites": "not a Linear, Conv1d/2d/3d or ConvTranspose1d/2d/3d layer itself, but a Mine",
    }
    model = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 16))
    assert findings(Growth(at=(0.5,), layers=("0",)), model)["1.dendrites"] == "left out by the recipe's growth"
    with pytest.raises(ArgumentError, match=r"already perforated"):
        sparbor.perforate(copy.deepcopy(model), torch.optim.SGD(model.parameters(), 0.1), total_steps=10)


@pytest.mark.parametrize(
    ("model", "recipe", "text"),
    [
        (
            lambda: nn.Sequential(nn.Linear(64, 32)),
            Recipe(0.5, growth=Growth(layers=("head*",))),
            r"Growth\(layers=\.\.\.\): 'head\*' matches no dendritic layer; the model has 0",
        ),
        (
            lambda: nn.Sequential(Mine(64, 32)),
            Recipe(0.5, growth=Growth()),
            r"growth: no layer can grow dendrites \(0\.dendrites: not a Linear, .* but a Mine\): change Growth\(layers",
        ),
        (
            lambda: nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 16)),
            Recipe(0.98, distribution="uniform", growth=Growth(2)),
            r"each dendrite of layer '1' would have 5\.\d active weights, less than one slot of 16: lower the sp",
        ),
        (
            lambda: nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 16)),
            Recipe(0.995, distribution="global", growth=Growth()),
            r"each dendrite of layer '1' would have 2\.\d active weights, less than one slot",
        ),
        (
            lambda: nn.Sequential(nn.Linear(64, 32)),
            Recipe(0.5, growth=Growth(patience=20)),
            r"no plateau can be seen and tried within total_steps=40, it takes 54; lower patience and trial",
        ),
        (
            lambda: nn.Sequential(nn.Linear(64, 32)),
            Recipe(0.5, growth=Growth(at=(0.99,))),
            None,
        ),
    ],
)
def test_growth_that_cannot_be_is_refused_before_anything_is_touched(
    model: Callable[[], nn.Sequential], recipe: Recipe, text: str | None
) -> None:
    network = model()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    if text is None:
        sparbor.perforate(network, optimizer, recipe, total_steps=TOTAL)
        return
    count = len(optimizer.param_groups[0]["params"])
    with pytest.raises(ArgumentError, match=text):
        sparbor.perforate(network, optimizer, recipe, total_steps=TOTAL)
    assert not any(isinstance(part, PAINeuronModule) for part in network.modules())
    assert len(optimizer.param_groups[0]["params"]) == count


def test_lbfgs_is_refused() -> None:
    model = nn.Sequential(nn.Linear(64, 32))
    with pytest.raises(
        ArgumentError, match=r"growth with LBFGS: its history is of all parameters at once; use another"
    ):
        sparbor.perforate(
            model, torch.optim.LBFGS(model.parameters()), Recipe(0.5, growth=Growth(at=(0.5,))), total_steps=10
        )
