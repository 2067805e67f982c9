"""Sparse training inside other people's training loops: optimizers, AMP, accumulation, clipping, copies, compile.

The oracle is the dense model in plain PyTorch whose weights are multiplied by the masks.
"""

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lion_pytorch import Lion
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import sparbor
from sparbor import Perforator, Recipe, Schedule, Unstructured
from sparbor.nn.neuron import PAINeuronModule

torch.set_num_threads(1)

# None of these loops may be taken for one of another optimizer.
pytestmark = pytest.mark.filterwarnings("error:layer .* has changed")

STEPS = 30
RECIPE = Recipe(sparsity=0.8, schedule=Schedule(interval=3))

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "sgd nesterov weight decay": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "sgd fused": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, fused=True),
    "adam": lambda p: torch.optim.Adam(p, 0.01),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.5),
    "adamw amsgrad": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.5, amsgrad=True),
    "adamw foreach": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.5, foreach=True),
    "adamw fused": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.5, fused=True),
    "adamw capturable-like tensor lr": lambda p: torch.optim.AdamW(p, torch.tensor(0.01), foreach=False),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.05, initial_accumulator_value=0.1),
    "rprop": lambda p: torch.optim.Rprop(p, 0.001),
    "lion": lambda p: Lion(p, 0.001, weight_decay=0.5),
}


class Langevin(torch.optim.Optimizer):
    """Gradient descent with noise: it moves weights whose gradient and state are zero."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                noise = torch.randn_like(parameter) * 0.01
                parameter.add_(parameter.grad + noise, alpha=-group["lr"])
                self.state[parameter]["noise"] = noise


OPTIMIZERS["langevin"] = lambda p: Langevin(p, 0.1)
FRESH = {"sum": 0.1, "step_size": 0.001}  # of Adagrad and Rprop; all other state starts from zero


def mlp(dtype: torch.dtype = torch.float32, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(70, 35), nn.ReLU(), nn.Linear(35, 18), nn.ReLU(), nn.Linear(18, 10)).to(dtype)


def batches(count: int, dtype: torch.dtype = torch.float32, size: int = 16) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 70, generator=generator).to(dtype), torch.randint(0, 10, (size,), generator=generator))
        for _ in range(count)
    ]


def masks(perforator: Perforator) -> list[Tensor]:
    return [module.mask.clone() for module in perforator.modules.values()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def assert_dropped_are_zero(perforator: Perforator) -> None:
    for module in perforator.modules.values():
        assert (module.weight[~module.mask] == 0).all()


def run(
    recipe: Recipe = RECIPE,
    make: Callable[[Any], Optimizer] = OPTIMIZERS["adam"],
    dtype: torch.dtype = torch.float32,
    steps: int = STEPS,
) -> tuple[nn.Module, Perforator]:
    """The plain loop that others are compared with."""
    model = mlp(dtype)
    optimizer = make(model.parameters())
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=STEPS)
    for x, y in batches(steps, dtype):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, perforator


def assert_same_run(first: tuple[nn.Module, Perforator], second: tuple[nn.Module, Perforator], **close: float) -> None:
    assert first[1].steps == second[1].steps
    assert same(masks(first[1]), masks(second[1]))
    for a, b in zip(first[0].parameters(), second[0].parameters(), strict=True):
        torch.testing.assert_close(a, b, **(close or {"rtol": 0.0, "atol": 0.0}))


# The invariants of DESIGN section 6.


@pytest.mark.parametrize("method", ["rigl", "set"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_invariants(name: str, method: Any) -> None:
    model = mlp()
    parameters = list(model.parameters())
    optimizer = OPTIMIZERS[name](model.parameters())
    recipe = Recipe(sparsity=0.8, method=method, schedule=Schedule(interval=3))
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=STEPS)
    born = 0
    for x, y in batches(STEPS + 10):
        before = masks(perforator)
        oracle = copy.deepcopy(model)  # a copy multiplies by its masks
        F.cross_entropy(model(x), y).backward()
        F.cross_entropy(oracle(x), y).backward()
        for module, mask, twin in zip(perforator.modules.values(), before, _dendritic(oracle), strict=True):
            assert (module.weight.grad[~mask] == 0).all()  # type: ignore[index]
            torch.testing.assert_close(module.weight.grad, twin.weight.grad, rtol=1e-5, atol=1e-6)
        optimizer.step()
        optimizer.zero_grad()
        assert_dropped_are_zero(perforator)
        for module, old in zip(perforator.modules.values(), before, strict=True):
            newborn = module.mask & ~old
            born += int(newborn.sum())
            assert (module.weight[newborn] == 0).all()
            _assert_fresh(optimizer, module.weight, module.mask != old)
    assert born > 50
    states = [v for v in optimizer.state[parameters[0]].values() if isinstance(v, Tensor) and v.shape == (35, 70)]
    assert all(len(state.unique()) > 3 for state in states), "and the others' state is not"
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert abs(sum(int(m.sum()) for m in masks(perforator)) - 0.2 * sum(m.numel() for m in masks(perforator))) < 3 * 16


def _assert_fresh(optimizer: Optimizer, parameter: nn.Parameter, changed: Tensor) -> None:
    for key, value in optimizer.state[parameter].items():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            assert (value[changed] == FRESH.get(key, 0.0)).all(), key


def _dendritic(model: nn.Module) -> Iterator[PAINeuronModule]:
    return (module for module in model.modules() if isinstance(module, PAINeuronModule))


@pytest.mark.parametrize("name", ["sgd nesterov weight decay", "adamw", "lion"])
def test_sparse_training_is_the_training_of_the_dense_masked_model(name: str, only_dense_kernels: None) -> None:
    """With fixed masks, step by step: a plain model multiplied by the masks, whose optimizer has never seen more."""
    recipe = Recipe(sparsity=0.8, method="static", schedule=Schedule(warmup=0), lr_density_exponent=0)
    model, plain = mlp(), mlp()
    optimizer, other = OPTIMIZERS[name](model.parameters()), OPTIMIZERS[name](plain.parameters())
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=STEPS)
    fixed = dict(zip([plain[0].weight, plain[2].weight, plain[4].weight], masks(perforator), strict=True))
    for x, y in batches(STEPS):
        with torch.no_grad():
            for weight, mask in fixed.items():
                weight *= mask  # type: ignore[operator]
        F.cross_entropy(model(x), y).backward()
        F.cross_entropy(plain(x), y).backward()
        for weight, mask in fixed.items():
            weight.grad *= mask  # type: ignore[operator]
        for stepped in (optimizer, other):
            stepped.step()
            stepped.zero_grad()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_momentum_and_decay_never_revive_what_was_dropped() -> None:
    """Great momentum at the switch, and then gradients of zero: only momentum and decay move the weights."""
    for name in ("sgd nesterov weight decay", "adamw", "lion", "rprop"):
        model = nn.Sequential(nn.Linear(64, 32))
        optimizer = OPTIMIZERS[name](model.parameters())
        recipe = Recipe(sparsity=0.75, method="static", schedule=Schedule(warmup=0.3))
        perforator = sparbor.perforate(model, optimizer, recipe, total_steps=20)
        for step in range(30):
            (model(torch.randn(8, 64)).sum() * (100.0 if step < 6 else 0.0)).backward()
            optimizer.step()
            optimizer.zero_grad()
            if step >= 6:
                assert int((model[0].weight != 0).sum()) == 512  # type: ignore[operator]
        assert perforator.density() == 0.25


@pytest.mark.parametrize("norm_type", [2.0, float("inf")])
def test_the_clipped_norm_is_the_active_weights(norm_type: float) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    clipped = 0
    for x, y in batches(STEPS):
        plain = sparbor.unwrap(copy.deepcopy(model))
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        F.cross_entropy(plain(x), y).backward()
        for module, layer in zip(perforator.modules.values(), (plain[0], plain[2], plain[4]), strict=True):  # type: ignore[index]
            layer.weight.grad *= module.mask
        expected = nn.utils.get_total_norm([p.grad for p in plain.parameters()], norm_type)  # type: ignore[misc]
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.05, norm_type)
        torch.testing.assert_close(norm, expected)
        clipped += int(norm > 0.05)
        optimizer.step()
        assert_dropped_are_zero(perforator)
    assert clipped > 10


# The loop stays as it was.


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("pattern", [sparbor.Slots(), sparbor.Quads(), Unstructured()])
def test_gradient_accumulation_is_the_one_big_batch(set_to_none: bool, pattern: Any) -> None:
    recipe = Recipe(sparsity=0.8, pattern=pattern, distribution="global", schedule=Schedule(interval=3))
    big = run(recipe, dtype=torch.float64)
    model = mlp(torch.float64)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=STEPS)
    for x, y in batches(STEPS, torch.float64):
        for micro in range(4):
            part = slice(4 * micro, 4 * micro + 4)
            (F.cross_entropy(model(x[part]), y[part]) / 4).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=set_to_none)
    assert_same_run((model, perforator), big, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_accumulation_where_no_active_weight_has_a_gradient(set_to_none: bool) -> None:
    """A layer with no slot left has masked gradients of zero; what its inactive weights ask for still adds up."""
    grown = []
    for parts in (1, 4):
        model = nn.Sequential(nn.Linear(64, 32, dtype=torch.float64))
        optimizer = torch.optim.SGD(model.parameters(), 0.0)
        recipe = Recipe(sparsity=0.75, schedule=Schedule(warmup=0, ramp_end=0, rewire_end=1, interval=3))
        perforator = sparbor.perforate(model, optimizer, recipe, total_steps=10)
        model[0].set_mask(torch.zeros(32, 64, dtype=torch.bool))  # type: ignore[operator]
        torch.manual_seed(0)
        for _ in range(3):
            x, t = torch.randn(16, 64, dtype=torch.float64), torch.randn(16, 32, dtype=torch.float64)
            for a, b in zip(x.chunk(parts), t.chunk(parts), strict=True):
                ((model(a) * b).sum() / 16).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=set_to_none)
        (mask,) = masks(perforator)
        assert mask.sum() == 512
        grown.append(mask)
    assert torch.equal(*grown)


def test_step_with_a_closure_is_the_plain_loop() -> None:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    for x, y in batches(STEPS):

        def closure(x: Tensor = x, y: Tensor = y) -> float:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss.item()

        optimizer.step(closure)
    assert_same_run((model, perforator), run())


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_lbfgs(line_search: str | None) -> None:
    model = mlp(torch.float64)
    optimizer = torch.optim.LBFGS(model.parameters(), 0.5, max_iter=5, line_search_fn=line_search)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    x, y = batches(1, torch.float64, size=64)[0]
    losses = []

    def closure() -> Tensor:
        assert_dropped_are_zero(perforator)  # also while the optimizer searches along its line
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        losses.append(loss.item())
        return loss

    for _ in range(STEPS):
        optimizer.step(closure)  # type: ignore[arg-type]
        assert_dropped_are_zero(perforator)
    assert perforator.steps == STEPS
    assert perforator.density() == pytest.approx(0.2, abs=0.01)
    assert losses[-1] < 0.1 * losses[0]


class DecayingAdam(torch.optim.Adam):
    """A step of its own around that of torch, and it moves the weights afterwards."""

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        with torch.no_grad():
            for parameter in self.param_groups[0]["params"]:
                parameter.add_(1e-3)
        return loss


def test_an_optimizer_that_calls_the_step_of_its_base_class_counts_once() -> None:
    """torch runs the hooks for both steps as soon as the base class has been used by itself."""
    torch.optim.Adam([nn.Parameter(torch.zeros(1))])
    model = mlp()
    optimizer = DecayingAdam(model.parameters(), 0.01)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)

    def failing() -> float:
        raise ZeroDivisionError

    for number, (x, y) in enumerate(batches(STEPS)):
        loss = F.cross_entropy(model(x), y)
        if number == 5:
            with pytest.raises(ZeroDivisionError):  # a step that failed half-way is done again
                optimizer.step(failing)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        assert perforator.steps == number + 1
        assert_dropped_are_zero(perforator)


def test_several_parameter_groups_and_a_learning_rate_schedule() -> None:
    model = mlp()
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0, "lr": 0.02},
    ]
    optimizer = torch.optim.AdamW(groups, 0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, [0.05, 0.1], total_steps=STEPS + 1)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    for x, y in batches(STEPS):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        assert_dropped_are_zero(perforator)
    assert perforator.steps == STEPS
    assert perforator.density() == pytest.approx(0.2, abs=0.01)


def test_a_layer_that_is_called_twice_in_a_pass() -> None:
    """Its gradient comes once, summed; recomputation (checkpointing) changes nothing."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(32, 32, dtype=torch.float64)
            self.checkpoint = False

        def forward(self, x: Tensor) -> Tensor:
            if self.checkpoint:
                call = torch.utils.checkpoint.checkpoint
                return call(self.inner, call(self.inner, x, use_reentrant=True), use_reentrant=True)  # type: ignore[no-any-return]
            return self.inner(self.inner(x))  # type: ignore[no-any-return]

    results = []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        model = Twice()
        model.checkpoint = checkpoint
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
        for _ in range(STEPS):
            x = torch.randn(4, 32, dtype=torch.float64, requires_grad=True)
            (model(x) - 1).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            assert_dropped_are_zero(perforator)
        results.append((model, perforator))
    assert_same_run(*results, rtol=1e-9, atol=1e-12)


def test_gradients_taken_by_hand_do_not_disturb() -> None:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    for x, y in batches(STEPS):
        torch.autograd.grad(model(10 * x).sum(), list(model.parameters()))
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert_same_run((model, perforator), run())


# Mixed precision.


@pytest.mark.parametrize("name", ["adamw", "adamw foreach", "adamw fused", "sgd fused", "lion"])
def test_autocast(name: str) -> None:
    model = mlp()
    optimizer = OPTIMIZERS[name](model.parameters())
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    for x, y in batches(STEPS):
        with torch.autocast("cpu", torch.bfloat16):
            output = model(x)
            loss = F.cross_entropy(output, y)
        assert output.dtype == torch.bfloat16
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        assert_dropped_are_zero(perforator)
    assert perforator.density() == pytest.approx(0.2, abs=0.01)
    copied = copy.deepcopy(model)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(copied(x), model(x))


AMP = {
    "adam plain": lambda p: torch.optim.Adam(p, 0.01, foreach=False, fused=False),
    "adam foreach": lambda p: torch.optim.Adam(p, 0.01, foreach=True),
    "adam fused": lambda p: torch.optim.Adam(p, 0.01, fused=True),
    "sgd fused": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, fused=True),
    "lion": lambda p: Lion(p, 0.001),
}


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("unscale", [False, True])
@pytest.mark.parametrize("name", AMP)
def test_grad_scaler_with_skipped_steps_is_the_plain_loop(name: str, unscale: bool, set_to_none: bool) -> None:
    """Scales are powers of two, so masks and weights are equal bit for bit; overflows are thrown in between, also at
    growth steps, and neither count nor steer the growth."""
    plain = run(make=AMP[name])
    model = mlp()
    optimizer = AMP[name](model.parameters())
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=4)
    for number, (x, y) in enumerate(batches(STEPS)):
        for overflow in (True, False) if number % 2 else (False,):
            before, count = masks(perforator), perforator.steps
            data = x.flip(0) * torch.tensor(1.0).masked_fill(torch.tensor(overflow), float("inf")) if overflow else x
            scaler.scale(F.cross_entropy(model(data), y)).backward()
            if unscale:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 1e6)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=set_to_none)
            if overflow:
                assert perforator.steps == count
                assert same(before, masks(perforator))
            assert_dropped_are_zero(perforator)
    assert_same_run((model, perforator), plain)


def test_a_skipped_steps_finite_gradients_do_not_steer_the_growth() -> None:
    """The overflow is in the last layer alone; the first one's gradients of that step look as good as any."""
    plain = run()
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 0.01, fused=True)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    for x, y in batches(STEPS):
        scaler.scale(F.cross_entropy(model(100 * x.flip(0)), y)).backward()
        model[4].bias.grad.fill_(torch.inf)  # type: ignore[union-attr, operator]
        scaler.step(optimizer)
        scaler.update(16.0)
        optimizer.zero_grad(set_to_none=False)
        scaler.scale(F.cross_entropy(model(x), y)).backward()
        scaler.step(optimizer)
        scaler.update(16.0)
        optimizer.zero_grad(set_to_none=False)
    assert_same_run((model, perforator), plain, rtol=1e-4, atol=1e-5)


# Copies.


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_copy_taken_in_mid_training_trains_on_its_own(name: str) -> None:
    model, perforator = run(steps=22)
    twin = copy.deepcopy(model)
    assert all(module.controller is None for module in _dendritic(twin))
    before = masks(perforator)
    weights = [p.clone() for p in model.parameters()]
    optimizer = OPTIMIZERS[name](twin.parameters())
    (x, _), *more = batches(6)
    torch.testing.assert_close(twin(x), model(x))
    for a, b in more:
        F.cross_entropy(twin(a), b).backward()
        optimizer.step()
        optimizer.zero_grad()
    trained = twin(x)
    assert (trained - model(x)).abs().max() > 1e-3
    assert same([module.mask for module in _dendritic(twin)], before)
    plain = sparbor.unwrap(twin)
    assert torch.equal(plain(x), trained)
    assert sum(int((p == 0).sum()) for p in plain.parameters()) >= sum(int((~mask).sum()) for mask in before)
    assert same(list(model.parameters()), weights)
    assert perforator.steps == 22


def test_a_copy_can_be_taken_between_backward_and_step_and_the_original_goes_on() -> None:
    plain = run()
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    for x, y in batches(STEPS):
        F.cross_entropy(model(x), y).backward()
        twin = copy.deepcopy(model)
        F.cross_entropy(twin(x), y).backward()
        sparbor.unwrap(twin)
        optimizer.step()
        optimizer.zero_grad()
    assert_same_run((model, perforator), plain)


AVERAGES: dict[str, dict[str, Any]] = {
    "mean": {},
    "ema": {"multi_avg_fn": get_ema_multi_avg_fn(0.9)},
    "ema with buffers": {"multi_avg_fn": get_ema_multi_avg_fn(0.9), "use_buffers": True},
    "function with buffers": {"avg_fn": lambda a, b, _: 0.9 * a + 0.1 * b, "use_buffers": True},
}


@pytest.mark.parametrize("kind", AVERAGES)
def test_averaged_copies_are_masked_when_they_are_deployed(kind: str) -> None:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    averaged = AveragedModel(model, **AVERAGES[kind])
    for x, y in batches(STEPS):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        averaged.update_parameters(model)
    assert perforator.mask_copy(averaged) is averaged
    output = averaged(x)
    plain = sparbor.unwrap(averaged.module)
    assert torch.equal(plain(x), output)
    for mask, index in zip(masks(perforator), (0, 2, 4), strict=True):
        weight = plain[index].weight  # type: ignore[index]
        assert (weight[~mask] == 0).all()
        assert weight[mask].all()


def test_a_copy_from_before_perforating_has_no_masks_to_set() -> None:
    model = mlp()
    plain = copy.deepcopy(model)
    perforator = sparbor.perforate(model, torch.optim.SGD(model.parameters(), 0.1), total_steps=10)
    with pytest.raises(sparbor.SparborError, match=r"the copy has no dendritic layer '0': pass a copy of the perf"):
        perforator.mask_copy(plain)


def test_masks_of_a_copy_whatever_its_layers_are_called() -> None:
    """A model that keeps its layers under "module", as data-parallel ones do, its average, and a compiled one."""
    inner = nn.Sequential()
    inner.add_module("module", mlp())
    optimizer = torch.optim.SGD(inner.parameters(), 0.1)
    recipe = Recipe(sparsity=0.8, schedule=Schedule(warmup=0, ramp_end=0))
    perforator = sparbor.perforate(inner, optimizer, recipe, total_steps=10)
    assert list(perforator.modules) == ["module.0", "module.2", "module.4"]
    for duplicate in (copy.deepcopy(inner), AveragedModel(inner), torch.compile(copy.deepcopy(inner), backend="eager")):
        next(_dendritic(duplicate)).set_mode("n")  # type: ignore[arg-type]
        perforator.mask_copy(duplicate)  # type: ignore[arg-type]
        assert same([module.mask for module in _dendritic(duplicate)], masks(perforator))  # type: ignore[arg-type]


# Other optimizers.


@pytest.mark.parametrize("at", [3, 15])
@pytest.mark.parametrize("storage", ["masked", "compact"])
def test_an_optimizer_that_was_not_perforated_is_noticed_once(at: int, storage: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(160, 160), nn.ReLU(), nn.Linear(160, 10))  # the first is stored compactly
    optimizer: Optimizer = torch.optim.Adam(model.parameters(), 0.01)
    sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS, storage=storage)
    words = rf"layer '[02]' has changed 3 times since the perforated optimizer's last step \({at} of 30 done\)"
    for step in range(at + 20):
        if step == at:
            optimizer = torch.optim.SGD(model.parameters(), 0.01)
        noticed = step == at + 3
        with pytest.warns(UserWarning, match=words) if noticed else contextlib.nullcontext():
            F.cross_entropy(model(torch.randn(8, 160)), torch.arange(8)).backward()
        optimizer.step()
        optimizer.zero_grad()


def test_what_the_warning_advises_for_another_optimizer_works() -> None:
    model = mlp()
    perforator = sparbor.perforate(model, torch.optim.Adam(model.parameters(), 0.01), RECIPE, total_steps=STEPS)
    for step, (x, y) in enumerate(batches(STEPS)):
        if step == 15:
            states = model.state_dict(), perforator.state_dict()
            before = masks(perforator)
            sparbor.unwrap(model)
            optimizer = torch.optim.SGD(model.parameters(), 0.01)
            perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
            model.load_state_dict(states[0])
            perforator.load_state_dict(states[1])
            assert same(before, masks(perforator))
            assert perforator.steps == 15
        F.cross_entropy(model(x), y).backward()
        perforator.optimizer.step()
        perforator.optimizer.zero_grad()
        assert_dropped_are_zero(perforator)
    assert perforator.steps == STEPS
    assert perforator.density() == pytest.approx(0.2, abs=0.01)


def test_weights_may_change_between_steps_and_after_the_schedule() -> None:
    """Weights clipped by hand after each step, an ascent before each second backward pass, and a fine-tuning."""
    model = mlp()
    optimizer: Optimizer = torch.optim.SGD(model.parameters(), 0.01)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    for step, (x, y) in enumerate(batches(STEPS + 10)):
        if step == STEPS:
            optimizer = torch.optim.Adam(model.parameters(), 0.001)
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.001 * parameter.grad)
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.clamp_(-1, 1)
        model.load_state_dict(model.state_dict())
    assert perforator.steps == STEPS


# torch.compile


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.parametrize("order", ["perforate first", "compile first", "in place"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_models(backend: str, order: str) -> None:
    plain = run()
    model = mlp()
    compiled: Any = model
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    if order == "compile first":
        compiled = torch.compile(model, backend=backend, fullgraph=True)
        compiled(batches(1)[0][0])
        perforator = sparbor.perforate(compiled, optimizer, RECIPE, total_steps=STEPS)
    else:
        perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
        if order == "in place":
            model.compile(backend=backend, fullgraph=True)
        else:
            compiled = torch.compile(model, backend=backend, fullgraph=True)
    for x, y in batches(STEPS):
        F.cross_entropy(compiled(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        assert_dropped_are_zero(perforator)
    assert_same_run((model, perforator), plain, rtol=1e-5, atol=1e-6)
    state = perforator.state_dict()
    assert list(state["layers"]) == ["0", "2", "4"], "states interchange with the plain model's"


@pytest.mark.usefixtures("_fresh_compiler")
def test_neither_the_mode_nor_the_masks_make_a_model_compile_again() -> None:
    counter = torch._dynamo.testing.CompileCounter()
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for x, y in batches(STEPS):
        F.cross_entropy(compiled(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert perforator.density() < 0.3
    assert perforator.orders.found
    assert counter.frame_count == 1
    twin = copy.deepcopy(model)
    masked = torch.compile(twin, backend=counter, fullgraph=True)  # a copy multiplies, in one graph as well
    torch.testing.assert_close(masked(x), model(x))


@pytest.mark.usefixtures("_fresh_compiler")
def test_inductor() -> None:
    """The default compiler, on one small layer: it takes ten seconds to warm up."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    compiled = torch.compile(model)
    x = torch.randn(8, 64)
    try:
        compiled(x)
    except torch._dynamo.exc.BackendCompilerFailed as error:  # no C++ compiler on this machine
        pytest.skip(str(error).splitlines()[0])
    for _ in range(STEPS):
        (compiled(x) - 1).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert_dropped_are_zero(perforator)
    torch.testing.assert_close(compiled(x), model(x))
    assert perforator.density() == pytest.approx(0.2, abs=0.01)


def test_the_batches_differ() -> None:
    """The comparisons above rest on it."""
    assert not any(torch.equal(a[0], b[0]) for a, b in itertools.pairwise(batches(5)))
