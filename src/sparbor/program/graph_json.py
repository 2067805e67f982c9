"""A program's graph as JSON, and back.

Reading looks at the structure alone: what the shapes, the settings and the order of a graph must be like is the
engine's to say, which loads every program that is to run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from sparbor.program.byte_input import ByteInput
from sparbor.program.program import Activation, Normalisation, Operation, Program, Settings, Weights
from sparbor.program.windows import AverageWindow, Window


def graph_to_json(program: Program) -> dict[str, Any]:
    """The values, the operations and what comes in and out."""
    graph: dict[str, Any] = {
        "values": program.shapes,
        "input": program.input,
        "output": program.output,
        "operations": [_operation_to_json(operation) for operation in program.operations],
    }
    if program.byte_input is not None:
        graph["byte_input"] = dataclasses.asdict(program.byte_input)
    return graph


def _operation_to_json(operation: Operation) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": operation.kind, "inputs": operation.inputs, "output": operation.output}
    if operation.layer is not None:
        entry["layer"] = operation.layer
    if operation.activation is not None:
        entry["activation"] = [operation.activation.name, *operation.activation.parameters]
    if operation.settings is not None:
        entry["settings"] = dataclasses.asdict(operation.settings)
    return entry


def graph_from_json(graph: Mapping[str, Any], layers: Mapping[str, Weights]) -> Program:
    """The program; raises KeyError, TypeError, ValueError or AttributeError for a graph of another structure."""
    shapes = tuple(tuple(shape) for shape in graph["values"])
    operations = tuple(_operation(entry) for entry in graph["operations"])
    byte_input = None if graph.get("byte_input") is None else ByteInput(**graph["byte_input"])
    return Program(shapes, graph["input"], graph["output"], operations, layers, byte_input)


def _operation(entry: Mapping[str, Any]) -> Operation:
    activation, settings = entry.get("activation"), entry.get("settings")
    return Operation(
        entry["kind"],
        tuple(entry["inputs"]),
        entry["output"],
        entry.get("layer"),
        None if activation is None else Activation(activation[0], tuple(map(float, activation[1:]))),
        None if settings is None else _settings(settings),
    )


_SETTINGS: Mapping[frozenset[str], Callable[..., Settings]] = {
    frozenset(field.name for field in dataclasses.fields(kind)): kind for kind in (Window, AverageWindow, Normalisation)
}


def _settings(entry: Mapping[str, Any]) -> Settings:
    """Those that have these fields."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return _SETTINGS[frozenset(values)](**values)
