"""OpenVINO with 8-bit weights and activations, quantized after training by NNCF, as its manual says.

The ranges of activations are calibrated on the very input that is timed, which is as favourable as can be. What is
left of the network to compute in floating point is in the precision that OpenVINO chooses for the machine, or in f32,
whichever a few calls show to be faster.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from bench.peers import Example, Local, has_attention, missing, onnx_file
from bench.peers.openvino import IN_F32, compiled, read, request

if TYPE_CHECKING:
    import openvino
    from torch import nn

NAME = "openvino-int8"
PACKAGE = "nncf"
KIND = "dense"
PRECISION = "int8"

TRIALS = 20


def available() -> str | None:
    return missing("onnx", "openvino", "nncf")


def prepare(model: nn.Module, example: Example, threads: int) -> Local:
    graph = quantized(model, example)
    either = [request(compiled(graph, threads, hint), example, stored_bytes(graph)) for hint in ({}, IN_F32)]
    return min(either, key=lambda ready: min(ready.sample(TRIALS)))


def quantized(model: nn.Module, example: Example) -> openvino.Model:
    """OpenVINO's graph of the model, with its weights in 8 bits and the ranges of its activations."""
    return quantized_graph(read(model, example), [example], has_attention(model))


def quantized_graph(graph: openvino.Model, calibration: Sequence[Example], transformer: bool) -> openvino.Model:
    """The same of a graph; its activations have the ranges that they have for the calibration inputs."""
    os.environ["NNCF_CI"] = "1"  # it sends nobody anything
    with redirect_stdout(io.StringIO()):  # it prints settings and progress bars
        import nncf

        given = [{name: each.numpy() for name, each in onnx_file.inputs(batch).items()} for batch in calibration]
        return nncf.quantize(
            graph,
            nncf.Dataset(given),
            preset=nncf.QuantizationPreset.PERFORMANCE,  # symmetric: no zero points to correct for
            target_device=nncf.TargetDevice.CPU,
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
            fast_bias_correction=True,  # biases are constants: the slow one gives no faster network
            subset_size=len(given),
        )


def stored_bytes(graph: openvino.Model) -> int:
    """All constants of the graph."""
    return sum(node.get_byte_size() for node in graph.get_ops() if node.get_type_name() == "Constant")
