"""Every kernel set that this machine has, against NumPy on the unpacked weights."""

import numpy as np
import pytest

from sparbor.engine.runtime import Runtime
from sparbor.ops.activations import ACTIVATIONS
from sparbor.packing.dense_weights import DenseLayer, pack_dense
from sparbor.packing.slots import SLOT_ENCODINGS, SparseLayer, pack
from sparbor.program.program import Activation, Axis, Operation, Program, ScaleShift
from tests.kernel_sets import KERNEL_SETS
from tests.layers import random_mask, random_weight, relative_error, slot_mask

SHAPES = [(16, 32), (1, 1), (10, 256), (33, 31), (64, 784), (47, 65), (256, 96)]
BATCHES = [1, 2, 3, 4, 5, 8, 9, 17]


@pytest.fixture(params=KERNEL_SETS)
def isa(request, monkeypatch):
    monkeypatch.setenv("SPARBOR_ISA", request.param)
    return request.param


def one_layer(layer: SparseLayer | DenseLayer, activation: Activation | None = None) -> Program:
    operation = Operation("linear", (0,), 1, "layer", activation)
    return Program.of_items(((layer.fan_in,), (layer.outputs,)), 0, 1, (operation,), {"layer": layer})


def run(program: Program, x: np.ndarray, threads: int = 1) -> np.ndarray:
    """The result, written over NaN."""
    out = np.full((len(x), *program.items[program.output]), np.nan, np.float32)
    Runtime(program, threads, as_stored=True)(x, out=out)
    return out


def expected(layer: SparseLayer | DenseLayer, x: np.ndarray) -> np.ndarray:
    weight, _ = layer.unpack()
    y = x.astype(np.float64) @ weight.T.astype(np.float64)
    return y if layer.bias is None else y + layer.bias


def inputs(rng: np.random.Generator, batch: int, fan_in: int) -> np.ndarray:
    return rng.standard_normal((batch, fan_in)).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0.0, 0.05, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("encoding", SLOT_ENCODINGS)
@pytest.mark.parametrize("make_mask", [slot_mask, random_mask])
def test_sparse_layers(isa, shape, density, encoding, make_mask):
    rng = np.random.default_rng(1)
    bias = rng.standard_normal(shape[0]).astype(np.float32)
    layer = pack(random_weight(rng, *shape), make_mask(rng, *shape, density), bias, encoding)
    for batch in BATCHES:
        x = inputs(rng, batch, shape[1])
        assert relative_error(run(one_layer(layer), x), expected(layer, x)) < 1e-6


@pytest.mark.parametrize("slots", range(33))
def test_every_slot_count(isa, slots):
    rng = np.random.default_rng(2)
    mask = np.zeros((32, 96), bool)
    for row in mask:
        for branch in range(3):
            row[branch * 32 + rng.permutation(32)[:slots]] = True
    for encoding in SLOT_ENCODINGS:
        layer = pack(random_weight(rng, 32, 96), mask, None, encoding)
        x = inputs(rng, 5, 96)
        assert relative_error(run(one_layer(layer), x), expected(layer, x)) < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_dense_layers(isa, shape):
    rng = np.random.default_rng(3)
    for encoding in SLOT_ENCODINGS:
        bias = None if rng.random() < 0.5 else rng.standard_normal(shape[0]).astype(np.float32)
        layer = pack_dense(random_weight(rng, *shape), bias, encoding)
        for batch in BATCHES:
            x = inputs(rng, batch, shape[1])
            assert relative_error(run(one_layer(layer), x), expected(layer, x)) < 1e-6


@pytest.mark.parametrize("encoding", [*SLOT_ENCODINGS, None])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("batch", [1, 4, 7])
def test_nan_and_infinity_reach_only_neurons_with_that_synapse(isa, encoding, relu, bad, batch):
    rng = np.random.default_rng(4)
    weight = np.abs(random_weight(rng, 40, 100)) + np.float32(0.01)
    weight[5] = 0  # active weights of zero are synapses as well
    activation = Activation("relu") if relu else None
    for mask in (
        slot_mask(rng, 40, 100, 0.2),
        random_mask(rng, 40, 100, 0.2),
        random_mask(rng, 40, 100, 0.02),
    ):
        layer = pack_dense(weight) if encoding is None else pack(weight, mask, None, encoding)
        for place in (0, 31, 32, 64, 99):
            x = np.abs(inputs(rng, batch, 100))
            x[0, place] = bad
            y = run(one_layer(layer, activation), x)
            hit = np.ones(40, bool) if encoding is None else mask[:, place]
            spoiled = ~np.isfinite(y[0]) if not relu or not bad < 0 else y[0] <= 0
            assert spoiled[hit & (np.arange(40) != 5)].all()
            assert np.isfinite(y[0, ~hit]).all()
            assert np.isfinite(y[1:]).all()
            if hit[5] and np.isnan(bad):
                assert np.isnan(y[0, 5])


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1e30])
def test_inputs_of_any_size(isa, size):
    rng = np.random.default_rng(9)
    layer = pack(random_weight(rng, 40, 200), slot_mask(rng, 40, 200, 0.3), None)
    for batch in (1, 4):
        x = inputs(rng, batch, 200) * np.float32(size)
        assert relative_error(run(one_layer(layer), x) / size, expected(layer, x) / size) < 1e-6


def test_tiny_weights_count_exactly_in_any_group(isa):
    rng = np.random.default_rng(10)
    mask = slot_mask(rng, 64, 100, 0.3)
    weight = np.abs(random_weight(rng, 64, 100)) + np.float32(0.01)
    rows, columns = np.nonzero(mask[16:48])
    weight[rows[::50] + 16, columns[::50]] = 1e-10  # subnormal words, in the second and third group only
    layer = pack(weight, mask, None)
    tiny, _ = layer.unpack()
    assert ((tiny[mask] < 1e-9).any(), (tiny[:16][mask[:16]] < 1e-9).any()) == (True, False)
    for batch in (1, 5):
        x = np.zeros((batch, 100), np.float32)
        x[:, columns[::50]] = 1e9
        np.testing.assert_allclose(run(one_layer(layer), x), expected(layer, x), rtol=1e-6)


def test_sets_agree_with_the_portable_one(monkeypatch):
    rng = np.random.default_rng(5)
    layer = pack(random_weight(rng, 130, 300), random_mask(rng, 130, 300, 0.3), None)
    x = inputs(rng, 6, 300)
    results = []
    for isa in KERNEL_SETS:
        monkeypatch.setenv("SPARBOR_ISA", isa)
        results.append(run(one_layer(layer, Activation("gelu")), x))
    for result in results:
        np.testing.assert_allclose(result, results[-1], atol=1e-5)


def reference_activation(name: str, x: np.ndarray, a: float, b: float) -> np.ndarray:
    from math import erf

    with np.errstate(over="ignore"):
        return {
            "relu": lambda: np.maximum(x, 0),
            "clamp": lambda: np.clip(x, a, b),
            "leaky_relu": lambda: np.where(x < 0, a * x, x),
            "elu": lambda: b * np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x),
            "gelu": lambda: x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2))),
            "gelu_tanh": lambda: x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
            "silu": lambda: x / (1 + np.exp(-x)),
            "sigmoid": lambda: 1 / (1 + np.exp(-x)),
            "tanh": lambda: np.tanh(x),
            "hardswish": lambda: x * np.clip(x + 3, 0, 6) / 6,
            "hardsigmoid": lambda: np.clip(x + 3, 0, 6) / 6,
            "softplus": lambda: np.where(a * x > b, x, np.log1p(np.exp(np.minimum(a * x, 500))) / a),
        }[name]()


PARAMETERS = {"clamp": (-1.5, 2.5), "leaky_relu": (0.1,), "elu": (0.7, 1.3), "softplus": (2.0, 20.0)}


# The plainer functions are tested in test_elementwise_operators.py, each where it is defined.
@pytest.mark.parametrize("name", [name for name, each in ACTIVATIONS.items() if each.in_c])
def test_activations(isa, name):
    grid = np.concatenate([np.linspace(-20, 20, 4001), [0.0, -0.0, 1e-6, -1e-6, 100, -100, 1000, -1000]])
    x = grid.astype(np.float32)[None]
    activation = Activation(name, PARAMETERS.get(name, ()))
    program = Program.of_items((x.shape[1:],) * 2, 0, 1, (Operation("activation", (0,), 1, None, activation),))
    wanted = reference_activation(name, x.astype(np.float64), *(*activation.parameters, 0, 0)[:2])
    close = np.abs(run(program, x) - wanted) <= 1e-6 * np.maximum(1, np.abs(x))
    assert close.all(), x[~close]
    assert np.isnan(run(program, np.full_like(x, np.nan))).all()
    fused = one_layer(pack_dense(np.eye(40, dtype=np.float32)), activation)
    np.testing.assert_allclose(run(fused, x[:, :40]), wanted[:, :40], rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize("features", [1, 10, 16, 100])
def test_softmax(isa, features):
    x = inputs(np.random.default_rng(6), 3, features) * 10
    program = Program.of_items(((features,),) * 2, 0, 1, (Operation("softmax", (0,), 1),))
    exponentials = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        run(program, x), exponentials / exponentials.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-7
    )
    assert np.isnan(run(program, np.full_like(x, np.nan))).all()


def test_add_scale_shift_and_reshape(isa):
    rng = np.random.default_rng(7)
    scaling = ScaleShift(inputs(rng, 1, 33)[0], inputs(rng, 1, 33)[0])
    program = Program.of_items(
        ((4, 33), (4, 33), (4, 33), (12, 11)),
        0,
        3,
        (
            Operation("scale_shift", (0,), 1, "norm", settings=Axis(2)),
            Operation("add", (0, 1), 2),
            Operation("reshape", (2,), 3),
        ),
        {"norm": scaling},
    )
    x = rng.standard_normal((5, 4, 33)).astype(np.float32)
    wanted = (x + x * scaling.scale + scaling.shift).reshape(5, 12, 11)
    np.testing.assert_allclose(run(program, x), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(isa, threads):
    rng = np.random.default_rng(8)
    layer = pack(random_weight(rng, 1000, 1500), slot_mask(rng, 1000, 1500, 0.3), None)
    dense = pack_dense(random_weight(rng, 1000, 700))
    for each in (layer, dense):
        for batch in (1, 9):
            x = inputs(rng, batch, each.fan_in)
            program = one_layer(each, Activation("tanh"))
            np.testing.assert_array_equal(run(program, x, threads), run(program, x))
