"""A model as ONNX, for the rivals that read it: of a version that all of them know, batch norms folded by PyTorch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

OPSET = 13


def write(model: nn.Module, example: Tensor, file: Path) -> Path:
    """Write ``model`` for the batch of ``example``; the input is called ``x``, the output ``y``."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        # PyTorch's newer exporter writes no version as old as DeepSparse needs.
        torch.onnx.export(
            model, (example,), file, dynamo=False, opset_version=OPSET, input_names=["x"], output_names=["y"]
        )
    return file
