"""Calls of many items, which are computed some items at a time where caches would not hold what all of them need."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError
from sparbor.program.program import Attention, Axes, Axis, Operation, Order, Program, ValueType
from tests.test_values import f32, numbers, program

ITEM = (64, 512)  # 128 KiB: a cache of 1 MiB has room for a few
BATCH = 37
ROWS = f32("batch", *ITEM)


def of_one(kind: str, shape: tuple[Any, ...] = ("batch", *ITEM), **more: Any) -> Program:
    return program([ROWS, f32(*shape)], "x0", "y1", Operation(kind, (0,), 1, **more))


def with_a_shared_vector() -> Program:
    """Two outputs, of which one has a number for each item; and an input that all items share."""
    return program(
        [ROWS, f32(1, 1, ITEM[1]), ROWS, ROWS, f32("batch", 1, 1)],
        "x0 vector1",
        "y3 top4",
        Operation("add", (0, 1), 2),
        Operation("softmax", (2,), 3),
        Operation("reduce_max", (3,), 4, settings=Axes((1, 2))),
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_each_item_is_what_it_is_by_itself_and_memory_is_that_of_some(threads: int) -> None:
    runtime, x, vector = Runtime(with_a_shared_vector(), threads), numbers(BATCH, *ITEM), numbers(1, 1, ITEM[1])
    answer = runtime(x, vector)
    assert runtime.workspace_bytes < x.nbytes  # two buffers of all items would be twice as much
    for i in range(BATCH):
        alone = runtime(x[i : i + 1], vector)
        for name, value in alone.items():
            np.testing.assert_array_equal(answer[name][i], value[0])
    e = np.exp((x + vector).astype(np.float64))
    np.testing.assert_allclose(answer["y"], e / e.sum(-1, keepdims=True), rtol=1e-5, atol=1e-7)


def test_the_output_may_lie_where_the_input_does() -> None:
    runtime, x = Runtime(of_one("softmax")), numbers(BATCH, *ITEM)
    expected = runtime(x)
    assert runtime(x, out=x) is x
    np.testing.assert_array_equal(x, expected)
    halved = Runtime(program([ROWS, ROWS], "x0", "y1", Operation("add", (0, 0), 1)))
    memory = numbers(BATCH + 1, *ITEM)
    wanted = 2 * memory[:-1]
    halved(memory[:-1], out=memory[1:])  # an item further: what a slice writes is read by the next one
    np.testing.assert_array_equal(memory[1:], wanted)


@pytest.mark.parametrize(
    ("operation", "shape", "expected"),
    [
        ({"kind": "cumulative_sum", "settings": Axis(0)}, ("batch", *ITEM), lambda x: np.cumsum(x, 0)),
        ({"kind": "permute", "settings": Order((1, 0, 2))}, (ITEM[0], "batch", ITEM[1]), lambda x: x.swapaxes(0, 1)),
        ({"kind": "reduce_sum", "settings": Axes((0,))}, (1, *ITEM), lambda x: x.sum(0, keepdims=True)),
        ({"kind": "reshape"}, (["*", ITEM[0], "batch"], ITEM[1]), lambda x: x.reshape(-1, ITEM[1])),
    ],
)
def test_operations_across_items_see_all_of_them(operation: dict[str, Any], shape: Any, expected: Any) -> None:
    x = numbers(BATCH, *ITEM)
    np.testing.assert_allclose(Runtime(of_one(shape=shape, **operation))(x), expected(x), rtol=1e-4, atol=1e-4)


def test_matrices_whose_rows_are_the_items_are_multiplied_as_they_are() -> None:
    """Those of the right one are not apart: each is one number of every product."""
    values = [f32("batch", 40), f32("batch", 9000), f32("batch", 9000)]
    of_two = program(values, "x0 y1", "z2", Operation("matmul", (0, 1), 2), sizes={"batch": 40})
    x, y = numbers(40, 40), numbers(40, 9000)
    np.testing.assert_allclose(Runtime(of_two)(x, y), x @ y, rtol=1e-3, atol=1e-4)


def test_errors_name_the_item_of_the_whole_call_and_leave_the_output_alone() -> None:
    heads = f32("batch", 4, 64, 128)
    attention = program(
        [heads, ValueType("bool", ("batch", 1, 1, 64)), heads],
        "x0 mask1",
        "y2",
        Operation("attention", (0, 0, 0, 1), 2, settings=Attention(0.1, False)),
    )
    runtime, x, seen = Runtime(attention), numbers(BATCH, 4, 64, 128), np.ones((BATCH, 1, 1, 64), bool)
    y = np.full_like(x, 7)
    seen[-2] = False
    with pytest.raises(ArgumentError, match=f"hides all keys of item {BATCH - 2}"):
        runtime(x, seen, out=y)
    assert (y == 7).all()
    seen[-2, ..., 0] = True
    answer = runtime(x, seen)
    np.testing.assert_allclose(answer[-2], np.broadcast_to(x[-2, :, :1], x[-2].shape), rtol=1e-6)
    indices = ValueType("i64", ROWS.shape)
    gather = program([ROWS, indices, ROWS], "x0 at1", "y2", Operation("gather", (0, 1), 2, settings=Axis(2)))
    at = np.zeros((BATCH, *ITEM), np.int64)
    at[30, 2, 1] = ITEM[1]
    with pytest.raises(ArgumentError, match=r"at \(30, 2, 1\)"):
        Runtime(gather)(numbers(BATCH, *ITEM), at)
