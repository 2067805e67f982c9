"""Attention: its packed projections are sparse as every other weight is; its oracle is the dense masked attention."""

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import sparbor
from bench.job.models import TASKS
from sparbor import NM, Perforator, Quads, Recipe, Schedule, Slots, Unstructured
from sparbor.errors import ArgumentError, StateError
from sparbor.nn.neuron import PAINeuronModule
from sparbor.recipe.pattern import Pattern
from sparbor.topology.units import slot_counts
from tests.deploying import relative_error

torch.set_num_threads(1)

STEPS = 20
RECIPE = Recipe(sparsity=0.8, schedule=Schedule(interval=3))


class Crossing(nn.Module):
    """Attention to another sequence, whose keys and values have sizes of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(32, 4, kdim=24, vdim=40, add_bias_kv=True, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.attn(x, x[..., :24].tanh(), torch.cat([x, x[..., :8]], -1), need_weights=False)[0]
        return y


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(32, 2, 48, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


class Decoding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(32, 2, 48, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x, x.flip(1))
        return y


MODELS: dict[str, Callable[[], nn.Module]] = {"encoder": encoder, "decoder": Decoding, "own sizes": Crossing}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.5),
}


@pytest.fixture(params=[True, False], ids=["fast path", "no fast path"])
def _fast_path(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(request.param)
    yield
    torch.backends.mha.set_fastpath_enabled(before)


def batches(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 6, 32, generator=generator) for _ in range(count)]


def begin(
    name: str, make: Callable[[Any], torch.optim.Optimizer] = OPTIMIZERS["adamw"], recipe: Recipe = RECIPE
) -> tuple[nn.Module, torch.optim.Optimizer, Perforator]:
    torch.manual_seed(0)
    model = MODELS[name]()
    optimizer = make(model.parameters())
    return model, optimizer, sparbor.perforate(model, optimizer, recipe, total_steps=STEPS)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
    (model(x) - x.roll(1, 1)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, first: int = 0, last: int = STEPS) -> None:
    for x in batches(last)[first:]:
        step(model, optimizer, x)


def oracle(model: nn.Module, name: str) -> nn.Module:
    """The plain model, whose weights are multiplied by the masks."""
    dense = MODELS[name]().train(model.training)
    masked = {}
    for path, parameter in model.named_parameters():
        masked[path.replace("main_module.", "")] = parameter.detach().clone()
    for path, module in model.named_modules():
        if isinstance(module, PAINeuronModule):
            masked[f"{path}.{module.weight_path}".replace("main_module.", "")] *= module.mask
    dense.load_state_dict(masked)
    return dense


def dendritic(model: nn.Module) -> list[PAINeuronModule]:
    return [module for module in model.modules() if isinstance(module, PAINeuronModule)]


# The pattern.


@pytest.mark.parametrize(("size", "neurons"), [(32, [16, 16] * 3), (40, [16, 16, 8] * 3), (8, [8] * 3)])
def test_a_slot_lies_within_queries_keys_or_values(size: int, neurons: list[int]) -> None:
    module = PAINeuronModule(nn.MultiheadAttention(size, 2), "attn", sparsity=0.75)
    module.set_mode("d")
    assert module.weight is module.in_proj_weight is module.main_module.in_proj_weight
    assert module.mask.shape == (3 * size, size)
    counts = slot_counts(module.mask, Slots(), module.groups)
    assert (counts * torch.tensor(neurons)[:, None]).sum() == module.mask.sum()
    assert abs(module.active_weights() - 0.25 * module.mask.numel()) < 16
    assert module.active_parameters() == module.active_weights() + 3 * size, "the output projection is another layer"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("pattern", "distribution"),
    [(p, d) for p in (Slots(), Unstructured()) for d in ("uniform", "erk", "global")]
    + [(Quads(), "erk"), (NM(1, 4), "uniform")],
    ids=str,
)
def test_budgets_are_kept(name: str, pattern: Pattern, distribution: Any) -> None:
    recipe = Recipe(0.8, pattern=pattern, distribution=distribution, schedule=Schedule(interval=3))
    model, optimizer, perforator = begin(name, recipe=recipe)
    train(model, optimizer)
    assert [finding.name for finding in perforator.findings if finding.taken] == list(perforator.modules)
    for module in perforator.modules.values():
        if isinstance(pattern, NM):
            assert (module.mask.view(-1, 4).sum(1) <= 1).all()
        if distribution == "uniform":
            assert abs(module.active_weights() - 0.2 * module.mask.numel()) < 16
    weights = sum(module.mask.numel() for module in perforator.modules.values())
    assert abs(perforator.density() - 0.2) * weights < 16 * pattern.synapses * len(perforator.modules)


# The invariants of training.


@pytest.mark.parametrize("method", ["rigl", "set"])
@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_invariants(name: str, optimizer_name: str, method: Any) -> None:
    recipe = Recipe(0.8, method=method, distribution="uniform", schedule=Schedule(interval=3, drop_fraction=0.3))
    model, optimizer, perforator = begin(name, OPTIMIZERS[optimizer_name], recipe)
    parameters = list(model.parameters())
    born = dict.fromkeys(perforator.modules, 0)
    for x in batches(STEPS):
        before = [module.mask.clone() for module in perforator.modules.values()]
        plain = oracle(model, name)
        output = model(x)
        torch.testing.assert_close(output, plain(x))
        output.square().mean().backward()
        plain(x).square().mean().backward()
        for (path, module), mask in zip(perforator.modules.items(), before, strict=True):
            dense = plain.get_parameter(path if module.weight_name != "weight" else f"{path}.weight").grad
            torch.testing.assert_close(module.weight.grad, dense * mask)
        optimizer.step()
        optimizer.zero_grad()
        for (path, module), old in zip(perforator.modules.items(), before, strict=True):
            assert (module.weight[~module.mask] == 0).all()
            newborn = module.mask & ~old
            born[path] += int(newborn.sum())
            assert (module.weight[newborn] == 0).all()
            for value in optimizer.state[module.weight].values():
                if isinstance(value, Tensor) and value.shape == module.mask.shape:
                    assert (value[module.mask != old] == 0).all()
    assert all(born.values()), "every weight was rewired"
    assert perforator.density() == pytest.approx(0.2, abs=0.01)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))


@pytest.mark.usefixtures("_fast_path")
@pytest.mark.parametrize("name", MODELS)
def test_it_evaluates_as_the_masked_model_does(name: str) -> None:
    model, optimizer, _ = begin(name)
    train(model, optimizer)
    model.eval()
    (x,) = batches(1)
    for each in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with torch.inference_mode():
            torch.testing.assert_close(each(x), oracle(each, name)(x))
    model.train()
    torch.testing.assert_close(model(x), oracle(model, name)(x))


@pytest.mark.usefixtures("_fast_path")
@pytest.mark.parametrize("name", MODELS)
def test_a_copy_uses_no_dropped_weight_whatever_it_holds(name: str) -> None:
    """As in an average of weights: a fast path that reads weights by attribute must not see those either."""
    model, optimizer, perforator = begin(name)
    train(model, optimizer)
    (x,) = batches(1)
    perforator.detach()
    for twin in (model, copy.deepcopy(copy.deepcopy(model)), pickle.loads(pickle.dumps(model))):
        with torch.no_grad():
            for module in dendritic(twin):
                module.weight.add_(1.0)
        for mode in (True, False):
            twin.train(mode)
            with torch.no_grad():
                expected = oracle(twin, name)(x)
                torch.testing.assert_close(twin(x), expected)
        assert torch.equal(sparbor.unwrap(twin)(x), twin(x))
        torch.testing.assert_close(twin(x), expected)


def test_an_average_takes_the_masks() -> None:
    model, optimizer, perforator = begin("own sizes")
    averaged = AveragedModel(model)
    for x in batches(STEPS):
        step(model, optimizer, x)
        averaged.update_parameters(model)
    perforator.mask_copy(averaged)
    for mine, theirs in zip(dendritic(model), dendritic(averaged), strict=True):
        assert torch.equal(mine.mask, theirs.mask)
        assert (theirs.weight[~theirs.mask] == 0).all()


def test_padding_and_nested_tensors() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 2, 48, batch_first=True), 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    perforator = sparbor.perforate(model, optimizer, Recipe(schedule=Schedule(warmup=0, ramp_end=0)), total_steps=9)
    (x,) = batches(1)
    padding = torch.arange(6) >= torch.tensor([6, 4, 5, 2])[:, None]
    model.eval()
    with torch.inference_mode():
        kept, alone = model(x, src_key_padding_mask=padding), copy.deepcopy(model)(x, src_key_padding_mask=padding)
        assert perforator.density() == pytest.approx(0.1, abs=0.01)
        plain = sparbor.unwrap(model)(x, src_key_padding_mask=padding)
    torch.testing.assert_close(kept, plain)
    torch.testing.assert_close(alone, plain)


@pytest.mark.parametrize("name", ["decoder", "own sizes"])
def test_compiled(name: str, only_dense_kernels: None) -> None:
    torch._dynamo.reset()
    plain, optimizer, _ = begin(name)
    train(plain, optimizer)
    model, optimizer, perforator = begin(name)
    train(torch.compile(model, backend="aot_eager", fullgraph=True), optimizer)  # type: ignore[arg-type]
    assert perforator.density() == pytest.approx(0.2, abs=0.01)
    for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    (x,) = batches(1)
    twin = copy.deepcopy(model)
    for mode in (True, False):
        torch.testing.assert_close(torch.compile(twin.train(mode), backend="eager", fullgraph=True)(x), model(x))
    torch._dynamo.reset()


# State.


@pytest.mark.parametrize("name", MODELS)
def test_a_run_resumes_bit_for_bit(name: str) -> None:
    parts = begin(name)
    model, optimizer, perforator = parts
    train(model, optimizer, 0, 12)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts], file)
    train(model, optimizer, 12)
    file.seek(0)
    others = begin(name)
    for part, state in zip(others, torch.load(file), strict=True):
        part.load_state_dict(state)
    train(*others[:2], 12)
    assert perforator.steps == others[2].steps == STEPS
    for first, second in zip(model.state_dict().items(), others[0].state_dict().items(), strict=True):
        assert first[0] == second[0]
        assert torch.equal(first[1], second[1])


@pytest.mark.parametrize(("name", "path"), [("encoder", "layers.0.self_attn.in_proj"), ("own sizes", "attn.v_proj")])
def test_a_dense_checkpoint_is_refused_before_anything_changes(name: str, path: str) -> None:
    model, _, _ = begin(name)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(StateError, match=rf"the state dict holds a dense layer '{path}_weight', the model a dendritic"):
        model.load_state_dict(MODELS[name]().state_dict())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_dense_output_projection_is_refused() -> None:
    model, _, _ = begin("encoder")
    state = model.state_dict()
    prefix = "layers.1.self_attn.main_module.out_proj."
    del state[f"{prefix}mask"], state[f"{prefix}dendrite_mode"]
    for part in ("weight", "bias"):
        state[f"layers.1.self_attn.out_proj.{part}"] = state.pop(f"{prefix}main_module.{part}")
    with pytest.raises(StateError, match=r"a dense layer 'layers\.1\.self_attn\.out_proj'"):
        model.load_state_dict(state)


@pytest.mark.parametrize("name", MODELS)
def test_unwrap_gives_the_plain_model_back(name: str) -> None:
    model, optimizer, _ = begin(name)
    parameters = list(model.parameters())
    train(model, optimizer)
    (x,) = batches(1)
    expected, masked = model(x), [(module.weight, module.mask) for module in dendritic(model)]
    assert sparbor.unwrap(model) is model
    assert list(model.state_dict()) == list(MODELS[name]().state_dict())
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert all((weight[~mask] == 0).all() for weight, mask in masked)
    assert any(isinstance(module, nn.MultiheadAttention) for module in model.modules())
    assert not dendritic(model)
    torch.testing.assert_close(model(x), expected)
    train(model, optimizer, 0, 1)
    assert any(weight[~mask].any() for weight, mask in masked), "no hook is left"


# By hand, and what cannot be.


def test_by_hand() -> None:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(32, 2, kdim=24, vdim=40)
    module: nn.Module = attention
    for name in ("v_proj_weight", "q_proj_weight", "k_proj_weight"):
        module = PAINeuronModule(module, name, sparsity=0.5, weight_name=name)
        module.set_mode("d")
    assert isinstance(module, PAINeuronModule)
    assert module.embed_dim == 32
    assert [part.get_sparsity() for part in dendritic(module)] == [0.5, 0.5, 0.5]
    assert sum(part.active_parameters() for part in dendritic(module)) == 32 * (32 + 24 + 40) // 2 + 3 * 32
    fixed = sparbor.Recipe(method="fixed")
    perforator = sparbor.perforate(
        nn.Sequential(module), torch.optim.SGD(module.parameters(), 0.1), fixed, total_steps=1
    )
    assert len(perforator.modules) == 3
    assert perforator.density() == 0.5
    assert sparbor.unwrap(module) is attention
    assert int((attention.v_proj_weight == 0).sum()) == 32 * 40 // 2


def test_layers_wrapped_by_hand_are_taken_as_they_are() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(encoder())
    wrapped = PAINeuronModule(model[0].layers[0].self_attn, "mine")  # type: ignore[union-attr, index, arg-type]
    model[0].layers[0].self_attn = wrapped  # type: ignore[union-attr, index]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    assert perforator.modules["0.layers.0.self_attn.in_proj_weight"] is wrapped
    assert list(perforator.modules)[:2] == ["0.layers.0.self_attn.in_proj_weight", "0.layers.0.self_attn.out_proj"]
    train(model, optimizer)
    assert perforator.density() == pytest.approx(0.2, abs=0.01)


def test_parts_are_excluded_frozen_or_tied() -> None:
    model = nn.ModuleDict({"a": nn.MultiheadAttention(32, 2), "b": Crossing(), "c": nn.MultiheadAttention(32, 2)})
    model["b"].attn.k_proj_weight.requires_grad_(False)  # type: ignore[union-attr, operator]
    nn.utils.parametrizations.weight_norm(model["c"], "in_proj_weight")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    recipe = Recipe(exclude=("a.in_proj_weight", "b.attn.v*"))
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=1)
    reasons = {finding.name: finding.reason for finding in perforator.findings}
    assert reasons["a.in_proj_weight"] == reasons["b.attn.v_proj_weight"] == "excluded by the recipe"
    assert reasons["b.attn.k_proj_weight"] == "frozen: its weight needs no gradient"
    assert reasons["c.in_proj_weight"] == "its weight is computed from other parameters (a parametrization)"
    assert list(perforator.modules) == ["a.out_proj", "b.attn.q_proj_weight", "b.attn.out_proj", "c.out_proj"]
    shared = nn.MultiheadAttention(32, 2)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared), "c": nn.Linear(4, 4)})
    perforator = sparbor.perforate(model, torch.optim.SGD(model.parameters(), 0.1), total_steps=1)
    assert list(perforator.modules) == ["a.in_proj_weight", "a.out_proj", "c"], "it stands in two places"
    assert model["a"] is model["b"][0] is perforator.modules["a.in_proj_weight"]  # type: ignore[index]
    assert sparbor.unwrap(model)["b"][0] is shared  # type: ignore[index]
    assert type(shared.out_proj) is type(nn.MultiheadAttention(32, 2).out_proj)


def test_bad_input() -> None:
    attention = nn.MultiheadAttention(32, 2)
    with pytest.raises(ArgumentError, match=r"layer 'x' \(MultiheadAttention\).*no weight 'weight', only 'in_proj_we"):
        PAINeuronModule(attention, "x", weight_name="weight")
    with pytest.raises(ArgumentError, match=r"\(MultiheadAttention\) cannot become dendritic: it already is; name an"):
        PAINeuronModule(PAINeuronModule(attention, "x"), "x")
    optimizer = torch.optim.SGD(attention.parameters(), 0.1)
    with pytest.raises(ArgumentError, match=r"itself a MultiheadAttention layer.*pass torch\.nn\.Sequential\(layer\)"):
        sparbor.perforate(attention, optimizer, total_steps=1)
    with pytest.raises(
        ArgumentError, match=r"exclude='self_attn': matches no layer; the model has in_proj_weight, out"
    ):
        sparbor.perforate(attention, optimizer, Recipe(exclude=("self_attn",)), total_steps=1)


# The benchmark's transformer.


def test_the_vision_transformer_trains_to_its_density() -> None:
    torch.manual_seed(0)
    model = TASKS["mnist-vit"].build()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    perforator = sparbor.perforate(model, optimizer, Recipe(0.9), total_steps=STEPS)
    images, labels, losses = torch.randn(8, 28, 28), torch.arange(8), []
    for _ in range(STEPS + 5):
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert perforator.density() == pytest.approx(0.1, abs=0.002)
    assert "layers.1.self_attn.in_proj_weight" in perforator.modules
    assert losses[-1] < 0.7 * losses[0]
    runtime = sparbor.deploy(model, images, weights="exact")
    model.eval()
    with torch.no_grad():
        assert relative_error(runtime(images), model(images)) <= 1e-5
    assert sum(layer.kind == "sparse" for layer in runtime.describe()) >= 8
