"""Runs that begin with the masks which a model's layers have: masks that stay, and masks that become sparser."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sparbor
from sparbor import Budget, Growth, PAINeuronModule, Perforator, Recipe, Schedule, Unstructured
from sparbor.errors import ArgumentError, StateError

torch.set_num_threads(1)
FIXED = Recipe(method="fixed", lr_density_exponent=0.0)


def masked(sparsity: float = 0.5, distribution: Any = "uniform") -> nn.Sequential:
    """A network whose layers have masks and belong to no run."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    recipe = Recipe(sparsity, "magnitude", distribution=distribution)
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=1)
    train(model, optimizer, 1)
    perforator.detach()
    return model


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    random = torch.Generator().manual_seed(1)
    for _ in range(steps):
        model(torch.randn(8, 128, generator=random)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def layers_of(model: nn.Module) -> list[PAINeuronModule]:
    return [module for module in model.modules() if isinstance(module, PAINeuronModule)]


def masks(model: nn.Module) -> list[Tensor]:
    return [layer.mask.clone() for layer in layers_of(model)]


def start(
    model: nn.Module, recipe: Recipe, steps: int = 20, **options: Any
) -> tuple[torch.optim.Optimizer, Perforator]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    return optimizer, sparbor.perforate(model, optimizer, recipe, total_steps=steps, **options)


@pytest.mark.parametrize("storage", ["masked", "compact"])
def test_fixed_masks_stay_and_train_as_the_masked_dense_model_does(storage: Any, only_dense_kernels: None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(PAINeuronModule(nn.Linear(128, 256), sparsity=0.75), nn.ReLU(), nn.Linear(256, 16))
    model[0].set_mode("d")  # type: ignore[operator]
    oracle = copy.deepcopy(model)
    (before,) = masks(model)
    optimizer, perforator = start(model, FIXED, storage=storage)
    assert layers_of(model)[0].compact == (storage == "compact")
    train(model, optimizer, 10)
    assert torch.equal(layers_of(model)[0].mask, before)
    assert perforator.density() == 0.25
    assert (layers_of(model)[0].weight[~before] == 0).all()
    # The same layers without a run multiply by their masks in every forward pass.
    other = torch.optim.AdamW(oracle.parameters(), lr=1e-2, weight_decay=0.1)
    train(oracle, other, 10)
    wanted = layers_of(oracle)[0].weight * before
    torch.testing.assert_close(layers_of(model)[0].weight, wanted, rtol=1e-4, atol=1e-6)


def test_steps_are_longer_by_the_density() -> None:
    moved = []
    for exponent in (0.0, 1.0):
        model = masked(0.75)
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        sparbor.perforate(model, optimizer, Recipe(method="fixed", lr_density_exponent=exponent), total_steps=5)
        before = layers_of(model)[0].weight.detach().clone()
        train(model, optimizer, 1)
        moved.append((layers_of(model)[0].weight - before).detach())
    torch.testing.assert_close(moved[1], 4 * moved[0], rtol=1e-3, atol=1e-6)


def test_what_is_said_of_a_run_of_fixed_masks() -> None:
    model = nn.Sequential(*masked(), nn.Linear(16, 16))
    _, perforator = start(model, FIXED)
    assert [(row.density, row.final_density) for row in perforator.rows()] == [(0.5, 0.5)] * 3 + [(None, None)]
    assert perforator.rows()[3].why == "it has no mask that could be kept"
    assert "stay in order: the model came with masks, whose order is kept" in str(perforator)
    assert Recipe.from_json(FIXED.to_json()) == FIXED


def test_dropped_weights_that_somebody_changed_are_zero_again() -> None:
    model = masked()
    with torch.no_grad():
        layers_of(model)[0].parameter.add_(1.0)
    start(model, FIXED)
    assert (layers_of(model)[0].parameter[~layers_of(model)[0].mask] == 0).all()


def test_a_layer_that_is_left_alone_keeps_its_mask_and_says_why() -> None:
    model = masked()
    layers_of(model)[1].parameter.requires_grad_(False)
    _, perforator = start(model, Recipe(method="fixed", exclude=("0",)))
    rows = perforator.rows()
    assert [row.why for row in rows[:2]] == ["excluded by the recipe", "frozen: its weight needs no gradient"]
    assert "stored dense" in (rows[2].why or "stored dense"), "which some machines run faster at this density"
    assert [(row.dendritic, row.density) for row in rows] == [(True, 0.5)] * 3


@pytest.mark.parametrize("method", ["magnitude", "rigl", "set"])
def test_a_run_goes_on_from_masks_to_a_sparser_model(method: Any) -> None:
    model = masked()
    before = masks(model)
    recipe = Recipe(0.9, method, distribution="uniform", schedule=Schedule(warmup=0.2, ramp_end=0.6, interval=1))
    optimizer, perforator = start(model, recipe)
    densities = [perforator.density()]
    for _ in range(20):
        train(model, optimizer, 1)
        densities.append(perforator.density())
    assert densities[:4] == [0.5] * 4, "the masks rest as long as a dense model would be dense"
    assert densities == sorted(densities, reverse=True)
    assert densities[-1] == pytest.approx(0.1, abs=0.01)
    never = all((old | ~new).all() for old, new in zip(before, masks(model), strict=True))
    assert never == (method == "magnitude"), "weights come back where the method grows"


def test_layers_that_are_sparser_already_keep_what_they_have_and_the_others_make_up_for_it() -> None:
    model = masked(0.5, "uniform")
    layers_of(model)[2].set_mode("n")
    layers_of(model)[2].sparsity = 0.9
    layers_of(model)[2].set_mode("d")
    recipe = Recipe(0.7, "magnitude", distribution="uniform")
    optimizer, perforator = start(model, recipe)
    train(model, optimizer, 20)
    densities = [1 - layer.get_sparsity() for layer in layers_of(model)]
    assert densities[2] == pytest.approx(0.1, abs=0.04)
    assert densities[0] == pytest.approx(densities[1], abs=0.01)
    assert perforator.density() == pytest.approx(0.3, abs=0.005)


def test_masks_of_another_pattern_become_those_of_the_recipe() -> None:
    model = masked()
    optimizer, perforator = start(model, Recipe(0.8, "magnitude", Unstructured(), "global"))
    train(model, optimizer, 20)
    assert perforator.density() == pytest.approx(0.2, abs=0.001)


def test_a_resumed_run_goes_on_bit_for_bit_wherever_its_masks_came_from() -> None:
    recipe = Recipe(0.9, "rigl", distribution="erk", schedule=Schedule(interval=2))
    model = masked()
    optimizer, perforator = start(model, recipe)
    train(model, optimizer, 9)
    parts = model, optimizer, perforator
    saved = copy.deepcopy([part.state_dict() for part in parts])
    train(model, optimizer, 11)
    for again in (masked(), masked(0.3), sparbor.unwrap(masked())):
        other = start(again, recipe)
        for part, state in zip((again, *other), saved, strict=True):
            part.load_state_dict(copy.deepcopy(state))
        train(again, other[0], 11)
        assert all(torch.equal(a, b) for a, b in zip(masks(again), masks(model), strict=True))
        assert torch.equal(layers_of(again)[0].weight, layers_of(model)[0].weight)
    with pytest.raises(StateError, match="damaged: it has no numbers of the active weights that its run began with"):
        other[1].load_state_dict({**saved[2], "active_at_first": {"0": 10**9}})


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        (
            Recipe(0.3, "magnitude"),
            r"the masks that the layers that share its sparsity came with keep 50 % of the weights, the recipe wants"
            r" 70 %, and method='magnitude' only drops: raise the sparsity, or pass method='fixed'",
        ),
        (Recipe(0.9, "static", layers={"2": 0.2}), r"the masks that layer '2' came with keep 50 %"),
        (Recipe(0.9, growth=Growth(at=(0.5,))), r"growth=.*have masks already, and a growth is planned from dense"),
        (Recipe(budget=Budget(multiply_adds=9)), r"budget=.*have masks already, and a budget is planned from dense"),
    ],
)
def test_what_cannot_begin_with_masks_is_refused(recipe: Recipe, text: str) -> None:
    model = masked()
    with pytest.raises(ArgumentError, match=text):
        start(model, recipe)
    assert all(layer.controller is None for layer in layers_of(model))


def test_fixed_needs_masks_and_nothing_that_would_change_them() -> None:
    model = sparbor.unwrap(masked())
    with pytest.raises(ArgumentError, match=r"no layer of the model has a mask.*sparbor\.sparsify.*method='static'"):
        start(model, FIXED)
    for name, value in {"sparsity": 0.0, "layers": {"0": 0.5}, "growth": Growth(), "distribution": "erk"}.items():
        with pytest.raises(ArgumentError, match=rf"method='fixed' and {name}=.*the masks stay those"):
            Recipe(method="fixed", **{name: value})  # type: ignore[arg-type]


def test_models_of_a_living_run_or_with_dendrites_are_refused() -> None:
    model = masked()
    _, perforator = start(model, FIXED)
    with pytest.raises(ArgumentError, match=r"already perforated \(layer '0'\).*perforator\.detach\(\) ends the run"):
        start(model, FIXED)
    perforator.detach()
    start(model, FIXED)
    grown = sparbor.unwrap(masked())
    start(grown, Recipe(0.5, growth=Growth(at=(0.5,))))[1].detach()
    with pytest.raises(ArgumentError, match="has dendrites, which no other run goes on with"):
        start(grown, Recipe(0.9))


# Sparsities of layers' own.


def network() -> nn.Sequential:
    blocks = [nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)) for _ in range(3)]
    return nn.Sequential(*blocks)


@pytest.mark.parametrize("distribution", ["uniform", "erk", "global"])
def test_layers_have_their_own_sparsity_and_the_others_share_the_rest(distribution: Any) -> None:
    model = network()
    recipe = Recipe(0.8, "magnitude", distribution=distribution, layers={"0.2": 0.25, "0.*": 0.5, "1.*": 0.0})
    optimizer, perforator = start(model, recipe)
    finals = [row.final_density for row in perforator.rows()]
    assert finals[:4] == [0.5, 0.75, 1.0, 1.0], "the first pattern that matches counts"
    assert finals[4:] == ([None] * 2 if distribution == "global" else pytest.approx([0.2, 0.2]))
    assert perforator.rows()[2].why == "stored dense: it keeps all of its weights (layers)"
    for _ in range(20):
        model(torch.randn(8, 64)).square().mean().backward()
        optimizer.step()
    densities = [1 - layer.get_sparsity() for layer in layers_of(model)]
    assert densities[:4] == pytest.approx([0.5, 0.75, 1.0, 1.0], abs=0.01)
    assert sum(densities[4:]) == pytest.approx(0.4, abs=0.01)


def test_every_layer_may_be_named_and_json_keeps_the_order() -> None:
    recipe = Recipe(layers={"2.*": 0.5, "*": 0.75})
    assert recipe.layers == (("2.*", 0.5), ("*", 0.75))
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert hash(Recipe.from_json(recipe.to_json())) == hash(recipe)
    assert "layers" not in Recipe().to_dict()
    _, perforator = start(network(), recipe)
    assert [row.final_density for row in perforator.rows()] == [0.25] * 4 + [0.5] * 2


def test_a_model_that_shares_no_sparsity_trains_those_that_have_one() -> None:
    model = network()
    optimizer, perforator = start(model, Recipe(0.0, "magnitude", layers={"0.*": 0.5}))
    for _ in range(20):
        model(torch.randn(8, 64)).square().mean().backward()
        optimizer.step()
    assert perforator.density() == pytest.approx(5 / 6, abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"layers": {"0.*": 1.0}}, r"layers\['0\.\*'\]=1\.0: must be a sparsity of at least 0 and below 1"),
        ({"layers": {"0.*": "a"}}, r"layers\['0\.\*'\]='a': must be a sparsity"),
        ({"layers": {3: 0.5}}, r"layers: 3 is no name"),
        ({"layers": 0.5}, r"layers=0\.5: must be a dict of name patterns and sparsities, such as \{'\*\.mlp"),
        ({"layers": ("0",)}, r"layers=\('0',\): must be a dict"),
        ({"layers": {"0": 0.5}, "growth": Growth()}, r"growth and layers: dendrites take their weights out of"),
        ({"layers": {"0": 0.5}, "budget": Budget(kilobytes=3)}, r"layers and Budget\(kilobytes=3\): a budget divides"),
        (
            {"layers": {"0": 0.3}, "pattern": sparbor.NM(2, 4)},
            r"layers\['0'\]=0\.3: NM\(n=2, m=4\) cannot keep more than 0\.5",
        ),
    ],
)
def test_bad_layers(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Recipe(**arguments)


@pytest.mark.parametrize("layers", [{"x.*": 0.5}, {"*": 0.5, "0.*": 0.7}, {"1.*": 0.5}])
def test_a_pattern_that_decides_for_no_layer_is_refused(layers: dict[str, float]) -> None:
    name = list(layers)[-1]
    with pytest.raises(ArgumentError, match=rf"layers\['{name.replace('*', '.*')}'\].*names no layer that becomes"):
        start(network(), Recipe(layers=layers, exclude=("1.*",) if name == "1.*" else ()))


# The recipe for fine-tuning.


def test_the_recipe_for_fine_tuning() -> None:
    recipe = Recipe.fine_tuning(0.8, exclude=("head",), layers={"*.0": 0.5})
    assert (recipe.sparsity, recipe.method, recipe.exclude) == (0.8, "magnitude", ("head",))
    timeline = recipe.timeline(1000)
    assert (timeline.switch, timeline.ramp_end) == (100, 750)
    assert not any(timeline.rewires(step) for step in range(751, 1000))
    assert Recipe.fine_tuning().sparsity == 0.9
    assert Recipe.fine_tuning(method="rigl", sparsity=0.5).method == "rigl"
