"""A lowered program as runtimes, its weights stored in one way or another, each compared with the model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from sparbor.engine.runtime import Runtime
from sparbor.lower.calibrating import Batch, check_calibration
from sparbor.lower.call import ModelCall
from sparbor.lower.parity import Answers, RoundingError
from sparbor.lower.unpacked import UnpackedProgram
from sparbor.packing.slots import Encoding
from sparbor.program.byte_input import ByteInput
from sparbor.program.program import Program, stored_bytes
from sparbor.progress import tell
from sparbor.quantization.quantizing import Sources, quantized
from sparbor.timing import sample

logger = logging.getLogger("sparbor")

AUTO = "auto"

_FASTER = 0.97  # 8 bits are less accurate than 16, and are taken for a gain that is no chance
_TURNS, _TURN_SECONDS = 7, 0.01


@dataclass(frozen=True)
class Candidates:
    """The runtimes that one lowered program can be; `batches` are calibration inputs, if there are any."""

    lowered: UnpackedProgram
    call: ModelCall
    answers: Answers
    threads: int
    byte_input: ByteInput | None
    batches: Sequence[Batch] | None

    def runtime(self, weights: str) -> Runtime:
        """The one that has its weights stored so, or the fastest for `"auto"`."""
        if weights == AUTO:
            return self._fastest()
        return self._in_8_bits() if weights == Encoding.INT8.value else self._of(Encoding(weights))

    def _fastest(self) -> Runtime:
        words = self._of(Encoding.WORD16)
        try:
            return self._faster(words, self._in_8_bits())
        except RoundingError as error:
            logger.info("16 bits are taken: %s", error)
            return words

    def _of(self, encoding: Encoding) -> Runtime:
        return self._checked(self._program(encoding), encoding)

    def _checked(self, program: Program, encoding: Encoding) -> Runtime:
        built = Runtime(program, self.threads)
        tell("compares the engine's answers with the model's")
        self.answers.check(built, encoding)
        return built

    def _in_8_bits(self) -> Runtime:
        """With bytes between layers if there are calibration inputs."""
        words, rows = map(self._program, (Encoding.WORD16, Encoding.INT8))
        if self.batches is None:
            return self._checked(_with_sizes(rows, words), Encoding.INT8)
        exact = self._program(Encoding.EXACT)
        start = {name: tensor.numpy() for name, tensor in self.call.states.items()}
        batches = [{**batch, **start} for batch in self.batches]
        check_calibration(batches, Runtime(exact), self.byte_input)
        program, report = quantized(Sources(exact, words, rows), batches)
        built = Runtime(_with_sizes(program, words), self.threads)
        self.answers.check_form(built)
        built.quantization = report
        logger.info("%s", report)
        return built

    def _program(self, encoding: Encoding) -> Program:
        sizes = {name: size for name, size in self.lowered.sizes_of(self.call.tensors).items() if size != 1}
        return replace(self.lowered.packed(encoding), byte_input=self.byte_input, sizes=sizes)

    def _faster(self, words: Runtime, in_bytes: Runtime) -> Runtime:
        """That of both which answers the example faster; 16 bits where there is no difference."""
        calls = [_call_of(runtime, self.call.tensors) for runtime in (words, in_bytes)]
        first = [min(sample(call, 3)) for call in calls]  # makes plans, and says how many calls a turn has
        times = [max(1, round(1e6 * _TURN_SECONDS / max(each, 1))) for each in first]
        least = [float("inf"), float("inf")]
        for _ in range(_TURNS):
            least = [min(*sample(call, n), before) for call, n, before in zip(calls, times, least, strict=True)]
        logger.info("16 bits take %.1f µs and 8 bits %.1f µs to answer the example", *least)
        return in_bytes if least[1] < _FASTER * least[0] else words


def _with_sizes(program: Program, words: Program) -> Program:
    """With a note of each layer that takes more bytes with 8 bits than it would with 16."""
    notes = {}
    for name, layer in program.layers.items():
        in_8, in_16 = stored_bytes(layer), stored_bytes(words.layers.get(name, layer))
        if in_8 > in_16:
            notes[name] = f"16 bits would take {in_16:,} bytes: quads are padded where a mask does not fill them"
    return replace(program, notes={**notes, **program.notes})


def _call_of(runtime: Runtime, example: Mapping[str, Tensor]) -> Callable[[], object]:
    given = {port.name: np.ascontiguousarray(example[port.name].detach().numpy()) for port in runtime.inputs}
    return lambda: runtime(**given)
