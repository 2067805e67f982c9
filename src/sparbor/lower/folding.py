"""What a lowered graph is made smaller by: batch norms and activations join the layer before them, reshapes merge."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from sparbor.lower.rewrites.rewriting import rewritten
from sparbor.lower.unpacked import LayerWeights, UnpackedProgram
from sparbor.ops.table import OPERATORS
from sparbor.program.program import Axis, Operation, Port, ScaleShift


def folded(program: UnpackedProgram) -> UnpackedProgram:
    """The program with fewer operations.

    A batch norm or an activation joins the operation before it, if nothing else reads what that computes: its value
    then stands for theirs. Of reshapes in a row only the last is needed, and one to the same shape is none.
    """
    program = rewritten(_without_unused(_without_repeats(program)))
    program = _without_unused(_without_repeats(program))
    folding = _Folding(program)
    for operation in program.operations:
        folding.take(operation)
    left = tuple(folding.made.values())
    outputs = tuple(Port(port.name, folding.meant(port.value)) for port in program.outputs)
    return _without_unused(replace(program, outputs=outputs, operations=left, weights=folding.weights))


def _without_repeats(program: UnpackedProgram) -> UnpackedProgram:
    """The program with what is computed twice, of the same and in the same way, computed once."""
    same: dict[int, int] = {}
    known: dict[tuple[object, ...], int] = {}
    kept = []
    for operation in program.operations:
        operation = replace(operation, inputs=tuple(same.get(value, value) for value in operation.inputs))
        result = program.values[operation.output]
        what = (operation.kind, operation.inputs, operation.activation, operation.settings, result.type, result.shape)
        first = operation.output if operation.layer is not None else known.setdefault(what, operation.output)
        if first == operation.output:
            kept.append(operation)
        else:
            same[operation.output] = first
    outputs = tuple(Port(port.name, same.get(port.value, port.value)) for port in program.outputs)
    return replace(program, operations=tuple(kept), outputs=outputs)


class _Folding:
    def __init__(self, program: UnpackedProgram) -> None:
        self.values, self.weights = program.values, dict(program.weights)
        self.made: dict[int, Operation] = {}  # by output
        self.same: dict[int, int] = {}  # values that another one stands for
        self.uses = Counter(value for operation in program.operations for value in operation.inputs)
        self.uses.update(port.value for port in program.outputs)

    def meant(self, value: int) -> int:
        """The value that stands for this one."""
        return self.same.get(value, value)

    def take(self, operation: Operation) -> None:
        operation = replace(operation, inputs=tuple(map(self.meant, operation.inputs)))
        if operation.kind == "reshape":
            self._take_reshape(operation)
        elif not self._joins(operation):
            self.made[operation.output] = operation

    def _take_reshape(self, operation: Operation) -> None:
        (x,) = operation.inputs
        before = self.made.get(x)
        if before is not None and before.kind == "reshape":
            self.uses[x] -= 1
            if self.uses[x] == 0:
                del self.made[x]
            else:
                self.uses[before.inputs[0]] += 1
            (x,) = before.inputs
        if self.values[x].shape == self.values[operation.output].shape:
            self._stand_for(x, operation.output)
        else:
            self.made[operation.output] = replace(operation, inputs=(x,))

    def _stand_for(self, value: int, other: int) -> None:
        self.same[other] = value
        self.uses[value] += self.uses[other] - 1

    def _joins(self, operation: Operation) -> bool:
        """Whether the operation is now part of the one before it."""
        before = self._before(operation) if operation.inputs else None
        if before is None or before.activation is not None:
            return False
        if operation.kind == "activation" and OPERATORS[before.kind].activation == "maybe":
            self.made[before.output] = replace(before, activation=operation.activation)
        elif operation.kind == "scale_shift" and self._takes_in(before, operation):
            then = self.weights[str(operation.layer)]
            scaled = self.weights[str(before.layer)]
            assert isinstance(then, ScaleShift)
            assert isinstance(scaled, (LayerWeights, ScaleShift))
            self.weights[str(before.layer)] = scaled.then(then)
        else:
            return False
        self._stand_for(operation.inputs[0], operation.output)
        return True

    def _before(self, operation: Operation) -> Operation | None:
        """What computes the operation's input, reshapes aside, if nothing else reads that."""
        value = operation.inputs[0]
        while self.uses[value] == 1 and (before := self.made.get(value)) is not None:
            if before.kind != "reshape":
                return before
            (value,) = before.inputs
        return None

    def _takes_in(self, before: Operation, scaling: Operation) -> bool:
        """Whether the layer before can scale and shift what it computes."""
        return before.output == scaling.inputs[0] and self._axis(before) == self._axis(scaling)

    def _axis(self, operation: Operation) -> int | None:
        """The dimension whose numbers the operation's layer has one row, or one scale and shift, for each of."""
        if operation.kind == "convolution":
            return 1
        if operation.kind == "linear":
            return len(self.values[operation.output].shape) - 1
        return operation.settings.axis if isinstance(operation.settings, Axis) and operation.layer else None


def _without_unused(program: UnpackedProgram) -> UnpackedProgram:
    """The program without the values that folding left unused, and without operations that lead nowhere."""
    needed, kept = {port.value for port in program.outputs}, list[Operation]()
    for operation in reversed(program.operations):
        if operation.output in needed:
            needed.update(operation.inputs)
            kept.append(operation)
    kept.reverse()
    order = [*(port.value for port in program.inputs), *(operation.output for operation in kept)]
    number = {value: position for position, value in enumerate(order)}
    numbered = tuple(
        replace(each, inputs=tuple(number[value] for value in each.inputs), output=number[each.output]) for each in kept
    )
    used = {operation.layer for operation in kept}
    return UnpackedProgram(
        tuple(program.values[value] for value in order),
        tuple(Port(port.name, number[port.value]) for port in program.inputs),
        tuple(Port(port.name, number[port.value]) for port in program.outputs),
        numbered,
        {name: each for name, each in program.weights.items() if name in used},
        program.states,
    )
