"""All of ONNX's operators that become PyTorch's, by their names."""

from __future__ import annotations

from collections.abc import Mapping

from sparbor.onnx_import import (
    attention,
    classical,
    elementwise,
    indexing,
    layers,
    norms,
    pools,
    quantized,
    reductions,
    resizing,
    shapes,
)
from sparbor.onnx_import.node import Operator
from sparbor.onnx_import.recurrent import RECURRENT

_FAMILIES = (elementwise, reductions, shapes, indexing, layers, pools, norms, attention, resizing, quantized, classical)

OPERATORS: Mapping[str, Operator] = {name: each for family in _FAMILIES for name, each in family.OPERATORS.items()}


def is_known(kind: str) -> bool:
    """Whether a node of this kind can run; constants and branches are done with before."""
    return kind in OPERATORS or kind in RECURRENT or kind in ("Constant", "If")
