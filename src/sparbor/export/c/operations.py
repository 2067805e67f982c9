"""A program's operations as calls of C functions, and their layers as constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from sparbor.errors import ArgumentError
from sparbor.export.c.code import Code
from sparbor.export.c.constants import literal
from sparbor.export.c.identifiers import for_comment
from sparbor.export.c.memory import Memory
from sparbor.export.c.spans import counted_places, spans
from sparbor.packing.dense_weights import DenseWeights
from sparbor.packing.slots import SparseLayer
from sparbor.program.program import Activation, Affine, Normalisation, Operation, Program
from sparbor.program.windows import AverageWindow, Shape, Window, planes_of

_FUNCTIONS = {"tanh": "hyperbolic_tangent"}  # where C has a function of the activation's name
_ACTIVATIONS = (
    *("relu", "clamp", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh"),
    *("hardswish", "hardsigmoid", "softplus"),
)


def check_operations(program: Program) -> None:
    """Refuse, by name, what there is no C code for."""
    for operation in program.operations:
        if operation.kind not in _WRITERS:
            raise ArgumentError(
                f"the program has the operation {operation.kind!r}, which the target c lacks; "
                f"it has: {', '.join(sorted(_WRITERS))}"
            )
        activation = operation.activation
        if activation is not None and activation.name not in _ACTIVATIONS:
            raise ArgumentError(
                f"the program has the activation {activation.name!r}, which the target c lacks; "
                f"it has: {', '.join(sorted(_ACTIVATIONS))}"
            )


class Writer:
    """Appends operations to the code; a layer's constants are written once, however often it is used."""

    def __init__(self, program: Program, memory: Memory) -> None:
        self.program, self.memory, self.code = program, memory, Code()
        self._layers: dict[str, str] = {}

    def write(self, number: int, operation: Operation) -> None:
        """The call of an operation, and of the activation that follows it."""
        layer = f" {for_comment(operation.layer)}" if operation.layer else ""
        self.code.calls.append(f"/* {operation.kind}{layer}, to {' x '.join(map(str, self.y_shape(operation)))} */")
        _WRITERS[operation.kind](self, number, operation)
        if operation.activation is not None and operation.kind != "activation":
            y = self.place(operation.output)
            self.activate(operation.activation, y, self.y_shape(operation), y)

    def place(self, value: int) -> str:
        """The C expression of where a value lies."""
        return self.memory.places[value]

    def x_shape(self, operation: Operation) -> Shape:
        """Of the operation's first input."""
        return self.program.shapes[operation.inputs[0]]

    def y_shape(self, operation: Operation) -> Shape:
        """Of its output."""
        return self.program.shapes[operation.output]

    def x_and_y(self, operation: Operation) -> tuple[str, str]:
        """Where its first input and its output lie."""
        return self.place(operation.inputs[0]), self.place(operation.output)

    def activate(self, activation: Activation, x: str, shape: Shape, y: str) -> None:
        """Call an activation over all numbers."""
        function = _FUNCTIONS.get(activation.name, activation.name)
        self.code.call(function, x, *map(literal, activation.parameters), math.prod(shape), y)

    def weights(self, name: str) -> tuple[str, str]:
        """The kind of a layer's weights, such as `sparse_words`, and a pointer to them."""
        layer = self.program.layers[name]
        if isinstance(layer, SparseLayer):
            kind = "sparse_exact" if layer.words is None else "sparse_words"
        else:
            assert isinstance(layer, DenseWeights)
            kind = "dense_exact" if layer.scale is None else "dense_halves"
        if name not in self._layers:
            constant = f"layer{len(self._layers)}"
            self.code.constants.definitions.append(f"/* {for_comment(name)}: {layer.outputs} x {layer.fan_in} */\n")
            fields: list[str | int] = [layer.outputs]
            parts = layer.arrays()
            fields += [self.code.constants.array(f"{constant}_{part}", parts[part]) for part in parts if part != "bias"]
            fields.append(self.code.constants.optional_array(f"{constant}_bias", layer.bias))
            self._layers[name] = self.code.constants.structure(kind, constant, fields)
        return kind, self._layers[name]

    def affine(self, name: str) -> tuple[str, str]:
        """The names of a layer's scale and shift."""
        layer = self.program.layers[name]
        assert isinstance(layer, Affine)
        if name not in self._layers:
            constant = self._layers[name] = f"layer{len(self._layers)}"
            self.code.constants.definitions.append(f"/* {for_comment(name)} */\n")
            for part, values in layer.arrays().items():
                self.code.constants.array(f"{constant}_{part}", values)
        return f"{self._layers[name]}_scale", f"{self._layers[name]}_shift"

    def window(self, number: int, operation: Operation, window: Window) -> str:
        """A pointer to the constants of a convolution or a pool."""
        x, y = planes_of(self.x_shape(operation)), planes_of(self.y_shape(operation))
        constants = self.code.constants
        down, across = spans(window, x, y)
        self.code.require("window")
        sizes = (x.channels, x.height, x.width, y.channels, y.height, y.width, window.groups, *window.kernel)
        pointers = constants.spans(f"down{number}", down), constants.spans(f"across{number}", across)
        return constants.structure("window", f"window{number}", [*sizes, *pointers])


def _linear(writer: Writer, _: int, operation: Operation) -> None:
    kind, layer = writer.weights(str(operation.layer))
    *rows, inputs = writer.x_shape(operation)
    weights = writer.program.layers[str(operation.layer)]
    if kind == "sparse_words" and isinstance(weights, SparseLayer) and weights.padded:
        kind = "padded_words"
    writer.code.call(f"linear_{kind}", layer, inputs, math.prod(rows), *writer.x_and_y(operation))


def _convolution(writer: Writer, number: int, operation: Operation) -> None:
    assert isinstance(operation.settings, Window)
    kind, layer = writer.weights(str(operation.layer))
    window = writer.window(number, operation, operation.settings)
    writer.code.call(f"convolution_{kind}", layer, window, *writer.x_and_y(operation))


def _max_pool(writer: Writer, number: int, operation: Operation) -> None:
    assert isinstance(operation.settings, Window)
    writer.code.call("max_pool", writer.window(number, operation, operation.settings), *writer.x_and_y(operation))


def _average_pool(writer: Writer, number: int, operation: Operation) -> None:
    window = operation.settings
    assert isinstance(window, AverageWindow)
    x, (top, left, bottom, right) = planes_of(writer.x_shape(operation)), window.padding
    axes = (("down", 0, (top, bottom), x.height), ("across", 1, (left, right), x.width))
    writer.code.require("average_pool")
    counted = [
        writer.code.constants.structure(
            "counted",
            f"counted_{name}{number}",
            counted_places(window.kernel[axis], window.stride[axis], padding, size, window.include_padding),
        )
        for name, axis, padding, size in axes
    ]
    pointer = writer.window(number, operation, window)
    writer.code.call("average_pool", pointer, *counted, literal(window.divisor), *writer.x_and_y(operation))


def _adaptive_pool(writer: Writer, number: int, operation: Operation) -> None:
    x, y = planes_of(writer.x_shape(operation)), planes_of(writer.y_shape(operation))
    writer.code.require("planes")
    sizes = (x.channels, x.height, x.width, y.height, y.width)
    planes = writer.code.constants.structure("planes", f"planes{number}", sizes)
    writer.code.call(operation.kind, planes, *writer.x_and_y(operation))


def _affine(writer: Writer, _: int, operation: Operation) -> None:
    x, y = writer.x_and_y(operation)
    shape = writer.y_shape(operation)
    pair = (shape[0], math.prod(shape[1:])) if operation.kind == "channel_affine" else _features_and_rows(shape)
    writer.code.call(operation.kind, x, *writer.affine(str(operation.layer)), *pair, y)


def _layer_norm(writer: Writer, _: int, operation: Operation) -> None:
    assert isinstance(operation.settings, Normalisation)
    x, y = writer.x_and_y(operation)
    affine = ("NULL", "NULL") if operation.layer is None else writer.affine(operation.layer)
    sizes = _features_and_rows(writer.y_shape(operation))
    writer.code.call("layer_norm", x, *affine, literal(operation.settings.epsilon), *sizes, y)


def _activation(writer: Writer, _: int, operation: Operation) -> None:
    assert operation.activation is not None
    x, y = writer.x_and_y(operation)
    writer.activate(operation.activation, x, writer.y_shape(operation), y)


def _softmax(writer: Writer, _: int, operation: Operation) -> None:
    x, y = writer.x_and_y(operation)
    writer.code.call("softmax", x, *_features_and_rows(writer.y_shape(operation)), y)


def _add(writer: Writer, _: int, operation: Operation) -> None:
    left, right = map(writer.place, operation.inputs)
    writer.code.call("add", left, right, math.prod(writer.y_shape(operation)), writer.place(operation.output))


def _concat(writer: Writer, _: int, operation: Operation) -> None:
    start = 0
    for value in operation.inputs:
        count = math.prod(writer.program.shapes[value])
        target = f"{writer.place(operation.output)} + {start}"
        writer.code.calls.append(f"memcpy({target}, {writer.place(value)}, {count} * sizeof(float));")
        start += count


def _reshape(_: Writer, __: int, ___: Operation) -> None:
    """Nothing moves: no row is padded."""


def _features_and_rows(shape: Shape) -> tuple[int, int]:
    return shape[-1], math.prod(shape[:-1])


_WRITERS: Mapping[str, Callable[[Writer, int, Operation], None]] = {
    "linear": _linear,
    "convolution": _convolution,
    "affine": _affine,
    "channel_affine": _affine,
    "layer_norm": _layer_norm,
    "activation": _activation,
    "softmax": _softmax,
    "reshape": _reshape,
    "add": _add,
    "concat": _concat,
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "adaptive_max_pool": _adaptive_pool,
    "adaptive_average_pool": _adaptive_pool,
}
