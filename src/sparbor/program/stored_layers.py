"""A layer as a model file has it: what the graph says of it, and its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sparbor.packing.dense_weights import DenseLayer, DenseWeights
from sparbor.packing.filters import Filters
from sparbor.packing.quads import QuadLayer
from sparbor.packing.slots import Encoding, SlotLayout, SparseLayer
from sparbor.packing.tables import Table
from sparbor.program.program import Array, ConstantArray, ScaleShift, Weights

_DENSE: Mapping[str, type[DenseLayer | Filters | Table]] = {"dense": DenseLayer, "filters": Filters, "table": Table}


def layer_to_json(layer: Weights) -> dict[str, Any]:
    """What the graph says of a layer, beside its tensors."""
    if isinstance(layer, ScaleShift):
        return {"kind": "scale_shift"}
    if isinstance(layer, ConstantArray):
        return {"kind": "array"}
    kinds = {DenseLayer: "dense", SparseLayer: "sparse", QuadLayer: "sparse", Filters: "filters", Table: "table"}
    return {
        "kind": kinds[type(layer)],
        "outputs": layer.outputs,
        "fan_in": layer.fan_in,
        "weights": stored_as(layer),
    }


def stored_as(layer: SparseLayer | QuadLayer | DenseWeights) -> str:
    """What model files call how its weights are stored."""
    if isinstance(layer, DenseWeights) and layer.encoding is Encoding.WORD16:
        return "halves"
    return layer.encoding.value


def layer_from_file(entry: Mapping[str, Any], arrays: Mapping[str, Array]) -> Weights:
    """The layer; raises KeyError or ValueError where it is of another structure. Numbers are the engine's to check."""
    kind = entry["kind"]
    if kind == "scale_shift":
        return ScaleShift(_floats(arrays["scale"]), _floats(arrays["shift"]))
    if kind == "array":
        return ConstantArray(arrays["values"])
    outputs, fan_in, exact = entry["outputs"], entry["fan_in"], entry["weights"] == "exact"
    bias, scale = (None if name not in arrays else _floats(arrays[name]) for name in ("bias", "scale"))
    if kind == "sparse" and entry["weights"] == Encoding.INT8.value:
        return _quads(outputs, fan_in, arrays)
    if kind == "sparse":
        layout = SlotLayout(**{part: _typed(arrays[part], np.uint16) for part in SlotLayout.__dataclass_fields__})
        words = None if exact else _typed(arrays["words"], np.uint16)
        weights = _floats(arrays["weights"]) if exact else None
        indices = _typed(arrays["indices"], np.uint8) if exact else None
        return SparseLayer(outputs, fan_in, layout, words, weights, indices, scale, bias)
    stored = _DENSE[kind]
    if exact:
        return stored(outputs, fan_in, _floats(arrays[stored.exact_part]), scale, bias)
    if entry["weights"] == Encoding.INT8.value:
        return stored(outputs, fan_in, _typed(arrays["weights"], np.int8), scale, bias)
    return stored(outputs, fan_in, _typed(arrays["halves"], np.uint16).view(np.float16), scale, bias)


def _quads(outputs: int, fan_in: int, arrays: Mapping[str, Array]) -> QuadLayer:
    parts = ("runs_per_group", "run_quads", "run_branches", "branches")
    layout = SlotLayout(*(_typed(arrays[part], np.uint16) for part in parts))
    indices, weights = _typed(arrays["indices"], np.uint8), _typed(arrays["weights"], np.int8)
    bias = _floats(arrays["bias"]) if "bias" in arrays else None
    return QuadLayer(outputs, fan_in, layout, indices, weights, _floats(arrays["scale"]), bias)


def _floats(array: Array) -> Any:
    return _typed(array, np.float32)


def _typed(array: Array, dtype: type[np.generic]) -> Any:
    if array.dtype != dtype:
        raise ValueError(f"an array is {array.dtype}, not {np.dtype(dtype)}")
    return array
