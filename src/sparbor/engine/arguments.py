"""What a runtime is called with: refused with what to pass instead, or the numbers where they lie."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sparbor.errors import ArgumentError
from sparbor.printable import printable
from sparbor.program.byte_input import ByteInput
from sparbor.program.program import DTYPES


class Port(NamedTuple):
    """An input or an output: a dimension is a number, or a name or an expression of names."""

    name: str
    type: str
    shape: tuple[int | str, ...]

    @property
    def dtype(self) -> str:
        """NumPy's and PyTorch's name of the type."""
        return DTYPES[self.type]

    def in_words(self) -> str:
        return f"{printable(self.name)} {self.dtype} ({', '.join(map(str, self.shape))}{',' * (len(self.shape) == 1)})"


def by_port(
    ports: Sequence[Port], given: tuple[Any, ...], by_name: Mapping[str, Any], states: Sequence[str] = ()
) -> dict[str, Any]:
    """What is given for each input, by position or by name. One input alone may be called `x`."""
    names = [port.name for port in ports]
    takes = f"this model takes {', '.join(names)}"
    if len(given) > len(names):
        raise ArgumentError(f"{len(given)} inputs are given without a name: {takes}")
    if len(names) == 1 and not given and list(by_name) == ["x"]:
        by_name = {names[0]: by_name["x"]}
    found = dict(zip(names, given, strict=False))
    for name in by_name:
        if name in found:
            raise ArgumentError(f"{name} is given twice, by its position and by its name: pass it once")
        if name not in names:
            raise ArgumentError(f"{name} is no input: {takes}")
    found |= by_name
    if missing := [name for name in names if name not in found]:
        if missing[0] in states:
            raise ArgumentError(
                f"{missing[0]} is missing: {takes}; it is a state, which sparbor.Session(runtime) remembers: call that,"
                " or pass it"
            )
        where = ", the one called out by its position" if "out" in missing else ""  # a name that says where answers go
        raise ArgumentError(f"{missing[0]} is missing: {takes}{where}")
    return {name: found[name] for name in names}


def checked_inputs(
    given: Mapping[str, Any], ports: Sequence[Port], byte_input: ByteInput | None
) -> tuple[list[npt.NDArray[Any]], dict[str, int]]:
    """The numbers of each input, and the sizes that their shapes name. Errors call the one input of a model `x`."""
    arrays: list[npt.NDArray[Any]] = []
    sizes: dict[str, tuple[int, str]] = {}
    for port in ports:
        name = "x" if len(ports) == 1 else port.name
        array = _checked_input(name, given[port.name], port, byte_input)
        for size, dimension in zip(array.shape, port.shape, strict=True):
            if isinstance(dimension, int):
                continue
            known, who = sizes.setdefault(dimension, (size, name))
            if known != size:
                raise ArgumentError(f"{name} has {dimension} {size} and {who} {known}: sizes of one name must be equal")
        arrays.append(array)
    return arrays, {name: size for name, (size, _) in sizes.items()}


def _checked_input(name: str, given: Any, port: Port, byte_input: ByteInput | None) -> npt.NDArray[Any]:
    """The numbers; a copy of them only if they lie where the engine cannot read them."""
    kind = _kind(name, given)
    if kind != port.dtype and (kind != "uint8" or byte_input is None):
        raise ArgumentError(_type_fault(name, given, kind, port, byte_input))
    array = _numbers(given)
    _check_shape(name, array, port.shape)
    if not array.flags.c_contiguous:
        raise ArgumentError(f"{name} is not contiguous: pass {name}.contiguous() or np.ascontiguousarray({name})")
    if 0 in array.shape:
        raise ArgumentError(f"{name} is an empty batch: pass at least one item")
    return array if array.flags.aligned else array.copy()


def checked_output(given: Any, port: Port, sizes: Mapping[str, int]) -> npt.NDArray[Any]:
    """The numbers of `out`, which the answer for these sizes can be written to."""
    kind = _kind("out", given)
    shape = tuple(sizes.get(each, each) if isinstance(each, str) else each for each in port.shape)
    remedy = f"torch.empty({shape})" if is_tensor(given) else f'numpy.empty({shape}, "{port.dtype}")'
    if kind != port.dtype:
        raise ArgumentError(f"out is {given.dtype}: answers are {port.dtype}, pass one made by {remedy}")
    array = _numbers(given)
    if len(port.shape) == array.ndim > 0 and array.shape[1:] == shape[1:] and array.shape[0] != shape[0]:
        raise ArgumentError(f"out has {len(array)} items and x {shape[0]}: they must be equal")
    if array.shape != shape:
        _check_shape("out", array, port.shape)
        raise ArgumentError(f"out has shape {array.shape}: for these inputs it is {shape}")
    flags = array.flags
    rules = {"contiguous": flags.c_contiguous, "aligned": flags.aligned, "writeable": flags.writeable}
    for rule, kept in rules.items():
        if not kept:
            raise ArgumentError(f"out is not {rule}: pass one made by {remedy}")
    return array


def common_kind(given: Mapping[str, Any]) -> bool:
    """Whether all of them are tensors; raises ArgumentError if only some are."""
    tensors = {is_tensor(each) for each in given.values()}
    if len(tensors) > 1:
        raise ArgumentError("some inputs are tensors and some NumPy arrays: pass all of one kind")
    return tensors.pop()


NOT_ENOUGH_MEMORY = "the call needs more memory than this machine gives: pass fewer items at once"


def cannot_run(sizes: Mapping[str, int], reason: object) -> ArgumentError:
    """What is said of inputs whose sizes the model's operations cannot have."""
    named = ", ".join(f"{name} {size}" for name, size in sizes.items())
    return ArgumentError(f"the model cannot run with {named}: {reason}")


def is_tensor(given: Any) -> bool:
    torch = sys.modules.get("torch")  # whoever has a tensor has imported torch
    return torch is not None and isinstance(given, torch.Tensor)


def _kind(name: str, given: Any) -> str:
    """The name of the numbers' type, such as "float32"."""
    if is_tensor(given):
        if given.device.type != "cpu":
            raise ArgumentError(f"{name} is on {given.device}: the engine runs on the CPU, pass {name}.cpu()")
        if given.layout is not sys.modules["torch"].strided:
            raise ArgumentError(f"{name} is {given.layout}: pass a strided tensor, such as {name}.to_dense()")
    elif not isinstance(given, np.ndarray):
        raise ArgumentError(f"{name} is a {type(given).__name__}: pass a NumPy array or a torch tensor")
    return str(given.dtype).removeprefix("torch.")


def _type_fault(name: str, x: Any, kind: str, port: Port, byte_input: ByteInput | None) -> str:
    """What is said of numbers that are neither what the model takes nor, where it takes them, bytes."""
    cast = f"{name}.to(torch.{{}})" if is_tensor(x) else f'{name}.astype("{{}}")'
    if port.dtype != "float32":
        return f"{name} is {x.dtype}: this model takes {port.dtype}, pass {cast.format(port.dtype)}"
    to_float = f"{name}.float()" if is_tensor(x) else cast.format("float32")
    if byte_input is not None:
        return (
            f"{name} is {x.dtype}, and this model takes raw pixel values, 0 to 255, as uint8: pass "
            f"{cast.format('uint8')}{' * 255' if kind == 'bool' else ''}. It takes float32 as normalised already: pass "
            f"{to_float} only if it is"
        )
    if kind == "uint8":
        return (
            f"{name} is {x.dtype}, and this model takes float32: normalise it as for training, or deploy the model "
            "with byte_input=sparbor.ByteInput(mean, std) to run it on raw bytes"
        )
    if kind.lstrip("<>").startswith(("i", "u", "bool")):  # of whole numbers or of truth values
        return (
            f"{name} is {x.dtype}, and this model takes float32: for token ids deploy the model with its embedding; "
            "deploy with byte_input=sparbor.ByteInput(mean, std) to run on raw pixel values, as uint8; only other "
            f"numbers are for {to_float}"
        )
    return f"{name} is {x.dtype}: this model takes float32, pass {to_float}"


def _numbers(given: Any) -> npt.NDArray[Any]:
    if not is_tensor(given):
        return np.ndarray.view(given, np.ndarray)
    array: npt.NDArray[Any] = given.detach().resolve_neg().numpy()
    return array


def _check_shape(name: str, array: npt.NDArray[Any], shape: tuple[int | str, ...]) -> None:
    fits = array.ndim == len(shape) and all(
        isinstance(wanted, str) or size == wanted for size, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        expected = ", ".join(map(str, shape))
        raise ArgumentError(f"{name} has shape {array.shape}: this model's is ({expected})")
