"""Budgets and the costs they come with: checked, and the same after a trip through JSON."""

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparbor import NM, Budget, Recipe, Slots, Unstructured
from sparbor.errors import ArgumentError, StateError
from sparbor.recipe.budget import UNITS, Costs, LayerCost

positive = st.floats(1e-6, 1e12)
layer_costs = st.builds(
    LayerCost, st.text(), st.integers(1, 10**9), positive, positive, positive, sparse_to=st.floats(0, 1)
)


@given(st.sampled_from(UNITS), positive, st.lists(layer_costs).map(tuple), st.floats(-5, 5), st.booleans())
def test_the_trip_through_json(
    unit: str, limit: float, layers: tuple[LayerCost, ...], rest: float, calibrated: bool
) -> None:
    budget = Budget(**{unit: limit}, costs=Costs(unit, rest, layers) if calibrated else None)
    recipe = Recipe(budget=budget)
    assert (budget.unit, budget.limit) == (unit, limit)
    back = Recipe.from_json(recipe.to_json())
    assert back == recipe
    assert hash(back) == hash(recipe)


def test_a_recipe_has_a_sparsity_or_a_budget() -> None:
    assert Recipe().sparsity == 0.9
    assert Recipe().budget is None
    assert Recipe(budget=Budget(latency_us=40)).sparsity is None
    assert "budget" not in Recipe().to_dict()  # which every release of this version reads


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, r"Budget\(\): give exactly one of multiply_adds, kilobytes, latency_us"),
        ({"kilobytes": 1, "latency_us": 2}, r"Budget\(kilobytes=1, latency_us=2\): give exactly one of"),
        ({"latency_us": 0}, r"Budget\(latency_us=0\): must be a positive number"),
        ({"latency_us": -1.5}, r"Budget\(latency_us=-1.5\): must be a positive number"),
        ({"kilobytes": math.nan}, r"Budget\(kilobytes=nan\): must be a positive number"),
        ({"multiply_adds": math.inf}, r"Budget\(multiply_adds=inf\): must be a positive number"),
        ({"multiply_adds": True}, r"Budget\(multiply_adds=True\): must be a positive number"),
        ({"multiply_adds": "1e6"}, r"Budget\(multiply_adds='1e6'\): must be a positive number"),
        (
            {"kilobytes": 5, "costs": Costs("latency_us", 0, ())},
            r"Budget\(kilobytes=5\): its costs are not in kilobytes; leave them out and call sparbor.calibrated",
        ),
        ({"kilobytes": 5, "costs": {}}, r"Budget\(kilobytes=5\): its costs are not in kilobytes"),
    ],
)
def test_refused_budgets(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Budget(**arguments)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"budget": 40}, r"budget=40: must be a Budget\(...\), such as Budget\(latency_us=40\)"),
        ({"budget": Budget(latency_us=40), "sparsity": 0.9}, r"sparsity=0.9 and Budget\(latency_us=40\): give one"),
        ({"budget": Budget(latency_us=40), "distribution": "erk"}, r"distribution='erk': a budget divides itself"),
        (
            {"budget": Budget(multiply_adds=9), "pattern": NM(2, 4)},
            r"a budget of multiply_adds needs Slots\(...\), Quads\(...\) or Un",
        ),
        (
            {"budget": Budget(kilobytes=9), "pattern": Unstructured()},
            r"a budget of kilobytes needs Slots\(\) or Quads\(\)",
        ),
        (
            {"budget": Budget(latency_us=9), "pattern": Slots(8, 32)},
            r"a budget of latency_us needs Slots\(\) or Quads\(\)",
        ),
    ],
)
def test_refused_recipes(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Recipe(**arguments)


@pytest.mark.parametrize("wrong", [{"each": 0.0}, {"each": -1.0}, {"fixed": math.nan}, {"dense": math.inf}])
def test_refused_layer_costs(wrong: dict[str, float]) -> None:
    with pytest.raises(
        ArgumentError, match=r"the cost of layer 'fc' is fixed=.*: must be finite numbers, each above 0"
    ):
        dataclasses.replace(LayerCost("fc", 10, 1.0, 1.0, 9.0), **wrong)


@pytest.mark.parametrize("damage", [{"limits": 3}, {"costs": {"unit": "latency_us"}}, {"costs": 4}])
def test_damaged_json(damage: dict[str, Any]) -> None:
    described = Recipe(budget=Budget(latency_us=40)).to_dict()
    described["budget"] |= damage
    with pytest.raises(StateError, match="not a recipe of version 1"):
        Recipe.from_dict(described)
