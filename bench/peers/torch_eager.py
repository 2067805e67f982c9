"""PyTorch in inference mode; images lie channels last, which is how its convolutions are fastest on a CPU."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from bench.peers import Local, dense_bytes

NAME = "torch-eager"
PACKAGE = "torch"
KIND = "dense"
PRECISION = "f32"


def available() -> str | None:
    return None


def prepare(model: nn.Module, example: Tensor, threads: int) -> Local:
    torch.set_num_threads(threads)
    model, example = channels_last(model, example)

    @torch.inference_mode()
    def call() -> Tensor:
        return model(example)

    return Local(call, dense_bytes(model))


def channels_last(model: nn.Module, example: Tensor) -> tuple[nn.Module, Tensor]:
    """Copies with channels as the innermost dimension of everything that has four."""
    if example.ndim != 4:
        return model, example
    model = deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model, example.to(memory_format=torch.channels_last)
