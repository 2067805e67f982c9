"""A layer's tensors in a model file: which there are, of which types and shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from sparbor.packing.dense_weights import DenseLayer
from sparbor.packing.file_checks import is_count, require
from sparbor.packing.filters import Filters
from sparbor.packing.slots import Precision, SparseLayer, Topology, not_finite
from sparbor.packing.sound_layers import check_dense, check_sparse
from sparbor.program.program import Affine, Array, Weights
from sparbor.program.windows import Shape


def layer_to_json(layer: Weights) -> dict[str, Any]:
    """What the graph says of a layer, beside its tensors."""
    if isinstance(layer, Affine):
        return {"kind": "affine"}
    kinds = {DenseLayer: "dense", SparseLayer: "sparse", Filters: "filters"}
    return {
        "kind": kinds[type(layer)],
        "outputs": layer.outputs,
        "fan_in": layer.fan_in,
        "precision": layer.precision.value,
    }


def layer_from_file(name: str, entry: dict[str, Any], arrays: dict[str, Array]) -> Weights:
    """The layer, everything about its arrays checked; `arrays` is emptied."""
    kind = entry["kind"]
    require(isinstance(kind, str) and kind in _READERS, f"layer {name!r} is of the unknown kind {kind!r}")
    layer = _READERS[kind](_Parts(name, entry, arrays))
    require(not arrays, f"layer {name!r} has the unknown arrays {sorted(arrays)}")
    part = not_finite(layer.arrays())
    require(part is None, f"layer {name!r}: {part} holds NaN or infinity")
    if isinstance(layer, SparseLayer):
        check_sparse(name, layer)
    elif not isinstance(layer, Affine):
        check_dense(name, layer)
    return layer


class _Parts:
    """A layer's arrays, each taken once, and what the graph says of it."""

    def __init__(self, name: str, entry: dict[str, Any], arrays: dict[str, Array]) -> None:
        self.name, self.entry, self.arrays = name, entry, arrays

    def size(self) -> tuple[int, int, Precision]:
        outputs, fan_in = self.entry["outputs"], self.entry["fan_in"]
        good = all(is_count(count) and count > 0 for count in (outputs, fan_in))
        require(good, f"layer {self.name!r} has {outputs!r} outputs of fan-in {fan_in!r}")
        return outputs, fan_in, Precision(self.entry["precision"])

    def take(self, part: str, dtype: type[np.generic], shape: Shape | None = None) -> Any:
        require(part in self.arrays, f"layer {self.name!r} has no {part}")
        array = self.arrays.pop(part)
        fault = f"layer {self.name!r}: {part}"
        require(array.dtype == dtype, f"{fault} is {array.dtype}, not {np.dtype(dtype)}")
        require(shape is None or array.shape == shape, f"{fault} has shape {array.shape}, not {shape}")
        return array

    def bias(self, outputs: int) -> Any:
        return self.take("bias", np.float32, (outputs,)) if "bias" in self.arrays else None


def _affine(parts: _Parts) -> Affine:
    scale = parts.take("scale", np.float32)
    require(scale.ndim == 1, f"layer {parts.name!r}: scale is not one row of numbers")
    return Affine(scale, parts.take("shift", np.float32, scale.shape))


def _dense(kind: type[DenseLayer | Filters], parts: _Parts) -> DenseLayer | Filters:
    outputs, fan_in, precision = parts.size()
    bias, shape = parts.bias(outputs), kind.stored_shape(outputs, fan_in)
    if precision is Precision.F32:
        return kind(outputs, fan_in, parts.take(kind.exact_part, np.float32, shape), None, bias)
    halves = parts.take("halves", np.uint16, shape).view(np.float16)
    return kind(outputs, fan_in, halves, parts.take("scale", np.float32, (outputs,)), bias)


def _sparse(parts: _Parts) -> SparseLayer:
    outputs, fan_in, precision = parts.size()
    bias = parts.bias(outputs)
    topology = Topology(*(parts.take(part, np.uint16) for part in Topology.__dataclass_fields__))
    if precision is Precision.F32:
        weights = parts.take("weights", np.float32)
        indices = parts.take("indices", np.uint8, weights.shape)
        return SparseLayer(outputs, fan_in, topology, None, weights, indices, None, bias)
    words = parts.take("words", np.uint16)
    return SparseLayer(outputs, fan_in, topology, words, None, None, parts.take("scale", np.float32, (outputs,)), bias)


_READERS: Mapping[str, Callable[[_Parts], Weights]] = {
    "affine": _affine,
    "dense": partial(_dense, DenseLayer),
    "sparse": _sparse,
    "filters": partial(_dense, Filters),
}
