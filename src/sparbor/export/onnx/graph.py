"""An ONNX graph under construction: values, nodes in order, and constants, each stored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from sparbor.program.program import DTYPES, Dimension, Dimensions, Port, Program

_COMPUTED = {"+": "Add", "-": "Sub", "*": "Mul", "//": "Div"}


@dataclass
class OnnxGraph:
    """What operations of a program are appended to. Values of the program are named by their number."""

    program: Program
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A value that comes in has its input's name, one that is computed and goes out its first output's."""
        ports = (*self.program.inputs, *self.program.outputs)
        self._sizes: dict[Dimension, str] = {}
        self._ports = {port.value: port.name for port in reversed(ports)}

    def name_of(self, value: int) -> str:
        """What a value of the program is called."""
        return self._ports.get(value, f"value_{value}")

    def node(
        self,
        kind: str,
        inputs: Sequence[str],
        output: str | None = None,
        *,
        more: Sequence[str] = (),
        **attributes: Any,
    ) -> str:
        """Append a node, the name of whose first output is returned; `more` are those of others, "" where unused."""
        output = output or f"node_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output, *more], output, **attributes))
        return output

    def constant(self, name: str, array: npt.NDArray[Any]) -> str:
        """The name of this constant. One with other numbers or another shape of the same name gets a number to it."""
        tried, count = name, 1
        while (known := self.constants.setdefault(tried, array)) is not array:
            if known.dtype == array.dtype and np.array_equal(known, array):
                break
            count += 1
            tried = f"{name}_{count}"
        return tried

    def scalar(self, name: str, number: float) -> str:
        """The name of a constant that is one float32."""
        return self.constant(name, np.array(number, np.float32))

    def integers(self, name: str, numbers: Sequence[int]) -> str:
        """The name of a constant list of whole numbers: sizes, axes, places."""
        return self.constant(name, np.array(numbers, np.int64))

    def whole(self, number: int) -> str:
        """The name of a constant that is one i64."""
        return self.constant(f"whole_{number}", np.array(number, np.int64))

    def size(self, dimension: Dimension) -> str:
        """The name of one i64: the size that this dimension has when the model runs."""
        if isinstance(dimension, int):
            return self.whole(dimension)
        if dimension not in self._sizes:
            self._sizes[dimension] = self._computed_size(dimension)
        return self._sizes[dimension]

    def _computed_size(self, dimension: Dimension) -> str:
        if isinstance(dimension, tuple):
            operator, *sizes = dimension
            return self.node(_COMPUTED[operator], [self.size(size) for size in sizes])
        for port in self.program.inputs:
            shape = self.program.values[port.value].shape
            if dimension in shape:
                sizes_of = self.node("Shape", [self.name_of(port.value)])
                return self.node("Gather", [sizes_of, self.whole(shape.index(dimension))])
        raise AssertionError(f"no input has the size {dimension}")  # which the engine has refused

    def shape(self, name: str, dimensions: Dimensions) -> str:
        """The name of a list of these sizes, which is a constant if they are numbers."""
        numbers = [each for each in dimensions if isinstance(each, int)]
        if len(numbers) == len(dimensions):
            return self.integers(name, numbers)
        axis = self.integers("first_axis", [0])
        return self.node("Concat", [self.node("Unsqueeze", [self.size(each), axis]) for each in dimensions], axis=0)

    def proto(self, name: str) -> onnx.GraphProto:
        """The whole graph; dimensions that are names stay names, others that are no numbers get none."""
        initializers = [numpy_helper.from_array(array, constant) for constant, array in self.constants.items()]
        inputs, outputs = (
            [self._described(port) for port in ports] for ports in (self.program.inputs, self.program.outputs)
        )
        return helper.make_graph(self.nodes, name, inputs, outputs, initializers)

    def copy_outputs(self) -> None:
        """An identity for each output that is an input, or a value that goes out by another name too."""
        for port in self.program.outputs:
            if (name := self.name_of(port.value)) != port.name:
                self.node("Identity", [name], port.name)

    def drop_unused(self) -> None:
        """Leave out nodes and constants that lead nowhere, such as a layer that its reader has in itself."""
        needed, kept = {port.name for port in self.program.outputs}, list[onnx.NodeProto]()
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: array for name, array in self.constants.items() if name in needed}

    def _described(self, port: Port) -> onnx.ValueInfoProto:
        value = self.program.values[port.value]
        shape = [each if isinstance(each, (int, str)) else None for each in value.shape]
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(DTYPES[value.type]))
        return helper.make_tensor_value_info(port.name, kind, shape)
