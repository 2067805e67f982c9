"""``sparbor deploy``: of an ONNX model, of one that Python makes, or of a directory, what runs on the engine."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparbor.cli.inspecting import in_one_line
from sparbor.cli.parser import add_command, add_out, add_weights
from sparbor.errors import ArgumentError
from sparbor.extras import brought_by
from sparbor.files import check_free

if TYPE_CHECKING:
    from sparbor.engine.runtime import Runtime

TEXTS, TOKENS, FIRST_TOKEN = 2, 8, 5  # of an example; the smallest numbers are likely to stand for padding and ends
PYTHON = ".py:"


def add(commands: Any) -> None:
    """The command."""
    about = "Make of an ONNX or PyTorch model what runs on the engine."
    command = add_command(commands, "deploy", deploy_model, about)
    command.add_argument(
        "model",
        metavar="MODEL",
        help="an ONNX file; FILE.py:NAME, a function there that returns a model and what it is called with; or a "
        "directory of Hugging Face's",
    )
    add_out(command, "FILE", "the deployed model to write (.safetensors)")
    add_weights(command, "word16")


def deploy_model(options: argparse.Namespace) -> None:
    """Deploy the model, compare, write at once, and say what was written."""
    model, out = options.model, Path(options.out)
    if PYTHON in model:
        check_free(out, options.force)
        file, _, name = model.rpartition(":")
        runtime = _of_python(Path(file), name, options.weights)
    elif Path(model).is_dir():
        check_free(out, options.force)
        runtime = _of_directory(Path(model), options.weights)
    else:
        runtime = _of_onnx(Path(model), out, options)
    runtime.save(out)
    print(in_one_line(runtime, out))


def _of_onnx(file: Path, out: Path, options: argparse.Namespace) -> Runtime:
    with brought_by("train", "sparbor deploy"):
        from sparbor.onnx_import.deploying import from_onnx
    from sparbor.onnx.writing import check_out

    check_out(out, options.force, file)
    return from_onnx(file, weights=options.weights)


def _of_python(path: Path, name: str, weights: str) -> Runtime:
    with brought_by("train", "sparbor deploy"):
        from torch import nn

        from sparbor.lower.deploy import deploy
    made = _called(path, name)
    if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[0], nn.Module):
        raise ArgumentError(
            f"{path}:{name} returned a {type(made).__name__}: it must return the model and an example of what it is"
            " called with, `return model, torch.zeros(1, 784)`"
        )
    model, example = made
    return deploy(model.eval(), example, weights=weights)


def _called(path: Path, name: str) -> Any:
    """What a function of a file returns; the file is executed, and finds what lies beside it."""
    if not path.is_file():
        raise ArgumentError(f"{str(path)!r} is no file: name a Python file and a function in it, FILE.py:NAME")
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None  # it ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
        make = getattr(module, name, None)
        if not callable(make):
            raise ArgumentError(f"{path} has no function {name!r}: name one, FILE.py:NAME")
        return make()
    finally:
        sys.path.pop(0)


def _of_directory(directory: Path, weights: str) -> Runtime:
    with brought_by("hugging-face", "sparbor deploy of a directory"):
        from sparbor.lower.deploy import deploy
        from sparbor.pretrained.loading import load_pretrained
    model = load_pretrained(directory).eval()
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
