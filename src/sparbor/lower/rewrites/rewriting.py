"""Goes through a program's operations and rewrites what it knows; the operations that fall out stay until cleared."""

from __future__ import annotations

from collections.abc import Callable

from sparbor.lower.rewrites import activations, attention, masks, norms
from sparbor.lower.rewrites.draft import Draft
from sparbor.lower.unpacked import UnpackedProgram
from sparbor.program.program import Operation

# Each says what an operation is instead, if it knows better; what that needs, it has appended before.
Rewrite = Callable[[Draft, Operation], "Operation | None"]

REWRITES: tuple[Rewrite, ...] = (
    *(masks.always_true, masks.neutral, masks.remainder_of_position, masks.all_places),
    *(attention.attention, norms.norm_of_rows, norms.norm_with_scale, activations.activation),
)
# Of the operation that attention has become, too.
OF_ATTENTION: tuple[Rewrite, ...] = (attention.grouped_heads, masks.mask_of_all_queries, masks.nothing_hidden)


def rewritten(program: UnpackedProgram) -> UnpackedProgram:
    """The program in the engine's words; operations that nobody needs any more are still there."""
    return _pass(_pass(program, REWRITES), OF_ATTENTION)


def _pass(program: UnpackedProgram, rewrites: tuple[Rewrite, ...]) -> UnpackedProgram:
    draft = Draft(program)
    for operation in program.operations:
        for rewrite in rewrites:
            operation = rewrite(draft, operation) or operation
        draft.keep(operation)
    return draft.result()
