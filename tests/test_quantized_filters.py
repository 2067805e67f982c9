"""Dense and depthwise convolutions of bytes: the bytes that NumPy computes on every kernel set, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pytest

from sparbor.engine.runtime import Runtime, kernel_sets
from sparbor.errors import ArgumentError, ModelFileError
from sparbor.packing.dense_weights import pack_dense
from sparbor.packing.filters import Filters, pack_filters_as_bytes
from sparbor.packing.slots import Encoding
from sparbor.program import model_file
from sparbor.program.program import Activation, Program, Quantization
from sparbor.program.windows import Window
from tests.quantized_convolutions import Case, expected_bytes, pack_case
from tests.quantized_convolutions import whole_weights as weights_of_quads
from tests.test_quantized_convolution import ACTIVATIONS, ONE, RESIDUAL, THREE, WINDOWS, bytes_of, run


@pytest.fixture(params=kernel_sets())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SPARBOR_ISA", request.param)
    return str(request.param)


def some_layer(case: Case, bias: bool = True, seed: int = 0) -> Filters:
    rng = np.random.default_rng(seed)
    shape = case.weight_shape()
    weight = rng.standard_normal(shape).astype(np.float32) / np.float32(np.sqrt(shape[1] * shape[2] * shape[3]))
    return pack_filters_as_bytes(weight, rng.standard_normal(shape[0]).astype(np.float32) if bias else None)


def whole_weights(layer: Filters) -> np.ndarray:
    return layer.stored.transpose(0, 3, 1, 2).astype(np.float64)


def check(case: Case, layer: Filters | None = None, batch: int = 2, threads: int = 1, within: int = 0) -> np.ndarray:
    layer = layer or some_layer(case)
    rng = np.random.default_rng(1)
    x = bytes_of(rng, batch, case.channels, *case.size)
    residual = None if case.residual is None else bytes_of(rng, batch, case.outputs, *case.pixels())
    wanted = expected_bytes(case, layer, whole_weights(layer), x, residual)
    ran = run(case, layer, x, residual, threads)
    np.testing.assert_allclose(ran.astype(int), wanted.astype(int), rtol=0, atol=within)
    return wanted


def depthwise(channels: int, window: Window) -> Case:
    return Case(channels, channels, dataclasses.replace(window, groups=channels))


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize(("channels", "outputs"), [(1, 16), (3, 70), (20, 33), (64, 24), (100, 1)])
def test_windows(isa: str, window: Window, channels: int, outputs: int) -> None:
    wanted = check(Case(channels, outputs, window))
    assert len(np.unique(wanted)) > 20


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("window", [ONE, THREE, WINDOWS["dilated"]], ids=["1x1", "3x3", "dilated"])
def test_groups(isa: str, groups: int, window: Window) -> None:
    grouped = dataclasses.replace(window, groups=groups)
    check(Case(16, 16 * groups, grouped))
    check(Case(20, 48 * groups, grouped))


FIVE = Window((5, 5), padding=(2, 2, 2, 2))


@pytest.mark.parametrize("window", [*WINDOWS.values(), FIVE], ids=[*WINDOWS, "5x5"])
@pytest.mark.parametrize("channels", [2, 16, 24, 64, 100])
def test_depthwise_windows(isa: str, window: Window, channels: int) -> None:
    check(depthwise(channels, window))


@pytest.mark.parametrize("channels", [*range(2, 20), 31, 33, 48, 63, 65, 96, 129])
def test_depthwise_channels(isa: str, channels: int) -> None:
    case = depthwise(channels, THREE)
    check(dataclasses.replace(case, size=(4, 5), residual=RESIDUAL))
    check(dataclasses.replace(case, size=(5, 3), window=dataclasses.replace(case.window, stride=(2, 2))))


@pytest.mark.parametrize("size", list(itertools.product([1, 2, 5], range(1, 10))))
def test_planes_of_all_widths(isa: str, size: tuple[int, int]) -> None:
    """Tiles of pixels, several rows in one where those are short."""
    for case in (
        Case(16, 33, THREE, size),
        Case(16, 33, ONE, size),
        dataclasses.replace(depthwise(24, THREE), size=size),
    ):
        check(case)
        check(dataclasses.replace(case, residual=RESIDUAL), batch=3)


SPREAD = Window((3, 3), padding=(2, 2, 2, 2), dilation=(2, 2))


@pytest.mark.parametrize("window", [THREE, FIVE, SPREAD], ids=["3x3", "5x5", "dilated"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (1, 2), (2, 2), (3, 3)])
def test_depthwise_strides(isa: str, window: Window, stride: tuple[int, int]) -> None:
    """Rows of outputs in pairs, which may share what they read of x, and a last one; planes of one row or column."""
    window = dataclasses.replace(window, stride=stride)
    for channels, size in ((72, (7, 6)), (64, (4, 9)), (130, (1, 7)), (66, (7, 1)), (16, (5, 5))):
        check(dataclasses.replace(depthwise(channels, window), size=size))


@pytest.mark.parametrize("outputs", [16, 30, 48, 64, 72, 144])
def test_panels_and_lines(isa: str, outputs: int) -> None:
    """Tiles of all numbers of panels, of which few or all stay in the first cache, over rows longer than a line."""
    for channels, window, size in ((20, ONE, (1, 67)), (200, ONE, (2, 4)), (260, ONE, (1, 9)), (5, THREE, (3, 70))):
        check(Case(channels, outputs, window, size))


LINES = [Window((1, 1)), Window((1, 5), (1, 2), (0, 2, 0, 1)), Window((1, 3), (1, 1), dilation=(1, 2))]


@pytest.mark.parametrize("window", LINES)
def test_one_dimension(isa: str, window: Window) -> None:
    for case in (Case(24, 20, window), depthwise(24, window)):
        check(dataclasses.replace(case, size=(13,), residual=RESIDUAL), batch=3)


@pytest.mark.parametrize(("activation", "within"), ACTIVATIONS.values(), ids=ACTIVATIONS)
@pytest.mark.parametrize("residual", [None, RESIDUAL], ids=["alone", "residual"])
def test_activations_and_residuals(
    isa: str, activation: Activation | None, within: int, residual: Quantization | None
) -> None:
    y = Quantization(0.01, 100) if activation and activation.name == "tanh" else Quantization(0.02, 77)
    for case in (Case(40, 40, THREE), depthwise(40, THREE)):
        wanted = check(dataclasses.replace(case, activation=activation, residual=residual, y=y), within=within)
        assert len(np.unique(wanted)) > 50


def test_sums_do_not_saturate(isa: str) -> None:
    """Weights and bytes that are the largest there are, of all signs."""
    rng = np.random.default_rng(3)
    for channels, outputs, groups in ((64, 16, 1), (16, 16, 16)):
        window = dataclasses.replace(THREE, groups=groups)
        case = Case(channels, outputs, window, (4, 5), x=Quantization(0.02, 3), y=Quantization(2.0, 128))
        shape = case.weight_shape()
        for signs in (np.ones(shape), -np.ones(shape), rng.choice([-1.0, 1.0], shape)):
            layer = pack_filters_as_bytes(signs.astype(np.float32))
            assert (np.abs(layer.stored) == 127).all()
            matching = np.where(np.resize(signs[:1, :, 1, 1], (1, channels))[..., None, None] > 0, 255, 0)
            for x in (0, 255, matching, 255 - matching, rng.choice([0, 1, 127, 128, 255], (1, channels, 4, 5))):
                planes = np.broadcast_to(np.asarray(x, np.uint8), (1, channels, 4, 5))
                wanted = expected_bytes(case, layer, whole_weights(layer), planes)
                np.testing.assert_array_equal(run(case, layer, planes), wanted)


@pytest.mark.parametrize(
    ("case", "batch"),
    [
        (Case(64, 64, THREE, (40, 40)), 1),
        (Case(64, 200, THREE, (3, 3)), 1),
        (Case(128, 100, ONE, (20, 33)), 2),
        (Case(3, 64, Window((7, 7), (2, 2), (3, 3, 3, 3)), (60, 60)), 2),
        (Case(300, 48, THREE, (40, 60)), 1),  # more than a band
        (dataclasses.replace(depthwise(96, THREE), size=(50, 40)), 2),
    ],
)
def test_threads_make_no_difference(isa: str, case: Case, batch: int) -> None:
    case = dataclasses.replace(case, residual=RESIDUAL)
    layer = some_layer(case)
    for threads in (1, 2, 5):
        check(case, layer, batch, threads)


@pytest.mark.parametrize("window", [ONE, THREE, WINDOWS["dilated"]], ids=["1x1", "3x3", "dilated"])
@pytest.mark.parametrize("channels", [3, 64, 90])
def test_quads_that_run_dense(isa: str, window: Window, channels: int) -> None:
    """A mask that keeps nearly all runs faster as filters on every kernel set, and the bytes are the same."""
    rng, case = np.random.default_rng(4), Case(channels, 40, window)
    weight = rng.standard_normal(case.weight_shape()).astype(np.float32)
    layer = pack_case(case, weight, rng.random(weight.shape) < 0.97)
    runtime = Runtime(case.program(layer))
    assert [report.runs for report in runtime.describe()] == ["dense"]
    x = bytes_of(rng, 2, channels, *case.size)
    wanted = expected_bytes(case, layer, weights_of_quads(case, layer), x)
    np.testing.assert_array_equal(run(case, layer, x, as_stored=False), wanted)


def refuse(program: Program, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Runtime(program)
    with pytest.raises(ModelFileError, match=text):
        model_file.from_bytes(model_file.to_bytes(program))


FINE = Case(20, 24, THREE)
TWO_GROUPS = dataclasses.replace(FINE, window=dataclasses.replace(THREE, groups=2))
TWICE = Case(20, 40, dataclasses.replace(THREE, groups=20))


@pytest.mark.parametrize(
    ("program", "text"),
    [
        (lambda: FINE.program(some_layer(Case(20, 23, THREE))), r"weights have shape \(23, 3, 3, 20\), not \(24,"),
        (lambda: FINE.program(some_layer(Case(21, 24, THREE))), r"have shape \(24, 3, 3, 21\), not \(24, 3, 3, 20\)"),
        (lambda: FINE.program(some_layer(Case(60, 24, WINDOWS["3x1"]))), r"weights have shape \(24, 3, 1, 60\)"),
        (lambda: TWO_GROUPS.program(some_layer(TWO_GROUPS)), "no multiple of 16: store its layer sparse"),
        (lambda: TWICE.program(some_layer(TWICE)), "no multiple of 16: store its layer sparse"),
        (lambda: FINE.program(pack_dense(np.ones((24, 180), np.float32), None, Encoding.INT8)), "not a convolution's"),
    ],
)  # fmt: skip
def test_layers_of_other_shapes_are_refused(program: Callable[[], Program], text: str) -> None:
    refuse(program(), text)
