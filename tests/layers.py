"""Random layers for the tests: slot-shaped masks with the extremes, and masks of no shape."""

import itertools
from collections.abc import Sequence

import numpy as np

from sparbor.packing.dense_weights import pack_dense
from sparbor.packing.quads import pack_quads
from sparbor.packing.slots import Encoding, pack
from sparbor.program.program import Activation, Operation, Program

RELU = Activation("relu")


def slot_mask(rng: np.random.Generator, outputs: int, fan_in: int, density: float) -> np.ndarray:
    """Slot counts that vary from branch to branch; some branches are dead and some are dense."""
    groups, branches = -(-outputs // 16), -(-fan_in // 32)
    counts = rng.binomial(32, density, (groups, branches))
    counts[rng.random(counts.shape) < 0.1] = 0
    counts[rng.random(counts.shape) < 0.02] = 32
    width = np.minimum(32, fan_in - 32 * np.arange(branches))  # of each branch
    order = rng.random((groups, 16, branches, 32))
    order[:, :, np.arange(32) >= width[:, None]] = 2.0  # never chosen before the real inputs
    rank = order.argsort(-1).argsort(-1)
    mask = rank < np.minimum(counts, width)[:, None, :, None]
    return mask.reshape(groups * 16, branches * 32)[:outputs, :fan_in]


def random_mask(rng: np.random.Generator, outputs: int, fan_in: int, density: float) -> np.ndarray:
    return rng.random((outputs, fan_in)) < density


def random_weight(rng: np.random.Generator, outputs: int, fan_in: int) -> np.ndarray:
    return (rng.standard_normal((outputs, fan_in)) / np.sqrt(fan_in)).astype(np.float32)


def mlp(
    sizes: Sequence[int],
    density: float = 0.1,
    encoding: Encoding | None = Encoding.WORD16,
    activation: Activation | None = RELU,
    seed: int = 0,
) -> Program:
    """Linear layers of these sizes, the activation between them; without a encoding they are dense."""
    rng = np.random.default_rng(seed)
    layers, operations = {}, []
    for number, (fan_in, outputs) in enumerate(itertools.pairwise(sizes)):
        weight = random_weight(rng, outputs, fan_in)
        bias = rng.standard_normal(outputs).astype(np.float32) * np.float32(0.1)
        if encoding is None:
            layers[f"fc{number}"] = pack_dense(weight, bias)
        elif encoding is Encoding.INT8:
            layers[f"fc{number}"] = pack_quads(weight, slot_mask(rng, outputs, fan_in, density), bias)
        else:
            layers[f"fc{number}"] = pack(weight, slot_mask(rng, outputs, fan_in, density), bias, encoding)
        last = number == len(sizes) - 2
        operations.append(Operation("linear", (number,), number + 1, f"fc{number}", None if last else activation))
    return Program.of_items(tuple((size,) for size in sizes), 0, len(sizes) - 1, tuple(operations), layers)


def relative_error(result: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(result - expected) / max(np.linalg.norm(expected), 1e-30))
