"""A program with every operation on bytes, as networks have them: convolutions, a residual, a gate, then floats."""

from __future__ import annotations

import numpy as np

from sparbor.packing.filters import pack_filters_as_bytes
from sparbor.packing.quads import pack_quads
from sparbor.packing.reading_order import ReadingOrder
from sparbor.program.program import Activation, Operation, Port, Program, Quantization, Settings, ValueType, Weights
from sparbor.program.windows import AverageWindow, Window
from tests.layers import random_mask, random_weight

INPUT = (3, 12, 12)


def network_program() -> Program:
    rng = np.random.default_rng(0)
    values, operations = [ValueType("f32", ("batch", *INPUT))], list[Operation]()

    def append(
        kind: str,
        inputs: tuple[int, ...],
        shape: tuple[int, ...],
        by: Quantization | None = None,
        layer: str | None = None,
        activation: str | None = None,
        settings: Settings | None = None,
    ) -> int:
        values.append(ValueType("f32" if by is None else "u8", ("batch", *shape), by))
        mapped = None if activation is None else Activation(activation)
        operations.append(Operation(kind, inputs, len(values) - 1, layer, mapped, settings))
        return len(values) - 1

    def bias(outputs: int) -> np.ndarray:
        return rng.standard_normal(outputs).astype(np.float32) * np.float32(0.1)

    plane, half = (16, 12, 12), (16, 6, 6)
    window, halving = Window((3, 3), padding=(1, 1, 1, 1)), Window((2, 2), (2, 2), groups=16)
    depthwise = Window((3, 3), padding=(1, 1, 1, 1), groups=16)
    first = random_weight(rng, 16, 27).reshape(16, 3, 3, 3)
    second, kept = (
        random_weight(rng, 16, 144).reshape(16, 16, 3, 3),
        random_mask(rng, 16, 144, 0.4).reshape(16, 16, 3, 3),
    )
    order = ReadingOrder(16, (3, 3))
    layers: dict[str, Weights] = {
        "first": pack_filters_as_bytes(first, bias(16)),
        "second": pack_quads(order.matrix(second), order.matrix(kept), bias(16)),
        "depthwise": pack_filters_as_bytes(random_weight(rng, 16, 9).reshape(16, 1, 3, 3)),
        "end": pack_quads(random_weight(rng, 10, 32), random_mask(rng, 10, 32, 0.5), bias(10)),
    }
    positive, signed = Quantization(0.015, 0), Quantization(0.02, 110)
    x = append("quantize", (0,), INPUT, Quantization(0.03, 128))
    x = append("quantized_convolution", (x,), plane, positive, "first", "relu", window)
    pooled = append("quantized_max_pool", (x,), half, positive, settings=halving)
    x = append("quantized_convolution", (pooled,), half, signed, "second", "silu", window)
    x = append("quantized_convolution", (x, pooled), half, signed, "depthwise", None, depthwise)
    x = append("quantized_map", (x,), half, Quantization(0.018, 20), activation="hardswish")
    x = append("quantized_add", (x, pooled), half, Quantization(0.03, 0), activation="relu")
    both = append("quantized_concat", (x, pooled), (32, 6, 6), Quantization(0.025, 3))
    x = append("dequantize", (both,), (32, 6, 6))
    x = append("adaptive_average_pool", (x,), (32, 1, 1))
    gate = append("activation", (x,), (32, 1, 1), activation="sigmoid")
    x = append("quantized_scale", (both, gate), (32, 6, 6), Quantization(0.02, 0))
    mean = AverageWindow((6, 6), (6, 6), groups=32)
    x = append("quantized_average_pool", (x,), (32, 1, 1), Quantization(0.008, 0), settings=mean)
    x = append("dequantize", (x,), (32, 1, 1))
    x = append("reshape", (x,), (32,))
    x = append("linear", (x,), (10,), layer="end")
    return Program(tuple(values), (Port("input", 0),), (Port("output", x),), tuple(operations), layers)
