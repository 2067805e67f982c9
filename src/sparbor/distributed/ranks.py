"""The processes that train one model together, ``torch.distributed``'s ranks: what they agree on, add up and send.

They are those of the default process group. Where there is none, or one rank alone, nothing is exchanged.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from sparbor.errors import SparborError, TrainingError

_T = TypeVar("_T")


def world_size() -> int:
    """How many processes train the model."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_distributed() -> bool:
    """Whether more processes than this one train the model."""
    return world_size() > 1


@contextlib.contextmanager
def together(kind: type[SparborError], remedy: str) -> Iterator[dict[str, Any]]:
    """A block that succeeds on every rank or on none, and leaves every rank with the same facts.

    What one rank's block raises every rank raises, so that none waits for one that has given up. What the block puts
    into the dict must be equal on all ranks, else all raise a ``kind``. The block itself must not exchange anything.
    """
    facts: dict[str, Any] = {}
    try:
        yield facts
    except Exception as error:
        with contextlib.suppress(TrainingError):  # what went wrong here says more than that others are gone
            values_of_all((error if isinstance(error, SparborError) else kind(repr(error)), {}))
        raise
    answers: list[tuple[SparborError | None, dict[str, Any]]] = values_of_all((None, facts))
    for rank, (failure, _) in enumerate(answers):
        if failure is not None:
            raise type(failure)(f"rank {rank}: {failure}")
    for rank, (_, others) in enumerate(answers):
        for name in {**answers[0][1], **others}:
            one, other = (facts.get(name, "absent") for facts in (answers[0][1], others))
            if one != other:
                raise kind(f"{name} differs, it is {other!r} on rank {rank} and {one!r} on rank 0: {remedy}")


def values_of_all(value: _T) -> list[_T]:
    """The ``value`` that each rank has, in the order of the ranks."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * world_size()
    with _deadline():
        dist.all_gather_object(values, value)
    return values


@torch.no_grad()
def averaged(gradients: Sequence[Tensor | None], weights: Sequence[Tensor]) -> list[Tensor | None]:
    """The means of the ranks' ``gradients`` of these ``weights``; one that is missing on some ranks is zero there.

    One that no rank has stays ``None``.
    """
    if not is_distributed() or not weights:
        return list(gradients)
    with _deadline():
        had = torch.tensor([gradient is not None for gradient in gradients]).int().to(weights[0].device)
        dist.all_reduce(had)
        means = list[Tensor | None]()
        for gradient, weight, somewhere in zip(gradients, weights, had.tolist(), strict=True):
            mean = None
            if somewhere:
                # Divided first: the sum of scaled halves may be too large for them.
                mean = (torch.zeros_like(weight) if gradient is None else gradient / world_size()).contiguous()
                dist.all_reduce(mean)
            means.append(mean)
    return means


def send_from_rank_zero(masks: Sequence[Tensor]) -> None:
    """Every rank's ``masks`` become those of rank 0, in place."""
    if is_distributed():
        with _deadline():
            for mask in masks:
                dist.broadcast(mask.view(torch.uint8), src=0)  # not every backend sends bools


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """A few characters that differ where any element of the ``tensors`` does."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().view(torch.uint8).cpu().numpy().data)
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _deadline() -> Iterator[None]:
    """What a backend raises when a rank is gone or does not answer in time, as an error that says so."""
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TrainingError(
            f"rank {dist.get_rank()} got no answer from another rank within the process group's timeout ({reason}):"
            " see that rank's own error, and start all ranks again from the last checkpoint"
        ) from error
