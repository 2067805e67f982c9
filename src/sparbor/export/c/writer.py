"""A program's operations as calls of C functions, and their layers as constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sparbor.errors import ArgumentError
from sparbor.export.c.code import Code
from sparbor.export.c.constants import literal
from sparbor.export.c.identifiers import for_comment
from sparbor.export.c.memory import Memory
from sparbor.export.c.spans import spans
from sparbor.export.structure import check_structure
from sparbor.ops.activations import ACTIVATIONS, activation_in_c, activation_to_c
from sparbor.ops.table import OPERATORS
from sparbor.packing.dense_weights import DenseWeights
from sparbor.packing.quads import QuadLayer
from sparbor.packing.slots import Encoding, SparseLayer
from sparbor.program.program import Activation, Operation, Program, ScaleShift
from sparbor.program.windows import AverageWindow, Shape, Window, planes_of


def check_operations(program: Program) -> None:
    """Refuse, by name, what there is no C code for."""
    check_structure(program)
    there = {kind: operator for kind, operator in OPERATORS.items() if operator.to_c is not None}
    for operation in program.operations:
        if operation.kind not in there:
            raise ArgumentError(
                f"the program has the operation {operation.kind!r}, which the target c lacks; "
                f"it has: {', '.join(sorted(there))}"
            )
        _check_bytes(program, operation)
        activation = operation.activation
        known = [name for name, each in ACTIVATIONS.items() if each.in_c is not None]
        if activation is not None and activation.name not in known:
            raise ArgumentError(
                f"the program has the activation {activation.name!r}, which the target c lacks; "
                f"it has: {', '.join(sorted(known))}"
            )


def _check_bytes(program: Program, operation: Operation) -> None:
    """What bytes stand for is known to the operations on them alone."""
    if operation.kind not in ("quantize", "dequantize") and not operation.kind.startswith("quantized_"):
        for value in (*operation.inputs, operation.output):
            if program.values[value].type != "f32":
                raise ArgumentError(
                    f"the operation {operation.kind!r} has the value {value} of type {program.values[value].type}, of"
                    " which the target c takes quantized ones alone, and in operations on them: dequantize it before"
                )


class Writer(Code):
    """Appends operations to the code; a layer's constants are written once, however often it is used."""

    def __init__(self, program: Program, memory: Memory) -> None:
        super().__init__()
        self.program, self.memory = program, memory
        self._layers: dict[str, str] = {}
        self._row_scales: dict[str, str] = {}
        self._maps: dict[str, str] = {}

    def write(self, number: int, operation: Operation) -> None:
        """The call of an operation, and of the activation that follows it."""
        layer = f" {for_comment(operation.layer)}" if operation.layer else ""
        self.calls.append(f"/* {operation.kind}{layer}, to {' x '.join(map(str, self.y_shape(operation)))} */")
        operator = OPERATORS[operation.kind]
        assert operator.to_c is not None  # check_operations has looked
        operator.to_c(self, number, operation)
        in_floats = self.program.values[operation.output].type == "f32"  # of bytes it is part of the operation
        if operation.activation is not None and operator.activation == "maybe" and in_floats:
            y = self.place(operation.output)
            activation_to_c(self, operation.activation, y, math.prod(self.y_shape(operation)), y)

    def copy(self, source: str, target: str, count: int) -> None:
        """Copy so many numbers."""
        self.calls.append(f"memcpy({target}, {source}, {count} * sizeof(float));")

    def place(self, value: int) -> str:
        """The C expression of where a value lies."""
        return self.memory.places[value]

    def x_shape(self, operation: Operation) -> Shape:
        """Of the operation's first input."""
        return self.program.items[operation.inputs[0]]

    def y_shape(self, operation: Operation) -> Shape:
        """Of its output."""
        return self.program.items[operation.output]

    def x_and_y(self, operation: Operation) -> tuple[str, str]:
        """Where its first input and its output lie."""
        return self.place(operation.inputs[0]), self.place(operation.output)

    def number(self, value: float) -> str:
        """A number as C writes it."""
        return literal(value)

    def pairs(self, left_shape: Shape, right_shape: Shape, left: str, operator: str, right: str, y: str) -> None:
        """``y = left operator right``, number by number; a dimension of 1 is as if repeated."""
        loops = _loops(left_shape, right_shape)
        self.calls.append(f"{{ const float *a = {left}, *b = {right}; float *c = {y};")
        for depth, loop in enumerate(loops):
            i = f"i{depth}"
            self.calls.append("    " * (depth + 1) + f"for (size_t {i} = 0; {i} < {loop.count}; {i}++)")
        a, b, c = (_place([loop.steps[which] for loop in loops]) for which in range(3))
        self.calls.append("    " * (len(loops) + 1) + f"c[{c}] = a[{a}] {operator} b[{b}]; }}")

    def planes(self, number: int, operation: Operation) -> str:
        """A pointer to the sizes of an operation's planes."""
        x, y = planes_of(self.x_shape(operation)), planes_of(self.y_shape(operation))
        self.require("planes")
        return self.constants.structure("planes", f"planes{number}", [*x, y.height, y.width])

    def counted_places(self, number: int, operation: Operation, window: AverageWindow) -> list[str]:
        """Pointers to which places under an average pool's window count, down and across."""
        x, (top, left, bottom, right) = planes_of(self.x_shape(operation)), window.padding
        self.require("average_pool")
        axes, pointers = (("down", top, bottom, x.height), ("across", left, right, x.width)), []
        for axis, (name, before, after, size) in enumerate(axes):
            low, high = (-before, size + after) if window.include_padding else (0, size)
            fields = (window.kernel[axis], window.stride[axis], before, low, high)
            pointers.append(self.constants.structure("counted", f"counted_{name}{number}", fields))
        return pointers

    def weights(self, name: str) -> tuple[str, str]:
        """The kind of a layer's weights, such as `sparse_words`, and a pointer to them."""
        layer = self.program.layers[name]
        if isinstance(layer, SparseLayer):
            kind = "sparse_exact" if layer.words is None else "sparse_words"
        elif isinstance(layer, QuadLayer):
            return "sparse_int8", self.synapses(name)
        else:
            assert isinstance(layer, DenseWeights)
            if layer.encoding is Encoding.INT8:
                return "dense_int8", self.synapses(name)
            kind = "dense_exact" if layer.scale is None else "dense_halves"
        if name not in self._layers:
            constant = f"layer{len(self._layers)}"
            self.constants.definitions.append(f"/* {for_comment(name)}: {layer.outputs} x {layer.fan_in} */\n")
            fields: list[str | int] = [layer.outputs]
            parts = layer.arrays()
            fields += [self.constants.array(f"{constant}_{part}", parts[part]) for part in parts if part != "bias"]
            fields.append("NULL" if layer.bias is None else self.constants.array(f"{constant}_bias", layer.bias))
            self._layers[name] = self.constants.structure(kind, constant, fields)
        return kind, self._layers[name]

    def synapses(self, name: str) -> str:
        """A pointer to a layer's weights of 8 bits, without what their sums are multiplied by."""
        layer = self.program.layers[name]
        if name not in self._layers:
            constant = f"layer{len(self._layers)}"
            parts: tuple[str, ...] = ("weights",)
            kind = "dense_int8"
            if isinstance(layer, QuadLayer):
                parts = ("runs_per_group", "run_branches", "branches", "run_quads", "indices", "weights")
                kind = "sparse_int8"
            else:
                assert isinstance(layer, DenseWeights)
            self.constants.definitions.append(f"/* {for_comment(name)}: {layer.outputs} x {layer.fan_in} */\n")
            stored = layer.arrays()
            fields = [self.constants.array(f"{constant}_{part}", stored[part]) for part in parts]
            self._layers[name] = self.constants.structure(kind, constant, [layer.outputs, *fields])
        return self._layers[name]

    def row_scales(self, name: str) -> str:
        """A pointer to what the sums of such a layer's rows become outputs by."""
        layer = self.program.layers[name]
        assert isinstance(layer, QuadLayer | DenseWeights)
        assert layer.scale is not None
        constant = f"rows_of_{self.synapses(name).removeprefix('&')}"
        if constant not in self._row_scales:
            sums = layer.whole_sums().astype(np.int32)
            fields = [self.constants.array(f"{constant}_scale", layer.scale)]
            fields.append(self.constants.array(f"{constant}_sums", sums))
            fields.append("NULL" if layer.bias is None else self.constants.array(f"{constant}_bias", layer.bias))
            self._row_scales[constant] = self.constants.structure("row_scales", constant, fields)
        return self._row_scales[constant]

    def map_of(self, activation: Activation) -> str:
        """The name of a function that maps numbers where they are."""
        function, *arguments = activation_in_c(activation, self.number, "x", "count", "x")
        body = self.called(function, *arguments)
        if body not in self._maps:
            self._maps[body] = f"map{len(self._maps)}"
            head = f"static void {self._maps[body]}(float *x, size_t count)"
            self.constants.definitions.append(f"{head}\n{{\n    {body}\n}}\n")
        return self._maps[body]

    def array(self, name: str, values: npt.NDArray[Any]) -> str:
        """The name of a constant array."""
        return self.constants.array(name, values)

    def structure(self, kind: str, name: str, fields: Sequence[str | int]) -> str:
        """A pointer to a constant structure."""
        return self.constants.structure(kind, name, fields)

    def scale_and_shift(self, name: str) -> tuple[str, str]:
        """The names of a layer's scale and shift."""
        layer = self.program.layers[name]
        assert isinstance(layer, ScaleShift)
        if name not in self._layers:
            constant = self._layers[name] = f"layer{len(self._layers)}"
            self.constants.definitions.append(f"/* {for_comment(name)} */\n")
            for part, values in layer.arrays().items():
                self.constants.array(f"{constant}_{part}", values)
        return f"{self._layers[name]}_scale", f"{self._layers[name]}_shift"

    def window(self, number: int, operation: Operation, window: Window) -> str:
        """A pointer to the constants of a convolution or a pool."""
        x, y = planes_of(self.x_shape(operation)), planes_of(self.y_shape(operation))
        down, across = spans(window, x, y)
        self.require("window")
        pointers = self.constants.spans(f"down{number}", down), self.constants.spans(f"across{number}", across)
        return self.constants.structure("window", f"window{number}", [*x, *y, window.groups, *window.kernel, *pointers])


@dataclass(frozen=True)
class _Loop:
    """Over one or several dimensions: how often, and how far each of two values and their result go on each time."""

    count: int
    steps: tuple[int, int, int]


def _place(steps: list[int]) -> str:
    """A C expression: where loops that go on by these steps have come to."""
    return " + ".join(f"i{depth} * {step}" for depth, step in enumerate(steps) if step) or "0"


def _loops(left: Shape, right: Shape) -> list[_Loop]:
    """Nested loops over two values' numbers, the outermost first; dimensions that go on alike share one."""
    loops: list[_Loop] = []
    ends = [1, 1, 1]  # numbers of each that the dimensions seen so far have
    for a, b in zip(reversed(left), reversed(right), strict=True):
        count = max(a, b)
        if count == 1:
            continue
        steps = (0 if a == 1 else ends[0], 0 if b == 1 else ends[1], ends[2])
        inner = loops[-1] if loops else None
        if inner and all(step == inner.count * before for step, before in zip(steps, inner.steps, strict=True)):
            loops[-1] = _Loop(inner.count * count, inner.steps)
        else:
            loops.append(_Loop(count, steps))
        ends = [ends[0] * a, ends[1] * b, ends[2] * count]
    return loops[::-1]
