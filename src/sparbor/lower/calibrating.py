"""The inputs that a model is calibrated with, as its program is given them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from sparbor.engine.arguments import checked_inputs
from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError
from sparbor.lower.call import ModelCall, call_of
from sparbor.program.byte_input import ByteInput

Batch = dict[str, npt.NDArray[Any]]

_LISTS = "pass a list of batches, each of them what example is"


def calibration_batches(model: nn.Module, given: Any, example: ModelCall) -> list[Batch]:
    """The batches by the names that the example's inputs have; raises ArgumentError if they cannot be its like."""
    if isinstance(given, (Tensor, np.ndarray, Mapping, str)) or not isinstance(given, Iterable):
        raise ArgumentError(f"calibration is a {type(given).__name__}: {_LISTS}, such as [x1, x2]")
    batches = [_batch(model, f"calibration[{number}]", each, example) for number, each in enumerate(given)]
    if not batches:
        raise ArgumentError(f"calibration holds no inputs: {_LISTS}; some hundred items are enough")
    _check_numbers(batches)
    return batches


def check_calibration(batches: Sequence[Batch], runtime: Runtime, byte_input: ByteInput | None) -> None:
    """Raise ArgumentError if a batch is not as the model's inputs must be."""
    for number, batch in enumerate(batches):
        try:
            checked_inputs(batch, runtime.inputs, byte_input)
        except ArgumentError as error:
            raise ArgumentError(f"calibration[{number}]: {error}") from None


def _batch(model: nn.Module, called: str, given: Any, example: ModelCall) -> Batch:
    tensors = call_of(model, given, called).tensors
    if isinstance(given, (tuple, list)) and len(given) == len(example.tensors):
        tensors = dict(zip(example.tensors, tensors.values(), strict=False))  # by position, as a call of the runtime
    if tensors.keys() != example.tensors.keys():
        raise ArgumentError(
            f"{called} has the inputs {', '.join(tensors)}, and example {', '.join(example.tensors)}: {_LISTS}, such as"
            " [x for x, _ in loader] of a loader with labels"
        )
    return {name: tensor.detach().contiguous().numpy() for name, tensor in tensors.items()}


def _check_numbers(batches: Sequence[Batch]) -> None:
    """All are finite, and not all the same."""
    seen: set[float] = set()
    for number, batch in enumerate(batches):
        for name, array in batch.items():
            if not np.isfinite(array).all():
                raise ArgumentError(
                    f"calibration[{number}] holds NaN or infinity in {name}: pass inputs as the model will be given"
                )
            seen |= {float(array.min()), float(array.max())}
    if len(seen) == 1:
        raise ArgumentError(
            f"calibration holds nothing but {seen.pop():g}, and ranges are to be seen in it: pass inputs as the model"
            " will be given"
        )
