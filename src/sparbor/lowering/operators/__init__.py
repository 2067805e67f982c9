"""PyTorch's operators, by name, and what each appends to a graph."""

from __future__ import annotations

from collections.abc import Mapping

from sparbor.lowering.graph import Operator
from sparbor.lowering.operators import activations, arithmetic, convolutions, linear, norms, pools, shapes

OPERATORS: Mapping[str, Operator] = {
    **linear.OPERATORS,
    **convolutions.OPERATORS,
    **pools.OPERATORS,
    **norms.OPERATORS,
    **activations.OPERATORS,
    **arithmetic.OPERATORS,
    **shapes.OPERATORS,
}
