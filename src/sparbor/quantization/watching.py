"""A program is run on calibration inputs, and values within it are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError
from sparbor.program.byte_input import ByteInput
from sparbor.program.program import Port, Program

Batch: TypeAlias = Mapping[str, npt.NDArray[Any]]  # an array for each input, by its name
Floats: TypeAlias = npt.NDArray[np.float32]

_TOGETHER = 4  # items at once: all the values that are watched are in memory together


def watched(program: Program, values: Sequence[int], batches: Sequence[Batch]) -> Iterator[dict[int, Floats]]:
    """What values of the program are, for a few items of the batches after the other."""
    given = {port.value: port.name for port in program.inputs}
    computed = {f"value_{value}": value for value in values if value not in given}
    if not computed:
        runtime = None
    else:
        ports = tuple(Port(name, value) for name, value in computed.items())
        runtime = Runtime(replace(program, outputs=ports, states=()))
    for called, batch in _few_by_few(program, batches):
        found = {value: _floats(batch[given[value]], program.byte_input) for value in values if value in given}
        if runtime is not None:
            try:
                answer = runtime(**batch)
            except ArgumentError as error:  # of numbers that no shape tells of, such as ids beyond an embedding's rows
                raise ArgumentError(f"{called}: {error}") from None
            named = answer if isinstance(answer, dict) else {next(iter(computed)): answer}
            found |= {computed[name]: array for name, array in named.items()}
        yield found


def _few_by_few(program: Program, batches: Sequence[Batch]) -> Iterator[tuple[str, Batch]]:
    """The batches in parts, if each input has the batch for its first dimension, and what errors call each part."""
    firsts = {(program.values[port.value].shape or (None,))[0] for port in program.inputs}
    for number, batch in enumerate(batches):
        called = f"calibration[{number}]"
        if firsts != {"batch"}:
            yield called, batch
            continue
        for start in range(0, len(next(iter(batch.values()))), _TOGETHER):
            few = {name: array[start : start + _TOGETHER] for name, array in batch.items()}
            yield f"{called}, from item {start} on", few


def _floats(array: npt.NDArray[Any], byte_input: ByteInput | None) -> Floats:
    """An input as the program computes with it: raw bytes are normalised."""
    if array.dtype != np.uint8 or byte_input is None:
        return array
    scale, shift = (each.reshape(-1, *[1] * (array.ndim - 2)) for each in byte_input.scale_and_shift())
    return array.astype(np.float32) * scale + shift
