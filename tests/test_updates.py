"""Values of which some numbers are replaced: the engine's operator, and what PyTorch writes with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sparbor
from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError
from sparbor.program.program import Axis
from tests.operators import RANDOM, check, floats, isa, of_one, of_type, same, wholes  # noqa: F401


def put(x: np.ndarray, updates: np.ndarray, axis: int, *places: np.ndarray) -> np.ndarray:
    """One after another, so that the last one of a place stays."""
    y = x.copy()
    for number in range(len(places[0])):
        where = (slice(None),) * axis + tuple(int(each[number]) for each in places)
        y[where] = updates.take(number, axis)
    return y


def different(count: int, below: int, dtype: str = "int64") -> np.ndarray:
    return RANDOM.permutation(below)[:count].astype(dtype)


@pytest.mark.parametrize(
    ("shape", "axis", "count"),
    [((7,), 0, 3), ((1,), 0, 1), ((5, 8), 0, 2), ((5, 8), 1, 8), ((2, 3, 40, 17), 2, 5), ((2, 1, 4, 1, 6), 4, 1)],
)
@pytest.mark.parametrize("kind", ["f32", "i64", "u8", "bool"])
@pytest.mark.usefixtures("isa")
def test_rows_at_indices(shape: tuple[int, ...], axis: int, count: int, kind: str) -> None:
    x, updates = of_type(kind, *shape), of_type(kind, *shape[:axis], count, *shape[axis + 1 :])
    for dtype in ("int64", "int32"):
        places = different(count, shape[axis], dtype)
        check("put", [x, updates, places], put(x, updates, axis, places), tolerance=0, settings=Axis(axis))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.usefixtures("isa")
def test_indices_of_several_dimensions(axis: int) -> None:
    x = floats(4, 5, 6, 7)
    updates = floats(*x.shape[:axis], 3, *x.shape[axis + 2 :])
    places = [different(3, x.shape[axis + each]) for each in range(2)]
    check("put", [x, updates, *places], put(x, updates, axis, *places), tolerance=0, settings=Axis(axis))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("isa")
def test_the_last_update_of_a_place_stays(threads: int) -> None:
    x, updates, places = floats(64, 5, 300), floats(64, 40, 300), wholes(40, low=0, high=5)
    made = of_one("put", [x, updates, places], x, settings=Axis(1))
    same(Runtime(made, threads)(x, updates, places), put(x, updates, 1, places), 0)


@pytest.mark.parametrize("place", [5, -1, 2**62, -(2**63)])
@pytest.mark.usefixtures("isa")
def test_an_index_of_no_place_refuses_the_call_and_no_other(place: int) -> None:
    x, updates, places = floats(2, 5, 3), floats(2, 2, 3), np.array([0, 4])
    runtime = Runtime(of_one("put", [x, updates, places], x, settings=Axis(1)))
    with pytest.raises(ArgumentError, match=rf"put: index {place} at \(1,\) is not one of dimension 1, 0 to 4$"):
        runtime(x, updates, np.array([0, place]))
    same(runtime(x, updates, places), put(x, updates, 1, places), 0)


@pytest.mark.parametrize(
    ("updates", "places", "axis", "text"),
    [
        (floats(2, 3, 3), [np.array([0, 1])], 1, "there is not one update for each index"),
        (floats(2, 2, 3), [np.array([[0, 1]])], 1, "its indices are not rows"),
        (floats(2, 2, 3), [np.array([0.0, 1.0], np.float32)], 1, "neither i32 nor i64"),
        (floats(2, 2, 3), [np.array([0, 1])], 3, "its axis is none of the output's dimensions"),
        (floats(2, 5, 2), [np.array([0, 1]), np.array([0, 1])], 2, "more indices than there are dimensions"),
        (wholes(2, 2, 3), [np.array([0, 1])], 1, "of different types"),
    ],
)
def test_what_the_operator_cannot_take(updates: np.ndarray, places: list[np.ndarray], axis: int, text: str) -> None:
    x = floats(2, 5, 3)
    with pytest.raises(ArgumentError, match=text):
        Runtime(of_one("put", [x, updates, *places], x, settings=Axis(axis)))


# From PyTorch


class Written(nn.Module):
    """A copy of its input that has been written to."""

    def __init__(self, write: Any) -> None:
        super().__init__()
        self.write = write

    def forward(self, x: Tensor, new: Tensor, at: Tensor) -> Tensor:
        y = x.clone()
        self.write(y, new, at)
        return y + new.sum() + at.sum()


def assign(*where: Any) -> Any:
    def write(y: Tensor, new: Tensor, at: Tensor) -> None:
        y[tuple(at if each == "at" else each for each in where)] = new

    return write


EVERY = slice(None)


@pytest.mark.parametrize(
    ("write", "shape"),
    [
        (lambda y, new, at: y.index_copy_(1, at, new), (4, 2, 6)),
        (lambda y, new, at: y.index_copy_(-2, at + 0, new), (4, 2, 6)),
        (assign(EVERY, "at"), (4, 2, 6)),
        (assign(EVERY, "at"), (6,)),  # broadcast to all
        (assign(EVERY, "at", "at"), (4, 2)),
        (assign(EVERY, EVERY, "at"), (4, 5, 2)),
        (assign(EVERY, slice(1, 3)), (4, 2, 6)),
        (assign(EVERY, slice(-3, None)), (4, 3, 6)),
        (assign(EVERY, EVERY, slice(0, 6, 2)), (4, 5, 3)),
        (assign(EVERY, 2), (4, 6)),
        (assign(EVERY, -1), (4, 6)),
        (assign(EVERY, slice(None)), (4, 5, 6)),
        (lambda y, new, at: y[:, 1:4].copy_(new), (4, 3, 6)),
        (lambda y, new, at: y.masked_fill_(y > 0.5, 2.0), (1,)),
        (lambda y, new, at: y.__setitem__(y > 0.5, 3.0), (1,)),
        (lambda y, new, at: y.index_fill_(1, at, 4.0), (1,)),
    ],
)
def test_what_pytorch_writes(write: Any, shape: tuple[int, ...]) -> None:
    """Deploying compares the answers; the indices of another call are others."""
    torch.manual_seed(0)
    model = Written(write)
    at = torch.tensor([3, 1])
    free = {"x": {0: "batch"}, **({"new": {0: "batch"}} if len(shape) > 1 else {})}
    x, new = torch.randn(4, 5, 6), torch.randn(shape)
    runtime = sparbor.deploy(model, {"x": x, "new": new, "at": at}, dynamic_shapes=free)
    other = torch.tensor([0, 2])
    torch.testing.assert_close(runtime(x=x, new=new, at=other), model(x, new, other))


def test_negative_indices_are_counted_from_the_end() -> None:
    model = Written(assign(EVERY, "at"))
    x, new, at = torch.randn(4, 5, 6), torch.randn(4, 2, 6), torch.tensor([-1, -5])
    runtime = sparbor.deploy(model, {"x": x, "new": new, "at": at})
    torch.testing.assert_close(runtime(x=x, new=new, at=at), model(x, new, at))
    with pytest.raises(ArgumentError, match=r"put: index 5 at \(0,\)"):
        runtime(x=x, new=new, at=torch.tensor([5, 0]))


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda y, new, at: y.index_put_((at,), new, accumulate=True), "adds to what it replaces"),
        (assign("at", EVERY, "at"), "dimensions that are apart"),
        (lambda y, new, at: y.__setitem__(y > 0, torch.zeros(1).expand(2)), "mask|does not know|trace"),
    ],
)
def test_what_pytorch_writes_and_the_engine_does_not(write: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        sparbor.deploy(Written(write), (torch.randn(4, 5, 6), torch.randn(2, 5, 6), torch.tensor([3, 1])))
