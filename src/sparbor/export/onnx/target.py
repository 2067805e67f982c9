"""A program as an ONNX file, of standard nodes or with ours for sparse layers: `docs/onnx.md` says what it holds."""

from __future__ import annotations

import dataclasses
import json
import os
from importlib.metadata import version

import onnx
from onnx import helper

from sparbor.errors import ArgumentError
from sparbor.export.onnx.graph import OnnxGraph
from sparbor.export.onnx.in_floats import in_floats
from sparbor.export.onnx.own_nodes import DOMAIN, VERSION, add_own_node
from sparbor.export.structure import check_structure
from sparbor.files import write_file
from sparbor.ops.activations import activation_to_onnx
from sparbor.ops.table import OPERATORS
from sparbor.packing.slots import Encoding
from sparbor.program.program import Operation, Program, is_matrix

OPSET = 17  # the first with LayerNormalization; ONNX Runtime reads it from 1.12 on
IR_VERSION = 8  # of the same release of ONNX: the package would write its newest, which older runtimes refuse
MOST_BYTES = 2**31 - 2**20  # a file has at most 2 GiB, some of it for what is not weights


def export_onnx(program: Program, path: str | os.PathLike[str], name: str = "model", sparse: bool = False) -> None:
    """Write a program, which is ``runtime.program``, as an ONNX file; an older file stays until the new one is whole.

    The file's input is ``input``, float32 of shape (batch, item...) with any batch, its output ``output``. Layers are
    dense, with zeros where there is no synapse; those of 8 bits stay so, and a node makes float32 of them. A program
    that takes bytes as well takes floats here, and the file's metadata have ``byte_input``: the mean and std that make
    floats of bytes.

    Args:
        program: what to export.
        path: the file.
        name: the name of the ONNX graph.
        sparse: sparse layers stay so, as nodes of ours, for which ONNX Runtime needs
            `sparbor.onnxruntime.library_path`.

    Raises:
        ArgumentError: the name is none, an operation is none that ONNX has, or the dense weights are beyond the 2 GiB
            of such a file.
        OutputError: the file cannot be written.

    >>> import tempfile
    >>> import numpy as np
    >>> from sparbor.packing.dense_weights import pack_dense
    >>> layers = {"fc": pack_dense(np.ones((2, 3), np.float32))}
    >>> program = Program.of_items([(3,), (2,)], 0, 1, (Operation("linear", (0,), 1, "fc"),), layers)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_onnx(program, f"{folder}/model.onnx")
    ...     [node.op_type for node in onnx.load(f"{folder}/model.onnx").graph.node]
    ['Gemm']
    """
    write_file(path, to_onnx(program, name, sparse).SerializeToString())


def to_onnx(program: Program, name: str = "model", sparse: bool = False) -> onnx.ModelProto:
    """The program as an ONNX model, checked; as `export_onnx`, which writes it."""
    if not (name and name.isprintable()):
        raise ArgumentError(f"name={name!r}: a graph's name is of printable characters; pass another with --name")
    check_structure(program)
    _check_size(program)
    graph = OnnxGraph(in_floats(program))
    for operation in graph.program.operations:
        if not (sparse and add_own_node(graph, operation)):
            _add_operation(graph, operation)
    graph.copy_outputs()
    graph.drop_unused()
    model = helper.make_model(
        graph.proto(name),
        producer_name="sparbor",
        producer_version=version("sparbor"),
        opset_imports=[helper.make_opsetid("", OPSET), *([helper.make_opsetid(DOMAIN, VERSION)] if sparse else [])],
        ir_version=IR_VERSION,
    )
    if program.byte_input is not None:
        helper.set_model_props(model, {"byte_input": json.dumps(dataclasses.asdict(program.byte_input))})
    onnx.checker.check_model(model, full_check=True)
    return model


def _check_size(program: Program) -> None:
    """Before they are decoded: sparse layers of a small file may be huge ones without zeros."""
    weights = sum(
        layer.outputs * layer.fan_in * (1 if layer.encoding is Encoding.INT8 else 4)
        for layer in program.layers.values()
        if is_matrix(layer)
    )
    if weights > MOST_BYTES:
        raise ArgumentError(
            f"the model's weights take {weights:,} bytes with its zeros, and those of an ONNX file at most"
            f" {MOST_BYTES:,}: export a smaller one, or stay with Sparbor's own file"
        )


def _add_operation(graph: OnnxGraph, operation: Operation) -> None:
    """What the operation does, and the activation behind it."""
    operator = OPERATORS.get(operation.kind)
    if operator is None or operator.to_onnx is None:
        raise ArgumentError(
            f"operation {operation.kind!r} cannot be exported to ONNX: this Sparbor knows no nodes for it"
        )
    y, activation = graph.name_of(operation.output), operation.activation
    if activation is None or operator.activation == "yes":
        operator.to_onnx(graph, operation, y)
        return
    operator.to_onnx(graph, operation, f"{y}/inactive")
    activation_to_onnx(graph, activation, f"{y}/inactive", y)
