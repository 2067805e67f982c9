"""What the engine checks of a program too: where one is exported, no engine may be built, and a file may say anything.

Sizes are left to the engine. That a layer has as many neurons as its operation's output is what a file may lie about
where there is none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from sparbor.errors import ArgumentError
from sparbor.ops.activations import ACTIVATIONS
from sparbor.ops.operator import Operator
from sparbor.ops.table import OPERATORS
from sparbor.packing.dense_weights import DenseLayer
from sparbor.packing.filters import Filters
from sparbor.packing.quads import QUAD_BRANCH, QuadLayer
from sparbor.packing.slots import BRANCH, MAX_BRANCHES, NEURON_BLOCK, Encoding, PackedSynapses, SparseLayer
from sparbor.packing.tables import Table
from sparbor.program.program import (
    DTYPES,
    ConstantArray,
    Matrix,
    Operation,
    Program,
    Quantization,
    ScaleShift,
    is_matrix,
)
from sparbor.program.windows import AverageWindow, Window

LARGEST_STEP = 1 << 16  # of a window, whatever moves it; the engine has the same three limits
LARGEST_PADDED = 1 << 26  # numbers of an item's planes, padding included
LARGEST_SUMMED = 1 << 23  # places under a window whose bytes are added up in 32 bits

_MATRICES = (SparseLayer, QuadLayer, DenseLayer)
_NORM = (ScaleShift,)
LAYERS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("linear", "lstm", "gru", "rnn"), _MATRICES),
    "convolution": (SparseLayer, QuadLayer, Filters),
    "quantized_convolution": (SparseLayer, QuadLayer, Filters),
    **dict.fromkeys(("scale_shift", "layer_norm", "rms_norm", "group_norm"), _NORM),
    "embedding": (Table,),
    "constant": (ConstantArray,),
}

# Of 8-bit layers: the inputs' rows each have a range of their own, or are bytes already.
_WITH_BYTES = ("linear", "lstm", "gru", "rnn", "quantized_convolution")


def check_structure(program: Program) -> None:
    """Refuse, by name, what no exporter can write; raises ArgumentError."""
    _check_values(program)
    known = {port.value for port in program.inputs}
    for operation in program.operations:
        for value in operation.inputs:
            if value not in known:
                _refuse(operation, f"reads the value {value!r}, which nothing before it computes")
        if operation.output in known or type(operation.output) is not int or not _is_value(program, operation.output):
            _refuse(operation, f"computes the value {operation.output!r}, which is there already or is none")
        known.add(operation.output)
        operator = OPERATORS.get(operation.kind)
        if operator is not None:  # who exports knows what to say of others
            _check_operation(program, operation, operator)
    for port in program.outputs:
        if port.value not in known:
            raise ArgumentError(f"the output {port.name!r} is the value {port.value!r}, which nothing computes{REMEDY}")


REMEDY = ": write the file again where the engine is built, which checks it"


def _refuse(operation: Operation, fault: str) -> NoReturn:
    raise ArgumentError(f"the operation {operation.kind!r} {fault}{REMEDY}")


def _is_value(program: Program, number: int) -> bool:
    return 0 <= number < len(program.values)


def _check_values(program: Program) -> None:
    for number, value in enumerate(program.values):
        by = value.quantization
        if value.type not in DTYPES or not all(map(_is_dimension, value.shape)) or not (by is None or _is_step(by)):
            raise ArgumentError(f"the value {number} is no value: {value}{REMEDY}")
        if by is not None and (value.type != "u8" or len(value.shape) < 2):
            raise ArgumentError(f"the value {number} of type {value.type} has a step, as bytes alone can{REMEDY}")
    for port in (*program.inputs, *program.outputs):
        if type(port.value) is not int or not _is_value(program, port.value) or not isinstance(port.name, str):
            raise ArgumentError(f"{port} is none of the program's {len(program.values)} values{REMEDY}")


def _is_dimension(given: Any) -> bool:
    """A number, the name of a size, or what is computed of two."""
    if isinstance(given, tuple):
        return len(given) == 3 and given[0] in ("+", "-", "*", "//") and all(map(_is_dimension, given[1:]))
    return isinstance(given, str) or (type(given) is int and given >= 1)


def _is_step(by: Quantization) -> bool:
    """A positive normal number as a float of 32 bits, and a byte."""
    if type(by.zero) is not int or not 0 <= by.zero <= 255 or type(by.step) not in (int, float):
        return False
    limits = np.finfo(np.float32)
    return float(limits.tiny) <= by.step <= float(limits.max)


def _check_operation(program: Program, operation: Operation, operator: Operator) -> None:
    least, most = _counts(operator)
    if not least <= len(operation.inputs) <= most:
        _refuse(operation, f"has {len(operation.inputs)} inputs")
    _check_settings(operation, operator)
    _check_activation(operation, operator)
    _check_layer(program, operation, operator)
    _check_bytes(program, operation)
    if isinstance(operation.settings, Window):
        _check_window(program, operation, operation.settings)


def _counts(operator: Operator) -> tuple[float, float]:
    """The fewest and the most inputs."""
    match operator.inputs:
        case None:
            return 1, float("inf")
        case int(count):
            return count, count
        case counts:
            return counts


# By how a field is written in its class, whether it can have a value.
_FITS: Mapping[str, Callable[[Any], bool]] = {
    "int": lambda given: type(given) is int,
    "bool": lambda given: type(given) is bool,
    "float": lambda given: type(given) in (int, float),
    "Pair": lambda given: _are_whole(given) and len(given) == 2,
    "Sides": lambda given: _are_whole(given) and len(given) == 4,
    "tuple[int, ...]": lambda given: _are_whole(given),
}


def _are_whole(given: Any) -> bool:
    return isinstance(given, tuple) and all(type(each) is int for each in given)


def _check_settings(operation: Operation, operator: Operator) -> None:
    settings, wanted = operation.settings, operator.settings
    if wanted is None:
        if settings is not None:
            _refuse(operation, f"has settings, {settings}, and takes none")
        return
    if type(settings) is not wanted:
        _refuse(operation, f"has the settings {settings}, and takes {wanted.__name__}")
    for field in dataclasses.fields(wanted):
        if not _FITS[str(field.type)](getattr(settings, field.name)):
            _refuse(operation, f"has {field.name}={getattr(settings, field.name)!r}, which is no {field.type}")


def _check_activation(operation: Operation, operator: Operator) -> None:
    activation = operation.activation
    if (operator.activation == "yes" and activation is None) or (operator.activation == "no" and activation):
        _refuse(operation, "has no activation" if activation is None else f"has the activation {activation.name!r}")
    if activation is not None:
        kind = ACTIVATIONS.get(activation.name)
        if kind is None or len(kind.parameters) != len(activation.parameters):
            _refuse(operation, f"has {activation}, which is none of: {', '.join(ACTIVATIONS)}, or has other parameters")


def _check_layer(program: Program, operation: Operation, operator: Operator) -> None:
    name = operation.layer
    if name is None or operator.layer == "no":
        if (name is None) == (operator.layer == "yes"):
            _refuse(operation, "has no layer" if name is None else f"has the layer {name!r}, and takes none")
        return
    layer = program.layers.get(name)
    if not isinstance(layer, LAYERS[operation.kind]):
        found = "is not there" if layer is None else f"is a {type(layer).__name__}"
        _refuse(operation, f"has the layer {name!r}, which {found}, and takes one of {_names(LAYERS[operation.kind])}")
    if not is_matrix(layer):
        return
    _check_arrays(operation, name, layer)
    in_bytes = layer.encoding is Encoding.INT8
    if in_bytes and operation.kind not in _WITH_BYTES:
        raise ArgumentError(
            f"layer {name!r} has weights 'int8', and the operation {operation.kind!r} takes none such:"
            " export a model of weights 'word16' or 'exact'"
        )
    if (operation.kind == "quantized_convolution") > in_bytes:
        _refuse(operation, f"has the layer {name!r} of weights {layer.encoding.value!r}, and takes 'int8' alone")
    if in_bytes and layer.scale is None:
        _refuse(operation, f"has the layer {name!r} of bytes without a scale")


def _check_arrays(operation: Operation, name: str, layer: Matrix) -> None:
    """Its arrays are as large as it says, so that reading them takes no more than what they are."""
    outputs, fan_in = layer.outputs, layer.fan_in
    if type(outputs) is not int or type(fan_in) is not int or min(outputs, fan_in) < 1:
        _refuse(operation, f"has the layer {name!r} of {outputs!r} x {fan_in!r} weights")
    fits = all(each is None or each.shape == (outputs,) for each in (layer.bias, layer.scale))
    blocks = -(-outputs // NEURON_BLOCK)
    if isinstance(layer, PackedSynapses):
        layout, places = layer.layout, layer.padding.shape
        runs, branches = len(layout.run_slots), len(layout.branches)
        fits &= (len(layout.runs_per_group), layout.runs_per_group.sum(), len(layout.run_branches)) == (
            blocks,
            runs,
            runs,
        )
        fits &= layout.run_branches.sum() == branches and places[:2] == (layout.slots, NEURON_BLOCK)
        fits &= fan_in <= MAX_BRANCHES * (QUAD_BRANCH if isinstance(layer, QuadLayer) else BRANCH)
    else:
        in_blocks = isinstance(layer, DenseLayer) and layer.encoding is not Encoding.INT8
        fits &= layer.stored.size == (blocks * NEURON_BLOCK if in_blocks else outputs) * fan_in
    if not fits:
        _refuse(operation, f"has the layer {name!r}, whose arrays are none of {outputs} x {fan_in} weights")


def _names(kinds: tuple[type, ...]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)


def _check_bytes(program: Program, operation: Operation) -> None:
    """Which values stand for numbers is what operations on bytes rest on."""
    inputs, output = operation.inputs, operation.output
    of_bytes: tuple[int, ...] = ()
    if operation.kind == "quantize":
        of_bytes = (output,)
    elif operation.kind == "dequantize":
        of_bytes = inputs
    elif operation.kind == "quantized_scale":  # by floats, its second input
        of_bytes = (inputs[0], output)
    elif operation.kind.startswith("quantized_"):
        of_bytes = (*inputs, output)
    for value in of_bytes:
        if program.values[value].quantization is None:
            _refuse(operation, f"has the value {value}, which is not quantized")


def _check_window(program: Program, operation: Operation, window: Window) -> None:
    """Its steps, and its planes where their sizes are numbers."""
    steps = (*window.kernel, *window.stride, *window.dilation, *window.upsample)
    if not all(1 <= step <= LARGEST_STEP for step in steps) or max(map(abs, window.padding)) > LARGEST_STEP:
        _refuse(operation, f"has {window}, whose steps are not between 1 and {LARGEST_STEP}, or its padding beyond")
    sizes = [program.values[value].shape[1:] for value in (operation.inputs[0], operation.output)]
    if any(len(each) not in (2, 3) for each in sizes) or len(sizes[0]) != len(sizes[1]):
        _refuse(operation, "is over no planes")
    (channels, *inside), (_, *outside) = ([each if isinstance(each, int) else 1 for each in size] for size in sizes)
    if window.groups < 1 or channels % window.groups:
        _refuse(operation, f"has {window.groups} groups of {channels} channels")
    padded = channels
    for axis, size, outputs in zip((1, 0), reversed(inside), reversed(outside), strict=False):
        around = window.padding[axis] + window.padding[axis + 2]
        reach = (size - 1) * window.upsample[axis] + 1 + around
        padded *= reach
        if reach < 1 or outputs > reach or padded > LARGEST_PADDED:
            _refuse(operation, f"has planes of {reach} with their padding, {outputs} outputs: none, or too many")
    if operation.kind == "quantized_average_pool" and window.kernel[0] * window.kernel[1] > LARGEST_SUMMED:
        _refuse(operation, f"has the kernel {window.kernel} of more than {LARGEST_SUMMED:,} places")
    if isinstance(window, AverageWindow) and window.divisor < 0:
        _refuse(operation, f"has the divisor {window.divisor}")
