"""IDX files, MNIST's format for arrays of bytes, plain or compressed."""

import math
from pathlib import Path

import numpy as np

from bench.data.content import decompress, md5_of, read_content
from bench.data.dataset import UInt8Array
from bench.data.errors import DataError

IDX_UNSIGNED_BYTE = 0x08


def read_idx(path: Path) -> tuple[UInt8Array, str]:
    """The array in the file at `path`, and the MD5 of its uncompressed content."""
    stored = read_content(path)
    try:
        content = decompress(stored)
        return decode_idx(content), md5_of(content)
    except DataError as error:
        raise DataError(f"{path}: {error}; replace it with an intact copy") from error


def decode_idx(content: bytes) -> UInt8Array:
    """The array in an uncompressed IDX file: two zero bytes, the type, the number of axes, each axis as a big-endian
    32-bit number, then the values.

    Raises:
        DataError: the content is truncated, too long, or not an IDX file of unsigned bytes.
    """
    if len(content) < 4:
        raise DataError(f"truncated: {len(content)} bytes, less than an IDX header")
    if content[:2] != b"\0\0":
        raise DataError(f"not an IDX file: starts with {content[:4]!r}")
    kind, axes = content[2], content[3]
    if kind != IDX_UNSIGNED_BYTE or not 1 <= axes <= 3:
        raise DataError(f"an IDX file of type 0x{kind:02x} with {axes} axes, not of unsigned bytes (0x08) with 1 to 3")
    header_bytes = 4 + 4 * axes
    if len(content) < header_bytes:
        raise DataError(f"truncated: {len(content)} bytes, less than its IDX header")
    shape = tuple(int.from_bytes(content[at : at + 4], "big") for at in range(4, header_bytes, 4))
    if 0 in shape:
        raise DataError(f"empty: its header gives the shape {shape}")
    expected = header_bytes + math.prod(shape)
    if len(content) != expected:
        fault = "truncated" if len(content) < expected else "too long"
        raise DataError(f"{fault}: {len(content)} bytes, but its header of shape {shape} calls for {expected}")
    values = np.frombuffer(content, np.uint8, offset=header_bytes)
    return values.reshape(shape).copy()  # writable, as torch.from_numpy wants it


def encode_idx(array: UInt8Array) -> bytes:
    """The uncompressed IDX file of `array`."""
    axes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, IDX_UNSIGNED_BYTE, array.ndim]) + axes + array.tobytes()
