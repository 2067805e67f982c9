"""The loader in Python and the one in C++ know the same operators, with the same inputs, layers and settings."""

import dataclasses
import re
from pathlib import Path

from sparbor.program.program import ACTIVATIONS, KINDS, Normalisation
from sparbor.program.shape_rules import _CHECKS
from sparbor.program.windows import AverageWindow, Window

NATIVE = Path(__file__).resolve().parent.parent / "native" / "c_api"
GRAPH = (NATIVE / "graph.cpp").read_text()
SETTINGS = {None: "none", Window: "window", AverageWindow: "average_window", Normalisation: "normalisation"}


def braces(begin: str, text: str) -> str:
    """What stands between the braces that follow ``begin``, and the brace at the beginning of a line."""
    found = re.search(re.escape(begin) + r"\s*\{(.*?)\n\}", text, re.DOTALL)
    assert found is not None, begin
    return found[1]


def test_operators() -> None:
    rows = re.findall(r'\{"(\w+)", (\d+), (\w+), (\w+), (\w+), Settings::(\w+)\}', braces("kinds[] =", GRAPH))
    in_python = [
        (
            name,
            str(kind.inputs or 0),
            *(str(flag).lower() for flag in (kind.has_layer, kind.may_lack_layer, kind.takes_activation)),
            SETTINGS[kind.settings],
        )
        for name, kind in KINDS.items()
    ]
    assert rows == in_python


def test_their_numbers_in_cpp_are_their_places_in_the_table() -> None:
    numbered = re.findall(r"\w+", braces("enum class Op", (NATIVE / "program.h").read_text()))
    assert numbered == list(KINDS)


def test_each_has_a_rule_for_its_shapes() -> None:
    assert _CHECKS.keys() == KINDS.keys()


def test_activations_and_their_parameters() -> None:
    rows = re.findall(r'\{"(\w+)", (\d+)\}', braces("activations =", GRAPH))
    assert {name: int(count) for name, count in rows} == {name: len(each) for name, each in ACTIVATIONS.items()}


def test_settings() -> None:
    """C++ names those of each kind of settings in one place, next to which settings they are."""
    body = braces("void read_settings(const Kind& kind, const Json* entry, Operation& operation)", GRAPH)
    window, average, normalisation = (
        set(re.findall(r'"(\w+)"', each))
        for each in (
            re.search(r"wanted(\{.*?\})", body, re.DOTALL)[1],  # type: ignore[index]
            re.search(r"wanted\.insert\((.*?)\);", body)[1],  # type: ignore[index]
            re.search(r"wanted = (\{.*?\})", body)[1],  # type: ignore[index]
        )
    )
    fields = {kind: {field.name for field in dataclasses.fields(kind)} for kind in SETTINGS if kind is not None}
    assert fields == {Window: window, AverageWindow: window | average, Normalisation: normalisation}
