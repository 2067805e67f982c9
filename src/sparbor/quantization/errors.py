"""How far 8 bits move what a program computes: all of it together, and each layer by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sparbor.program.program import Port, Program, Quantization, Weights
from sparbor.quantization.rewriting import Draft, Plan
from sparbor.quantization.watching import Batch, Floats, watched


class Distance:
    """How far some numbers are from what they should be, as a share of that, over all that is finite."""

    def __init__(self) -> None:
        self.error = self.size = 0.0

    def add(self, computed: Floats, wanted: Floats) -> None:
        """Add up how far these are from each other, where the wanted ones are finite."""
        finite = np.isfinite(wanted)
        computed, wanted = computed[finite], wanted[finite]
        self.error += float(np.square(np.subtract(computed, wanted, dtype=np.float64)).sum())
        self.size += float(np.square(wanted, dtype=np.float64).sum())

    @property
    def relative(self) -> float:
        """Infinity if what should be zero is not, or if what should be finite is not."""
        if not np.isfinite(self.error) or (self.error and not self.size):
            return float("inf")
        return float(np.sqrt(self.error / self.size)) if self.size else 0.0


def answers_error(exact: Program, rounded: Program, batches: Sequence[Batch]) -> dict[str, float]:
    """By output of floats, how far rounding moves the answers to the batches."""
    values = [{port.name: port.value for port in program.outputs} for program in (exact, rounded)]
    names = [name for name, value in values[0].items() if exact.values[value].type == "f32"]
    distances = {name: Distance() for name in names}
    wanted_values, computed_values = ([of[name] for name in names] for of in values)
    runs = watched(exact, wanted_values, batches), watched(rounded, computed_values, batches)
    for wanted, computed in zip(*runs, strict=True):
        for name in names:
            distances[name].add(computed[values[1][name]], wanted[values[0][name]])
    return {name: distance.relative for name, distance in distances.items()}


def own_errors(
    plan: Plan,
    known: Mapping[int, Quantization],
    packed: Mapping[str, Weights],
    in_rows: Mapping[str, Weights],
    batches: Sequence[Batch],
) -> dict[str, float]:
    """By layer, how far its outputs move when it alone has 8 bits, and everything before it is exact.

    `packed` has the layers of what computes with bytes, `in_rows` those that round the rows that they read.
    """
    program, pairs = _side_by_side(plan, known, packed, in_rows)
    distances = {name: Distance() for name in pairs}
    numbers = list(dict.fromkeys(number for pair in pairs.values() for number in pair))
    for found in watched(program, numbers, batches):
        for name, (computed, wanted) in pairs.items():
            distances[name].add(found[computed], found[wanted])
    return {name: distance.relative for name, distance in distances.items()}


def _side_by_side(
    plan: Plan, known: Mapping[int, Quantization], packed: Mapping[str, Weights], in_rows: Mapping[str, Weights]
) -> tuple[Program, dict[str, tuple[int, int]]]:
    """The exact program with each layer of 8 bits beside the exact one; by layer, the values that the two compute."""
    exact, draft = plan.program, Draft(plan, known, packed)
    pairs: dict[str, tuple[int, int]] = {}
    joined = {operation.output: convolution for operation, convolution in plan.steps()}
    in_both = {*packed, *in_rows}
    for operation in exact.operations:
        wanted = draft.keep(operation, exact.layers, f"{operation.layer} exact" if operation.layer in in_both else None)
        draft.floats[operation.output] = wanted
        layer = operation if operation.layer is not None else joined.get(operation.output)
        if layer is None or operation.output not in joined:
            continue
        if operation.output in plan.in_bytes:
            computed = draft.in_bytes(operation, joined[operation.output])
            pairs[str(layer.layer)] = draft.dequantized(computed), wanted
        elif operation.layer is not None and operation.layer in in_rows:
            pairs[operation.layer] = draft.keep(operation, in_rows), wanted
    inputs = tuple(replace(port, value=draft.floats[port.value]) for port in exact.inputs)
    outputs = (Port("answer", draft.floats[exact.outputs[0].value]),)
    program = replace(
        exact,
        values=tuple(draft.values),
        inputs=inputs,
        outputs=outputs,
        operations=tuple(draft.operations),
        layers=draft.layers,
        states=(),
    )
    return program, pairs
