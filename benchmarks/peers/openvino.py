"""OpenVINO, made to compute in f32, with input and output tensors set once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peers import Local, dense_bytes, missing

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "openvino"
PACKAGE = "openvino"
KIND = "dense"
PRECISION = "f32"


def available() -> str | None:
    return missing("onnx", "openvino")


def prepare(model: nn.Module, example: Tensor, threads: int) -> Local:
    import openvino

    from peers import onnx_file

    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        graph = core.read_model(onnx_file.write(model, example, Path(folder) / "model.onnx"))
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # a pinned thread must be woken for each call: slower, and unfair to the others
    }
    request = core.compile_model(graph, "CPU", settings).create_infer_request()
    result = np.full(tuple(graph.outputs[0].shape), np.nan, dtype=np.float32)
    request.set_input_tensor(openvino.Tensor(example.numpy(), shared_memory=True))
    request.set_output_tensor(openvino.Tensor(result, shared_memory=True))
    return Local(lambda: request.infer(share_outputs=True), dense_bytes(model), lambda _: result)
