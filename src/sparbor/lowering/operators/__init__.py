"""PyTorch's operators, by name: what each appends to a graph, and what becomes of neurons in it."""

from __future__ import annotations

from collections.abc import Mapping

from sparbor.lowering.graph import Operator
from sparbor.lowering.neurons import NeuronRule
from sparbor.lowering.operators import activations, arithmetic, convolutions, linear, norms, pools, shapes

_FAMILIES = (linear, convolutions, pools, norms, activations, arithmetic, shapes)

OPERATORS: Mapping[str, Operator] = {name: each for family in _FAMILIES for name, each in family.OPERATORS.items()}

NEURONS: Mapping[str, NeuronRule] = {name: each for family in _FAMILIES for name, each in family.NEURONS.items()}
