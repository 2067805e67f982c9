"""Growth while a model trains: budgets, optimizers, trials and their rollback, resuming, copies, the engine."""

import copy
import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lion_pytorch import Lion
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import sparbor
from bench.job.measure import parameter_counts
from sparbor import NM, Growth, PAINeuronModule, Perforator, Quads, Recipe, Schedule, Slots, Unstructured
from sparbor.errors import ArgumentError, StateError
from sparbor.lower import permuted_copy
from sparbor.lower.call import call_of
from sparbor.nn.dendrites import Dendrites
from sparbor.topology.units import slot_counts
from sparbor.train.grower import GrowthEvent
from tests.loops import train

torch.set_num_threads(1)

TOTAL = 40
SCHEDULE = Schedule(warmup=0.2, ramp_end=0.5, interval=2)


def cnn() -> nn.Sequential:
    """Shapes that are no multiples of 16 or 32, a grouped convolution, a batch norm."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 20, 3),
        nn.BatchNorm2d(20),
        nn.ReLU(),
        nn.Conv2d(20, 34, 3, groups=2, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(34 * 16, 33),
        nn.ReLU(),
        nn.Linear(33, 10),
    )


OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, 0.005, weight_decay=0.5),
    "adamw fused": lambda p: torch.optim.AdamW(p, 0.005, weight_decay=0.5, fused=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.05, initial_accumulator_value=0.1),
    "lion": lambda p: Lion(p, 0.001, weight_decay=0.5),
}


def start(recipe: Recipe, name: str = "adamw") -> tuple[nn.Module, Optimizer, Perforator]:
    model = cnn()
    optimizer = OPTIMIZERS[name](model.parameters())
    return model, optimizer, sparbor.perforate(model, optimizer, recipe, total_steps=TOTAL)


def snapshot(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """All of both, to compare."""
    return copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict()["state"]})


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def weights_grown_on(perforator: Perforator) -> int:
    return sum(module.mask.numel() for name, module in perforator.modules.items() if "dendrites" not in name)


def grown_parts(model: nn.Module) -> list[Dendrites]:
    return [part for part in model.modules() if isinstance(part, Dendrites)]


# Invariants.


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_dropped_weights_are_zero_and_what_changes_starts_afresh(name: str) -> None:
    growth = Growth(2, at=(0.3, 0.7))
    model, optimizer, perforator = start(Recipe(0.7, schedule=SCHEDULE, growth=growth), name)
    parameters, twin = list(model.parameters()), None
    for step in range(TOTAL + 4):
        before = {key: module.mask.clone() for key, module in perforator.modules.items()}
        train(model, optimizer, 1, step)
        for key, module in perforator.modules.items():
            assert (module.weight[~module.mask] == 0).all()
            if key in before:
                changed = before[key] != module.mask
                for state, value in optimizer.state[module.weight].items():
                    if isinstance(value, Tensor) and value.shape == module.mask.shape:
                        assert (value[changed] == (0.1 if name == "adagrad" else 0.0)).all(), (key, state)
        if step % 10 == 0:
            twin = copy.deepcopy(model).eval()
            x = torch.randn(2, 3, 8, 8)
            assert torch.equal(model.eval()(x), twin(x)), "a copy masks by itself"
            model.train()
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert len(perforator.modules) == 4 + 4 * 1 + 4 * 2
    assert all(dendrite.strength.any() for part in grown_parts(model) for dendrite in part.active())


def test_what_has_not_grown_is_left_alone() -> None:
    """Before the first growth the run is, bit for bit, that without growth; later generations have not moved."""
    growth = Growth(2, at=(0.5, 0.8))
    model, optimizer, _ = start(Recipe(0.7, schedule=SCHEDULE, growth=growth))
    plain, other, _ = start(Recipe(0.7, schedule=SCHEDULE))
    first = copy.deepcopy(model.state_dict())
    train(model, optimizer, 19)
    train(plain, other, 19)
    state = model.state_dict()
    for key, value in plain.state_dict().items():
        assert torch.equal(value, state[key])
    train(model, optimizer, 12, 19)
    later = [key for key, _ in model.named_parameters() if "dendrites.1" in key]
    assert len(later) == 4 * (1 + 2 + 1)
    assert all(torch.equal(first[key], model.state_dict()[key]) for key in later)
    strengths = [dendrite.strength for part in grown_parts(model) for dendrite in list(part)[1:]]
    assert not any(strength in optimizer.state or strength.grad is not None for strength in strengths)


# The budget.


@pytest.mark.parametrize("times", [(0.0, 0.1), (0.25, 0.4), (0.6, 0.95)], ids=["dense", "ramp", "final"])
@pytest.mark.parametrize(
    ("method", "pattern", "distribution"),
    [
        ("rigl", Slots(), "uniform"),
        ("rigl", Slots(), "erk"),
        ("rigl", Slots(), "global"),
        ("rigl", Quads(), "erk"),
        ("set", Unstructured(), "erk"),
        ("set", NM(1, 4), "uniform"),
        ("magnitude", Slots(), "global"),
        ("static", Unstructured(), "uniform"),
    ],
    ids=str,
)
def test_the_budget_is_kept_whatever_has_grown(
    method: Any, pattern: Any, distribution: Any, times: tuple[float, float]
) -> None:
    recipe = Recipe(0.8, method, pattern, distribution, SCHEDULE, growth=Growth(2, at=times))
    model, optimizer, perforator = start(recipe)
    for step in range(TOTAL):
        train(model, optimizer, 1, step)
        layers = perforator.modules
        active = sum(int(module.mask.sum()) for module in layers.values())
        everything = sum(module.mask.numel() for module in layers.values())
        final = (1 - recipe.sparsity) * weights_grown_on(perforator)
        if not (perforator.timeline.rewires(perforator.steps) or perforator.steps >= perforator.timeline.ramp_end):
            continue
        budget = everything - perforator.timeline.progress(perforator.steps) * (everything - final)
        unit = 16 * pattern.synapses
        assert abs(active - budget) < unit * (1 if distribution == "global" else len(layers)), step
        assert perforator.density() == active / weights_grown_on(perforator)
    assert len(layers) == 16
    assert perforator.density() == pytest.approx(0.2, abs=0.01)
    if distribution == "uniform":
        densities = [1 - module.get_sparsity() for module in layers.values() if module.mask.numel() > 2000]
        assert all(density == pytest.approx(densities[0], abs=0.01) for density in densities)
    assert parameter_counts(model)["sparsity"] == 1 - perforator.density()


def test_a_late_dendrite_is_born_where_its_neurons_gradient_is_largest() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 16, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    recipe = Recipe(0.5, "static", schedule=Schedule(warmup=0.0), growth=Growth(at=(0.5,)))
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=10)
    x = torch.ones(4, 64)
    x[:, 20:40] = 3.0
    for _ in range(5):
        model(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    newborn = perforator.modules["0.dendrites.0.inputs"]
    assert newborn.active_weights() == 16 * 16
    assert not newborn.mask[:, :20].any()
    assert not newborn.mask[:, 40:].any()
    drawn = newborn.weight.detach()[newborn.mask].abs()
    assert drawn.max() <= (64 / 16) ** 0.5 * 64**-0.5, "scaled for the inputs that it has"
    assert drawn.mean() == pytest.approx(0.5 * (64 / 16) ** 0.5 * 64**-0.5, rel=0.15)


def test_the_same_seed_grows_the_same() -> None:
    states = []
    for seed in (0, 0, 1):
        growth = Growth(2, at=(0.3, 0.7))
        model, optimizer, _ = start(Recipe(0.8, "set", schedule=SCHEDULE, seed=seed, growth=growth))
        torch.manual_seed(seed + 17)  # the global generator has no part in it
        state = torch.get_rng_state()
        train(model, optimizer, TOTAL)
        assert torch.equal(torch.get_rng_state(), state)
        states.append(model.state_dict())
    assert_equal(states[0], states[1])
    assert not torch.equal(states[0]["6.dendrites.1.inputs.mask"], states[2]["6.dendrites.1.inputs.mask"])


# Scores, trials and rollbacks.

PLATEAU = Recipe(
    0.7,
    schedule=Schedule(warmup=0.1, ramp_end=0.2, rewire_end=1.0, interval=2),
    growth=Growth(2, patience=2, trial=3),
)


def run_with(
    scores: Callable[[int], float], recipe: Recipe = PLATEAU, name: str = "adamw", steps: int = TOTAL
) -> tuple[nn.Module, Optimizer, Perforator]:
    model, optimizer, perforator = start(recipe, name)
    for step in range(steps):
        train(model, optimizer, 1, step)
        perforator.validate(scores(step + 1))
    return model, optimizer, perforator


def test_growth_on_plateaus_is_kept_as_long_as_it_helps() -> None:
    """The score rises with each generation and is level in between."""
    model, optimizer, perforator = start(PLATEAU)
    for step in range(TOTAL):
        train(model, optimizer, 1, step)
        heard = sum(event.what == "grown" and event.step < perforator.steps for event in perforator.growth_events)
        perforator.validate(0.5 + 0.1 * heard)
    assert perforator.growth_events == [
        GrowthEvent(11, 0, "grown", 0.5),  # scores count from step 8 on, its plateau is seen at step 10
        GrowthEvent(12, 0, "kept", 0.6),
        GrowthEvent(15, 1, "grown", 0.6),
        GrowthEvent(16, 1, "kept", 0.7),
    ]
    assert perforator.density() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_rollback_is_exact(name: str) -> None:
    model, optimizer, perforator = start(PLATEAU, name)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    for step in range(18):
        if perforator.growth_events or perforator._run.grower.is_due(step + 1):  # type: ignore[union-attr]
            break
        train(model, optimizer, 1, step)
        scheduler.step()
        perforator.validate(0.5)
    assert step == 10
    expected = None
    original = perforator._run.grower.grow  # type: ignore[union-attr]

    def grow(at: int) -> Any:
        nonlocal expected
        expected = snapshot(model, optimizer)
        return original(at)

    perforator._run.grower.grow = grow  # type: ignore[union-attr, method-assign]
    while perforator.growth_events[-1:] == [] or perforator.growth_events[-1].what == "grown":
        train(model, optimizer, 1, perforator.steps)
        scheduler.step()
        perforator.validate(0.5)
    assert perforator.growth_events == [GrowthEvent(11, 0, "grown", 0.5), GrowthEvent(14, 0, "rolled back", 0.5)]
    assert_equal(snapshot(model, optimizer), expected)
    assert optimizer.param_groups[0]["lr"] == scheduler.get_last_lr()[0], "the learning rate goes on"
    assert len(perforator.modules) == 4
    train(model, optimizer, 20, 14)
    perforator.validate(0.1)
    assert len(perforator.growth_events) == 2, "and nothing more is grown"
    for part in grown_parts(model):
        assert part.count == 0
        assert not any(parameter in optimizer.state for parameter in part.parameters()) or name == "adagrad"
    assert perforator.density() == pytest.approx(0.3, abs=0.01)


def test_after_a_rollback_what_was_grown_does_not_move() -> None:
    """Not even where gradients are set to zero and not to None, and the optimizer decays all that has one."""
    model, optimizer, perforator = start(PLATEAU, "sgd momentum")
    for step in range(TOTAL):
        random = torch.Generator().manual_seed(step)
        x, y = torch.randn(8, 3, 8, 8, generator=random), torch.randint(0, 10, (8,), generator=random)
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        perforator.validate(0.5)
        if perforator.growth_events and perforator.growth_events[-1].what == "rolled back":
            state = snapshot(model, optimizer)["model"]
            break
    train(model, optimizer, 5, step + 1)
    after = model.state_dict()
    kept = [key for key in state if "dendrites" in key]
    assert all(torch.equal(state[key], after[key]) for key in kept)


def test_timed_growth_is_on_trial_if_scores_come() -> None:
    growth = Growth(2, at=(0.5, 0.7), trial=9, minimum_gain=0.05)
    recipe = Recipe(0.7, schedule=Schedule(warmup=0.1, ramp_end=0.2, interval=2), growth=growth)
    events = run_with(lambda step: 0.5, recipe)[2].growth_events
    assert events == [
        GrowthEvent(20, 0, "grown", 0.5),
        GrowthEvent(28, 0, "rolled back", 0.5),  # the next would be grown now: the trial ends before it
    ]
    events = run_with(lambda step: 0.5 + 0.2 * (step > 26), recipe)[2].growth_events
    assert [(event.step, event.what) for event in events] == [
        (20, "grown"),
        (27, "kept"),
        (28, "grown"),
        (37, "rolled back"),
    ]
    model, optimizer, perforator = start(recipe)
    train(model, optimizer, TOTAL)
    assert [event.what for event in perforator.growth_events] == ["grown", "grown"], "nobody judges"


def test_scores_from_before_the_sparsity_is_reached_judge_nothing() -> None:
    recipe = Recipe(0.7, schedule=SCHEDULE, growth=Growth(at=(0.3,), trial=2))
    perforator = run_with(lambda step: 1.0 - 0.01 * step, recipe)[2]
    assert perforator.growth_events == [GrowthEvent(12, 0, "grown", None)]


def test_a_recipe_without_growth_takes_scores_and_checks_them() -> None:
    perforator = start(Recipe(0.7))[2]
    perforator.validate(0.5)
    assert perforator.growth_events == []
    with pytest.raises(ArgumentError, match=r"score=nan: must be finite"):
        perforator.validate(math.nan)
    with pytest.raises(ArgumentError, match=r"score=None: must be a number"):
        start(PLATEAU)[2].validate(None)  # type: ignore[arg-type]


def test_growth_without_scores_is_an_error_in_time() -> None:
    model, optimizer, _ = start(PLATEAU)
    with pytest.raises(
        ArgumentError, match=r"no score has come by step 35 of 40: call perforator\.validate\(score\) aft"
    ):
        train(model, optimizer, TOTAL)
    model, optimizer, perforator = start(PLATEAU)
    train(model, optimizer, 10)
    perforator.validate(0.5)
    train(model, optimizer, 10, 10)
    with pytest.raises(ArgumentError, match=r"with a score each 10 steps .* has 4 when.* patience and trial take 6"):
        perforator.validate(0.5)


def test_a_plateau_that_comes_too_late_grows_nothing() -> None:
    assert run_with(lambda step: min(step, 35))[2].growth_events == []


# Resuming, copies, compiled models.


def test_resuming_between_a_growth_in_neuron_mode_and_the_switch_is_bit_for_bit() -> None:
    """What was grown takes its share of the budget before neurons are permuted, in the resumed run too."""
    recipe = Recipe(0.7, schedule=SCHEDULE, growth=Growth(at=(0.05,)))
    model, optimizer, perforator = start(recipe)
    train(model, optimizer, 3)
    assert perforator.growth_events
    assert all(module.mode == "n" for module in perforator.modules.values())
    states = [copy.deepcopy(part.state_dict()) for part in (model, optimizer, perforator)]
    again = start(recipe)
    for part, state in zip(again, states, strict=True):
        part.load_state_dict(state)
    for each in ((model, optimizer), again[:2]):
        train(*each, TOTAL - 3, 3)
    assert any(module.is_permuted() for module in perforator.modules.values())
    assert_equal(snapshot(model, optimizer), snapshot(*again[:2]))


@pytest.mark.parametrize("at", [5, 10, 12, 13, 15, 22])
@pytest.mark.parametrize("helps", [False, True])
def test_resuming_is_bit_for_bit(helps: bool, at: int) -> None:
    """Before growth, with a plateau seen, at the growth, in the middle of its trial, and after it."""

    def score(step: int) -> float:
        return 0.5 + 0.1 * (helps and step > 12)

    model, optimizer, perforator = run_with(score, steps=at)
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict(), perforator.state_dict()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    again = start(PLATEAU)
    with torch.no_grad():
        for parameter in again[0].parameters():
            parameter.normal_()
    for part, state in zip(again, states, strict=True):
        part.load_state_dict(state)
    runs = [(model, optimizer, perforator), again]
    for each in runs:
        for step in range(at, TOTAL):
            train(each[0], each[1], 1, step)
            each[2].validate(score(step + 1))
    assert [event.what for event in perforator.growth_events][:2] == ["grown", "kept" if helps else "rolled back"]
    assert perforator.growth_events == again[2].growth_events
    assert_equal(*(snapshot(each[0], each[1]) for each in runs))
    assert perforator._run.grower.state_dict().keys() == states[2]["growth"].keys()  # type: ignore[union-attr]


def test_states_that_do_not_fit() -> None:
    state = start(PLATEAU)[2].state_dict()
    other = start(Recipe(0.7, schedule=PLATEAU.schedule))[2]
    with pytest.raises(
        StateError, match=r"the state has other recipe \(growth: .* where this run has None\): pass the"
    ):
        other.load_state_dict(state)
    assert "growth" not in other.state_dict()
    recipe = state["recipe"]
    older = {**recipe, "growth": {**recipe["growth"], "training": "gradient", "cascade": 0.03}}
    start(PLATEAU)[2].load_state_dict({**state, "recipe": older})
    older["growth"]["training"] = "cascade"
    with pytest.raises(StateError, match=r"training='cascade' is no more"):
        start(PLATEAU)[2].load_state_dict({**state, "recipe": older})
    for damage in (None, {}, {**state["growth"], "events": [{"step": 3}]}, {**state["growth"], "plateau": {}}):
        with pytest.raises(StateError, match=r"the state is damaged: its growth cannot be read"):
            start(PLATEAU)[2].load_state_dict({**state, "growth": damage})


@pytest.mark.parametrize("kind", ["average", "ema"])
def test_averaged_copies_get_the_dendrites_with_the_masks(kind: str) -> None:
    recipe = Recipe(0.7, schedule=SCHEDULE, growth=Growth(2, at=(0.3, 0.7)))
    model, optimizer, perforator = start(recipe)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9) if kind == "ema" else None)
    for step in range(TOTAL):
        train(model, optimizer, 1, step)
        averaged.update_parameters(model)
    perforator.mask_copy(averaged)
    assert all(part.count == 2 for part in grown_parts(averaged))
    for module in (part for part in averaged.modules() if isinstance(part, PAINeuronModule)):
        assert (module.weight[~module.mask] == 0).all()
    x = torch.randn(4, 3, 8, 8)
    runtime = sparbor.deploy(averaged.module, x, weights="exact")
    expected = averaged.eval()(x)
    assert (runtime(x) - expected).norm() < 1e-5 * expected.norm()


def test_the_whole_way_to_the_engine_and_back_to_a_plain_model() -> None:
    model, optimizer, _ = start(Recipe(0.7, schedule=SCHEDULE, growth=Growth(2, at=(0.3, 0.7))))
    train(model, optimizer, TOTAL)
    x = torch.randn(4, 3, 8, 8)
    expected = model.eval()(x)
    for weights, limit in (("exact", 1e-5), ("word16", 0.03)):
        runtime = sparbor.deploy(model, x, weights=weights)
        assert (runtime(x) - expected).norm() < limit * expected.norm()
    assert "6.dendrites.1.earlier" in {layer.name for layer in runtime.describe()}
    assert torch.equal(sparbor.unwrap(model)(x), expected)
    assert not optimizer._optimizer_step_post_hooks
    train(model.train(), optimizer, 1)
    sparbor.perforate(model, torch.optim.SGD(model.parameters(), 0.1), total_steps=10)


def test_dendrites_stand_in_the_order_of_their_neurons() -> None:
    """Permuting at the switch moves what grew before and what grows later; a deployed copy moves all of it."""
    model, optimizer, perforator = start(Recipe(0.7, schedule=SCHEDULE, growth=Growth(2, at=(0.0, 0.7))))
    assert all("dendrites" not in name for name in perforator.orders.reasons)
    train(model, optimizer, TOTAL)
    permuted = {name for name, module in perforator.modules.items() if module.is_permuted()}
    assert permuted == {
        *("0", "0.dendrites.0.inputs", "0.dendrites.1.inputs", "0.dendrites.1.earlier"),
        *("6", "6.dendrites.0.inputs", "6.dendrites.1.inputs", "6.dendrites.1.earlier"),
        *("8", "8.dendrites.0.inputs", "8.dendrites.1.inputs"),
    } - {"0", "0.dendrites.0.inputs", "0.dendrites.1.inputs", "0.dendrites.1.earlier"}
    first, second = perforator.modules["6.dendrites.0.inputs"], perforator.modules["6.dendrites.1.earlier"]
    assert torch.equal(first.neuron_order, perforator.modules["6"].neuron_order)
    assert torch.equal(second.input_order, first.neuron_order)
    for module in perforator.modules.values():
        counts = slot_counts(module.to_matrix(module.mask), Slots(), module.groups)
        neurons = module.outputs_first[0] // module.groups
        sizes = torch.tensor([len(part) for part in torch.arange(neurons).split(16)] * module.groups)
        assert (counts * sizes[:, None]).sum() == module.mask.sum(), "whole slots, in that order"
    x = torch.randn(4, 3, 8, 8)
    moved = permuted_copy.permuted(model.eval(), call_of(model, x))
    assert moved is not model
    torch.testing.assert_close(moved(x), model(x))
    order = perforator.modules["6"].neuron_order
    twin = moved[6].dendrites[0]  # type: ignore[union-attr, index]
    assert torch.equal(twin.strength, model[6].dendrites[0].strength[order])  # type: ignore[union-attr, index]


def test_compiled_models_grow() -> None:
    recipe = Recipe(0.7, schedule=SCHEDULE, growth=Growth(at=(0.3,)))
    model, optimizer, _ = start(recipe)
    plain, other, _ = start(recipe)
    compiled = torch.compile(model, backend="eager")
    train(compiled, optimizer, 25)
    train(plain, other, 25)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_autocast_and_grad_scaler() -> None:
    recipe = Recipe(0.7, schedule=SCHEDULE, growth=Growth(2, at=(0.3, 0.7)))
    model, optimizer, perforator = start(recipe, "sgd momentum")
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(TOTAL):
        random = torch.Generator().manual_seed(step)
        x, y = torch.randn(8, 3, 8, 8, generator=random), torch.randint(0, 10, (8,), generator=random)
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(x).float(), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert perforator.steps == TOTAL
    assert all(dendrite.strength.any() for part in grown_parts(model) for dendrite in part.active())


def test_named_parameters_and_groups() -> None:
    """Dendrites join the group of the layer they grow on, with its learning rate, under their names."""
    model = cnn()
    groups = [
        {"params": list(model[0].named_parameters()), "lr": 0.0},
        {"params": [(f"rest.{name}", each) for name, each in model[1:].named_parameters()]},
    ]
    optimizer = torch.optim.SGD(groups, 0.1)
    growth = Growth(at=(0.0,))
    sparbor.perforate(model, optimizer, Recipe(0.5, schedule=SCHEDULE, growth=growth), total_steps=TOTAL)
    assert optimizer.param_groups[0]["param_names"][-2:] == [
        "0.dendrites.0.inputs.main_module.weight",
        "0.dendrites.0.inputs.main_module.bias",
    ]
    train(model, optimizer, 5)
    first, last = (model[index].dendrites[0] for index in (0, 8))  # type: ignore[union-attr, index]
    assert not first.strength.any()
    assert last.strength.any()
