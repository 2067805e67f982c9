"""ONNX Runtime's dynamic quantization: 8-bit weights, and 8-bit inputs scaled in every call."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from peers import Local, layers, missing
from peers.onnxruntime import session

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "onnxruntime-int8"
PACKAGE = "onnxruntime"
KIND = "dense"
PRECISION = "int8"


def available() -> str | None:
    return missing("onnx", "onnxruntime")


def prepare(model: nn.Sequential, example: Tensor, threads: int) -> Local:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from peers import onnx_file

    logging.getLogger().addFilter(_no_advice)
    try:
        with tempfile.TemporaryDirectory() as folder:
            exact = onnx_file.write(layers(model), len(example), Path(folder) / "model.onnx")
            rounded = Path(folder) / "int8.onnx"
            quantize_dynamic(exact, rounded, weight_type=QuantType.QInt8)  # signed and per tensor: the fastest of all
            return session(rounded, example, threads)
    finally:
        logging.getLogger().removeFilter(_no_advice)


def _no_advice(record: logging.LogRecord) -> bool:
    return "pre-process" not in record.getMessage()
