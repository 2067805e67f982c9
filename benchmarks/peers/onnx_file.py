"""A model as ONNX, for the rivals that read it: MatMul, Add, Relu, of the oldest version that all of them know."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from peers import Layer

OPSET, IR_VERSION = 13, 8


def write(layers: list[Layer], batch: int, file: Path) -> Path:
    """Write ``layers`` for a fixed ``batch``; the input is called ``x``, the output ``y``."""
    nodes, weights, value = [], [], "x"
    for index, layer in enumerate(layers):
        weights += [
            numpy_helper.from_array(np.ascontiguousarray(layer.weight.T), f"weight{index}"),
            numpy_helper.from_array(layer.bias, f"bias{index}"),
        ]
        steps = [("MatMul", [f"weight{index}"]), ("Add", [f"bias{index}"])] + ([("Relu", [])] if layer.relu else [])
        for step, operands in steps:
            result = f"{step.lower()}{index}"
            nodes.append(helper.make_node(step, [value, *operands], [result]))
            value = result
    nodes[-1].output[0] = "y"
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, layers[0].weight.shape[1]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, layers[-1].weight.shape[0]])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save(model, file)
    return file
