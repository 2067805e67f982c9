"""``sparbor deploy``: of an ONNX model, of one that Python makes, or of a directory, what runs on the engine."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparbor.cli.inspecting import in_one_line
from sparbor.cli.models import KINDS, file_of, is_function, made_by, of_directory
from sparbor.cli.parser import add_command, add_out, add_weights
from sparbor.cli.saying import say
from sparbor.errors import ArgumentError
from sparbor.extras import brought_by
from sparbor.files import check_free

if TYPE_CHECKING:
    from sparbor.engine.runtime import Runtime

TEXTS, TOKENS, FIRST_TOKEN = 2, 8, 5  # of an example; the smallest numbers are likely to stand for padding and ends
RETURNED = "the model and an example of what it is called with, `return model, torch.zeros(1, 784)`"


def add(commands: Any) -> None:
    """The command."""
    about = "Make of an ONNX or PyTorch model what runs on the engine."
    command = add_command(commands, "deploy", deploy_model, about)
    command.add_argument(
        "model",
        metavar="MODEL",
        help="an ONNX file; " + KINDS.format(returned="a model and what it is called with"),
    )
    add_out(command, "FILE", "the deployed model to write (.safetensors)")
    add_weights(command, "word16")


def deploy_model(options: argparse.Namespace) -> None:
    """Deploy the model, compare, write at once, and say what was written."""
    model, out = options.model, Path(options.out)
    check_free(out, options.force, file_of(model))
    if is_function(model):
        runtime = _of_function(model, options.weights)
    elif os.path.isdir(model):
        runtime = _of_directory(Path(model), options.weights)
    else:
        runtime = _of_onnx(Path(model), options.weights)
    runtime.save(out)
    say(in_one_line(runtime, out))


def _of_onnx(file: Path, weights: str) -> Runtime:
    with brought_by("train", "sparbor deploy"):
        from sparbor.onnx_import.deploying import from_onnx
    return from_onnx(file, weights=weights)


def _of_function(function: str, weights: str) -> Runtime:
    with brought_by("train", "sparbor deploy"):
        from sparbor.lower.deploy import deploy
    model, example = made_by(function, RETURNED)
    return deploy(model.eval(), example, weights=weights)


def _of_directory(directory: Path, weights: str) -> Runtime:
    model = of_directory(directory, "sparbor deploy")
    from sparbor.lower.deploy import deploy

    return deploy(model, _example_for(model, directory), weights=weights)


def _example_for(model: Any, directory: Path) -> Any:
    """What a model of Hugging Face's is called with: tokens and a mask, or an image."""
    import torch

    kind, config = getattr(model, "main_input_name", None), getattr(model, "config", None)
    if kind == "input_ids" and config is not None:
        ids = torch.arange(FIRST_TOKEN, FIRST_TOKEN + TEXTS * TOKENS).view(TEXTS, TOKENS) % config.vocab_size
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    size = getattr(config, "image_size", None)
    if kind == "pixel_values" and size is not None:
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        return {"pixel_values": torch.zeros(1, getattr(config, "num_channels", 3), height, width)}
    raise ArgumentError(
        f"{str(directory)!r} has a {type(model).__name__}, and what it is called with is not known: write a function"
        " that returns the model and an example, and name it FILE.py:NAME"
    )
