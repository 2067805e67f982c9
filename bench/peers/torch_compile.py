"""PyTorch's compiler, with weights frozen into the graph and the slow search for the best kernels."""

from __future__ import annotations

import shutil

import torch
from torch import Tensor, nn

from bench.peers import Example, Local, arguments, dense_bytes
from bench.peers.torch_eager import channels_last

NAME = "torch-compile"
PACKAGE = "torch"
KIND = "dense"
PRECISION = "f32"


def available() -> str | None:
    return None if shutil.which("g++") or shutil.which("clang++") else "torch.compile needs a C++ compiler"


def prepare(model: nn.Module, example: Example, threads: int) -> Local:
    torch.set_num_threads(threads)
    torch._dynamo.reset()  # nothing compiled for another shape or thread count is taken
    model, given = channels_last(model, arguments(example))
    compiled = torch.compile(model, options={"freezing": True, "max_autotune": True})

    @torch.inference_mode()
    def call() -> Tensor:
        return compiled(*given)

    return Local(call, dense_bytes(model))
