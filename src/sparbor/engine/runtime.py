"""Runs a program on the native engine; needs NumPy, not torch."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from sparbor import native
from sparbor.engine.allowance import AllowanceError, check_demands, check_memory
from sparbor.engine.buffers import is_free, plan_buffers, rows_and_features
from sparbor.engine.steps import add_step
from sparbor.errors import ArgumentError, ModelFileError
from sparbor.packing.slots import SparseLayer
from sparbor.program import model_file
from sparbor.program.program import Affine, Program, stored_bytes
from sparbor.program.windows import Shape

if TYPE_CHECKING:
    import torch

    ArrayOrTensor = TypeVar("ArrayOrTensor", npt.NDArray[np.float32], torch.Tensor)


def kernel_sets() -> list[str]:
    """The kernel sets that this machine can run, best first."""
    return list(native.kernel_sets())


def load(path: str | os.PathLike[str], threads: int = 1) -> Runtime:
    """The model of a file that `Runtime.save` wrote, ready to run on so many threads, the caller's among them.

    Raises:
        ModelFileError: the file cannot be read, is damaged, or is of a later version.
        ArgumentError: `threads` is no number from 1 to 256 or more than the system starts, or SPARBOR_ISA names a
            kernel set that this machine cannot run.
        EngineMissingError: the native engine is not built into this installation.
    """
    native.kernel_sets()  # a missing engine is the first thing to hear of
    program = model_file.load(path)
    try:
        return Runtime(program, threads)
    except AllowanceError as error:
        raise ModelFileError(f"{os.fspath(path)}: {error}; the file is damaged or was not written by Sparbor") from None


@dataclass(frozen=True)
class LayerReport:
    """What a layer was packed as."""

    name: str
    outputs: int
    fan_in: int
    kind: str
    precision: str
    active: int
    bytes: int

    @property
    def density(self) -> float:
        return self.active / (self.outputs * self.fan_in)


class Runtime(native.Model):
    """A model on the native engine: `runtime(x, out=None)`.

    `x` is a C-contiguous float32 NumPy array or CPU tensor of shape (batch, *input_shape), with any batch
    from 1; the result is float32, of the same kind and of shape (batch, *output_shape), written to `out` if
    that is given. A model deployed with a `ByteInput` takes uint8 as well, and normalises it. The interpreter
    lock is released while it runs, and several threads may call one runtime at once.

    After its first call at a batch size, a call with `out` allocates nothing: what the largest batch needed
    is kept until the runtime goes, once for each of the most calls, up to 64, that have run at once.
    """

    def __init__(self, program: Program, threads: int = 1) -> None:
        if not isinstance(threads, int) or not 1 <= threads <= 256:
            raise ArgumentError(f"threads={threads!r}: it must be a whole number from 1 to 256")
        self.program = program
        self.input_shape = program.shapes[program.input]
        self.output_shape = program.shapes[program.output]
        super().__init__(native.choose_kernel_set(), threads, list(self.input_shape), list(self.output_shape))
        buffers = plan_buffers(program)
        check_demands(program, buffers)
        for shape, buffer in zip(program.shapes, buffers, strict=True):
            self.add_value(buffer, *rows_and_features(shape))
        for operation in program.operations:
            stays = buffers[operation.inputs[0]] == buffers[operation.output] and is_free(operation, program)
            if not stays:
                add_step(self, program, operation)
        if program.byte_input is not None:
            self.set_byte_input(*program.byte_input.scale_and_shift())
        try:
            self.finish(program.input, program.output)
        except RuntimeError as error:
            raise ArgumentError(f"threads={threads}: {error}; use fewer") from None
        check_memory(program, self.item_bytes + self.scratch_bytes, "one item")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one safetensors file that `sparbor.load` reads.

        Raises OutputError if it cannot be written; what was there then stays.
        """
        model_file.save(self.program, path)

    def describe(self) -> list[LayerReport]:
        """What each layer was packed as, in order of use."""
        reports = {}
        for operation in self.program.operations:
            layer = self.program.layers[operation.layer] if operation.layer is not None else None
            if operation.layer is None or layer is None or isinstance(layer, Affine):
                continue
            convolves = operation.kind == "convolution"  # packed with rows that only fill groups of neurons
            reports[operation.layer] = LayerReport(
                operation.layer,
                self.program.shapes[operation.output][0] if convolves else layer.outputs,
                layer.fan_in,
                "sparse" if isinstance(layer, SparseLayer) else "dense",
                layer.precision.value,
                layer.active,
                stored_bytes(layer),
            )
        return list(reports.values())

    def __repr__(self) -> str:
        shapes = f"{self.input_shape} -> {self.output_shape}"
        size = f"{len(self.describe())} layers, {self.program.weight_bytes} bytes"
        return f"Runtime({shapes}, {size}, {self.isa} kernels, {self.threads} threads)"

    def _checked_call(self, *args: Any, **kwargs: Any) -> Any:
        """Calls that are not with two plain arrays come here: tensors, and mistakes."""
        x, out = _signature(*args, **kwargs)
        array = self._checked("x", x, self.input_shape)
        if len(array) == 0:
            raise ArgumentError("x is an empty batch: pass at least one item")
        result = None if out is None else self._checked("out", out, self.output_shape)
        if result is not None and len(result) != len(array):
            raise ArgumentError(f"out has {len(result)} items and x {len(array)}: they must be equal")
        if result is not None and not result.flags.writeable:
            raise ArgumentError("out is read-only: pass an array that can be written")
        if out is not None and _is_tensor(x) != _is_tensor(out):
            raise ArgumentError(f"x is a {type(x).__name__} and out a {type(out).__name__}: pass two of a kind")
        computed = self(array, out=result)
        if out is not None:
            return out
        return sys.modules["torch"].from_numpy(computed) if _is_tensor(x) else computed

    def _out_of_memory(self, x: npt.NDArray[np.float32]) -> NoReturn:
        needed = len(x) * (self.item_bytes + 4 * math.prod(self.output_shape)) + self.scratch_bytes
        raise ArgumentError(
            f"x has {len(x):,} items, which need {needed:,} bytes, more than this machine gives: pass fewer at once"
        )

    def _checked(self, name: str, given: Any, item: Shape) -> Any:
        array = _as_array(name, given)
        if name == "x" and array.dtype == np.uint8:
            self._check_takes_bytes(given)
        elif array.dtype != np.dtype(np.float32) or not array.dtype.isnative:
            also = " (or uint8)" if name == "x" and self.program.byte_input is not None else ""
            remedy = f"{name}.float()" if _is_tensor(given) else f'{name}.astype("float32")'
            raise ArgumentError(f"{name} is {given.dtype}: the engine takes float32{also}, pass {remedy}")
        if array.shape[1:] != item or array.ndim != len(item) + 1:
            expected = ", ".join(["batch", *map(str, item)])
            raise ArgumentError(f"{name} has shape {array.shape}: this model's is ({expected})")
        if not (array.flags.c_contiguous and array.flags.aligned):
            remedy = "x.contiguous() or np.ascontiguousarray(x)" if name == "x" else "a contiguous array"
            raise ArgumentError(f"{name} is not contiguous: pass {remedy}")
        return array

    def _check_takes_bytes(self, x: Any) -> None:
        if self.program.byte_input is None:
            raise ArgumentError(
                f"x is {x.dtype}, and this model takes float32: normalise it as for training, or deploy the model with "
                "byte_input=sparbor.ByteInput(mean, std) to run it on raw bytes"
            )


def _as_array(name: str, given: Any) -> npt.NDArray[np.generic]:
    """The numbers of a NumPy array or of a tensor on the CPU, where they are."""
    if isinstance(given, np.ndarray):
        return given.view(np.ndarray)
    if not _is_tensor(given):
        raise ArgumentError(f"{name} is a {type(given).__name__}: pass a NumPy array or a torch tensor")
    torch = sys.modules["torch"]
    if given.device.type != "cpu":
        raise ArgumentError(f"{name} is on {given.device}: the engine runs on the CPU, pass {name}.cpu()")
    if given.layout is not torch.strided:
        raise ArgumentError(f"{name} is {given.layout}: pass a strided tensor, such as {name}.to_dense()")
    if given.dtype == torch.bfloat16:  # NumPy has none
        raise ArgumentError(f"{name} is {given.dtype}: the engine takes float32, pass {name}.float()")
    array: npt.NDArray[np.generic] = given.detach().resolve_neg().numpy()
    return array


def _signature(x: Any, out: Any = None) -> tuple[Any, Any]:
    return x, out


def _is_tensor(x: Any) -> bool:
    torch = sys.modules.get("torch")  # whoever has a tensor has imported torch
    return torch is not None and isinstance(x, torch.Tensor)
