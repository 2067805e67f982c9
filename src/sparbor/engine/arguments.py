"""What a runtime is called with: refused with what to pass instead, or the numbers where they lie."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from sparbor.errors import ArgumentError
from sparbor.program.byte_input import ByteInput
from sparbor.program.program import Program
from sparbor.program.windows import Shape


def checked_input(given: Any, program: Program) -> npt.NDArray[Any]:
    """The numbers of `x`; a copy of them only if they lie where the engine cannot read them."""
    kind = _kind("x", given)
    if kind != "float32" and (kind != "uint8" or program.byte_input is None):
        raise ArgumentError(_type_fault(given, kind, program.byte_input))
    array = _numbers(given)
    _check_shape("x", array, program.shapes[program.input])
    if not array.flags.c_contiguous:
        raise ArgumentError("x is not contiguous: pass x.contiguous() or np.ascontiguousarray(x)")
    if len(array) == 0:
        raise ArgumentError("x is an empty batch: pass at least one item")
    return array if array.flags.aligned else array.copy()


def checked_output(given: Any, program: Program, items: int) -> npt.NDArray[Any]:
    """The numbers of `out`, which the answers to so many items can be written to."""
    kind, shape = _kind("out", given), program.shapes[program.output]
    remedy = f"torch.empty({(items, *shape)})" if is_tensor(given) else f'numpy.empty({(items, *shape)}, "float32")'
    if kind != "float32":
        raise ArgumentError(f"out is {given.dtype}: answers are float32, pass one made by {remedy}")
    array = _numbers(given)
    _check_shape("out", array, shape)
    if len(array) != items:
        raise ArgumentError(f"out has {len(array)} items and x {items}: they must be equal")
    flags = array.flags
    rules = {"contiguous": flags.c_contiguous, "aligned": flags.aligned, "writeable": flags.writeable}
    for rule, kept in rules.items():
        if not kept:
            raise ArgumentError(f"out is not {rule}: pass one made by {remedy}")
    return array


def is_tensor(given: Any) -> bool:
    torch = sys.modules.get("torch")  # whoever has a tensor has imported torch
    return torch is not None and isinstance(given, torch.Tensor)


def _kind(name: str, given: Any) -> str:
    """The name of the numbers' type, "float32" for those that the engine computes with."""
    if is_tensor(given):
        if given.device.type != "cpu":
            raise ArgumentError(f"{name} is on {given.device}: the engine runs on the CPU, pass {name}.cpu()")
        if given.layout is not sys.modules["torch"].strided:
            raise ArgumentError(f"{name} is {given.layout}: pass a strided tensor, such as {name}.to_dense()")
    elif not isinstance(given, np.ndarray):
        raise ArgumentError(f"{name} is a {type(given).__name__}: pass a NumPy array or a torch tensor")
    return str(given.dtype).removeprefix("torch.")


def _type_fault(x: Any, kind: str, byte_input: ByteInput | None) -> str:
    """What is said of numbers that are neither floats nor, where the model takes them, bytes."""
    to_float = "x.float()" if is_tensor(x) else 'x.astype("float32")'
    to_bytes = "x.to(torch.uint8)" if is_tensor(x) else 'x.astype("uint8")'
    if byte_input is not None:
        return (
            f"x is {x.dtype}, and this model takes raw pixel values, 0 to 255, as uint8: pass "
            f"{to_bytes}{' * 255' if kind == 'bool' else ''}. It takes float32 as normalised already: pass {to_float} "
            "only if it is"
        )
    if kind == "uint8":
        return (
            f"x is {x.dtype}, and this model takes float32: normalise it as for training, or deploy the model with "
            "byte_input=sparbor.ByteInput(mean, std) to run it on raw bytes"
        )
    if is_whole(kind):
        return (
            f"x is {x.dtype}, and the engine takes float32: put token ids through the model's embedding first; deploy "
            "with byte_input=sparbor.ByteInput(mean, std) to run on raw pixel values, as uint8; only other numbers are "
            f"for {to_float}"
        )
    return f"x is {x.dtype}: the engine takes float32, pass {to_float}"


def is_whole(kind: str) -> bool:
    """Whether a type of this name, PyTorch's or NumPy's, is of whole numbers or of truth values."""
    return kind.lstrip("<>").startswith(("i", "u", "bool"))


def _numbers(given: Any) -> npt.NDArray[Any]:
    if not is_tensor(given):
        return np.ndarray.view(given, np.ndarray)
    array: npt.NDArray[Any] = given.detach().resolve_neg().numpy()
    return array


def _check_shape(name: str, array: npt.NDArray[Any], item: Shape) -> None:
    if array.shape[1:] != item or array.ndim != len(item) + 1:
        expected = ", ".join(["batch", *map(str, item)])
        raise ArgumentError(f"{name} has shape {array.shape}: this model's is ({expected})")
