"""`deploy(weights="int8", calibration=...)`: what is rounded, by which ranges, and how far that moves the answers."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sparbor
from bench.inference import models
from sparbor.engine.runtime import kernel_sets
from sparbor.errors import ArgumentError, ModelFileError
from sparbor.lower import candidates, parity
from sparbor.lower.deploy import lower
from sparbor.packing.slots import Encoding
from sparbor.program.model_file import from_bytes, to_bytes
from sparbor.program.program import Operation, Port, Program, Quantization, ValueType
from sparbor.program.windows import Window
from sparbor.quantization import quantizing
from sparbor.quantization.choice import Wiring, chosen
from sparbor.quantization.ranges import Range, best_quantization, quantization_of, quantizations, ranges, rounded
from tests.deploying import Function, relative_error


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def convolution(channels: int, outputs: int, kernel: int = 3, **settings: int) -> nn.Conv2d:
    return nn.Conv2d(channels, outputs, kernel, padding=kernel // 2, **settings)


def residual(x: Tensor, first: nn.Module, inner: nn.Module, last: nn.Module) -> Tensor:
    x = torch.relu(first(x))
    return torch.relu(x + last(torch.relu(inner(x))))


def gated(x: Tensor, first: nn.Module, squeeze: nn.Module, excite: nn.Module, last: nn.Module) -> Tensor:
    x = nn.functional.silu(first(x))
    gate = torch.sigmoid(excite(nn.functional.silu(squeeze(nn.functional.adaptive_avg_pool2d(x, 1)))))
    return last(x * gate)


def concatenated(x: Tensor, first: nn.Module, inner: nn.Module, up: nn.Module, last: nn.Module) -> Tensor:
    x = torch.relu(first(x))
    inside = torch.relu(inner(nn.functional.max_pool2d(x, 2)))
    return last(torch.cat([x, up(inside)], 1))


def normalised_after(x: Tensor, first: nn.Module, norm: nn.Module, last: nn.Module) -> Tensor:
    """The batch norm cannot join the convolution, which has two readers."""
    x = first(x)
    return last(torch.relu(norm(x))) + x


def sequence(x: Tensor, first: nn.Module, last: nn.Module) -> Tensor:
    return last(nn.functional.avg_pool1d(torch.relu(first(x)), 2))


Build = Callable[[], nn.Module]
MODELS: dict[str, tuple[Build, tuple[int, ...], dict[str, int]]] = {
    "residual": (
        lambda: Function(residual, convolution(3, 32), convolution(32, 32), convolution(32, 32)),
        (3, 12, 12),
        dict(quantize=1, quantized_convolution=3, dequantize=1),
    ),
    "gated": (
        lambda: Function(gated, convolution(3, 48), nn.Conv2d(48, 8, 1), nn.Conv2d(8, 48, 1), convolution(48, 32)),
        (3, 12, 12),
        dict(
            quantize=1,
            quantized_convolution=2,
            quantized_average_pool=1,
            dequantize=2,
            convolution=2,
            quantized_scale=1,
        ),
    ),
    "concatenated": (
        lambda: Function(
            concatenated,
            *(convolution(3, 32), convolution(32, 48), nn.ConvTranspose2d(48, 32, 2, 2), convolution(64, 32)),
        ),
        (3, 12, 12),
        dict(
            quantize=2, quantized_convolution=3, quantized_max_pool=1, quantized_concat=1, dequantize=2, convolution=1
        ),
    ),
    "normalised after": (
        lambda: Function(normalised_after, convolution(3, 32), nn.BatchNorm2d(32), convolution(32, 32)),
        (3, 12, 12),
        dict(quantize=1, quantized_convolution=3, dequantize=1),
    ),
    "sequence": (
        lambda: Function(sequence, nn.Conv1d(16, 48, 5, padding=2), nn.Conv1d(48, 32, 3, dilation=2)),
        (16, 40),
        dict(quantize=1, quantized_convolution=2, quantized_average_pool=1, dequantize=1),
    ),
    "groups": (
        lambda: nn.Sequential(
            *(convolution(3, 32), nn.ReLU6(), convolution(32, 32, groups=32), nn.ReLU6()),
            *(convolution(32, 64, groups=4), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
        ),
        (3, 12, 12),
        dict(quantize=1, quantized_convolution=3, quantized_average_pool=1, dequantize=1, reshape=1, linear=1),
    ),
}


def sparse(build: Build) -> nn.Module:
    """With masks and weights that look like trained ones."""
    torch.manual_seed(0)
    model = build()
    models.make_sparse(model, 0.7, "varying")
    return model.eval()


@pytest.mark.parametrize("is_sparse", [True, False], ids=["sparse", "dense"])
@pytest.mark.parametrize("name", MODELS)
def test_what_is_in_bytes_and_how_far_answers_move(
    name: str, is_sparse: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, shape, kinds = MODELS[name]
    model = sparse(build) if is_sparse else build().eval()
    x = noise(6, *shape)
    with torch.no_grad():
        wanted = model(x)
    runtime = sparbor.deploy(model, x[:1], weights="int8", calibration=[x[:4], x[4:]])
    assert Counter(operation.kind for operation in runtime.program.operations) == kinds
    report = runtime.quantization
    assert report is not None
    assert 1e-4 < report.error < 0.05
    assert report.error == pytest.approx(relative_error(runtime(x), wanted), rel=0.01)
    assert len(report.in_8_bits) >= kinds["quantized_convolution"]
    file = tmp_path / "model.safetensors"
    runtime.save(file)
    for isa in kernel_sets():
        monkeypatch.setenv("SPARBOR_ISA", isa)
        assert relative_error(sparbor.load(file)(x), wanted) < 0.05
    described = {layer.name: layer for layer in sparbor.load(file).describe()}
    for layer, why in report.kept.items():
        assert described[layer].note == why
        assert described[layer].weights != "int8"
    assert all(described[layer].weights == "int8" for layer in report.in_8_bits)


@pytest.mark.parametrize("name", ["concatenated", "gated"])
def test_every_thread_and_item_gets_the_same_answer(name: str) -> None:
    build, shape, _ = MODELS[name]
    x = noise(5, *shape)
    model = sparse(build)
    alone, together = (sparbor.deploy(model, x, weights="int8", calibration=[x], threads=n) for n in (1, 2))
    assert torch.equal(alone(x), together(x))
    assert torch.equal(torch.cat([alone(item[None].contiguous()) for item in x]), alone(x))


# What gains.


def convolutions(*shapes: tuple[int, int, int], size: int, active: float) -> Program:
    """A program of convolutions that read each other, each of so many channels, outputs and such a kernel."""
    random = torch.Generator().manual_seed(0)
    layers = []
    for channels, outputs, kernel in shapes:
        layer = convolution(channels, outputs, kernel)
        with torch.no_grad():
            layer.weight *= torch.rand(layer.weight.shape, generator=random) < active
        layers.append(layer)
    return lower(nn.Sequential(*layers), torch.zeros(1, shapes[0][0], size, size)).packed(Encoding.EXACT)


@pytest.mark.parametrize(
    ("shapes", "active", "in_bytes"),
    [
        ([(64, 64, 3)], 0.5, 1),  # 288 multiply-adds a number that is computed
        ([(64, 64, 1)], 0.3, 0),  # 19, and two conversions for each
        ([(64, 64, 1)] * 4, 0.3, 4),  # the conversions are those of the first and of the last alone
        ([(64, 64, 1), (64, 64, 3)], 0.3, 2),  # the first one's conversion is the other's as well
        ([(64, 64, 3), (64, 256, 1)], 0.1, 1),  # the second reads less than it computes
    ],
)
def test_conversions_do_not_cost_more_than_bytes_save(
    shapes: list[tuple[int, int, int]], active: float, in_bytes: int
) -> None:
    assert len(chosen(Wiring(convolutions(*shapes, size=16, active=active)), ())) == in_bytes


def test_layers_that_are_kept_stay_floats() -> None:
    program = convolutions((64, 64, 3), (64, 64, 3), (64, 64, 3), size=16, active=0.5)
    assert len(chosen(Wiring(program), ())) == 3
    assert chosen(Wiring(program), {"1"}) == {program.operations[0].output, program.operations[2].output}


# Ranges.


def identity(channels: int) -> Program:
    """Max pools of single places: what comes in goes out."""
    value = ValueType("f32", ("batch", channels, 4, 4))
    pool = Operation("max_pool", (0,), 1, settings=Window((1, 1), groups=channels))
    return Program((value, value), (Port("x", 0),), (Port("y", 1),), (pool,))


@pytest.mark.parametrize(
    "numbers",
    [
        noise(64, 3, 4, 4).numpy(),
        noise(64, 3, 4, 4).relu().numpy(),
        -noise(64, 3, 4, 4).relu().numpy() * 1e6,
        noise(64, 3, 4, 4).exp().numpy(),  # a long tail
        noise(64, 3, 4, 4).numpy() * 1e-30 + 1e-28,  # far from 0, which is within nevertheless
    ],
)
def test_no_range_has_a_smaller_error(numbers: np.ndarray) -> None:
    """Of a hundred narrower ones, and of that from the smallest to the largest number."""
    batches = [{"x": numbers[:40]}, {"x": numbers[40:]}]
    within = ranges(identity(3), [0, 1], batches)
    assert within[0] == within[1] == Range(min(0.0, float(numbers.min())), max(0.0, float(numbers.max())))
    found = quantizations(identity(3), within, batches)
    assert found[0] == found[1]

    def error(by: Quantization) -> float:
        return float(np.square(rounded(numbers.astype(np.float64), by) - numbers).sum())

    shares = np.linspace(0.1, 1, 10)
    others = [quantization_of(within[0].low * low, within[0].high * high) for low in shares for high in shares]
    assert error(found[0]) <= 1.02 * min(map(error, others))
    assert rounded(np.zeros(1), found[0]) == 0


def test_a_long_tail_is_cut_off() -> None:
    counts = np.zeros(4096, np.int64)
    counts[:400], counts[-1] = 10000, 1
    assert best_quantization(Range(0.0, 4096.0), counts).step < 0.5 * 4096 / 255


def test_numbers_that_are_all_zero_have_a_step_of_one() -> None:
    assert best_quantization(Range(0.0, 0.0), np.zeros(4096, np.int64)) == Quantization(1.0, 0)
    assert quantization_of(0.0, 1e-45).step == np.finfo(np.float32).tiny


# What loses too much.


class OneLoses(nn.Module):
    """One channel is a thousand times as large as the others, which are what the second layer computes with.

    Bytes keep nothing of the others, neither where the second layer reads them nor where the first one computes them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = (convolution(*each) for each in ((16, 32), (32, 32), (32, 32)))
        with torch.no_grad():
            self.first.weight[0] *= 1000
            self.second.weight[:, 0] = 0

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.last(torch.relu(self.second(torch.relu(self.first(x)))))
        return answer


def test_a_layer_that_loses_too_much_has_16_bits(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = OneLoses().eval(), noise(8, 16, 12, 12)
    with caplog.at_level(logging.INFO, "sparbor"):
        runtime = sparbor.deploy(model, x, weights="int8", calibration=[x])
    report = runtime.quantization
    assert report is not None
    assert list(report.kept) == ["first", "second"]
    assert report.in_8_bits == ("last",)
    assert "8 bits would move its outputs by" in report.kept["second"]
    assert report.error < 0.05
    assert "8 bits move the answers to the calibration inputs by" in caplog.text
    runtime.save(tmp_path / "model.safetensors")
    (second,) = (layer for layer in sparbor.load(tmp_path / "model.safetensors").describe() if layer.name == "second")
    assert second.weights == "halves"
    assert second.note == report.kept["second"]
    assert report.kept["second"] in second.why


def test_layers_have_16_bits_until_answers_move_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantizing, "LARGEST_ERROR", 1e-6)
    monkeypatch.setattr(quantizing, "TIMES_16_BITS", 1)
    build, shape, _ = MODELS["residual"]
    x = noise(6, *shape)
    report = sparbor.deploy(sparse(build), x, weights="int8", calibration=[x]).quantization
    assert report is not None
    assert report.in_8_bits == ()
    assert len(report.kept) == 3


def test_layers_whose_sums_may_not_fit_have_16_bits() -> None:
    wide = nn.Sequential(nn.Conv2d(8192, 16, 3, padding=1), nn.ReLU(), convolution(16, 32))
    nn.init.ones_(wide[0].weight)
    x = noise(2, 8192, 3, 3)
    report = sparbor.deploy(wide.eval(), x, weights="int8", calibration=[x]).quantization
    assert report is not None
    assert "with a fan-in of 73728" in report.kept["0"]


def test_biases_take_back_what_rounding_does_to_means() -> None:
    """A neuron that lost all its weights is the same small number everywhere, which a large weight reads."""
    torch.manual_seed(0)
    model = nn.Sequential(convolution(3, 32), nn.ReLU(), nn.Conv2d(32, 32, 1)).eval()
    with torch.no_grad():
        model[0].weight[:16] = 0
        model[0].bias[:16] = 0.004  # less than half a step
        model[2].weight[:, :16] = 20.0
    x = noise(4, 3, 12, 12)
    runtime = sparbor.deploy(model, x, weights="int8", calibration=[x])
    assert runtime.quantization is not None
    assert runtime.quantization.in_8_bits == ("0", "2")
    with torch.no_grad():
        moved = (runtime(x) - model(x)).mean((0, 2, 3))
    assert moved.abs().max() < 0.01 < 16 * 20 * 0.004


# Arguments.


def small() -> nn.Module:
    return nn.Sequential(convolution(3, 32), nn.ReLU(), convolution(32, 32))


GOOD = noise(2, 3, 8, 8)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (GOOD, "calibration is a Tensor: pass a list of batches"),
        ({"input": GOOD}, "calibration is a dict: pass a list of batches"),
        (3, "calibration is a int: pass a list of batches"),
        ([], "calibration holds no inputs: pass a list of batches"),
        ([GOOD, "x"], r"calibration\[1\] is a str: pass one input as a tensor"),
        ([GOOD, GOOD[:0]], r"calibration\[1\] has shape \(0, 3, 8, 8\): it must be \(batch, ...\) and not empty"),
        ([GOOD, GOOD * torch.nan], r"calibration\[1\] holds NaN or infinity in input: pass inputs as the model"),
        ([GOOD / 0], r"calibration\[0\] holds NaN or infinity in input"),
        ([GOOD, GOOD[:, :2]], r"calibration\[1\]: x has shape \(2, 2, 8, 8\): this model's is \(batch, 3, 8, 8\)"),
        ([GOOD, GOOD.double()], r"calibration\[1\] is torch.float64: the engine takes"),
        ([GOOD, GOOD.byte()], r"calibration\[1\]: x is torch.uint8|calibration\[1\]: x is uint8"),
        ([[GOOD, torch.zeros(2)]], r"calibration\[0\] has the inputs input, input_1, and example input: .*for x, _ in"),
        ([torch.zeros(2, 3, 8, 8)], "calibration holds nothing but 0, and ranges are to be seen in it"),
        ((each for each in ()), "calibration holds no inputs: pass a list of batches"),
        ([None], r"calibration\[0\] is a NoneType: pass one input as a tensor"),
        ([GOOD.long()], r"calibration\[0\]: x is int64, and this model takes float32"),
        ([GOOD.half()], r"calibration\[0\] is torch.float16: the engine takes .*; pass calibration\[0\].float\(\)"),
        ([GOOD.to_sparse()], r"calibration\[0\] is torch.sparse_coo: pass a strided tensor"),
        ([{"x": GOOD}], r"calibration\[0\] has the inputs x, and example input"),
        ([torch.full((2, 3, 8, 8), 5.0)], "calibration holds nothing but 5, and ranges are to be seen in it"),
    ],
)
def test_calibration_inputs_are_such_as_the_example(calibration: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        sparbor.deploy(small(), GOOD, weights="int8", calibration=calibration)


@pytest.mark.parametrize("weights", ["word16", "exact"])
def test_calibration_is_for_8_bits(weights: str) -> None:
    with pytest.raises(ArgumentError, match=f"calibration is given, and weights='{weights}', which round nothing"):
        sparbor.deploy(small(), GOOD, weights=weights, calibration=[GOOD])


@pytest.mark.parametrize("weights", ["int8 ", "INT8", "", None, 8, b"int8", ["int8"], torch.int8])
def test_weights_are_named_as_they_are(weights: object) -> None:
    with pytest.raises(ArgumentError, match=r"^weights=.*: it must be one of word16, exact, int8, auto$"):
        sparbor.deploy(small(), GOOD, weights=weights, calibration=[GOOD])  # type: ignore[arg-type]


def test_what_goes_wrong_as_batches_are_made_is_its_makers() -> None:
    def batches() -> Iterator[Tensor]:
        yield GOOD
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        sparbor.deploy(small(), GOOD, weights="int8", calibration=batches())


def test_ids_of_another_model_are_named_with_their_batch() -> None:
    model = nn.Sequential(nn.Embedding(100, 64), nn.Linear(64, 32)).eval()
    ids = torch.arange(24).reshape(6, 4)
    with pytest.raises(
        ArgumentError, match=r"^calibration\[1\], from item 4 on: .*embedding '0': id 100 at \(0, 0\) is"
    ):
        sparbor.deploy(model, ids, weights="int8", calibration=[ids, ids + 84])


@pytest.mark.parametrize(("size", "kept"), [(1e37, ["4"]), (1e-43, [])], ids=["infinite answers", "not normal"])
def test_inputs_of_any_size_calibrate(size: float, kept: list[str]) -> None:
    """They say little of what the model will be given, but break nothing."""
    model, x = nn.Sequential(small(), nn.ReLU(), convolution(32, 32)), GOOD * size
    model = nn.Sequential(*model[0], *model[1:]).eval()
    with torch.no_grad():
        model[4].weight *= 1000
    report = sparbor.deploy(model, GOOD, weights="int8", calibration=[x]).quantization
    assert report is not None
    assert (list(report.kept), report.in_8_bits) == (kept, tuple(name for name in ("0", "2", "4") if name not in kept))


def test_values_without_a_range_are_said_so() -> None:
    """The logarithm of a negative number is NaN, and no range has that."""

    class OfNaN(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            answer: Tensor = self[1](torch.log(self[0](x)))
            return answer

    model = OfNaN(convolution(3, 32), convolution(32, 32)).eval()
    report = sparbor.deploy(model, GOOD, weights="int8", calibration=[GOOD]).quantization
    assert report is not None
    assert report.in_8_bits == ()
    assert report.kept["1"] == "no 8 bits: what it reads or computes is infinite or NaN for calibration inputs"


def test_batches_may_come_from_anywhere() -> None:
    """From a generator, in tuples as the model takes them, and of other sizes than the example."""
    model = small().eval()
    one = sparbor.deploy(model, GOOD, weights="int8", calibration=[GOOD])
    other = sparbor.deploy(model, GOOD[:1], weights="int8", calibration=((item[None],) for item in GOOD))
    assert torch.equal(one(GOOD), other(GOOD))
    assert (one.input_shape, one.output_shape) == ((3, 8, 8), (32, 8, 8))


def test_raw_bytes_calibrate_too() -> None:
    raw = (255 * torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))).byte()
    settings = {"byte_input": sparbor.ByteInput(0.5, 0.25), "weights": "int8"}
    normalised = (raw / 255 - 0.5) / 0.25
    model = small().eval()
    one, other = (sparbor.deploy(model, GOOD, calibration=[each], **settings) for each in (raw, normalised))
    assert relative_error(one(raw), other(normalised)) < 0.01


def test_zero_values_are_named() -> None:
    model = small()
    nn.init.zeros_(model[0].weight)
    nn.init.constant_(model[0].bias, -1)
    report = sparbor.deploy(model, GOOD, weights="int8", calibration=[GOOD]).quantization
    assert report is not None
    assert report.constant == ("0", "2")
    assert "zero in all calibration inputs: 0, 2" in str(report)


# The faster of both.


@pytest.mark.parametrize(("of_8_bits", "chosen_weights"), [(100, "halves"), (99, "halves"), (90, "int8")])
def test_auto_is_8_bits_where_they_are_faster(
    of_8_bits: int, chosen_weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the clock says is made up; that both are called, and what is made of it, is not."""
    turns: list[object] = []

    def sample(call: Callable[[], object], times: int) -> list[float]:
        call()
        turns.append(call)
        return [100.0 if call is turns[0] else float(of_8_bits)] * times

    monkeypatch.setattr(candidates, "sample", sample)
    runtime = sparbor.deploy(small(), GOOD, weights="auto", calibration=[GOOD])
    assert {layer.weights for layer in runtime.describe()} == {chosen_weights}
    assert len(set(map(id, turns))) == 2


def test_auto_without_calibration_takes_one_of_both() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)).eval()
    x = noise(3, 64)
    with torch.no_grad():
        assert relative_error(sparbor.deploy(model, x, weights="auto")(x), model(x)) < 0.03


def test_auto_is_16_bits_where_8_lose_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(parity._ROUNDING, Encoding.INT8, 1e-9)
    model, x = nn.Sequential(nn.Linear(64, 64)).eval(), noise(3, 64)
    (layer,) = sparbor.deploy(model, x, weights="auto").describe()
    assert layer.weights == "halves"
    with pytest.raises(ArgumentError, match="weights='int8': rounded weights change the model's answer"):
        sparbor.deploy(model, x, weights="int8")


# Notes.


def test_notes_are_texts_that_a_terminal_may_be_shown() -> None:
    program = replace(identity(3), notes={"layer": "no 8 bits: it computes a single pixel"})
    assert from_bytes(to_bytes(program)).notes == program.notes
    for text in ("\x1b[2J", "two\nlines", "\u202e"):
        with pytest.raises(ModelFileError, match=r"the graph is malformed .*a note holds characters"):
            from_bytes(to_bytes(replace(program, notes={"layer": text})))
