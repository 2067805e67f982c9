"""Masks ↔ the bytes of `sparbor.safetensors`: a bit for each weight, and what is said of each in the metadata.

The file may be anybody's: what it says is checked before it is believed. What the masks are for is checked when they
are put on a model.
"""

import json
import math
import zlib
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import torch
from safetensors.numpy import load as from_safetensors
from safetensors.numpy import save as to_safetensors
from torch import Tensor

from sparbor.errors import ArgumentError, StateError
from sparbor.pretrained.masks import LayerMask
from sparbor.program.model_file import checksummed, metadata_entry
from sparbor.recipe.checks import check_sparsity
from sparbor.recipe.recipe import PATTERNS, kind_of

VERSION = 1
_ENTRY = "sparbor_masks"  # the one entry of the file's metadata
_PARTS = ("mask", "neurons", "inputs")
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "layer": str,
    "weight": str,
    "mode": str,
    "sparsity": (int, float),
    "pattern": dict,
    "shape": list,
}
_MOST_DIMENSIONS = 5  # of a weight: a convolution over volumes

Arrays = dict[str, npt.NDArray[Any]]


def to_bytes(masks: list[LayerMask]) -> bytes:
    """What the file holds."""
    arrays = {f"{number}/{part}": array for number, mask in enumerate(masks) for part, array in _arrays(mask).items()}
    graph = {
        "version": VERSION,
        "layers": [_entry(mask) for mask in masks],
        "crc32": {name: zlib.crc32(array.data) for name, array in arrays.items()},
    }
    return to_safetensors(arrays, {_ENTRY: checksummed(json.dumps(graph))})


def _entry(mask: LayerMask) -> dict[str, Any]:
    what = {"layer": mask.layer, "weight": mask.weight, "mode": mask.mode, "sparsity": mask.sparsity}
    return {**what, "pattern": {"kind": kind_of(mask.pattern), **asdict(mask.pattern)}, "shape": list(mask.mask.shape)}


def _arrays(mask: LayerMask) -> Arrays:
    orders = {"neurons": mask.neurons, "inputs": mask.inputs}
    moved = {name: order.numpy().astype(np.int32) for name, order in orders.items() if order is not None}
    return {"mask": np.packbits(mask.mask.numpy().reshape(-1), bitorder="little"), **moved}


def from_bytes(content: bytes) -> list[LayerMask]:
    """The masks in what the file holds; raises StateError, which says what is wrong with it."""
    try:
        arrays = from_safetensors(content)
        stored = metadata_entry(content, _ENTRY)
        text = json.loads(stored[8:])
    except safetensors.SafetensorError as error:
        raise StateError(f"it is no safetensors file ({error}): the file is damaged") from None
    except (KeyError, TypeError, ValueError, RecursionError):
        raise StateError("its metadata has no masks: sparbor.save_pretrained has not written it") from None
    if stored != checksummed(stored[8:]):
        raise StateError("what it says of its masks does not match the checksum: the file is damaged")
    version = text.get("version") if isinstance(text, dict) else None
    if version != VERSION:
        raise StateError(
            f"it has version {version!r}, and this release of Sparbor reads version {VERSION}: use the release that"
            " wrote it, or a later one"
        )
    try:
        _check_sums(arrays, text["crc32"])
        return _masks(arrays, text["layers"])
    except (KeyError, TypeError, ValueError, ArgumentError) as error:
        raise StateError(f"it is malformed ({error}): the file is damaged") from None


def _check_sums(arrays: Arrays, sums: dict[str, int]) -> None:
    if set(arrays) != set(sums):
        raise ValueError("it has other arrays than it says")
    for name, array in arrays.items():
        if zlib.crc32(array.data) != sums[name]:
            raise ValueError(f"{name} does not match its checksum")


def _masks(arrays: Arrays, entries: list[dict[str, Any]]) -> list[LayerMask]:
    known = {f"{number}/{part}" for number in range(len(entries)) for part in _PARTS}
    if unknown := sorted(set(arrays) - known):
        raise ValueError(f"{unknown[0]} belongs to no layer")
    return [_mask(number, entry, arrays) for number, entry in enumerate(entries)]


def _mask(number: int, entry: dict[str, Any], arrays: Arrays) -> LayerMask:
    if set(entry) != set(_FIELDS) or any(not isinstance(entry[name], kind) for name, kind in _FIELDS.items()):
        raise ValueError(f"layer {number} has not the fields of a mask")
    mode = entry["mode"]
    if mode not in ("n", "d"):
        raise ValueError(f"layer {number} has the mode {mode!r}")
    pattern = dict(entry["pattern"])
    kind = PATTERNS[pattern.pop("kind")](**pattern)
    mask = _bits(number, entry["shape"], arrays[f"{number}/mask"])
    if mode == "n" and not mask.all():
        raise ValueError(f"layer {number} is dense, and its mask drops weights")
    orders = [_order(name, arrays.get(name)) for name in (f"{number}/neurons", f"{number}/inputs")]
    return LayerMask(entry["layer"], entry["weight"], mode, check_sparsity(entry["sparsity"]), kind, mask, *orders)


def _bits(number: int, shape: list[Any], packed: npt.NDArray[Any]) -> Tensor:
    """The mask: as many bits as the shape has weights, and zeros up to a whole byte."""
    whole = all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in shape)
    if not whole or not 1 <= len(shape) <= _MOST_DIMENSIONS:
        raise ValueError(f"layer {number} has the shape {shape}")
    count = math.prod(shape)
    if packed.dtype != np.uint8 or packed.shape != ((count + 7) // 8,):
        raise ValueError(f"layer {number} has {packed.size} bytes for a mask of {count} weights")
    bits = np.unpackbits(packed, bitorder="little")
    if bits[count:].any():
        raise ValueError(f"the mask of layer {number} has more bits than weights")
    return torch.from_numpy(bits[:count].astype(bool)).reshape(shape)


def _order(name: str, order: npt.NDArray[Any] | None) -> Tensor | None:
    if order is None:
        return None
    if order.dtype != np.int32 or order.ndim != 1 or not np.array_equal(np.sort(order), np.arange(len(order))):
        raise ValueError(f"{name} is no order")
    return torch.from_numpy(order.astype(np.int64))
