"""PerforatedAI 3.2.9 with a network it has just perforated, before any dendrite: the least that it can cost.

It computes what the dense model does. Each dendrite that it adds is a further full copy of the layer.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.peers import Array, Example, Local, dense_bytes, single, worker

if TYPE_CHECKING:
    from torch import nn

NAME = "perforatedai"
PACKAGE = "perforatedai"
KIND = "dense"
PRECISION = "f32"
ENVIRONMENT = ".venv-perforatedai"


def available() -> str | None:
    return None if worker.python_of(ENVIRONMENT).exists() else f"{ENVIRONMENT} is not set up (make peers)"


def prepare(model: nn.Module, example: Example, threads: int) -> worker.Remote:
    import torch

    # The whole model: its code is imported over there, from the same folder.
    return worker.Remote("perforatedai", ENVIRONMENT, partial(torch.save, model), single(example), threads)


def serve(file: Path, x: Array, threads: int) -> Local:
    """In its own process: the library keeps global settings and asks questions, all answered here."""
    import torch
    from perforatedai import globals_perforatedai, utils_perforatedai

    torch.set_num_threads(threads)
    settings = globals_perforatedai.pc
    settings.set_silent(True)
    settings.set_use_cuda(False)
    settings.set_configuration_confirmed(True)
    settings.set_unwrapped_modules_confirmed(True)
    settings.set_modules_to_perforate([torch.nn.Linear, torch.nn.Conv2d])
    model = torch.load(file, weights_only=False)
    stored = dense_bytes(model)
    model = utils_perforatedai.perforate_model(model, save_name="PAI", making_graphs=False).eval()
    example = torch.from_numpy(x)

    @torch.inference_mode()
    def call() -> torch.Tensor:
        return model(example)

    return Local(call, stored)
