"""`from_onnx`: an ONNX model read, made a module of, compared with the original and deployed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, TensorProto, ValueInfoProto
from torch import Tensor

from sparbor.engine.runtime import Runtime
from sparbor.errors import SparborError
from sparbor.lower.deploy import deploy
from sparbor.lower.parity import RoundingError
from sparbor.lower.sizes import BATCH
from sparbor.onnx.comparing import difference
from sparbor.onnx.reading import read
from sparbor.onnx_import.examples import by_name, called_by, example_of, inputs_of
from sparbor.onnx_import.module import OnnxModule
from sparbor.onnx_import.names import identifier
from sparbor.onnx_import.node import Array
from sparbor.onnx_import.values import as_tensor
from sparbor.program.byte_input import ByteInput
from sparbor.progress import shown, tell

Sizes = Mapping[str, Mapping[int, str]]

# How far answers may be from the original's, of the largest one: sums are in another order; half precision rounds; what
# has whole numbers of 8 bits within is computed without their rounding.
_ALIKE, _ALIKE_OF_HALVES, _ALIKE_OF_BYTES = 1e-3, 0.05, 0.25
_OTHER_PLACES = 0.01  # of whole numbers that may be others: the largest of two that are nearly equal, say


@shown("deploy")
def from_onnx(
    model: ModelProto | str | os.PathLike[str],
    example: Any = None,
    *,
    threads: int = 1,
    weights: str = "word16",
    calibration: Iterable[Any] | None = None,
    byte_input: ByteInput | None = None,
    dynamic_shapes: Mapping[str, Mapping[int, str]] | None = None,
) -> Runtime:
    """Deploy an ONNX model of any framework on the engine, and compare its answers with the original's.

    Inputs and outputs keep their names, but for what is no identifier in those of inputs; numbers of half and of
    double precision become float32. A dimension that has no number in the file may be of any size, if the engine can
    run that; otherwise the batch alone, or none. A layer of which most weights are zero is stored sparse.

    Args:
        model: an ONNX model or its file.
        example: what it may be called with: an array or a tensor, several in the order of the inputs, or by their
            names. Without it, numbers are made up.
        threads: how many one call may use, from 1 to 256.
        weights: how they are stored, as `deploy` has it: `"word16"`, `"exact"`, `"int8"` or `"auto"`.
        calibration: batches of inputs, each of them what an example is, for convolutions of 8 bits.
        byte_input: with it the runtime takes raw uint8 images too, and normalises them as it says.
        dynamic_shapes: the dimensions that may be of any size, by the names of inputs, where the file does not say so
            or says too much.

    Raises:
        ArgumentError: it is no ONNX model, has operators that cannot run (all are named), does not run on the example,
            or `deploy` refuses what is asked for.
        SparborError: the answers are not the original's.

    >>> import numpy as np, onnx, sparbor
    >>> from onnx.helper import *
    >>> weight = onnx.numpy_helper.from_array(np.eye(8, dtype=np.float32), "w")
    >>> ports = [make_tensor_value_info(name, 1, ["rows", 8]) for name in "xy"]
    >>> graph = make_graph([make_node("MatMul", ["x", "w"], ["y"])], "g", ports[:1], ports[1:], [weight])
    >>> runtime = sparbor.from_onnx(make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8))
    >>> runtime.signature()
    'x float32 (batch, 8) -> y float32 (batch, 8)'
    """
    tell("reads the ONNX model")
    original = read(model)
    ports = inputs_of(original)
    called = called_by(ports)
    module = OnnxModule(original, called).eval()
    arrays, expected = example_of(original, ports, example)
    tensors = _tensors(arrays, called)
    _compare(original, module, tensors, expected)
    options: dict[str, Any] = {"threads": threads, "weights": weights, "byte_input": byte_input}
    if calibration is not None:
        options["calibration"] = [_tensors(by_name(ports, batch), called) for batch in calibration]
    guesses = _guesses(ports, called)
    if dynamic_shapes is not None:
        guesses = [{called.get(name, name): sizes for name, sizes in dynamic_shapes.items()}]
    refused: SparborError | None = None
    for sizes in guesses:
        try:
            return deploy(module, tensors, dynamic_shapes=sizes, **options)
        except RoundingError:  # which other sizes do not change
            raise
        except SparborError as error:
            refused = error
    assert refused is not None
    raise refused


def _tensors(arrays: Mapping[str, Array], called: Mapping[str, str]) -> dict[str, Tensor]:
    """Arrays by the names of inputs as tensors by those of arguments, in the types that the engine computes in."""
    return {called[name]: torch.clone(as_tensor(array)) for name, array in arrays.items()}


def _compare(original: ModelProto, module: OnnxModule, tensors: Mapping[str, Tensor], expected: Sequence[Any]) -> None:
    """Raise if the module answers otherwise than the original. That the engine answers as the module, `deploy` sees."""
    with torch.no_grad():
        found = module(**tensors)
    within = _within(original)
    for port, wanted in zip(original.graph.output, expected, strict=True):
        if port.name in found and isinstance(wanted, np.ndarray):
            far = _distance(wanted, found[port.name].numpy(), within)
            if not far <= within:
                raise SparborError(
                    f"output {port.name!r} would be {far:.2g} of its largest number away from the original's, for"
                    " inputs that were made up or given: pass an example that the model is made for, or report it"
                )


def _distance(wanted: Any, found: Any, within: float) -> float:
    if wanted.shape != found.shape:
        return float("inf")
    if not np.issubdtype(wanted.dtype, np.floating):
        others = float(np.mean(wanted != found)) if wanted.size else 0.0
        return 0.0 if others <= max(_OTHER_PLACES, within) else others
    finite = np.isfinite(wanted)
    return difference(np.where(finite, wanted, 0).astype(np.float64), np.where(finite, found, 0).astype(np.float64))


def _within(model: ModelProto) -> float:
    kinds = {node.op_type for node in model.graph.node}
    if kinds & {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}:
        return _ALIKE_OF_BYTES
    types = {each.data_type for each in model.graph.initializer}
    types |= {each.type.tensor_type.elem_type for each in model.graph.input}
    halves = {TensorProto.FLOAT16, TensorProto.BFLOAT16}
    casts = {each.i for node in model.graph.node if node.op_type == "Cast" for each in node.attribute}
    return _ALIKE_OF_HALVES if halves & (types | casts) else _ALIKE


def _guesses(ports: Sequence[ValueInfoProto], called: Mapping[str, str]) -> list[Sizes]:
    """What may be of any size, the boldest guess first: all that the file says, the batch, nothing.

    Exporters may call the batch of each input otherwise, so that all first dimensions are taken for it, too.
    """
    every = {called[name]: sizes for name, sizes in _named_sizes(ports).items()}
    one = {name: {axis: size if axis else BATCH for axis, size in sizes.items()} for name, sizes in every.items()}
    batches = ({name: _only_batch(sizes) for name, sizes in each.items()} for each in (every, one))
    guesses: list[Sizes] = [
        {name: sizes for name, sizes in each.items() if sizes} for each in (every, one, *batches, {})
    ]
    return [each for number, each in enumerate(guesses) if each not in guesses[:number]]


def _only_batch(sizes: Mapping[int, str]) -> dict[int, str]:
    return {axis: size for axis, size in sizes.items() if size == BATCH}


def _named_sizes(ports: Sequence[ValueInfoProto]) -> dict[str, dict[int, str]]:
    """By input, the dimensions without a number, by names that are identifiers.

    The batch is the first dimension of the first input that has none, and what is called the same: other inputs' first
    dimensions. What is called so elsewhere too is no batch.
    """
    given = {port.name: list(_unknown(port)) for port in ports}
    first = next((label for sizes in given.values() for axis, label in sizes if axis == 0), None)
    elsewhere = {label for sizes in given.values() for axis, label in sizes if axis > 0}
    names = {} if first is None or first in elsewhere else {first: BATCH}
    for label in (label for sizes in given.values() for _, label in sizes):
        if label not in names:
            names[label] = identifier(label, set(names.values()))
    return {name: {axis: names[label] for axis, label in sizes} for name, sizes in given.items()}


def _unknown(port: ValueInfoProto) -> Iterator[tuple[int, str]]:
    """The dimensions without a number, and what they are called; those without a name by the input's and their place.

    So are those that are computed of others, which a name cannot say.
    """
    for axis, size in enumerate(port.type.tensor_type.shape.dim):
        if not size.dim_value:
            yield axis, size.dim_param if re.fullmatch(r"[\w.:/-]+", size.dim_param) else f"{port.name}_{axis}"
