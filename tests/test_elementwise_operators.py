"""Operators that are computed number by number: arithmetic of all types, comparisons, logic, conversions, functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError
from sparbor.export.c.target import export_c
from sparbor.program.program import Activation, Operation, Program
from tests.operators import check, floats, in_onnx, isa, of_one, of_type, wholes  # noqa: F401

SHAPES = [
    ((2, 3, 37), (2, 3, 37)),
    ((2, 3, 37), (1, 3, 1)),
    ((1, 1, 1), (4, 3, 5)),
    ((2, 1, 64), (1, 7, 64)),
    ((5, 1), (5, 1)),
    ((1,), (70,)),
]
ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "power": np.power,
    "minimum": np.minimum,
    "maximum": np.maximum,
}


@pytest.mark.parametrize("kind", ARITHMETIC)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("numbers", ["f32", "i32", "i64"])
@pytest.mark.usefixtures("isa")
def test_arithmetic(kind: str, shapes: Any, numbers: str) -> None:
    if kind == "divide" and numbers != "f32":
        return
    left, right = (of_type(numbers, *shape) for shape in shapes)
    if kind in ("floor_divide", "remainder"):
        right = np.where(right == 0, right + 3, right).astype(right.dtype)
    if kind == "power":
        left, right = (left % 7).astype(left.dtype), (right % 5).astype(left.dtype)
    check(kind, [left, right], ARITHMETIC[kind](left, right), tolerance=2e-6)


@pytest.mark.parametrize("kind", ["subtract", "divide", "maximum"])
@pytest.mark.usefixtures("isa")
def test_an_activation_follows_floats(kind: str) -> None:
    left, right = floats(2, 3, 37), floats(2, 3, 1)
    wanted = ARITHMETIC[kind](left, right)
    check(kind, [left, right], np.maximum(wanted, 0), activation=Activation("relu"))
    check(kind, [left, right], np.tanh(wanted), activation=Activation("tanh"), tolerance=1e-5)
    with pytest.raises(ArgumentError, match="an activation follows numbers that are not f32"):
        Runtime(of_one("add", [wholes(2), wholes(2)], wholes(2), activation=Activation("relu")))


@pytest.mark.usefixtures("isa")
def test_what_is_no_number_and_the_ends_of_whole_numbers() -> None:
    a, b = np.array([1, np.nan, 2, np.nan], np.float32), np.array([np.nan, 1, 3, np.nan], np.float32)
    for kind in ("minimum", "maximum"):
        np.testing.assert_array_equal(Runtime(of_one(kind, [a, b], a))(a, b), ARITHMETIC[kind](a, b))
    least = np.full(3, -(2**63))
    by = np.array([-1, 1, 2])
    for kind, wanted in (("floor_divide", least // [1, 1, 2]), ("remainder", [0, 0, 0]), ("add", least + by)):
        np.testing.assert_array_equal(Runtime(of_one(kind, [least, by], least))(least, by), wanted)
    base, exponent = np.array([1, -1, -1, 2, 3]), np.array([-5, -3, -4, -1, 41])
    powers = Runtime(of_one("power", [base, exponent], base))(base, exponent)
    np.testing.assert_array_equal(powers, [1, -1, 1, 0, (3**41 + 2**63) % 2**64 - 2**63])


@pytest.mark.parametrize("kind", ["floor_divide", "remainder"])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_a_division_by_zero_refuses_the_call_and_no_other(kind: str, dtype: str) -> None:
    x, by = wholes(3, 5, dtype=dtype), np.full((3, 5), 7, dtype)
    runtime = Runtime(of_one(kind, [x, by], x))
    wrong = by.copy()
    wrong[2, 4] = 0
    for _ in range(3):
        with pytest.raises(ArgumentError, match=f"operation '{kind}' divides a whole number by 0"):
            runtime(x, wrong)
        np.testing.assert_array_equal(runtime(x, by), ARITHMETIC[kind](x, by))


COMPARISONS = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
}


@pytest.mark.parametrize("kind", COMPARISONS)
@pytest.mark.parametrize("numbers", ["f32", "u8", "i8", "i32", "i64", "bool"])
@pytest.mark.usefixtures("isa")
def test_comparisons(kind: str, numbers: str) -> None:
    for shapes in SHAPES[:4]:
        left, right = (of_type(numbers, *shape) for shape in shapes)
        check(kind, [left, right], COMPARISONS[kind](left, right), exported=shapes == SHAPES[1])
    same = of_type(numbers, 3, 5)
    check(kind, [same, same], COMPARISONS[kind](same, same))


@pytest.mark.usefixtures("isa")
def test_logic() -> None:
    logic = {"logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor}
    for kind, function in logic.items():
        for shapes in SHAPES[:4]:
            left, right = (of_type("bool", *shape) for shape in shapes)
            check(kind, [left, right], function(left, right))
    x = of_type("bool", 3, 41)
    check("logical_not", [x], ~x)


@pytest.mark.parametrize("numbers", ["f32", "u8", "i8", "i32", "i64", "bool"])
@pytest.mark.usefixtures("isa")
def test_where(numbers: str) -> None:
    for shapes in (((2, 3, 37),) * 3, ((2, 1, 1), (1, 3, 37), (1, 1, 1)), ((1, 1, 5), (4, 1, 5), (4, 2, 1))):
        condition, left, right = of_type("bool", *shapes[0]), of_type(numbers, *shapes[1]), of_type(numbers, *shapes[2])
        check("where", [condition, left, right], np.where(condition, left, right))


@pytest.mark.parametrize("source", ["f32", "u8", "i8", "i32", "i64", "bool"])
@pytest.mark.parametrize("target", ["f32", "u8", "i8", "i32", "i64", "bool"])
@pytest.mark.usefixtures("isa")
def test_conversions(source: str, target: str) -> None:
    x = of_type(source, 3, 45)
    dtype = of_type(target, 1).dtype
    if source == "f32" and target in ("u8", "i8", "i32", "i64"):
        x = np.array([[-1.5, 1.5, -0.9, 3e9, -3e9, 1e30, -np.inf, np.inf, np.nan, 0, 2**63, -(2.0**63)]], np.float32)
        ends = np.iinfo(dtype)
        wanted = [
            0 if math.isnan(each) else ends.max if each >= ends.max else ends.min if each <= ends.min else int(each)
            for each in map(float, x[0])
        ]
        check("cast", [x], np.array([wanted], dtype), exported=False)
        return
    check("cast", [x], x.astype(dtype))


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "exp": torch.exp,
    "log": torch.log,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "abs": torch.abs,
    "negative": torch.neg,
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "sign": torch.sign,
    "softsign": torch.nn.functional.softsign,
    "mish": torch.nn.functional.mish,
    "log_sigmoid": torch.nn.functional.logsigmoid,
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.usefixtures("isa")
def test_functions(name: str) -> None:
    """Compared with doubles, over what each is defined for; relative errors, but next to a root."""
    x = np.concatenate([floats(700) * scale for scale in (1e-6, 1, 30)]).reshape(3, 700)
    if name in ("log", "sqrt", "rsqrt", "log1p"):
        x = np.abs(x) - (0.5 if name == "log1p" else 0)
        x = np.where(x > 0, x, np.float32(0.25)).astype(np.float32)
    if name == "exp":
        x = np.clip(x, -85, 88)
    wanted = FUNCTIONS[name](torch.from_numpy(x).double()).numpy()
    found = Runtime(of_one("activation", [x], x, activation=Activation(name)))(x)
    np.testing.assert_allclose(found, wanted, rtol=6e-7, atol=2e-7)
    if name in ("exp", "erf", "log1p", "reciprocal", "sqrt", "rsqrt", "softsign"):
        np.testing.assert_allclose(found, wanted, rtol=6e-7, atol=0)
    check("activation", [x], wanted.astype(np.float32), activation=Activation(name), tolerance=1e-6)


@pytest.mark.parametrize("exponent", [2.0, 3.0, 1.0, -1.0, 0.5, 0.0, 2.5])
@pytest.mark.usefixtures("isa")
def test_powers(exponent: float) -> None:
    x = np.abs(floats(3, 41)) + np.float32(0.1)
    check("activation", [x], x**exponent, activation=Activation("power", (exponent,)), tolerance=2e-6)


@pytest.mark.usefixtures("isa")
def test_angles_of_long_texts() -> None:
    x = np.linspace(-1e5, 1e5, 4001, dtype=np.float32)
    for name, function in (("sin", np.sin), ("cos", np.cos)):
        found = Runtime(of_one("activation", [x], x, activation=Activation(name)))(x)
        np.testing.assert_allclose(found, function(x.astype(np.float64)), atol=1e-7)


@pytest.mark.usefixtures("isa")
def test_the_ends_of_floats() -> None:
    x = np.array(
        [0, -0.0, np.inf, -np.inf, np.nan, 89, -104, -95, 1e-40, -1, 2.5, 3.5, 1e30, -2, 88.5, -87.5], np.float32
    )
    with np.errstate(all="ignore"):
        for name in ("exp", "log", "log1p", "sqrt", "abs", "floor", "round", "sign", "reciprocal", "erf"):
            wide = torch.from_numpy(x).double()
            wanted = torch.where(torch.isnan(wide), wide, FUNCTIONS[name](wide)).numpy().astype(np.float32)
            found = Runtime(of_one("activation", [x], x, activation=Activation(name)))(x)
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-44, err_msg=name)


def test_c_lacks_them_and_says_so(tmp_path: Any) -> None:
    shapes = [(3,)] * 2
    program = Program.of_items(shapes, 0, 1, (Operation("activation", (0,), 1, activation=Activation("mish")),))
    with pytest.raises(ArgumentError, match="has the activation 'mish', which the target c lacks; it has: clamp, elu"):
        export_c(program, tmp_path)
    whole = Program.of_items(shapes, 0, 1, (Operation("floor_divide", (0, 0), 1),))
    with pytest.raises(ArgumentError, match="has the operation 'floor_divide', which the target c lacks"):
        export_c(whole, tmp_path)


def test_onnx_runs_what_a_relu_follows() -> None:
    x = floats(2, 5)
    difference = of_one("subtract", [x, x[:1]], x, activation=Activation("relu"))
    np.testing.assert_allclose(in_onnx(difference, [x, x[:1]]), np.maximum(x - x[:1], 0), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "inputs", "wanted", "text"),
    [
        ("add", [wholes(2), wholes(2, dtype="int32")], wholes(2), "its values are of different types"),
        ("add", [of_type("u8", 2)] * 2, of_type("u8", 2), "its numbers are not f32, i32 or i64"),
        ("divide", [wholes(2)] * 2, wholes(2), "its inputs are not all f32"),
        ("less", [floats(2)] * 2, floats(2), "its output is not bool"),
        ("less", [floats(2), wholes(2)], of_type("bool", 2), "its inputs are of different types"),
        ("logical_and", [wholes(2)] * 2, of_type("bool", 2), "its inputs are not all bool"),
        ("where", [wholes(2)] * 3, wholes(2), "its condition is not bool"),
        ("where", [of_type("bool", 2), wholes(2), floats(2)], wholes(2), "of another type than its output"),
        ("cast", [wholes(2)], wholes(3), "cannot take shape"),
        ("where", [of_type("bool", 2)] * 2, of_type("bool", 2), "of 2 inputs"),
    ],
)
def test_what_cannot_be(kind: str, inputs: Any, wanted: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Runtime(of_one(kind, inputs, wanted))
