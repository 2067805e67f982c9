"""A program as a standard ONNX file, float32 and dense: `docs/onnx.md` says what it holds."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from importlib.metadata import version

import numpy as np
import onnx
from onnx import helper

from sparbor.errors import ArgumentError
from sparbor.export.onnx.activations import add_activation
from sparbor.export.onnx.convolutions import add_convolution
from sparbor.export.onnx.graph import OUTPUT, OnnxGraph
from sparbor.export.onnx.pools import add_adaptive_average, add_adaptive_max, add_average_pool, add_max_pool
from sparbor.files import write_file
from sparbor.packing.dense_weights import DenseWeights
from sparbor.packing.slots import SparseLayer
from sparbor.program.program import Affine, Normalisation, Operation, Program

OPSET = 17  # the first with LayerNormalization; ONNX Runtime reads it from 1.12 on
IR_VERSION = 8  # of the same release of ONNX: the package would write its newest, which older runtimes refuse
MOST_WEIGHTS = (2**31 - 2**20) // 4  # a file has at most 2 GiB, some of it for what is not weights


def export_onnx(program: Program, path: str | os.PathLike[str], name: str = "model") -> None:
    """Write a program, which is ``runtime.program``, as an ONNX file; an older file stays until the new one is whole.

    The file's input is ``input``, float32 of shape (batch, item...) with any batch, its output ``output``. Layers are
    dense, with zeros where there is no synapse. A program that takes bytes as well takes floats here, and the file's
    metadata have ``byte_input``: the mean and std that make floats of bytes.

    Args:
        program: what to export.
        path: the file.
        name: the name of the ONNX graph.

    Raises:
        ArgumentError: an operation is none that ONNX has, or the dense weights are beyond the 2 GiB of such a file.
        OutputError: the file cannot be written.

    >>> import tempfile
    >>> from sparbor.packing.dense_weights import pack_dense
    >>> layers = {"fc": pack_dense(np.ones((2, 3), np.float32))}
    >>> program = Program(((3,), (2,)), 0, 1, (Operation("linear", (0,), 1, "fc"),), layers)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_onnx(program, f"{folder}/model.onnx")
    ...     [node.op_type for node in onnx.load(f"{folder}/model.onnx").graph.node]
    ['Gemm']
    """
    write_file(path, to_onnx(program, name).SerializeToString())


def to_onnx(program: Program, name: str = "model") -> onnx.ModelProto:
    """The program as an ONNX model, checked; as `export_onnx`, which writes it."""
    _check_size(program)
    graph = OnnxGraph(program)
    for operation in program.operations:
        _add_operation(graph, operation)
    if program.output == program.input:
        graph.node("Identity", [graph.name_of(program.input)], OUTPUT)
    model = helper.make_model(
        graph.proto(name),
        producer_name="sparbor",
        producer_version=version("sparbor"),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    if program.byte_input is not None:
        helper.set_model_props(model, {"byte_input": json.dumps(dataclasses.asdict(program.byte_input))})
    onnx.checker.check_model(model, full_check=True)
    return model


def _check_size(program: Program) -> None:
    """Before they are decoded: sparse layers of a small file may be huge ones without zeros."""
    weights = sum(layer.outputs * layer.fan_in for layer in program.layers.values() if not isinstance(layer, Affine))
    if weights > MOST_WEIGHTS:
        raise ArgumentError(
            f"the model has {weights:,} weights with its zeros, and an ONNX file at most {MOST_WEIGHTS:,}: "
            "export a smaller one, or stay with Sparbor's own file"
        )


def _add_operation(graph: OnnxGraph, operation: Operation) -> None:
    """What the operation does, and the activation behind it."""
    if operation.kind not in _OPERATIONS:
        raise ArgumentError(
            f"operation {operation.kind!r} cannot be exported to ONNX: this Sparbor knows no nodes for it"
        )
    y, activation = graph.name_of(operation.output), operation.activation
    if activation is None or operation.kind == "activation":
        _OPERATIONS[operation.kind](graph, operation, y)
        return
    _OPERATIONS[operation.kind](graph, operation, f"{y}/inactive")
    add_activation(graph, activation, f"{y}/inactive", y)


def _linear(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Gemm for one row an item; it takes no more, so that several are a product and a sum."""
    layer = graph.program.layers[str(operation.layer)]
    assert isinstance(layer, SparseLayer | DenseWeights)
    x, weight = graph.name_of(operation.inputs[0]), layer.unpack()[0]
    bias = [] if layer.bias is None else [graph.constant(f"{operation.layer}/bias", layer.bias)]
    if len(graph.program.shapes[operation.output]) == 1:
        graph.node("Gemm", [x, graph.constant(f"{operation.layer}/weight", weight), *bias], y, transB=1)
        return
    turned = graph.constant(f"{operation.layer}/weight_transposed", np.ascontiguousarray(weight.T))
    product = graph.node("MatMul", [x, turned], None if bias else y)
    if bias:
        graph.node("Add", [product, *bias], y)


def _affine(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """Along the last dimension, or along the channels, the first."""
    layer = _affine_layer(graph, operation)
    ones = 0 if operation.kind == "affine" else len(graph.program.shapes[operation.output]) - 1
    shape = (-1, *[1] * ones)
    scale = graph.constant(f"{operation.layer}/scale", layer.scale.reshape(shape))
    scaled = graph.node("Mul", [graph.name_of(operation.inputs[0]), scale])
    graph.node("Add", [scaled, graph.constant(f"{operation.layer}/shift", layer.shift.reshape(shape))], y)


def _layer_norm(graph: OnnxGraph, operation: Operation, y: str) -> None:
    assert isinstance(operation.settings, Normalisation)
    if operation.layer is None:
        names = [graph.constant(f"{y}/ones", np.ones(graph.program.shapes[operation.output][-1], np.float32))]
    else:
        layer = _affine_layer(graph, operation)
        parts = {"scale": layer.scale, "shift": layer.shift}
        names = [graph.constant(f"{operation.layer}/{part}", array) for part, array in parts.items()]
    x = graph.name_of(operation.inputs[0])
    graph.node("LayerNormalization", [x, *names], y, axis=-1, epsilon=operation.settings.epsilon)


def _affine_layer(graph: OnnxGraph, operation: Operation) -> Affine:
    layer = graph.program.layers[str(operation.layer)]
    assert isinstance(layer, Affine)
    return layer


def _activation(graph: OnnxGraph, operation: Operation, y: str) -> None:
    assert operation.activation is not None
    add_activation(graph, operation.activation, graph.name_of(operation.inputs[0]), y)


def _softmax(graph: OnnxGraph, operation: Operation, y: str) -> None:
    graph.node("Softmax", [graph.name_of(operation.inputs[0])], y, axis=-1)


def _reshape(graph: OnnxGraph, operation: Operation, y: str) -> None:
    """A 0 stands for the size that is there: the batch."""
    shape = graph.integers(f"{y}/shape", [0, *graph.program.shapes[operation.output]])
    graph.node("Reshape", [graph.name_of(operation.inputs[0]), shape], y)


def _add(graph: OnnxGraph, operation: Operation, y: str) -> None:
    graph.node("Add", [graph.name_of(value) for value in operation.inputs], y)


def _concat(graph: OnnxGraph, operation: Operation, y: str) -> None:
    graph.node("Concat", [graph.name_of(value) for value in operation.inputs], y, axis=1)


_OPERATIONS: Mapping[str, Callable[[OnnxGraph, Operation, str], None]] = {
    "linear": _linear,
    "convolution": add_convolution,
    "affine": _affine,
    "channel_affine": _affine,
    "layer_norm": _layer_norm,
    "activation": _activation,
    "softmax": _softmax,
    "reshape": _reshape,
    "add": _add,
    "concat": _concat,
    "max_pool": add_max_pool,
    "average_pool": add_average_pool,
    "adaptive_max_pool": add_adaptive_max,
    "adaptive_average_pool": add_adaptive_average,
}
