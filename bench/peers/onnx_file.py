"""A model as ONNX, for the rivals that read it, batch norms folded by PyTorch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from bench.peers import Example, arguments

if TYPE_CHECKING:
    from torch import Tensor, nn

OPSET = 17  # the first that has layer norms


def inputs(example: Example) -> dict[str, Tensor]:
    """The inputs by their names in the file: one is called ``x``, several ``x0``, ``x1`` and so on."""
    if isinstance(example, tuple):
        return {f"x{number}": each for number, each in enumerate(example)}
    return {"x": example}


def write(
    model: nn.Module, example: Example, file: Path, opset: int = OPSET, free: dict[int, str] | None = None
) -> Path:
    """Write ``model`` for the sizes of ``example``; the output is called ``y``.

    ``free`` are the dimensions of all inputs that may be of any size, and a name for each.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", "Converting a tensor to a Python")  # sizes become constants, as they should
        warnings.filterwarnings("ignore", "Exporting aten::index operator")  # of negative indices, which nobody has
        # PyTorch's newer exporter writes no version as old as DeepSparse needs.
        torch.onnx.export(
            model,
            arguments(example),
            file,
            dynamo=False,
            opset_version=opset,
            input_names=list(inputs(example)),
            output_names=["y"],
            dynamic_axes=dict.fromkeys(inputs(example), free) if free else None,
        )
    return file
