"""Cascade correlation: the gradient of the covariance, and that the phase raises it while all else stands still."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import sparbor
from sparbor import Growth, Perforator, Recipe, Schedule
from sparbor.modules.cascade import Correlate
from sparbor.modules.dendrites import Dendrites

torch.set_num_threads(1)


def objective(error: Tensor, z: Tensor, kept: int) -> Tensor:
    """``S`` as Fahlman & Lebiere write it: neurons in the last dimension, all other dimensions are patterns."""
    error, z = (each.movedim(each.dim() - kept, -1).flatten(0, -2) for each in (error, z))
    return ((z - z.mean(0)) * (error - error.mean(0))).sum(0).abs().sum()


@settings(deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple), kept=st.integers(1, 4), seed=st.integers(0, 9)
)
def test_the_candidate_gets_the_gradient_of_the_covariance(shape: tuple[int, ...], kept: int, seed: int) -> None:
    kept = min(kept, len(shape) - 1)
    random = torch.Generator().manual_seed(seed)
    y, z, error = (torch.randn(shape, generator=random, dtype=torch.float64) for _ in range(3))
    y.requires_grad_()
    z.requires_grad_()
    given_back = Correlate.apply(y, z, kept)
    assert torch.equal(given_back, y)
    given_back.backward(error)
    (expected,) = torch.autograd.grad(-objective(error, z, kept), z)
    assert torch.equal(y.grad, error)  # type: ignore[arg-type]
    torch.testing.assert_close(z.grad, expected)


def test_halves_are_summed_in_full_precision_and_what_comes_may_be_changed_in_place() -> None:
    y = torch.randn(4096, 8, dtype=torch.float16, requires_grad=True)
    z = torch.ones(4096, 8, dtype=torch.float16, requires_grad=True)
    F.relu(Correlate.apply(y, z, 1), inplace=True).backward(torch.full((4096, 8), 100.0, dtype=torch.float16))
    assert z.grad is not None
    assert z.grad.isfinite().all()


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(40, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Linear(32, 10))


def cnn() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16 * 16, 10))


def batch(model: nn.Module, number: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(number)
    shape = (64, 3, 6, 6) if isinstance(model[0].main_module, nn.Conv2d) else (64, 40)  # type: ignore[index]
    return torch.randn(shape, generator=random), torch.randint(10, (64,), generator=random)


RECIPE = Recipe(
    0.5,
    schedule=Schedule(warmup=0.0, ramp_end=0.0, rewire_end=0.5, interval=4),
    growth=Growth(2, at=(0.1, 0.5), training="cascade", cascade=0.2),
)


def covariances(model: nn.Sequential, generation: int) -> list[float]:
    """Of every layer's dendrites with the error at its output, by hooks on the outputs and nothing of Sparbor's."""
    found: list[float] = []
    layers = [part for part in model.modules() if isinstance(getattr(part, "dendrites", None), Dendrites)]
    seen: dict[Any, tuple[Tensor, Tensor]] = {}

    def watch(layer: Any, args: tuple[Tensor, ...], y: Tensor) -> None:
        earlier: list[Tensor] = []
        for dendrite in layer.dendrites.active():
            earlier.append(dendrite(earlier, *args))
        seen[layer] = earlier[generation].detach(), y
        y.retain_grad()

    hooks = [layer.register_forward_hook(watch) for layer in layers]
    x, labels = batch(model)
    twin_gradients = [parameter.grad for parameter in model.parameters()]
    F.cross_entropy(model.eval()(x).clone(), labels).backward()
    model.train()
    for parameter, gradient in zip(model.parameters(), twin_gradients, strict=True):
        parameter.grad = gradient
    for hook in hooks:
        hook.remove()
    for layer in layers:
        z, y = seen[layer]
        assert y.grad is not None
        found.append(float(objective(y.grad, z, z.dim() - 1)))
    return found


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: torch.optim.SGD(parameters, 1.0, momentum=0.9, weight_decay=0.01),
        lambda parameters: torch.optim.AdamW(parameters, 0.01, weight_decay=0.5),
        lambda parameters: torch.optim.AdamW(parameters, 0.01, weight_decay=0.5, fused=True),
    ],
)
@pytest.mark.parametrize("build", [mlp, cnn])
@pytest.mark.parametrize("closures", [False, True])
def test_the_phase_raises_the_covariance_and_moves_nothing_else(
    build: Callable[[], nn.Sequential], make: Callable[[Any], torch.optim.Optimizer], closures: bool
) -> None:
    model = build()
    optimizer = make(model.parameters())
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=60)
    generation, alone = 0, 0
    for step in range(60):
        cascading = any(part.cascading for part in model.modules() if isinstance(part, Dendrites))
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        if cascading and not alone:
            first = covariances(model, generation)
        one_step(model, optimizer, closures)
        for module in perforator.modules.values():
            assert (module.weight[~module.mask] == 0).all()
        if not cascading:
            continue
        alone += 1
        learning = (f"dendrites.{generation}.inputs", f"dendrites.{generation}.earlier")
        for name, parameter in model.named_parameters():
            if not any(part in name for part in learning):
                assert torch.equal(parameter, before[name]), (step, name)
        strengths = [p for name, p in model.named_parameters() if f"dendrites.{generation}.strength" in name]
        assert len(strengths) == 2
        assert not any(strength.any() for strength in strengths)
        if alone == 12:
            last = covariances(model, generation)
            assert all(after > 1.1 * start for start, after in zip(first, last, strict=True)), (first, last)
            generation, alone = generation + 1, 0
    assert generation == 2
    assert all(p.any() for name, p in model.named_parameters() if "strength" in name), "then it is heard"


def one_step(model: nn.Sequential, optimizer: torch.optim.Optimizer, closures: bool) -> None:
    x, labels = batch(model)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    if closures:
        optimizer.step(closure=closure)  # type: ignore[call-arg, arg-type]
    else:
        closure()
        optimizer.step()


def started(model: nn.Sequential) -> tuple[torch.optim.Optimizer, Perforator]:
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=60)
    for _ in range(8):
        one_step(model, optimizer, False)
    return optimizer, perforator


def test_copies_and_released_models_learn_with_everything_else() -> None:
    model = mlp()
    _, perforator = started(model)
    twin = copy.deepcopy(model)
    x, labels = batch(model)
    torch.testing.assert_close(twin(x), model(x))
    perforator.detach()
    for each in (twin, model):
        each.zero_grad()
        F.cross_entropy(each(x), labels).backward()
        assert each[0].dendrites[0].strength.grad is not None  # type: ignore[union-attr, index]


def test_only_the_candidate_is_taught_by_the_objective() -> None:
    """The other parameters' gradients, which a user may log or clip, are those without the candidate."""
    model, plain = mlp(), mlp()
    started(model)
    x, labels = batch(model)
    model.zero_grad()
    F.cross_entropy(model(x), labels).backward()
    for layer in (0, 3):
        main = plain[layer]
        main.weight.data, main.bias.data = model[layer].weight.data.clone(), model[layer].bias.data.clone()  # type: ignore[union-attr, operator]
    plain[2].load_state_dict(model[2].state_dict())
    F.cross_entropy(plain(x), labels).backward()
    for layer in (0, 3):
        torch.testing.assert_close(model[layer].bias.grad, plain[layer].bias.grad)
        assert model[layer].dendrites[0].strength.grad is None  # type: ignore[union-attr, index]
