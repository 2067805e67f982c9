"""A program's graph as JSON, and back: everything in it is checked before it is believed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from sparbor.errors import ArgumentError
from sparbor.packing.file_checks import is_count, require
from sparbor.program.byte_input import ByteInput
from sparbor.program.program import ACTIVATIONS, KINDS, Activation, Kind, Operation, Program, Settings
from sparbor.program.windows import Shape

LARGEST_VALUE = 2**26  # numbers of one value of one item; a runtime bounds what all of them need


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


def graph_from_json(graph: Mapping[str, Any]) -> Program:
    """The program, still without its layers."""
    shapes = tuple(_shape(number, shape) for number, shape in enumerate(graph["values"]))
    operations = tuple(_operation(entry) for entry in graph["operations"])
    _check_order(graph["input"], graph["output"], operations, len(shapes))
    return Program(shapes, graph["input"], graph["output"], operations, {}, _byte_input(graph, shapes))


def _shape(number: int, entry: Any) -> Shape:
    shape = tuple(entry)
    good = len(shape) <= 8 and all(map(is_count, shape)) and 0 < math.prod(shape) <= LARGEST_VALUE
    require(good, f"value {number} has the shape {shape}, which no model can have")
    return shape


def _operation(entry: dict[str, Any]) -> Operation:
    name, inputs, layer = entry["kind"], tuple(entry["inputs"]), entry.get("layer")
    kind = KINDS.get(name) if isinstance(name, str) else None
    count = len(inputs)
    known = kind is not None and (count >= 1 if kind.inputs is None else count == kind.inputs)
    require(known, f"an operation {name!r} of {count} inputs is unknown")
    assert kind is not None
    fits = layer is not None if kind.has_layer else layer is None
    require(fits or kind.may_lack_layer, f"operation {name!r} has the layer {layer!r}")
    activation = _activation(entry.get("activation"))
    fits = kind.takes_activation if activation is not None else name != "activation"
    require(fits, f"operation {name!r} has the activation {activation}")
    settings = _settings(name, kind, entry.get("settings"))
    return Operation(name, inputs, entry["output"], layer, activation, settings)


def _activation(entry: Any) -> Activation | None:
    if entry is None:
        return None
    name, *parameters = entry
    known = isinstance(name, str) and name in ACTIVATIONS and len(parameters) == len(ACTIVATIONS[name])
    require(known, f"an activation {name!r} of {len(parameters)} parameters is unknown")
    numbers = all(map(_is_number, parameters))
    require(numbers, f"activation {name!r} has the parameters {parameters}, which are not numbers")
    return Activation(name, tuple(map(float, parameters)))


def _is_number(value: Any) -> bool:
    """Whether it is one, NaN excepted; JSON's `true` is none."""
    return type(value) in (int, float) and not math.isnan(value)


def _settings(name: str, kind: Kind, entry: Any) -> Settings | None:
    require((entry is not None) == (kind.settings is not None), f"operation {name!r} has the settings {entry!r}")
    if kind.settings is None:
        return None
    fields = {field.name: field.type for field in dataclasses.fields(kind.settings)}
    require(
        isinstance(entry, dict) and entry.keys() == fields.keys(),
        f"operation {name!r} has the settings {entry!r}, not {', '.join(fields)}",
    )
    values = {field: _setting(f"operation {name!r}: {field}", fields[field], entry[field]) for field in fields}
    return kind.settings(**values)


_LENGTHS = {"Pair": 2, "Sides": 4}


def _setting(what: str, wanted: Any, value: Any) -> Any:
    """A value of a settings' field, whose type is known by its name."""
    if wanted in _LENGTHS:
        good = isinstance(value, list) and len(value) == _LENGTHS[wanted] and all(type(each) is int for each in value)
        value = tuple(value) if good else value
    elif wanted == "float":
        good = type(value) in (int, float) and 0 <= value <= 1e30
    else:
        good = type(value) is {"int": int, "bool": bool}[wanted]
    require(good, f"{what} is {value!r}, not of the type {wanted.lower()}")
    return value


def _check_order(first: Any, last: Any, operations: tuple[Operation, ...], count: int) -> None:
    """Every value is computed once, before it is used."""
    require(is_count(first) and first < count, f"the input is value {first!r} of {count}")
    known = {first}
    for operation in operations:
        for used in operation.inputs:
            early = f"operation {operation.kind!r} uses value {used!r} too early"
            require(is_count(used) and used in known, early)
        made = operation.output
        fresh = is_count(made) and made < count and made not in known
        require(fresh, f"operation {operation.kind!r} computes value {made!r}, which it cannot")
        known.add(made)
    require(is_count(last) and last in known, f"the output, value {last!r}, is never computed")
    require(len(known) == count, f"only {len(known)} of {count} values are computed")


def _byte_input(graph: Mapping[str, Any], shapes: tuple[Shape, ...]) -> ByteInput | None:
    entry = graph.get("byte_input")
    if entry is None:
        return None
    lists = isinstance(entry, dict) and entry.keys() == {"mean", "std"}
    lists = lists and all(isinstance(value, list) and len(value) > 0 for value in entry.values())
    lists = lists and all(_is_number(each) for value in entry.values() for each in value)
    require(lists and len(entry["mean"]) == len(entry["std"]), f"byte_input is {entry!r}")
    try:
        byte_input = ByteInput(**entry)
    except ArgumentError as error:
        require(False, f"byte_input cannot be: {error}")
        raise
    shape = shapes[graph["input"]]
    require(byte_input.fits(shape), f"byte_input has {len(byte_input.mean)} channels, the input shape {shape}")
    return byte_input
