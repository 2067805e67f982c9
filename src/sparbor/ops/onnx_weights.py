"""A layer's matrix as ONNX has it: float32, or whole numbers of 8 bits and the node that makes float32 of them.

Inputs stay float32: ONNX's DynamicQuantizeLinear has one range for all rows of a batch, and the engine one for each.
Whether they are rounded is up to the runtime: ONNX Runtime and OpenVINO do so, as finely as the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from sparbor.ops.targets import OnnxGraph
from sparbor.packing.dense_weights import DenseWeights
from sparbor.packing.quads import QuadLayer
from sparbor.packing.slots import Encoding, Floats, SparseLayer
from sparbor.program.program import Operation

Rows: TypeAlias = npt.NDArray[np.float32 | np.int8]


@dataclass(frozen=True)
class OnnxWeights:
    """The (outputs, fan_in) weights of a layer, or if there is a `scale` the whole numbers that it multiplies."""

    rows: Rows
    scale: Floats | None
    bias: Floats | None

    @classmethod
    def of(cls, graph: OnnxGraph, operation: Operation) -> OnnxWeights:
        """Those of an operation's layer."""
        layer = graph.program.layers[str(operation.layer)]
        if isinstance(layer, QuadLayer) or (isinstance(layer, DenseWeights) and layer.encoding is Encoding.INT8):
            return cls(layer.whole_weights(), layer.scale, layer.bias)
        assert isinstance(layer, SparseLayer | DenseWeights)
        return cls(layer.unpack()[0], None, layer.bias)

    def in_order(self, order: npt.NDArray[np.integer]) -> OnnxWeights:
        """The same with the neurons in another order."""
        scale, bias = (None if each is None else each[order] for each in (self.scale, self.bias))
        return OnnxWeights(self.rows[order], scale, bias)

    def constant(self, graph: OnnxGraph, name: str, rows: Rows, axis: int) -> str:
        """The name of the weights as float32, given in the shape they are to have; `axis` is that of the neurons."""
        constant = graph.constant(name, np.ascontiguousarray(rows))
        if self.scale is None:
            return constant
        return graph.node("DequantizeLinear", [constant, graph.constant(f"{name}_scale", self.scale)], axis=axis)
