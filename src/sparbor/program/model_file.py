"""The model file of a program: `docs/format.md` describes the bytes."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from safetensors.numpy import save as to_safetensors

from sparbor.errors import ModelFileError
from sparbor.files import write_file
from sparbor.packing.file_checks import is_count, require
from sparbor.packing.slots import aligned_empty
from sparbor.program.graph_json import graph_from_json, graph_to_json
from sparbor.program.program import Array, Operation, Program, stored_bytes
from sparbor.program.shape_rules import shapes_fault
from sparbor.program.stored_layers import layer_from_file, layer_to_json
from sparbor.program.windows import Shape

VERSION = 2
OLDEST_VERSION = 1
LARGEST_HEADER = 2**24


def save(program: Program, path: str | os.PathLike[str]) -> None:
    """Write the model file; an existing one is replaced only when the new one is complete."""
    write_file(path, to_bytes(program))


def to_bytes(program: Program) -> bytes:
    """What the model file holds."""
    tensors = {
        f"{name}/{part}": array for name, layer in program.layers.items() for part, array in layer.arrays().items()
    }
    text = json.dumps(_to_json(program, tensors), separators=(",", ":"))
    metadata = {"sparbor": checksummed(text)}  # one entry: safetensors keeps no order
    return to_safetensors({name: np.ascontiguousarray(array) for name, array in tensors.items()}, metadata)


def load(path: str | os.PathLike[str]) -> Program:
    """Read a model file; everything it says is checked before it is believed."""
    try:
        with open(path, "rb") as file:
            return _read_named(file, os.fspath(path))
    except OSError as error:
        raise ModelFileError(f"could not read {os.fspath(path)}: {error}") from error


def from_bytes(content: bytes, name: str) -> Program:
    """Read what a model file holds, which errors call by this name; it is checked as a file is."""
    return _read_named(io.BytesIO(content), name)


def _read_named(file: BinaryIO, name: object) -> Program:
    try:
        return _read(file)
    except ModelFileError as error:
        raise ModelFileError(f"{name}: {error}") from None


def checksummed(text: str) -> str:
    """The text behind its checksum of eight digits."""
    return f"{zlib.crc32(text.encode(errors='surrogatepass')):08x}{text}"


def _to_json(program: Program, tensors: Mapping[str, Array]) -> dict[str, Any]:
    return {
        "version": VERSION,
        **graph_to_json(program),
        "layers": {name: layer_to_json(layer) for name, layer in program.layers.items()},
        "crc32": {name: zlib.crc32(np.ascontiguousarray(array).data) for name, array in tensors.items()},
    }


_DTYPES: Mapping[str, type[np.generic]] = {"F32": np.float32, "U16": np.uint16, "U8": np.uint8}


@dataclass(frozen=True)
class _Tensor:
    dtype: np.dtype[np.generic]
    shape: Shape
    begin: int  # in the file
    size: int


def _read(file: BinaryIO) -> Program:
    metadata, tensors = _read_header(file)
    require("sparbor" in metadata, "this is not a Sparbor model: its metadata has no graph")
    text = metadata["sparbor"][8:]
    require(metadata["sparbor"] == checksummed(text), "the graph does not match its checksum")
    graph = _parse(text, "the graph")
    version = graph.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ModelFileError(f"the file has version {version}, this Sparbor reads up to {VERSION}: upgrade sparbor")
    require(is_count(version) and version >= OLDEST_VERSION, f"the file has version {version!r}")
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
    require(isinstance(parsed, dict), f"{what} is not a JSON object")
    return dict(parsed)


def _read_header(file: BinaryIO) -> tuple[dict[str, str], dict[str, _Tensor]]:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    require(size >= 8, f"it has {size} bytes, fewer than a header")
    length = int.from_bytes(file.read(8), "little")
    require(length <= min(size - 8, LARGEST_HEADER), f"the header claims {length} bytes, the file has {size}")
    header = _parse(file.read(length), "the header")
    metadata = header.pop("__metadata__", {})
    strings = isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    require(strings, "the metadata are not strings")
    tensors = {name: _tensor(name, entry, 8 + length) for name, entry in header.items()}
    at = 8 + length
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].size)):
        require(tensor.begin == at, f"tensor {name!r} begins at byte {tensor.begin}, not {at}")
        at += tensor.size
    require(at == size, f"the tensors end at byte {at}, the file at {size}")
    return metadata, tensors


def _tensor(name: str, entry: Any, base: int) -> _Tensor:
    require(isinstance(entry, dict), f"tensor {name!r} is malformed")
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    require(isinstance(dtype, str) and dtype in _DTYPES, f"tensor {name!r} has the unknown type {dtype!r}")
    for numbers in (shape, offsets):
        require(isinstance(numbers, list) and all(map(is_count, numbers)), f"tensor {name!r} is malformed")
    require(len(offsets) == 2 and len(shape) <= 3, f"tensor {name!r} is malformed")
    kind = np.dtype(_DTYPES[dtype])
    wanted = math.prod(shape) * kind.itemsize
    begin, end = offsets
    require(end - begin == wanted, f"tensor {name!r} of shape {shape} needs {wanted} bytes and has {end - begin}")
    return _Tensor(kind, tuple(shape), base + begin, wanted)


def _build(graph: dict[str, Any], tensors: dict[str, _Tensor], file: BinaryIO) -> Program:
    program = graph_from_json(graph)
    arrays: dict[str, dict[str, Array]] = {name: {} for name in graph["layers"]}
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition("/")
        require(layer in arrays, f"tensor {name!r} belongs to no layer")
        require(name in graph["crc32"], f"tensor {name!r} has no checksum")
        array = _read_tensor(file, tensor)
        require(zlib.crc32(array.data) == graph["crc32"][name], f"tensor {name!r} does not match its checksum")
        arrays[layer][part] = array
    layers = {name: layer_from_file(name, entry, arrays[name]) for name, entry in graph["layers"].items()}
    program = dataclasses.replace(program, layers=layers)
    if graph["version"] == 1:
        program = with_rows_only(program)
    used = sum(_bytes_of(program, operation) for operation in program.operations)  # each is looked through
    require(used <= program.allowed_bytes, f"operations use layers of {used:,} bytes, more than its weights allow for")
    for operation in program.operations:
        fault = shapes_fault(operation, program.shapes, program.layers)
        require(fault is None, str(fault))
    return program


def _bytes_of(program: Program, operation: Operation) -> int:
    """Of its layer; none for those of vectors, which nothing is laid out for."""
    if operation.kind not in ("linear", "convolution"):
        return 0
    return stored_bytes(program.layers[str(operation.layer)])


def _read_tensor(file: BinaryIO, tensor: _Tensor) -> Array:
    array = aligned_empty(tensor.shape, tensor.dtype)
    file.seek(tensor.begin)
    if tensor.size:
        read = file.readinto(array.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
        require(read == tensor.size, "the file ends early")
    return array


def with_rows_only(program: Program) -> Program:
    """A program of version 1 as one of today, in which rows have one dimension and an item two at the most.

    Its linear layers, softmaxes and batch norms went over the last of any number of dimensions.
    """
    shapes, operations = list(program.shapes), []
    for operation in program.operations:
        x, y = program.shapes[operation.inputs[0]], program.shapes[operation.output]
        if operation.kind not in ("linear", "affine", "softmax") or len(x) <= 2 or len(x) != len(y):
            operations.append(operation)
            continue
        shapes += [(math.prod(x[:-1]), x[-1]), (math.prod(y[:-1]), y[-1])]
        flat_x, flat_y = len(shapes) - 2, len(shapes) - 1
        operations += [
            Operation("reshape", operation.inputs, flat_x),
            dataclasses.replace(operation, inputs=(flat_x,), output=flat_y),
            Operation("reshape", (flat_y,), operation.output),
        ]
    return dataclasses.replace(program, shapes=tuple(shapes), operations=tuple(operations))
