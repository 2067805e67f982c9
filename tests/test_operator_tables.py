"""Python, which lowers and exports programs, and the engine, which runs them, know the same operators."""

import dataclasses

import pytest

from sparbor import native
from sparbor.lower.neurons import rule_of
from sparbor.ops.activations import ACTIVATIONS
from sparbor.ops.operator import Operator
from sparbor.ops.table import FAMILIES, LOWERINGS, NEURONS, OPERATORS

TYPES = {
    "int": "a whole number",
    "Pair": "two whole numbers",
    "Sides": "four whole numbers",
    "tuple[int, ...]": "up to nine whole numbers",
    "float": "a number from 0 to 1e30",
    "bool": "true or false",
}


def in_the_engine(operator: Operator) -> tuple[tuple[int, int | None], str, str, dict[str, str]]:
    """What the engine says of an operator that Python describes so."""
    fields = () if operator.settings is None else dataclasses.fields(operator.settings)
    settings = {field.name: TYPES[str(field.type)] for field in fields}
    inputs = operator.inputs
    counts = inputs if isinstance(inputs, tuple) else (1, None) if inputs is None else (inputs, inputs)
    return counts, operator.layer, operator.activation, settings


def test_operators_with_their_inputs_layers_activations_and_settings() -> None:
    assert native.operators() == {kind: in_the_engine(operator) for kind, operator in OPERATORS.items()}


def test_activations_and_their_parameters() -> None:
    assert native.activations() == {name: len(each.parameters) for name, each in ACTIVATIONS.items()}


@pytest.mark.parametrize("name", NEURONS)
def test_the_rule_of_each_operator_is_there(name: str) -> None:
    assert rule_of(name) is not None


def test_no_two_families_say_something_of_one_operator() -> None:
    for name, table in {"OPERATORS": OPERATORS, "LOWERINGS": LOWERINGS, "NEURONS": NEURONS}.items():
        assert sum(len(getattr(family, name)) for family in FAMILIES) == len(table)
