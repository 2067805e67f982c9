"""DeepSparse 1.8.0, the last release: it needs Python 3.11 or older and an old onnx, so it has its own environment."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from peers import Array, Layer, Local, worker

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "deepsparse"
PACKAGE = "deepsparse"
KIND = "sparse"
PRECISION = "f32"
ENVIRONMENT = ".venv-deepsparse"


def available() -> str | None:
    return None if worker.python_of(ENVIRONMENT).exists() else f"{ENVIRONMENT} is not set up (make peers)"


def prepare(model: nn.Sequential, example: Tensor, threads: int) -> worker.Remote:
    return worker.Remote("deepsparse", ENVIRONMENT, model, example, threads)


def serve(layers: list[Layer], x: Array, threads: int) -> Local:
    """In its own process."""
    os.environ["NM_DISABLE_ANALYTICS"] = "1"
    import deepsparse

    from peers import onnx_file

    with tempfile.TemporaryDirectory() as folder:
        file = onnx_file.write(layers, len(x), Path(folder) / "model.onnx")
        stored = file.stat().st_size
        engine = deepsparse.Engine(model=str(file), batch_size=len(x), num_cores=threads)
    return Local(lambda: engine.run([x], val_inp=False), stored, lambda outputs: outputs[0])
