"""Convolutions of bytes as NumPy computes them, sums in whole numbers; and programs of one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparbor.packing.quads import QuadLayer, pack_quads
from sparbor.packing.reading_order import ReadingOrder
from sparbor.program.program import Activation, Operation, Port, Program, Quantization, ValueType, Weights
from sparbor.program.windows import Window

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


X, Y = Quantization(0.02, 100), Quantization(0.05, 120)


@dataclass(frozen=True)
class Case:
    """A convolution from planes of this size; quantizations are those of its input, its residual and its output."""

    channels: int
    outputs: int
    window: Window
    size: tuple[int, ...] = (9, 8)
    activation: Activation | None = None
    x: Quantization = X
    residual: Quantization | None = None
    y: Quantization = Y

    def pixels(self) -> tuple[int, ...]:
        """The size of the output's planes."""
        axes = range(2 - len(self.size), 2)  # of one dimension the second
        return tuple(
            (size + self.window.padding[i] + self.window.padding[i + 2] - self.window.dilation[i] * (kernel - 1) - 1)
            // self.window.stride[i]
            + 1
            for i, size, kernel in zip(axes, self.size, self.window.kernel[axes[0] :], strict=True)
        )

    def order(self) -> ReadingOrder:
        return ReadingOrder(self.channels, self.window.kernel, self.window.dilation, self.window.groups)

    def weight_shape(self) -> tuple[int, ...]:
        return (self.outputs, self.channels // self.window.groups, *self.window.kernel)

    def program(self, layer: Weights) -> Program:
        """From numbers to bytes, by the convolution, and back."""
        shape, result = ("batch", self.channels, *self.size), ("batch", self.outputs, *self.pixels())
        values = [ValueType("f32", shape), ValueType("u8", shape, self.x)]
        operations, inputs = [Operation("quantize", (0,), 1)], [Port("x", 0)]
        read: tuple[int, ...] = (1,)
        if self.residual is not None:
            values += [ValueType("f32", result), ValueType("u8", result, self.residual)]
            operations.append(Operation("quantize", (2,), 3))
            inputs.append(Port("residual", 2))
            read = (1, 3)
        y = len(values)
        values += [ValueType("u8", result, self.y), ValueType("f32", result)]
        operations.append(Operation("quantized_convolution", read, y, "conv", self.activation, self.window))
        operations.append(Operation("dequantize", (y,), y + 1))
        return Program(tuple(values), tuple(inputs), (Port("y", y + 1),), tuple(operations), {"conv": layer})


def pack_case(case: Case, weight: np.ndarray, mask: np.ndarray, bias: np.ndarray | None = None) -> QuadLayer:
    order = case.order()
    return pack_quads(order.matrix(weight), order.matrix(mask), bias)


def whole_weights(case: Case, layer: QuadLayer) -> np.ndarray:
    """The weights as they are stored, as whole numbers: (outputs, channels / groups, kernel height, kernel width)."""
    ones = dataclasses.replace(layer, scale=np.ones(layer.outputs, np.float32))
    return case.order().weight(ones.unpack()[0]).astype(np.float64)


def sums_of(x: np.ndarray, weight: np.ndarray, window: Window, filler: int) -> np.ndarray:
    """Of bytes (items, channels, height, width); doubles hold them exactly."""
    top, left, bottom, right = window.padding
    around = [(0, 0), (0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))]
    x = np.pad(x.astype(np.float64), around, constant_values=filler)
    x = x[:, :, max(-top, 0) : x.shape[2] - max(-bottom, 0), max(-left, 0) : x.shape[3] - max(-right, 0)]
    outputs, own, *kernel = weight.shape
    height, width = (
        (x.shape[2 + i] - window.dilation[i] * (kernel[i] - 1) - 1) // window.stride[i] + 1 for i in range(2)
    )
    groups = window.groups
    sums = np.zeros((len(x), groups, outputs // groups, height, width))
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            down, across = i * window.dilation[0], j * window.dilation[1]
            seen = x[:, :, down:, across:][:, :, :: window.stride[0], :: window.stride[1]][:, :, :height, :width]
            seen = seen.reshape(len(x), groups, own, height, width)
            sums += np.einsum("ngchw,goc->ngohw", seen, weight[:, :, i, j].reshape(groups, -1, own), optimize=True)
    assert np.abs(sums).max(initial=0) < 2**31
    return sums.reshape(len(x), outputs, height, width)


def rounded(real: np.ndarray, y: Quantization, low: float = -np.inf, high: float = np.inf) -> np.ndarray:
    step = np.float32(y.step)
    bounds = [np.clip(np.rint(np.float32(each) / step) + y.zero, 0, 255) for each in (low, high)]
    return np.clip(np.rint(real) + y.zero, *bounds).astype(np.uint8)


def expected_bytes(
    case: Case, layer: Weights, weight: np.ndarray, x: np.ndarray, residual: np.ndarray | None = None
) -> np.ndarray:
    """Bytes of bytes; every step of what becomes of the sums is rounded to float32 once."""
    flat = len(case.size) == 1
    sums = sums_of(x[:, :, None] if flat else x, weight, case.window, case.x.zero).astype(np.float32)
    from_step, step = np.float64(np.float32(case.x.step)), np.float64(np.float32(case.y.step))
    scale = layer.scale.astype(np.float64)
    bias = 0.0 if layer.bias is None else layer.bias.astype(np.float64)
    multiplier = (from_step * scale / step).astype(np.float32)
    of_zero = from_step * scale * case.x.zero * weight.sum(axis=(1, 2, 3))
    shift = ((bias - of_zero) / step).astype(np.float32)
    real = sums * multiplier[:, None, None] + shift[:, None, None]
    if flat:
        real = real[:, :, 0]
    if residual is not None:
        assert case.residual is not None
        ratio = np.float32(np.float64(np.float32(case.residual.step)) / step)
        real = real + (residual.astype(np.float32) - np.float32(case.residual.zero)) * ratio
    assert real.dtype == np.float32
    if case.activation is None:
        return rounded(real, case.y)
    name, parameters = case.activation.name, case.activation.parameters
    if name == "relu":
        return rounded(real, case.y, 0)
    if name == "clamp":
        return rounded(real, case.y, *parameters)
    step32 = np.float32(case.y.step)
    return rounded(FUNCTIONS[name]((real * step32).astype(np.float64)).astype(np.float32) / step32, case.y)


def as_numbers(bytes_: np.ndarray, quantization: Quantization) -> np.ndarray:
    """Numbers that become just these bytes."""
    return (bytes_.astype(np.float32) - np.float32(quantization.zero)) * np.float32(quantization.step)


def as_bytes(numbers: np.ndarray, quantization: Quantization) -> np.ndarray:
    """The bytes that these numbers were made of."""
    return (np.rint(numbers / np.float32(quantization.step)) + quantization.zero).astype(np.uint8)
