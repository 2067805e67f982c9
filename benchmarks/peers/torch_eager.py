"""PyTorch as it is, in inference mode."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from peers import Local, dense_bytes

NAME = "torch-eager"
PACKAGE = "torch"
KIND = "dense"
PRECISION = "f32"


def available() -> str | None:
    return None


def prepare(model: nn.Sequential, example: Tensor, threads: int) -> Local:
    torch.set_num_threads(threads)

    @torch.inference_mode()
    def call() -> Tensor:
        return model(example)

    return Local(call, dense_bytes(model))
