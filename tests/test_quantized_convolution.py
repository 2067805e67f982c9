"""Sparse convolutions of bytes: the bytes that NumPy computes on every kernel set, and what is refused of files."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sparbor.engine.runtime import Runtime, kernel_sets
from sparbor.errors import ArgumentError, ModelFileError
from sparbor.packing.filters import Filters
from sparbor.packing.quads import QuadLayer
from sparbor.packing.reading_order import ReadingOrder
from sparbor.packing.slots import Encoding, pack
from sparbor.program import model_file
from sparbor.program.program import Activation, Operation, Program, Quantization
from sparbor.program.windows import Window
from tests.quantized_convolutions import Case, as_bytes, as_numbers, expected_bytes, pack_case, whole_weights

ONE, THREE = Window((1, 1)), Window((3, 3), padding=(1, 1, 1, 1))
RESIDUAL = Quantization(0.03, 90)


@pytest.fixture(params=kernel_sets())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SPARBOR_ISA", request.param)
    return str(request.param)


def some_layer(case: Case, density: float = 0.3, bias: bool = True, seed: int = 0) -> QuadLayer:
    """Of a mask in which some branches are empty and some full, and some neurons have no synapse."""
    rng = np.random.default_rng(seed)
    shape = case.weight_shape()
    weight = rng.standard_normal(shape).astype(np.float32) / np.float32(np.sqrt(shape[1] * shape[2] * shape[3]))
    mask = rng.random(shape) < density
    mask[rng.random((shape[0], 1, shape[2], shape[3])).repeat(shape[1], 1) < 0.1] = True
    mask[:, :, rng.random(shape[2:]) < 0.1] = False
    mask[rng.random(shape[0]) < 0.1] = False
    return pack_case(case, weight, mask, rng.standard_normal(shape[0]).astype(np.float32) if bias else None)


def bytes_of(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Some of them the least and the largest there are."""
    some = rng.integers(0, 256, shape, np.uint8)
    return np.where(rng.random(shape) < 0.1, rng.choice(np.array([0, 255], np.uint8), shape), some)


def run(
    case: Case,
    layer: QuadLayer | Filters,
    x: np.ndarray,
    residual: np.ndarray | None = None,
    threads: int = 1,
    as_stored: bool = True,
) -> np.ndarray:
    given = [as_numbers(x, case.x)]
    if residual is not None:
        assert case.residual is not None
        given.append(as_numbers(residual, case.residual))
    return as_bytes(Runtime(case.program(layer), threads, as_stored=as_stored)(*given), case.y)


def check(case: Case, layer: QuadLayer | None = None, batch: int = 2, threads: int = 1, within: int = 0) -> np.ndarray:
    layer = layer or some_layer(case)
    rng = np.random.default_rng(1)
    x = bytes_of(rng, batch, case.channels, *case.size)
    residual = None if case.residual is None else bytes_of(rng, batch, case.outputs, *case.pixels())
    wanted = expected_bytes(case, layer, whole_weights(case, layer), x, residual)
    ran = run(case, layer, x, residual, threads)
    np.testing.assert_allclose(ran.astype(int), wanted.astype(int), rtol=0, atol=within)
    return wanted


WINDOWS = {
    "1x1": ONE,
    "1x1 stride 2": Window((1, 1), (2, 2)),
    "1x1 padded": Window((1, 1), padding=(1, 0, 0, 2)),
    "3x3": THREE,
    "3x3 bare": Window((3, 3)),
    "3x3 stride 2": Window((3, 3), (2, 2), (0, 1, 1, 0)),
    "3x3 stride 3": Window((3, 3), (3, 1), (2, 1, 2, 1)),
    "7x7": Window((7, 7), (2, 2), (3, 3, 3, 3)),
    "1x3": Window((1, 3), padding=(0, 1, 0, 1)),
    "3x1": Window((3, 1), padding=(1, 0, 1, 0)),
    "cropped": Window((2, 2), padding=(-1, -2, -1, -1)),
    "cropped and padded": Window((2, 2), padding=(-1, 3, 2, -2)),
    "dilated down": Window((3, 3), padding=(2, 1, 2, 1), dilation=(2, 1)),
    "dilated": Window((3, 2), (2, 1), (2, 1, 1, 3), (2, 3)),
}


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize(("channels", "outputs"), [(3, 16), (20, 33), (64, 24), (100, 1)])
def test_windows(isa: str, window: Window, channels: int, outputs: int) -> None:
    wanted = check(Case(channels, outputs, window))
    assert len(np.unique(wanted)) > 20


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("window", [ONE, THREE, WINDOWS["dilated"]], ids=["1x1", "3x3", "dilated"])
def test_groups(isa: str, groups: int, window: Window) -> None:
    grouped = dataclasses.replace(window, groups=groups)
    check(Case(16, 8 * groups, grouped))
    check(Case(20, 5 * groups, grouped))


@pytest.mark.parametrize("size", list(itertools.product([1, 2, 5], range(1, 10))))
def test_planes_of_all_widths(isa: str, size: tuple[int, int]) -> None:
    """Tiles of pixels, several rows in one where those are short."""
    check(Case(16, 33, THREE, size, residual=RESIDUAL), batch=3)
    check(Case(16, 33, ONE, size, residual=RESIDUAL), batch=3)


@pytest.mark.parametrize(
    "window", [Window((1, 1)), Window((1, 5), (1, 2), (0, 2, 0, 1)), Window((1, 3), (1, 1), dilation=(1, 2))]
)
def test_one_dimension(isa: str, window: Window) -> None:
    check(Case(24, 20, window, (13,), residual=RESIDUAL), batch=3)


ACTIVATIONS = {
    "none": (None, 0),
    "relu": (Activation("relu"), 0),
    "relu6": (Activation("clamp", (0.0, 2.0)), 0),
    "clamp": (Activation("clamp", (-100.0, 1.01)), 0),
    "silu": (Activation("silu"), 1),
    "tanh": (Activation("tanh"), 1),
}


@pytest.mark.parametrize(("activation", "within"), ACTIVATIONS.values(), ids=ACTIVATIONS)
@pytest.mark.parametrize("residual", [None, RESIDUAL], ids=["alone", "residual"])
def test_activations_and_residuals(
    isa: str, activation: Activation | None, within: int, residual: Quantization | None
) -> None:
    y = Quantization(0.01, 100) if activation and activation.name == "tanh" else Quantization(0.02, 77)
    wanted = check(Case(40, 40, THREE, activation=activation, residual=residual, y=y), within=within)
    assert len(np.unique(wanted)) > 50
    if activation and activation.name in ("relu", "clamp"):
        assert wanted.min() == (77 if activation.name == "relu" or activation.parameters[0] == 0 else 0)


def test_what_is_not_a_number_becomes_zero(isa: str) -> None:
    case = Case(8, 16, ONE, activation=Activation("log"), y=Quantization(0.1, 31))
    layer = some_layer(case)
    x = bytes_of(np.random.default_rng(2), 1, 8, 9, 8)
    linear = dataclasses.replace(case, activation=None, y=Quantization(0.0001, 128))
    negative = expected_bytes(linear, layer, whole_weights(case, layer), x) < 128
    assert negative.any()
    assert (run(case, layer, x)[negative] == 31).all()


def test_sums_do_not_saturate(isa: str) -> None:
    """Weights and bytes that are the largest there are, of all signs."""
    rng = np.random.default_rng(3)
    shape = (16, 64, 3, 3)
    for signs in (np.ones(shape), -np.ones(shape), rng.choice([-1.0, 1.0], shape)):
        case = Case(64, 16, THREE, (4, 5), x=Quantization(0.02, 3), y=Quantization(2.0, 128))
        layer = pack_case(case, signs.astype(np.float32), np.ones(shape, bool))
        assert (np.abs(layer.weights) == 127).all()
        weight = whole_weights(case, layer)
        matching = np.where(signs[:1, :, 1, 1, None, None] > 0, 255, 0)
        for x in (0, 255, matching, 255 - matching, rng.choice([0, 1, 127, 128, 255], (1, 64, 4, 5))):
            planes = np.broadcast_to(np.asarray(x, np.uint8), (1, 64, 4, 5))
            np.testing.assert_array_equal(run(case, layer, planes), expected_bytes(case, layer, weight, planes))


def test_results_beyond_all_bytes(isa: str) -> None:
    """Results that are larger than whole numbers of 32 bits are clamped like others."""
    for y in (Quantization(1e-8, 128), Quantization(1e-12, 0), Quantization(1e8, 255)):
        check(Case(16, 16, ONE, y=y, residual=RESIDUAL))
        check(Case(16, 16, ONE, y=y, activation=Activation("relu")))


def test_empty_layers_and_blocks(isa: str) -> None:
    case = Case(64, 48, THREE)
    rng = np.random.default_rng(4)
    weight = rng.standard_normal(case.weight_shape()).astype(np.float32)
    bias = rng.standard_normal(48).astype(np.float32)
    none, one, block = (np.zeros(weight.shape, bool) for _ in range(3))
    one[20, 5, 2, 1] = True
    block[:16] = block[32:] = True
    for mask in (none, one, block):
        check(case, pack_case(case, weight, mask, bias))


@pytest.mark.parametrize(
    ("case", "batch"),
    [
        (Case(64, 64, THREE, (40, 40)), 1),
        (Case(64, 200, THREE, (3, 3)), 1),
        (Case(128, 100, ONE, (20, 33)), 2),
        (Case(32, 64, Window((3, 3), (2, 2), (1, 1, 1, 1)), (30, 30)), 3),
        (Case(300, 48, THREE, (40, 60)), 1),  # more than a band
    ],
)
def test_threads_make_no_difference(isa: str, case: Case, batch: int) -> None:
    case = dataclasses.replace(case, residual=RESIDUAL)
    layer = some_layer(case, 0.1)
    for threads in (1, 2, 5):
        check(case, layer, batch, threads)


@pytest.mark.parametrize("shape", [(6, 3, 3, 3), (16, 20, 1, 1), (8, 10, 2, 5)])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1), (1, 2)])
def test_reading_order(shape: tuple[int, ...], groups: int, dilation: tuple[int, int]) -> None:
    order = ReadingOrder(shape[1] * groups, (shape[2], shape[3]), dilation, groups)
    weight = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    matrix = order.matrix(weight)
    assert matrix.shape == (shape[0], order.fan_in)
    assert order.fan_in % 64 == 0
    assert (matrix != 0).sum() == weight.size
    np.testing.assert_array_equal(order.weight(matrix), weight)
    output, channel, row, column = shape[0] - 1, shape[1] - 1, shape[2] - 1, shape[3] - 1
    run = shape[1] * groups * (1 if dilation[1] > 1 and shape[3] > 1 else shape[3])
    begin = order.fan_in - -(-run // 64) * 64
    assert matrix[output, begin + run - 1] == weight[output, channel, row, column]
    with pytest.raises(ArgumentError, match="weight has shape"):
        order.matrix(weight[:, :-1])


def changed(program: Program, **settings: Any) -> Program:
    operations = tuple(
        dataclasses.replace(each, settings=dataclasses.replace(each.settings, **settings))
        if isinstance(each.settings, Window)
        else each
        for each in program.operations
    )
    return dataclasses.replace(program, operations=operations)


def with_value(program: Program, number: int, **parts: Any) -> Program:
    values = list(program.values)
    values[number] = dataclasses.replace(values[number], **parts)
    return dataclasses.replace(program, values=tuple(values))


def with_layer(case: Case, other: Case) -> Program:
    return case.program(some_layer(other))


FINE = Case(20, 24, Window((3, 3), padding=(1, 1, 1, 1)), residual=RESIDUAL)
GROUPED = dataclasses.replace(FINE, window=dataclasses.replace(FINE.window, groups=2))


def stray(case: Case, output: int, place: int) -> Program:
    """A synapse where there is to be none."""
    order = case.order()
    weight = np.zeros((case.outputs, order.fan_in), np.float32)
    weight[output, place] = 1
    layer = pack_case(Case(order.fan_in, case.outputs, ONE), weight[:, :, None, None], weight[:, :, None, None] != 0)
    return case.program(layer)


def small_step(step: float) -> Program:
    return with_value(FINE.program(some_layer(FINE)), 4, quantization=Quantization(step, 0))


def slots(encoding: Encoding) -> Program:
    ones = np.ones((24, FINE.order().fan_in), np.float32)
    return FINE.program(pack(ones, ones > 0, None, encoding))


@pytest.mark.parametrize(
    ("program", "text"),
    [
        (lambda: stray(FINE, 3, 60), "a synapse reads what only fills a row of the kernel up to whole branches"),
        (lambda: stray(FINE, 3, 191), "a synapse reads what only fills"),
        (lambda: stray(GROUPED, 3, 10), "a synapse reads a channel of another group"),
        (lambda: stray(GROUPED, 12, 9), "a synapse reads a channel of another group"),
        (lambda: with_layer(FINE, Case(20, 23, THREE)), "its layer has 23 outputs, not 24"),
        (lambda: with_layer(FINE, Case(65, 24, THREE)), "its layer has fan-in 768, not 192, as kernel rows filled up"),
        (lambda: with_layer(FINE, Case(20, 24, WINDOWS["dilated"])), "its layer has fan-in 384, not 192"),
        (lambda: slots(Encoding.WORD16), "its layer is not a convolution's of int8"),
        (lambda: slots(Encoding.EXACT), "its layer is not a convolution's of int8"),
        (lambda: changed(FINE.program(some_layer(FINE)), upsample=(2, 2)), "it upsamples, which it cannot"),
        (lambda: changed(FINE.program(some_layer(FINE)), stride=(2, 1)), r"its outputs are \(5, 8\) pixels"),
        (lambda: changed(FINE.program(some_layer(FINE)), stride=(0, 1)), "its steps are not between 1 and"),
        (lambda: changed(FINE.program(some_layer(FINE)), groups=3), "its 3 groups do not divide 20 and 24 channels"),
        (lambda: changed(FINE.program(some_layer(FINE)), padding=(1, 1, 1, 1 << 40)), "its padding is beyond that"),
        (lambda: with_value(FINE.program(some_layer(FINE)), 4, quantization=None), "its output is not quantized"),
        (lambda: small_step(1e-37), "its output's step is less than its input's"),
    ],
)  # fmt: skip
def test_hostile_operations_are_refused(program: Callable[[], Program], text: str) -> None:
    Runtime(FINE.program(some_layer(FINE)))
    bad = program()
    with pytest.raises(ArgumentError, match=text):
        Runtime(bad)
    with pytest.raises(ModelFileError, match=text):
        model_file.from_bytes(model_file.to_bytes(bad))


def test_a_residual_of_another_shape_is_refused() -> None:
    program = FINE.program(some_layer(FINE))
    for number in (2, 3):
        program = with_value(program, number, shape=("batch", 24, 9, 7))
    with pytest.raises(ArgumentError, match=r"its residual has shape \(1, 24, 9, 7\), not its output's"):
        Runtime(program)


def test_three_inputs_are_refused() -> None:
    program = FINE.program(some_layer(FINE))
    operations = list(program.operations)
    operations[-2] = dataclasses.replace(operations[-2], inputs=(1, 3, 3))
    with pytest.raises(ArgumentError, match="quantized_convolution"):
        Runtime(dataclasses.replace(program, operations=tuple(operations)))


def test_convolutions_of_numbers_take_no_such_layer() -> None:
    layer = some_layer(FINE)
    operation = Operation("convolution", (0,), 1, "conv", settings=FINE.window)
    program = Program.of_items(((20, 9, 8), (24, 9, 8)), 0, 1, (operation,), {"conv": layer})
    with pytest.raises(ArgumentError, match="its layer is int8, and its values are f32: a quantized_convolution takes"):
        Runtime(program)
