"""What models spell out in many operations becomes the engine's one: fewer operations, and the same answers."""

import math
from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import sparbor
from tests.deploying import Function, relative_error

HEADS, FEATURES = 3, 8


def kinds(runtime: sparbor.Runtime) -> Counter[str]:
    return Counter(operation.kind for operation in runtime.program.operations)


def activations(runtime: sparbor.Runtime) -> set[str]:
    return {each.activation.name for each in runtime.program.operations if each.activation}


def deployed(model: nn.Module, *examples: tuple[Tensor, ...]) -> sparbor.Runtime:
    """By the first example; with exact weights it answers all of them as the model does."""
    model.eval()
    runtime = sparbor.deploy(model, examples[0], weights="exact")
    for example in examples:
        with torch.no_grad():
            assert relative_error(runtime(*example), model(*example)) <= 1e-5
    return runtime


class Spelled(nn.Module):
    """Self-attention as people write it; `mask` says what becomes of scores."""

    def __init__(self, mask, *, scale=lambda scores: scores / math.sqrt(FEATURES), by_batch=False):
        super().__init__()
        self.mask, self.scale, self.by_batch = mask, scale, by_batch
        self.project = nn.Linear(HEADS * FEATURES, 3 * HEADS * FEATURES)

    def forward(self, x, seen):
        batch, length, _ = x.shape
        q, k, v = (
            each.view(batch, length, HEADS, FEATURES).transpose(1, 2) for each in self.project(x).chunk(3, dim=-1)
        )
        if self.by_batch:
            q, k, v = (each.reshape(batch * HEADS, length, FEATURES) for each in (q, k, v))
        scores = self.mask(self.scale(q @ k.transpose(-1, -2)), seen, length)
        return (scores.softmax(-1) @ v).reshape(batch, HEADS, length, FEATURES).transpose(1, 2).flatten(2)


def causal(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()


def padding(seen: Tensor) -> Tensor:
    return seen[:, None, None, :]


LOWEST = torch.finfo(torch.float32).min
MASKS = {
    "none": lambda scores, seen, length: scores,
    "filled": lambda scores, seen, length: scores.masked_fill(~padding(seen), -math.inf),
    "filled with a number": lambda scores, seen, length: scores.masked_fill(~padding(seen), -1e9),
    "where": lambda scores, seen, length: torch.where(padding(seen), scores, LOWEST),
    "added": lambda scores, seen, length: scores + torch.where(padding(seen), 0.0, LOWEST),
    "added numbers": lambda scores, seen, length: scores + (1 - padding(seen).float()) * -10000.0,
    "causal": lambda scores, seen, length: scores.masked_fill(~causal(length), -math.inf),
    "causal and padding": lambda scores, seen, length: scores.masked_fill(~(causal(length) & padding(seen)), LOWEST),
}


def example(batch: int = 2, length: int = 6) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    seen = torch.ones(batch, length, dtype=torch.bool)
    seen[0, length - 2 :] = False
    return torch.randn(batch, length, HEADS * FEATURES, generator=random), seen


@pytest.mark.parametrize("mask", MASKS)
def test_attention_that_is_spelled_out(mask) -> None:
    runtime = deployed(Spelled(MASKS[mask]), example(), example(1, 3))
    found = kinds(runtime)
    assert found["attention"] == 1
    assert not {"matmul", "softmax"} & set(found)


@pytest.mark.parametrize(
    "scale",
    [lambda scores: scores, lambda scores: 0.3 * scores, lambda scores: (scores * 0.25) / 2.0],
    ids=["none", "product", "twice"],
)
def test_scales_of_scores(scale) -> None:
    assert kinds(deployed(Spelled(MASKS["filled"], scale=scale), example()))["attention"] == 1


def test_scores_of_heads_that_are_in_the_batch() -> None:
    assert kinds(deployed(Spelled(MASKS["none"], by_batch=True), example(), example(1, 3)))["attention"] == 1


def test_a_query_that_sees_nothing_weighs_all_keys_alike_as_in_pytorch() -> None:
    """A finite number that is added leaves a mean of all values; padding on the left makes such queries."""
    x, seen = example()
    seen = seen.flip(1)
    assert kinds(deployed(Spelled(MASKS["causal and padding"]), example(), (x, seen)))["attention"] == 1


class Guarded(Spelled):
    """With a guard against NaN, as PyTorch's exporter to ONNX writes attention."""

    def forward(self, x, seen):
        batch, length, _ = x.shape
        q, k, v = (
            each.view(batch, length, HEADS, FEATURES).transpose(1, 2) for each in self.project(x).chunk(3, dim=-1)
        )
        shares = self.mask(q @ k.transpose(-1, -2), seen, length).softmax(-1)
        shares = torch.where(torch.isnan(shares), torch.zeros(()), shares)
        return (shares @ v).transpose(1, 2).flatten(2)


def test_a_guard_against_queries_that_see_nothing_is_part_of_attention() -> None:
    model = Guarded(lambda s, seen, length: s.masked_fill(~(causal(length) & padding(seen)), -math.inf))
    from_the_left = torch.arange(7) > torch.tensor([[-1], [3]])  # the second's first queries see no key
    runtime = deployed(model, (torch.randn(2, 7, HEADS * FEATURES), from_the_left))
    assert kinds(runtime)["attention"] == 1
    assert not kinds(runtime)["where"]


def test_what_is_no_attention_stays_as_it_is() -> None:
    """Weights that are an answer too, and scores that are scaled by a negative number or shifted."""
    model = Spelled(MASKS["none"])
    model.forward = lambda x: (lambda w: torch.cat([w @ x, w], -1))((x @ x.transpose(-1, -2)).softmax(-1))
    x = torch.randn(2, 5, 8)
    assert "attention" not in kinds(deployed(model, (x,)))
    negative = Function(lambda x: (x @ x.transpose(-1, -2) * -0.1).softmax(-1) @ x)
    assert "attention" not in kinds(deployed(negative, (x,)))
    shifted = Function(lambda x: (x @ x.transpose(-1, -2) + x[:, :, :1].relu() * x[:, :, 1:2]).softmax(-1) @ x)
    deployed(shifted, (x,))


def test_heads_that_share_keys_read_them_where_they_are() -> None:
    def grouped(x):
        q, k = x.unflatten(-1, (4, 8)).transpose(1, 2), x[..., :16].unflatten(-1, (2, 8)).transpose(1, 2)
        batch, heads, length, features = k.shape
        k = k[:, :, None].expand(batch, heads, 2, length, features).reshape(batch, 4, length, features)
        return F.scaled_dot_product_attention(q, k, k)

    runtime = deployed(Function(grouped), (torch.randn(2, 5, 32),))
    assert "expand" not in kinds(runtime)


def test_a_mask_that_hides_nothing_is_none() -> None:
    def seen_by_all(x):
        mask = torch.ones(1, 1, 5, 1, dtype=torch.bool).expand(x.shape[0], 1, 5, 5)
        return F.scaled_dot_product_attention(x, x, x, mask)

    runtime = deployed(Function(seen_by_all), (torch.randn(2, 3, 5, 8),))
    (attention,) = (each for each in runtime.program.operations if each.kind == "attention")
    assert len(attention.inputs) == 3


def test_a_mask_of_padding_is_read_as_it_is_given() -> None:
    """Transformers computes it with positions and indices, for each query."""
    pytest.importorskip("transformers")
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    torch.manual_seed(0)
    model = BertModel(BertConfig(vocab_size=50, max_position_embeddings=20, **sizes), add_pooling_layer=False).eval()
    ids, mask = torch.randint(50, (3, 7)), torch.ones(3, 7, dtype=torch.int64)
    mask[1, 4:] = 0
    runtime = sparbor.deploy(model, {"input_ids": ids, "attention_mask": mask}, weights="exact")
    for given in ((ids, mask), (ids[1:2, :4], mask[1:2, :4])):
        with torch.no_grad():
            expected = model(given[0], attention_mask=given[1]).last_hidden_state
        assert relative_error(runtime(input_ids=given[0], attention_mask=given[1]), expected) <= 1e-5
    (attention,) = (each for each in runtime.program.operations if each.kind == "attention")
    assert runtime.program.values[attention.inputs[3]].shape == ("batch", 1, 1, "sequence")
    assert not {"take", "remainder", "range", "logical_and"} & set(kinds(runtime))


def rms(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def layer_norm(x: Tensor) -> Tensor:
    apart = x - x.mean(-1, keepdim=True)
    return apart / torch.sqrt((apart * apart).mean(-1, keepdim=True) + 1e-5)


@pytest.mark.parametrize(
    ("norm", "kind"),
    [
        (rms, "rms_norm"),
        (lambda x: x / (x * x).mean(-1, keepdim=True).add(1e-5).sqrt(), "rms_norm"),
        (lambda x: x * (1 / torch.sqrt((x**2).mean(-1).unsqueeze(-1) + 1e-5)), "rms_norm"),
        (layer_norm, "layer_norm"),
        (
            lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt(),
            "layer_norm",
        ),
    ],
    ids=["rms", "rms by a root", "rms by a reciprocal", "layer norm", "layer norm by a variance"],
)
@pytest.mark.parametrize("scaled", [False, True])
def test_norms_that_are_spelled_out(norm, kind, scaled) -> None:
    torch.manual_seed(0)
    weight, bias = nn.Linear(8, 16), nn.Parameter(torch.randn(16))
    weight.extra = bias
    model = Function(lambda x, layer: norm(layer(x)) * layer.extra if scaled else norm(layer(x)), weight)
    found = kinds(deployed(model, (torch.randn(3, 8),), (torch.randn(1, 8),)))
    assert found == {"linear": 1, kind: 1}


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        (lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))), "gelu"),
        (lambda x: x * 0.5 * (1.0 + torch.erf(x * 0.7071067811865476)), "gelu"),
        (lambda x: x * ((torch.erf(x / 1.4142135623730951) + 1) / 2), "gelu"),
        (lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), "gelu_tanh"),
        (lambda x: 0.5 * x * (1 + torch.tanh(x * 0.7978845608 * (1 + 0.044715 * x * x))), "gelu_tanh"),
        (lambda x: x * torch.sigmoid(x), "silu"),
        (lambda x: torch.sigmoid(x) * x, "silu"),
    ],
    ids=["erf", "erf of a product", "erf halved", "tanh", "tanh of a product", "silu", "silu the other way round"],
)
def test_activations_that_are_spelled_out_join_the_layer_before(spelled, name) -> None:
    torch.manual_seed(0)
    runtime = deployed(Function(lambda x, layer: spelled(layer(x)), nn.Linear(8, 16)), (torch.randn(3, 8),))
    assert kinds(runtime) == {"linear": 1}
    assert activations(runtime) == {name}


@pytest.mark.parametrize(
    "spelled",
    [
        lambda x: x * torch.sigmoid(1.702 * x),
        lambda x: 0.5 * x * (1 + torch.tanh(0.8 * (x + 0.05 * x**3))),
        lambda x: x * torch.sigmoid(x) + 1,
        lambda x: x.roll(1, -1) * torch.sigmoid(x),
    ],
    ids=["quick gelu", "other coefficients", "something more", "another value"],
)
def test_what_is_like_an_activation_stays_itself(spelled) -> None:
    torch.manual_seed(0)
    runtime = deployed(Function(lambda x, layer: spelled(layer(x)), nn.Linear(8, 16)), (torch.randn(3, 8),))
    assert not activations(runtime) & {"gelu", "gelu_tanh"}
