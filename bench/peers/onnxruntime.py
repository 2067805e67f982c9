"""ONNX Runtime in f32, input and output bound to fixed memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.peers import Array, Example, Local, missing

if TYPE_CHECKING:
    import onnxruntime
    from torch import nn

NAME = "onnxruntime"
PACKAGE = "onnxruntime"
KIND = "dense"
PRECISION = "f32"


def available() -> str | None:
    return missing("onnx", "onnxruntime")


def prepare(model: nn.Module, example: Example, threads: int) -> Local:
    from bench.peers import onnx_file

    with tempfile.TemporaryDirectory() as folder:
        return session(onnx_file.write(model, example, Path(folder) / "model.onnx"), example, threads)


def opened(file: Path, threads: int, operators: str | None = None) -> onnxruntime.InferenceSession:
    """The model of ``file``, on so many threads of the processor; with a library of operators, if it needs one."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; it warns of every constant that it folds
    if operators:
        options.register_custom_ops_library(operators)
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def session(file: Path, example: Example, threads: int) -> Local:
    """The model of ``file``, bound to ``example`` and to an output of its own."""
    import onnxruntime

    from bench.peers import onnx_file

    session = opened(file, threads)
    result = np.full(session.get_outputs()[0].shape, np.nan, dtype=np.float32)
    binding = session.io_binding()
    for name, given in onnx_file.inputs(example).items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(given.numpy()))
    binding.bind_ortvalue_output("y", onnxruntime.OrtValue.ortvalue_from_numpy(result))

    def read(_: None) -> Array:
        return binding.get_outputs()[0].numpy()

    return Local(lambda: session.run_with_iobinding(binding), file.stat().st_size, read)
