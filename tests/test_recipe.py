"""Recipes: frozen, checked, and the same after a trip through JSON."""

import dataclasses
import inspect
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparbor import NM, Quads, Recipe, Schedule, Slots, Unstructured
from sparbor.errors import ArgumentError, StateError


@given(
    recipe=st.builds(
        Recipe,
        sparsity=st.floats(0.5, 1, exclude_max=True),
        method=st.sampled_from(["rigl", "set", "magnitude", "static"]),
        pattern=st.builds(Slots, st.integers(1, 64), st.integers(1, 64))
        | st.builds(Quads, st.integers(1, 64), st.sampled_from([4, 32, 64, 128]))
        | st.just(Unstructured()),
        distribution=st.sampled_from(["uniform", "erk", "global"]),
        schedule=st.builds(
            Schedule,
            warmup=st.floats(0, 1 / 3),
            ramp_end=st.floats(0.4, 0.75),
            rewire_end=st.floats(0.75, 1),
            interval=st.none() | st.integers(1, 1000),
            drop_fraction=st.floats(0, 1),
        ),
        exclude=st.lists(st.text()).map(tuple) | st.lists(st.text()),
        seed=st.integers(0, 2**63 - 1),
    )
)
def test_the_trip_through_json(recipe: Recipe) -> None:
    back = Recipe.from_json(recipe.to_json())
    assert back == recipe
    assert hash(back) == hash(recipe)
    assert back.to_json() == recipe.to_json()


@pytest.mark.parametrize(
    "pattern", [Slots(), Slots(8, 16), Quads(), Quads(8, 128), NM(2, 4), NM(1, 32), Unstructured()]
)
def test_each_pattern_comes_back(pattern: Any) -> None:
    recipe = Recipe(sparsity=0.97, pattern=pattern)
    assert Recipe.from_dict(recipe.to_dict()).pattern == pattern


def test_the_json_of_version_1() -> None:
    """What is written today must be read by every later release of this version."""
    text = """{"version": 1, "sparsity": 0.75, "method": "set", "pattern": {"kind": "nm", "n": 1, "m": 4},
        "distribution": "uniform", "schedule": {"warmup": 0.1, "ramp_end": 0.5, "rewire_end": 0.9, "interval": 5,
        "drop_fraction": 0.2}, "exclude": ["head.*"], "seed": 3}"""
    recipe = Recipe(0.75, "set", NM(1, 4), "uniform", Schedule(0.1, 0.5, 0.9, 5, 0.2), exclude=("head.*",), seed=3)
    recipe = dataclasses.replace(recipe, lr_density_exponent=0.0)
    assert Recipe.from_json(text) == recipe
    assert recipe.to_dict() == {**json.loads(text), "lr_density_exponent": 0.0}


def test_a_field_that_was_called_otherwise_is_read_and_its_old_name_refused_where_it_is_written() -> None:
    recipe = Recipe(lr_density_exponent=0.25)
    older = recipe.to_dict()
    older["step_exponent"] = older.pop("lr_density_exponent")
    assert Recipe.from_json(json.dumps(older)) == recipe
    with pytest.raises(StateError, match="it has a field twice, by its old name and its new one"):
        Recipe.from_dict({**older, "lr_density_exponent": 0.5})
    message = r"step_exponent=0.5: it is called lr_density_exponent now; pass lr_density_exponent=0.5"
    with pytest.raises(ArgumentError, match=message):
        Recipe(step_exponent=0.5)  # type: ignore[call-arg]
    with pytest.raises(ArgumentError, match=message):
        dataclasses.replace(recipe, step_exponent=0.5)  # type: ignore[call-arg]
    assert list(inspect.signature(Recipe).parameters)[:2] == ["sparsity", "method"]


def test_it_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().sparsity = 0.5  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        Slots().group = 8  # type: ignore[misc]


def test_methods_leave_out_parts_of_the_schedule() -> None:
    rigl = Recipe().timeline(100)
    assert Recipe(method="set").timeline(100) == rigl
    magnitude = Recipe(method="magnitude").timeline(100)
    assert (magnitude.switch, magnitude.ramp_end) == (rigl.switch, rigl.ramp_end)
    assert all(magnitude.drop(step) == 0 for step in range(200))
    assert not any(magnitude.rewires(step) for step in range(magnitude.ramp_end + 1, 200))
    static = Recipe(method="static").timeline(100)
    assert [step for step in range(200) if static.rewires(step)] == [10]
    assert static.progress(10) == 1.0


def test_layers_differ_in_sparsity_only_where_small_ones_would_become_thin() -> None:
    made = {sparsity: Recipe(sparsity).distribution for sparsity in (0.0, 0.74, 0.75, 0.99)}
    assert made == {0.0: "uniform", 0.74: "uniform", 0.75: "erk", 0.99: "erk"}
    assert Recipe().distribution == "erk"
    assert Recipe(0.9, pattern=NM(4, 32)).distribution == "uniform"
    assert Recipe(0.5, distribution="erk").distribution == "erk"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"sparsity": 1.0},
            r"sparsity=1\.0: must be at least 0 and below 1, the share of weights to drop \(0\.9 keeps",
        ),
        ({"sparsity": -1}, r"sparsity=-1: must be at least 0"),
        ({"sparsity": float("nan")}, r"sparsity=nan"),
        ({"sparsity": "0.5"}, r"sparsity='0\.5'"),
        ({"method": "RigL"}, r"method='RigL': must be one of 'rigl', 'set', 'magnitude', 'static'"),
        ({"distribution": "er"}, r"distribution='er': must be one of 'uniform', 'erk', 'global'"),
        (
            {"pattern": "slots"},
            r"pattern='slots': must be Slots\(\.\.\.\), Quads\(\.\.\.\), NM\(n, m\) or Unstructured\(\)",
        ),
        ({"pattern": Slots}, r"pattern=<class .*Slots'>: must be Slots"),
        ({"schedule": 0.3}, r"schedule=0\.3: must be a Schedule\(\.\.\.\)"),
        ({"exclude": "head"}, r"exclude='head': must be a tuple of layer names, such as \('head',\)"),
        ({"seed": 0.5}, r"seed=0\.5: must be a whole number"),
        (
            {"sparsity": 0.3, "pattern": NM(2, 4)},
            r"sparsity=0\.3: NM\(n=2, m=4\) cannot keep more than 0\.5 of the weights; use a sparsity of at least 0\.5",
        ),
        (
            {"pattern": NM(2, 4), "distribution": "erk"},
            r"distribution='erk': NM\(n=2, m=4\) has one quota for every layer; use 'uniform'",
        ),
    ],
)
def test_bad_values(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Recipe(**arguments)


def altered(**changes: Any) -> str:
    data = {**Recipe().to_dict(), **changes}
    return json.dumps({name: value for name, value in data.items() if value != "left out"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (altered(version=2), r"recipe version 2: this release of Sparbor reads version 1; use the release that wrote"),
        (altered(version="left out"), r"recipe version None"),
        (altered(sparsity="left out"), r"not a recipe of version 1: missing or unknown are sparsity; write it with"),
        (altered(sparcity=0.9), r"missing or unknown are sparcity"),
        (altered(pattern={"kind": "blocks"}), r"it has no pattern of kind 'blocks'"),
        (altered(pattern={}), r"it has no pattern of kind None"),
        (altered(pattern="slots"), r"not a recipe of version 1: .*write it with Recipe\.to_json\(\)"),
        (altered(pattern={"kind": "slots", "size": 3}), r"unexpected keyword argument 'size'"),
        (altered(schedule=3), r"not a recipe of version 1"),
        (altered(schedule={"warmup": 0.1, "end": 3}), r"unexpected keyword argument 'end'"),
        ("[]", r"not a recipe of version 1: it is a JSON list; write it with"),
        ("{", r"not a recipe of version 1: Expecting property name"),
        ("", r"not a recipe of version 1: Expecting value"),
    ],
)
def test_json_that_is_no_recipe(text: str, message: str) -> None:
    with pytest.raises(StateError, match=message):
        Recipe.from_json(text)


def test_values_in_json_are_checked_as_well() -> None:
    with pytest.raises(ArgumentError, match=r"sparsity=1\.5"):
        Recipe.from_json(altered(sparsity=1.5))
    with pytest.raises(ArgumentError, match=r"exclude='head': must be a tuple"):
        Recipe.from_json(altered(exclude="head"))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"exclude": None}, r"exclude=None: must be a tuple of layer names"),
        ({"exclude": (3,)}, r"exclude=\(3,\): must be a tuple of layer names"),
        ({"seed": 2**70}, r"seed=\d+: must be a whole number from 0 to"),
        ({"seed": -1}, r"seed=-1: must be a whole number from 0 to"),
    ],
)
def test_more_bad_values(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Recipe(**arguments)  # type: ignore[arg-type]


def test_a_schedule_of_words() -> None:
    with pytest.raises(ArgumentError, match=r"Schedule\(warmup='a'\): warmup must lie between 0 and 0\.3333"):
        Schedule(warmup="a")  # type: ignore[arg-type]


def test_a_patterns_neuron_block_is_stored_as_group() -> None:
    recipe = Recipe(pattern=Slots(neuron_block=8))
    assert recipe.to_dict()["pattern"] == {"kind": "slots", "group": 8, "branch": 32}
    assert Recipe.from_json(recipe.to_json()) == recipe
    with pytest.raises(ArgumentError, match="group=8: it is called neuron_block now; pass neuron_block=8"):
        Slots(group=8)  # type: ignore[call-arg]


def test_a_pair_of_exponents_survives_json() -> None:
    recipe = Recipe(lr_density_exponent=(0.5, 1.0))
    assert recipe.to_dict()["lr_density_exponent"] == [0.5, 1.0]
    assert Recipe.from_json(recipe.to_json()) == recipe
