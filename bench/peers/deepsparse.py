"""DeepSparse 1.8.0, the last release: it needs Python 3.11 or older and an old onnx, so it has its own environment."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.peers import Array, Example, Local, single, worker

if TYPE_CHECKING:
    from torch import nn

NAME = "deepsparse"
PACKAGE = "deepsparse"
KIND = "sparse"
PRECISION = "f32"
ENVIRONMENT = ".venv-deepsparse"
OPSET = 13  # the newest of its onnx


def available() -> str | None:
    return None if worker.python_of(ENVIRONMENT).exists() else f"{ENVIRONMENT} is not set up (make peers)"


def prepare(model: nn.Module, example: Example, threads: int) -> worker.Remote:
    from bench.peers import onnx_file

    x = single(example)
    write = partial(onnx_file.write, model, x, opset=OPSET)
    return worker.Remote("deepsparse", ENVIRONMENT, write, x, threads)


def serve(file: Path, x: Array, threads: int) -> Local:
    """In its own process."""
    os.environ["NM_DISABLE_ANALYTICS"] = "1"
    import deepsparse

    engine = deepsparse.Engine(model=str(file), batch_size=len(x), num_cores=threads)
    return Local(lambda: engine.run([x], val_inp=False), file.stat().st_size, lambda outputs: outputs[0])
