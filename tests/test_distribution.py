"""How a model's sparsity is divided among its layers."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparbor.allocation.shares import erk_densities, shares

MLP = [(256, 784), (256, 256), (10, 256)]

shapes_of_layers = st.lists(
    st.tuples(st.integers(1, 300), st.integers(1, 300))
    | st.tuples(*[st.integers(1, 64)] * 2, *[st.integers(1, 5)] * 2),
    min_size=1,
    max_size=6,
)


def weights(shapes: list[tuple[int, ...]]) -> list[int]:
    return [math.prod(shape) for shape in shapes]


@settings(max_examples=200, deadline=None)
@given(shapes_of_layers, st.floats(0.001, 1))
def test_erk_keeps_the_whole_models_density(shapes: list[tuple[int, ...]], density: float) -> None:
    densities = erk_densities(shapes, density)
    assert all(0 < value <= 1 for value in densities)
    kept = sum(value * size for value, size in zip(densities, weights(shapes), strict=True))
    assert kept == pytest.approx(density * sum(weights(shapes)))
    # Layers below their cap have one scale in common, and no capped layer would be below it.
    scale = [value * size / sum(shape) for value, size, shape in zip(densities, weights(shapes), shapes, strict=True)]
    free = [value for value, d in zip(scale, densities, strict=True) if d < 1]
    if free:
        assert max(free) == pytest.approx(min(free))
        assert all(value <= min(free) * (1 + 1e-9) for value in scale)


def test_erk_of_a_known_network() -> None:
    first, second, last = erk_densities(MLP, 0.1)
    assert last > second > first
    assert first / second == pytest.approx((1040 / (256 * 784)) / (512 / (256 * 256)))
    assert erk_densities(MLP, 1.0) == [1.0, 1.0, 1.0]
    assert erk_densities([(10, 10), (1000, 1000)], 0.2)[0] == 1.0


@settings(max_examples=100, deadline=None)
@given(shapes_of_layers, st.floats(0.01, 1), st.sampled_from(["uniform", "erk", "global"]))
def test_budgets_follow_the_density_at_every_progress(
    shapes: list[tuple[int, ...]], density: float, distribution: str
) -> None:
    made = shares(distribution, shapes, density)  # type: ignore[arg-type]
    assert sorted(index for share in made for index in share.layers) == list(range(len(shapes)))
    assert sum(share.weights for share in made) == sum(weights(shapes))
    for progress in (0.0, 0.3, 1.0):
        total = sum(share.budget(progress) for share in made)
        expected = sum(weights(shapes)) * (1 - progress * (1 - density))
        assert abs(total - expected) <= len(made) / 2 + 1e-6
        assert all(0 <= share.budget(progress) <= share.weights for share in made)
    assert all(share.budget(0.0) == share.weights for share in made)


def test_uniform_gives_every_layer_the_same_and_global_one_budget() -> None:
    assert [share.budget(1.0) for share in shares("uniform", MLP, 0.1)] == [20070, 6554, 256]
    (share,) = shares("global", MLP, 0.1)
    assert share.layers == (0, 1, 2)
    assert share.budget(1.0) == round(0.1 * sum(weights(MLP)))
