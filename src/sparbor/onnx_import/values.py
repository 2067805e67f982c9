"""What flows between nodes: tensors, and host values, of which shapes are computed.

In ONNX shapes are computed by nodes like everything else. Traced by torch.export, a size is a symbol and no number, so
that what is computed of sizes is held as a NumPy array: of numbers, or of Python objects among which are symbols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper
from torch import Tensor

from sparbor.onnx_import.node import Array, Node, Value

# What the engine computes in, for each type that ONNX has and the engine has not.
_NARROWED: Mapping[str, Any] = {
    **dict.fromkeys(("float16", "bfloat16", "float64"), np.dtype(np.float32)),
    **dict.fromkeys(("int16", "uint16"), np.dtype(np.int32)),
    **dict.fromkeys(("uint32", "uint64"), np.dtype(np.int64)),
    "int4": np.dtype(np.int8),
    "uint4": np.dtype(np.uint8),
}
_KNOWN = {np.dtype(each) for each in (np.float32, np.int64, np.int32, np.uint8, np.int8, np.bool_)}
SYMBOLS = (torch.SymInt, torch.SymFloat, torch.SymBool)


def narrowed(array: Array) -> Array:
    """The array in a type that the engine computes in; one of symbols as it is."""
    wanted = _NARROWED.get(array.dtype.name)
    return array if wanted is None else array.astype(wanted)


def torch_type(node: Node, onnx_type: int) -> torch.dtype:
    """The type that the engine has for one of ONNX's."""
    name = TensorProto.DataType.Name(onnx_type)
    if onnx_type == TensorProto.STRING or name.startswith(("FLOAT4", "FLOAT8", "COMPLEX")):
        node.refuse(f"makes numbers of type {name.lower()}, which the engine has not")
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(onnx_type))
    return torch.from_numpy(np.zeros(0, _NARROWED.get(dtype.name, dtype))).dtype


def is_known_type(dtype: Any) -> bool:
    """Whether an array of this type can be a tensor of ours, narrowed if need be."""
    return dtype.name in _NARROWED or dtype in _KNOWN


def has_symbols(array: Array) -> bool:
    """Whether some of its numbers are known only when the model runs."""
    return array.dtype == object


def host(values: Any) -> Array:
    """Numbers, symbols among them or not, as a host value."""
    made = np.array(values, object)
    flat = made.ravel().tolist()
    if any(isinstance(each, SYMBOLS) for each in flat):
        return made
    if all(isinstance(each, (bool, np.bool_)) for each in flat) and flat:
        return made.astype(np.bool_)
    if any(isinstance(each, (float, np.floating)) for each in flat):
        return made.astype(np.float32)
    return made.astype(np.int64)


def as_tensor(value: Value) -> Tensor:
    """The value as a tensor."""
    if isinstance(value, Tensor):
        return value
    if not has_symbols(value):
        return torch.from_numpy(np.array(narrowed(value)))
    flat = [_as_scalar(each) for each in value.ravel().tolist()]
    return (torch.stack(flat) if value.ndim else flat[0]).reshape(value.shape)


def _as_scalar(number: Any) -> Tensor:
    is_float = isinstance(number, (float, torch.SymFloat))
    return torch.scalar_tensor(number, dtype=torch.float32 if is_float else torch.int64)


def tensors(*values: Value) -> list[Tensor]:
    """Each value as a tensor."""
    return [as_tensor(each) for each in values]


def tensors_if_given(*values: Value | None) -> list[Any]:
    """Each value as a tensor; those that are left out stay so."""
    return [None if each is None else as_tensor(each) for each in values]


def numbers(node: Node, value: Value | None, what: str) -> list[Any]:
    """The numbers of a host value, symbols among them; refuses what is computed of the numbers of inputs."""
    if isinstance(value, Tensor):
        node.refuse(f"has {what} that depend on the numbers of an input, and not on its sizes alone")
    return [] if value is None else list(value.ravel().tolist())


def fixed_numbers(node: Node, value: Value | None, what: str) -> list[Any]:
    """The numbers of a host value; refuses those that depend on an input's sizes too."""
    found = numbers(node, value, what)
    if any(isinstance(each, SYMBOLS) for each in found):
        node.refuse(f"has {what} that depend on the sizes of an input")
    return found


def number(node: Node, value: Value | None, what: str, otherwise: Any = None) -> Any:
    """The one number of a host value; the other one if it is left out."""
    found = numbers(node, value, what)
    return found[0] if found else otherwise


def scalar_or_tensor(value: Value) -> Any:
    """A host value of one number without dimensions as a Python number, all else as a tensor."""
    if isinstance(value, np.ndarray) and value.ndim == 0 and not has_symbols(value):
        return narrowed(value).item()
    return as_tensor(value)


def places_backwards(size: int, start: int, end: int, step: int) -> list[int]:
    """The places of a slice with a negative step: one that starts before the first place starts there."""
    first = min(max(start + size if start < 0 else start, 0), size - 1)
    return list(range(first, max(end + size if end < 0 else end, -1), step))


def whole_of(number: Any) -> Any:
    """The number without what stands behind its point; of a symbol, a symbol."""
    return torch.sym_int(number)  # type: ignore[no-untyped-call]


def least_of(one: Any, other: Any) -> Any:
    """The lesser of two numbers or symbols."""
    return torch.sym_min(one, other)  # type: ignore[no-untyped-call]


def most_of(one: Any, other: Any) -> Any:
    """The larger of two numbers or symbols."""
    return torch.sym_max(one, other)  # type: ignore[no-untyped-call]


def axes_of(axes: Sequence[int], rank: int) -> list[int]:
    """Axes, counted from the front."""
    return [int(axis) % rank if rank else 0 for axis in axes]
