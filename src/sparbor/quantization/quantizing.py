"""A program with as much of it in 8 bits as gains by it and does not lose too much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sparbor.engine.quantization_report import QuantizationReport
from sparbor.packing.slots import Encoding
from sparbor.program.program import Program, Quantization, Weights, is_matrix
from sparbor.progress import tell
from sparbor.quantization.choice import Wiring, chosen, why_no_bytes
from sparbor.quantization.corrections import Corrections
from sparbor.quantization.errors import answers_error, own_errors
from sparbor.quantization.layers import packed_convolutions
from sparbor.quantization.ranges import Range, quantizations, ranges
from sparbor.quantization.rewriting import Plan, rewritten
from sparbor.quantization.watching import Batch

# By how much 8 bits may move what a layer computes of exact inputs, and all layers together the answers: by so much, or
# by so many times as 16 bits do. There are models whose answers any rounding moves far.
LARGEST_OWN_ERROR = 1 / 16
LARGEST_ERROR = 1 / 8
TIMES_16_BITS = 3

_NO_GAIN = "no 8 bits: converting what it reads or computes would take longer than they save"
_NO_RANGE = "no 8 bits: what it reads or computes is infinite or NaN for calibration inputs"


@dataclass(frozen=True)
class Sources:
    """One lowered program, packed in three ways: exactly, in 16 bits, and with 8 bits in what multiplies rows."""

    exact: Program
    words: Program
    rows: Program

    @property
    def in_rows(self) -> dict[str, Weights]:
        """The layers that round the rows that they read to 8 bits."""
        layers = self.rows.layers.items()
        return {name: layer for name, layer in layers if is_matrix(layer) and layer.encoding is Encoding.INT8}


def quantized(sources: Sources, batches: Sequence[Batch]) -> tuple[Program, QuantizationReport]:
    """The program whose values are bytes where that gains, and what 8 bits do to its answers.

    A layer whose own outputs move too much has 16 bits. If the answers still move too much, so have those that lose
    most, until they no longer do.
    """
    tell("learns the ranges of values")
    search = _Search(sources, batches)
    search.keep_those_that_lose()
    for several in _doubling():
        tell("measures what 8 bits do to the answers")
        program = search.program()
        answers = answers_error(sources.exact, program, batches)
        if not search.in_8_bits() or _is_little(answers) or _is_little(answers, search.error_of_16_bits):
            break
        search.keep_worst(several)
    return replace(program, notes=search.notes()), search.report(answers)


def _is_little(answers: Mapping[str, float], of_16_bits: Mapping[str, float] | None = None) -> bool:
    """Whether the answers move no more than they may."""
    limits = {name: TIMES_16_BITS * error for name, error in (of_16_bits or {}).items()}
    return all(error <= max(LARGEST_ERROR, limits.get(name, 0.0)) for name, error in answers.items())


def _doubling() -> Iterator[int]:
    several = 1
    while True:
        yield several
        several *= 2


class _Search:
    """What is known of a program's values and layers, and which layers are kept in 16 bits."""

    def __init__(self, sources: Sources, batches: Sequence[Batch]) -> None:
        self.sources, self.batches = sources, batches
        self.wiring = Wiring(sources.exact)
        packed, refused = packed_convolutions(sources.exact)
        self.kept = {**sources.rows.notes, **refused}
        self.corrections = Corrections(sources.exact, packed, batches)
        self.in_rows = sources.in_rows
        self.ranges: dict[int, Range] = {}
        self.known: dict[int, Quantization] = {}
        self.own: dict[str, float] = {}
        self.plan = self._planned()

    def _planned(self) -> Plan:
        """The plan without the layers that are kept, and what is to be known of its values."""
        plan = Plan(self.wiring, chosen(self.wiring, self.kept, self._unroundable()))
        new = [value for value in plan.rounded_values() if value not in self.ranges]
        if not new:
            return plan
        found = ranges(self.sources.exact, new, self.batches)
        self.ranges |= found
        finite = {value: each for value, each in found.items() if each.is_finite}
        self.known |= quantizations(self.sources.exact, finite, self.batches)
        return plan if len(finite) == len(found) else self._planned()

    def _unroundable(self) -> set[int]:
        """The values that no range rounds."""
        return {value for value, each in self.ranges.items() if not each.is_finite}

    @cached_property
    def error_of_16_bits(self) -> dict[str, float]:
        """By output, how far 16-bit words move the answers."""
        return answers_error(self.sources.exact, self.sources.words, self.batches)

    def keep_those_that_lose(self) -> None:
        """Keep the layers whose own outputs move too much."""
        packed = self.corrections.corrected(self.plan, self.known)
        self.own = own_errors(self.plan, self.known, packed, self.in_rows, self.batches)
        self._keep([name for name, error in self.own.items() if error > LARGEST_OWN_ERROR])

    def keep_worst(self, count: int) -> None:
        """Keep so many more, those first that lose most."""
        order = sorted(self.in_8_bits(), key=lambda name: self.own.get(name, 0.0), reverse=True)
        self._keep(order[:count])

    def _keep(self, names: Sequence[str]) -> None:
        for name in names:
            self.kept[name] = f"8 bits would move its outputs by {self.own.get(name, 0.0):.1%}"
            self.in_rows.pop(name, None)
        if names:
            self.plan = self._planned()

    def program(self) -> Program:
        """The program as it is planned now."""
        others = {**self.sources.words.layers, **self.in_rows}
        return rewritten(self.plan, self.known, self.corrections.corrected(self.plan, self.known), others)

    def in_8_bits(self) -> list[str]:
        """The layers that have 8 bits now, in order."""
        joined = [(operation, convolution or operation) for operation, convolution in self.plan.steps()]
        return [
            str(each.layer)
            for operation, each in joined
            if each.layer is not None and (operation.output in self.plan.in_bytes or each.layer in self.in_rows)
        ]

    def notes(self) -> dict[str, str]:
        """By layer that could have 8 bits and has not, why."""
        notes = {}
        eight, unroundable = set(self.in_8_bits()), self._unroundable()
        for operation in self.sources.exact.operations:
            name = operation.layer
            if name in self.kept:
                notes[name] = self.kept[name]
            elif name is not None and operation.kind == "convolution" and name not in eight:
                has_no_range = not unroundable.isdisjoint((operation.output, *operation.inputs))
                notes[name] = why_no_bytes(self.wiring, operation) or (_NO_RANGE if has_no_range else _NO_GAIN)
        return notes

    def report(self, answers: Mapping[str, float]) -> QuantizationReport:
        """What became of the model, whose answers moved so far."""
        return QuantizationReport(answers, tuple(self.in_8_bits()), self.notes(), self._constant())

    def _constant(self) -> tuple[str, ...]:
        """The layers in 8 bits that read or compute a value without a range."""
        empty = {value for value, each in self.ranges.items() if each.is_empty}
        found = (
            str((convolution or operation).layer)
            for operation, convolution in self.plan.steps()
            if operation.output in self.plan.in_bytes
            and (convolution or operation).layer is not None
            and empty & {*operation.inputs, operation.output, *(convolution.inputs if convolution else ())}
        )
        return tuple(found)
