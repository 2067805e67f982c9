"""An ONNX graph under construction: values, nodes in order, and constants, each stored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from sparbor.program.program import Program
from sparbor.program.windows import Shape

INPUT, OUTPUT, BATCH = "input", "output", "batch"


@dataclass
class OnnxGraph:
    """What operations of a program are appended to. Values of the program are named by their number."""

    program: Program
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def name_of(self, value: int) -> str:
        """What a value of the program is called."""
        if value == self.program.input:
            return INPUT
        return OUTPUT if value == self.program.output else f"value_{value}"

    def node(self, kind: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        """Append a node with one output, whose name is returned."""
        output = output or f"node_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
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

    def proto(self, name: str) -> onnx.GraphProto:
        """The whole graph; the first dimension of its input and its output is any batch."""
        shapes, program = self.program.shapes, self.program
        initializers = [numpy_helper.from_array(array, constant) for constant, array in self.constants.items()]
        x, y = _float_value(INPUT, shapes[program.input]), _float_value(OUTPUT, shapes[program.output])
        return helper.make_graph(self.nodes, name, [x], [y], initializers)


def _float_value(name: str, item: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [BATCH, *item])
