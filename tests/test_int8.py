"""8-bit layers: whole numbers that equal NumPy's on every kernel set, and what is refused of files and masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparbor.engine.runtime import Runtime, kernel_sets
from sparbor.errors import ArgumentError, ModelFileError
from sparbor.export.c.target import export_c
from sparbor.packing.quads import QuadLayer, pack_quads
from sparbor.packing.slots import Encoding, pack
from sparbor.program import model_file
from sparbor.program.byte_input import ByteInput
from sparbor.program.program import Operation, Port, Program, Recurrence, ValueType
from sparbor.program.windows import Window
from tests.layers import random_mask, random_weight
from tests.rows_of_bytes import LEVELS, check, check_bias_and_activations, check_strange_rows, expected, one_layer

ROWS = [*range(1, 14), 128]
LARGEST_SUM = (2**31 - 1) // 255


@pytest.fixture(params=kernel_sets())
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SPARBOR_ISA", request.param)
    return str(request.param)


def quad_mask(rng: np.random.Generator, outputs: int, fan_in: int, density: float) -> np.ndarray:
    """Numbers of quads that vary from branch to branch; some branches are dead and some are dense."""
    blocks, branches = -(-outputs // 16), -(-fan_in // 64)
    counts = rng.binomial(16, density, (blocks, branches)) * 4
    counts[rng.random(counts.shape) < 0.1] = 0
    counts[rng.random(counts.shape) < 0.05] = 64
    width = np.minimum(64, fan_in - 64 * np.arange(branches))
    order = rng.random((blocks, 16, branches, 64))
    order[:, :, np.arange(64) >= width[:, None]] = 2.0  # never chosen before the real inputs
    mask = order.argsort(-1).argsort(-1) < np.minimum(counts, width)[:, None, :, None]
    return mask.reshape(blocks * 16, branches * 64)[:outputs, :fan_in]


def some_layer(outputs: int, fan_in: int, density: float = 0.3, seed: int = 0) -> QuadLayer:
    rng = np.random.default_rng(seed)
    return pack_quads(random_weight(rng, outputs, fan_in), quad_mask(rng, outputs, fan_in, density))


@pytest.mark.parametrize("fan_in", [1, 63, 64, 65, 200, 784])
@pytest.mark.parametrize("outputs", [1, 15, 16, 17, 50])
def test_sums_equal_whole_numbers(isa: str, fan_in: int, outputs: int) -> None:
    rng = np.random.default_rng(fan_in * outputs)
    weight = random_weight(rng, outputs, fan_in)
    masks = [quad_mask(rng, outputs, fan_in, 0.1), random_mask(rng, outputs, fan_in, 0.1), np.ones(weight.shape, bool)]
    for mask in masks:
        layer = pack_quads(weight, mask)
        for rows in ROWS:
            check(isa, layer, rng.standard_normal((rows, fan_in)).astype(np.float32))


@pytest.mark.parametrize("quads", range(17))
def test_every_number_of_quads(isa: str, quads: int) -> None:
    """On five branches, so that those which are taken a few at once leave one over."""
    rng = np.random.default_rng(quads)
    mask = np.tile(rng.random((32, 5, 64)).argsort(-1) < 4 * quads, 1).reshape(32, 320)
    layer = pack_quads(random_weight(rng, 32, 320), mask)
    assert layer.layout.slots == 2 * 5 * quads
    for rows in (1, 2, 5, 12):
        check(isa, layer, rng.standard_normal((rows, 320)).astype(np.float32))


@pytest.mark.parametrize("density", [0.15, 0.8])
def test_many_quads_whose_weights_are_asked_for_ahead(isa: str, density: float) -> None:
    """One row of a layer that a second cache need not hold; runs of few quads and of many have loops of their own."""
    rng = np.random.default_rng(5)
    layer = some_layer(1024, 1030, density)
    assert layer.layout.slots > 2**18 // 128 + layer.layout.slots // 32
    for rows in (1, 2):
        check(isa, layer, rng.standard_normal((rows, 1030)).astype(np.float32))


@pytest.mark.parametrize("branches", range(1, 18))
def test_a_row_of_every_number_of_branches(isa: str, branches: int) -> None:
    """AVX-512 has registers for a row of up to sixteen, and then code of its own for each number of them."""
    rng = np.random.default_rng(branches)
    layer = some_layer(40, 64 * branches - 7, 0.15)
    check(isa, layer, rng.standard_normal((1, layer.fan_in)).astype(np.float32))


@pytest.mark.parametrize("rows", [1, 5, 300])
def test_an_input_is_read_where_the_caller_has_it(isa: str, rows: int) -> None:
    """At any address that a float can have; and if another operation reads it too, or it is an output."""
    rng = np.random.default_rng(rows)
    layer = some_layer(90, 90)
    x = rng.standard_normal(rows * 90 + 1).astype(np.float32)[1:].reshape(rows, 90)
    y = expected(layer, x, LEVELS.get(isa, 255))
    program = one_layer(layer)
    np.testing.assert_array_equal(Runtime(program)(x), y)
    again = Operation("add", (0, 1), 2)
    values = (ValueType("f32", ("batch", 90)),) * 3
    outputs = (Port("y", 2), Port("x again", 0))
    twice = Program(values, (Port("x", 0),), outputs, (*program.operations, again), program.layers)
    answers = Runtime(twice)(x)
    np.testing.assert_array_equal(answers["y"], x + y)
    np.testing.assert_array_equal(answers["x again"], x)


def test_bytes_and_floats_in_turns(isa: str) -> None:
    """Bytes become floats first, which lie elsewhere than those that a caller gives."""
    layer = some_layer(40, 70)
    pixels = np.random.default_rng(7).integers(0, 256, (3, 70), np.uint8)
    runtime = Runtime(dataclasses.replace(one_layer(layer), byte_input=ByteInput(std=1 / 255)))
    for x in (pixels, pixels.astype(np.float32), pixels):
        np.testing.assert_array_equal(runtime(x), expected(layer, pixels.astype(np.float32), LEVELS.get(isa, 255)))


def test_a_row_whose_groups_are_shared_by_threads(isa: str) -> None:
    rng = np.random.default_rng(6)
    layer = some_layer(4096, 1024, 0.8)  # or waking a thread takes longer than it saves
    x = rng.standard_normal((1, 1024)).astype(np.float32)
    for runtime in (Runtime(one_layer(layer), as_stored=True), Runtime(one_layer(layer), 3, as_stored=True)):
        np.testing.assert_array_equal(runtime(x), expected(layer, x, LEVELS.get(isa, 255)))


def test_sums_do_not_saturate(isa: str) -> None:
    """Weights and inputs that are the largest there are, of all signs."""
    rng = np.random.default_rng(0)
    for signs in (np.ones((16, 256)), -np.ones((16, 256)), rng.choice([-1.0, 1.0], (16, 256))):
        layer = pack_quads(signs.astype(np.float32), np.ones(signs.shape, bool))
        assert (np.abs(layer.weights) == 127).all()
        for x in (np.ones((3, 256)), -np.ones((3, 256)), signs[:3], rng.choice([-1.0, 0.0, 1.0], (3, 256))):
            check(isa, layer, x.astype(np.float32))


def test_rows_of_all_ranges(isa: str) -> None:
    rng = np.random.default_rng(1)
    layer = some_layer(40, 130)
    some, none = rng.standard_normal((1, 130)), np.zeros((1, 130))
    halves = np.linspace(0, LEVELS.get(isa, 255), 130)[None].round(1) // 0.5 * 0.5  # between two bytes
    rows = [
        none,
        none + 3,
        none - 3,
        abs(some),
        -abs(some),
        some * 1e-30,
        some * 1e-42,
        some * 1e37,
        halves,
    ]
    x = np.concatenate(rows).astype(np.float32)
    check(isa, layer, x)
    one = np.zeros((130, 130), np.float32)
    np.fill_diagonal(one, np.arange(130) - 60)
    check(isa, layer, one)


def test_rows_that_are_not_finite_are_nan_and_others_are_not(isa: str) -> None:
    check_strange_rows(some_layer(20, 100))


def test_biases_and_activations(isa: str) -> None:
    check_bias_and_activations(isa, some_layer(33, 90))


def test_empty_layers_blocks_and_branches(isa: str) -> None:
    rng = np.random.default_rng(4)
    weight, x = random_weight(rng, 48, 256), rng.standard_normal((5, 256)).astype(np.float32)
    one = np.zeros(weight.shape, bool)
    one[20, 200] = True  # all other places of its quad are padding
    block, branch = quad_mask(rng, 48, 256, 0.2), quad_mask(rng, 48, 256, 0.2)
    block[16:32] = False
    branch[:, 64:192] = False
    for mask in (np.zeros_like(one), one, block, branch):
        check(isa, pack_quads(weight, mask), x)
    zeros = pack_quads(np.zeros_like(weight), block)  # active weights of zero
    assert zeros.active == block.sum()
    check(isa, zeros, x)


@pytest.mark.parametrize("rows", [1, 9, 241])
@pytest.mark.parametrize("threads", [1, 2])
def test_layers_of_the_same_rows_share_them_as_bytes(isa: str, rows: int, threads: int) -> None:
    """As queries, keys and values are computed; a layer of other rows comes in between."""
    layers = {name: some_layer(50, 100, seed=seed) for seed, name in enumerate(["q", "k", "v", "again"])}
    layers |= {"other": some_layer(100, 100, seed=7), "square": some_layer(50, 100, seed=8)}
    given = [("q", 0), ("k", 0), ("other", 0), ("square", 3), ("v", 0), ("again", 0)]
    operations = tuple(Operation("linear", (x,), i + 1, name) for i, (name, x) in enumerate(given))
    shapes = [
        ValueType("f32", ("batch", 100)),
        *(ValueType("f32", ("batch", layers[name].outputs)) for name, _ in given),
    ]
    outputs = tuple(Port(name, i + 1) for i, (name, _) in enumerate(given))
    runtime = Runtime(Program(tuple(shapes), (Port("x", 0),), outputs, operations, layers), threads, as_stored=True)
    x = np.random.default_rng(rows).standard_normal((rows, 100)).astype(np.float32)
    answer: Any = runtime(x)
    levels = LEVELS.get(isa, 255)
    for name, from_ in given:
        of = x if from_ == 0 else answer["other"]
        np.testing.assert_array_equal(answer[name], expected(layers[name], of, levels), err_msg=name)


@pytest.mark.parametrize("rows", [1, 128, 500])
def test_threads_make_no_difference(isa: str, rows: int) -> None:
    layer = some_layer(300, 640)
    x = np.random.default_rng(5).standard_normal((rows, 640)).astype(np.float32)
    one, two = (Runtime(one_layer(layer), threads)(x) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_recurrent_layers(isa: str, kind: str) -> None:
    rng = np.random.default_rng(6)
    gates, states = (4, 2) if kind == "lstm" else (3, 1)
    weight, mask = random_weight(rng, gates * 24, 24), quad_mask(rng, gates * 24, 24, 0.5)
    quads = pack_quads(weight, mask)
    operation = Operation(kind, (0,), 1, "rnn", settings=Recurrence(False))
    x = rng.standard_normal((3, 6, gates * 24)).astype(np.float32)

    def answer(layer: Any) -> np.ndarray:
        shapes = ((6, gates * 24), (6, states * 24))
        return Runtime(Program.of_items(shapes, 0, 1, (operation,), {"rnn": layer}))(x)

    np.testing.assert_allclose(answer(quads), answer(pack(*quads.unpack(), None, Encoding.EXACT)), atol=0.03)


@pytest.mark.parametrize("shape", [(1, 1), (16, 64), (17, 65), (50, 784)])
def test_packing_keeps_masks_and_rounds_to_a_step(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(7)
    weight = random_weight(rng, *shape)
    for mask in (quad_mask(rng, *shape, 0.2), random_mask(rng, *shape, 0.2), np.ones(shape, bool)):
        layer = pack_quads(weight, mask)
        unpacked, kept = layer.unpack()
        np.testing.assert_array_equal(kept, mask)
        assert layer.active == mask.sum()
        errors = (unpacked - weight) * mask / layer.scale[:, None]
        assert np.abs(errors).max() < 1 + 1e-4
        assert (np.abs(errors.sum(axis=1)) < 0.51).all()  # they cancel: one more flip would not help
        assert not unpacked[~mask].any()
        again = pack_quads(unpacked, mask)
        np.testing.assert_array_equal(again.weights, layer.weights)


def test_padding_is_reported() -> None:
    rng = np.random.default_rng(8)
    whole, any_mask = quad_mask(rng, 40, 128, 0.3), random_mask(rng, 40, 128, 0.3)
    weight = random_weight(rng, 40, 128)
    assert not pack_quads(weight, whole).padded
    assert pack_quads(weight, any_mask).padded
    assert (pack_quads(weight, any_mask).padding.sum()) > 0


def test_files_hold_the_same_bits(tmp_path: Path) -> None:
    layer = dataclasses.replace(some_layer(50, 200), bias=np.arange(50, dtype=np.float32))
    runtime = Runtime(one_layer(layer))
    runtime.save(tmp_path / "model.safetensors")
    loaded = Runtime((tmp_path / "model.safetensors").read_bytes())
    kept = loaded.program.layers["fc"]
    assert isinstance(kept, QuadLayer)
    assert kept.arrays().keys() == layer.arrays().keys()
    for name, array in layer.arrays().items():
        np.testing.assert_array_equal(kept.arrays()[name], array)
    x = np.random.default_rng(9).standard_normal((4, 200)).astype(np.float32)
    np.testing.assert_array_equal(loaded(x), runtime(x))
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()
    (report,) = loaded.describe()
    assert (report.kind, report.weights) == ("sparse", "int8"), "which some machines run dense, as it is faster there"
    assert report.active == layer.active


def changed(part: str, place: Any, value: Any) -> Callable[[QuadLayer], QuadLayer]:
    """The layer with one number changed."""

    def change(layer: QuadLayer) -> QuadLayer:
        owner: Any = layer.layout if hasattr(layer.layout, part) else layer
        array = getattr(owner, part).copy()
        array[place] = value
        owner = dataclasses.replace(owner, **{part: array})
        return owner if isinstance(owner, QuadLayer) else dataclasses.replace(layer, layout=owner)

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (changed("indices", (0, 0, 0), 64), "an index lies beyond its branch"),
        (changed("indices", (0, 0, 0), 0x81), "an index lies beyond its branch"),
        (changed("indices", (0, 0, 0), 20), "an index lies beyond the fan-in"),
        (changed("indices", (0, 0, slice(2)), 7), "a neuron has two synapses to one input"),
        (changed("indices", (0, 5, 0), 1), "a synapse belongs to a neuron beyond the outputs"),
        (changed("indices", (0, 0, 3), 0x80), "a place without a synapse has a weight"),
        (changed("weights", (0, 0, 0), -128), "a weight is -128, and they go from -127 to 127"),
        (changed("weights", (0, 15, 0), 1), "a place without a synapse has a weight"),
        (changed("scale", 0, 0), "a neuron's scale is not a positive number"),
        (changed("scale", 0, np.nan), "a neuron's scale is not a positive number"),
        (changed("bias", 0, np.inf), "bias holds NaN or infinity"),
        (changed("run_slots", 0, 17), "a run has no quads or more than 16"),
        (changed("run_slots", 0, 0), "a run has no quads or more than 16"),
        (changed("run_branches", 0, 0), "a run has no branches"),
        (changed("branches", 1, 1), "a group lists a branch twice"),
        (changed("branches", 0, 2), "a branch lies beyond the fan-in 80"),
        (
            lambda layer: dataclasses.replace(layer, weights=layer.weights.view(np.uint8)),
            "weights is of another type",
        ),
        (lambda layer: dataclasses.replace(layer, weights=layer.weights[:-1]), "weights has shape"),
        (lambda layer: dataclasses.replace(layer, indices=layer.indices.reshape(-1, 64)), "indices has shape"),
    ],
)
def test_hostile_layers_are_refused(change: Callable[[QuadLayer], QuadLayer], text: str) -> None:
    rng = np.random.default_rng(10)
    ones = np.ones((5, 80), bool)
    good = pack_quads(random_weight(rng, 5, 80) + np.float32(5), ones, np.ones(5, np.float32))
    Runtime(one_layer(good))
    bad = one_layer(change(good))
    with pytest.raises(ArgumentError, match=f"layer 'fc'.*{text}"):
        Runtime(bad)
    with pytest.raises(ModelFileError, match=text):
        model_file.from_bytes(model_file.to_bytes(bad))


def test_sums_that_overflow_are_refused() -> None:
    fan_in = LARGEST_SUM // 127 + 2
    mask = np.ones((1, fan_in), bool)
    text = f"with a fan-in of {fan_in}, a neuron's (8-bit )?weights add up to 8,4"
    with pytest.raises(ArgumentError, match=text):
        pack_quads(mask.astype(np.float32), mask)
    weight = np.ones((1, fan_in), np.float32)
    weight[0, :3] = 0.01
    most = pack_quads(weight, mask)  # just fits
    x = np.full((1, fan_in), 2, np.float32)
    np.testing.assert_array_equal(Runtime(one_layer(most))(x), expected(most, x, LEVELS.get(kernel_sets()[0], 255)))
    with pytest.raises(ArgumentError, match=text):
        Runtime(one_layer(dataclasses.replace(most, weights=np.where(most.padding, 0, 127).astype(np.int8))))


def test_arguments_of_packing() -> None:
    weight, mask = np.ones((4, 8), np.float32), np.ones((4, 8), bool)
    for given, text in (
        ((weight.astype(np.float64), mask), "weight is float64"),
        ((weight, mask[:2]), "mask has shape"),
        ((weight * np.float32("nan"), mask), "weight holds NaN or infinity"),
        ((weight, mask, np.ones(3, np.float32)), "bias is float32 of shape"),
    ):
        with pytest.raises(ArgumentError, match=text):
            pack_quads(*given)
    with pytest.raises(ArgumentError, match="encoding='int8': slots are word16 or exact; pack_quads packs int8"):
        pack(weight, mask, None, Encoding.INT8)


def test_who_has_no_such_layers_says_so(tmp_path: Path) -> None:
    layer = some_layer(16, 9)
    window = Window((3, 3), padding=(1, 1, 1, 1))
    operation = Operation("convolution", (0,), 1, "conv", settings=window)
    program = Program.of_items(((1, 8, 8), (16, 8, 8)), 0, 1, (operation,), {"conv": layer})
    with pytest.raises(ArgumentError, match="its layer is int8, and its values are f32"):
        Runtime(program)
    text = "layer 'conv' has weights 'int8', and the operation 'convolution' takes none such"
    with pytest.raises(ArgumentError, match=text):
        export_c(program, tmp_path / "c")
    onnx = pytest.importorskip("sparbor.export.onnx.target")
    with pytest.raises(ArgumentError, match=text):
        onnx.to_onnx(program)
