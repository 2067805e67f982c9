"""Zeros around values of any type, and planes that become larger or smaller, as PyTorch computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError
from sparbor.program.program import NearestResizing, Operation, Padding, Port, Program, Resizing, ValueType
from tests.operators import check, floats, isa, of_one, of_type, same, wholes  # noqa: F401


@pytest.mark.parametrize("kind", ["f32", "u8", "i8", "i32", "i64", "bool"])
@pytest.mark.parametrize(
    ("shape", "before", "after"),
    [
        ((5,), (2,), (0,)),
        ((3, 4), (0, 1), (2, 3)),
        ((2, 3, 5, 7), (0, 0, 1, 2), (0, 0, 3, 0)),
        ((1, 1), (4, 4), (4, 4)),
    ],
)
@pytest.mark.usefixtures("isa")
def test_pad(kind: str, shape: Any, before: Any, after: Any) -> None:
    x = of_type(kind, *shape)
    wanted = np.pad(x, list(zip(before, after, strict=True)))
    check("pad", [x], wanted, settings=Padding(before, after))


@pytest.mark.usefixtures("isa")
def test_what_is_padded_may_be_of_any_size() -> None:
    """As a class token is put before a sequence of any length."""
    values = (ValueType("f32", ("batch", "sequence", 3)), ValueType("f32", ("batch", ("+", "sequence", 1), 3)))
    pad = Operation("pad", (0,), 1, settings=Padding((0, 1, 0), (0, 0, 0)))
    runtime = Runtime(Program(values, (Port("x", 0),), (Port("y", 1),), (pad,)))
    for batch, sequence in ((2, 5), (1, 1), (3, 64)):
        x = floats(batch, sequence, 3)
        same(runtime(x), np.pad(x, ((0, 0), (1, 0), (0, 0))), 0)


SIZES = [
    ((5, 7), (10, 14)),
    ((5, 7), (11, 3)),
    ((6, 6), (3, 3)),
    ((1, 9), (4, 27)),
    ((8, 33), (8, 66)),
    ((7, 5), (7, 5)),
]
FLAT = [((7,), (14,)), ((9,), (4,)), ((1,), (5,)), ((33,), (100,))]


@pytest.mark.parametrize(("before", "after"), SIZES + FLAT)
@pytest.mark.parametrize("centers", [False, True])
@pytest.mark.usefixtures("isa")
def test_nearest_pixels(before: Any, after: Any, centers: bool) -> None:
    x = floats(2, 3, *before)
    wanted = functional.interpolate(torch.from_numpy(x), after, mode="nearest-exact" if centers else "nearest").numpy()
    check("resize_nearest", [x], wanted, settings=NearestResizing(0, 0, centers))


@pytest.mark.parametrize(("before", "after"), SIZES + FLAT)
@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("kind", ["resize_linear", "resize_cubic"])
@pytest.mark.usefixtures("isa")
def test_pixels_between_others(before: Any, after: Any, corners: bool, kind: str) -> None:
    if kind == "resize_cubic" and len(before) == 1:
        return
    x = floats(2, 3, *before)
    mode = {1: "linear", 2: "bicubic" if kind == "resize_cubic" else "bilinear"}[len(before)]
    wanted = functional.interpolate(torch.from_numpy(x), after, mode=mode, align_corners=corners).numpy()
    exported = not (corners and 1 in after) and not (kind == "resize_cubic" and 1 in before)
    # Positions are floats: of 33 pixels they are off by 33 * 2^-23, about 4e-6, and neighbours differ by up to 6.
    check(kind, [x], wanted, settings=Resizing(0, 0, corners), tolerance=3e-5, exported=exported)


@pytest.mark.parametrize("factors", [(2.0, 3.0), (1.7, 0.6), (0.5, 0.5), (1.0, 2.5)])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.usefixtures("isa")
def test_factors_that_are_given(factors: Any, mode: str) -> None:
    """Which PyTorch goes by, and not by the sizes that they are rounded to."""
    x = floats(2, 3, 9, 11)
    wanted = functional.interpolate(torch.from_numpy(x), scale_factor=factors, mode=mode).numpy()
    steps = (1 / factors[0], 1 / factors[1])
    if mode.startswith("nearest"):
        settings: Any = NearestResizing(*steps, mode == "nearest-exact")
    else:
        settings = Resizing(*steps, False)
    kind = {"bilinear": "resize_linear", "bicubic": "resize_cubic"}.get(mode, "resize_nearest")
    check(kind, [x], wanted, settings=settings, tolerance=2e-5, exported=factors == (2.0, 3.0))


@pytest.mark.usefixtures("isa")
def test_planes_of_any_size_on_several_threads() -> None:
    """Twice as large, whatever they are; more of them than threads."""
    values = (
        ValueType("f32", ("batch", 16, "height", "width")),
        ValueType("f32", ("batch", 16, ("*", 2, "height"), ("*", 2, "width"))),
    )
    resize = Operation("resize_linear", (0,), 1, settings=Resizing(0.5, 0.5, False))
    runtime = Runtime(Program(values, (Port("x", 0),), (Port("y", 1),), (resize,)), threads=3)
    for shape in ((1, 16, 1, 1), (2, 16, 5, 9), (3, 16, 64, 48)):
        x = floats(*shape)
        wanted = functional.interpolate(torch.from_numpy(x), scale_factor=2, mode="bilinear").numpy()
        same(runtime(x), wanted, 1e-5)


@pytest.mark.parametrize(
    ("kind", "x", "wanted", "settings", "text"),
    [
        ("pad", floats(2, 3), floats(2, 4), Padding((0,), (0, 1)), "not as many numbers before and after"),
        ("pad", floats(2, 3), floats(2, 2), Padding((0, -1), (0, 0)), "negative, or too much"),
        ("pad", floats(2, 3), floats(2, 3), Padding((0, 2**62), (0, 2**62)), "negative, or too much"),
        ("pad", floats(2, 3), floats(2, 5), Padding((0, 1), (0, 0)), "cannot take shape"),
        ("pad", floats(2, 3), wholes(2, 4), Padding((0, 1), (0, 0)), "its values are of different types"),
        ("resize_nearest", floats(2, 3), floats(2, 6), NearestResizing(0, 0, False), "it has no planes"),
        ("resize_linear", floats(2, 3, 4), floats(2, 4, 8), Resizing(0, 0, False), "the planes are not as many"),
        ("resize_cubic", floats(1, 1, 4), floats(1, 1, 2**20 + 1), Resizing(0, 0, False), "a plane is too large"),
    ],
)
def test_what_cannot_be(kind: str, x: Any, wanted: Any, settings: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Runtime(of_one(kind, [x], wanted, settings=settings))
