"""The program, what a model is lowered to, and its file: `docs/format.md` describes the bytes."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save as to_safetensors

from sparbor.errors import ArgumentError, ModelFileError
from sparbor.files import write_file
from sparbor.packing import (
    FINITE_WANTED,
    DenseLayer,
    Floats,
    Layer,
    Precision,
    SparseLayer,
    Topology,
    aligned_empty,
    check_dense,
    check_sparse,
    not_finite,
)

VERSION = 1
LARGEST_VALUE = 2**26  # numbers of one value of one item; a runtime bounds what all of them need
LARGEST_HEADER = 2**24

Array: TypeAlias = npt.NDArray[np.generic]
Shape: TypeAlias = tuple[int, ...]

# The activations, and the names of their parameters. A kernel takes at most two.
ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "relu": (),
    "clamp": ("low", "high"),
    "leaky_relu": ("slope",),
    "elu": ("alpha", "scale"),
    "gelu": (),
    "gelu_tanh": (),
    "silu": (),
    "sigmoid": (),
    "tanh": (),
    "hardswish": (),
    "hardsigmoid": (),
    "softplus": ("beta", "threshold"),
}


@dataclass(frozen=True)
class Activation:
    name: str
    parameters: tuple[float, ...] = ()


@dataclass(frozen=True)
class Affine:
    """y = x · scale + shift, feature by feature: a batch norm that no linear layer could take in."""

    scale: Floats
    shift: Floats

    def arrays(self) -> dict[str, Array]:
        return {"scale": self.scale, "shift": self.shift}


@dataclass(frozen=True)
class Operation:
    """One of KINDS; `layer` names its weights, `activation` follows it or, for kind "activation", is it."""

    kind: str
    inputs: tuple[int, ...]
    output: int
    layer: str | None = None
    activation: Activation | None = None


KINDS: Mapping[str, int] = {"linear": 1, "affine": 1, "activation": 1, "softmax": 1, "reshape": 1, "add": 2}


@dataclass(frozen=True)
class Program:
    """Operations in order over numbered values; `shapes` are those of one item of the batch."""

    shapes: tuple[Shape, ...]
    input: int
    output: int
    operations: tuple[Operation, ...]
    layers: Mapping[str, Layer | Affine] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, layer in self.layers.items():
            if (part := not_finite(layer.arrays())) is not None:
                raise ArgumentError(f"layer {name!r}: {part} holds NaN or infinity{FINITE_WANTED}")

    @property
    def weight_bytes(self) -> int:
        return sum(array.nbytes for layer in self.layers.values() for array in layer.arrays().values())


def save(program: Program, path: str | os.PathLike[str]) -> None:
    """Write the model file; an existing one is replaced only when the new one is complete."""
    tensors = {
        f"{name}/{part}": array for name, layer in program.layers.items() for part, array in layer.arrays().items()
    }
    text = json.dumps(_to_json(program, tensors), separators=(",", ":"))
    metadata = {"sparbor": checksummed(text)}  # one entry: safetensors keeps no order
    data = to_safetensors({name: np.ascontiguousarray(array) for name, array in tensors.items()}, metadata)
    write_file(path, data)


def load(path: str | os.PathLike[str]) -> Program:
    """Read a model file; everything it says is checked before it is believed."""
    try:
        with open(path, "rb") as file:
            return _read(file)
    except OSError as error:
        raise ModelFileError(f"could not read {os.fspath(path)}: {error}") from error
    except ModelFileError as error:
        raise ModelFileError(f"{os.fspath(path)}: {error}") from None


def checksummed(text: str) -> str:
    """The text behind its checksum of eight digits."""
    return f"{zlib.crc32(text.encode(errors='surrogatepass')):08x}{text}"


def _to_json(program: Program, tensors: Mapping[str, Array]) -> dict[str, Any]:
    operations = []
    for operation in program.operations:
        entry: dict[str, Any] = {
            "kind": operation.kind,
            "inputs": operation.inputs,
            "output": operation.output,
        }
        if operation.layer is not None:
            entry["layer"] = operation.layer
        if operation.activation is not None:
            entry["activation"] = [operation.activation.name, *operation.activation.parameters]
        operations.append(entry)
    return {
        "version": VERSION,
        "values": program.shapes,
        "input": program.input,
        "output": program.output,
        "operations": operations,
        "layers": {name: _layer_to_json(layer) for name, layer in program.layers.items()},
        "crc32": {name: zlib.crc32(np.ascontiguousarray(array).data) for name, array in tensors.items()},
    }


def _layer_to_json(layer: Layer | Affine) -> dict[str, Any]:
    if isinstance(layer, Affine):
        return {"kind": "affine"}
    return {
        "kind": "dense" if isinstance(layer, DenseLayer) else "sparse",
        "outputs": layer.outputs,
        "fan_in": layer.fan_in,
        "precision": layer.precision.value,
    }


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise ModelFileError(f"{fault}; the file is damaged or was not written by Sparbor")


_DTYPES: Mapping[str, type[np.generic]] = {"F32": np.float32, "U16": np.uint16, "U8": np.uint8}


@dataclass(frozen=True)
class _Tensor:
    dtype: np.dtype[np.generic]
    shape: Shape
    begin: int  # in the file
    size: int


def _read(file: BinaryIO) -> Program:
    metadata, tensors = _read_header(file)
    _require("sparbor" in metadata, "this is not a Sparbor model: its metadata has no graph")
    text = metadata["sparbor"][8:]
    _require(metadata["sparbor"] == checksummed(text), "the graph does not match its checksum")
    graph = _parse(text, "the graph")
    version = graph.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ModelFileError(f"the file has version {version}, this Sparbor reads up to {VERSION}: upgrade sparbor")
    _require(version == VERSION, f"the file has version {version!r}")
    try:
        return _build(graph, tensors, file)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelFileError(
            f"the graph is malformed ({type(error).__name__}: {error}); write the file again"
        ) from error


def _parse(text: str | bytes, what: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{what} is not JSON ({error}); the file is damaged") from None
    _require(isinstance(parsed, dict), f"{what} is not a JSON object")
    return dict(parsed)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _read_header(file: BinaryIO) -> tuple[dict[str, str], dict[str, _Tensor]]:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    _require(size >= 8, f"it has {size} bytes, fewer than a header")
    length = int.from_bytes(file.read(8), "little")
    _require(length <= min(size - 8, LARGEST_HEADER), f"the header claims {length} bytes, the file has {size}")
    header = _parse(file.read(length), "the header")
    metadata = header.pop("__metadata__", {})
    strings = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    _require(strings, "the metadata are not strings")
    tensors = {name: _tensor(name, entry, 8 + length) for name, entry in header.items()}
    at = 8 + length
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].size)):
        _require(tensor.begin == at, f"tensor {name!r} begins at byte {tensor.begin}, not {at}")
        at += tensor.size
    _require(at == size, f"the tensors end at byte {at}, the file at {size}")
    return metadata, tensors


def _tensor(name: str, entry: Any, base: int) -> _Tensor:
    _require(isinstance(entry, dict), f"tensor {name!r} is malformed")
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    _require(isinstance(dtype, str) and dtype in _DTYPES, f"tensor {name!r} has the unknown type {dtype!r}")
    for numbers in (shape, offsets):
        _require(isinstance(numbers, list) and all(map(_is_count, numbers)), f"tensor {name!r} is malformed")
    _require(len(offsets) == 2 and len(shape) <= 3, f"tensor {name!r} is malformed")
    kind = np.dtype(_DTYPES[dtype])
    wanted = math.prod(shape) * kind.itemsize
    begin, end = offsets
    _require(end - begin == wanted, f"tensor {name!r} of shape {shape} needs {wanted} bytes and has {end - begin}")
    return _Tensor(kind, tuple(shape), base + begin, wanted)


def _build(graph: dict[str, Any], tensors: dict[str, _Tensor], file: BinaryIO) -> Program:
    shapes = tuple(tuple(shape) for shape in graph["values"])
    for number, shape in enumerate(shapes):
        good = all(map(_is_count, shape)) and 0 < math.prod(shape) <= LARGEST_VALUE and len(shape) <= 8
        _require(good, f"value {number} has the shape {shape}, which no model can have")
    operations = tuple(_operation(entry) for entry in graph["operations"])
    _check_order(graph["input"], graph["output"], operations, len(shapes))

    arrays: dict[str, dict[str, Array]] = {name: {} for name in graph["layers"]}
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition("/")
        _require(layer in arrays, f"tensor {name!r} belongs to no layer")
        _require(name in graph["crc32"], f"tensor {name!r} has no checksum")
        array = _read_tensor(file, tensor)
        _require(zlib.crc32(array.data) == graph["crc32"][name], f"tensor {name!r} does not match its checksum")
        arrays[layer][part] = array
    layers = {name: _layer(name, entry, arrays[name]) for name, entry in graph["layers"].items()}
    for operation in operations:
        _check_shapes(operation, shapes, layers)
    return Program(shapes, graph["input"], graph["output"], operations, layers)


def _read_tensor(file: BinaryIO, tensor: _Tensor) -> Array:
    array = aligned_empty(tensor.shape, tensor.dtype)
    file.seek(tensor.begin)
    if tensor.size:
        read = file.readinto(array.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
        _require(read == tensor.size, "the file ends early")
    return array


def _operation(entry: dict[str, Any]) -> Operation:
    kind, inputs, layer = entry["kind"], tuple(entry["inputs"]), entry.get("layer")
    _require(
        kind in KINDS and len(inputs) == KINDS[kind],
        f"an operation {kind!r} of {len(inputs)} inputs is unknown",
    )
    _require((layer is not None) == (kind in ("linear", "affine")), f"operation {kind!r} has the layer {layer!r}")
    activation = None
    if entry.get("activation") is not None:
        name, *parameters = entry["activation"]
        known = name in ACTIVATIONS and len(parameters) == len(ACTIVATIONS[name])
        _require(known, f"an activation {name!r} of {len(parameters)} parameters is unknown")
        activation = Activation(name, tuple(float(value) for value in parameters))
        _require(not any(map(math.isnan, activation.parameters)), f"activation {name!r} has a parameter that is NaN")
    fits = kind in ("linear", "activation") if activation else kind != "activation"
    _require(fits, f"operation {kind!r} has the activation {activation}")
    return Operation(kind, inputs, entry["output"], layer, activation)


def _check_order(first: Any, last: Any, operations: tuple[Operation, ...], count: int) -> None:
    """Every value is computed once, before it is used."""
    _require(_is_count(first) and first < count, f"the input is value {first!r} of {count}")
    known = {first}
    for operation in operations:
        for used in operation.inputs:
            _require(
                _is_count(used) and used in known,
                f"operation {operation.kind!r} uses value {used!r} too early",
            )
        made = operation.output
        fresh = _is_count(made) and made < count and made not in known
        _require(fresh, f"operation {operation.kind!r} computes value {made!r}, which it cannot")
        known.add(made)
    _require(_is_count(last) and last in known, f"the output, value {last!r}, is never computed")
    _require(len(known) == count, f"only {len(known)} of {count} values are computed")


def _layer(name: str, entry: dict[str, Any], arrays: dict[str, Array]) -> Layer | Affine:
    kind = entry["kind"]
    if kind == "affine":
        scale = _part(name, arrays, "scale", np.float32, None)
        shift = _part(name, arrays, "shift", np.float32, scale.shape)
        _require(scale.ndim == 1 and not arrays, f"layer {name!r} has other arrays than an affine one")
        affine = Affine(scale, shift)
        _check_finite(name, affine)
        return affine
    outputs, fan_in = entry["outputs"], entry["fan_in"]
    good = _is_count(outputs) and _is_count(fan_in) and outputs > 0 and fan_in > 0
    _require(good, f"layer {name!r} has {outputs!r} outputs of fan-in {fan_in!r}")
    bias = _part(name, arrays, "bias", np.float32, (outputs,)) if "bias" in arrays else None
    layer: Layer
    if kind == "dense":
        shape = (-(-outputs // 16), fan_in, 16)
        panels = halves = scale = None
        if Precision(entry["precision"]) is Precision.F16:
            halves = _part(name, arrays, "halves", np.uint16, shape)
            scale = _part(name, arrays, "scale", np.float32, (outputs,))
        else:
            panels = _part(name, arrays, "panels", np.float32, shape)
        layer = DenseLayer(outputs, fan_in, panels, halves, scale, bias)
        _check_finite(name, layer)
        check_dense(name, layer)
    else:
        _require(kind == "sparse", f"layer {name!r} is of the unknown kind {kind!r}")
        topology = Topology(*(_part(name, arrays, part, np.uint16, None) for part in Topology.__dataclass_fields__))
        words = weights = indices = scale = None
        if Precision(entry["precision"]) is Precision.F16:
            words = _part(name, arrays, "words", np.uint16, None)
            scale = _part(name, arrays, "scale", np.float32, (outputs,))
        else:
            weights = _part(name, arrays, "weights", np.float32, None)
            indices = _part(name, arrays, "indices", np.uint8, weights.shape)
        layer = SparseLayer(outputs, fan_in, topology, words, weights, indices, scale, bias)
        _check_finite(name, layer)
        check_sparse(name, layer)
    _require(not arrays, f"layer {name!r} has the unknown arrays {sorted(arrays)}")
    return layer


def _check_finite(name: str, layer: Layer | Affine) -> None:
    part = not_finite(layer.arrays())
    _require(part is None, f"layer {name!r}: {part} holds NaN or infinity")


def _part(name: str, arrays: dict[str, Array], part: str, dtype: type[np.generic], shape: Shape | None) -> Any:
    _require(part in arrays, f"layer {name!r} has no {part}")
    array = arrays.pop(part)
    _require(array.dtype == dtype, f"layer {name!r}: {part} is {array.dtype}, not {np.dtype(dtype)}")
    _require(shape is None or array.shape == shape, f"layer {name!r}: {part} has shape {array.shape}, not {shape}")
    return array


def _check_shapes(operation: Operation, shapes: tuple[Shape, ...], layers: Mapping[str, Layer | Affine]) -> None:
    x, y = shapes[operation.inputs[0]], shapes[operation.output]
    layer = layers[operation.layer] if operation.layer is not None else None
    if operation.kind == "linear":
        good = isinstance(layer, (SparseLayer, DenseLayer)) and bool(x) and x[-1] == layer.fan_in
        good = good and y == (*x[:-1], layer.outputs)  # type: ignore[union-attr]
    elif operation.kind == "affine":
        good = isinstance(layer, Affine) and x == y and bool(x) and x[-1] == len(layer.scale)
    elif operation.kind == "reshape":
        good = math.prod(x) == math.prod(y)
    else:
        good = all(shapes[value] == y for value in operation.inputs)
    _require(good, f"operation {operation.kind!r} cannot take shape {x} to {y}")
