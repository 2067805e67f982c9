"""A layer of an ONNX graph as a packed one: a model file of one operation, and how much smaller it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.export.onnx.own_nodes import convolution_layer, linear_layer
from sparbor.onnx.layers import Found
from sparbor.packing.filters import pack_by_groups, real_rows
from sparbor.packing.quads import QuadLayer, pack_quads
from sparbor.packing.slots import Encoding, SparseLayer, pack
from sparbor.packing.whole_numbers import TooLargeSumError


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
        if found.window is None:
            return linear_layer(self.layer, found.activation)
        assert isinstance(self.layer, SparseLayer)
        return convolution_layer(self.layer, len(found.matrix), found.dimensions, found.window, found.activation)


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
