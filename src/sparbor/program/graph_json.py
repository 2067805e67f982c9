"""A program's graph as JSON, and back.

Reading looks at the structure alone: what the shapes, the settings and the order of a graph must be like is the
engine's to say, which loads every program that is to run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, get_args

from sparbor.program.byte_input import ByteInput
from sparbor.program.program import (
    Activation,
    Operation,
    Port,
    Program,
    Quantization,
    Settings,
    ValueType,
    Weights,
)


def graph_to_json(program: Program) -> dict[str, Any]:
    """The values, the operations and what comes in and out."""
    graph: dict[str, Any] = {
        "values": [_value_to_json(value) for value in program.values],
        "inputs": [dataclasses.asdict(port) for port in program.inputs],
        "outputs": [dataclasses.asdict(port) for port in program.outputs],
        "operations": [_operation_to_json(operation) for operation in program.operations],
    }
    if program.byte_input is not None:
        graph["byte_input"] = dataclasses.asdict(program.byte_input)
    if program.sizes:
        graph["sizes"] = dict(program.sizes)
    if program.states:
        graph["states"] = program.states
    return graph


def _value_to_json(value: ValueType) -> dict[str, Any]:
    quantization = {} if value.quantization is None else dataclasses.asdict(value.quantization)
    return {"type": value.type, "shape": value.shape, **quantization}


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
    values = tuple(map(_value, graph["values"]))
    inputs, outputs = (tuple(Port(**port) for port in graph[ports]) for ports in ("inputs", "outputs"))
    operations = tuple(_operation(entry) for entry in graph["operations"])
    byte_input = None if graph.get("byte_input") is None else ByteInput(**graph["byte_input"])
    states = _frozen(graph.get("states") or ())
    return Program(values, inputs, outputs, operations, layers, byte_input, states, graph.get("sizes") or {})


def _frozen(entries: Any) -> Any:
    """Lists as tuples, all the way down."""
    return tuple(map(_frozen, entries)) if isinstance(entries, (list, tuple)) else entries


def _value(entry: Mapping[str, Any]) -> ValueType:
    quantization = None if entry.get("step") is None else Quantization(entry["step"], entry["zero"])
    return ValueType(entry["type"], _frozen(entry["shape"]), quantization)


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
    frozenset(field.name for field in dataclasses.fields(kind)): kind for kind in get_args(Settings)
}


def _settings(entry: Mapping[str, Any]) -> Settings:
    """Those that have these fields."""
    values = {name: _frozen(value) for name, value in entry.items()}
    return _SETTINGS[frozenset(values)](**values)
