"""perforate() and the Perforator: schedules that run themselves, budgets, resuming, modes by hand, refusals."""

import copy
import io
import logging
from typing import Any

import api_reference
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

import sparbor
from sparbor import NM, Perforator, Quads, Recipe, Schedule, Slots, Unstructured
from sparbor.errors import ArgumentError, StateError
from sparbor.nn.neuron import PAINeuronModule
from sparbor.recipe.pattern import BlockPattern, Pattern
from sparbor.topology.units import slot_counts
from tests.loops import train

torch.set_num_threads(1)


def cnn() -> nn.Sequential:
    """Shapes that are no multiples of 16 or 32, a grouped convolution, and a layer that cannot be taken."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 20, 3),
        nn.BatchNorm2d(20),
        nn.ReLU(),
        nn.Conv2d(20, 34, 3, groups=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(34 * 16, 33),
        nn.ReLU(),
        nn.Linear(33, 10),
    )


def start(recipe: Recipe, total_steps: int = 20) -> tuple[nn.Module, Optimizer, Perforator]:
    model = cnn()
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    return model, optimizer, sparbor.perforate(model, optimizer, recipe, total_steps=total_steps)


def masks(perforator: Perforator) -> list[Tensor]:
    return [module.mask.clone() for module in perforator.modules.values()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def assert_budgets_kept(perforator: Perforator, recipe: Recipe) -> None:
    """DESIGN section 3: fewer than a slot's (or quad's) weights a layer off, in total for `global`; from the masks."""
    unit = 16 * recipe.pattern.synapses
    weights = [mask.numel() for mask in masks(perforator)]
    active = [int(mask.sum()) for mask in masks(perforator)]
    progress = max(
        (perforator.timeline.progress(s) for s in range(perforator.steps + 1) if perforator.timeline.rewires(s)),
        default=0,
    )
    density = 1 - progress * recipe.sparsity
    if recipe.distribution == "uniform":
        assert all(abs(a - density * w) < unit for a, w in zip(active, weights, strict=True))
    elif recipe.distribution == "erk":
        assert abs(sum(active) - density * sum(weights)) < unit * len(weights)
    else:
        assert abs(sum(active) - density * sum(weights)) < unit
    assert perforator.density() == sum(active) / sum(weights)


def ranks_kept(mask: Tensor, module: PAINeuronModule) -> Tensor:
    """How many synapses the neurons of a block have at most on each branch."""
    as_slots = Slots(branch=module.pattern.branch)
    return slot_counts(mask, as_slots, module.groups, module.input_row)


def assert_pattern(module: PAINeuronModule) -> None:
    mask = module.to_matrix(module.mask)
    if isinstance(module.pattern, BlockPattern):
        counts = ranks_kept(mask, module)
        neurons = mask.shape[0] // module.groups
        sizes = torch.tensor([len(part) for part in torch.arange(neurons).split(16)] * module.groups)
        assert (counts * sizes[:, None]).sum() == mask.sum(), "all neurons of a group have equally many on a branch"


def test_the_perforator_has_what_the_reference_shows_and_nothing_that_layers_call() -> None:
    public = {name for name in vars(Perforator) if not name.startswith("_")}
    assert public == {*api_reference.MEMBERS["Perforator"], "steps"}  # which is among the attributes


@pytest.mark.parametrize("method", ["rigl", "set", "magnitude", "static"])
@pytest.mark.parametrize(
    ("pattern", "distribution"),
    [(p, d) for p in (Slots(), Quads(), Unstructured()) for d in ("uniform", "erk", "global")]
    + [(NM(1, 4), "uniform")],
    ids=str,
)
def test_budget_and_pattern_hold_at_every_step(pattern: Pattern, distribution: Any, method: Any) -> None:
    recipe = Recipe(0.85, method, pattern, distribution, Schedule(interval=2))
    model, optimizer, perforator = start(recipe)
    assert list(perforator.modules) == ["0", "3", "6", "8"]
    for step in range(24):
        before = masks(perforator)
        train(model, optimizer, 1, step)
        assert_budgets_kept(perforator, recipe)
        for module, old in zip(perforator.modules.values(), before, strict=True):
            assert_pattern(module)
            assert (module.weight[~module.mask] == 0).all()
            # Where a quota falls, windows get weights back for those of others that have too few left.
            if method in ("magnitude", "static") and not isinstance(pattern, NM):
                assert not (module.mask & ~old).any(), "nothing grows"
        changes = not same(before, masks(perforator))
        assert not changes or perforator.timeline.rewires(step + 1)
    assert perforator.density() == pytest.approx(
        0.15, abs=0.02 if distribution == "uniform" else 0.002 * pattern.synapses
    )
    if isinstance(pattern, NM):
        for mask in masks(perforator):
            assert all((window.sum(1) <= 1).all() for window in mask.flatten(1).split(4, dim=1))
    if method in ("rigl", "set"):
        assert perforator.timeline.drop(12) > 0
    sparbor.unwrap(model)
    train(model, optimizer, 1)


def decoder() -> nn.Sequential:
    """Transposed convolutions, plain and grouped, with different numbers of inputs and outputs."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(12, 12 * 4),
        nn.Unflatten(1, (12, 2, 2)),
        nn.ConvTranspose2d(12, 34, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(34, 40, 3, groups=2),
        nn.ReLU(),
        nn.ConvTranspose2d(40, 16, 3),
    )


@pytest.mark.parametrize("method", ["rigl", "set"])
@pytest.mark.parametrize("distribution", ["uniform", "erk", "global"])
def test_transposed_convolutions_train_and_resume(distribution: Any, method: Any) -> None:
    recipe = Recipe(0.85, method, distribution=distribution, schedule=Schedule(interval=2))
    x, y = torch.randn(8, 12), torch.randn(8, 16, 8, 8)

    def begin() -> tuple[nn.Module, Optimizer, Perforator]:
        model = decoder()
        optimizer = torch.optim.AdamW(model.parameters(), 0.005, weight_decay=0.1)
        return model, optimizer, sparbor.perforate(model, optimizer, recipe, total_steps=20)

    def go_on(model: nn.Module, optimizer: Optimizer, perforator: Perforator, steps: int) -> None:
        for _ in range(steps):
            before = masks(perforator)
            F.mse_loss(model(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
            assert_budgets_kept(perforator, recipe)
            for module, old in zip(perforator.modules.values(), before, strict=True):
                assert_pattern(module)
                assert (module.weight[~module.mask] == 0).all()
                newborn = module.mask & ~old
                assert (module.weight[newborn] == 0).all()
                assert (optimizer.state[module.weight]["exp_avg"][newborn] == 0).all()

    model, optimizer, perforator = first = begin()
    assert list(perforator.modules) == ["0", "2", "4", "6"]
    go_on(*first, 12)
    state = copy.deepcopy((model.state_dict(), optimizer.state_dict(), perforator.state_dict()))
    go_on(*first, 10)
    second = begin()
    for part, saved in zip(second, state, strict=True):
        part.load_state_dict(saved)
    go_on(*second, 10)
    assert same(masks(perforator), masks(second[2]))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), second[0].parameters(), strict=True))
    dense = copy.deepcopy(model)
    assert torch.equal(sparbor.unwrap(model)(x), dense(x)), "a copy masks by itself"


def test_a_transposed_convolution_grows_where_its_own_gradient_is_largest() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.ConvTranspose2d(4, 16, 2, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    schedule = Schedule(warmup=0.0, ramp_end=0.0, interval=1, drop_fraction=0.1)
    perforator = sparbor.perforate(
        model, optimizer, Recipe(0.5, pattern=Unstructured(), schedule=schedule), total_steps=10
    )
    module = perforator.modules["0"]
    before = module.mask.clone()
    x = torch.zeros(1, 4, 3, 3)
    x[:, 2] = 1.0  # the weights of the other inputs have no gradient
    model(x).square().sum().backward()
    optimizer.step()
    newborn = (module.mask & ~before).nonzero()
    assert len(newborn) > 0
    assert set(newborn[:, 0].tolist()) == {2}


@pytest.mark.parametrize("total_steps", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("method", ["rigl", "set", "magnitude", "static"])
def test_short_runs_reach_their_sparsity(total_steps: int, method: Any) -> None:
    recipe = Recipe(0.9, method, distribution="uniform")
    model, optimizer, perforator = start(recipe, total_steps)
    train(model, optimizer, total_steps)
    assert all(module.mode == "d" for module in perforator.modules.values())
    assert all(abs(module.active_weights() - 0.1 * module.mask.numel()) < 16 for module in perforator.modules.values())


def test_dense_at_first_then_sparse() -> None:
    model, optimizer, perforator = start(Recipe(0.9), 30)
    parameters = list(model.parameters())
    plain = cnn()
    other = torch.optim.Adam(plain.parameters(), 0.005)
    train(model, optimizer, 2)
    train(plain, other, 2)
    assert all(module.mode == "n" for module in perforator.modules.values())
    assert perforator.density() == 1.0
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs), "neuron mode is the dense training"
    train(model, optimizer, 1, 2)
    assert all(module.mode == "d" for module in perforator.modules.values())
    train(model, optimizer, 27, 3)
    assert perforator.density() == pytest.approx(0.1, abs=0.01)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))


def test_sparsity_zero_is_dense_training() -> None:
    model, optimizer, perforator = start(Recipe(0.0))
    plain = cnn()
    other = torch.optim.Adam(plain.parameters(), 0.005)
    train(model, optimizer, 20)
    train(plain, other, 20)
    assert all(mask.all() for mask in masks(perforator))
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_steps_past_the_end_keep_the_last_masks() -> None:
    model, optimizer, perforator = start(Recipe(0.9))
    train(model, optimizer, 20)
    last = masks(perforator)
    weight = perforator.modules["6"].weight.clone()
    train(model, optimizer, 15, 20)
    assert perforator.steps == 35
    assert same(last, masks(perforator))
    assert not torch.equal(weight, perforator.modules["6"].weight)
    assert all((module.weight[~module.mask] == 0).all() for module in perforator.modules.values())


def test_rigl_grows_where_the_dense_gradient_is_largest() -> None:
    """The oracle: one backward pass of the same weights in a plain dense model."""
    recipe = Recipe(0.8, "rigl", Unstructured(), schedule=Schedule(ramp_end=0.6, interval=4, drop_fraction=0.3))
    model, optimizer, perforator = start(recipe, 40)
    grown_at_all = 0
    for step in range(36):
        if perforator.timeline.rewires(step + 1) and step >= 24:
            before = masks(perforator)
            plain = sparbor.unwrap(copy.deepcopy(model))
            train(plain, torch.optim.SGD(plain.parameters(), 0.0), 0)
            generator = torch.Generator().manual_seed(step)
            x = torch.randn(8, 3, 8, 8, generator=generator)
            y = torch.randint(0, 10, (8,), generator=generator)
            F.cross_entropy(plain(x), y).backward()
            train(model, optimizer, 1, step)
            for (name, module), old in zip(perforator.modules.items(), before, strict=True):
                gradient = plain.get_submodule(name).weight.grad.abs()  # type: ignore[union-attr, operator]
                grown = module.mask & ~old
                left = ~module.mask & ~old
                grown_at_all += int(grown.sum())
                if grown.any():
                    assert gradient[grown].min() >= gradient[left].max()
        else:
            train(model, optimizer, 1, step)
    assert grown_at_all > 100


@pytest.mark.parametrize("method", ["rigl", "set"])
def test_the_same_seed_gives_the_same_masks(method: Any) -> None:
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed + 17)  # the global generator has no part in it
        model, optimizer, perforator = start(Recipe(0.9, method, seed=seed))
        state = torch.get_rng_state()
        train(model, optimizer, 20)
        assert torch.equal(torch.get_rng_state(), state)
        results.append(masks(perforator))
    assert same(results[0], results[1])
    assert same(results[0], results[2]) == (method == "rigl")


# Layers in unusual circumstances.


@pytest.mark.parametrize("pattern", [Slots(), Quads(), NM(2, 4), Unstructured()])
@pytest.mark.parametrize("method", ["rigl", "set", "magnitude"])
def test_a_loss_that_was_not_a_number_leaves_dropped_weights_at_zero(pattern: Pattern, method: Any) -> None:
    """Rewiring goes on too: weights that are not numbers count as zeros."""
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 16))
    optimizer = torch.optim.Adam(model.parameters())
    recipe = Recipe(0.9, method, pattern=pattern, distribution="uniform")
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=30)
    for step in range(30):
        (model(torch.randn(4, 64)).sum() * (torch.nan if step == 15 else 1.0)).backward()
        optimizer.step()
        optimizer.zero_grad()
        assert all((module.weight[~module.mask] == 0).all() for module in perforator.modules.values())
    assert all(module.weight[module.mask].isnan().all() for module in perforator.modules.values())
    assert perforator.density() == pytest.approx(0.1, abs=0.02)


def test_a_weight_that_is_born_after_a_gradient_was_not_finite_starts_afresh() -> None:
    model = nn.Sequential(nn.Linear(64, 32))
    optimizer = torch.optim.Adam(model.parameters())
    recipe = Recipe(0.9, schedule=Schedule(warmup=0, ramp_end=0))
    layer = sparbor.perforate(model, optimizer, recipe, total_steps=1).modules["0"]
    model(torch.randn(4, 64)).sum().backward()
    optimizer.step()
    with torch.no_grad():
        layer.weight[~layer.mask] = torch.nan
        optimizer.state[layer.weight]["exp_avg"][~layer.mask] = torch.nan
    layer.apply_mask()
    layer.set_mask(torch.ones_like(layer.mask))
    model(torch.randn(4, 64)).sum().backward()
    optimizer.step()
    assert layer.weight.isfinite().all()


def test_a_layer_left_with_no_slot_still_works() -> None:
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
    with torch.no_grad():
        model[0].weight *= 1e-4
    optimizer = torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0.1)
    recipe = Recipe(0.9, "static", distribution="global", schedule=Schedule(warmup=0))
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=20)
    first = perforator.modules["0"]
    assert first.active_weights() == 0
    assert first.active_parameters() == 32
    assert first.get_sparsity() == 1.0
    bias = first.bias.clone()
    for _ in range(25):
        x = torch.randn(8, 64)
        (model(x) - 1).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert (first.weight == 0).all()
    assert not torch.equal(bias, first.bias)
    assert torch.equal(first(x), first.bias.expand(8, 32))
    assert torch.equal(copy.deepcopy(first)(x), first(x))


def test_one_neuron_and_one_input() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 40), nn.Linear(40, 1), nn.Linear(1, 1, bias=False))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    recipe = Recipe(0.5, schedule=Schedule(interval=1))
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=20)
    for _ in range(20):
        model(torch.randn(8, 1)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert_budgets_kept(perforator, recipe)


@pytest.mark.parametrize("method", ["rigl", "set"])
def test_layers_frozen_later_and_layers_without_a_gradient(method: Any) -> None:
    """A frozen layer keeps its density schedule, but its topology rests: what would grow could not learn."""
    model = nn.ModuleDict({"used": nn.Linear(64, 64), "unused": nn.Linear(64, 64), "frozen": nn.Linear(64, 64)})
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    recipe = Recipe(0.75, method, schedule=Schedule(interval=1))
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=40)
    history: list[list[Tensor]] = []
    for step in range(40):
        model["frozen"](model["used"](torch.randn(8, 64))).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if step == 20:
            model["frozen"].requires_grad_(False)
        assert_budgets_kept(perforator, recipe)
        history.append(masks(perforator))
    names = list(perforator.modules)
    changed = {name: not torch.equal(history[26][at], history[-1][at]) for at, name in enumerate(names)}
    assert changed == {"used": True, "unused": method == "set", "frozen": False}
    assert perforator.modules["unused"].weight.grad is None


def test_layers_wrapped_by_hand_are_taken_over() -> None:
    layer = nn.Linear(64, 32)
    mine = PAINeuronModule(layer, "mine", sparsity=0.5)
    model = nn.Sequential(mine, nn.ReLU(), nn.Linear(32, 16))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    recipe = Recipe(0.9, distribution="uniform")
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=10)
    assert model[0] is mine
    for _ in range(10):
        model(torch.randn(4, 64)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert mine.get_sparsity() == pytest.approx(0.9, abs=0.01)
    assert mine.name == "mine"
    assert perforator.modules["0"] is mine


def test_evaluation_mode_is_kept() -> None:
    model = nn.Sequential(nn.Linear(8, 8)).eval()
    sparbor.perforate(model, torch.optim.SGD(model.parameters(), 0.1), total_steps=10)
    assert not any(module.training for module in model.modules())


# Modes by hand.


def test_switching_by_hand() -> None:
    model, optimizer, perforator = start(Recipe(0.9, schedule=Schedule(warmup=0.3)), 30)
    train(model, optimizer, 3)
    perforator.set_mode("d")
    assert perforator.density() == pytest.approx(0.1, abs=0.01)
    for module in perforator.modules.values():
        state = optimizer.state[module.weight]
        assert (state["exp_avg"][~module.mask] == 0).all()
        assert (module.weight[~module.mask] == 0).all()
    train(model, optimizer, 3, 3)
    assert all((module.weight[~module.mask] == 0).all() for module in perforator.modules.values())
    perforator.modules["6"].set_mode("n")
    zeros = perforator.modules["6"].active_zeros()
    train(model, optimizer, 1, 6)
    assert perforator.modules["6"].get_sparsity() == 0.0
    assert perforator.modules["6"].active_zeros() < zeros - 1000, "the dropped weights learn again"
    train(model, optimizer, 23, 7)
    assert perforator.density() == pytest.approx(0.1, abs=0.01), "the schedule decides at its next rewiring"
    perforator.set_mode("n")
    assert perforator.density() == 1.0
    train(model, optimizer, 5, 30)
    assert perforator.density() == 1.0
    with pytest.raises(ArgumentError, match=r"mode='dense': must be 'n'"):
        perforator.set_mode("dense")  # type: ignore[arg-type]


def test_a_mask_set_by_hand_that_is_too_sparse_is_filled_by_growth() -> None:
    recipe = Recipe(0.8, distribution="uniform", schedule=Schedule(ramp_end=0.6, interval=1))
    model, optimizer, perforator = start(recipe, 40)
    train(model, optimizer, 25)
    module = perforator.modules["6"]
    module.set_mask(torch.zeros_like(module.mask))
    train(model, optimizer, 1, 25)
    assert abs(module.active_weights() - 0.2 * module.mask.numel()) < 16


# Resuming.


@pytest.mark.parametrize("method", ["rigl", "set"])
@pytest.mark.parametrize("at", [3, 11, 17])
def test_resuming_is_bit_for_bit(method: Any, at: int) -> None:
    recipe = Recipe(0.9, method, schedule=Schedule(interval=2))
    model, optimizer, perforator = start(recipe)
    train(model, optimizer, at)
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict(), perforator.state_dict()], file)
    train(model, optimizer, 22 - at, at)

    file.seek(0)
    states = torch.load(file, weights_only=True)
    torch.manual_seed(5)
    again, optimizer2, perforator2 = start(recipe)
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.normal_()
    for part, state in zip((again, optimizer2, perforator2), states, strict=True):
        part.load_state_dict(state)
    assert perforator2.steps == at
    train(again, optimizer2, 22 - at, at)
    assert same(masks(perforator), masks(perforator2))
    for ours, theirs in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert str(optimizer.state_dict()) == str(optimizer2.state_dict())


def test_states_of_other_runs_are_refused() -> None:
    _, _, perforator = start(Recipe(0.9))
    before = perforator.state_dict()

    def refused(text: str, **changes: Any) -> None:
        with pytest.raises(StateError, match=text):
            perforator.load_state_dict({**before, "steps": 7, **changes})
        assert perforator.steps == 0

    refused(r"perforator state of version 3: this release reads version 2; resume with the release", version=3)
    refused(r"the state has other layers \(0: None where this run has \[20, 3, 3, 3\].*\): load it into the", layers={})
    refused(r"the state has other layers \(0: \[1, 2\] where", layers={**before["layers"], "0": [1, 2]})
    refused(
        r"other recipe \(sparsity: 0\.8 where this run has 0\.9\): pass the recipe it was saved with to sparbor\.perf",
        recipe=Recipe(0.8).to_dict(),
    )
    refused(r"other total_steps \(99 where this run has 20\): pass the total_steps it was saved with", total_steps=99)
    with pytest.raises(StateError, match="version None"):
        perforator.load_state_dict({})
    perforator.load_state_dict({**before, "steps": 7})
    assert perforator.steps == 7


def test_a_dense_checkpoint_is_refused_before_anything_changes() -> None:
    """By the model, by any part of it, and by copies; a batch norm before the first dendritic layer stays as it was."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 8))
    model = nn.Sequential(nn.ModuleDict({"body": body}), nn.Linear(8, 8))
    dense = copy.deepcopy(model)
    for parameter in dense.parameters():
        nn.init.constant_(parameter, 7.0)
    perforator = sparbor.perforate(model, torch.optim.SGD(model.parameters(), 0.1), total_steps=10)
    before = copy.deepcopy(model.state_dict())
    for loading, source in (
        (model, dense),
        (body, dense[0]["body"]),  # type: ignore[index]
        (model[0], dense[0]),
        (copy.deepcopy(model), dense),
    ):
        for strict in (True, False):
            with pytest.raises(
                StateError, match=r"the state dict holds a dense layer '.*1', the model a dendritic one"
            ):
                loading.load_state_dict(source.state_dict(), strict=strict)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    perforator.detach()
    sparbor.unwrap(model)
    model.load_state_dict(dense.state_dict())
    assert (body[1].weight == 7).all()


def test_state_dicts_move_between_a_run_and_layers_wrapped_by_hand() -> None:
    model, optimizer, _ = start(Recipe(0.9))
    train(model, optimizer, 20)
    other = cnn()
    for index in (0, 3, 6, 8):
        other[index] = PAINeuronModule(other[index], str(index))
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(other.eval()(x), model.eval()(x))


# The end, and refusals.


def test_unwrap_ends_it_all() -> None:
    model, optimizer, perforator = start(Recipe(0.9))
    parameters = list(model.parameters())
    train(model, optimizer, 20)
    x = torch.randn(2, 3, 8, 8)
    output = model.eval()(x)
    expected = [int((~module.mask).sum()) + module.active_zeros() for module in perforator.modules.values()]
    assert sparbor.unwrap(model) is model
    assert [type(model[index]) for index in (0, 3, 6, 8)] == [nn.Conv2d, nn.Conv2d, nn.Linear, nn.Linear]  # type: ignore[index]
    assert torch.equal(model(x), output)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    zeros = [int((model[index].weight == 0).sum()) for index in (0, 3, 6, 8)]  # type: ignore[index]
    assert zeros == expected
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert all(not parameter._backward_hooks for parameter in parameters)
    train(model.train(), optimizer, 1)
    assert (model[6].weight == 0).sum() < expected[2] - 100, "no hook is left"  # type: ignore[index]
    assert perforator.steps == 20
    model.load_state_dict(cnn().state_dict())
    sparbor.perforate(model, optimizer, Recipe(0.5), total_steps=10)


def test_detach_leaves_masks_that_hold_by_themselves() -> None:
    model, optimizer, perforator = start(Recipe(0.9))
    train(model, optimizer, 20)
    last = masks(perforator)
    perforator.detach()
    perforator.detach()
    train(model, optimizer, 5, 20)
    assert perforator.steps == 20
    x = torch.randn(2, 3, 8, 8)
    output = model.eval()(x)
    assert same(last, masks(perforator))
    assert torch.equal(sparbor.unwrap(model)(x), output)


def test_a_model_of_many_layers_is_let_go() -> None:
    model = nn.Sequential(*[nn.Linear(2, 2) for _ in range(600)])
    sparbor.perforate(model, torch.optim.SGD(model.parameters(), 0.1), total_steps=10)
    sparbor.unwrap(model)
    assert not any(isinstance(module, PAINeuronModule) for module in model.modules())


def test_perforating_twice() -> None:
    model, optimizer, _ = start(Recipe(0.9))
    with pytest.raises(
        ArgumentError,
        match=r"already perforated \(layer '0'\): a model is perforated once; perforator\.detach\(\) ends",
    ):
        sparbor.perforate(model, optimizer, total_steps=10)
    train(model, optimizer, 20)
    twin = copy.deepcopy(model)
    sparbor.unwrap(twin)
    sparbor.perforate(twin, torch.optim.SGD(twin.parameters(), 0.1), total_steps=10)


def test_arguments() -> None:
    model = cnn()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ArgumentError, match=r"model is a list: must be a torch\.nn\.Module"):
        sparbor.perforate([model], optimizer, total_steps=10)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"optimizer is a generator: must be a torch\.optim\.Optimizer"):
        sparbor.perforate(model, model.parameters(), total_steps=10)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"total_steps=0: must be a whole number of at least 1 optimizer step"):
        sparbor.perforate(model, optimizer, total_steps=0)
    with pytest.raises(ArgumentError, match=r"exclude='nothing': matches no layer"):
        sparbor.perforate(model, optimizer, Recipe(exclude=("nothing",)), total_steps=10)
    assert isinstance(model[0], nn.Conv2d), "nothing was touched"


def test_what_was_wrapped_is_data_and_a_table(caplog: pytest.LogCaptureFixture, capsys: Any) -> None:
    with caplog.at_level(logging.INFO, logger="sparbor"):
        _, _, perforator = start(Recipe(0.9, exclude=("8",)))
    assert {finding.name: finding.taken for finding in perforator.findings} == {
        "0": True,
        "1": False,
        "3": True,
        "6": True,
        "8": False,
    }
    assert "no         dense       dense  excluded by the recipe" in str(perforator)
    assert [record.message for record in caplog.records] == [f"perforated Sequential\n{perforator}"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"steps": -5}, r"the state is damaged: steps=-5"),
        ({"steps": None}, r"the state is damaged: steps=None"),
        ({"generator": "x"}, r"the state is damaged: steps=0 and a str as generator"),
        ({"generator": torch.zeros(3)}, r"the state's generator cannot be restored"),
    ],
)
def test_a_damaged_state_is_refused(change: dict[str, object], text: str) -> None:
    model = nn.Sequential(nn.Linear(64, 32))
    perforator = sparbor.perforate(model, torch.optim.SGD(model.parameters(), lr=0.1), total_steps=100)
    with pytest.raises(StateError, match=text):
        perforator.load_state_dict({**perforator.state_dict(), **change})
    assert perforator.steps == 0


def test_arguments_of_the_wrong_kind() -> None:
    model = nn.Sequential(nn.Linear(64, 32))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ArgumentError, match=r"recipe is a dict: must be a sparbor\.Recipe, or None"):
        sparbor.perforate(model, optimizer, {"sparsity": 0.9}, total_steps=100)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"model is a NoneType: must be a torch\.nn\.Module"):
        sparbor.unwrap(None)  # type: ignore[arg-type]
    perforator = sparbor.perforate(model, optimizer, total_steps=100)
    with pytest.raises(StateError, match=r"the perforator's state is a NoneType: pass what state_dict\(\) gave"):
        perforator.load_state_dict(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("storage", ["masked", "compact"])
def test_a_parameter_that_the_optimizer_does_not_hold_is_named(storage: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 16))
    optimizer = torch.optim.Adam(model.parameters())
    sparbor.perforate(model, optimizer, Recipe(sparsity=0.9), total_steps=20, storage=storage)
    layer: Any = model[0]
    old, new = layer.main_module.weight, torch.randn(128, 256)
    layer.main_module.weight = nn.Parameter(new)
    with pytest.raises(
        StateError,
        match=r"^layer '0' has a new parameter as its weight, which the optimizer does not hold: .*copy_\(values\)$",
    ):
        layer.set_mode("d")
    layer.main_module.weight = old
    layer.weight.data.copy_(new)
    layer.set_mode("d")
    assert torch.equal(layer.weight != 0, layer.mask)
    assert torch.equal(layer.weight[layer.mask], new[layer.mask])
