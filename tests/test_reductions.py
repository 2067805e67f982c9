"""What becomes of the numbers along dimensions, against NumPy and PyTorch in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError
from sparbor.packing.dense_weights import pack_dense
from sparbor.program.program import (
    Axes,
    Axis,
    GroupNormalisation,
    Normalisation,
    Operation,
    Port,
    Program,
    ScaleShift,
    ValueType,
)
from tests.operators import check, floats, isa, of_one, of_type, same, wholes  # noqa: F401

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_sum": np.sum,
    "reduce_mean": np.mean,
    "reduce_max": np.max,
    "reduce_min": np.min,
    "reduce_product": np.prod,
    "reduce_l2": lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis, keepdims=keepdims)),
}
OVER = [
    ((7,), (0,)),
    ((3, 37), (1,)),
    ((3, 37), (0,)),
    ((2, 9, 70), (1,)),
    ((2, 5, 6, 7), (2, 3)),
    ((2, 5, 6, 7), (1, 3)),
    ((2, 5, 6, 7), (0, 2)),
    ((2, 5, 6, 7), (0, 1, 2, 3)),
    ((1, 1, 1), (1,)),
    ((4, 300, 3), (1,)),
    ((3, 1, 100), (1, 2)),
]


def reduced(kind: str, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    wide = x.astype(np.float64) if x.dtype == np.float32 else x
    return np.asarray(REDUCTIONS[kind](wide, axis=axes, keepdims=True)).astype(x.dtype)


@pytest.mark.parametrize("kind", REDUCTIONS)
@pytest.mark.parametrize(("shape", "axes"), OVER)
@pytest.mark.parametrize("numbers", ["f32", "i32", "i64", "bool"])
@pytest.mark.usefixtures("isa")
def test_reductions(kind: str, shape: Any, axes: Any, numbers: str) -> None:
    if numbers != "f32" and kind in ("reduce_mean", "reduce_l2"):
        return
    if numbers == "bool" and kind not in ("reduce_max", "reduce_min"):
        return
    x = of_type(numbers, *shape)
    if kind == "reduce_product":
        x = (1 + x / 50).astype(np.float32) if numbers == "f32" else np.sign(x) * 2 + 1
        x = x.astype(of_type(numbers, 1).dtype)
    check(kind, [x], reduced(kind, x, axes), settings=Axes(axes), tolerance=1e-5, exported=kind != "reduce_product")


@pytest.mark.parametrize("size", [100_003, 4096])
@pytest.mark.usefixtures("isa")
def test_long_sums_keep_their_digits(size: int) -> None:
    """Along the last dimension and along the first, of numbers that do not cancel."""
    x = RANDOM_LONG[:size] + np.float32(1)
    for shape, axes in (((1, size), (1,)), ((size, 1), (0,)), ((size // 3, 3), (0,))):
        some = np.ascontiguousarray(x[: shape[0] * shape[1]].reshape(shape))
        for kind in ("reduce_sum", "reduce_mean", "reduce_l2"):
            wanted = REDUCTIONS[kind](some.astype(np.float64), axis=axes, keepdims=True)
            found = Runtime(of_one(kind, [some], wanted.astype(np.float32), settings=Axes(axes)))(some)
            np.testing.assert_allclose(found, wanted, rtol=3e-7)


RANDOM_LONG = np.random.default_rng(8).random(100_003, np.float32)


@pytest.mark.parametrize("kind", ["reduce_max", "reduce_min"])
@pytest.mark.parametrize("axes", [(0,), (1,)])
@pytest.mark.usefixtures("isa")
def test_extremes_of_what_is_no_number_and_of_infinities(kind: str, axes: Any) -> None:
    x = floats(70, 70)
    x[3, 5], x[60, 61] = np.nan, -np.inf
    x[7], x[:, 9] = np.inf, -np.inf
    same(Runtime(of_one(kind, [x], reduced(kind, x, axes), settings=Axes(axes)))(x), reduced(kind, x, axes), 0)


@pytest.mark.usefixtures("isa")
def test_a_mean_over_tokens_of_any_number() -> None:
    """Pooled token vectors, then a linear layer, as sentence embeddings are made."""
    weight = floats(4, 6)
    made = Program(
        tuple(ValueType("f32", ("batch", *rest)) for rest in (("sequence", 6), (1, 6), (1, 4), (1, 1))),
        (Port("x", 0),),
        (Port("y", 2), Port("norm", 3)),
        (
            Operation("reduce_mean", (0,), 1, settings=Axes((1,))),
            Operation("linear", (1,), 2, "fc"),
            Operation("reduce_l2", (2,), 3, settings=Axes((2,))),
        ),
        {"fc": pack_dense(weight)},
    )
    runtime = Runtime(made)
    for batch, sequence in ((1, 1), (3, 5), (2, 128)):
        x = floats(batch, sequence, 6)
        wanted = x.mean(1, keepdims=True) @ weight.T
        answer = runtime(x)
        np.testing.assert_allclose(answer["y"], wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(answer["norm"][..., 0], np.linalg.norm(wanted, axis=2), rtol=1e-5)


@pytest.mark.parametrize("numbers", ["f32", "i32", "i64"])
@pytest.mark.parametrize(("shape", "axis"), [((9,), 0), ((3, 37), 1), ((3, 37), 0), ((2, 5, 1, 7), 1), ((2, 1), 1)])
@pytest.mark.usefixtures("isa")
def test_places_and_running_sums(numbers: str, shape: Any, axis: int) -> None:
    x = of_type(numbers, *shape)
    if numbers != "f32":
        x = (x % 5).astype(x.dtype)  # equals, of which the first counts
    check("argmax", [x], np.argmax(x, axis, keepdims=True), settings=Axis(axis))
    check("argmin", [x], np.argmin(x, axis, keepdims=True), settings=Axis(axis))
    wide = x.astype(np.float64) if numbers == "f32" else x
    check("cumulative_sum", [x], np.cumsum(wide, axis).astype(x.dtype), settings=Axis(axis), tolerance=2e-6)


@pytest.mark.usefixtures("isa")
def test_places_of_what_is_no_number() -> None:
    x = np.array([[1, np.nan, 5, np.nan], [np.inf, 1, np.inf, -np.inf]], np.float32)
    for kind, wanted in (("argmax", [[1], [0]]), ("argmin", [[1], [3]])):
        same(Runtime(of_one(kind, [x], np.array(wanted), settings=Axis(1)))(x), np.array(wanted), 0)


SHAPES = [(5,), (3, 7), (2, 3, 64), (2, 3, 4, 70), (2, 2, 2, 2, 33), (1, 1, 1), (3, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layer", [False, True])
@pytest.mark.usefixtures("isa")
def test_norms_of_rows_of_values_of_any_rank(shape: Any, layer: bool) -> None:
    x = floats(*shape)
    scale, shift = floats(shape[-1]), floats(shape[-1])
    wide = torch.from_numpy(x).double()
    more: dict[str, Any] = {"layer": ScaleShift(scale, shift)} if layer else {}
    factors = (torch.from_numpy(scale).double(), torch.from_numpy(shift).double()) if layer else (1.0, 0.0)
    normal = functional.layer_norm(wide, shape[-1:], eps=1e-5) * factors[0] + factors[1]
    check("layer_norm", [x], normal.float().numpy(), settings=Normalisation(1e-5), tolerance=1e-5, **more)
    rms = wide * torch.rsqrt((wide * wide).mean(-1, keepdim=True) + 1e-6) * factors[0] + factors[1]
    check("rms_norm", [x], rms.float().numpy(), settings=Normalisation(1e-6), tolerance=2e-6, **more)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("isa")
def test_softmax_of_values_of_any_rank(shape: Any) -> None:
    x = floats(*shape) * 10
    x[..., :1] += 50
    wide = torch.from_numpy(x).double()
    check("softmax", [x], wide.softmax(-1).float().numpy(), tolerance=1e-6)
    check("log_softmax", [x], wide.log_softmax(-1).float().numpy(), tolerance=2e-6)


@pytest.mark.usefixtures("isa")
def test_softmax_of_masked_scores() -> None:
    x = floats(4, 40)
    x[:, 13:] = -np.inf
    wanted = torch.from_numpy(x).softmax(-1).numpy()
    same(Runtime(of_one("softmax", [x], x))(x), wanted, 1e-6)


@pytest.mark.usefixtures("isa")
def test_linear_layers_over_values_of_any_rank() -> None:
    weight = floats(5, 7)
    for shape in ((7,), (3, 7), (2, 3, 7), (2, 3, 4, 7), (2, 1, 2, 2, 7)):
        x = floats(*shape)
        check("linear", [x], x @ weight.T, layer=pack_dense(weight), tolerance=1e-5, exported=False)


@pytest.mark.parametrize(
    ("shape", "groups"), [((2, 6, 9), 3), ((2, 6, 5, 7), 1), ((1, 4, 3, 3), 4), ((3, 8, 2, 1, 33), 2)]
)
@pytest.mark.parametrize("layer", [False, True])
@pytest.mark.usefixtures("isa")
def test_group_norm(shape: Any, groups: int, layer: bool) -> None:
    """With as many groups as channels it is an instance norm."""
    x = floats(*shape) + 3
    factors = [floats(shape[1]), floats(shape[1])] if layer else []
    tensors = [torch.from_numpy(each).double() for each in factors]
    wanted = functional.group_norm(torch.from_numpy(x).double(), groups, *tensors, eps=1e-5).float().numpy()
    more: dict[str, Any] = {"layer": ScaleShift(*factors)} if layer else {}
    check("group_norm", [x], wanted, settings=GroupNormalisation(1e-5, groups), tolerance=5e-6, **more)


@pytest.mark.parametrize(
    ("kind", "x", "wanted", "settings", "text"),
    [
        ("reduce_sum", floats(2, 3), floats(2, 1), Axes((2,)), "its axes are not some of the dimensions, in order"),
        ("reduce_sum", floats(2, 3), floats(2, 1), Axes((-1,)), "its axes are not some of the dimensions, in order"),
        ("reduce_sum", floats(2, 3), floats(1, 1), Axes((1, 0)), "its axes are not some of the dimensions, in order"),
        ("reduce_sum", floats(2, 3), floats(2, 1), Axes((1, 1)), "its axes are not some of the dimensions, in order"),
        ("reduce_sum", floats(2, 3), floats(2, 3), Axes(()), "it has no axes"),
        ("reduce_sum", floats(2, 3), floats(2), Axes((1,)), "cannot take shape"),
        ("reduce_sum", floats(2, 3), wholes(2, 1), Axes((1,)), "its values are of different types"),
        ("reduce_sum", of_type("bool", 2, 3), of_type("bool", 2, 1), Axes((1,)), "its numbers are not f32, i32 or i64"),
        ("reduce_mean", wholes(2, 3), wholes(2, 1), Axes((1,)), "its inputs are not all f32"),
        ("argmax", floats(2, 3), floats(2, 1), Axis(1), "its output is not i64"),
        ("argmax", floats(2, 3), wholes(2, 1), Axis(2), "its axis is none of the output's dimensions"),
        ("cumulative_sum", of_type("u8", 2, 3), of_type("u8", 2, 3), Axis(1), "its numbers are not f32, i32 or i64"),
        ("group_norm", floats(2, 6), floats(2, 6), GroupNormalisation(1e-5, 2), "it has no planes"),
        ("group_norm", floats(2, 6, 3), floats(2, 6, 3), GroupNormalisation(1e-5, 4), "do not divide the channels"),
        ("group_norm", floats(2, 6, 3), floats(2, 6, 3), GroupNormalisation(1e-5, 0), "do not divide the channels"),
    ],
)
def test_what_cannot_be(kind: str, x: Any, wanted: Any, settings: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Runtime(of_one(kind, [x], wanted, settings=settings))
