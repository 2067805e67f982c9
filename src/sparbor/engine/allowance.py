"""What a program may ask of the machine: shapes cost a file nothing, so memory and work are tied to its weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sparbor.engine.buffers import rows_and_features
from sparbor.errors import ArgumentError
from sparbor.packing.filters import Filters
from sparbor.packing.slots import BRANCH, GROUP, SparseLayer
from sparbor.program.program import Affine, Operation, Program, stored_bytes
from sparbor.program.windows import Window, planes_of

_WORK, _WORK_PER_WEIGHT_BYTE = 2.0**38, 2.0**20  # multiply-adds: minutes, for a file of a few bytes
_MOST_TAP_PAIRS = 2**28  # of all convolutions' kernels together: their taps are compared in pairs


class AllowanceError(ArgumentError):
    """A program whose shapes ask for more than its weights make likely."""


def check_memory(program: Program, needed: int, what: str) -> None:
    """Raise AllowanceError if it needs more bytes than the program's weights allow for."""
    most = program.allowed_bytes
    if needed > most:
        raise AllowanceError(
            f"{what} needs {needed:,} bytes of workspace, and weights of {program.weight_bytes:,} bytes "
            f"allow for {most:,}"
        )


def check_demands(program: Program, buffers: Sequence[int]) -> None:
    """The same of all that is known before anything is allocated, and of the work of one item.

    `buffers` says for each value in which buffer it lies.
    """
    check_memory(program, _buffer_bytes(program, buffers), "one item")
    _check_convolutions(program)
    layouts = sum(_layout_bytes(program, each) for each in program.operations)
    check_memory(program, layouts, "what its layers are laid out in")
    work = sum(_work(program, each) for each in program.operations)
    most = _WORK + _WORK_PER_WEIGHT_BYTE * program.weight_bytes
    if work > most:
        raise AllowanceError(
            f"one item needs {work:.1e} multiply-adds, and weights of {program.weight_bytes:,} bytes "
            f"allow for {most:.1e}"
        )


def _buffer_bytes(program: Program, buffers: Sequence[int]) -> int:
    largest = dict.fromkeys(buffers, 0)
    for shape, buffer in zip(program.shapes, buffers, strict=True):
        rows, features = rows_and_features(shape)
        largest[buffer] = max(largest[buffer], 4 * rows * _row_stride(features))
    return sum(largest.values())


def _row_stride(features: int) -> int:
    """As the engine's: numbers from a row to the next."""
    whole = -(-features // BRANCH) * BRANCH
    return whole + BRANCH if whole % 256 == 0 else whole


def _check_convolutions(program: Program) -> None:
    """A kernel's taps are compared with each other when it is laid out."""
    windows = [each.settings for each in program.operations if each.kind == "convolution"]
    taps = [math.prod(window.kernel) for window in windows if isinstance(window, Window)]
    if (pairs := sum(count * count for count in taps)) > _MOST_TAP_PAIRS:
        raise AllowanceError(
            f"its convolutions' kernels, of up to {max(taps):,} taps, have {pairs:,} pairs of taps, more than "
            f"{_MOST_TAP_PAIRS:,}"
        )


def _layout_bytes(program: Program, operation: Operation) -> int:
    """A layer is laid out anew for each operation that uses it, and so is what a convolution's taps read."""
    if operation.kind not in ("linear", "convolution"):
        return 0
    layer = program.layers[str(operation.layer)]
    assert not isinstance(layer, Affine)
    copies = GROUP if isinstance(layer, Filters) else 1
    size = copies * stored_bytes(layer) + 16 * layer.outputs
    if not isinstance(operation.settings, Window):
        return size
    y, taps = planes_of(program.shapes[operation.output]), math.prod(operation.settings.kernel)
    gathers = taps * (2 * y.height + 1) if y.width < GROUP else 2048
    return size + 4 * layer.fan_in + 64 * taps + 80 * gathers


def _work(program: Program, operation: Operation) -> int:
    """Multiply-adds of one item, or numbers read or written, whichever are more."""
    x, y = program.shapes[operation.inputs[0]], program.shapes[operation.output]
    if operation.kind == "linear":
        return math.prod(x[:-1]) * _places(program, operation)
    if operation.kind == "convolution":
        return planes_of(y).pixels * _places(program, operation)
    if isinstance(operation.settings, Window):
        return math.prod(y) * math.prod(operation.settings.kernel)
    if operation.kind.startswith("adaptive"):
        source, target = planes_of(x), planes_of(y)
        under = (source.height // target.height + 2) * (source.width // target.width + 2)
        return math.prod(y) * under
    return math.prod(y) * len(operation.inputs)


def _places(program: Program, operation: Operation) -> int:
    """For weights, padding included."""
    layer = program.layers[str(operation.layer)]
    assert not isinstance(layer, Affine)
    return layer.topology.slots * GROUP if isinstance(layer, SparseLayer) else layer.outputs * layer.fan_in
