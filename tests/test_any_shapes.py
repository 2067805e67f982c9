"""Whole shapes, lowered: any number of inputs and outputs, sizes of any length, and operators of every family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sparbor
from sparbor.errors import ArgumentError
from sparbor.export.onnx.target import export_onnx
from tests.deploying import Function, relative_error


class Several(Function):
    """A function of several inputs, and the layers that it uses."""

    def forward(self, *inputs):
        return self.function(*inputs, *self.layers)


def assert_answers(runtime: sparbor.Runtime, model: nn.Module, *inputs: Tensor, limit: float = 1e-5) -> None:
    with torch.no_grad():
        wanted = model(*inputs)
    computed = runtime(*inputs)
    names = computed if isinstance(computed, dict) else {"": computed}
    answers = [wanted] if isinstance(wanted, Tensor) else wanted.values() if isinstance(wanted, dict) else wanted
    for one, answer in zip(names.values(), answers, strict=True):
        assert one.dtype == answer.dtype
        assert one.shape == answer.shape
        if answer.is_floating_point():
            assert relative_error(one, answer) <= limit
        else:
            assert torch.equal(one, answer)


IMAGES, TOKENS, ROWS = (2, 3, 8, 8), (2, 6, 8), (3, 8)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x, a: a(x) + x.unsqueeze(1), ROWS),
        (lambda x, a: a(x).flatten(), ROWS),
        (lambda x, a: x.t() @ a(x), ROWS),
        (lambda x, a: x.softmax(0) + x.log_softmax(-1), ROWS),
        (lambda x, a: F.linear(x, x) + a(x).mean(), ROWS),
        (lambda x, a: F.linear(x, a.weight * x.shape[0]), ROWS),
        (lambda x, a: x.reshape(-1, 4), ROWS),
        (lambda x, a: x / (x.abs() + 1) - 1 / (x.square() + 2) + x**3 + (x.abs() + 0.1) ** 1.5, ROWS),
        (lambda x, a: torch.where(x > 0, x, -1.0).masked_fill(x < -0.5, 3.0), ROWS),
        (lambda x, a: torch.maximum(x, a(x)).clamp(-1, 1) + torch.clamp(x, min=0.1) + x.clamp(max=a(x)), ROWS),
        (lambda x, a: torch.addcmul(x, a(x), x, value=0.5) + torch.lerp(x, a(x), 0.3), ROWS),
        (lambda x, a: F.prelu(a(x), torch.full((8,), 0.3)) + F.celu(x, 0.7) + F.hardshrink(x) + F.softshrink(x), ROWS),
        (lambda x, a: F.glu(a(x)) + F.threshold(x, 0.1, 2.0)[:, :4] + F.tanhshrink(x)[:, 4:], ROWS),
        (lambda x, a: F.mish(x) + F.softsign(a(x)) + F.logsigmoid(x) + torch.erf(x) + torch.log1p(x.abs()), ROWS),
        (lambda x, a: torch.exp(x) + torch.sin(x) + torch.cos(x) + torch.floor(x) + x.sign() + x.abs().sqrt(), ROWS),
        (lambda x, a: F.normalize(a(x), dim=-1) + x.norm(dim=-1, keepdim=True) + x.norm(1, dim=0), ROWS),
        (lambda x, a: x.cumsum(1) + torch.logsumexp(x, 1, keepdim=True) + x.amin(0), ROWS),
        (lambda x, a: x.argmax(-1), ROWS),
        (lambda x, a: (x > 0).any(1) & (x < 3).all(1) | ~(x[:, 0] == x[:, 1]) ^ (x[:, 2] >= 0), ROWS),
        (lambda x, a: (a(x) * 4).long() // 3 + (x * 5).long() % 4 - (x > 0).long() * 2, ROWS),
        (lambda x, a: sum(part.relu() * i for i, part in enumerate(x.chunk(3, 1))), TOKENS),
        (lambda x, a: x.mean(1) + x.std(1) + x.var(1, unbiased=False) + x.max(1).values + x.sum((1,)), TOKENS),
        (lambda x, a: torch.stack(x.unbind(1), 2).transpose(1, 2).roll((1, -2), (1, 2)).flip(1), TOKENS),
        (lambda x, a: x.repeat(1, 2, 1) + x.repeat_interleave(2, 1) + x.tile(2, 1).sum(1, keepdim=True), TOKENS),
        (lambda x, a: x.tril() + x.triu(1) * 2, TOKENS),
        (lambda x, a: x[:, [2, 0, 1]] + x[:, torch.tensor([0, 1, 2]), :] + x[:, -3:], TOKENS),
        (lambda x, a: torch.einsum("bti,bsi->bts", a(x), x).softmax(1), TOKENS),
        (lambda x, a: F.scaled_dot_product_attention(x, a(x), x, is_causal=True), TOKENS),
        (lambda x, a: F.interpolate(x, scale_factor=2, mode="bilinear"), IMAGES),
        (lambda x, a: F.interpolate(x, size=(11, 13)) + F.interpolate(x, size=(11, 13), mode="nearest-exact"), IMAGES),
        (lambda x, a: F.interpolate(x, scale_factor=1.5, mode="bicubic", align_corners=True), IMAGES),
        (lambda x, a: F.pad(x, (1, 2, 3, 0), mode="reflect") + F.pad(x, (1, 2, 3, 0), mode="circular"), IMAGES),
        (lambda x, a: F.pad(x, (1, 2, 3, 0)) + F.pad(x, (1, 2, 3, 0), value=2.5), IMAGES),
        (lambda x, a: F.pad(x, (0, 0, 0, 0, 1, 1)).relu() + F.pad(x, (-1, 1, -2, 2, 1, 1)), IMAGES),
        (lambda x, a: F.group_norm(x, 3) + F.instance_norm(x), IMAGES),
        (lambda x, a: F.rms_norm(a(x), (8,)) + F.layer_norm(x, (8, 8)), IMAGES),
        (lambda x, a: F.pixel_unshuffle(x, 2), IMAGES),
        (lambda x, a: F.pixel_shuffle(x.view(2 * 0 + x.shape[0], 12, 4, 4), 2), IMAGES),
    ],
)
def test_operators_of_every_family(function: Callable[..., Tensor], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = Function(function, nn.Linear(8, 8)).eval()
    x = torch.randn(shape)
    runtime = sparbor.deploy(model, x, weights="exact")
    assert_answers(runtime, model, x)
    assert_answers(runtime, model, torch.randn(5, *shape[1:]))


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(3, 16, 3, padding_mode="circular", padding=1), nn.PReLU(16), nn.GroupNorm(4, 16)),
        nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 16, 3, 2, 1), nn.ReLU(), nn.MaxPool3d((1, 2, 2))),
        nn.Sequential(nn.Unflatten(1, (1, 3)), nn.Conv3d(1, 16, (1, 3, 3), padding="same"), nn.AdaptiveAvgPool3d(2)),
        nn.Sequential(nn.Unflatten(1, (1, 3)), nn.AvgPool3d(3, 2, 1), nn.AdaptiveMaxPool3d(1), nn.Flatten()),
        nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 16, 5, stride=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1)),
    ],
)
def test_layers_of_images_and_volumes(model: nn.Module) -> None:
    torch.manual_seed(0)
    runtime = sparbor.deploy(model.eval(), torch.randn(IMAGES), weights="exact")
    assert_answers(runtime, model, torch.randn(5, *IMAGES[1:]))


class SentenceEncoder(nn.Module):
    """Embeddings and positions, attention with a padding mask, mean pooling by the mask, and length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(50, 16), nn.Embedding(32, 16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm, self.out = nn.LayerNorm(16), nn.Linear(16, 24)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        x = self.words(input_ids) + self.positions(torch.arange(input_ids.shape[1]))
        x = self.norm(x + self.attention(x, x, x, key_padding_mask=mask == 0, need_weights=False)[0])
        weights = mask.unsqueeze(-1).float()
        pooled = (self.out(x) * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return F.normalize(pooled, dim=-1)


def sentences(batch: int, length: int) -> dict[str, Tensor]:
    """Ids, and a mask of ragged lengths."""
    lengths = torch.arange(batch) * 3 % length + 1
    mask = (torch.arange(length) < lengths[:, None]).long()
    return {"input_ids": torch.randint(50, (batch, length)), "attention_mask": mask}


def test_a_sentence_encoder_is_one_program_for_every_length(tmp_path) -> None:
    torch.manual_seed(0)
    model = SentenceEncoder().eval()
    runtime = sparbor.deploy(model, sentences(2, 9), weights="exact")
    assert [(port.name, port.dtype, port.shape) for port in runtime.inputs] == [
        ("input_ids", "int64", ("batch", "sequence")),
        ("attention_mask", "int64", ("batch", "sequence")),
    ]
    runtime.save(tmp_path / "encoder.safetensors")
    loaded = sparbor.load(tmp_path / "encoder.safetensors")
    for batch, length in [(1, 1), (1, 7), (5, 7), (5, 32)]:
        given = sentences(batch, length)
        with torch.no_grad():
            assert relative_error(runtime(**given), model(**given)) <= 1e-5
        assert torch.equal(loaded(**given), runtime(**given))
        assert torch.equal(runtime(given["input_ids"], given["attention_mask"]), runtime(**given))


def test_a_sentence_encoder_is_exported_to_onnx_with_its_sizes(tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    runtime = sparbor.deploy(SentenceEncoder().eval(), sentences(2, 9), weights="exact")
    export_onnx(runtime.program, tmp_path / "encoder.onnx")
    exported = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    for batch, length in [(1, 1), (5, 7), (2, 32)]:
        given = {name: each.numpy() for name, each in sentences(batch, length).items()}
        torch.testing.assert_close(exported.run(None, given)[0], runtime(**given), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"input_ids": torch.full((1, 4), 50)}, "words.*id 50 at .*0 to 49"),
        ({"attention_mask": torch.zeros(1, 4, dtype=torch.int64)}, "mask hides all keys of item 0"),
        ({"input_ids": torch.zeros(1, 0, dtype=torch.int64)}, "empty"),
        ({"input_ids": torch.zeros(1, 4)}, "input_ids is torch.float32: this model takes int64"),
        ({"input_ids": torch.zeros(4, dtype=torch.int64)}, r"input_ids has shape \(4,\)"),
        ({"input_idds": torch.zeros(4, dtype=torch.int64)}, "input_idds is no input"),
        (
            {name: torch.ones(1, 33, dtype=torch.int64) for name in ("input_ids", "attention_mask")},
            "positions.*id 32 at .*0 to 31",
        ),
    ],
)
def test_calls_that_a_sentence_encoder_refuses(changed: Mapping[str, Tensor], text: str) -> None:
    torch.manual_seed(0)
    model = SentenceEncoder().eval()
    runtime = sparbor.deploy(model, sentences(2, 9), weights="exact")
    good = sentences(1, 4)
    before = runtime(**good)
    with pytest.raises(ArgumentError, match=text) as caught:
        runtime(**{**good, **changed})
    assert "\n" not in str(caught.value)
    assert torch.equal(runtime(**good), before)


class Point(NamedTuple):
    mean: Tensor
    spread: Tensor


@dataclass
class Fields:
    logits: Tensor
    hidden: Any


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (lambda x, a: (a(x), [x.relu(), x + 1]), ["output_0", "output_1_0", "output_1_1"]),
        (lambda x, a: {"policy": a(x).softmax(-1), "value": a(x).sum(-1)}, ["policy", "value"]),
        (lambda x, a: Point(a(x), x * 2), ["mean", "spread"]),
        (lambda x, a: Fields(a(x), {"last": x, "none": None}), ["logits", "hidden_last"]),
        (lambda x, a: Fields(a(x), ()), ["output"]),
    ],
)
def test_outputs_have_the_names_that_the_model_gives_them(answer: Callable[..., Any], names: list[str]) -> None:
    torch.manual_seed(0)
    model, x = Function(answer, nn.Linear(8, 8)).eval(), torch.randn(3, 8)
    runtime = sparbor.deploy(model, x, weights="exact")
    assert [port.name for port in runtime.outputs] == (["logits"] if names == ["output"] else names)
    computed = runtime(x)
    assert (
        relative_error(computed if isinstance(computed, Tensor) else next(iter(computed.values())), model.layers[0](x))
        < 2
    )


def test_two_inputs_and_arguments_that_are_no_tensors() -> None:
    torch.manual_seed(0)
    model = Several(lambda x, y, twice, a, b: (a(x) + b(y)) * (2 if twice else 1), nn.Linear(8, 4), nn.Linear(6, 4))
    x, y = torch.randn(3, 8), torch.randn(3, 6)
    runtime = sparbor.deploy(model.eval(), (x, y, True), weights="exact")
    with torch.no_grad():
        assert relative_error(runtime(x, y), model(x, y, True)) <= 1e-5


def test_sizes_that_are_named() -> None:
    """Two lengths of their own, and one that both inputs share."""
    torch.manual_seed(0)
    model = Several(lambda x, y: F.scaled_dot_product_attention(x, y, y))
    x, y = torch.randn(2, 5, 16), torch.randn(2, 9, 16)
    apart = {"input_0": {0: "batch", 1: "queries"}, "input_1": {0: "batch", 1: "keys"}}
    runtime = sparbor.deploy(model, (x, y), weights="exact", dynamic_shapes=apart)
    assert [port.shape for port in runtime.inputs] == [("batch", "queries", 16), ("batch", "keys", 16)]
    assert_answers(runtime, model, torch.randn(3, 1, 16), torch.randn(3, 40, 16))
    fixed = sparbor.deploy(model, (x, y), weights="exact", dynamic_shapes={"input_0": {}, "input_1": {}})
    assert [port.shape for port in fixed.inputs] == [(2, 5, 16), (2, 9, 16)]
    assert_answers(fixed, model, x, y)


class Shifted(nn.Module):
    """Each token beside the one before it and the one after it, as MobileBERT's embeddings are."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(24, 8)

    def forward(self, x: Tensor) -> Tensor:
        after, before = F.pad(x[:, 1:], [0, 0, 0, 1]), F.pad(x[:, :-1], [0, 0, 1, 0])
        return self.linear(torch.cat([after, x, before], dim=2))


@torch.no_grad()
def test_rows_that_are_shifted_may_be_one() -> None:
    model, x = Shifted(), torch.randn(2, 6, 8)
    runtime = sparbor.deploy(model, x, weights="exact", dynamic_shapes={"input": {0: "batch", 1: "length"}})
    for length in (1, 2, 9):
        x = torch.randn(3, length, 8)
        assert relative_error(runtime(x), model(x)) < 1e-6


def test_a_convolution_over_any_length_is_checked_at_one_that_it_can_have(tmp_path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(4, 16, 5, stride=2), nn.ReLU(), nn.Conv1d(16, 8, 3, stride=2)).eval()
    runtime = sparbor.deploy(model, torch.randn(2, 4, 64), weights="exact")
    assert runtime.inputs[0].shape == ("batch", 4, "length")
    for length in (11, 33, 64, 200):
        assert_answers(runtime, model, torch.randn(2, 4, length))
    with pytest.raises(ArgumentError, match="the model cannot run with batch 1, length 3: a dimension is less than 0"):
        runtime(torch.randn(1, 4, 3))
    runtime.save(tmp_path / "model.safetensors")
    assert_answers(sparbor.load(tmp_path / "model.safetensors"), model, torch.randn(2, 4, 20))


def test_a_buffer_of_one_item_does_not_fit_every_batch() -> None:
    """The graph of `torch.export` holds for any batch; that it does not fit shows when operations are made plain."""

    class Smoothed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("last", torch.zeros(1, 64))

        def forward(self, x: Tensor) -> Tensor:
            self.last = self.last * 0.5 + x
            return self.last

    x = torch.ones(1, 64)
    with pytest.raises(
        ArgumentError, match=r"does not fit every size that is free .*: name those .* by dynamic_shapes"
    ):
        sparbor.deploy(Smoothed(), x)
    runtime = sparbor.deploy(Smoothed(), x, dynamic_shapes={})
    assert [port.shape for port in runtime.inputs] == [(1, 64), (1, 64)]
