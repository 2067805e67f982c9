"""Where the values of a program lie while its C code runs."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from sparbor.export.c.buffers import plan_buffers
from sparbor.program.program import Port, Program


@dataclass(frozen=True)
class Memory:
    """`places` are C expressions, by value; `floats` the size of the static buffer.

    An image of bytes becomes floats in the buffer from `image_at`.
    """

    places: list[str]
    floats: int
    image_at: int


def plan_memory(program: Program) -> Memory:
    """Input and output are the caller's; all else shares one buffer, each value for as long as it is used.

    Reshapes move nothing: no row is padded here.
    """
    roots = _roots(program)
    kept = [value for value in range(len(program.items)) if roots[value] == value]
    number = {value: index for index, value in enumerate(kept)}
    planned = dataclasses.replace(
        program,
        values=tuple(program.values[value] for value in kept),
        inputs=(Port("input", number[program.input]),),
        outputs=(Port("output", number[roots[program.output]]),),
        operations=tuple(
            dataclasses.replace(
                operation,
                inputs=tuple(number[roots[value]] for value in operation.inputs),
                output=number[operation.output],
            )
            for operation in program.operations
            if operation.kind != "reshape"
        ),
    )
    buffers = plan_buffers(planned)
    sizes = [0] * (max(buffers) + 1)
    for value, buffer in enumerate(buffers):
        elsewhere = value == planned.output or (value == planned.input and program.byte_input is None)
        if not elsewhere:
            sizes[buffer] = max(sizes[buffer], math.prod(planned.items[value]))
    starts = [sum(sizes[:buffer]) for buffer in range(len(sizes))]
    places = [f"memory + {starts[buffer]}" for buffer in buffers]
    places[planned.output] = "out"
    places[planned.input] = "in"
    image_at = starts[buffers[planned.input]]
    return Memory([places[number[roots[value]]] for value in range(len(program.items))], sum(sizes), image_at)


def _roots(program: Program) -> list[int]:
    """For each value the one that it is a reshape of, or itself."""
    roots = list(range(len(program.items)))
    for operation in program.operations:
        if operation.kind == "reshape":
            roots[operation.output] = roots[operation.inputs[0]]
    return roots
