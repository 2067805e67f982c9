"""Layers with weight norm train sparse; the oracle is PyTorch's own weight norm of a direction under the mask."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sparbor
from sparbor import Growth, Perforator, Recipe, Schedule
from sparbor.errors import ArgumentError
from sparbor.nn.neuron import PAINeuronModule
from sparbor.nn.weight_norm import norm_of, weight_of
from tests.states import assert_resumes_bit_for_bit

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")

STEPS = 12
RECIPE = Recipe(sparsity=0.8, distribution="uniform", schedule=Schedule(interval=2, drop_fraction=0.3))
new: Any = nn.utils.parametrizations.weight_norm
old: Any = nn.utils.weight_norm


def wave(norm: Any) -> nn.Module:
    """As WaveNets have it: dilated convolutions."""
    first, second = nn.Conv1d(16, 32, 3, padding=2, dilation=2), nn.Conv1d(32, 32, 3, padding=4, dilation=4)
    return nn.Sequential(norm(first), nn.Tanh(), norm(second), nn.Flatten(1), nn.Linear(32 * 9, 16))


def positions(norm: Any) -> nn.Module:
    """As Wav2Vec2 has it: a grouped convolution with a length for each place of the kernel."""
    layer = norm(nn.Conv1d(16, 64, 8, padding=4, groups=2), name="weight", dim=2)
    return nn.Sequential(layer, nn.GELU(), nn.Flatten(1), norm(nn.Linear(640, 32), dim=None))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "wave": lambda: wave(new),
    "wave, older": lambda: wave(old),
    "positions": lambda: positions(new),
    "positions, older": lambda: positions(old),
    "transposed": lambda: nn.Sequential(new(nn.ConvTranspose1d(16, 32, 3)), nn.Flatten(1)),
}


def begin(name: str, recipe: Recipe = RECIPE, **options: Any) -> tuple[nn.Module, torch.optim.Optimizer, Perforator]:
    torch.manual_seed(0)
    model = MODELS[name]()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0.1)
    return model, optimizer, sparbor.perforate(model, optimizer, recipe, total_steps=STEPS, **options)


def batches(first: int = 0, last: int = STEPS) -> list[Tensor]:
    return [torch.randn(4, 16, 9, generator=torch.Generator().manual_seed(at)) for at in range(first, last)]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, first: int = 0, last: int = STEPS) -> None:
    for x in batches(first, last):
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def oracle(model: nn.Module, name: str) -> nn.Module:
    """PyTorch's own weight norm, with the directions of ``model`` times their masks."""
    plain = MODELS[name]()
    state = {key.replace("main_module.", ""): value.detach() for key, value in model.named_parameters()}
    for path, module in model.named_modules():
        if isinstance(module, PAINeuronModule):
            key = f"{path}.{module.weight_path}".replace("main_module.", "")
            state[key] = state[key] * module.mask
    plain.load_state_dict(state)
    return plain


@pytest.mark.parametrize("name", MODELS)
def test_it_is_listed_once_with_all_of_its_parameters(name: str) -> None:
    _, _, perforator = begin(name)
    assert all(finding.taken for finding in perforator.findings)
    assert [finding.name for finding in perforator.findings] == list(perforator.modules)
    plain = MODELS[name]()
    assert sum(each.weights for each in perforator.findings) == sum(p.numel() for p in plain.parameters())
    first = perforator.modules["0"]
    assert first.active_parameters() == sum(p.numel() for p in plain[0].parameters())  # type: ignore[index]


@pytest.mark.parametrize("name", MODELS)
def test_it_computes_learns_and_is_rewired_as_the_masked_layer(name: str) -> None:
    model, optimizer, perforator = begin(name)
    parameters, born = list(model.parameters()), 0
    for x in batches():
        before = {path: module.mask.clone() for path, module in perforator.modules.items()}
        plain = oracle(model, name)
        output = model(x)
        torch.testing.assert_close(output, plain(x))
        output.square().mean().backward()
        plain(x).square().mean().backward()
        for (key, parameter), (_, theirs) in zip(
            sorted((key.replace("main_module.", ""), each) for key, each in model.named_parameters()),
            sorted(plain.named_parameters()),
            strict=True,
        ):
            mask = before[key[0]] if parameter.shape == before[key[0]].shape else torch.tensor(True)
            assert theirs.grad is not None
            torch.testing.assert_close(parameter.grad, theirs.grad * mask, msg=key)
        optimizer.step()
        optimizer.zero_grad()
        for path, module in perforator.modules.items():
            newborn = module.mask & ~before[path]
            born += int(newborn.sum())
            assert not module.weight[~module.mask].any()
            assert not module.parameter[newborn].any()
            assert not optimizer.state[module.parameter]["exp_avg"][module.mask != before[path]].any()
    assert born
    for module in perforator.modules.values():
        assert abs(module.active_weights() - 0.2 * module.mask.numel()) < 16
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))


@pytest.mark.parametrize("norm", [new, old])
@pytest.mark.parametrize("dim", [0, 2])
def test_what_is_left_stays_as_it_was_when_others_are_dropped(norm: Any, dim: int) -> None:
    torch.manual_seed(0)
    module = PAINeuronModule(norm(nn.Conv1d(16, 32, 3), dim=dim), "x", sparsity=0.7)
    before = module.weight.detach().clone()
    module.set_mode("d")
    torch.testing.assert_close(module.weight, before * module.mask)
    assert module.get_sparsity() == pytest.approx(0.7, abs=0.01)
    x = torch.randn(2, 16, 9)
    torch.testing.assert_close(module(x), nn.functional.conv1d(x, before * module.mask, module.bias))


@pytest.mark.parametrize("norm", [new, old])
def test_neurons_that_have_lost_all_weights_compute_zeros_and_may_grow_again(norm: Any) -> None:
    torch.manual_seed(0)
    module = PAINeuronModule(norm(nn.Linear(32, 32, bias=False)), "x")
    mask = torch.ones(32, 32, dtype=torch.bool)
    mask[:16] = False
    module.set_mask(mask)
    x = torch.randn(4, 32)
    y = module(x)
    assert not y[:, :16].any()
    y.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
    twin = copy.deepcopy(module) if norm is new else module  # PyTorch cannot copy what the older function has computed
    layer = sparbor.unwrap(twin)
    torch.testing.assert_close(layer(x), y)
    assert type(norm_of(layer).norm).__module__.startswith("torch.")  # type: ignore[union-attr]
    if norm is new:
        optimizer = torch.optim.SGD(module.parameters(), 0.1)
        module.set_mask(torch.ones_like(mask))
        for _ in range(2):
            module(x).sum().backward()
            optimizer.step()
        assert module.weight[:16].any()
        assert module.weight.isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_a_run_resumes_bit_for_bit(name: str) -> None:
    assert_resumes_bit_for_bit(lambda: begin(name), train)


@pytest.mark.parametrize("name", MODELS)
def test_unwrap_gives_the_plain_model_back(name: str) -> None:
    model, optimizer, _ = begin(name)
    train(model, optimizer)
    (x,) = batches(0, 1)
    expected = model(x)
    assert list(sparbor.unwrap(model).state_dict()) == list(MODELS[name]().state_dict())
    torch.testing.assert_close(model(x), expected)


def test_copies_mask_whatever_they_hold() -> None:
    model, optimizer, perforator = begin("wave")
    train(model, optimizer)
    perforator.detach()
    (x,) = batches(0, 1)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for module in twin.modules():
            if isinstance(module, PAINeuronModule):
                module.parameter.add_(0.1)
    torch.testing.assert_close(twin(x), oracle(twin, "wave")(x))


@pytest.mark.parametrize("name", ["wave", "wave, older", "transposed"])
def test_it_deploys(name: str) -> None:
    model, optimizer, _ = begin(name)
    train(model, optimizer)
    (x,) = batches(0, 1)
    model.eval()
    with torch.no_grad():
        expected = model(x)
    runtime = sparbor.deploy(model, x, weights="exact")
    assert (runtime(x) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert {layer.kind for layer in runtime.describe()} == {"sparse"}


def test_what_is_refused() -> None:
    model, _, perforator = begin("wave", storage="compact")
    assert "the weights of each of 0 and 2 stay masked: its weight is computed (weight norm)" in str(perforator)
    for name, why in (("wave", "a ParametrizedConv1d"), ("wave, older", r"its weight is computed \(weight norm\)")):
        with pytest.raises(ArgumentError, match=why):
            begin(name, Recipe(growth=Growth(at=(0.5,), layers=("0",))))
    layer = new(nn.utils.parametrizations.spectral_norm(nn.Linear(16, 16)))
    with pytest.raises(ArgumentError, match="its weight is computed from other parameters"):
        PAINeuronModule(layer, "x")
    assert isinstance(model, nn.Sequential)


def test_a_whole_direction_of_zeros_gives_zeros() -> None:
    direction = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    length = torch.tensor([[10.0], [2.0]])
    assert weight_of(direction, length, 0).tolist() == [[6.0, 8.0], [0.0, 0.0]]
    assert weight_of(direction, torch.tensor(10.0), -1).tolist() == [[6.0, 8.0], [0.0, 0.0]]
