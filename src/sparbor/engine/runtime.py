"""Runs a program on the native engine; needs NumPy, not torch."""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from sparbor import native
from sparbor.engine.arguments import (
    NOT_ENOUGH_MEMORY,
    Port,
    by_port,
    cannot_run,
    checked_inputs,
    checked_output,
    common_kind,
    is_tensor,
)
from sparbor.engine.quantization_report import QuantizationReport
from sparbor.errors import ArgumentError, ModelFileError
from sparbor.packing.slots import PackedSynapses
from sparbor.packing.tables import Table
from sparbor.program import model_file
from sparbor.program.program import Matrix, Operation, Program, is_matrix, stored_bytes
from sparbor.program.stored_layers import stored_as
from sparbor.program.windows import Window

if TYPE_CHECKING:
    import torch

    ArrayOrTensor = TypeVar("ArrayOrTensor", npt.NDArray[np.float32], torch.Tensor)

_FULL = 0.999  # from this density on nothing was dropped: a weight may be zero by chance
_LOOKS = 16  # calls with floats, that those which only warm up are not all that is looked at


def kernel_sets() -> list[str]:
    """The kernel sets that this machine can run, best first."""
    return list(native.kernel_sets())


def load(path: str | os.PathLike[str], threads: int = 1) -> Runtime:
    """Read a model that `Runtime.save` wrote, ready to run. It needs NumPy and safetensors only.

    Everything the file says is checked before it is believed, so that files nobody trusts can be loaded.

    Args:
        path: the file.
        threads: how many threads one call may use, from 1 to 256, the caller's among them.

    Raises:
        ModelFileError: the file cannot be read, is damaged, or is of a later version.
        ArgumentError: `threads` is no number from 1 to 256 or more than the system starts, or SPARBOR_ISA names a
            kernel set that this machine cannot run.
        EngineMissingError: the native engine is not built into this installation.
    """
    native.kernel_sets()  # a missing engine is the first thing to hear of
    with model_file.opened(path) as file:  # read part by part, so that weights are in memory once
        return _made(file, threads, os.fspath(path))


def _unpickled(content: bytes, threads: int) -> Runtime:
    """What `Runtime.__reduce__` took apart; the content is checked as that of a file is."""
    native.kernel_sets()
    return _made(content, threads, "the pickled runtime")


def _made(content: bytes | BinaryIO, threads: int, source: object) -> Runtime:
    try:
        return Runtime(content, threads).watched()
    except ModelFileError as error:
        raise ModelFileError(f"{source}: {error}") from None


@dataclass(frozen=True)
class LayerReport:
    """What a layer is stored as: `kind` and `weights`; and whether it `runs` sparse or dense here.

    `kind` is "sparse", "dense" or, of an embedding, "table". `note` is what was said of it when it was deployed.
    """

    name: str
    outputs: int
    fan_in: int
    kind: str
    weights: str
    runs: str
    active: int
    bytes: int
    note: str = ""

    @property
    def density(self) -> float:
        return self.active / (self.outputs * self.fan_in)

    @property
    def why(self) -> str:
        """Why it is not sparse in the file or does not run sparse here, and what its bits cost; or empty."""
        return "; ".join(filter(None, (self._why_dense, self.note)))

    @property
    def _why_dense(self) -> str:
        if self.kind == "table":
            return "an embedding: rows are looked up"
        if self.kind == "sparse":
            return "" if self.runs == "sparse" else "at this density dense kernels are faster here"
        return "no weight is zero" if self.density > _FULL else "sparse it would take more bytes"


class Runtime(native.Model):
    """A model on the native engine; made by `deploy` and `load`. `y = runtime(x)`, or `runtime(x, out=y)`.

    `x` is a C-contiguous float32 NumPy array or CPU tensor of shape (batch, *input_shape), with any batch
    from 1; the result is float32, of the same kind and of shape (batch, *output_shape), written to `out` if
    that is given. A model deployed with a `ByteInput` takes uint8 as well, and normalises it; float32 it takes as
    normalised already, and warns once if the first calls show that it is not. The interpreter lock is released
    while it runs, or kept for microseconds if one thread makes all calls, and several threads may call one runtime at
    once. Copies and pickles of a runtime are models of their own, with as many threads.

    A model with several inputs takes them by position or by name, `runtime(ids=…, mask=…)`; one with several outputs
    returns a dictionary by their names. `inputs` and `outputs` say what each is; a dimension with a name, such as
    `batch`, may be of any size, which is the same wherever the name is.

    Each layer runs sparse or dense, whichever is faster on this machine for the sizes of the call. After its first
    call with some sizes, a call with `out` allocates nothing: plans of the last sizes and the memory that the largest
    call needed are kept until the runtime goes, once for each of the most calls, up to 64, that have run at once.

    Attributes:
        inputs: name, type and shape of each input.
        outputs: the same of each output.
        threads: how many one call may use.
        isa: the kernel set that it runs on, such as `"avx512"`.
        program: what it runs, for the exporters.
        quantization: where it was deployed with calibration inputs, how far 8 bits move its answers to them, and which
            layers have them; otherwise `None`.

    Raises:
        ArgumentError: a call with an array of another type or shape, or with one that the engine cannot read; an input
            is missing, unknown or given twice; two inputs contradict each other. The message says what to pass.
    """

    def __init__(self, program: Program | bytes | BinaryIO, threads: int = 1, *, as_stored: bool = False) -> None:
        """A program, what its model file holds, or that file, opened.

        With `as_stored` no sparse layer runs dense, to measure both.
        """
        if not isinstance(threads, int) or not 1 <= threads <= 256:
            raise ArgumentError(f"threads={threads!r}: it must be a whole number from 1 to 256")
        content = model_file.to_bytes(program) if isinstance(program, Program) else program
        try:
            super().__init__(content, native.choose_kernel_set(), threads, as_stored)
        except native.RefusedError as error:
            fault, remedy = error.args
            if not isinstance(program, Program):
                raise ModelFileError(f"{fault}; {remedy}") from None
            raise ArgumentError(fault) from None
        except RuntimeError as error:
            raise ArgumentError(f"threads={threads}: {error}; use fewer") from None
        self._looks = 0
        self.quantization: QuantizationReport | None = None
        self.inputs = [Port(*port) for port in self.input_ports]
        self.outputs = [Port(*port) for port in self.output_ports]

    @cached_property
    def program(self) -> Program:
        """What it runs, for the exporters; its arrays are those that the engine reads."""
        return model_file.program_of(self.graph, self.tensors())

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one item, without the batch, of a model with one input whose other dimensions are numbers."""
        return self.program.item(self.program.input)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """That of its answer."""
        return self.program.item(self.program.output)

    def watched(self) -> Runtime:
        """Itself, which from now on warns of raw pixel values as floats, if the model takes bytes as well."""
        if self.takes_bytes:
            self._looks = _LOOKS
            self.look_at_floats(True)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (model_file.to_bytes(self.program), self.threads)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one safetensors file that `sparbor.load` reads.

        Raises OutputError if it cannot be written; what was there then stays.
        """
        model_file.save(self.program, path)

    def describe(self) -> list[LayerReport]:
        """What each layer is stored as, and how it runs for sizes of 1, in order of use."""
        reports = {}
        ways = self.ways_at()
        for operation in self.program.operations:
            layer = self.program.layers[operation.layer] if operation.layer is not None else None
            if operation.layer is None or not is_matrix(layer):
                continue
            outputs, fan_in = self._real_sizes(operation, layer)
            reports[operation.layer] = LayerReport(
                operation.layer,
                outputs,
                fan_in,
                "sparse" if isinstance(layer, PackedSynapses) else "table" if isinstance(layer, Table) else "dense",
                stored_as(layer),
                ways[operation.layer],
                layer.active,
                stored_bytes(layer),
                self.program.notes.get(operation.layer, ""),
            )
        return list(reports.values())

    def _real_sizes(self, operation: Operation, layer: Matrix) -> tuple[int, int]:
        """Outputs and inputs of a layer, without what only fills groups of neurons or rows of a kernel up."""
        if not isinstance(operation.settings, Window):
            return layer.outputs, layer.fan_in
        values, window = self.program.values, operation.settings
        outputs, channels = (values[value].shape[1] for value in (operation.output, operation.inputs[0]))
        if not (isinstance(outputs, int) and isinstance(channels, int)):  # each call says how many are real
            return layer.outputs, layer.fan_in
        return outputs, channels // window.groups * math.prod(window.kernel)

    def ways_at(self, batch: int = 1) -> dict[str, str]:
        """Whether each layer runs sparse or dense for so many items; other named sizes are those of the example."""
        sizes = self.program.sizes
        ways = self.ways([batch if name == "batch" else sizes.get(name, 1) for name in self.size_names])
        layers = self.program.layers
        return {name: way for name, way in ways.items() if is_matrix(layers[name])}

    def signature(self) -> str:
        """What it takes and returns."""
        inputs, outputs = (", ".join(port.in_words() for port in ports) for ports in (self.inputs, self.outputs))
        return f"{inputs} -> {outputs}"

    def __repr__(self) -> str:
        size = f"{len(self.describe())} layers, {self.program.weight_bytes} bytes"
        byte_input = self.program.byte_input
        takes = "" if byte_input is None else f", takes {byte_input.in_words()}"
        return f"Runtime({self.signature()}, {size}, {self.isa} kernels, {self.threads} threads{takes})"

    def _checked_call(self, /, *given: Any, out: Any = None, **by_name: Any) -> Any:
        """Calls that are not with plain arrays come here: tensors, inputs by name, and mistakes."""
        if len(self.inputs) == 1 and len(given) == 2 and out is None:
            x, out = given
            given = (x,)
        inputs = by_port(self.inputs, given, by_name, [self.inputs[number].name for number, _ in self.states])
        arrays, sizes = checked_inputs(inputs, self.inputs, self.program.byte_input)
        tensors = common_kind(inputs)
        result = None if out is None else self._checked_out(out, sizes, next(iter(inputs.values())))
        if self._looks and arrays[0].dtype == np.float32:
            self._look(arrays[0])
        try:
            computed = self.run_checked(arrays, result)
        except ArgumentError:  # of memory
            raise
        except ValueError as error:
            raise cannot_run(sizes, error) from None
        if out is not None:
            return out
        return answers(computed if isinstance(computed, tuple) else (computed,), self.outputs, tensors)

    def _checked_out(self, out: Any, sizes: dict[str, int], x: Any) -> npt.NDArray[Any]:
        if len(self.outputs) != 1:
            raise ArgumentError(f"out is given, and the model has {len(self.outputs)} outputs: call it without out")
        result = checked_output(out, self.outputs[0], sizes)
        if is_tensor(x) != is_tensor(out):
            raise ArgumentError(f"x is a {type(x).__name__} and out a {type(out).__name__}: pass two of a kind")
        return result

    def _look(self, x: npt.NDArray[np.float32]) -> None:
        """Warn of floats that are no normalised images, once; and look at no more of them after a few calls."""
        byte_input = self.program.byte_input
        assert byte_input is not None  # or nobody looks
        doubt = byte_input.doubt(float(x.min()), float(x.max()))
        self._looks = max(0, self._looks - 1) if doubt is None else 0
        if self._looks == 0:
            self.look_at_floats(False)  # never back: calls of other threads may be on their way
        if doubt is not None:
            warnings.warn(doubt, stacklevel=3)

    def _out_of_memory(self, x: npt.NDArray[np.float32]) -> NoReturn:
        if len(self.inputs) > 1 or x.ndim == 0:
            raise ArgumentError(NOT_ENOUGH_MEMORY)
        raise ArgumentError(f"x has {len(x):,} items, for which this machine's memory is too small: pass fewer at once")


def answers(computed: Sequence[npt.NDArray[Any]], outputs: Sequence[Port], as_tensors: bool) -> Any:
    """One array, or several by the outputs' names; as tensors if those were given."""
    made = list(map(sys.modules["torch"].from_numpy, computed)) if as_tensors else list(computed)
    return made[0] if len(outputs) == 1 else dict(zip((port.name for port in outputs), made, strict=True))
