"""Products of two values, attention, and the copies that they spare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from sparbor.engine.runtime import Runtime
from sparbor.engine.session import Session
from sparbor.errors import ArgumentError
from sparbor.export.onnx.target import to_onnx
from sparbor.packing.dense_weights import pack_dense
from sparbor.program.program import Attention, Axis, Operation, Order, Program, Slice, ValueType
from tests.test_values import f32, isa, numbers, program

assert isa  # a fixture

onnxruntime = pytest.importorskip("onnxruntime")


def in_onnx(exported: Program, *given: np.ndarray) -> Any:
    session = onnxruntime.InferenceSession(to_onnx(exported).SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {port.name: x for port, x in zip(exported.inputs, given, strict=True)})[0]


def product(x: Sequence[Any], y: Sequence[Any], result: Sequence[Any], turned: bool = False) -> Program:
    """`turned`: both come with their last two dimensions exchanged, so that the engine sees them by strides."""
    values = [f32(*x), f32(*y), f32(*result)]
    if not turned:
        return program(values, "x0 y1", "z2", Operation("matmul", (0, 1), 2))
    order = Order((*range(len(x) - 2), len(x) - 1, len(x) - 2))
    values += [f32(*(shape[each] for each in order.order)) for shape in (x, y)]
    return program(
        values,
        "x3 y4",
        "z2",
        Operation("permute", (3,), 0, settings=order),
        Operation("permute", (4,), 1, settings=order),
        Operation("matmul", (0, 1), 2),
    )


PRODUCTS = [
    ((1, 1), (1, 1)),
    ((1, 7), (7, 5)),
    ((3, 1), (1, 40)),
    ((16, 33), (33, 17)),
    ((29, 100), (100, 48)),
    ((61, 300), (300, 257)),
    ((2, 3, 5, 8), (2, 3, 8, 9)),
    ((4, 1, 31, 20), (1, 3, 20, 16)),
    ((1, 2, 1, 70), (5, 1, 70, 33)),
]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("x", "y"), PRODUCTS)
def test_products_of_matrices(isa: str, x: tuple[int, ...], y: tuple[int, ...], threads: int, turned: bool) -> None:
    left, right = numbers(*x), numbers(*y)
    wanted = left.astype(np.float64) @ right
    given = (left, right)
    if turned:
        given = (left.swapaxes(-1, -2).copy(), right.swapaxes(-1, -2).copy())
    runtime = Runtime(product(x, y, wanted.shape, turned), threads)
    np.testing.assert_allclose(runtime(*given), wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(in_onnx(runtime.program, *given), wanted, rtol=1e-4, atol=1e-4)


def test_products_of_views_need_no_copy(isa: str) -> None:
    """Every second column of a slice, and a matrix that is repeated."""
    looked = program(
        [f32(9, 40), f32(1, 5, 12), f32(9, 5), f32(1, 9, 5), f32(3, 9, 5), f32(3, 5, 12), f32(3, 9, 12)],
        "x0 y1",
        "z6",
        Operation("slice", (0,), 2, settings=Slice(1, 3, 7)),
        Operation("reshape", (2,), 3),
        Operation("expand", (3,), 4),
        Operation("expand", (1,), 5),
        Operation("matmul", (4, 5), 6),
    )
    x, y = numbers(9, 40), numbers(1, 5, 12)
    wanted = np.broadcast_to(x[:, 3:38:7] @ y, (3, 9, 12))
    np.testing.assert_allclose(Runtime(looked)(x, y), wanted, rtol=1e-4, atol=1e-5)


def test_numbers_that_are_not_finite_stay_where_they_are(isa: str) -> None:
    """What lies behind a row is multiplied with too, and has no part in the result."""
    x, y = numbers(2, 3), numbers(3, 5)
    y[:, 4] = np.inf
    x[1] = np.nan
    answer = Runtime(product((2, 3), (3, 5), (2, 5)))(x, y)
    np.testing.assert_allclose(answer[0, :4], x[0] @ y[:, :4], rtol=1e-5)
    assert not np.isfinite(answer[0, 4])
    assert np.isnan(answer[1]).all()


@pytest.mark.parametrize(
    ("x", "y", "result", "text"),
    [
        ((3,), (3,), (1,), "as many dimensions, two or more"),
        ((2, 3), (1, 3, 4), (1, 2, 4), "as many dimensions, two or more"),
        ((2, 3), (4, 5), (2, 5), "rows of the one are not as long"),
        ((2, 3), (3, 5), (2, 4), r"cannot take shape \(2, 3\), \(3, 5\) to \(2, 4\)"),
        ((2, 2, 3), (3, 3, 5), (3, 2, 5), "neither equal nor 1"),
        ((1, 2, 3), (1, 3, 5), (4, 2, 5), "larger than what is broadcast"),
    ],
)
def test_products_that_cannot_be(x: Any, y: Any, result: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Runtime(product(x, y, result))


def attention(
    q: Sequence[Any],
    k: Sequence[Any],
    v: Sequence[Any],
    mask: ValueType | None = None,
    scale: float = 0.3,
    causal: bool = False,
) -> Program:
    values = [f32(*q), f32(*k), f32(*v), f32(*q[:3], v[-1])]
    inputs, names = (0, 1, 2), "q0 k1 v2"
    if mask is not None:
        values.append(mask)
        inputs, names = (0, 1, 2, 4), "q0 k1 v2 mask4"
    return program(values, names, "y3", Operation("attention", inputs, 3, settings=Attention(scale, causal)))


def expected(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None = None,
    scale: float = 0.3,
    causal: bool = False,
) -> np.ndarray:
    """PyTorch's, in doubles; zeros where it has NaN because all keys are hidden."""
    queries, keys = q.shape[2], k.shape[2]
    seen = np.tril(np.ones((queries, keys), bool), keys - queries) if causal else np.ones((queries, keys), bool)
    more = np.where(seen, 0.0, -np.inf)[None, None]
    if mask is not None:
        more = more + (np.where(mask, 0.0, -np.inf) if mask.dtype == bool else mask)
    tensors = [torch.from_numpy(each).double() for each in (q, k, v)]
    answer = scaled_dot_product_attention(*tensors, torch.from_numpy(more), scale=scale, enable_gqa=True).numpy()
    return np.where(np.all(np.broadcast_to(more, (*q.shape[:3], keys)) < -1e37, -1)[..., None], 0.0, answer)


SIZES = [  # items, heads, heads of keys, queries, keys, features, features of values
    (1, 1, 1, 1, 1, 1, 1),
    (2, 3, 3, 5, 7, 8, 8),
    (1, 2, 2, 16, 16, 32, 32),
    (1, 4, 2, 17, 33, 20, 12),
    (2, 6, 2, 1, 300, 16, 17),
    (1, 3, 3, 1, 129, 5, 70),
    (1, 4, 1, 1, 20, 33, 3),
    (2, 1, 1, 4, 3, 8, 16),
    (1, 2, 1, 40, 530, 8, 8),
    (1, 2, 1, 70, 140, 40, 33),
    (1, 1, 1, 131, 131, 64, 64),
]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_attention(isa: str, size: tuple[int, ...], causal: bool, threads: int) -> None:
    items, heads, key_heads, queries, keys, depth, features = size
    q, k, v = (
        numbers(items, heads, queries, depth),
        numbers(items, key_heads, keys, depth),
        numbers(items, key_heads, keys, features),
    )
    runtime = Runtime(attention(q.shape, k.shape, v.shape, causal=causal), threads)
    wanted = expected(q, k, v, causal=causal)
    np.testing.assert_allclose(runtime(q, k, v), wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(in_onnx(runtime.program, q, k, v), wanted, rtol=1e-4, atol=1e-5)


def seeing_something(mask: np.ndarray) -> np.ndarray:
    """Some rows are hidden, and of no item all."""
    mask[..., 0, :] = True
    return mask


@pytest.mark.parametrize("kind", ["bool", "f32"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 290), (3, 1, 1, 290), (1, 4, 2, 290), (3, 4, 2, 290), (1, 1, 2, 1)])
def test_masks_of_few_queries(isa: str, shape: tuple[int, ...], kind: str) -> None:
    q, k, v = numbers(3, 4, 2, 16), numbers(3, 4, 290, 16), numbers(3, 4, 290, 16)
    mask = seeing_something(np.random.default_rng(1).random(shape) < 0.4)
    if kind == "f32":
        mask = np.where(mask, numbers(*shape), np.float32(-np.inf))
    masked = attention(q.shape, k.shape, v.shape, ValueType(kind, shape))
    np.testing.assert_allclose(Runtime(masked)(q, k, v, mask), expected(q, k, v, mask), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["bool", "f32"])
@pytest.mark.parametrize("shape", [(a, b, c, d) for a in (1, 3) for b in (1, 4) for c in (1, 35) for d in (1, 290)])
def test_masks_of_every_shape_and_type(isa: str, shape: tuple[int, ...], kind: str, causal: bool) -> None:
    q, k, v = numbers(3, 4, 35, 16), numbers(3, 2, 290, 16), numbers(3, 2, 290, 16)
    mask = seeing_something(np.random.default_rng(1).random(shape) < 0.4)
    if kind == "f32":
        mask = np.where(mask, numbers(*shape), np.float32(-np.inf))
    masked = attention(q.shape, k.shape, v.shape, ValueType(kind, shape), causal=causal)
    wanted = expected(q, k, v, mask, causal=causal)
    np.testing.assert_allclose(Runtime(masked, 2)(q, k, v, mask), wanted, rtol=1e-4, atol=1e-5)
    if shape[0] == shape[1]:
        np.testing.assert_allclose(in_onnx(masked, q, k, v, mask), wanted, rtol=1e-4, atol=1e-5)


def test_the_smallest_float_in_a_mask_hides_as_well(isa: str) -> None:
    """As Hugging Face's models have it: far below all scores, and a sum with a score may be minus infinity."""
    q, k, v = numbers(1, 2, 3, 8), numbers(1, 2, 40, 8), numbers(1, 2, 40, 8)
    mask = np.zeros((1, 1, 3, 40), np.float32)
    mask[..., 25:] = np.finfo(np.float32).min
    v[:, :, 30] = 1e30
    masked = attention(q.shape, k.shape, v.shape, ValueType("f32", mask.shape))
    wanted = expected(q, k[:, :, :25].copy(), v[:, :, :25].copy())
    np.testing.assert_allclose(Runtime(masked)(q, k, v, mask), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("queries", [3, 5])
def test_large_scores_and_nan(isa: str, queries: int) -> None:
    """Softmax of numbers whose exponentials no float can hold; a NaN stays among the queries that see it."""
    q, k, v = 100 * numbers(1, 1, queries, 8), 100 * numbers(1, 1, 50, 8), numbers(1, 1, 50, 8)
    runtime = Runtime(attention(q.shape, k.shape, v.shape))
    np.testing.assert_allclose(runtime(q, k, v), expected(q, k, v), rtol=1e-4, atol=1e-4)
    q[0, 0, 2, 3] = np.nan
    answer = runtime(q, k, v)
    assert np.isnan(answer[0, 0, 2]).all()
    assert np.isfinite(np.delete(answer, 2, axis=2)).all()


def any_sizes(mask: ValueType) -> Program:
    tokens = ("batch", 2, "sequence", 8)
    return attention(tokens, tokens, tokens, mask)


@pytest.mark.parametrize("kind", ["bool", "f32"])
def test_a_mask_that_hides_all_of_an_item_is_refused(isa: str, kind: str) -> None:
    """The runtime is as good as before, and so is an array that the answer was to be written to."""
    runtime = Runtime(any_sizes(ValueType(kind, ("batch", 1, 1, "sequence"))), 2)
    x = numbers(3, 2, 4, 8)
    seen = np.array([[1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], bool).reshape(3, 1, 1, 4)
    mask = seen if kind == "bool" else np.where(seen, np.float32(0), np.finfo(np.float32).min)
    for _ in range(2):
        with pytest.raises(ArgumentError, match="attention: the mask hides all keys of item 2") as caught:
            runtime(x, x, x, mask)
        assert len(str(caught.value).splitlines()) == 1
        y = runtime(x[:2], x[:2], x[:2], mask[:2])
        np.testing.assert_allclose(y, expected(x[:2], x[:2], x[:2], seen[:2]), rtol=1e-4, atol=1e-5)


def test_a_session_whose_call_is_refused_remembers_what_it_did(isa: str) -> None:
    """Keys seen so far are a state."""
    tokens = f32("batch", 1, 4, 8)
    remembering = program(
        [tokens, tokens, ValueType("bool", ("batch", 1, 1, 4)), tokens, tokens],
        "x0 before1 mask2",
        "y3 now4",
        Operation("attention", (0, 1, 1, 2), 3, settings=Attention(1.0, False)),
        Operation("add", (0, 1), 4),
        states=(("before", "now"),),
    )
    session = Session(Runtime(remembering))
    x, seen = numbers(1, 1, 4, 8), np.ones((1, 1, 1, 4), bool)
    session(x=x, mask=seen)
    with pytest.raises(ArgumentError, match="hides all keys of item 0"):
        session(x=x, mask=~seen)
    np.testing.assert_allclose(session(x=x, mask=seen), expected(x, x, x, scale=1.0), rtol=1e-4, atol=1e-5)


Q, K = (2, 4, 5, 8), (2, 2, 6, 8)


@pytest.mark.parametrize(
    ("q", "k", "v", "mask", "text"),
    [
        ((2, 5, 8), (2, 5, 8), (2, 5, 8), None, "four dimensions: items, heads, tokens, features"),
        (Q, (3, 2, 6, 8), (3, 2, 6, 8), None, "not as many items"),
        (Q, (2, 3, 6, 8), (2, 3, 6, 8), None, "do not divide those of queries"),
        (Q, K, (2, 1, 6, 8), None, "do not divide those of queries"),
        (Q, K, (2, 2, 7, 8), None, "not as many values as keys"),
        (Q, (2, 2, 6, 9), K, None, "a key is not as long as a query"),
        (Q, K, K, f32(2, 1, 6), "its mask has not four dimensions"),
        (Q, K, K, f32(2, 1, 5, 5), "a dimension of its mask is neither equal nor 1"),
        (Q, K, K, f32(2, 2, 5, 6), "a dimension of its mask is neither equal nor 1"),
        (Q, K, K, ValueType("i64", (2, 1, 5, 6)), "its mask is neither bool nor f32"),
    ],
)
def test_attention_that_cannot_be(q: Any, k: Any, v: Any, mask: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Runtime(attention(q, k, v, mask))


@pytest.mark.parametrize("inputs", [(0,), (0, 1), (0, 1, 2, 0, 1)])
def test_attention_of_too_few_or_too_many_values_is_refused(inputs: tuple[int, ...]) -> None:
    x = f32(1, 1, 2, 3)
    some = program([x] * 4, "q0 k1 v2", "y3", Operation("attention", inputs, 3, settings=Attention(1.0, False)))
    with pytest.raises(ArgumentError, match=r'no operation "attention" of [125] inputs'):
        Runtime(some)


def block(heads: int, width: int, layers: dict[str, Any]) -> Program:
    """As in a transformer: one layer makes queries, keys and values of tokens, another one mixes the heads."""
    all_heads = ("batch", "sequence", 3, heads, width)
    one, apart = ("batch", "sequence", 1, heads, width), ("batch", "sequence", heads, width)
    turned, tokens = ("batch", heads, "sequence", width), ("batch", "sequence", heads * width)
    values = [f32(*tokens), f32("batch", "sequence", 3 * heads * width), f32(*all_heads)]
    operations = [Operation("linear", (0,), 1, "qkv"), Operation("reshape", (1,), 2)]
    for each in range(3):
        number = len(values)
        values += [f32(*one), f32(*apart), f32(*turned)]
        operations += [
            Operation("slice", (2,), number, settings=Slice(2, each, 1)),
            Operation("reshape", (number,), number + 1),
            Operation("permute", (number + 1,), number + 2, settings=Order((0, 2, 1, 3))),
        ]
    number = len(values)
    values += [f32(*turned), f32(*apart), f32(*tokens), f32(*tokens)]
    operations += [
        Operation("attention", (5, 8, 11), number, settings=Attention(width**-0.5, False)),
        Operation("permute", (number,), number + 1, settings=Order((0, 2, 1, 3))),
        Operation("reshape", (number + 1,), number + 2),
        Operation("linear", (number + 2,), number + 3, "out"),
    ]
    return program(values, "x0", f"y{number + 3}", *operations, layers=layers)


def row_bytes(features: int) -> int:
    """What a row of floats takes in the engine's memory."""
    whole = -(-features // 32) * 32
    return 4 * (whole + 32 if whole % 256 == 0 else whole)


@pytest.mark.parametrize(("heads", "width"), [(3, 16), (2, 20), (1, 7), (8, 32)])
def test_a_block_of_a_transformer_copies_nothing(isa: str, heads: int, width: int) -> None:
    features = heads * width
    weights = {"qkv": numbers(3 * features, features) / 10, "out": numbers(features, features) / 10}
    runtime = Runtime(block(heads, width, {name: pack_dense(each) for name, each in weights.items()}))
    # Tokens, then what attention makes of them; and all three projections, then the result.
    assert runtime.item_bytes == row_bytes(features) + row_bytes(3 * features)
    x = numbers(2, 37, features)
    q, k, v = (x @ weights["qkv"].T).reshape(2, 37, 3, heads, width).transpose(2, 0, 3, 1, 4)
    mixed = expected(q, k, v, scale=width**-0.5).transpose(0, 2, 1, 3).reshape(2, 37, features)
    np.testing.assert_allclose(runtime(x), mixed @ weights["out"].T, rtol=1e-4, atol=1e-4)


MOVES: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [
    ((1, 19, 33), (0, 2, 1), (1, 33, 19)),
    ((1, 19, 36), (0, 2, 1), (1, 36, 19, 1)),
    ((2, 36, 70), (0, 2, 1), (2, 70, 6, 6)),
    ((3, 2, 50, 8), (0, 2, 1, 3), (3, 50, 16)),
    ((5, 4, 3, 2), (3, 1, 2, 0), (2, 4, 3, 5)),
    ((4, 6, 35), (1, 0, 2), (10, 84)),
    ((1, 300, 200), (0, 2, 1), (200, 300)),
    ((6, 10), (0, 1), (4, 15)),
]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", ["f32", "u8", "i64", "bool"])
@pytest.mark.parametrize(("shape", "order", "result"), MOVES)
def test_numbers_are_moved_from_any_layout_to_any(
    isa: str, shape: tuple[int, ...], order: tuple[int, ...], result: tuple[int, ...], kind: str, threads: int
) -> None:
    """By a step of its own, behind a slice that leaves gaps, and on the way out."""
    turned = tuple(shape[each] for each in order)
    wide = (*shape[:-1], shape[-1] + 3)
    moved = program(
        [ValueType(kind, each) for each in (wide, shape, turned, result, (2 * result[0], *result[1:]))],
        "x0",
        "y3 twice4",
        Operation("slice", (0,), 1, settings=Slice(len(shape) - 1, 2, 1)),
        Operation("permute", (1,), 2, settings=Order(order)),
        Operation("reshape", (2,), 3),
        Operation("concat", (3, 3), 4, settings=Axis(0)),
    )
    runtime = Runtime(moved, threads)
    x = np.random.default_rng(2).integers(0, 2 if kind == "bool" else 200, wide).astype(runtime.inputs[0].dtype)
    answer = runtime(x)
    wanted = x[..., 2:-1].transpose(order).reshape(result)
    np.testing.assert_array_equal(answer["y"], wanted)
    np.testing.assert_array_equal(answer["twice"], np.concatenate([wanted, wanted]))


def test_two_views_of_rows_are_joined_again(isa: str) -> None:
    """What attention gives lies by tokens, whoever reads it: in another order, or as it is."""
    shape = (2, 3, 5, 4)
    read = program(
        [f32(*shape)] * 3 + [f32(2, 3, 10, 4), f32(2, 3, 5, 4)],
        "x0",
        "y1 twice2 joined3 soft4",
        Operation("attention", (0, 0, 0), 1, settings=Attention(0.5, False)),
        Operation("add", (1, 1), 2),
        Operation("concat", (1, 0), 3, settings=Axis(2)),
        Operation("softmax", (1,), 4),
    )
    x = numbers(*shape)
    y = expected(x, x, x, scale=0.5)
    answer = Runtime(read)(x)
    soft = np.exp(y) / np.exp(y).sum(-1, keepdims=True)
    wanted = {"y": y, "twice": 2 * y, "joined": np.concatenate([y, x], 2), "soft": soft}
    for name, each in wanted.items():
        np.testing.assert_allclose(answer[name], each, rtol=1e-4, atol=1e-5)
