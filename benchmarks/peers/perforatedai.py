"""PerforatedAI 3.2.9 with a network it has just perforated, before any dendrite: the least that it can cost.

It computes what the dense model does. Each dendrite that it adds is a further full copy of the layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from peers import Array, Layer, Local, dense_bytes, worker

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "perforatedai"
PACKAGE = "perforatedai"
KIND = "dense"
PRECISION = "f32"
ENVIRONMENT = ".venv-perforatedai"


def available() -> str | None:
    return None if worker.python_of(ENVIRONMENT).exists() else f"{ENVIRONMENT} is not set up (make peers)"


def prepare(model: nn.Sequential, example: Tensor, threads: int) -> worker.Remote:
    return worker.Remote("perforatedai", ENVIRONMENT, model, example, threads)


def serve(layers: list[Layer], x: Array, threads: int) -> Local:
    """In its own process: the library keeps global settings and asks questions, all answered here."""
    import torch
    from perforatedai import globals_perforatedai, utils_perforatedai

    torch.set_num_threads(threads)
    settings = globals_perforatedai.pc
    settings.set_silent(True)
    settings.set_use_cuda(False)
    settings.set_configuration_confirmed(True)
    settings.set_unwrapped_modules_confirmed(True)
    settings.set_modules_to_perforate([torch.nn.Linear])
    model = _build(layers)
    stored = dense_bytes(model)
    model = utils_perforatedai.perforate_model(model, save_name="PAI", making_graphs=False).eval()
    example = torch.from_numpy(x)

    @torch.inference_mode()
    def call() -> torch.Tensor:
        return model(example)

    return Local(call, stored)


def _build(layers: list[Layer]) -> nn.Sequential:
    import torch

    modules: list[nn.Module] = []
    for layer in layers:
        linear = torch.nn.Linear(*reversed(layer.weight.shape))
        linear.load_state_dict({"weight": torch.from_numpy(layer.weight), "bias": torch.from_numpy(layer.bias)})
        modules += [linear, torch.nn.ReLU()] if layer.relu else [linear]
    return torch.nn.Sequential(*modules)
