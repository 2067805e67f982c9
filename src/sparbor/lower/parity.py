"""Whether the engine answers as the model does: nothing is deployed that was lowered wrongly."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn

from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError, SparborError
from sparbor.lower.call import ModelCall
from sparbor.lower.sizes import BATCH
from sparbor.packing.slots import Encoding
from sparbor.program.byte_input import ByteInput

Resize: TypeAlias = Callable[[int], int]
SizeAxes: TypeAlias = Mapping[str, Sequence[tuple[str, int]]]  # by the name of a size, inputs and dimensions of it

_MOST = 16  # items of the example that are compared
_ODD = 5  # items of the second batch: no usual size of anything else

# By what one layer may change an answer, as a share of it. 16-bit synapses usually do by less than 0.8 %, 8-bit ones by
# about as much, their inputs' rounding included; where terms cancel they do by more. They need not be told from a wrong
# operation: exact weights are compared first.
_ROUNDING = {Encoding.EXACT: 1e-5, Encoding.WORD16: 1 / 16, Encoding.INT8: 1 / 16}
_LARGEST_ROUNDING = 1 / 4  # what many layers together may do


class RoundingError(ArgumentError):
    """Rounded weights change a model's answers by too much."""


@dataclass(frozen=True)
class _Batch:
    what: str
    call: ModelCall  # as the model takes it
    given: Mapping[str, Tensor]  # as the engine is given it
    answers: Mapping[str, Tensor]


class Answers:
    """A model's answers to its example and to a few random calls like it, to compare the engine's with."""

    def __init__(self, model: nn.Module, call: ModelCall, axes: SizeAxes, byte_input: ByteInput | None = None) -> None:
        self.batches: list[_Batch] = []
        few = _resized(call, axes, BATCH, lambda size: min(size, _MOST))
        few = few.with_tensors({name: _finite(tensor) for name, tensor in few.tensors.items()})
        odd = _resized(few, axes, BATCH, lambda _: _ODD)
        self._add("the example", model, few)
        self._add("random items", model, odd.with_noise(1.0))
        if byte_input is not None:
            random = torch.Generator().manual_seed(0)
            ((name, like),) = odd.tensors.items()
            given = torch.randint(256, like.shape, generator=random, dtype=torch.uint8)
            self._add("random bytes", model, odd.with_tensors({name: _normalised(given, byte_input)}), {name: given})
        for size in axes:
            if size != BATCH:
                self._add_other_sizes(model, odd, axes, size)

    def _add(self, what: str, model: nn.Module, call: ModelCall, given: Mapping[str, Tensor] | None = None) -> None:
        self.batches.append(_Batch(what, call, given or call.tensors, _answers(model, call)))

    def _add_other_sizes(self, model: nn.Module, call: ModelCall, axes: SizeAxes, size: str) -> None:
        """Half the size, and one more. The model may have its reasons to refuse one of them, but not both."""
        ways: dict[str, Resize] = {"a smaller": lambda number: -(-number // 2), "a larger": lambda number: number + 1}
        refused = []
        for which, change in ways.items():
            other = _resized(call, axes, size, change).with_noise(1.0)  # or numbers that are repeated would be equal
            try:
                self._add(f"{which} {size}", model, other)
            except ArgumentError as error:
                refused.append(error)
        if len(refused) == len(ways):
            raise ArgumentError(f"{size} is not free: {refused[-1]}") from refused[-1]

    def check(self, runtime: Runtime, encoding: Encoding) -> None:
        """Raise if the runtime's answers differ by more than rounding does."""
        # One layer's rounding has nothing to do with another's: together they grow as the root of their number.
        growth = math.sqrt(max(1, len(runtime.describe())))
        rounding = min(growth * _ROUNDING[encoding], _LARGEST_ROUNDING)
        for batch in self.batches:
            computed = _called(runtime, batch.given)
            nudged: dict[str, Tensor] | None = None
            for name, answer in batch.answers.items():
                _check_alike(batch.what, name, computed[name], answer)
                error, size = _distance(computed[name], answer), _distance(torch.zeros(()), answer)
                if not answer.is_floating_point() or error <= rounding * size:
                    continue
                if nudged is None:
                    noise = batch.call.with_noise(_ROUNDING[encoding], 1)
                    nudged = _called(runtime, noise.tensors)
                # How far the answer moves with an input that is rounded as weights are: large logits amplify it.
                if not error <= growth * _distance(nudged[name], computed[name]):
                    raise _complaint(batch.what, error / size if size else math.inf, rounding, encoding)

    def check_form(self, runtime: Runtime) -> None:
        """Raise if the runtime's answers are of other types or shapes, or not finite where the model's are.

        What is rounded by the ranges of calibration inputs answers others, and noise, as it may.
        """
        for batch in self.batches:
            computed = _called(runtime, batch.given)
            for name, answer in batch.answers.items():
                _check_alike(batch.what, name, computed[name], answer)
                if not math.isfinite(_distance(computed[name], answer)):
                    raise _complaint(batch.what, math.inf, _LARGEST_ROUNDING, Encoding.INT8)


def _called(runtime: Runtime, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The runtime's answers by name."""
    answer = runtime(**{port.name: given[port.name] for port in runtime.inputs})
    return answer if isinstance(answer, dict) else {runtime.outputs[0].name: answer}


def _check_alike(what: str, name: str, computed: Tensor, answer: Tensor) -> None:
    if computed.shape != answer.shape or computed.dtype != answer.dtype:
        raise ArgumentError(
            f"the model's {name} for {what} is {answer.dtype} of shape {tuple(answer.shape)}, and for other sizes it "
            f"would be {computed.dtype} of shape {tuple(computed.shape)}: as squeeze() does; name its dimension"
        )


def _resized(call: ModelCall, axes: SizeAxes, size: str, change: Resize) -> ModelCall:
    """The call with another size of this name: numbers are left out, or repeated from the first on."""
    made = {name: tensor.detach().contiguous() for name, tensor in call.tensors.items()}
    for name, axis in axes.get(size, ()):
        old = made[name].shape[axis]
        made[name] = made[name].index_select(axis, torch.arange(change(old)) % old)
    return call.with_tensors(made)


def _finite(tensor: Tensor) -> Tensor:
    return torch.nan_to_num(tensor, 0.0, 0.0, 0.0) if tensor.is_floating_point() else tensor


def _normalised(given: Tensor, byte_input: ByteInput) -> Tensor:
    """What the model takes for these bytes."""
    channels = (-1, *[1] * (given.dim() - 2))
    mean, std = (torch.tensor(each).view(channels) for each in (byte_input.mean, byte_input.std))
    return (given / 255 - mean) / std


def _answers(model: nn.Module, call: ModelCall) -> dict[str, Tensor]:
    copied = call.with_tensors({name: tensor.clone() for name, tensor in call.tensors.items()})
    with _exactly():
        try:
            answers = copied.of(model)  # it may write to its input
        except ArgumentError:
            raise
        except Exception as error:
            sizes = ", ".join(f"{name} of shape {tuple(tensor.shape)}" for name, tensor in call.tensors.items())
            raise ArgumentError(f"the model fails on {sizes}: {type(error).__name__}: {error}") from error
    return {name: each.detach() for name, each in answers.items()}


@contextmanager
def _exactly() -> Iterator[None]:
    """PyTorch compiles nothing for two batches, and multiplies in full float32 whatever precision is set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # flags() warns of hardware it does not find
        with torch.compiler.set_stance("force_eager"), torch.backends.mkldnn.flags(enabled=False):
            yield


def _distance(one: Tensor, other: Tensor) -> float:
    """The norm of the difference, over the places where `other` is finite."""
    return float(torch.where(other.isfinite(), one.double() - other.double(), 0.0).norm())


def _complaint(what: str, error: float, rounding: float, encoding: Encoding) -> SparborError:
    if encoding is Encoding.EXACT:
        return SparborError(
            f"the engine's answer to {what} differs from the model's by {error:.2g} of it, more than rounding does: "
            "the model's answer depends on more than its input, or Sparbor has lowered it wrongly; please report it"
        )
    return RoundingError(
        f"weights={encoding.value!r}: rounded weights change the model's answer to {what} by {error:.2g} of it, "
        f'more than {rounding:.2g}: pass weights="exact"'
    )
