"""The plan of growth: checked when it is made, when it is laid over a run, and the same after a trip through JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparbor import Budget, Growth, Recipe
from sparbor.errors import ArgumentError, StateError


@given(
    times=st.none() | st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4, unique=True).map(sorted),
    growth=st.fixed_dictionaries(
        {
            "patience": st.integers(1, 9),
            "minimum_gain": st.floats(0, 5),
            "trial": st.integers(1, 9),
            "layers": st.lists(st.text(), min_size=1),
        }
    ),
)
def test_the_trip_through_json(times: Any, growth: dict[str, Any]) -> None:
    recipe = Recipe(growth=Growth(generations=len(times or [1]), at=times, **growth))
    back = Recipe.from_json(recipe.to_json())
    assert back == recipe
    assert hash(back) == hash(recipe)
    assert back.to_dict() == json.loads(back.to_json())


def test_a_recipe_without_growth_is_written_as_before_there_was_any() -> None:
    assert "growth" not in Recipe().to_dict()
    assert Recipe.from_dict({**Recipe().to_dict(), "growth": None}) == Recipe()
    data = Recipe(growth=Growth()).to_dict()
    data["growth"]["colour"] = "green"
    with pytest.raises(StateError, match=r"not a recipe of version 1: .*unexpected keyword argument 'colour'"):
        Recipe.from_dict(data)
    data = Recipe(growth=Growth()).to_dict()
    older = {**data, "growth": {**data["growth"], "training": "gradient", "cascade": 0.03}}
    assert Recipe.from_dict(older) == Recipe(growth=Growth())
    older["growth"]["training"] = "cascade"
    with pytest.raises(StateError, match=r"growth: training='cascade' is no more: .* leave training and cascade out"):
        Recipe.from_dict(older)
    with pytest.raises(
        ArgumentError, match=r"growth and Budget\(kilobytes=40\): what dendrites would cost is not known"
    ):
        Recipe(growth=Growth(), budget=Budget(kilobytes=40))
    with pytest.raises(ArgumentError, match=r"growth=3: must be a Growth\(\.\.\.\), or None"):
        Recipe(growth=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"generations": 0}, r"Growth\(generations=0\): generations must be a whole number of at least 1"),
        ({"generations": True}, r"Growth\(generations=True\)"),
        ({"patience": 0}, r"Growth\(patience=0\): patience must be a whole number"),
        ({"trial": 1.5}, r"Growth\(trial=1\.5\): trial must be a whole number"),
        ({"minimum_gain": -0.1}, r"Growth\(minimum_gain=-0\.1\): minimum_gain must be a number of at least 0"),
        ({"minimum_gain": float("nan")}, r"minimum_gain=nan"),
        ({"layers": "fc1"}, r"Growth\(layers='fc1'\): layers must be a tuple of layer names"),
        ({"layers": ()}, r"Growth\(layers=\(\)\)"),
        ({"at": 0.5}, r"Growth\(at=0\.5\): at must be a tuple of shares of the run"),
        (
            {"at": (1.0,)},
            r"Growth\(at=\(1\.0,\)\): at must be a tuple of shares of the run, each at least 0 and below 1",
        ),
        ({"at": (0.3, 0.6)}, r"Growth\(generations=1, at=\(0\.3, 0\.6\)\): at must have one time for each generation"),
        ({"generations": 2, "at": (0.6, 0.3)}, r"Growth\(at=\(0\.6, 0\.3\)\): the times must ascend"),
    ],
)
def test_bad_values(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Growth(**arguments)


def test_over_a_run() -> None:
    assert Growth(at=(0.5,)).births(31) == (15,)
    assert Growth().births(100) == ()
    Growth(at=(0.95,)).check_fits(10)
    Growth(patience=3, trial=3).check_fits(107, settled=100)


@pytest.mark.parametrize(
    ("growth", "settled", "text"),
    [
        (Growth(patience=8, trial=5), 0, r"no plateau can be seen and tried within total_steps=10, it takes 14; lower"),
        (Growth(patience=1, trial=1), 8, r"within total_steps=10, it takes 11"),
        (Growth(2, at=(0.5, 0.55)), 0, r"a generation grown after step 5 has no steps until the next one; grow ear"),
    ],
)
def test_what_a_run_has_no_room_for(growth: Growth, settled: int, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        growth.check_fits(10, settled)
