"""Python, which lowers and exports programs, and the engine, which runs them, know the same operators."""

import dataclasses

from sparbor import native
from sparbor.program.program import ACTIVATIONS, KINDS, Kind

TYPES = {
    "int": "a whole number",
    "Pair": "two whole numbers",
    "Sides": "four whole numbers",
    "float": "a number from 0 to 1e30",
    "bool": "true or false",
}


def in_the_engine(kind: Kind) -> tuple[int, str, str, dict[str, str]]:
    """What the engine says of a kind that Python describes so."""
    layer = "maybe" if kind.may_lack_layer else "yes" if kind.has_layer else "no"
    activation = "yes" if kind is KINDS["activation"] else "maybe" if kind.takes_activation else "no"
    fields = () if kind.settings is None else dataclasses.fields(kind.settings)
    return kind.inputs or 0, layer, activation, {field.name: TYPES[str(field.type)] for field in fields}


def test_operators_with_their_inputs_layers_activations_and_settings() -> None:
    assert native.operators() == {name: in_the_engine(kind) for name, kind in KINDS.items()}


def test_activations_and_their_parameters() -> None:
    assert native.activations() == {name: len(parameters) for name, parameters in ACTIVATIONS.items()}
