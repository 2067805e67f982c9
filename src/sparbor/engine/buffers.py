"""Where each value of a program lies while it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sparbor.program.program import Operation, Program
from sparbor.program.windows import Shape

# Operations that may write where they read: they compute each number, or each row, from that place alone.
_IN_PLACE = ("affine", "channel_affine", "layer_norm", "activation", "softmax", "add")


def rows_and_features(shape: Shape) -> tuple[int, int]:
    """How an item lies in a buffer: rows of so many numbers. Images have a row for each channel."""
    if len(shape) < 2:
        return 1, math.prod(shape)
    return shape[0], math.prod(shape[1:])


def plan_buffers(program: Program) -> Sequence[int]:
    """A buffer for each value: one is free again once its value has been used for the last time."""
    last_use = {value: step for step, operation in enumerate(program.operations) for value in operation.inputs}
    last_use[program.output] = len(program.operations)
    buffers, count = {program.input: 0}, 1
    free: list[int] = []
    for step, operation in enumerate(program.operations):
        ended = sorted({buffers[value] for value in operation.inputs if last_use[value] == step})
        if ended and (operation.kind in _IN_PLACE or is_free(operation, program)):
            buffers[operation.output] = ended.pop(0)
        elif free:
            buffers[operation.output] = free.pop()
        else:
            buffers[operation.output], count = count, count + 1
        free += ended
        if operation.output not in last_use:
            free.append(buffers[operation.output])
    return [buffers[value] for value in range(len(program.shapes))]


def is_free(operation: Operation, program: Program) -> bool:
    """Whether it is a reshape that leaves every number in its place."""
    x, y = (program.shapes[value] for value in (operation.inputs[0], operation.output))
    return operation.kind == "reshape" and rows_and_features(x) == rows_and_features(y)
