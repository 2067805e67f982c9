"""The model file of a program: `docs/format.md` describes the bytes.

The engine is who loads files, and checks everything that they say. What is here writes them, and reads their structure
for exporters, which work without the engine.
"""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import safetensors
from safetensors.numpy import load as from_safetensors
from safetensors.numpy import save as to_safetensors

from sparbor import native
from sparbor.errors import ArgumentError, ModelFileError
from sparbor.files import reason_of, write_file
from sparbor.program.graph_json import graph_from_json, graph_to_json
from sparbor.program.program import Array, Program
from sparbor.program.stored_layers import layer_from_file, layer_to_json

VERSION = 3


def save(program: Program, path: str | os.PathLike[str]) -> None:
    """Write the model file; an existing one is replaced only when the new one is complete."""
    write_file(path, to_bytes(program))


def to_bytes(program: Program) -> bytes:
    """What the model file holds."""
    tensors = {
        f"{name}/{part}": np.asarray(array, order="C")  # of no dimensions too
        for name, layer in program.layers.items()
        for part, array in layer.arrays().items()
    }
    graph = {
        "version": VERSION,
        **graph_to_json(program),
        "layers": {name: layer_to_json(layer) for name, layer in program.layers.items()},
        "crc32": {name: zlib.crc32(array.data) for name, array in tensors.items()},
    }
    text = json.dumps(graph, separators=(",", ":"))
    return to_safetensors(tensors, {"sparbor": checksummed(text)})  # one entry: safetensors keeps no order


def checksummed(text: str) -> str:
    """The text behind its checksum of eight digits."""
    return f"{zlib.crc32(text.encode(errors='surrogatepass')):08x}{text}"


def metadata_entry(content: bytes, name: str) -> Any:
    """An entry of a safetensors file's metadata; KeyError, TypeError, ValueError or RecursionError if there is none."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length])["__metadata__"][name]


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """The file, to be read within; raises ModelFileError if it cannot be."""
    try:
        with _open(path) as file:
            yield file if file.seekable() else io.BytesIO(file.read())
    except OSError as error:
        raise _unreadable(path, error) from error


def _open(path: str | os.PathLike[str]) -> io.FileIO:
    try:
        return open(path, "rb", buffering=0)
    except ValueError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str | os.PathLike[str], error: Exception) -> ModelFileError:
    return ModelFileError(f"could not read {os.fspath(path)!r} ({reason_of(error)}): name a deployed model")


def load(path: str | os.PathLike[str]) -> Program:
    """The program in a model file, which the engine checks; where that is not built, its structure alone is looked at.

    Raises ModelFileError, which names the file.
    """
    with opened(path) as file:
        content = file.read()
    try:
        return from_bytes(content)
    except ModelFileError as error:
        raise ModelFileError(f"{os.fspath(path)}: {error}") from None


def from_bytes(content: bytes) -> Program:
    """The program in what a model file holds; as `load`."""
    graph = native.checked_graph(content) if native.built else _own_graph(content)
    layers: dict[str, dict[str, Array]] = {}
    try:
        for name, array in from_safetensors(content).items():
            layer, _, part = name.rpartition("/")
            layers.setdefault(layer, {})[part] = array
    except safetensors.SafetensorError as error:
        raise ModelFileError(f"it is no safetensors file ({error}); the file is damaged") from None
    return program_of(graph, layers)


def program_of(graph: str, arrays: Mapping[str, Mapping[str, Array]]) -> Program:
    """The program of a graph's JSON and of the layers' arrays, by layer and part."""
    try:
        parsed = json.loads(graph)
        layers = {name: layer_from_file(entry, arrays.get(name, {})) for name, entry in parsed["layers"].items()}
        return graph_from_json(parsed, layers)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArgumentError) as error:
        raise ModelFileError(
            f"the graph is malformed ({type(error).__name__}: {error}); write the file again"
        ) from error


def _own_graph(content: bytes) -> str:
    """The graph's JSON, if it is of today's version."""
    try:
        stored = metadata_entry(content, "sparbor")
        text = stored[8:]
        version = json.loads(text)["version"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ModelFileError("this is not a Sparbor model: its metadata has no graph; the file is damaged") from None
    if stored != checksummed(text):
        raise ModelFileError("the graph does not match its checksum; the file is damaged")
    if version != VERSION:
        raise ModelFileError(
            f"the file has version {version}, and without Sparbor's native engine only version {VERSION} can be read:"
            " build the engine, or write the file again where it is built"
        )
    return str(text)
