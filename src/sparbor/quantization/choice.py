"""Which operations of a program are to compute with bytes: those that gain by it.

Convolutions gain; pools, sums, concatenations and the like follow, where what they read is bytes already. Between bytes
and floats numbers have to be converted, which must not cost more than a convolution saves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from sparbor.program.dimensions import size_at
from sparbor.program.program import Axis, Dimensions, Operation, Program, is_matrix
from sparbor.program.windows import Window

# A convolution of 16 bits computes some 40 active multiply-adds in a nanosecond, one of 8 bits some 150, and converting
# a number takes 0.2 ns: as long as 8 bits save in so many multiply-adds.
_LEAST_MULTIPLY_ADDS = 12


@dataclass(frozen=True)
class Wiring:
    """Who computes each value of a program, and who reads it."""

    program: Program

    @cached_property
    def made(self) -> Mapping[int, Operation]:
        """By value, the operation that computes it."""
        return {operation.output: operation for operation in self.program.operations}

    @cached_property
    def readers(self) -> Mapping[int, list[Operation]]:
        """By value, the operations that read it, once for each time that they do."""
        readers: dict[int, list[Operation]] = {value: [] for value in range(len(self.program.values))}
        for operation in self.program.operations:
            for value in operation.inputs:
                readers[value].append(operation)
        return readers

    @cached_property
    def answers(self) -> frozenset[int]:
        """The values that the program returns."""
        return frozenset(port.value for port in self.program.outputs)

    def shape(self, value: int) -> Dimensions:
        """As the program has it, sizes of a call by their names."""
        return self.program.values[value].shape

    def numbers(self, value: int) -> int:
        """How many there are in one item's value."""
        sizes = {"batch": 1, **self.program.sizes}
        return math.prod(size_at(each, sizes) for each in self.shape(value))

    def pixels(self, value: int) -> int:
        """How many there are in one item's planes."""
        return self.numbers(value) // max(1, self.channels(value))

    def channels(self, value: int) -> int:
        """Of planes; 0 if there are as many as the sizes of a call say, or if the value is none of planes."""
        shape = self.shape(value)
        is_planes = len(shape) in (3, 4) and self.program.values[value].type == "f32"
        return shape[1] if is_planes and isinstance(shape[1], int) else 0

    def planes(self, operation: Operation) -> tuple[int, ...]:
        """The inputs that an operation in bytes reads as bytes."""
        gate = self.gate(operation) if operation.kind == "multiply" else None
        return operation.inputs if gate is None else gate[:1]

    def gate(self, operation: Operation) -> tuple[int, int] | None:
        """What a product multiplies, if that is planes and a number for each channel: both, in this order."""
        for planes, gate in (operation.inputs, operation.inputs[::-1]):
            shape = self.shape(planes)
            ones = (*shape[:2], *[1] * (len(shape) - 2))
            if self.channels(planes) and self.shape(gate) == ones != shape == self.shape(operation.output):
                return planes, gate
        return None


def why_no_bytes(wiring: Wiring, operation: Operation) -> str | None:
    """Why a convolution cannot compute with bytes; None if it can."""
    window, (x,) = operation.settings_as(Window), operation.inputs
    if max(window.upsample) > 1:
        return "no 8 bits: its input is upsampled"
    if min(window.padding) < 0:
        return "no 8 bits: its input is cropped"
    if not (wiring.channels(x) and wiring.channels(operation.output)):
        return "no 8 bits: how many channels there are is known in calls alone"
    if wiring.pixels(operation.output) == 1:
        return "no 8 bits: it computes a single pixel"
    return None


def chosen(wiring: Wiring, kept: Collection[str], unroundable: Collection[int] = ()) -> frozenset[int]:
    """The values that are to be bytes, of those that an operation computes.

    Layers that are kept stay as they are, and so does what reads or computes values that cannot be rounded. Of the
    others, convolutions are left out one by one, or whole parts of the program, for as long as that is a gain.
    """
    cannot = set(unroundable)
    left_out = frozenset(each.output for each in wiring.program.operations if cannot & {each.output, *each.inputs})
    found = _reached(wiring, kept, left_out)
    while True:
        ways = {fewer: _reached(wiring, kept, fewer) for fewer in _with_less(wiring, found, left_out)}
        best = max(ways, key=lambda fewer: _gain(wiring, ways[fewer]), default=None)
        if best is None or _gain(wiring, ways[best]) <= _gain(wiring, found):
            return found
        left_out, found = best, ways[best]


def _with_less(wiring: Wiring, found: frozenset[int], left_out: frozenset[int]) -> Iterator[frozenset[int]]:
    """What may be left out besides: a convolution beside which numbers are converted, or all that hangs together."""
    converted = _converted(wiring, found)
    for operation in wiring.program.operations:
        beside = {operation.output, *operation.inputs} & converted
        if operation.kind == "convolution" and operation.output in found and beside:
            yield left_out | {operation.output}
    for part in _parts(wiring, found):
        yield left_out | part


def _parts(wiring: Wiring, found: frozenset[int]) -> list[frozenset[int]]:
    """The values that are bytes, those together that operations in bytes lead to from each other."""
    part = {value: {value} for value in found}
    for value in found:
        for other in found.intersection(wiring.planes(wiring.made[value])):
            together = part[value] | part[other]
            part |= dict.fromkeys(together, together)
    return list(dict.fromkeys(map(frozenset, part.values())))


def _gain(wiring: Wiring, found: frozenset[int]) -> float:
    """The multiply-adds in bytes, less those that take as long to save as the conversions take."""
    layers = (
        (each.output, wiring.program.layers[str(each.layer)])
        for each in wiring.program.operations
        if each.kind == "convolution" and each.output in found
    )
    saved = sum(layer.active * wiring.pixels(value) for value, layer in layers if is_matrix(layer))
    return saved - _LEAST_MULTIPLY_ADDS * sum(map(wiring.numbers, _converted(wiring, found)))


def _converted(wiring: Wiring, found: frozenset[int]) -> set[int]:
    """The values that are rounded to bytes, and those that become floats again."""
    read = {value for each in wiring.program.operations if each.output in found for value in wiring.planes(each)}
    back = {
        value
        for value in found
        if value in wiring.answers or any(each.output not in found for each in wiring.readers[value])
    }
    return (read - found) | back


def _reached(wiring: Wiring, kept: Collection[str], left_out: Collection[int]) -> frozenset[int]:
    """What could be bytes: convolutions, and what follows them; gains are still to be weighed."""
    found: set[int] = set()
    for operation in wiring.program.operations:
        could = _COULD.get(operation.kind)
        if could is None or operation.layer in kept or operation.output in left_out:
            continue
        if could(wiring, operation, found):
            found.add(operation.output)
    return frozenset(found)


# Each says whether an operation can compute with bytes, where those values are bytes that have been found.
_Could = Callable[[Wiring, Operation, Collection[int]], bool]


def _convolution(wiring: Wiring, operation: Operation, found: Collection[int]) -> bool:
    return why_no_bytes(wiring, operation) is None


def _after_bytes(wiring: Wiring, operation: Operation, found: Collection[int]) -> bool:
    return operation.inputs[0] in found and wiring.channels(operation.output) > 0


def _scale(wiring: Wiring, operation: Operation, found: Collection[int]) -> bool:
    """A scale and a shift of each channel, as a batch norm has them."""
    return _after_bytes(wiring, operation, found) and operation.settings == Axis(1)


def _adaptive_pool(wiring: Wiring, operation: Operation, found: Collection[int]) -> bool:
    return _after_bytes(wiring, operation, found) and even_windows(wiring, operation) is not None


def _sum(wiring: Wiring, operation: Operation, found: Collection[int]) -> bool:
    alike = {wiring.shape(value) for value in (*operation.inputs, operation.output)}
    return len(alike) == 1 and wiring.channels(operation.output) > 0 and all(each in found for each in operation.inputs)


def _concatenation(wiring: Wiring, operation: Operation, found: Collection[int]) -> bool:
    """Floats among what is put together are rounded, if that is for a convolution."""
    if operation.settings != Axis(1) or not all(map(wiring.channels, (*operation.inputs, operation.output))):
        return False
    bytes_already = [value in found for value in operation.inputs]
    readers = wiring.readers[operation.output]
    return all(bytes_already) or (any(bytes_already) and any(each.kind == "convolution" for each in readers))


def _product(wiring: Wiring, operation: Operation, found: Collection[int]) -> bool:
    gate = wiring.gate(operation)
    return gate is not None and gate[0] in found and operation.activation is None


_COULD: Mapping[str, _Could] = {
    "convolution": _convolution,
    "max_pool": _after_bytes,
    "average_pool": _after_bytes,
    "adaptive_average_pool": _adaptive_pool,
    "activation": _after_bytes,
    "scale_shift": _scale,
    "add": _sum,
    "concat": _concatenation,
    "multiply": _product,
}


def even_windows(wiring: Wiring, operation: Operation) -> tuple[int, int] | None:
    """The windows of an adaptive pool, down and across, if they are all of one size and known."""
    inside, outside = (wiring.shape(value)[2:] for value in (operation.inputs[0], operation.output))
    sizes = []
    for size, windows in zip(inside, outside, strict=True):
        if not (isinstance(size, int) and isinstance(windows, int)) or size % windows:
            return None
        sizes.append(size // windows)
    down, across = (1, *sizes)[-2:]
    return down, across
