"""A model as ONNX, for the rivals that read it: of a version that all of them know, batch norms folded by PyTorch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

OPSET = 13


def inputs(example: Tensor | tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The inputs by their names in the file: one is called ``x``, several ``x0``, ``x1`` and so on."""
    if isinstance(example, tuple):
        return {f"x{number}": each for number, each in enumerate(example)}
    return {"x": example}


def write(model: nn.Module, example: Tensor | tuple[Tensor, ...], file: Path, opset: int = OPSET) -> Path:
    """Write ``model`` for the sizes of ``example``; the output is called ``y``."""
    import torch

    given = inputs(example)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        # PyTorch's newer exporter writes no version as old as DeepSparse needs.
        torch.onnx.export(
            model,
            tuple(given.values()),
            file,
            dynamo=False,
            opset_version=opset,
            input_names=list(given),
            output_names=["y"],
        )
    return file
