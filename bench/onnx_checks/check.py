"""One ONNX file: packed, and run on the engine, both compared with ONNX Runtime's answers to the original."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto

import sparbor
from bench.network_checks.check import ParityError, largest_error
from sparbor import SparborError
from sparbor.onnx import pack
from sparbor.onnx.comparing import answers, inputs_like

Array = np.ndarray
Row = dict[str, Any]

# The largest relative error that counts as the same answer, weights being stored as they are.
EXACT_LIMIT = 1e-4
# What whole networks with random weights make of a rounding is their affair; beyond this something is wrong.
INT8_LIMIT = 0.25
MOST_TEXT = 500  # characters of an error that are kept


def check(file: Path, given: Sequence[Mapping[str, Array]] | None = None) -> Row:
    """What came of the file: ``pack`` and ``from_onnx`` are ``None``, or why it was refused.

    ``given`` are inputs: the first are shown to pack and from_onnx, and all are compared. Without them they are made
    up. An answer that is too far from the original's is an error, and not a refusal.
    """
    original = onnx.load(file)
    inputs = [inputs_like(original)] if given is None else [dict(each) for each in given]
    wanted = [answers(original, each) for each in inputs]
    row: Row = {
        "bytes": file.stat().st_size,
        "nodes": len(original.graph.node),
        "operators": len({node.op_type for node in original.graph.node}),
    }
    return {**row, **_packed(original, inputs, wanted), **_on_the_engine(original, inputs, wanted)}


def failure(step: str, error: Exception) -> Row:
    """What is said of a step that failed."""
    text = re.sub(r"\x1b\[\d+m", "", f"{type(error).__name__}: {error}").strip()  # without colours
    return {"failed": step, "error": text[:MOST_TEXT]}


def _packed(original: ModelProto, inputs: list[dict[str, Array]], wanted: list[list[Any]]) -> Row:
    """In ONNX Runtime with our operators, once with exact weights and once with 8 bits."""
    row: Row = {"pack": None}
    for weights, limit in (("exact", EXACT_LIMIT), ("int8", INT8_LIMIT)):
        try:
            result = pack(original, weights, inputs=inputs[0])
        except SparborError as refused:
            return {**row, "pack": str(refused)[:MOST_TEXT]}
        onnx.checker.check_model(result.model)
        found = [answers(result.model, each, ours=True) for each in inputs]
        row[f"packed_{weights}"] = _compared(f"packed, {weights}", found, wanted, limit)
        row["layers"], row["packed"] = len(result.rows), sum(each.taken for each in result.rows)
    row["packed_bytes"] = result.model.ByteSize()
    return row


def _on_the_engine(original: ModelProto, inputs: list[dict[str, Array]], wanted: list[list[Any]]) -> Row:
    try:
        runtime = sparbor.from_onnx(original, inputs[0], weights="exact")
    except SparborError as refused:
        return {"from_onnx": str(refused)[:MOST_TEXT]}
    arguments = [each.name for each in runtime.inputs]
    found = []
    for each in inputs:
        answer = runtime(**dict(zip(arguments, each.values(), strict=True)))
        found.append(list(answer.values()) if isinstance(answer, Mapping) else [answer])
    return {
        "from_onnx": None,
        "signature": runtime.signature(),
        "engine": _compared("engine", found, wanted, EXACT_LIMIT),
    }


def _compared(what: str, found: list[list[Any]], wanted: list[list[Any]], limit: float) -> float:
    """The largest relative error of what both have; raises ParityError if it is beyond the limit."""
    largest = 0.0
    for some, others in zip(found, wanted, strict=True):
        places = [place for place, each in enumerate(others) if _is_float(each)]
        if len(some) != len(others) or not places:
            raise ParityError(f"{what}: {len(some)} answers, {len(others)} expected, {len(places)} of numbers")
        one, other = ([torch.from_numpy(np.asarray(side[place])) for place in places] for side in (some, others))
        largest = max(largest, largest_error(one, other))
    if not largest <= limit:
        raise ParityError(f"{what}: off by {largest:.2g}, more than {limit:g}")
    return largest


def _is_float(answer: Any) -> bool:
    """Whether it is numbers, and not classes, which change as a whole, or a list of maps."""
    return isinstance(answer, np.ndarray) and np.issubdtype(answer.dtype, np.floating)
