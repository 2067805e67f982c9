"""Which values of a program may share a buffer of its C code."""

from __future__ import annotations

from collections.abc import Sequence

from sparbor.ops.table import OPERATORS
from sparbor.program.program import Operation, Program


def plan_buffers(program: Program) -> Sequence[int]:
    """A buffer for each value: one is free again once its value has been used for the last time."""
    last_use = {value: step for step, operation in enumerate(program.operations) for value in operation.inputs}
    last_use[program.output] = len(program.operations)
    buffers, count = {program.input: 0}, 1
    free: list[int] = []
    for step, operation in enumerate(program.operations):
        last_read = {value for value in operation.inputs if last_use[value] == step}
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
    return [buffers[value] for value in range(len(program.items))]


def _may_take_over(program: Program, operation: Operation, value: int) -> bool:
    """Whether the result may lie where this input does: a value that is repeated has other places."""
    same = program.items[value] == program.items[operation.output]
    return same and OPERATORS[operation.kind].in_place_in_c
