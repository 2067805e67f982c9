"""OpenVINO's 8-bit Linear layers without the zeros of their weights, which are unpacked as they are read.

OpenVINO has a kernel for that on processors with AMX alone, for layers whose sizes are multiples of 64, and not for
convolutions. Everything else is as in the dense 8-bit network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.peers import Example, Local, openvino_int8
from bench.peers.openvino import compiled, request

if TYPE_CHECKING:
    from torch import nn

NAME = "openvino-int8-sparse"
PACKAGE = "nncf"
KIND = "sparse"
PRECISION = "int8"

LEAST_SPARSE = 0.5  # layers with fewer zeros than this are left dense

available = openvino_int8.available


def prepare(model: nn.Module, example: Example, threads: int) -> Local:
    graph = openvino_int8.quantized(model, example)
    network = compiled(graph, threads, {"CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE": LEAST_SPARSE})
    kernels = {str(node.get_rt_info()["primitiveType"].value) for node in network.get_runtime_model().get_ops()}
    if not any("sparse" in kernel for kernel in kernels):
        raise ValueError("it has kernels for none of these layers without their zeros on this processor")
    return request(network, example, openvino_int8.stored_bytes(graph))
