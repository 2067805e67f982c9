"""Budgets of costs: what is kept, what it comes to, and layers that run dense."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparbor import Slots, Unstructured
from sparbor.allocation.cost_budget import CostBudget
from sparbor.errors import ArgumentError
from sparbor.recipe.budget import Budget, Costs, LayerCost
from sparbor.recipe.pattern import Pattern
from sparbor.topology.rewire import RewireInput, capacity

torch.set_num_threads(1)


def spending(budget: Budget, costs: list[LayerCost], pattern: Pattern | None = None, rest: float = 0.0) -> CostBudget:
    budget = replace(budget, costs=Costs(budget.unit, rest, tuple(costs)))
    return CostBudget(budget, pattern or Slots(), {cost.name: cost.weights for cost in costs}, [])


def dense(weight: Tensor, in_slots: bool = False) -> RewireInput:
    return RewireInput(weight, torch.ones_like(weight, dtype=torch.bool), in_slots=in_slots)


def random_layers(shapes: list[tuple[int, int]], seed: int, in_slots: bool) -> list[RewireInput]:
    generator = torch.Generator().manual_seed(seed)
    return [dense(torch.randn(shape, generator=generator), in_slots) for shape in shapes]


shapes_of_layers = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 80)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(
    shapes_of_layers,
    st.lists(st.floats(0.5, 300), min_size=4, max_size=4),
    st.floats(0.0, 1.2),
    st.booleans(),
    st.integers(0, 1000),
)
def test_the_cost_is_within_half_a_unit_of_the_budget(
    shapes: list[tuple[int, int]], prices: list[float], share: float, in_slots: bool, seed: int
) -> None:
    layers = random_layers(shapes, seed, in_slots)
    full = [capacity(layer, Slots()) for layer in layers]
    costs = [
        LayerCost(str(i), layer.weight.numel(), 1.0, price, 1.0 + price * n)
        for i, (layer, price, n) in enumerate(zip(layers, prices, full, strict=False))
    ]
    everything = 2.0 + sum(cost.dense for cost in costs)
    units = [cost.each * (1 if in_slots else min(16, cost.weights)) for cost in costs]
    least = 2.0 + sum(cost.fixed + unit for cost, unit in zip(costs, units, strict=True))
    limit = max(share * everything, least + 1e-6)
    budget = Budget(kilobytes=limit) if in_slots else Budget(multiply_adds=limit)
    chosen = spending(budget, costs, rest=2.0).budgets(layers, 1.0)
    largest = max(units)
    reached = 2.0 + sum(cost.fixed + cost.each * n for cost, n in zip(costs, chosen, strict=True))
    assert abs(reached - min(limit, everything)) <= largest / 2 + 1e-6
    if limit >= everything:
        assert chosen == full


def test_the_product_of_what_layers_keep_is_what_counts() -> None:
    """Against every other way to spend the same on single weights of two layers of unlike scale and price."""
    layers = random_layers([(2, 3), (2, 4)], 3, in_slots=False)
    layers[1] = replace(layers[1], weight=layers[1].weight * 50)
    costs = [LayerCost("a", 6, 0.0, 1.0, 6.0), LayerCost("b", 8, 0.0, 1.0, 8.0)]

    def kept(first: int, second: int) -> float:
        """The product of the shares of the squared weights that are left."""
        squares = [layer.weight.flatten().square().sort(descending=True).values for layer in layers]
        parts = [float(each[:n].sum() / each.sum()) for each, n in zip(squares, (first, second), strict=True)]
        return math.prod(parts)

    for budget in range(2, 14):
        chosen = spending(Budget(multiply_adds=budget), costs, Unstructured()).budgets(layers, 1.0)
        others = [kept(n, budget - n) for n in range(7) if 0 <= budget - n <= 8]
        assert sum(chosen) == budget
        assert kept(*chosen) == pytest.approx(max(others), rel=0.05)  # greedy: nearly the best


def test_the_scale_of_a_layer_does_not_matter_and_its_price_does() -> None:
    layers = random_layers([(32, 64), (32, 64)], 0, in_slots=False)
    layers[1] = replace(layers[1], weight=layers[0].weight * 1e-3)
    alike = [LayerCost(name, 2048, 0.0, 1.0, 2048.0) for name in "ab"]
    first, second = spending(Budget(multiply_adds=1024), alike).budgets(layers, 1.0)
    assert abs(first - second) <= 16
    dear = [alike[0], replace(alike[1], each=4.0, dense=8192.0)]
    first, second = spending(Budget(multiply_adds=2048), dear).budgets(layers, 1.0)
    assert first > 2 * second > 0


@pytest.mark.parametrize(
    "weight", [torch.zeros(16, 32), torch.full((16, 32), torch.inf), torch.full((16, 32), torch.nan)]
)
def test_odd_weights_spend_the_budget_too(weight: Tensor) -> None:
    costs = [LayerCost("a", 512, 0.0, 1.0, 32.0)]
    assert spending(Budget(kilobytes=8), costs).budgets([dense(weight, True)], 1.0) == [8]


def test_a_layer_that_would_run_dense_keeps_everything_where_that_is_free() -> None:
    """Its 32 slots of 1 each cost 10 dense, so where it would get more than that it takes all of them."""
    layers = random_layers([(16, 32), (16, 320)], 1, in_slots=True)
    costs = [LayerCost("a", 512, 0.0, 1.0, 10.0, sparse_to=0.3), LayerCost("b", 5120, 0.0, 1.0, 320.0)]
    table = spending(Budget(latency_us=160), costs)
    assert table.budgets(layers, 1.0) == [32, 150]
    assert table.cost(layers) == 330
    low = spending(Budget(latency_us=8), costs).budgets(layers, 1.0)
    assert 0 < low[0] <= 8
    assert sum(low) == 8


def test_a_layer_that_would_cost_more_dense_is_held_where_it_runs_sparse() -> None:
    layers = random_layers([(16, 32), (16, 320)], 1, in_slots=True)
    costs = [LayerCost("a", 512, 0.0, 1.0, 32.0, sparse_to=0.3), LayerCost("b", 5120, 0.0, 1.0, 320.0)]
    assert spending(Budget(kilobytes=160), costs).budgets(layers, 1.0) == [9, 151]


def test_a_layer_that_is_no_dearer_dense_than_empty_stays_dense() -> None:
    layers = random_layers([(16, 32), (16, 320)], 1, in_slots=True)
    costs = [LayerCost("a", 512, 2.0, 1.0, 1.5, sparse_to=0.3), LayerCost("b", 5120, 0.0, 1.0, 320.0)]
    assert spending(Budget(latency_us=2.5), costs).budgets(layers, 1.0) == [32, 1]
    assert spending(Budget(latency_us=11.5), costs).budgets(layers, 1.0) == [32, 10]


def test_what_is_divided_already_stays() -> None:
    layers = random_layers([(16, 64), (16, 64)], 4, in_slots=True)
    table = spending(Budget(latency_us=64), [LayerCost(name, 1024, 0.0, 1.0, 64.0) for name in "ab"])
    half = torch.zeros_like(layers[0].mask)
    half[:, :16] = half[:, 32:48] = True
    masked = [replace(layer, mask=half, growth=layer.weight) for layer in layers]
    assert table.budgets(masked, 1.0) == [32, 32]
    assert table.budgets([masked[0], layers[1]], 1.0) != [32, 64]


def test_the_budget_is_approached_in_steps() -> None:
    layers = random_layers([(16, 64), (32, 64)], 2, in_slots=True)
    costs = [LayerCost("a", 1024, 1.0, 1.0, 65.0), LayerCost("b", 2048, 1.0, 2.0, 257.0)]
    table = spending(Budget(latency_us=60), costs)
    full, half, final = (table.budgets(layers, progress) for progress in (0.0, 0.5, 1.0))
    assert full == [64, 128]
    assert half == [round((a + b) / 2) for a, b in zip(full, final, strict=True)]


def test_layers_that_cannot_grow_never_do() -> None:
    (layer,) = random_layers([(16, 64)], 2, in_slots=True)
    mask = layer.mask.clone()
    mask[:, 5:32] = False
    few = replace(layer, mask=mask)
    table = spending(Budget(latency_us=20), [LayerCost("a", 1024, 0.0, 1.0, 64.0)])
    assert table.budgets([few], 0.1) == [37]
    assert table.budgets([replace(few, growth=layer.weight)], 0.1) == [60]


def test_layers_that_stay_dense_are_paid_for() -> None:
    costs = Costs("latency_us", 1.0, (LayerCost("a", 512, 0.5, 1.0, 32.0), LayerCost("b", 512, 0.5, 1.0, 8.0)))
    layers = random_layers([(16, 32)], 0, in_slots=True)
    table = CostBudget(Budget(latency_us=20, costs=costs), Slots(), {"a": 512}, ["b"])
    assert table.budgets(layers, 1.0) == [11]  # 20 - 1 - 8 - 0.5, in a tie one more
    assert table.cost(layers) == 1.0 + 32.5 + 8.0


@pytest.mark.parametrize(
    ("budget", "taken", "others", "text"),
    [
        (
            Budget(latency_us=9),
            {"a": 512},
            [],
            r"Budget\(latency_us=9\): the costs .* are not known; pass the recipe that",
        ),
        (9.0, {"a": 512, "c": 3}, [], "layer 'c' has 3 weights, and the budget's costs hold none of that name: call"),
        (
            9.0,
            {"a": 510},
            [],
            "layer 'a' has 510 weights, and the budget's costs hold those of 512 weights of that name",
        ),
        (9.0, {"d": 5}, ["a"], "layer 'd' has 5 weights"),
        (9.0, {}, [], "the budget's costs name a layer 'a' that the model has not"),
        (2.4, {"a": 512}, [], r"Budget\(latency_us=2.4\): the model costs 2.5 latency_us with a single slot in each"),
    ],
)
def test_refusals(budget: Budget | float, taken: dict[str, int], others: list[str], text: str) -> None:
    if not isinstance(budget, Budget):
        costs = Costs("latency_us", 1.0, (LayerCost("a", 512, 0.5, 1.0, 32.0),))
        budget = Budget(latency_us=budget, costs=costs)
    with pytest.raises(ArgumentError, match=text):
        CostBudget(budget, Slots(), taken, others)
