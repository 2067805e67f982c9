"""LSTM, GRU and RNN train sparse: each weight has a mask; the oracle is the plain layer with masked weights."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils import _pytree as pytree

import sparbor
from sparbor import Growth, Perforator, Recipe, Schedule
from sparbor.errors import ArgumentError, StateError
from sparbor.lower.chains import chains
from sparbor.lower.recurrent import stand_in
from sparbor.nn.neuron import PAINeuronModule
from tests.states import assert_resumes_bit_for_bit

torch.set_num_threads(1)

STEPS = 12
RECIPE = Recipe(sparsity=0.8, distribution="uniform", schedule=Schedule(interval=2, drop_fraction=0.3))


class Reader(nn.Module):
    """A recurrent layer that reads a sequence, and a head that reads its outputs."""

    def __init__(self, layer: nn.Module, outputs: int) -> None:
        super().__init__()
        self.layer = layer
        self.head = nn.Linear(outputs, 16)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.layer(x)[0])
        return y


class Stepping(nn.Module):
    """A cell, called once for each item of a sequence."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for item in x.unbind(1):
            state = self.cell(item, state)
        return state[0] if isinstance(state, tuple) else state  # type: ignore[return-value]


MODELS: dict[str, Callable[[], nn.Module]] = {
    "LSTM": lambda: Reader(nn.LSTM(24, 20, 2, bidirectional=True, batch_first=True), 40),
    "LSTM with projections": lambda: Reader(nn.LSTM(24, 32, proj_size=16, batch_first=True, bias=False), 16),
    "GRU": lambda: Reader(nn.GRU(24, 32, 2, batch_first=True), 32),
    "RNN": lambda: Reader(nn.RNN(24, 32, bidirectional=True, batch_first=True), 64),
    "LSTMCell": lambda: Stepping(nn.LSTMCell(24, 32)),
    "GRUCell": lambda: Stepping(nn.GRUCell(24, 32)),
}


def begin(name: str, recipe: Recipe = RECIPE, **options: Any) -> tuple[nn.Module, torch.optim.Optimizer, Perforator]:
    torch.manual_seed(0)
    model = MODELS[name]()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0.1)
    return model, optimizer, sparbor.perforate(model, optimizer, recipe, total_steps=STEPS, **options)


def batches(first: int = 0, last: int = STEPS) -> list[Tensor]:
    return [torch.randn(3, 5, 24, generator=torch.Generator().manual_seed(at)) for at in range(first, last)]


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
    model(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, first: int = 0, last: int = STEPS) -> None:
    for x in batches(first, last):
        step(model, optimizer, x)


def dendritic(model: nn.Module) -> list[PAINeuronModule]:
    return [module for module in model.modules() if isinstance(module, PAINeuronModule)]


def oracle(model: nn.Module, name: str) -> nn.Module:
    """The plain model with the weights of ``model`` times their masks."""
    plain = MODELS[name]()
    weights = {key.replace("main_module.", ""): value.detach() for key, value in model.named_parameters()}
    for path, module in model.named_modules():
        if isinstance(module, PAINeuronModule):
            key = f"{path}.{module.weight_path}".replace("main_module.", "")
            weights[key] = weights[key] * module.mask
    plain.load_state_dict(weights)
    return plain


def test_each_weight_of_each_layer_and_direction_is_listed_by_name() -> None:
    _, _, perforator = begin("LSTM")
    names = [f"layer.weight_{part}_l{at}{way}" for at in (0, 1) for way in ("", "_reverse") for part in ("ih", "hh")]
    assert list(perforator.modules) == [*names, "head"]
    assert sum(each.weights for each in perforator.findings) == sum(p.numel() for p in MODELS["LSTM"]().parameters())
    assert list(begin("LSTM with projections")[2].modules)[:3] == [f"layer.weight_{p}_l0" for p in ("ih", "hh", "hr")]
    assert list(begin("GRUCell")[2].modules) == ["cell.weight_ih", "cell.weight_hh"]


def test_a_layer_is_excluded_by_its_own_name_or_by_that_of_a_weight() -> None:
    _, _, perforator = begin("GRU", Recipe(exclude=("layer.weight_hh*",)))
    assert list(perforator.modules) == ["layer.weight_ih_l0", "layer.weight_ih_l1", "head"]
    assert list(begin("GRU", Recipe(exclude=("layer",)))[2].modules) == ["head"]


@pytest.mark.parametrize("method", ["rigl", "set"])
@pytest.mark.parametrize("name", MODELS)
def test_it_computes_learns_and_is_rewired_as_the_masked_layer(name: str, method: Any) -> None:
    recipe = Recipe(0.8, method=method, distribution="uniform", schedule=Schedule(interval=2, drop_fraction=0.3))
    model, optimizer, perforator = begin(name, recipe)
    parameters, born = list(model.parameters()), dict.fromkeys(perforator.modules, 0)
    for x in batches():
        before = {path: module.mask.clone() for path, module in perforator.modules.items()}
        plain = oracle(model, name)
        output = model(x)
        torch.testing.assert_close(output, plain(x))
        output.square().mean().backward()
        plain(x).square().mean().backward()
        for path, module in perforator.modules.items():
            dense = plain.get_parameter(path if module.weight_name != "weight" else f"{path}.weight").grad
            torch.testing.assert_close(module.parameter.grad, dense * before[path])
        optimizer.step()
        optimizer.zero_grad()
        for path, module in perforator.modules.items():
            newborn = module.mask & ~before[path]
            born[path] += int(newborn.sum())
            assert not module.weight[~module.mask].any()
            assert not module.weight[newborn].any()
            assert not optimizer.state[module.parameter]["exp_avg"][module.mask != before[path]].any()
    for path, module in perforator.modules.items():
        assert born[path] or path == "head", "every weight of the recurrent layer was rewired"
        assert abs(module.active_weights() - 0.2 * module.mask.numel()) < 16
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_copies_and_pickles_mask_whatever_they_hold(name: str) -> None:
    model, optimizer, perforator = begin(name)
    train(model, optimizer)
    perforator.detach()
    (x,) = batches(0, 1)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.deepcopy(copy.deepcopy(model))):
        torch.testing.assert_close(twin(x), oracle(model, name)(x))
        with torch.no_grad():
            for module in dendritic(twin):
                module.weight.add_(1.0)
        expected = oracle(twin, name)(x)
        torch.testing.assert_close(twin(x), expected)
        twin(x).sum().backward()
        assert all(not module.parameter.grad[~module.mask].any() for module in dendritic(twin))
        torch.testing.assert_close(copy.deepcopy(twin)(x), expected)
        torch.testing.assert_close(sparbor.unwrap(twin)(x), expected)


@pytest.mark.parametrize("name", MODELS)
def test_a_run_resumes_bit_for_bit(name: str) -> None:
    parts, others = assert_resumes_bit_for_bit(lambda: begin(name), train)
    (x,) = batches(0, 1)
    assert torch.equal(parts[0](x), others[0](x))


def test_a_dense_checkpoint_is_refused() -> None:
    model, _, _ = begin("GRU")
    with pytest.raises(StateError, match=r"a dense layer 'layer\.weight_hh_l1', the model a dendritic"):
        model.load_state_dict(MODELS["GRU"]().state_dict())


@pytest.mark.parametrize("name", MODELS)
def test_unwrap_gives_the_plain_model_back(name: str) -> None:
    model, optimizer, _ = begin(name)
    train(model, optimizer)
    (x,) = batches(0, 1)
    expected = model(x)
    assert list(sparbor.unwrap(model).state_dict()) == list(MODELS[name]().state_dict())
    assert torch.equal(model(x), expected)


def test_by_hand() -> None:
    torch.manual_seed(0)
    layer = nn.LSTM(16, 16)
    outer = PAINeuronModule(PAINeuronModule(layer, "in", sparsity=0.5), "state", weight_name="weight_hh_l0")
    for module in dendritic(outer):
        module.set_mode("d")
    assert [module.weight_name for module in dendritic(outer)] == ["weight_hh_l0", "weight_ih_l0"]
    assert [module.get_sparsity() for module in dendritic(outer)] == [pytest.approx(0.9, abs=0.01), 0.5]
    masked = {f"weight_{part}_l0": getattr(layer, f"weight_{part}_l0") * module.mask
              for part, module in zip(("hh", "ih"), dendritic(outer), strict=True)}  # fmt: skip
    x = torch.randn(7, 2, 16)
    torch.testing.assert_close(outer(x)[0], torch.func.functional_call(layer, masked, (x,))[0])
    outer.set_mode("n")
    assert outer.mask.all()
    with pytest.raises(ArgumentError, match="no weight 'weight', only 'weight_ih_l0', 'weight_hh_l0'"):
        PAINeuronModule(layer, "x", weight_name="weight")
    packed = pack_sequence([torch.randn(n, 16) for n in (4, 2)])
    assert outer(packed)[0].data.shape == (6, 16)


def test_weights_stay_masked_in_compact_storage_and_dendrites_do_not_grow() -> None:
    model, optimizer, perforator = begin("GRU", storage="compact")
    train(model, optimizer)
    assert not any(module.compact for module in perforator.modules.values() if module.name.startswith("layer."))
    assert "the weights of each of 4 layers stay masked: it computes with its weight itself" in str(perforator)
    with pytest.raises(ArgumentError, match=r"no layer can grow.*Linear.* layer itself, but a GRU"):
        begin("GRU", Recipe(growth=Growth(at=(0.5,), layers=("layer.*",))))


def test_the_neurons_of_layers_around_it_keep_their_order() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(24, 24), MODELS["LSTM"](), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    train(model, optimizer)
    assert [chain.layer.name for chain in perforator.orders.found] == ["1.head", "2"]
    assert "1.layer" in perforator.orders.reasons
    assert perforator.orders.reasons["0"].startswith("recurrent reads it")
    assert not perforator.modules["1.layer.weight_ih_l0"].is_permuted()


def test_each_item_of_a_sequence_costs_multiply_adds() -> None:
    recipe = Recipe(budget=sparbor.Budget(multiply_adds=9000))
    (x,) = batches(0, 1)
    recipe = sparbor.calibrated(recipe, MODELS["GRU"](), x)
    assert recipe.budget is not None
    assert recipe.budget.costs is not None
    costs = {cost.name: cost.dense for cost in recipe.budget.costs.layers}
    assert costs["layer.weight_ih_l0"] == 5 * 96 * 24
    assert costs["layer.weight_hh_l1"] == 5 * 96 * 32
    model, optimizer, perforator = begin("GRU", recipe)
    train(model, optimizer)
    assert perforator.cost() == pytest.approx(9000, rel=0.02)


@pytest.mark.parametrize(
    "layer",
    [
        nn.LSTM(24, 20, 2, bidirectional=True, batch_first=True),
        nn.LSTM(24, 20, proj_size=8),
        nn.GRU(24, 20, bidirectional=True),
        nn.RNN(24, 20, 2, batch_first=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("batched", [True, False])
def test_looking_at_a_model_does_not_follow_long_sequences(layer: nn.RNNBase, batched: bool) -> None:
    """What stands in for the layer has its results' shapes, and is gone after it; 5000 items would take minutes."""
    x = torch.zeros(3, 4, 24) if batched else torch.zeros(4, 24)
    expected = layer(x)
    stand_in(layer)
    shapes, wanted = ([each.shape for each in pytree.tree_leaves(result)] for result in (layer(x), expected))
    del layer.forward
    assert shapes == wanted
    model = nn.Sequential(PAINeuronModule(layer), Taking(), PAINeuronModule(nn.Linear(wanted[0][-1], 32)), nn.ReLU())
    model.append(nn.Linear(32, 4))
    found = chains(model, (torch.zeros(5000, 1, 24) if batched else torch.zeros(5000, 24),))
    assert [type(chain.layer.main_module) for chain in found.found] == [nn.Linear]
    assert "forward" not in vars(layer)


class Taking(nn.Module):
    """What a recurrent layer returns but its last states."""

    def forward(self, results: tuple[Tensor, Any]) -> Tensor:
        return results[0]


def test_an_average_takes_the_masks() -> None:
    model, optimizer, perforator = begin("LSTM")
    averaged = torch.optim.swa_utils.AveragedModel(model)
    for x in batches():
        step(model, optimizer, x)
        averaged.update_parameters(model)
    perforator.mask_copy(averaged)
    for mine, theirs in zip(dendritic(model), dendritic(averaged), strict=True):
        assert torch.equal(mine.mask, theirs.mask)
        assert not theirs.weight[~theirs.mask].any()
