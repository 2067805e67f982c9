"""OpenVINO, made to compute in f32, with input and output tensors set once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.peers import Array, Example, Local, dense_bytes, missing

if TYPE_CHECKING:
    import openvino
    from torch import nn

NAME = "openvino"
PACKAGE = "openvino"
KIND = "dense"
PRECISION = "f32"

IN_F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def available() -> str | None:
    return missing("onnx", "openvino")


def prepare(model: nn.Module, example: Example, threads: int) -> Local:
    return request(compiled(read(model, example), threads, IN_F32), example, dense_bytes(model))


def read(model: nn.Module, example: Example) -> openvino.Model:
    """The model as OpenVINO's graph, for the batch of ``example``."""
    import openvino

    from bench.peers import onnx_file

    with tempfile.TemporaryDirectory() as folder:
        return openvino.Core().read_model(onnx_file.write(model, example, Path(folder) / "model.onnx"))


def compiled(graph: openvino.Model, threads: int, settings: dict[str, Any]) -> openvino.CompiledModel:
    """For the shortest time of one call; ``settings`` are further ones."""
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # a pinned thread must be woken for each call: slower, and unfair to the others
        **settings,
    }
    return openvino.Core().compile_model(graph, "CPU", settings)


def request(model: openvino.CompiledModel, example: Example, stored_bytes: int) -> Local:
    """A request for ``example``, bound to it and to an output of its own."""
    import openvino

    from bench.peers import onnx_file

    request = model.create_infer_request()
    result = np.full(tuple(model.outputs[0].shape), np.nan, dtype=np.float32)
    tensors = {name: openvino.Tensor(each.numpy(), True) for name, each in onnx_file.inputs(example).items()}
    for name, tensor in tensors.items():
        request.set_tensor(name, tensor)
    tensors["y"] = openvino.Tensor(result, shared_memory=True)
    request.set_output_tensor(tensors["y"])

    def output(_: object) -> Array:
        return tensors["y"].data  # and thereby holds all of them: the request does not keep their memory

    return Local(lambda: request.infer(share_outputs=True), stored_bytes, output)
