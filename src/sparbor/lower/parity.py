"""Whether the engine answers as the model does: nothing is deployed that was lowered wrongly."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError, SparborError
from sparbor.packing.slots import Encoding
from sparbor.program.byte_input import ByteInput

_MOST = 16  # items of the example that are compared
_ODD = 5  # items of the second batch: no usual size of anything else

# By what one layer may change an answer, as a share of it. 16-bit synapses usually do by less than 0.8 %; where
# terms cancel they do by more. They need not be told from a wrong operation: exact weights are compared first.
_ROUNDING = {Encoding.EXACT: 1e-5, Encoding.WORD16: 1 / 16}
_LARGEST_ROUNDING = 1 / 4  # what many layers together may do


@dataclass(frozen=True)
class _Batch:
    what: str
    items: Tensor  # as the model takes them
    given: Tensor  # as the engine is given them
    answer: Tensor


class Answers:
    """A model's answers to its example and to a few random items like it, to compare the engine's with."""

    def __init__(self, model: nn.Module, example: Tensor, byte_input: ByteInput | None = None) -> None:
        random = torch.Generator().manual_seed(0)
        items = torch.nan_to_num(example.detach()[:_MOST], 0.0, 0.0, 0.0).contiguous()
        odd = torch.arange(_ODD) % len(items)
        batches = {"the example": items, "random items": _nudged(items[odd], 1.0, random)}
        self.batches = [_Batch(what, batch, batch, _answer(model, batch)) for what, batch in batches.items()]
        if byte_input is not None:
            given = torch.randint(256, (_ODD, *items.shape[1:]), generator=random, dtype=torch.uint8)
            normal = _normalised(given, byte_input)
            self.batches.append(_Batch("random bytes", normal, given, _answer(model, normal)))

    def check(self, runtime: Runtime, encoding: Encoding) -> None:
        """Raise if the runtime's answers differ by more than rounding does."""
        # One layer's rounding has nothing to do with another's: together they grow as the root of their number.
        growth = math.sqrt(max(1, len(runtime.describe())))
        rounding = min(growth * _ROUNDING[encoding], _LARGEST_ROUNDING)
        for batch in self.batches:
            computed = runtime(batch.given)
            if computed.shape != batch.answer.shape:
                raise ArgumentError(
                    f"the model's answer to {len(batch.items)} items has shape {tuple(batch.answer.shape)}, to others "
                    f"(batch, {', '.join(map(str, computed.shape[1:]))}): as squeeze() does; name its dimension"
                )
            error, answer = _distance(computed, batch.answer), _distance(torch.zeros(()), batch.answer)
            if not error <= rounding * answer and not error <= growth * _sensitivity(runtime, batch.items, encoding):
                raise _complaint(batch.what, error / answer if answer else math.inf, rounding, encoding)


def _sensitivity(runtime: Runtime, items: Tensor, encoding: Encoding) -> float:
    """How far the answer moves with an input that is rounded as weights are: large logits amplify it."""
    nudged = _nudged(items, _ROUNDING[encoding], torch.Generator().manual_seed(1))
    return _distance(runtime(nudged), runtime(items))


def _nudged(items: Tensor, share: float, random: torch.Generator) -> Tensor:
    """The items plus noise, in size this share of theirs (of 1 if they are all zero)."""
    size = float(items.double().square().mean().sqrt()) or 1.0
    return items + share * size * torch.randn(items.shape, generator=random, dtype=torch.float32, device="cpu")


def _normalised(given: Tensor, byte_input: ByteInput) -> Tensor:
    """What the model takes for these bytes."""
    channels = (-1, *[1] * (given.dim() - 2))
    mean, std = (torch.tensor(each).view(channels) for each in (byte_input.mean, byte_input.std))
    return (given / 255 - mean) / std


def _answer(model: nn.Module, items: Tensor) -> Tensor:
    with _exactly():
        try:
            answer: Any = model(items.clone())  # it may write to its input
        except Exception as error:
            raise ArgumentError(
                f"the model fails on a batch of {len(items)}: {type(error).__name__}: {error}"
            ) from error
    if not isinstance(answer, Tensor):
        raise ArgumentError(f"the model returns a {type(answer).__name__}: the engine runs models that return a tensor")
    return answer.detach()


@contextmanager
def _exactly() -> Iterator[None]:
    """PyTorch compiles nothing for two batches, and multiplies in full float32 whatever precision is set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # flags() warns of hardware it does not find
        with torch.compiler.set_stance("force_eager"), torch.backends.mkldnn.flags(enabled=False):
            yield


def _distance(one: Tensor, other: Tensor) -> float:
    """The norm of the difference, over the places where `other` is finite."""
    return float(torch.where(other.isfinite(), one.double() - other, 0.0).norm())


def _complaint(what: str, error: float, rounding: float, encoding: Encoding) -> SparborError:
    if encoding is Encoding.EXACT:
        return SparborError(
            f"the engine's answer to {what} differs from the model's by {error:.2g} of it, more than rounding does: "
            "the model's answer depends on more than its input, or Sparbor has lowered it wrongly; please report it"
        )
    return ArgumentError(
        f"weights={encoding.value!r}: 16-bit synapses change the model's answer to {what} by {error:.2g} of it, "
        f'more than {rounding:.2g}: pass weights="exact"'
    )
