"""What layers cost: multiply-adds against PyTorch's own count, bytes against the deployed model, latency measured."""

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import sparbor
from sparbor import Budget, Perforator, Quads, Recipe, Schedule, Slots, native
from sparbor.calibration.calibration import _line
from sparbor.engine.runtime import Runtime
from sparbor.errors import ArgumentError, StateError
from sparbor.nn.neuron import PAINeuronModule
from sparbor.packing.quads import pack_quads
from sparbor.program.program import Operation, Program
from sparbor.recipe.budget import Costs, LayerCost
from sparbor.topology.units import slot_counts

torch.set_num_threads(1)


def cnn() -> nn.Sequential:
    """Shapes that are no multiples of 16 or 32, a grouped convolution, and a layer that cannot be taken."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 40, 3),
        nn.BatchNorm2d(40),
        nn.ReLU(),
        nn.Conv2d(40, 36, 3, groups=2, stride=2),
        nn.ReLU(),
        nn.Conv2d(36, 36, 3, groups=36),
        nn.ConvTranspose2d(36, 20, 2, stride=2),
        nn.Flatten(),
        nn.Linear(80, 33),
        nn.ReLU(),
        nn.Linear(33, 10),
    )


class Shared(nn.Module):
    """One layer twice, over the positions of a sequence, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.once, self.never = nn.Linear(48, 48), nn.Linear(48, 16), nn.Linear(48, 48)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.Tensor(self.once(self.twice(self.twice(x).relu())))


IMAGE = torch.zeros(1, 3, 9, 9)
Made = tuple[nn.Module, Perforator]


def perforated(recipe: Recipe, model: nn.Module) -> tuple[nn.Module, torch.optim.Optimizer, Perforator]:
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    return model, optimizer, sparbor.perforate(model, optimizer, recipe, total_steps=24)


def trained(recipe: Recipe, steps: int = 24, model: nn.Module | None = None) -> Made:
    model, optimizer, perforator = perforated(recipe, cnn() if model is None else model)
    for number in range(steps):
        step(model, optimizer, number)
    return model, perforator


def step(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    x, y = torch.randn(8, 3, 9, 9, generator=generator), torch.randint(0, 10, (8,), generator=generator)
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    optimizer.zero_grad()


def schedule() -> Schedule:
    return Schedule(interval=2)


def multiply_adds(model: nn.Module, example: torch.Tensor) -> int:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(example)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("make", "example"), [(cnn, IMAGE), (Shared, torch.zeros(1, 5, 48)), (Shared, torch.zeros(2, 48))]
)
def test_multiply_adds_are_those_that_pytorch_counts(make: Callable[[], nn.Module], example: torch.Tensor) -> None:
    model = make()
    recipe = sparbor.calibrated(Recipe(budget=Budget(multiply_adds=1)), model, example)
    assert recipe.budget is not None
    assert recipe.budget.costs is not None
    assert sum(layer.dense for layer in recipe.budget.costs.layers) * len(example) == multiply_adds(model, example)
    assert all(module.training for module in model.modules())


def test_multiply_adds_recounted_from_the_masks() -> None:
    recipe = sparbor.calibrated(Recipe(budget=Budget(multiply_adds=20_000), schedule=schedule()), cnn(), IMAGE)
    _, perforator = trained(recipe)
    positions = {"0": 49, "3": 9, "6": 1, "8": 1, "10": 1}
    depthwise = 36 * 9
    recounted = sum(int(layer.mask.sum()) * positions[name] for name, layer in perforator.modules.items()) + depthwise
    assert perforator.cost() == recounted
    # Half a slot of the dearest layer, and for each layer with a partly filled group half a slot of its own.
    assert abs(recounted - 20_000) <= 8 * 49 + 8 * (49 + 9 + 1 + 1 + 1)
    assert 0 < perforator.density() < 0.7


@pytest.mark.parametrize(("method", "kilobytes"), [("rigl", 8.0), ("rigl", 15.0), ("set", 8.0), ("magnitude", 15.0)])
def test_kilobytes_are_at_most_what_is_stored(method: str, kilobytes: float) -> None:
    recipe = Recipe(budget=Budget(kilobytes=kilobytes), schedule=schedule(), method=method)  # type: ignore[arg-type]
    recipe = sparbor.calibrated(recipe, cnn(), IMAGE)
    model, perforator = trained(recipe)
    stored = sparbor.deploy(model, IMAGE).program.weight_bytes / 1000
    assert stored <= perforator.cost() + 1e-9
    assert perforator.cost() <= kilobytes + 0.016
    assert recipe.budget is not None
    assert recipe.budget.costs is not None
    lists = sum(  # ids of absent branches (2 bytes), and runs (4 bytes) that are not there: docs/format/layers.md
        groups * branches * 2 + groups * min(branches, 32) * 4
        for groups, branches in ((3, 1), (4, 6), (2, 5), (3, 3), (1, 2))
    )
    assert perforator.cost() - stored <= lists / 1000


def linear() -> nn.Sequential:
    return nn.Sequential(nn.Linear(200, 96), nn.ReLU(), nn.Linear(96, 72), nn.ReLU(), nn.Linear(72, 20))


def test_kilobytes_of_quads_are_those_of_8_bits() -> None:
    x = torch.randn(1, 200)
    recipe = Recipe(budget=Budget(kilobytes=12.0), schedule=schedule(), pattern=Quads())
    recipe = sparbor.calibrated(recipe, linear(), x)
    model, optimizer, perforator = perforated(recipe, linear())
    for _ in range(24):
        model(torch.randn(16, 200)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    runtime = sparbor.deploy(model.eval(), x, weights="int8")
    assert all(layer.weights == "int8" for layer in runtime.describe())
    stored = runtime.program.weight_bytes / 1000
    assert 12 - 0.3 < stored <= perforator.cost() + 1e-9
    assert perforator.cost() <= 12 + 0.064


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_from_which_share_of_its_quads_on_a_layer_runs_dense(rows: int) -> None:
    share = native.byte_linear_share(rows, native.choose_kernel_set())
    assert 0 < share < 1
    weight = np.random.default_rng(0).standard_normal((32, 256)).astype(np.float32)
    for quads in range(1, 17):  # of the sixteen that a branch can have
        mask = np.tile(np.arange(64) < 4 * quads, (32, 4))
        operation = Operation("linear", (0,), 1, "fc")
        program = Program.of_items(((256,), (32,)), 0, 1, (operation,), {"fc": pack_quads(weight, mask)})
        assert Runtime(program).ways_at(rows) == {"fc": "dense" if quads / 16 > share else "sparse"}


def test_latency_of_quads_is_measured() -> None:
    x = torch.randn(1, 200)
    budget = sparbor.calibrated(Recipe(budget=Budget(latency_us=1e6), pattern=Quads()), linear(), x).budget
    assert budget is not None
    assert budget.costs is not None
    share = native.byte_linear_share(1, native.choose_kernel_set())
    assert all(layer.each > 0 and layer.dense > 0 and layer.sparse_to == share for layer in budget.costs.layers)
    convolving = sparbor.calibrated(Recipe(budget=Budget(latency_us=1e6), pattern=Quads()), cnn(), IMAGE).budget
    assert convolving is not None
    assert convolving.costs is not None
    assert [layer.name for layer in convolving.costs.layers] == ["0", "3", "5", "6", "8", "10"]


def test_everything_dense_is_stored_as_modelled() -> None:
    recipe = sparbor.calibrated(Recipe(budget=Budget(kilobytes=1e6)), cnn(), IMAGE)
    model, perforator = trained(recipe)
    assert perforator.density() == 1.0
    assert perforator.cost() == pytest.approx(sparbor.deploy(model, IMAGE).program.weight_bytes / 1000)


def test_latency_is_measured() -> None:
    model = cnn()
    before = copy.deepcopy(model.state_dict())
    recipe = sparbor.calibrated(Recipe(budget=Budget(latency_us=1e6)), model, IMAGE)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert recipe.budget is not None
    costs = recipe.budget.costs
    assert costs is not None
    assert [layer.name for layer in costs.layers] == ["0", "3", "5", "6", "8", "10"]
    assert all(layer.each > 0 and layer.dense > 0 for layer in costs.layers)
    _, perforator = trained(recipe, steps=0)
    assert perforator.cost() == pytest.approx(costs.rest + sum(layer.dense for layer in costs.layers))


def test_latency_is_spent() -> None:
    """By costs that are written here: those of a measurement are not the same twice."""
    sizes = {"0": 1080, "3": 6480, "5": 324, "6": 2880, "8": 2640, "10": 330}
    layers = tuple(LayerCost(name, n, 1.0, 0.01, 1.5 + n / 2000, sparse_to=0.6) for name, n in sizes.items())
    budget = Budget(latency_us=8.0, costs=Costs("latency_us", 0.5, layers))
    _, perforator = trained(Recipe(budget=budget, schedule=schedule()))
    assert abs(perforator.cost() - 8.0) <= 0.005
    spent = 0.5 + layers[2].dense
    for name, module in perforator.modules.items():
        pairs = slot_counts(module.to_matrix(module.mask), Slots(), module.groups)
        cost = layers[list(sizes).index(name)]
        spent += cost.dense if module.get_sparsity() == 0 else cost.fixed + cost.each * int(pairs.sum())
    assert perforator.cost() == pytest.approx(spent)


def test_a_run_resumes_bit_for_bit_with_the_recipe_it_was_saved_with() -> None:
    recipe = sparbor.calibrated(Recipe(budget=Budget(kilobytes=10.0), schedule=schedule()), cnn(), IMAGE)
    straight, _ = trained(recipe)
    saved, perforator = trained(recipe, steps=13)
    resumed = cnn()
    optimizer = torch.optim.Adam(resumed.parameters(), 0.005)
    again = sparbor.perforate(resumed, optimizer, Recipe.from_json(recipe.to_json()), total_steps=24)
    resumed.load_state_dict(saved.state_dict())
    optimizer.load_state_dict(perforator.optimizer.state_dict())
    again.load_state_dict(perforator.state_dict())
    for number in range(13, 24):
        step(resumed, optimizer, number)
    expected = straight.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())
    other = sparbor.calibrated(Recipe(budget=Budget(kilobytes=11.0), schedule=schedule()), cnn(), IMAGE)
    _, stranger = trained(other, steps=0)
    with pytest.raises(StateError, match="the state has other recipe"):
        stranger.load_state_dict(perforator.state_dict())


def test_layers_set_by_hand_keep_to_the_budget() -> None:
    recipe = sparbor.calibrated(Recipe(budget=Budget(multiply_adds=20_000)), cnn(), IMAGE)
    _, perforator = trained(recipe, steps=0)
    perforator.set_mode("d")
    assert perforator.cost() == pytest.approx(20_000, abs=16 * 49)


def test_layers_wrapped_by_hand_and_excluded_ones() -> None:
    model = cnn()
    model[0] = PAINeuronModule(model[0], "first")
    recipe = Recipe(budget=Budget(multiply_adds=22_000), exclude=("10",), schedule=schedule())
    _, perforator = trained(sparbor.calibrated(recipe, model, IMAGE), model=model)
    assert set(perforator.modules) == {"0", "3", "6", "8"}
    assert perforator.cost() == pytest.approx(22_000, abs=900)


def test_a_line_whose_slots_are_not_free() -> None:
    assert _line([10, 20, 40], [6.0, 11.0, 21.0]) == pytest.approx((1.0, 0.5))
    fixed, each = _line([10, 20, 40], [5.0, 5.0, 4.9])
    assert each > 0
    assert fixed > 0
    fixed, each = _line([3, 3, 3], [5.0, 5.0, 5.0])
    assert fixed + 3 * each == pytest.approx(5.0)
    assert math.isfinite(each)
    assert each > 0


def test_refusals() -> None:
    with pytest.raises(ArgumentError, match=r"recipe has no budget: give it one to calibrate, as in Recipe\(budget="):
        sparbor.calibrated(Recipe(), cnn(), IMAGE)
    with pytest.raises(ArgumentError, match=r"Budget\(latency_us=40\): the costs of the model's layers are not known"):
        trained(Recipe(budget=Budget(latency_us=40)))
    recipe = sparbor.calibrated(Recipe(budget=Budget(multiply_adds=9999)), Shared(), torch.zeros(1, 48))
    with pytest.raises(ArgumentError, match="layer 'never' has 2304 weights, and the budget's costs hold none"):
        trained(recipe, model=Shared())
    model = cnn()
    recipe = sparbor.calibrated(Recipe(budget=Budget(kilobytes=0.5)), model, IMAGE)
    with pytest.raises(ArgumentError, match=r"Budget\(kilobytes=0.5\): the model costs 2\.\d+ kilobytes with a single"):
        trained(recipe, model=model)
    assert not any(isinstance(module, PAINeuronModule) for module in model.modules())  # refused before it is touched
    _, perforator = trained(Recipe(), steps=0)
    with pytest.raises(ArgumentError, match=r"cost\(\): the recipe has no budget; give it one"):
        perforator.cost()
    for unit in ("kilobytes", "latency_us"):
        with pytest.raises(ArgumentError, match="example holds no tensor"):
            sparbor.calibrated(Recipe(budget=Budget(**{unit: 5.0})), cnn(), [1])  # type: ignore[arg-type]
