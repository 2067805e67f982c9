"""What linear layers of 8 bits compute: rows become bytes, and sums are whole numbers."""

from __future__ import annotations

import dataclasses

import numpy as np

from sparbor.engine.runtime import Runtime
from sparbor.packing.dense_weights import DenseLayer
from sparbor.packing.quads import QuadLayer
from sparbor.program.program import Activation, Operation, Program

LEVELS = {"avx512": 127, "avx2": 127}  # whose products are added up in 16 bits; 255 in the others


def one_layer(layer: QuadLayer | DenseLayer, activation: Activation | None = None) -> Program:
    operation = Operation("linear", (0,), 1, "fc", activation)
    return Program.of_items(((layer.fan_in,), (layer.outputs,)), 0, 1, (operation,), {"fc": layer})


def whole_weights(layer: QuadLayer | DenseLayer) -> np.ndarray:
    ones = dataclasses.replace(layer, scale=np.ones(layer.outputs, np.float32))
    return ones.unpack()[0].astype(np.float64)


def expected(layer: QuadLayer | DenseLayer, x: np.ndarray, levels: int) -> np.ndarray:
    """Every step is rounded to float32 once, as docs/format.md has it; sums are exact."""
    low, high = np.minimum(x, 0).min(axis=1), np.maximum(x, 0).max(axis=1)
    step = (high - low) / np.float32(levels)
    step[step < np.finfo(np.float32).tiny] = 1
    steps = 1 / step
    zero = np.rint(-low * steps)[:, None]
    bytes_ = np.clip(np.rint(x * steps[:, None]) + zero, 0, levels)
    weight = whole_weights(layer)
    sums = bytes_ @ weight.T - zero * weight.sum(axis=1)  # of doubles, which hold them exactly
    assert np.abs(sums).max() < 2**31
    return sums.astype(np.float32) * (step[:, None] * layer.scale)


def check(isa: str, layer: QuadLayer | DenseLayer, x: np.ndarray, as_stored: bool = True) -> None:
    """Equal to the last bit."""
    y = np.full((len(x), layer.outputs), np.nan, np.float32)
    Runtime(one_layer(layer), as_stored=as_stored)(x, out=y)
    np.testing.assert_array_equal(y, expected(layer, x, LEVELS.get(isa, 255)))


def check_bias_and_activations(isa: str, layer: QuadLayer | DenseLayer) -> None:
    """Of a layer without a bias: what a bias adds, and what activations make of it."""
    rng = np.random.default_rng(3)
    bias = rng.standard_normal(layer.outputs).astype(np.float32)
    x = rng.standard_normal((7, layer.fan_in)).astype(np.float32)
    layer = dataclasses.replace(layer, bias=bias)
    y = expected(layer, x, LEVELS.get(isa, 255)) + bias
    for activation, wanted in ((None, y), ("relu", np.maximum(y, 0)), ("tanh", np.tanh(y))):
        ran = Runtime(one_layer(layer, activation and Activation(activation)))(x)
        np.testing.assert_allclose(ran, wanted, rtol=1e-5, atol=1e-6)


def check_strange_rows(layer: QuadLayer | DenseLayer) -> None:
    """Rows with NaN, infinity or an infinite range become NaN, and those beside them are what they were."""
    x = np.random.default_rng(2).standard_normal((9, layer.fan_in)).astype(np.float32)
    good = x[:4].copy()
    x[4, 0], x[5, -1], x[6, layer.fan_in // 2], x[7, 3] = np.nan, np.nan, np.inf, -np.inf
    x[8, 0], x[8, 1] = 3e38, -3e38  # whose difference is infinite
    for program in (one_layer(layer), one_layer(layer, Activation("relu"))):
        y = Runtime(program)(x)
        assert np.isnan(y[4:]).all()
        np.testing.assert_array_equal(y[:4], Runtime(program)(good))
        assert np.isfinite(y[:4]).all()
