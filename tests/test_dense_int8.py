"""Dense layers of 8 bits: whole numbers that equal NumPy's on every kernel set, and what is refused of files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparbor.engine.runtime import Runtime, kernel_sets
from sparbor.errors import ArgumentError, ModelFileError
from sparbor.packing.dense_weights import DenseLayer, pack_dense
from sparbor.packing.filters import Filters, pack_filters, pack_filters_as_bytes
from sparbor.packing.quads import pack_quads
from sparbor.packing.slots import Encoding
from sparbor.program import model_file
from sparbor.program.program import Operation, Program, Recurrence
from sparbor.program.windows import Window
from tests.layers import random_weight
from tests.rows_of_bytes import LEVELS, check, check_bias_and_activations, check_strange_rows, expected, one_layer

ROWS = [*range(1, 18), 40, 131]
LARGEST_SUM = (2**31 - 1) // 255


@pytest.fixture(params=kernel_sets())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SPARBOR_ISA", request.param)
    return str(request.param)


def some_layer(outputs: int, fan_in: int, seed: int = 0) -> DenseLayer:
    return pack_dense(random_weight(np.random.default_rng(seed), outputs, fan_in), None, Encoding.INT8)


@pytest.mark.parametrize("fan_in", [1, 2, 3, 4, 5, 63, 66, 200])
@pytest.mark.parametrize("outputs", [1, 16, 17, 50, 100])
def test_sums_equal_whole_numbers(isa: str, fan_in: int, outputs: int) -> None:
    rng = np.random.default_rng(fan_in * outputs)
    layer = some_layer(outputs, fan_in)
    for rows in ROWS:
        check(isa, layer, rng.standard_normal((rows, fan_in)).astype(np.float32))


@pytest.mark.parametrize("blocks", range(1, 12))
def test_every_number_of_blocks(isa: str, blocks: int) -> None:
    rng = np.random.default_rng(blocks)
    for rows in (1, 3, 8, 19):
        check(isa, some_layer(16 * blocks, 20), rng.standard_normal((rows, 20)).astype(np.float32))


def test_sums_do_not_saturate(isa: str) -> None:
    """Weights and inputs that are the largest there are, of all signs."""
    rng = np.random.default_rng(0)
    for signs in (np.ones((16, 256)), -np.ones((16, 256)), rng.choice([-1.0, 1.0], (16, 256))):
        layer = pack_dense(signs.astype(np.float32), None, Encoding.INT8)
        assert (np.abs(layer.stored) == 127).all()
        for x in (np.ones((3, 256)), -np.ones((3, 256)), signs[:3], rng.choice([-1.0, 0.0, 1.0], (3, 256))):
            check(isa, layer, x.astype(np.float32))


def test_biases_and_activations(isa: str) -> None:
    check_bias_and_activations(isa, some_layer(33, 90))


def test_rows_that_are_not_finite_are_nan_and_others_are_not(isa: str) -> None:
    check_strange_rows(some_layer(20, 100))


@pytest.mark.parametrize("rows", [1, 128, 500])
def test_threads_make_no_difference(isa: str, rows: int) -> None:
    layer = some_layer(300, 640)
    x = np.random.default_rng(5).standard_normal((rows, 640)).astype(np.float32)
    one, two = (Runtime(one_layer(layer), threads)(x) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("rows", [1, 7, 50])
def test_quads_that_run_dense(isa: str, rows: int) -> None:
    """A mask that keeps nearly all runs faster dense on every kernel set, and the answer is the same."""
    rng = np.random.default_rng(6)
    weight, mask = random_weight(rng, 70, 200), rng.random((70, 200)) < 0.97
    layer = pack_quads(weight, mask, None)
    runtime = Runtime(one_layer(layer))
    (report,) = runtime.describe()
    assert (report.kind, report.weights, report.runs) == ("sparse", "int8", "dense")
    check(isa, layer, rng.standard_normal((rows, 200)).astype(np.float32), as_stored=False)
    few = pack_quads(weight, np.broadcast_to(np.arange(200) < 4, (70, 200)), None)
    (report,) = Runtime(one_layer(few)).describe()
    assert report.runs == "sparse"


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_recurrent_layers(isa: str, kind: str) -> None:
    rng = np.random.default_rng(7)
    gates, states = (4, 2) if kind == "lstm" else (3, 1)
    weight = random_weight(rng, gates * 24, 24)
    operation = Operation(kind, (0,), 1, "rnn", settings=Recurrence(False))
    x = rng.standard_normal((3, 6, gates * 24)).astype(np.float32)

    def answer(layer: Any) -> np.ndarray:
        shapes = ((6, gates * 24), (6, states * 24))
        return Runtime(Program.of_items(shapes, 0, 1, (operation,), {"rnn": layer}))(x)

    layer = pack_dense(weight, None, Encoding.INT8)
    np.testing.assert_allclose(answer(layer), answer(pack_dense(*layer.unpack()[:1])), atol=0.03)


@pytest.mark.parametrize("shape", [(1, 1), (16, 64), (17, 65), (50, 784)])
def test_packing_rounds_to_a_step(shape: tuple[int, int]) -> None:
    weight = random_weight(np.random.default_rng(8), *shape)
    layer = pack_dense(weight, None, Encoding.INT8)
    assert layer.scale is not None
    assert layer.stored.shape == shape
    errors = (layer.unpack()[0] - weight) / layer.scale[:, None]
    assert np.abs(errors).max() < 1 + 1e-4
    assert (np.abs(errors.sum(axis=1)) < 0.51).all()  # they cancel: one more flip would not help


def test_filters_are_stored_channels_last() -> None:
    weight = np.random.default_rng(9).standard_normal((5, 3, 2, 4)).astype(np.float32)
    layer = pack_filters_as_bytes(weight, np.ones(5, np.float32))
    assert (layer.outputs, layer.fan_in, layer.stored.shape) == (5, 24, (5, 2, 4, 3))
    unpacked, mask = layer.unpack()
    assert layer.scale is not None
    assert mask.all()
    assert np.abs((unpacked - weight.reshape(5, -1)) / layer.scale[:, None]).max() < 1 + 1e-4
    np.testing.assert_array_equal(
        layer.stored * layer.scale[:, None, None, None], unpacked.reshape(weight.shape).transpose(0, 2, 3, 1)
    )
    with pytest.raises(ArgumentError, match="weight has shape"):
        pack_filters_as_bytes(weight[0])


def test_files_hold_the_same_bits(tmp_path: Path) -> None:
    layer = dataclasses.replace(some_layer(50, 201), bias=np.arange(50, dtype=np.float32))
    runtime = Runtime(one_layer(layer))
    runtime.save(tmp_path / "model.safetensors")
    loaded = Runtime((tmp_path / "model.safetensors").read_bytes())
    kept = loaded.program.layers["fc"]
    assert isinstance(kept, DenseLayer)
    assert kept.encoding is Encoding.INT8
    assert kept.arrays().keys() == layer.arrays().keys()
    for name, array in layer.arrays().items():
        np.testing.assert_array_equal(kept.arrays()[name], array)
    x = np.random.default_rng(10).standard_normal((4, 201)).astype(np.float32)
    np.testing.assert_array_equal(loaded(x), runtime(x))
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    (report,) = loaded.describe()
    assert (report.kind, report.weights, report.runs) == ("dense", "int8", "dense")


def changed(layer: DenseLayer, part: str, place: Any, value: Any) -> DenseLayer:
    array = getattr(layer, part).copy()
    array[place] = value
    return dataclasses.replace(layer, **{part: array})


@pytest.mark.parametrize(
    ("part", "place", "value", "text"),
    [
        ("stored", (4, 7), -128, "a weight is -128, and they go from -127 to 127"),
        ("scale", 0, 0, "a neuron's scale is not a positive number"),
        ("scale", 4, np.nan, "a neuron's scale is not a positive number"),
        ("scale", 4, np.inf, "a neuron's scale is not a positive number"),
        ("bias", 0, np.inf, "bias holds NaN or infinity"),
    ],
)
def test_hostile_numbers_are_refused(part: str, place: Any, value: Any, text: str) -> None:
    good = dataclasses.replace(some_layer(5, 80), bias=np.ones(5, np.float32))
    refuse(one_layer(changed(good, part, place, value)), text)


def refuse(program: Program, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Runtime(program)
    with pytest.raises(ModelFileError, match=text):
        model_file.from_bytes(model_file.to_bytes(program))


def test_hostile_shapes_are_refused() -> None:
    layer, ones = some_layer(5, 80), np.ones((5, 3, 2, 4), np.float32)
    refuse(
        one_layer(dataclasses.replace(layer, stored=layer.stored[:4])), r"weights has shape \(4, 80\), not \(5, 80\)"
    )
    refuse(one_layer(dataclasses.replace(layer, stored=layer.stored[:, :79])), r"weights has shape \(5, 79\)")
    refuse(one_layer(dataclasses.replace(layer, scale=np.ones(4, np.float32))), "scale has shape")
    filters = pack_filters_as_bytes(ones)
    for shape in ((5, 24), (5, 24, 1), (4, 2, 5, 3), (5, 2, 4, 4), (5, 0, 4, 3)):
        stored = np.ones(shape, np.int8)
        refuse(
            of_filters(dataclasses.replace(filters, stored=stored)), "weights has shape .*, not four dimensions of 5"
        )


def of_filters(layer: Filters) -> Program:
    operation = Operation("convolution", (0,), 1, "conv", settings=Window((2, 4)))
    return Program.of_items(((3, 8, 8), (5, 7, 5)), 0, 1, (operation,), {"conv": layer})


def test_sums_that_overflow_are_refused() -> None:
    fan_in = LARGEST_SUM // 127 + 2
    text = f"with a fan-in of {fan_in}, a neuron's (8-bit )?weights add up to 8,4"
    weight = np.ones((1, fan_in), np.float32)
    for pack in (pack_dense, pack_filters):
        with pytest.raises(ArgumentError, match=text):
            pack(weight, None, Encoding.INT8)
    weight[0, :3] = 0.01
    most = pack_dense(weight, None, Encoding.INT8)  # just fits
    x = np.full((1, fan_in), 2, np.float32)
    np.testing.assert_array_equal(Runtime(one_layer(most))(x), expected(most, x, LEVELS.get(kernel_sets()[0], 255)))
    refuse(one_layer(dataclasses.replace(most, stored=np.full_like(most.stored, 127))), text)


def test_an_operation_of_floats_refuses_filters_of_bytes() -> None:
    filters = pack_filters_as_bytes(np.ones((5, 3, 2, 4), np.float32))
    refuse(of_filters(filters), "its layer is int8, and its values are f32")
