"""ONNX Runtime with 8-bit weights and activations, quantized as its manual says for the kind of network.

Linear layers alone and transformers: dynamically, inputs are scaled in every call. Convolutional networks: statically,
the ranges of activations calibrated, here on the very input that is timed, which is as favourable as can be.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.peers import Array, Example, Local, has_attention, linear_chain, missing, single
from bench.peers.onnxruntime import session

if TYPE_CHECKING:
    from torch import nn

NAME = "onnxruntime-int8"
PACKAGE = "onnxruntime"
KIND = "dense"
PRECISION = "int8"


def available() -> str | None:
    return missing("onnx", "onnxruntime")


def prepare(model: nn.Module, example: Example, threads: int) -> Local:
    from bench.peers import onnx_file

    with tempfile.TemporaryDirectory() as folder, _without_advice():
        exact = onnx_file.write(model, example, Path(folder) / "model.onnx")
        rounded = Path(folder) / "int8.onnx"
        if linear_chain(model) or has_attention(model):
            quantize_weights(exact, rounded)
        else:
            _quantize_all(exact, rounded, single(example).numpy())
        return session(rounded, example, threads)


def quantize_weights(exact: Path, rounded: Path) -> None:
    """From one file to the other: weights beforehand, inputs in every call."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # Signed and per tensor: the fastest of all. It cannot run a convolution, as of an image's patches, that way.
    quantize_dynamic(exact, rounded, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8)


def _quantize_all(exact: Path, rounded: Path, x: Array) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        exact,
        rounded,
        _Calibration([{"x": x}]),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,  # unsigned times signed is what AVX-512 VNNI multiplies
        weight_type=QuantType.QInt8,
    )


class _Calibration:
    """The inputs, one at a time, as ONNX Runtime asks for them."""

    def __init__(self, inputs: list[dict[str, Array]]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._inputs, None)


@contextmanager
def _without_advice() -> Iterator[None]:
    def keep(record: logging.LogRecord) -> Any:
        return "pre-process" not in record.getMessage()

    logging.getLogger().addFilter(keep)
    try:
        yield
    finally:
        logging.getLogger().removeFilter(keep)
