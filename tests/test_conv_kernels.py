"""Convolutions, pooling and what goes with them on every kernel set of this machine, against PyTorch."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn import functional

from sparbor import _native
from sparbor.packing.dense_weights import pack_dense
from sparbor.packing.filters import Filters, pack_by_groups, real_rows
from sparbor.packing.slots import SLOT_ENCODINGS, Encoding, SparseLayer
from sparbor.program.byte_input import ByteInput
from sparbor.program.model_file import to_bytes
from sparbor.program.program import Activation, Axis, Normalisation, Operation, Program, ScaleShift
from sparbor.program.windows import AverageWindow, Window
from tests.kernel_sets import KERNEL_SETS
from tests.layers import random_mask, relative_error, slot_mask


@pytest.fixture(params=KERNEL_SETS)
def isa(request):
    return request.param


@dataclass(frozen=True)
class Shape:
    """A convolution: channels, plane, outputs, kernel and the rest, by height and width."""

    channels: int
    plane: tuple[int, int]
    outputs: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (1, 1, 1, 1)  # left, right, top, bottom
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    upsample: tuple[int, int] = (1, 1)

    @property
    def fan_in(self) -> int:
        return self.channels // self.groups * self.kernel[0] * self.kernel[1]

    @property
    def out_plane(self) -> tuple[int, int]:
        left, right, top, bottom = self.padding
        sizes = []
        for axis, pad in enumerate((top + bottom, left + right)):
            size = (self.plane[axis] - 1) * self.upsample[axis] + 1 + pad
            sizes.append((size - self.dilation[axis] * (self.kernel[axis] - 1) - 1) // self.stride[axis] + 1)
        return sizes[0], sizes[1]

    @property
    def window(self) -> Window:
        left, right, top, bottom = self.padding
        return Window(self.kernel, self.stride, (top, left, bottom, right), self.dilation, self.upsample, self.groups)

    @property
    def item_out(self) -> tuple[int, int, int]:
        return (self.outputs, *self.out_plane)

    def wanted(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """What PyTorch computes, in double precision."""
        spread = torch.zeros(*x.shape[:2], *((n - 1) * up + 1 for n, up in zip(self.plane, self.upsample, strict=True)))
        spread = spread.double()
        spread[:, :, :: self.upsample[0], :: self.upsample[1]] = torch.from_numpy(x).double()
        kernels = torch.from_numpy(weight).double().reshape(self.outputs, -1, *self.kernel)
        padded = functional.pad(spread, self.padding)
        shifts = torch.from_numpy(bias).double()
        return functional.conv2d(padded, kernels, shifts, self.stride, 0, self.dilation, self.groups).numpy()


SHAPES = [
    Shape(3, (8, 8), 16),
    Shape(16, (4, 4), 40),
    Shape(20, (7, 7), 17),
    Shape(5, (13, 9), 33),
    Shape(1, (1, 1), 1),
    Shape(33, (1, 1), 20, (1, 1), padding=(0, 0, 0, 0)),
    Shape(40, (7, 7), 24, (1, 1), padding=(0, 0, 0, 0)),
    Shape(12, (9, 14), 16, (1, 1), (2, 2), (0, 0, 0, 0)),
    Shape(6, (14, 14), 16, stride=(2, 2)),
    Shape(3, (30, 28), 20, (7, 7), (2, 2), (3, 3, 3, 3)),
    Shape(4, (11, 17), 16, (3, 5), (3, 1), (2, 2, 0, 3), (2, 1)),
    Shape(4, (12, 16), 16, (3, 3), (1, 2), (-1, 2, -2, -1)),
    Shape(6, (10, 10), 18, (2, 3), (1, 1), (2, 4, 4, 2), (3, 2)),
    Shape(32, (8, 16), 64, groups=2),
    Shape(12, (6, 10), 24, groups=3),
    Shape(24, (9, 9), 24, groups=24),
    Shape(10, (12, 20), 20, stride=(2, 2), groups=10),
    Shape(16, (1, 50), 20, (1, 5), (1, 1), (2, 2, 0, 0), (1, 2)),
    Shape(6, (5, 7), 16, (3, 3), padding=(1, 2, 1, 2), upsample=(2, 2)),
    Shape(6, (4, 6), 16, (4, 2), padding=(-1, 1, 3, 0), upsample=(3, 2), dilation=(1, 2)),
    Shape(4, (3, 4), 16, (3, 3), padding=(9, 9, 9, 9)),
    Shape(8, (56, 56), 16),
    Shape(2, (224, 224), 16, (3, 3), (2, 2)),
    Shape(48, (100, 40), 8),
    # Strips that begin in the middle of a vector.
    Shape(64, (4, 37), 3, (6, 6), (1, 2), padding=(3, 3, 3, 3)),
    Shape(96, (11, 64), 16, (3, 6)),
]

# 3 x 3, stride 1: the dense kernel takes tiles of 2 x 2 outputs. The last has more than 2^17 kernels.
TILED = [
    Shape(33, (8, 8), 16),
    Shape(20, (13, 9), 33),
    Shape(64, (7, 7), 20),
    Shape(17, (57, 57), 18),
    Shape(70, (40, 90), 17),
    Shape(16, (5, 200), 16),
    Shape(16, (14, 14), 50, padding=(0, 0, 0, 0)),
    Shape(18, (12, 11), 16, padding=(2, 5, 3, 2)),
    Shape(24, (12, 16), 16, padding=(-1, 2, -2, -1)),
    Shape(365, (7, 7), 361),
]


def random_numbers(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model(isa, item_in, item_out, *operations, layers=None, threads=1, byte_input=None, within=()) -> _native.Model:
    """Of operations from value 0 to value 1; those `within` are the shapes of values 2 and further."""
    program = Program.of_items((item_in, item_out, *within), 0, 1, operations, layers or {}, byte_input)
    return _native.Model(to_bytes(program), isa, threads, as_stored=True)


def run(made: _native.Model, x: np.ndarray) -> np.ndarray:
    """The second result of two, both written over NaN: the first leaves its numbers in the workspace."""
    for _ in range(2):
        out = np.full((len(x), *made.output_ports[0][2][1:]), np.nan, np.float32)
        made(x, out=out)
    return out


def run_one(isa, kind, x, item_out, settings=None, activation=None, layer=None, threads=1) -> np.ndarray:
    """What one operation of this kind makes of x."""
    layers = {} if layer is None else {"layer": layer}
    operation = Operation(kind, (0,), 1, "layer" if layers else None, activation, settings)
    return run(model(isa, x.shape[1:], item_out, operation, layers=layers, threads=threads), x)


def unpacked(layer: SparseLayer, shape: Shape) -> np.ndarray:
    """The weights of the convolution's outputs that the engine computes with."""
    return layer.unpack()[0][real_rows(shape.outputs, shape.groups)]


def run_sparse(isa, shape, layer, x, threads=1, activation=None) -> np.ndarray:
    return run_one(isa, "convolution", x, shape.item_out, shape.window, activation, layer, threads)


def run_dense(isa, shape, weight, bias, x, encoding=Encoding.EXACT, threads=1, activation=None):
    exact = encoding is Encoding.EXACT
    stored, scale = (weight, None) if exact else (weight.astype(np.float16), np.ones(shape.outputs, np.float32))
    return run_sparse(isa, shape, Filters(shape.outputs, shape.fan_in, stored, scale, bias), x, threads, activation)


def problem(shape: Shape, density: float = 0.3, make_mask=slot_mask, batch: int = 1):
    weight = random_numbers(1, shape.outputs, shape.fan_in) / np.sqrt(shape.fan_in, dtype=np.float32)
    mask = make_mask(np.random.default_rng(2), shape.outputs, shape.fan_in, density)
    return weight, mask, random_numbers(3, shape.outputs), random_numbers(4, batch, shape.channels, *shape.plane)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("encoding", SLOT_ENCODINGS)
@pytest.mark.parametrize("make_mask", [slot_mask, random_mask])
def test_sparse_convolutions(isa, shape, encoding, make_mask):
    weight, mask, bias, x = problem(shape, 0.3, make_mask)
    layer = pack_by_groups(weight, mask, bias, shape.groups, encoding)
    wanted = shape.wanted(x, unpacked(layer, shape), bias)
    assert relative_error(run_sparse(isa, shape, layer, x), wanted) < 1e-6


@pytest.mark.parametrize("shape", SHAPES + TILED, ids=str)
@pytest.mark.parametrize("encoding", SLOT_ENCODINGS)
def test_dense_convolutions(isa, shape, encoding):
    weight, _, bias, x = problem(shape, batch=3 if shape in TILED else 1)
    if encoding is Encoding.WORD16:
        weight = weight.astype(np.float16).astype(np.float32)
    wanted = shape.wanted(x, weight, bias)
    assert relative_error(run_dense(isa, shape, weight, bias, x, encoding), wanted) < 1e-6


def test_tiles_of_badly_scaled_planes(isa):
    """A large pixel, channel or weight costs those outputs no accuracy that it is not a part of."""
    shape = Shape(32, (16, 15), 24)
    weight, _, bias, x = problem(shape)
    x[0, :, 5, 6] *= 1e6
    x[0, 3] *= 1e3
    weight[:, ::7] *= 1e-3
    weight[4] *= 1e5
    y, wanted = run_dense(isa, shape, weight, bias, x), shape.wanted(x, weight, bias)
    far = np.ones(shape.out_plane, bool)
    far[4:7, 5:8] = False
    for output in range(shape.outputs):
        assert relative_error(y[0, output], wanted[0, output]) < 1e-6
        assert relative_error(y[0, output, far], wanted[0, output, far]) < 1e-6


def test_a_scale_of_each_output(isa):
    for shape in (Shape(32, (9, 9), 20), Shape(5, (9, 9), 20)):
        weight, _, bias, x = problem(shape)
        scale = np.exp(random_numbers(19, shape.outputs))
        halves = weight.astype(np.float16)
        layer = Filters(shape.outputs, shape.fan_in, halves, scale, bias)
        wanted = shape.wanted(x, halves.astype(np.float32) * scale[:, None], bias)
        assert relative_error(run_sparse(isa, shape, layer, x), wanted) < 1e-6


@pytest.mark.parametrize("density", [0.0, 0.01, 1.0])
@pytest.mark.parametrize("encoding", SLOT_ENCODINGS)
@pytest.mark.parametrize("make_mask", [slot_mask, random_mask])
def test_any_density(isa, density, encoding, make_mask):
    shape = Shape(12, (9, 11), 40)
    weight, mask, bias, x = problem(shape, density, make_mask)
    layer = pack_by_groups(weight, mask, bias, shape.groups, encoding)
    assert relative_error(run_sparse(isa, shape, layer, x), shape.wanted(x, unpacked(layer, shape), bias)) < 1e-6


@pytest.mark.parametrize("plane", [(1, 1), (2, 3), (4, 4), (7, 7), (8, 8), (9, 33), (12, 12), (16, 16), (20, 48)])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("outputs", [1, 15, 50])
def test_any_plane_and_outputs(isa, plane, kernel, outputs):
    pad = kernel // 2
    shape = Shape(9, plane, outputs, (kernel, kernel), padding=(pad, pad, pad, pad))
    weight, mask, bias, x = problem(shape, 0.4, random_mask, batch=3)
    layer = pack_by_groups(weight, mask, bias, shape.groups, Encoding.EXACT)
    assert relative_error(run_sparse(isa, shape, layer, x), shape.wanted(x, unpacked(layer, shape), bias)) < 1e-6
    assert relative_error(run_dense(isa, shape, weight, bias, x), shape.wanted(x, weight, bias)) < 1e-6


THREADED = [
    Shape(24, (13, 9), 40),
    Shape(32, (30, 31), 70),
    Shape(363, (6, 6), 362),
    Shape(40, (8, 8), 70),
    Shape(20, (60, 50), 40),
    Shape(64, (30, 30), 64, groups=4),
    Shape(64, (33, 31), 64, groups=64),
    Shape(64, (30, 30), 96, (1, 1), padding=(0, 0, 0, 0)),
]


@pytest.mark.parametrize("shape", THREADED, ids=str)
@pytest.mark.parametrize(("batch", "relu"), [(1, True), (2, False), (7, True)])
def test_threads_and_batches_change_nothing(isa, shape, batch, relu):
    weight, mask, bias, x = problem(shape, 0.3, batch=batch)
    options = {"activation": Activation("relu" if relu else "silu")}
    layer = pack_by_groups(weight, mask, bias, shape.groups, Encoding.WORD16)
    sparse = run_sparse(isa, shape, layer, x, **options)
    dense = run_dense(isa, shape, weight, bias, x, **options)
    function = functional.relu if relu else functional.silu
    wanted = function(torch.from_numpy(shape.wanted(x, weight, bias))).numpy()
    np.testing.assert_allclose(dense, wanted, rtol=1e-4, atol=1e-5)
    wanted = function(torch.from_numpy(shape.wanted(x, unpacked(layer, shape), bias))).numpy()
    np.testing.assert_allclose(sparse, wanted, rtol=1e-4, atol=1e-5)
    for threads in (2, 3):
        np.testing.assert_array_equal(run_sparse(isa, shape, layer, x, threads, **options), sparse)
        np.testing.assert_array_equal(run_dense(isa, shape, weight, bias, x, threads=threads, **options), dense)
    for item in range(batch):
        np.testing.assert_array_equal(run_sparse(isa, shape, layer, x[item : item + 1], **options)[0], sparse[item])


# Kernels with lanes that are outputs: few pixels or many inputs; whole blocks of outputs and parts of one.
BY_OUTPUTS = [
    Shape(40, (7, 7), 70),
    Shape(64, (4, 4), 32),
    Shape(130, (1, 1), 33, (1, 1), padding=(0, 0, 0, 0)),
    Shape(128, (7, 9), 16, (1, 1), padding=(0, 0, 0, 0)),
    Shape(150, (15, 15), 48, (1, 1), (2, 2), (0, 0, 0, 0)),
    Shape(20, (15, 14), 50, stride=(2, 2)),
    Shape(24, (29, 13), 40, (3, 3), padding=(2, 1, 0, 3), dilation=(2, 1)),
    Shape(64, (9, 5), 80, groups=2),
    Shape(40, (5, 6), 20, (4, 4), padding=(2, 2, 2, 2), upsample=(2, 2)),
]
# Kernels without copies, for planes narrower than a vector and wider, and strides and sizes that have none.
DEPTHWISE = [
    *(
        Shape(5, plane, 5 * multiplier, (size, size), (stride, stride), (size // 2,) * 4, groups=5)
        for plane in ((7, 7), (14, 15), (1, 1), (33, 20))
        for size in (3, 5, 7)
        for stride, multiplier in ((1, 1), (2, 2))
    ),
    Shape(4, (9, 47), 8, padding=(0, 0, 0, 0), groups=4),
    Shape(4, (12, 16), 4, padding=(-1, 4, -2, 5), groups=4),
    Shape(4, (12, 40), 4, stride=(2, 2), padding=(3, -2, 6, -1), groups=4),
    Shape(4, (12, 16), 4, padding=(2, 2, 2, 2), dilation=(2, 2), groups=4),
    Shape(4, (12, 16), 4, (3, 5), padding=(2, 2, 1, 1), groups=4),
    Shape(4, (13, 16), 4, stride=(3, 3), groups=4),
    Shape(4, (7, 6), 4, upsample=(2, 2), groups=4),
]


@pytest.mark.parametrize("shape", BY_OUTPUTS + DEPTHWISE, ids=str)
@pytest.mark.parametrize(("encoding", "relu"), [(Encoding.WORD16, False), (Encoding.EXACT, True)])
def test_dense_kernels_of_their_own(isa, shape, encoding, relu):
    weight, _, bias, x = problem(shape, batch=3)
    if encoding is Encoding.WORD16:
        weight = weight.astype(np.float16).astype(np.float32)
    options = {"activation": Activation("relu" if relu else "silu")}
    y = run_dense(isa, shape, weight, bias, x, encoding, **options)
    function = functional.relu if relu else functional.silu
    wanted = function(torch.from_numpy(shape.wanted(x, weight, bias))).numpy()
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(run_dense(isa, shape, weight, bias, x, encoding, 2, **options), y)


@pytest.mark.parametrize("shape", [BY_OUTPUTS[0], DEPTHWISE[0], DEPTHWISE[-7]], ids=str)
def test_bad_pixels_reach_only_the_windows_around_them(isa, shape):
    weight, _, bias, x = problem(shape, batch=2)
    x[0, 3, 2, 5] = np.nan
    touched = np.zeros_like(x)
    touched[0, 3, 2, 5] = 1
    hit = shape.wanted(touched, np.ones_like(weight), np.zeros_like(bias)) > 0.5
    np.testing.assert_array_equal(np.isnan(run_dense(isa, shape, weight, bias, x)), hit)
    np.testing.assert_array_equal(np.isnan(run_dense(isa, shape, weight, bias, x, activation=Activation("relu"))), hit)


def test_depthwise_halves_of_every_kind(isa):
    """Subnormal ones, zeros of both signs and the largest."""
    shape = Shape(4, (5, 6), 4, groups=4)
    halves = np.array([0x0001, 0x8001, 0x03FF, 0x0400, 0x0000, 0x8000, 0x7BFF, 0xFBFF, 0x3C00], np.uint16)
    weight = np.stack([np.roll(halves, k) for k in range(4)]).view(np.float16).astype(np.float32)
    _, _, bias, x = problem(shape)
    y = run_dense(isa, shape, weight, bias, x, Encoding.WORD16)
    assert relative_error(y, shape.wanted(x, weight, bias)) < 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("encoding", [*SLOT_ENCODINGS, None])
@pytest.mark.parametrize(
    "shape", [Shape(6, (7, 9), 20), Shape(40, (4, 5), 24, (1, 1), padding=(0,) * 4), Shape(40, (7, 9), 20)], ids=str
)
@pytest.mark.parametrize("make_mask", [slot_mask, random_mask])
def test_bad_pixels_reach_only_neurons_with_that_synapse(isa, bad, encoding, shape, make_mask):
    weight, mask, bias, x = problem(shape, 0.1, make_mask, batch=2)
    if encoding is None:
        mask = np.ones_like(mask)
    weight = np.where(mask, np.abs(weight) + np.float32(0.1), np.float32(0))
    for channel, row, column in ((0, 0, 0), (3, 3, 4), (5, 3, 0)):
        spoiled = np.abs(x)
        spoiled[0, channel, row, column] = bad
        touched = np.zeros_like(x)
        touched[0, channel, row, column] = 1
        if encoding is None:
            y = run_dense(isa, shape, weight, bias, spoiled)
        else:
            y = run_sparse(isa, shape, pack_by_groups(weight, mask, bias, shape.groups, encoding), spoiled)
        hit = shape.wanted(touched, mask.astype(np.float32), np.zeros_like(bias)) > 0.5
        np.testing.assert_array_equal(~np.isfinite(y), hit)


POOLS = [
    # kernel, stride, padding, dilation, ceil mode
    ((2, 2), (2, 2), (0, 0), (1, 1), False),
    ((2, 2), (2, 2), (0, 0), (1, 1), True),
    ((3, 3), (2, 2), (1, 1), (1, 1), False),
    ((3, 3), (2, 2), (1, 1), (1, 1), True),
    ((3, 2), (1, 3), (1, 1), (2, 1), False),
    ((3, 3), (1, 1), (1, 1), (1, 1), False),
    ((4, 3), (3, 2), (2, 1), (1, 1), True),
]
PLANES = [(8, 8), (7, 7), (13, 9), (32, 32), (16, 48), (14, 6)]


def pool_window(kind, kernel, stride, padding, dilation, **average) -> Window:
    return kind(kernel, stride, (padding[0], padding[1]) * 2, dilation, groups=5, **average)


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "ceil"), POOLS)
@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("threads", [1, 2])
def test_max_pool(isa, kernel, stride, padding, dilation, ceil, plane, threads):
    x = random_numbers(5, 3, 5, *plane)
    x[0, 0, 0, 0], x[0, 1, -1, -1], x[1, 2, 3, 3], x[2, :, 1] = np.nan, np.nan, np.inf, -np.inf
    wanted = functional.max_pool2d(torch.from_numpy(x), kernel, stride, padding, dilation, ceil).numpy()
    window = pool_window(Window, kernel, stride, padding, dilation)
    np.testing.assert_array_equal(run_one(isa, "max_pool", x, wanted.shape[1:], window, threads=threads), wanted)


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "ceil"), POOLS)
@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("divisor", [None, 3])
def test_average_pool(isa, kernel, stride, padding, dilation, ceil, plane, count_include_pad, divisor):
    x = random_numbers(5, 2, 5, *plane)
    wanted = functional.avg_pool2d(
        torch.from_numpy(x), kernel, stride, padding, ceil, count_include_pad, divisor_override=divisor
    ).numpy()
    average = {"include_padding": count_include_pad, "divisor": divisor or 0}
    window = pool_window(AverageWindow, kernel, stride, padding, (1, 1), **average)
    y = run_one(isa, "average_pool", x, wanted.shape[1:], window)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6)


def test_pooling_windows_whose_taps_lie_far_apart(isa):
    x = random_numbers(18, 2, 5, 1, 6000)
    wanted = functional.max_pool2d(torch.from_numpy(x), (1, 3), (1, 3), (0, 1), (1, 1200)).numpy()
    window = pool_window(Window, (1, 3), (1, 3), (0, 1), (1, 1200))
    np.testing.assert_array_equal(run_one(isa, "max_pool", x, wanted.shape[1:], window), wanted)


@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 5), (7, 7), (1, 4)])
@pytest.mark.parametrize("plane", PLANES)
def test_adaptive_pool(isa, kind, size, plane):
    x = random_numbers(6, 2, 5, *plane)
    function = functional.adaptive_max_pool2d if kind == "max" else functional.adaptive_avg_pool2d
    wanted = function(torch.from_numpy(x), size).numpy()
    y = run_one(isa, f"adaptive_{kind}_pool", x, wanted.shape[1:])
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6)
    x[:] = np.nan
    assert np.isnan(run_one(isa, f"adaptive_{kind}_pool", x, wanted.shape[1:])).all()


@pytest.mark.parametrize("item", [(3, 4, 5), (5,), (40,), (2, 7), (1, 9), (1, 3, 64)])
def test_concatenation(isa, item):
    x = random_numbers(7, 3, *item)
    joined = np.concatenate([x, 2 * x, x], axis=1)
    operations = Operation("add", (0, 0), 2), Operation("concat", (0, 2, 0), 1, settings=Axis(1))
    np.testing.assert_array_equal(run(model(isa, item, joined.shape[1:], *operations, within=(item,)), x), joined)


@pytest.mark.parametrize("features", [1, 10, 64, 1000])
@pytest.mark.parametrize("affine", [False, True])
def test_layer_norm(isa, features, affine):
    x = random_numbers(8, 2, 5, features) * 3 + 7
    scale, shift = (random_numbers(9, features), random_numbers(10, features)) if affine else (None, None)
    layer = None if scale is None else ScaleShift(scale, shift)
    tensors = [None if each is None else torch.from_numpy(each) for each in (scale, shift)]
    wanted = functional.layer_norm(torch.from_numpy(x), (features,), *tensors, eps=1e-5).numpy()
    y = run_one(isa, "layer_norm", x, (5, features), Normalisation(1e-5), layer=layer)
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4)


def test_scale_and_shift_of_channels(isa):
    x, scale, shift = random_numbers(11, 3, 6, 5, 7), random_numbers(12, 6), random_numbers(13, 6)
    wanted = x * scale[:, None, None] + shift[:, None, None]
    y = run_one(isa, "scale_shift", x, x.shape[1:], settings=Axis(1), layer=ScaleShift(scale, shift))
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6)


def test_sums_with_an_activation(isa):
    x = random_numbers(14, 3, 6, 5, 7)
    twice, item = torch.from_numpy(2 * x), x.shape[1:]
    functions = {None: lambda x: x, Activation("relu"): functional.relu, Activation("tanh"): torch.tanh}
    for activation, function in functions.items():
        made = model(isa, item, item, Operation("add", (0, 0), 1, activation=activation))
        np.testing.assert_allclose(run(made, x), function(twice).numpy(), rtol=1e-5, atol=1e-6)
    x[0, 0, 0, 0] = np.nan
    made = model(isa, item, item, Operation("add", (0, 0), 1, activation=Activation("relu")))
    assert np.isnan(run(made, x)[0, 0, 0, 0])


BROADCAST = [
    ((6, 5, 7), (6, 1, 1)),  # a number a channel
    ((6, 5, 7), (1, 5, 7)),  # a number a pixel
    ((6, 5, 1), (6, 1, 7)),
    ((6, 1, 7), (1, 5, 1)),
    ((6, 5, 7), (1, 1, 1)),
    ((6, 5, 40), (6, 5, 1)),
    ((2, 3, 4, 5), (1, 3, 1, 5)),
    ((9, 33), (9, 1)),
    ((9, 33), (1, 33)),
    ((50,), (1,)),
    ((4, 1, 1), (4, 1, 1)),
]
PAIRS = {"add": np.add, "multiply": np.multiply}  # operators of two values


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("shapes", BROADCAST, ids=str)
@pytest.mark.parametrize("turned", [False, True])
def test_dimensions_of_one_are_repeated(isa, kind, shapes, turned):
    left, right = shapes[::-1] if turned else shapes
    wanted_shape = np.broadcast_shapes(left, right)
    x = random_numbers(21, 3, math.prod(left) + math.prod(right))
    a, b = x[:, : math.prod(left)].reshape(3, *left), x[:, math.prod(left) :].reshape(3, *right)
    pick = [pack_dense(np.eye(x.shape[1], dtype=np.float32)[part]) for part in np.split(range(x.shape[1]), [a[0].size])]
    for activation, function in {None: lambda y: y, "relu": functional.relu, "tanh": torch.tanh}.items():
        operations = [
            Operation("linear", (0,), 2, "left"),
            Operation("linear", (0,), 3, "right"),
            Operation("reshape", (2,), 4),
            Operation("reshape", (3,), 5),
            Operation(kind, (4, 5), 1, activation=None if activation is None else Activation(activation)),
        ]
        within = ((a[0].size,), (b[0].size,), left, right)
        layers = {"left": pick[0], "right": pick[1]}
        made = model(isa, x.shape[1:], wanted_shape, *operations, layers=layers, within=within)
        wanted = function(torch.from_numpy(PAIRS[kind](a, b))).numpy()
        np.testing.assert_allclose(run(made, x), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("item", [(3, 9, 7), (50,), (4, 33)])
@pytest.mark.parametrize("by_row", [False, True])
def test_bytes(isa, item, by_row):
    rows = item[0] if by_row and len(item) > 1 else 1
    mean, std = random_numbers(15, rows).astype(float), np.abs(random_numbers(16, rows)).astype(float) + 0.1
    clamp = Operation("activation", (0,), 1, activation=Activation("clamp", (-1e9, 1e9)))
    made = model(isa, item, item, clamp, byte_input=ByteInput(mean.tolist(), std.tolist()))
    x = np.random.default_rng(17).integers(0, 256, (4, *item)).astype(np.uint8)
    wide = (rows,) + (1,) * (len(item) - 1)
    floats = (x / 255 - mean.reshape(wide)) / std.reshape(wide)
    np.testing.assert_allclose(run(made, x), floats, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(made(floats.astype(np.float32)), floats, rtol=1e-6)
