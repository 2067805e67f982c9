"""Recurrent layers: LSTM (Hochreiter and Schmidhuber, 1997), GRU (Cho et al., 2014) and Elman's (1990).

What the inputs of all steps make of the gates is a linear layer over the whole sequence; the engine's operator adds,
step by step, what the state before makes of them. So each of PyTorch's weights is a layer of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sparbor.errors import ArgumentError
from sparbor.ops.arguments import Argument, Constant, Value, refuse
from sparbor.ops.onnx_weights import OnnxWeights
from sparbor.ops.operator import Lowering, Operator
from sparbor.ops.shapes import joined, sliced
from sparbor.ops.targets import Graph, OnnxGraph
from sparbor.program.program import ConstantArray, ElmanRecurrence, Operation, Recurrence, Settings, Slice, times

if TYPE_CHECKING:
    from torch.fx import Node


@dataclass(frozen=True)
class Cell:
    """The engine's operator, how many gates a cell has, and how many numbers its state."""

    kind: str
    gates: int
    states: int
    settings: Callable[[bool], Settings]  # of whether it goes backwards


_LSTM, _GRU = Cell("lstm", 4, 2, Recurrence), Cell("gru", 3, 1, Recurrence)
_TANH, _RELU = (Cell("rnn", 1, 1, partial(ElmanRecurrence, relu=relu)) for relu in (False, True))
_CELLS: Mapping[str, Cell] = {"lstm": _LSTM, "gru": _GRU, "rnn_tanh": _TANH, "rnn_relu": _RELU}


# From PyTorch.


def traced_whole(
    graph: Graph,
    node: Node,
    x: Argument,
    states: Sequence[Argument],
    weights: Sequence[Argument],
    kind: str,
    layers: int,
    both_ways: bool,
    batch_first: bool,
) -> tuple[Value, ...]:
    """The operator that stands for a layer while a model is traced: see :mod:`sparbor.lower.recurrent`."""
    return _stacked(graph, node, _CELLS[kind], x, states, weights, layers, both_ways, batch_first)


def _recurrent(
    cell: Cell,
    graph: Graph,
    node: Node,
    x: Argument,
    states: Argument,
    weights: Sequence[Argument],
    _: bool,
    layers: int,
    __: float,
    ___: bool,
    both_ways: bool,
    batch_first: bool,
) -> tuple[Value, ...]:
    """PyTorch's own operator, whose other arguments are whether there are biases, dropout, and whether it trains."""
    given = states if isinstance(states, (list, tuple)) else [states]
    return _stacked(graph, node, cell, x, given, weights, layers, both_ways, batch_first)


def _stacked(
    graph: Graph,
    node: Node,
    cell: Cell,
    x: Argument,
    states: Sequence[Argument],
    weights: Sequence[Argument],
    layers: int,
    both_ways: bool,
    batch_first: bool,
) -> tuple[Value, ...]:
    """Layer on layer, in one direction or both: the last one's outputs, and the last states of all."""
    value, first = graph.value(node, x), [graph.value(node, each) for each in states]
    first = [] if all(_is_zero(graph, each) for each in first) else first
    value = value if batch_first else graph.permuted(value, (1, 0, 2))
    of_each = len(weights) // (layers * (1 + both_ways))
    if of_each % 2:
        refuse(node, "is an LSTM with projections (proj_size), which the engine does not have")
    last: list[list[Value]] = [[] for _ in range(cell.states)]
    for layer in range(layers):
        outputs = []
        for reverse in (False, True)[: 1 + both_ways]:
            at = layer * (1 + both_ways) + reverse
            before = tuple(_one_of(graph, each, at) for each in first)
            made = _sequence(graph, node, cell, value, before, weights[at * of_each : (at + 1) * of_each], reverse)
            outputs.append(_part(graph, cell, made, 0))
            after = _last(graph, made, reverse)
            for part, states_of_all in enumerate(last):
                states_of_all.append(_part(graph, cell, after, part))
        value = _joined(graph, outputs, 2)
    y = value if batch_first else graph.permuted(value, (1, 0, 2))
    return (y, *(_joined(graph, each, 0) for each in last))


def _sequence(
    graph: Graph,
    node: Node,
    cell: Cell,
    x: Value,
    states: tuple[Value, ...],
    weights: Sequence[Argument],
    reverse: bool,
) -> Value:
    """One layer in one direction: for each item and step its state, all that it consists of."""
    for each in weights:
        if not isinstance(each, Constant):
            refuse(node, "is a recurrent layer with a computed weight or bias")
    of_input, of_state, *biases = weights
    input_bias, state_bias = biases or (None, None)
    batch, steps, _ = graph.shape(x)
    gates, units = of_state.tensor.shape
    names = []
    for weight, bias in ((of_input, input_bias), (of_state, state_bias)):
        names.append(graph.weight_name(weight))
        graph.layer_weights(names[-1], weight, bias)
    from_input = graph.append("linear", (x,), (batch, steps, gates), layer=names[0])
    shape = (batch, steps, cell.states * units)
    return graph.append(cell.kind, (from_input, *states), shape, layer=names[1], settings=cell.settings(reverse))


def _is_zero(graph: Graph, value: Value) -> bool:
    """Whether all its numbers are zeros in every call, as a state is that nobody gives."""
    made = graph.maker(value)
    if made is None:
        return False
    if made.kind in ("expand", "reshape", "slice", "permute"):
        return _is_zero(graph, Value(made.inputs[0]))
    weights = graph.weights.get(str(made.layer))
    return isinstance(weights, ConstantArray) and not weights.values.any()


def _one_of(graph: Graph, states: Value, at: int) -> Value:
    """The state of one layer and direction, as (batch, units)."""
    return graph.reshaped(sliced(graph, states, 0, at, 1), graph.shape(states)[1:])


def _part(graph: Graph, cell: Cell, states: Value, at: int) -> Value:
    """The outputs, or the numbers that an LSTM's cells remember."""
    width = graph.shape(states)[2]
    assert isinstance(width, int)
    units = width // cell.states
    return sliced(graph, states, 2, at * units, units)


def _last(graph: Graph, states: Value, reverse: bool) -> Value:
    """Those after the last step, as (1, batch, numbers)."""
    steps = graph.shape(states)[1]
    last = steps - 1 if isinstance(steps, int) else -1
    return graph.permuted(sliced(graph, states, 1, 0 if reverse else last, 1), (1, 0, 2))


def _joined(graph: Graph, values: Sequence[Value], axis: int) -> Value:
    """Values of one shape, one after another."""
    return joined(graph, values, axis, times(graph.shape(values[0])[axis], len(values)))


def _one_step(
    cell: Cell, graph: Graph, node: Node, x: Argument, states: Argument, *weights: Argument
) -> Value | tuple[Value, ...]:
    """A cell by itself: a sequence of one step."""
    value = graph.value(node, x)
    given = states if isinstance(states, (list, tuple)) else [states]
    first = [graph.value(node, each) for each in given]
    first = [] if all(_is_zero(graph, each) for each in first) else first
    batch, inputs = graph.shape(value)
    kept = [each for each in weights if each is not None]
    made = _sequence(graph, node, cell, graph.reshaped(value, (batch, 1, inputs)), tuple(first), kept, False)
    parts = [_part(graph, cell, made, part) for part in range(cell.states)]
    y, *memory = (graph.reshaped(each, (batch, graph.shape(each)[2])) for each in parts)
    return (y, *memory) if memory else y


# To ONNX, whose operators have the layer of the inputs in them, and give an LSTM's cells after the last step alone.


_ONNX = {"lstm": ("LSTM", (0, 3, 1, 2)), "gru": ("GRU", (1, 0, 2)), "rnn": ("RNN", (0,))}  # and where each gate is here


def _to_onnx(graph: OnnxGraph, operation: Operation, y: str) -> None:
    kind, order = _ONNX[operation.kind]
    settings = operation.settings_as(Recurrence)
    linear = next((each for each in graph.program.operations if each.output == operation.inputs[0]), None)
    if linear is None or linear.kind != "linear" or linear.activation is not None:
        raise ArgumentError(
            f"operation {operation.kind!r}, which computes value {operation.output}, cannot be exported to ONNX: its "
            "input is not what a linear layer computes"
        )
    matrices = [
        each.in_order(_gates_in_order(len(each.rows), order))
        for each in (OnnxWeights.of(graph, linear), OnnxWeights.of(graph, operation))
    ]
    units = matrices[1].rows.shape[1]
    weights = [
        matrix.constant(graph, f"{each.layer}/gates", matrix.rows[None], 1)
        for each, matrix in zip((linear, operation), matrices, strict=True)
    ]
    biases = [np.zeros(len(each.rows), np.float32) if each.bias is None else each.bias for each in matrices]
    bias = graph.constant(f"{operation.layer}/biases", np.concatenate(biases)[None])
    first = [
        graph.node("Unsqueeze", [graph.name_of(state), graph.integers("ways", [0])]) for state in operation.inputs[1:]
    ]
    attributes: dict[str, Any] = {"hidden_size": units, "direction": "reverse" if settings.reverse else "forward"}
    if kind == "GRU":
        attributes["linear_before_reset"] = 1
    if isinstance(settings, ElmanRecurrence) and settings.relu:
        attributes["activations"] = ["Relu"]
    x = graph.node("Transpose", [graph.name_of(linear.inputs[0])], perm=[1, 0, 2])
    more = ["", f"{y}/cells"] if kind == "LSTM" else []
    outputs = graph.node(kind, [x, *weights, bias, "", *first], f"{y}/steps", more=more, **attributes)
    by_step = graph.node("Squeeze", [outputs, graph.integers("way", [1])])
    cells = kind == "LSTM" and _cells_are_read(graph, operation, units, settings.reverse)
    shown = graph.node("Transpose", [by_step], None if cells else y, perm=[1, 0, 2])
    if cells:
        last = graph.node("Transpose", [f"{y}/cells"], perm=[1, 0, 2])
        graph.node("Concat", [shown, graph.node("Expand", [last, graph.node("Shape", [shown])])], y, axis=2)


def _gates_in_order(outputs: int, order: Sequence[int]) -> npt.NDArray[np.integer]:
    """Which rows ONNX has where, in its order of gates."""
    return np.arange(outputs).reshape(len(order), -1)[list(order)].reshape(-1)


def _cells_are_read(graph: OnnxGraph, operation: Operation, units: int, reverse: bool) -> bool:
    """Whether more of an LSTM's states is read than its outputs: the cells after its last step, which ONNX has too."""
    steps = graph.program.values[operation.output].shape[1]
    outputs = Slice(2, 0, 1)
    last = (Slice(1, 0 if reverse else -1, 1), Slice(1, 0 if reverse or not isinstance(steps, int) else steps - 1, 1))
    read = False
    for reader in (each for each in graph.program.operations if operation.output in each.inputs):
        shape = graph.program.values[reader.output].shape
        if reader.settings == outputs and shape[2] == units:
            continue
        read = True
        if reader.settings not in last or shape[1] != 1:
            break
    else:
        if all(port.value != operation.output for port in graph.program.outputs):
            return read
    raise ArgumentError(
        f"operation 'lstm', which computes value {operation.output}, cannot be exported to ONNX: what its cells "
        "remember is read after other steps than the last"
    )


OPERATORS = (
    Operator("lstm", _to_onnx, None, inputs=(1, 3), layer="yes", settings=Recurrence),
    Operator("gru", _to_onnx, None, inputs=(1, 2), layer="yes", settings=Recurrence),
    Operator("rnn", _to_onnx, None, inputs=(1, 2), layer="yes", settings=ElmanRecurrence),
)

LOWERINGS: Mapping[str, Lowering] = {
    "sparbor.recurrent.default": traced_whole,
    **{f"{kind}.input": partial(_recurrent, cell) for kind, cell in _CELLS.items()},
    **{f"{kind}_cell.default": partial(_one_step, cell) for kind, cell in _CELLS.items()},
}

NEURONS: Mapping[str, str] = {}
