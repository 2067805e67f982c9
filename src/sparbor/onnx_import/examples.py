"""What an ONNX model is called with: made up, or given, as arrays for the original and as tensors for ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, ValueInfoProto
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from sparbor.errors import ArgumentError, first_line
from sparbor.onnx.comparing import MADE_UP, inputs_like, session_of
from sparbor.onnx_import.names import identifier
from sparbor.onnx_import.node import WAY_OUT, Array
from sparbor.onnx_import.values import is_known_type

# Of dimensions that may be of any size: what convolutions can work with is more than sequences need.
_SIZES = (MADE_UP, 32, 64, 224)


def inputs_of(model: ModelProto) -> list[ValueInfoProto]:
    """The inputs that a caller gives; raises ArgumentError if one is no tensor of numbers."""
    constants = {each.name for each in model.graph.initializer}
    found = [port for port in model.graph.input if port.name not in constants]
    for port in found:
        kind = port.type.tensor_type
        if not port.type.HasField("tensor_type") or not is_known_type(onnx_dtype(kind.elem_type)):
            what = "text" if kind.elem_type == onnx.TensorProto.STRING else "no tensor of numbers"
            raise ArgumentError(f"input {port.name!r} of the model is {what}, which the engine has not: {WAY_OUT}")
        if not kind.HasField("shape"):
            raise ArgumentError(
                f"input {port.name!r} of the model has no shape: give it one, as by onnx.helper.make_tensor_value_info"
            )
    if not found:
        raise ArgumentError("the model has no inputs: there is nothing to run")
    return found


def onnx_dtype(kind: int) -> Any:
    """NumPy's type for one of ONNX's."""
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)) if kind else np.dtype(object)


def called_by(ports: Sequence[ValueInfoProto]) -> dict[str, str]:
    """By the name of each input, its name as an argument of a call."""
    called: dict[str, str] = {}
    for port in ports:
        called[port.name] = identifier(port.name, called.values())
    return called


def example_of(model: ModelProto, ports: Sequence[ValueInfoProto], given: Any) -> tuple[dict[str, Array], list[Any]]:
    """An example as arrays by name, and what the original answers to it.

    Raises:
        ArgumentError: the example is not for these inputs, or the original does not run on it.
    """
    if given is not None:
        example = by_name(ports, given)
        try:
            return example, _answers(model, example)
        except Exception as error:  # of a runtime that we know nothing of
            raise ArgumentError(f"example: the original does not run on it: {first_line(error)}") from error
    reason: Exception | None = None
    for size in _SIZES:
        example = inputs_like(model, size)
        try:
            return example, _answers(model, example)
        except Exception as error:
            reason = reason or error
    assert reason is not None
    raise ArgumentError(
        f"the original does not run on inputs that were made up: {first_line(reason)}: pass an example"
    ) from reason


def by_name(ports: Sequence[ValueInfoProto], given: Any) -> dict[str, Array]:
    """What a model is given, in the order of its inputs or by their names, as arrays by name.

    Raises:
        ArgumentError: it is not for these inputs.
    """
    names = [port.name for port in ports]
    if isinstance(given, Mapping):
        called = {argument: name for name, argument in called_by(ports).items()}
        parts = {called.get(name, name): each for name, each in given.items()}
    else:
        listed = list(given) if isinstance(given, (tuple, list)) else [given]
        if len(listed) != len(names):
            raise ArgumentError(f"example has {len(listed)} parts, and the model the inputs {', '.join(names)}")
        parts = dict(zip(names, listed, strict=True))
    if set(parts) != set(names):
        raise ArgumentError(f"example has {', '.join(map(str, parts))}, and the model the inputs {', '.join(names)}")
    kinds = {port.name: onnx_dtype(port.type.tensor_type.elem_type) for port in ports}
    return {name: _array(parts[name]).astype(kinds[name]) for name in names}


def _array(given: Any) -> Array:
    return given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)


def _answers(model: ModelProto, inputs: Mapping[str, Array]) -> list[Any]:
    """By ONNX Runtime, or by onnx's own evaluator where that cannot load the model."""
    try:
        session = session_of(model)
    except Exception:  # it is not installed, or lacks an operator or a version of one
        return list(ReferenceEvaluator(model).run(None, dict(inputs)))
    return list(session.run(None, dict(inputs)))
