"""What deploy says of models that are denser than they were to become, and that it says nothing of others."""

import copy
import itertools
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import sparbor
from sparbor import NM, Perforator, Quads, Recipe, Slots, Unstructured
from sparbor.lower.unfinished import warn_if_unfinished
from sparbor.nn.neuron import PAINeuronModule
from sparbor.recipe.budget import Budget
from sparbor.recipe.growth import Growth

torch.set_num_threads(1)

EXAMPLE = torch.randn(2, 70)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(70, 35), nn.ReLU(), nn.Linear(35, 17), nn.ReLU(), nn.Linear(17, 3))


def begun(recipe: Recipe, total_steps: int, model: nn.Module | None = None) -> tuple[nn.Module, Perforator]:
    model = network() if model is None else model
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    return model, sparbor.perforate(model, optimizer, recipe, total_steps=total_steps)


def train(model: nn.Module, perforator: Perforator, steps: int) -> None:
    for _ in range(steps):
        model(torch.randn(4, 70)).square().mean().backward()
        perforator.optimizer.step()
        perforator.optimizer.zero_grad()


def warned(model: nn.Module) -> list[str]:
    """What deploy warns of, without the second that it takes for all else."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_unfinished(model)
    assert all(warning.category is UserWarning for warning in caught)
    return [str(warning.message) for warning in caught]


def test_a_schedule_that_has_not_run() -> None:
    model, perforator = begun(Recipe(0.9), 6000)
    train(model, perforator, 6)
    (said,) = warned(model)
    assert said == (
        "the dendritic layers keep 100 % of their weights and aim at 10 %: 6 of 6,000 steps are done, and the final"
        " density is reached at step 4,500; train on, or pass the total_steps that the loop really takes to"
        " sparbor.perforate()"
    )
    with pytest.warns(UserWarning, match="train on") as caught:
        sparbor.deploy(model, EXAMPLE)
    assert [str(warning.message) for warning in caught if warning.filename == __file__] == [said]
    sparbor.unwrap(model)
    model, perforator = begun(Recipe(0.9), 10, model)  # as the warning says
    train(model, perforator, 10)
    assert warned(model) == []


def test_a_run_that_goes_on_knows_its_steps() -> None:
    model, perforator = begun(Recipe(0.9), 30)
    train(model, perforator, 12)
    resumed, other = begun(Recipe(0.9), 30)
    resumed.load_state_dict(model.state_dict())
    other.load_state_dict(perforator.state_dict())
    assert "12 of 30 steps" in warned(resumed)[0]
    train(model, perforator, 18)
    resumed.load_state_dict(model.state_dict())
    assert warned(resumed) == [], "its masks are those of the end"
    other.load_state_dict(perforator.state_dict())
    assert warned(resumed) == []


def averaged(model: nn.Module) -> nn.Module:
    return AveragedModel(model)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, averaged])
@pytest.mark.parametrize("at", [0, 12])
def test_copies_from_before_the_end(duplicate: Any, at: int) -> None:
    model, perforator = begun(Recipe(0.9), 30)
    train(model, perforator, at)
    twin = duplicate(model)
    train(model, perforator, 30 - at)
    (said,) = warned(twin)
    assert f"keep {'100' if at == 0 else '23.4'} % of their weights and aim at 10 %" in said
    assert "perforator.mask_copy(copy)" in said
    perforator.mask_copy(twin)
    assert warned(twin) == []
    assert sparbor.deploy(twin, EXAMPLE).describe()[0].active < 0.2 * 70 * 35, "in slots, some of them partly filled"


def test_layers_that_were_wrapped_by_hand() -> None:
    model = nn.Sequential(PAINeuronModule(nn.Linear(70, 35), "hand"))
    (said,) = warned(model)
    assert "keep 100 % of their weights and aim at 10 %" in said
    assert "set_mode('d')" in said
    model[0].set_mode("d")
    assert warned(model) == []
    mask = torch.rand(35, 70) < 0.7
    model[0].set_mask(mask)
    assert warned(model) == [], "a mask that somebody made is what they want"


PATTERNS = [Slots(), Slots(5, 7), Slots(64, 32), Quads(), NM(2, 4), Unstructured()]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
def test_nothing_is_said_of_what_ran_its_schedule(pattern: Any, sparsity: float) -> None:
    for distribution, method in itertools.product(("uniform", "erk", "global"), ("rigl", "static")):
        if isinstance(pattern, NM) and (distribution != "uniform" or sparsity < 0.5):
            continue  # which the pattern cannot have
        recipe = Recipe(sparsity, method, pattern=pattern, distribution=distribution)  # type: ignore[arg-type]
        model, perforator = begun(recipe, 8)
        train(model, perforator, 5 if method == "rigl" else 3)  # the others only exchange synapses
        assert warned(model) == warned(copy.deepcopy(model)) == []


@pytest.mark.parametrize(
    "budget", [Budget(multiply_adds=500), Budget(kilobytes=2), Budget(kilobytes=20), Budget(multiply_adds=10**6)]
)
def test_nothing_is_said_of_a_budget_that_is_kept(budget: Budget) -> None:
    model = network()
    recipe = sparbor.calibrated(Recipe(budget=budget), model, EXAMPLE)
    model, perforator = begun(recipe, 20, model)
    is_large = budget.limit in (20, 10**6)
    assert bool(warned(model)) != is_large
    twin = copy.deepcopy(model)
    train(model, perforator, 20)
    assert warned(model) == warned(copy.deepcopy(model)) == warned(perforator.mask_copy(twin)) == []
    resumed, other = begun(recipe, 20, network())
    resumed.load_state_dict(model.state_dict())
    other.load_state_dict(perforator.state_dict())
    assert warned(resumed) == warned(copy.deepcopy(resumed)) == []


def test_nothing_is_said_of_grown_dendrites() -> None:
    model, perforator = begun(Recipe(0.8, growth=Growth(at=(0.7,))), 40)
    assert "aim at 20 %" in warned(model)[0], "what has not grown does not count"
    before = copy.deepcopy(model)
    assert "aim at 20 %" in warned(before)[0]
    train(model, perforator, 40)
    assert warned(model) == warned(copy.deepcopy(model)) == warned(perforator.mask_copy(before)) == []
