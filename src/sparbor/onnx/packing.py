"""A layer of an ONNX graph as a packed one: a model file of one operation, and how much smaller it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.onnx.layers import Found
from sparbor.packing.filters import pack_by_groups, real_rows
from sparbor.packing.quads import QuadLayer, pack_quads
from sparbor.packing.slots import Encoding, SparseLayer, pack
from sparbor.packing.whole_numbers import TooLargeSumError
from sparbor.program.model_file import to_bytes
from sparbor.program.program import Dimension, Operation, Port, Program, ValueType, plus
from sparbor.program.windows import Window

_LAYER = "weight"


@dataclass(frozen=True)
class PackedLayer:
    """What a node of ours computes with."""

    found: Found
    layer: SparseLayer | QuadLayer
    note: str = ""

    @property
    def places(self) -> int:
        """How many weights are multiplied with, those that fill up slots or quads among them."""
        return self.layer.padding.size

    @property
    def error(self) -> float:
        """How far the stored weights are from the real ones, by the Euclidean norm."""
        stored = self.layer.unpack()[0][real_rows(len(self.found.matrix), _groups(self.found))]
        size = float(np.linalg.norm(self.found.matrix))
        return float(np.linalg.norm(stored - self.found.matrix)) / size if size else 0.0

    @cached_property
    def content(self) -> bytes:
        """The model file."""
        found = self.found
        window = found.window
        if window is None:
            shapes: tuple[tuple[Dimension, ...], ...] = (("rows", self.layer.fan_in), ("rows", len(found.matrix)))
            kind, sizes = "linear", dict[str, int]()
        else:
            shapes, sizes = _planes(found, window)
            kind = "convolution"
        program = Program(
            tuple(ValueType("f32", shape) for shape in shapes),
            (Port("x", 0),),
            (Port("y", 1),),
            (Operation(kind, (0,), 1, _LAYER, found.activation, window),),
            {_LAYER: self.layer},
            sizes=sizes,
        )
        return to_bytes(program)


def packed(found: Found, weights: Encoding) -> PackedLayer:
    """The layer, its weights stored in that way; a convolution's have 16 bits where linear ones have 8.

    Raises:
        ArgumentError: it cannot be packed.
    """
    mask = found.matrix != 0
    if not np.isfinite(found.matrix).all():
        raise ArgumentError("some of its weights are NaN or infinite")
    if weights is Encoding.INT8 and found.window is None:
        try:
            return PackedLayer(found, pack_quads(found.matrix, mask, found.bias))
        except TooLargeSumError as error:
            layer = pack(found.matrix, mask, found.bias, Encoding.WORD16)
            return PackedLayer(found, layer, f"16 bits: {error.fault}")
    slots = Encoding.WORD16 if weights is Encoding.INT8 else weights
    note = "16 bits, as convolutions of floats have" if weights is Encoding.INT8 else ""
    return PackedLayer(found, pack_by_groups(found.matrix, mask, found.bias, _groups(found), slots), note)


def _groups(found: Found) -> int:
    return 1 if found.window is None else found.window.groups


def _planes(found: Found, window: Window) -> tuple[tuple[tuple[Dimension, ...], ...], dict[str, int]]:
    """The shapes of a convolution's input and output, and the least sizes that it can have."""
    channels = found.matrix.shape[1] // (window.kernel[0] * window.kernel[1]) * window.groups
    sides: tuple[Dimension, ...] = ("height", "width")[-found.dimensions :]
    made, least = list[Dimension](), dict[str, int]()
    for axis in range(2 - found.dimensions, 2):
        name = str(sides[axis - 2 + found.dimensions])
        reach = window.dilation[axis] * (window.kernel[axis] - 1)
        more = window.padding[axis] + window.padding[axis + 2] - reach
        made.append(_over(_padded(name, more), window.stride[axis]))
        least[name] = max(1, 1 - more)
    return (("batch", channels, *sides), ("batch", len(found.matrix), *made)), least


def _padded(size: str, more: int) -> Dimension:
    return ("-", size, -more) if more < 0 else plus(size, more)


def _over(size: Dimension, stride: int) -> Dimension:
    """How many places a window of 1 has on so many, at such steps."""
    return size if stride == 1 else ("+", ("//", ("-", size, 1), stride), 1)
