"""Where the values of a program lie while its C code runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sparbor.ops.table import OPERATORS
from sparbor.program.program import Operation, Program


@dataclass(frozen=True)
class Memory:
    """`places` are C expressions, by value; `floats` the size of the static buffer.

    An image of bytes becomes floats in the buffer from `image_at`.
    """

    places: list[str]
    floats: int
    image_at: int


def plan_memory(program: Program) -> Memory:
    """Input and output are the caller's; all else shares one array, each value for as long as it is used.

    Reshapes move nothing: no row is padded here.
    """
    roots = _roots(program)
    output, buffers = roots[program.output], _buffers(program, roots)
    sizes = [0] * (max(buffers.values()) + 1)
    for value, buffer in buffers.items():
        elsewhere = value == output or (value == program.input and program.byte_input is None)
        if not elsewhere:
            sizes[buffer] = max(sizes[buffer], _floats(program, value))
    starts = [sum(sizes[:buffer]) for buffer in range(len(sizes))]
    places = {value: _place(program, value, starts[buffer]) for value, buffer in buffers.items()}
    places[output] = "out"
    places[program.input] = "in"
    return Memory([places[root] for root in roots], sum(sizes), starts[buffers[program.input]])


def _floats(program: Program, value: int) -> int:
    """How many floats have room where the value lies."""
    count = math.prod(program.items[value])
    return count if program.values[value].type == "f32" else -(-count // 4)


def _place(program: Program, value: int, start: int) -> str:
    """The C expression of where it lies."""
    place = f"memory + {start}"
    return place if program.values[value].type == "f32" else f"(uint8_t *)({place})"


def _roots(program: Program) -> list[int]:
    """For each value the one that it is a reshape of, or itself."""
    roots = list(range(len(program.items)))
    for operation in program.operations:
        if operation.kind == "reshape":
            roots[operation.output] = roots[operation.inputs[0]]
    return roots


def _buffers(program: Program, roots: Sequence[int]) -> Mapping[int, int]:
    """A buffer for each value that is no reshape: it is free again once its value has been used for the last time."""
    operations = [operation for operation in program.operations if operation.kind != "reshape"]
    read_by = [{roots[value] for value in operation.inputs} for operation in operations]
    last_use = {value: step for step, read in enumerate(read_by) for value in read}
    last_use[roots[program.output]] = len(operations)
    buffers, count = {program.input: 0}, 1
    free: list[int] = []
    for step, operation in enumerate(operations):
        last_read = {value for value in read_by[step] if last_use[value] == step}
        ended = {buffers[value] for value in last_read}
        alike = {buffers[value] for value in last_read if _may_take_over(program, operation, value)}
        if alike:
            buffers[operation.output] = min(alike)
            ended.discard(min(alike))
        elif free:
            buffers[operation.output] = free.pop()
        else:
            buffers[operation.output], count = count, count + 1
        free += sorted(ended)
        if operation.output not in last_use:
            free.append(buffers[operation.output])
    return buffers


def _may_take_over(program: Program, operation: Operation, value: int) -> bool:
    """Whether the result may lie where this input does: a value that is repeated has other places."""
    same = program.items[value] == program.items[operation.output]
    return same and OPERATORS[operation.kind].in_place_in_c
