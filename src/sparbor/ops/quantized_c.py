"""Operations on bytes in C: whole numbers alone, but for activations that are more than bounds."""

from __future__ import annotations

import math

import numpy as np

from sparbor.ops.fixed_point import MOST_ADDED, MOST_FACTOR, MOST_STEP, shift_for, whole
from sparbor.ops.targets import Writer
from sparbor.packing.dense_weights import DenseWeights
from sparbor.packing.quads import QUAD_BRANCH, QuadLayer
from sparbor.program.program import Activation, Operation, Quantization
from sparbor.program.windows import AverageWindow, Planes, Window, planes_of


def _quantization(writer: Writer, value: int) -> Quantization:
    found = writer.program.values[value].quantization
    assert found is not None  # or the engine would have refused the program
    return found


def _step(writer: Writer, value: int) -> float:
    """As the engine has it: rounded to a float of 32 bits."""
    return float(np.float32(_quantization(writer, value).step))


def _planes(writer: Writer, value: int) -> Planes:
    """Rows are planes of one pixel."""
    shape = writer.program.items[value]
    return planes_of(shape) if len(shape) > 1 else Planes(math.prod(shape), 1, 1)


def _pixels(writer: Writer, value: int) -> tuple[int, int]:
    """The channels of a value, and how many pixels each has."""
    planes = _planes(writer, value)
    return planes.channels, planes.height * planes.width


def _bounds(activation: Activation | None, to: Quantization) -> tuple[int, int] | None:
    """The bytes of the least and of the largest result; None if the activation is more than bounds."""
    if activation is None:
        return 0, 255
    if activation.name not in ("relu", "clamp"):
        return None
    limits = np.array(activation.parameters or (0, math.inf), np.float32)
    with np.errstate(over="ignore"):
        steps = limits / np.float32(to.step)
    low, high = np.clip(np.rint(steps) + to.zero, 0, 255)
    return int(low), int(high)


def _ending(writer: Writer, operation: Operation, shift: int, always: bool = False) -> list[str]:
    """The fields of a byte_ending: bounds where the activation is no more, else (or always) a function that maps."""
    to, step = _quantization(writer, operation.output), _step(writer, operation.output)
    bounds = _bounds(operation.activation, to)
    name = "NULL"
    if operation.activation is not None and (always or bounds is None):
        bounds, name = (0, 255), writer.map_of(operation.activation)
    assert bounds is not None
    numbers = [writer.number(each) for each in (step, math.ldexp(step, -shift))]
    writer.require("byte_ending")
    return [str(shift), *map(str, (to.zero, *bounds)), *numbers, name]


def _ending_of(writer: Writer, number: int, operation: Operation, shift: int, always: bool = False) -> str:
    """A pointer to it."""
    return writer.structure("byte_ending", f"ending{number}", _ending(writer, operation, shift, always))


def _window(writer: Writer, number: int, operation: Operation) -> str:
    """A pointer to a byte_window."""
    window, x = operation.settings_as(Window), operation.inputs[0]
    from_planes, to_planes = _planes(writer, x), _planes(writer, operation.output)
    sizes = [*from_planes, *to_planes, window.groups, *window.kernel]
    steps = [*window.stride, *window.padding, *window.dilation, _quantization(writer, x).zero]
    writer.require("byte_window")
    return writer.structure("byte_window", f"window{number}", [*sizes, *steps])


def quantize(writer: Writer, _: int, operation: Operation) -> None:
    """Planes to pixels."""
    _conversion(writer, "quantize", operation, operation.output)


def dequantize(writer: Writer, _: int, operation: Operation) -> None:
    """And back."""
    _conversion(writer, "dequantize", operation, operation.inputs[0])


def _conversion(writer: Writer, function: str, operation: Operation, value: int) -> None:
    x, y = writer.x_and_y(operation)
    step = writer.number(_quantization(writer, value).step)
    writer.call(function, x, *_pixels(writer, value), step, _quantization(writer, value).zero, y)


def quantized_convolution(writer: Writer, number: int, operation: Operation) -> None:
    """By copies of what lies under each window."""
    layer = writer.program.layers[str(operation.layer)]
    assert isinstance(layer, QuadLayer | DenseWeights)
    assert layer.scale is not None
    x, y = writer.x_and_y(operation)
    window, channels = operation.settings_as(Window), _planes(writer, operation.inputs[0]).channels
    sums = _sums(writer, number, operation, layer)
    residual = writer.place(operation.inputs[1]) if len(operation.inputs) > 1 else "NULL"
    name, pointer = writer.synapses(str(operation.layer)), _window(writer, number, operation)
    rows, columns = window.kernel
    if isinstance(layer, DenseWeights):
        patch = writer.scratch_of(rows * columns * channels)
        writer.call("quantized_dense", name, pointer, sums, x, residual, y, patch)
        return
    alone = columns > 1 and window.dilation[1] > 1  # then each place is filled up to whole branches
    place = -(-channels // QUAD_BRANCH) * QUAD_BRANCH if alone else channels
    row = layer.fan_in // rows
    writer.call("quantized_sparse", name, pointer, sums, row, place, x, residual, y, writer.scratch_of(layer.fan_in))


def _sums(writer: Writer, number: int, operation: Operation, layer: QuadLayer | DenseWeights) -> str:
    """A pointer to what becomes of a convolution's sums."""
    assert layer.scale is not None
    x_step, step = _step(writer, operation.inputs[0]), _step(writer, operation.output)
    scale = x_step * layer.scale.astype(np.float64)
    bias = np.zeros(layer.outputs) if layer.bias is None else layer.bias.astype(np.float64)
    of_zero = _quantization(writer, operation.inputs[0]).zero * layer.whole_sums()
    shift = shift_for(float((scale / step).max()))
    multiplier = whole(scale / step, shift, MOST_FACTOR).astype(np.int32)
    added = whole((bias - scale * of_zero) / step, shift, MOST_ADDED)
    residual, residual_zero = 0, 0
    if len(operation.inputs) > 1:
        residual = int(whole(_step(writer, operation.inputs[1]) / step, shift, MOST_STEP))
        residual_zero = _quantization(writer, operation.inputs[1]).zero
    writer.require("end_sums")
    fields = [writer.array(f"multiplier{number}", multiplier), writer.array(f"added{number}", added)]
    end = "{" + ", ".join(_ending(writer, operation, shift)) + "}"
    return writer.structure("byte_sums", f"sums{number}", [*fields, residual, residual_zero, end])


def quantized_max_pool(writer: Writer, number: int, operation: Operation) -> None:
    """Of bytes, which keep their step and zero."""
    writer.call("quantized_max_pool", _window(writer, number, operation), *writer.x_and_y(operation))


def quantized_average_pool(writer: Writer, number: int, operation: Operation) -> None:
    """Sums by what they are divided by, to another step."""
    window = operation.settings_as(AverageWindow)
    ratio = _step(writer, operation.inputs[0]) / _step(writer, operation.output)
    shift = shift_for(ratio)
    multiplier = int(whole(ratio, shift, MOST_FACTOR))
    pointers = _window(writer, number, operation), _ending_of(writer, number, operation, shift)
    numbers = multiplier, window.divisor, int(window.include_padding)
    writer.call("quantized_average_pool", *pointers, *numbers, *writer.x_and_y(operation))


def quantized_add(writer: Writer, number: int, operation: Operation) -> None:
    """Both in steps of the result."""
    step = _step(writer, operation.output)
    ratios = [_step(writer, value) / step for value in operation.inputs]
    shift = shift_for(max(ratios))
    operands: list[str | int] = []
    for value, ratio in zip(operation.inputs, ratios, strict=True):
        factor = int(whole(ratio, shift, MOST_FACTOR))
        operands += [writer.place(value), factor, _quantization(writer, value).zero]
    end, count = _ending_of(writer, number, operation, shift), math.prod(writer.y_shape(operation))
    writer.call("quantized_add", *operands, end, count, writer.place(operation.output))


def quantized_concat(writer: Writer, number: int, operation: Operation) -> None:
    """Each input's channels, to the step of the result."""
    all_channels, first = _planes(writer, operation.output).channels, 0
    step = _step(writer, operation.output)
    ratios = [_step(writer, value) / step for value in operation.inputs]
    shift = shift_for(max(ratios))
    end = _ending_of(writer, number, operation, shift)
    for value, ratio in zip(operation.inputs, ratios, strict=True):
        channels, pixels = _pixels(writer, value)
        factor, zero = int(whole(ratio, shift, MOST_FACTOR)), _quantization(writer, value).zero
        y = f"{writer.place(operation.output)} + {first}"
        writer.call("quantized_copy", writer.place(value), factor, zero, end, channels, pixels, y, all_channels)
        first += channels


def quantized_map(writer: Writer, number: int, operation: Operation) -> None:
    """An activation of each byte."""
    x, y = writer.x_and_y(operation)
    of = _quantization(writer, operation.inputs[0])
    end = _ending_of(writer, number, operation, 1, always=True)
    writer.call("quantized_map", x, writer.number(of.step), of.zero, end, math.prod(writer.y_shape(operation)), y)


def quantized_scale(writer: Writer, number: int, operation: Operation) -> None:
    """Channels times factors, which are floats."""
    x, factors = operation.inputs
    ratio = writer.number(_step(writer, x) / _step(writer, operation.output))
    end = _ending_of(writer, number, operation, 24)
    places = writer.place(x), _quantization(writer, x).zero, writer.place(factors), ratio
    writer.call("quantized_scale", *places, end, *_pixels(writer, x), writer.place(operation.output))
