"""A weight that several layers have gets one mask if all read it alike; Hugging Face's Conv1D is a linear layer."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.pytorch_utils import Conv1D

import sparbor
from sparbor import Growth, Perforator, Recipe, Schedule
from sparbor.errors import ArgumentError
from sparbor.nn.layers import why_not_wrappable
from sparbor.nn.neuron import PAINeuronModule
from sparbor.recipe.pattern import Slots
from sparbor.topology.units import slot_counts
from tests.states import assert_resumes_bit_for_bit

torch.set_num_threads(1)

STEPS = 12
RECIPE = Recipe(sparsity=0.8, distribution="uniform", schedule=Schedule(interval=2, drop_fraction=0.3))


def tied(outer: type[nn.Module] = nn.Linear) -> nn.Sequential:
    """Three layers of which the first and the last have one weight."""
    model = nn.Sequential(outer(32, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), outer(32, 32))
    model[4].weight = model[0].weight
    return model


def begin(model: nn.Module, recipe: Recipe = RECIPE, **options: Any) -> tuple[torch.optim.Optimizer, Perforator]:
    optimizer = torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0.1)
    return optimizer, sparbor.perforate(model, optimizer, recipe, total_steps=STEPS, **options)


def batches(first: int = 0, last: int = STEPS) -> list[Tensor]:
    return [torch.randn(4, 32, generator=torch.Generator().manual_seed(at)) for at in range(first, last)]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, first: int = 0, last: int = STEPS) -> None:
    for x in batches(first, last):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def plain_of(model: nn.Module, plain: nn.Module) -> nn.Module:
    """``plain`` with the weights of ``model``, dropped ones included."""
    state = {k.replace("main_module.", ""): v for k, v in model.state_dict().items() if not _is_ours(k)}
    plain.load_state_dict(state)
    return plain


def _is_ours(key: str) -> bool:
    return key.rpartition(".")[2] in ("mask", "dendrite_mode", "neuron_order", "input_order")


@pytest.mark.parametrize("kind", [nn.Linear, Conv1D])
def test_two_users_of_one_weight_learn_under_one_mask(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = tied(kind)
    optimizer, perforator = begin(model)
    assert list(perforator.modules) == ["0", "2"]
    assert [(each.name, each.taken, each.shares) for each in perforator.findings][2] == ("4", False, "0")
    first, born = perforator.modules["0"], 0
    for x in batches():
        before, plain = first.mask.clone(), plain_of(model, tied(kind))
        assert model[4].weight is first.parameter
        output = model(x)
        torch.testing.assert_close(output, plain(x))
        output.square().mean().backward()
        plain(x).square().mean().backward()
        torch.testing.assert_close(first.parameter.grad, plain[0].weight.grad * before)  # type: ignore[index]
        optimizer.step()
        optimizer.zero_grad()
        born += int((first.mask & ~before).sum())
        assert not first.parameter[~first.mask].any()
    assert born
    assert perforator.density() == pytest.approx(0.2, abs=0.01), "the weight counts once"
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    expected = model(x)
    assert sparbor.unwrap(model)[0].weight is model[4].weight  # type: ignore[index]
    torch.testing.assert_close(model(x), expected)


def test_a_run_resumes_bit_for_bit() -> None:
    torch.manual_seed(0)
    start = tied()
    assert_resumes_bit_for_bit(lambda: (model := copy.deepcopy(start), *begin(model)), train)


def test_a_layer_in_two_places_is_one_dendritic_layer() -> None:
    torch.manual_seed(0)
    shared = nn.LSTM(32, 32)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(shared), "c": nn.Linear(32, 32)})
    optimizer, perforator = begin(model)
    assert list(perforator.modules) == ["a.weight_ih_l0", "a.weight_hh_l0", "c"]
    assert model["a"] is model["b"][0]  # type: ignore[index]
    for x in batches():
        (model["c"](model["a"](x)[0]) + model["b"][0](x)[0]).square().mean().backward()  # type: ignore[index]
        optimizer.step()
        optimizer.zero_grad()
    assert perforator.density() == pytest.approx(0.2, abs=0.01)


def test_a_tied_model_deploys_and_its_weights_stay_masked_in_compact_storage() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 128))
    model[2].weight = model[0].weight
    optimizer, perforator = begin(model, storage="compact")
    assert "the weights of 0 stay masked: other layers have its weight too" in str(perforator)
    for at in range(STEPS):
        model(torch.randn(4, 128, generator=torch.Generator().manual_seed(at))).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not perforator.modules["0"].compact
    assert set(perforator.orders.reasons.values()) == {"it shares a parameter with another layer"}
    runtime = sparbor.deploy(model, x := torch.randn(3, 128), weights="exact")
    torch.testing.assert_close(torch.from_numpy(runtime(x.numpy())), model(x).detach())
    assert [layer.active for layer in runtime.describe()] == 2 * [perforator.modules["0"].active_weights()]


# Hugging Face's.


def test_a_conv1d_is_a_linear_layer_the_other_way_round() -> None:
    torch.manual_seed(0)
    layer = Conv1D(40, 64)
    module = PAINeuronModule(layer, "x", sparsity=0.75)
    module.set_mode("d")
    assert module.outputs_first == (40, 64)
    assert module.mask.shape == layer.weight.shape == (64, 40)
    counts = slot_counts(module.mask.T, Slots())
    assert (counts * torch.tensor([16, 16, 8])[:, None]).sum() == module.mask.sum(), "slots are of neurons, not inputs"
    x = torch.randn(3, 5, 64)
    torch.testing.assert_close(module(x), nn.functional.linear(x, (layer.weight * module.mask).T, layer.bias))
    assert module.active_parameters() == module.active_weights() + 40


def test_another_class_of_that_name_is_not_taken_for_it() -> None:
    class Conv1D(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 4))

    assert why_not_wrappable(Conv1D(), Slots()) == "not a linear, convolutional, recurrent or attention layer"


def test_a_gpt2_trains_sparse_but_for_the_embedding_that_its_head_shares() -> None:
    torch.manual_seed(0)
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 16, "vocab_size": 64}
    model = GPT2LMHeadModel(GPT2Config(**sizes, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
    optimizer, perforator = begin(model)
    parts = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    names = [f"transformer.h.{at}.{part}" for at in (0, 1) for part in parts]
    assert list(perforator.modules) == names
    rows = {row.name: row for row in perforator.rows()}
    assert rows["lm_head"].why == "its weight is tied: 'transformer.wte' (Embedding) uses it too"
    assert rows["lm_head"].dense_at_last
    ids = torch.arange(24).view(2, 12)
    for _ in range(STEPS):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert perforator.density() == pytest.approx(0.2, abs=0.01)
    assert perforator.orders.reasons["transformer.h.0.mlp.c_fc"] == "it is a Conv1D"
    plain = plain_of(model, GPT2LMHeadModel(model.config).eval())
    model.eval()
    torch.testing.assert_close(model(ids).logits, plain(ids).logits)


def test_a_conv1d_is_stored_compactly_but_grows_no_dendrites() -> None:
    torch.manual_seed(0)
    model, other = nn.Sequential(Conv1D(128, 128)), nn.Sequential(Conv1D(128, 128))
    other.load_state_dict(model.state_dict())
    xs = [torch.randn(4, 128, generator=torch.Generator().manual_seed(at)) for at in range(STEPS)]
    answers = []
    for each, storage in ((model, "compact"), (other, "masked")):
        optimizer, perforator = begin(each, storage=storage)
        for x in xs:
            each(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        assert perforator.modules["0"].compact == (storage == "compact")
        answers.append(each(xs[0]))
    torch.testing.assert_close(*answers)
    with pytest.raises(ArgumentError, match="but a Conv1D"):
        begin(nn.Sequential(Conv1D(16, 16)), Recipe(growth=Growth(at=(0.5,), layers=("0",))))


def test_multiply_adds_of_a_conv1d_are_counted() -> None:
    model = nn.Sequential(Conv1D(32, 16))
    recipe = sparbor.calibrated(Recipe(budget=sparbor.Budget(multiply_adds=400)), model, torch.randn(2, 3, 16))
    assert [(cost.name, cost.dense) for cost in recipe.budget.costs.layers] == [("0", 3 * 16 * 32)]  # type: ignore[union-attr]


# Volumes.


@pytest.mark.parametrize("kind", [nn.Conv3d, nn.ConvTranspose3d])
def test_convolutions_of_volumes_train_sparse(kind: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(kind(3, 16, 2), nn.ReLU(), kind(16, 32, 2))
    optimizer, perforator = begin(model)
    for at in range(STEPS):
        x = torch.randn(2, 3, 5, 5, 5, generator=torch.Generator().manual_seed(at))
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert list(perforator.modules) == ["0", "2"]
    assert perforator.density() == pytest.approx(0.2, abs=0.01)
    assert all(not module.weight[~module.mask].any() for module in perforator.modules.values())
