"""Longer steps of sparse layers: how much longer, of which layers, and how often a step counts."""

import itertools
import math
import warnings

import pytest
import torch
from torch import nn

import sparbor
from sparbor.errors import ArgumentError
from sparbor.nn.neuron import PAINeuronModule
from sparbor.recipe.recipe import Recipe
from sparbor.recipe.schedule import Schedule
from sparbor.train.learning_rates import LearningRates
from sparbor.train.sparse_lr import SparseLR

torch.set_num_threads(1)
# Of which a single exponent needs nothing.
RATES = LearningRates(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1), settled=0)


def moved(exponent: float, sparsity: float, mode: str = "d") -> tuple[torch.Tensor, PAINeuronModule]:
    """What a step of -1 for each weight comes to."""
    layer = PAINeuronModule(nn.Linear(64, 32), "hidden", sparsity=sparsity)
    layer.set_mode(mode)  # type: ignore[arg-type]
    before = layer.weight.detach().clone()
    steps = SparseLR(exponent, RATES)
    steps.before_step([layer])
    with torch.no_grad():
        layer.weight.sub_(1)
    steps.after_step()
    layer.apply_mask()
    return layer.weight.detach() - before, layer


@pytest.mark.parametrize(
    ("exponent", "sparsity", "factor"), [(0.5, 0.75, 2), (1, 0.75, 4), (0.5, 0.0, 1), (0, 0.75, 1)]
)
def test_a_step_is_longer_by_a_power_of_the_density(exponent: float, sparsity: float, factor: float) -> None:
    change, layer = moved(exponent, sparsity)
    torch.testing.assert_close(change[layer.mask], torch.full_like(change[layer.mask], -factor))
    assert not change[~layer.mask].any()


def test_in_neuron_mode_steps_are_as_they_were() -> None:
    change, _ = moved(1, 0.75, mode="n")
    torch.testing.assert_close(change, torch.full_like(change, -1))


def test_a_step_within_a_step_counts_once() -> None:
    layer = PAINeuronModule(nn.Linear(64, 32), "hidden", sparsity=0.75)
    layer.set_mode("d")
    before = layer.weight.detach().clone()
    steps = SparseLR(0.5, RATES)
    for _ in range(2):
        steps.before_step([layer])
    with torch.no_grad():
        layer.weight.sub_(1)
    for _ in range(2):
        steps.after_step()
    change = (layer.weight.detach() - before)[layer.mask]
    torch.testing.assert_close(change, torch.full_like(change, -2))


def test_what_a_step_that_failed_has_left_does_not_come_back() -> None:
    layer = PAINeuronModule(nn.Linear(64, 32), "hidden", sparsity=0.75)
    layer.set_mode("d")
    steps = SparseLR(0.5, RATES)
    steps.before_step([layer])  # and then an exception
    with torch.no_grad():
        layer.weight.mul_(5)
    before = layer.weight.detach().clone()
    steps.before_step([layer])
    steps.after_step()
    assert torch.equal(layer.weight, before)


def after_lbfgs(exponent: float) -> torch.Tensor:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 16))
    x, y = torch.randn(32, 64), torch.randn(32, 16)
    optimizer = torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")
    recipe = Recipe(0.75, "static", schedule=Schedule(warmup=0), lr_density_exponent=exponent)
    sparbor.perforate(model, optimizer, recipe, total_steps=3)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (model(x) - y).square().mean()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    return model[0].weight.detach()


def test_lbfgs_takes_the_steps_it_has_searched_for() -> None:
    assert torch.equal(after_lbfgs(0.5), after_lbfgs(0.0))


def test_training_takes_longer_steps_from_the_switch_on() -> None:
    """SGD by hand: the masked gradient, times the learning rate, times the density to the power of -1/2."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recipe = Recipe(0.75, "static", schedule=Schedule(warmup=0), distribution="uniform")
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=3)
    x = torch.randn(8, 64)
    for _ in range(3):
        model(x).square().sum().backward()
        layers = list(perforator.modules.values())
        expected = [
            layer.weight - 0.1 / math.sqrt(1 - layer.get_sparsity()) * layer.weight.grad * layer.mask
            for layer in layers
        ]
        optimizer.step()
        optimizer.zero_grad()
        for layer, weight in zip(layers, expected, strict=True):
            torch.testing.assert_close(layer.weight, weight)


def course(rates: list[float], exponent: tuple[float, float], saved: int | None = None) -> list[torch.Tensor]:
    """The weights after each step of SGD at these rates; saved and loaded into another run after some of them."""

    def started() -> tuple[nn.Sequential, torch.optim.SGD, sparbor.Perforator]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 32))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        recipe = Recipe(0.75, "static", schedule=Schedule(warmup=0), lr_density_exponent=exponent)
        return model, optimizer, sparbor.perforate(model, optimizer, recipe, total_steps=len(rates))

    model, optimizer, perforator = started()
    weights = [model[0].weight.detach().clone()]
    for step, rate in enumerate(rates):
        if step == saved:
            states = [each.state_dict() for each in (model, optimizer, perforator)]
            model, optimizer, perforator = started()
            for part, state in zip((model, optimizer, perforator), states, strict=True):
                part.load_state_dict(state)
        optimizer.param_groups[0]["lr"] = rate
        model(torch.ones(8, 64)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        weights.append(model[0].weight.detach().clone())
    return weights


def test_steps_get_longer_while_the_rate_falls() -> None:
    rates = [0.05, 0.1, 0.075, 0.05, 0.025, 0.1, 0.0]
    weights = course(rates, (0.5, 1.0))
    moves = [float((before - after).abs().max()) for before, after in itertools.pairwise(weights)]
    # The gradient is 8 everywhere; what counts is the largest rate so far.
    exponents = [0.5, 0.5, 0.75, 1.0, 1.0, 0.5, 1.0]
    assert moves == pytest.approx([8 * rate * 4**exponent for rate, exponent in zip(rates, exponents, strict=True)])


def test_a_run_that_goes_on_knows_the_largest_rate() -> None:
    rates = [0.1, 0.05, 0.05]
    for saved in (1, 2):
        assert torch.equal(course(rates, (0.0, 1.0), saved)[-1], course(rates, (0.0, 1.0))[-1])


def falling(total_steps: int, schedule: Schedule, rates_end: int) -> None:
    """Train at a rate that falls to zero within so many steps."""
    model = nn.Sequential(nn.Linear(64, 32))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, rates_end)
    sparbor.perforate(model, optimizer, Recipe(0.75, schedule=schedule), total_steps=total_steps)
    for _ in range(total_steps):
        model(torch.ones(8, 64)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()


def test_a_rate_that_falls_before_the_density_does_is_warned_of() -> None:
    words = r"after 11 steps the learning rate is down to 0 of its largest.*until step 15.*total_steps.*ramp_end="
    with pytest.warns(UserWarning, match=words) as warned:
        falling(20, Schedule(ramp_end=0.75), rates_end=10)
    assert len(warned) == 1


def test_a_rate_that_falls_with_the_run_is_not() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        falling(20, Schedule(ramp_end=0.75), rates_end=20)


@pytest.mark.parametrize("exponent", [-0.1, 1.1, "0.5", None, (), (0.5,), (0.5, 1.5), (0.5, 0.5, 0.5)])
def test_other_exponents_are_refused(exponent: float) -> None:
    with pytest.raises(ArgumentError, match=r"lr_density_exponent=.*: must lie between 0 and 1"):
        Recipe(lr_density_exponent=exponent)
