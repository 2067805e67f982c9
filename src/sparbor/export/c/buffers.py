"""Which values of a program may share a buffer of its C code."""

from __future__ import annotations

from collections.abc import Sequence

from sparbor.program.program import Program

# Operations whose C code may write where it reads: it computes each number, or each row, from that place alone.
_IN_PLACE = ("affine", "channel_affine", "layer_norm", "activation", "softmax", "add")


def plan_buffers(program: Program) -> Sequence[int]:
    """A buffer for each value: one is free again once its value has been used for the last time."""
    last_use = {value: step for step, operation in enumerate(program.operations) for value in operation.inputs}
    last_use[program.output] = len(program.operations)
    buffers, count = {program.input: 0}, 1
    free: list[int] = []
    for step, operation in enumerate(program.operations):
        ended = sorted({buffers[value] for value in operation.inputs if last_use[value] == step})
        if ended and operation.kind in _IN_PLACE:
            buffers[operation.output] = ended.pop(0)
        elif free:
            buffers[operation.output] = free.pop()
        else:
            buffers[operation.output], count = count, count + 1
        free += ended
        if operation.output not in last_use:
            free.append(buffers[operation.output])
    return [buffers[value] for value in range(len(program.shapes))]
