"""Whether a packed model answers as the original does, on inputs that are made up or given."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from sparbor.errors import ArgumentError, first_line
from sparbor.onnx.scopes import Array
from sparbor.onnx.writing import MOST_BYTES

MADE_UP = 4  # of a dimension that may be of any size
_WHOLE = 2  # token ids, kinds of tokens and places below this are likely to be there


def inputs_like(model: ModelProto, made_up: int = MADE_UP) -> dict[str, Array]:
    """Something for each input: normal numbers, small whole ones, masks that hide nothing.

    Dimensions behind the first that may be of any size have ``made_up`` numbers.
    """
    random = np.random.default_rng(0)
    constants = {each.name for each in model.graph.initializer}
    found: dict[str, Array] = {}
    for port in model.graph.input:
        if port.name in constants:
            continue
        kind = port.type.tensor_type
        shape = [each.dim_value or (made_up if axis else MADE_UP) for axis, each in enumerate(kind.shape.dim)]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if "mask" in port.name.lower() or dtype == np.bool_:
            found[port.name] = np.ones(shape, dtype)
        elif np.issubdtype(dtype, np.floating):
            found[port.name] = random.standard_normal(shape).astype(dtype)
        else:
            found[port.name] = random.integers(0, _WHOLE, shape).astype(dtype)
    return found


def largest_difference(original: ModelProto, packed: ModelProto, inputs: Mapping[str, Any] | None) -> float | str:
    """How far the packed model's answers are from the original's, of the largest one; or why that is not known.

    Raises:
        ArgumentError: the inputs given are not the original's.
    """
    if find_spec("onnxruntime") is None:
        return "onnxruntime is not installed"
    from sparbor.onnxruntime import missing

    if original.ByteSize() > MOST_BYTES:
        return "with its weights in one piece the original is larger than ONNX Runtime reads"
    try:
        given = inputs_like(original) if inputs is None else inputs
        expected = answers(original, given)
    except Exception as error:  # of a runtime that we know nothing of
        if inputs is not None:
            raise ArgumentError(f"the original does not run on the inputs: {first_line(error)}") from error
        return f"the original does not run on inputs that were made up: {first_line(error)}"
    if (reason := missing()) is not None:  # behind the original's answers: inputs that are not its own are refused
        return reason
    found = answers(packed, given, ours=True)
    return max((difference(one, two) for one, two in zip(expected, found, strict=True)), default=0.0)


def answers(model: ModelProto, inputs: Mapping[str, Any], ours: bool = False) -> list[Any]:
    """What ONNX Runtime computes, with our operators or without them."""
    found: list[Any] = session_of(model, ours).run(None, dict(inputs))
    return found


def session_of(model: ModelProto, ours: bool = False, threads: int = 0) -> Any:
    """ONNX Runtime's session, with our operators or without them; 0 ``threads`` are as many as it likes."""
    import onnxruntime

    from sparbor.onnxruntime import library_path

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what fails is raised
    if ours:
        options.register_custom_ops_library(library_path())
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def difference(expected: Any, found: Any) -> float:
    """How far an answer is from the expected one, of the largest number of that."""
    if not isinstance(expected, np.ndarray) or not np.issubdtype(expected.dtype, np.floating):
        return 0.0  # a class, a sequence or a map, which rounding may change as a whole
    if expected.shape != found.shape:
        return float("inf")
    largest = float(np.abs(expected).max(initial=0))
    far = float(np.abs(expected - found).max(initial=0))
    return far / largest if largest else far
