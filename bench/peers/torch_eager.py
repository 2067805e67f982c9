"""PyTorch in inference mode; images lie channels last, which is how its convolutions are fastest on a CPU."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from bench.peers import Example, Local, arguments, dense_bytes

NAME = "torch-eager"
PACKAGE = "torch"
KIND = "dense"
PRECISION = "f32"


def available() -> str | None:
    return None


def prepare(model: nn.Module, example: Example, threads: int) -> Local:
    torch.set_num_threads(threads)
    model, given = channels_last(model, arguments(example))

    @torch.inference_mode()
    def call() -> Tensor:
        return model(*given)

    return Local(call, dense_bytes(model))


def channels_last(model: nn.Module, given: tuple[Tensor, ...]) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Copies with channels as the innermost dimension of everything that has four."""
    if all(each.ndim != 4 for each in given):
        return model, given
    model = deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model, tuple(each.to(memory_format=torch.channels_last) if each.ndim == 4 else each for each in given)
