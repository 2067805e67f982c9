"""All operators that there are: the engine's by their kind, and PyTorch's by their names."""

from __future__ import annotations

from collections.abc import Mapping

from sparbor.ops import (
    activations,
    arithmetic,
    arrays,
    attention,
    comparisons,
    complex_numbers,
    convolutions,
    functions,
    gates,
    indexing,
    linear,
    matmul,
    norms,
    orders,
    padding,
    parts,
    pools,
    quantized,
    recurrent,
    reductions,
    resizing,
    shapes,
    updates,
    volumes,
)
from sparbor.ops.operator import Lowering, Operator

FAMILIES = (
    *(linear, convolutions, norms, activations, arithmetic, comparisons),
    *(reductions, arrays, indexing, updates, shapes, padding, pools, resizing, matmul, attention, recurrent),
    *(gates, volumes, parts, functions, orders, complex_numbers),
    quantized,
)

# By kind of operation, in the order of the engine's table.
OPERATORS: Mapping[str, Operator] = {each.kind: each for family in FAMILIES for each in family.OPERATORS}

# By PyTorch's names: what is appended for them; and what becomes of the neurons of the layer before in them, which is
# the name of a function in sparbor.lower.neurons.
LOWERINGS: Mapping[str, Lowering] = {name: each for family in FAMILIES for name, each in family.LOWERINGS.items()}
NEURONS: Mapping[str, str] = {name: each for family in FAMILIES for name, each in family.NEURONS.items()}


def is_known(name: str) -> bool:
    """Whether PyTorch's operator of this name can be lowered."""
    return name in LOWERINGS or name in shapes.PASS_THROUGH
