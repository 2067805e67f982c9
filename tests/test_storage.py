"""Compact storage trains, saves and deploys what masked storage does, which the tests of training loops hold to."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer

import sparbor
from sparbor import Perforator, Recipe, Schedule, native
from sparbor.errors import ArgumentError, StateError
from sparbor.nn.masked_layer import Storage
from sparbor.nn.neuron import PAINeuronModule
from sparbor.synapses import dispatch
from sparbor.train import optimizer_state
from tests.rank_processes import on_ranks
from tests.states import assert_same

STEPS = 40
RECIPE = Recipe(sparsity=0.8, schedule=Schedule(interval=5))
OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, 0.003, fused=True),
    "adamw amsgrad": lambda p: torch.optim.AdamW(p, 0.003, weight_decay=0.5, amsgrad=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.05, initial_accumulator_value=0.1),
    "rprop": lambda p: torch.optim.Rprop(p, 0.001),
}


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(70, 48), nn.ReLU(), nn.Linear(48, 35), nn.ReLU(), nn.Linear(35, 10))


def cnn() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU()),
        *(nn.Conv2d(32, 16, 3, dilation=1, groups=2), nn.Flatten(), nn.Linear(16, 10)),
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, ...]]] = {
    "mlp": (mlp, (70,)),
    "cnn": (cnn, (3, 8, 8)),
}


class Run:
    """A small training run; batch number n is always the same."""

    def __init__(
        self, storage: Storage, network: str = "mlp", optimizer: str = "adam", recipe: Recipe = RECIPE
    ) -> None:
        build, self.shape = NETWORKS[network]
        self.model = build()
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.perforator = sparbor.perforate(self.model, self.optimizer, recipe, total_steps=STEPS, storage=storage)

    def go_to(self, step: int) -> "Run":
        while self.perforator.steps < step:
            generator = torch.Generator().manual_seed(self.perforator.steps)
            x = torch.randn(16, *self.shape, generator=generator)
            y = torch.randint(0, 10, (16,), generator=generator)
            F.cross_entropy(self.model(x), y).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return self

    def state(self) -> dict[str, Any]:
        optimizer = self.optimizer.state_dict()
        optimizer["state"] = dict(sorted(optimizer["state"].items()))  # a parameter that was exchanged comes last
        parts = {"model": self.model.state_dict(), "optimizer": optimizer, "perforator": self.perforator.state_dict()}
        return copy.deepcopy(parts)

    def load(self, state: dict[str, Any], order: tuple[str, ...] = ("model", "optimizer", "perforator")) -> "Run":
        for part in order:
            getattr(self, part).load_state_dict(copy.deepcopy(state[part]))  # an optimizer keeps what it is given
        return self


@pytest.fixture(autouse=True)
def few_weights_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizer_state, "FEWEST_WEIGHTS", 0)


@dataclass
class Calls:
    """How often layers were computed by their synapses alone."""

    count: int = 0


def counted_calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Of all layers from now on."""
    compute, calls = dispatch.compute, Calls()

    def counted(*given: Any) -> torch.Tensor:
        calls.count += 1
        return compute(*given)

    monkeypatch.setattr(dispatch, "compute", counted)
    return calls


@pytest.fixture(params=[False, True], ids=["dense", "synapses"])
def by_synapses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Whether sparse layers are computed by their synapses alone, whatever is faster; checks that they were, or not."""
    if request.param and not native.built:
        pytest.skip("the engine is not built")
    monkeypatch.setattr(dispatch, "_is_faster", lambda *_: request.param)
    calls = counted_calls(monkeypatch)
    yield bool(request.param)
    assert (calls.count > 0) == request.param


def close(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            value, other[name], rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_trains_what_masked_storage_does(network: str, optimizer: str, by_synapses: bool) -> None:
    masked, compact = (Run(storage, network, optimizer).go_to(STEPS) for storage in ("masked", "compact"))
    assert compact.perforator.density() == pytest.approx(0.2, abs=0.02)
    close(compact.model.state_dict(), masked.model.state_dict())
    assert_same(compact.optimizer.state_dict()["param_groups"], masked.optimizer.state_dict()["param_groups"])
    ours, theirs = (run.optimizer.state_dict()["state"] for run in (compact, masked))
    for number, state in theirs.items():
        mask = masked_state_of(masked.model, number)
        for name, value in state.items():
            kept = mask if value.shape == mask.shape else ...
            close({name: ours[number][name][kept]}, {name: value[kept]})


def masked_state_of(model: nn.Module, number: int) -> torch.Tensor:
    """The mask of the model's parameter of that number, all true for a bias."""
    name, parameter = list(model.named_parameters())[number]
    layer = model.get_submodule(name.partition(".")[0])
    is_weight = isinstance(layer, PAINeuronModule) and name.endswith("weight")
    return layer.mask if is_weight else torch.ones_like(parameter, dtype=torch.bool)


def test_synapses_alone_compute_what_the_dense_layers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    if not native.built:
        pytest.skip("the engine is not built")
    states = []
    for pays in (True, False):
        with monkeypatch.context() as patch:
            calls = counted_calls(patch)
            patch.setattr(dispatch, "_is_faster", lambda *_, pays=pays: pays)
            states.append(Run("masked", "cnn").go_to(STEPS).model.state_dict())
        assert (calls.count > 0) == pays
    close(*states)


def test_few_weights_stay_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizer_state, "FEWEST_WEIGHTS", 48 * 70)
    run = Run("compact").go_to(STEPS)
    assert [module.compact for module in run.perforator.modules.values()] == [True, False, False]
    assert "the weights of 2 stay masked: it has only 1680" in str(run.perforator)


def test_parameters_gradients_and_states_are_of_the_active_weights_alone() -> None:
    run = Run("compact").go_to(STEPS - 1)
    *small, dense = run.perforator.modules.values()
    assert dense.get_sparsity() < 0.5
    assert dense.parameter.shape == dense.mask.shape, "where more than half is active there is nothing to gain"
    for layer in small:
        active = layer.active_weights()
        assert layer.parameter.shape == (active,)
        assert all(value.numel() <= active for value in run.optimizer.state[layer.parameter].values())
    x = torch.randn(16, 70)
    run.model(x).sum().backward()
    assert all(layer.parameter.grad.shape == layer.parameter.shape for layer in run.perforator.modules.values())
    held = [p for group in run.optimizer.param_groups for p in group["params"]]
    assert [id(p) for p in held] == [id(p) for p in run.model.parameters()]


@pytest.mark.parametrize("at", [5, 17, 33])
@pytest.mark.parametrize(("first", "second"), [("compact", "compact"), ("masked", "compact"), ("compact", "masked")])
@pytest.mark.parametrize("optimizer_first", [False, True])
def test_a_run_resumes_bit_for_bit_in_either_storage(
    first: Storage, second: Storage, at: int, optimizer_first: bool
) -> None:
    whole = Run(first).go_to(STEPS)
    state = Run(first).go_to(at).state()
    order = ("optimizer", "model", "perforator") if optimizer_first else ("model", "optimizer", "perforator")
    resumed = Run(second).load(state, order)
    assert resumed.perforator.density() == pytest.approx(Run(first).go_to(at).perforator.density())
    resumed.go_to(STEPS)
    assert_same(resumed.model.state_dict(), whole.model.state_dict())


def test_a_state_can_be_loaded_into_a_run_that_is_sparse_already() -> None:
    state = Run("compact").go_to(20).state()
    resumed = Run("compact").go_to(35).load(state)
    assert_same(resumed.state(), state)
    assert_same(resumed.go_to(STEPS).model.state_dict(), Run("compact").go_to(STEPS).model.state_dict())


def test_a_state_can_be_loaded_before_the_model_into_a_run_that_is_sparse_already() -> None:
    state = Run("masked").go_to(20).state()
    resumed = Run("compact").go_to(35).load(state, ("optimizer", "model", "perforator"))
    assert_same(resumed.state(), state)
    fresh = Run("compact").load(state)
    assert_same(resumed.go_to(STEPS).state(), fresh.go_to(STEPS).state())


@pytest.mark.parametrize("storage", ["masked", "compact"])
def test_a_mask_that_is_changed_in_place(storage: Storage) -> None:
    run = Run(storage, "cnn").go_to(STEPS)
    layer = run.perforator.modules["2"]
    x = torch.randn(16, 3, 8, 8)
    run.model(x)
    assert layer.active_weights() < layer.mask.numel() / 2
    layer.mask.fill_(True)
    assert layer.active_weights() == layer.mask.numel()
    if storage == "masked":
        assert run.model(x).isfinite().all()
    else:
        with pytest.raises(StateError, match=r"the mask of layer '2' was changed in place"):
            run.model(x)


def test_kernels_do_not_go_by_a_mask_that_no_longer_fits_what_is_stored(by_synapses: bool) -> None:
    run = Run("compact").go_to(STEPS)
    layer = run.perforator.modules["0"]
    layer.mask.view(-1)[layer.active_positions()[0]] = False
    with pytest.raises(StateError, match=r"the mask of layer '0' was changed in place"):
        run.model(torch.randn(16, 70))


def test_copies_are_not_compact_so_that_averages_are_of_all_weights() -> None:
    run = Run("compact").go_to(STEPS)
    averaged = torch.optim.swa_utils.AveragedModel(run.model)
    assert [p.shape for p in averaged.parameters()] == [p.shape for p in mlp().parameters()]
    x = torch.randn(4, 70)
    close({"": averaged(x)}, {"": run.model(x)})


def test_hooks_and_patches_of_the_layer_see_every_call() -> None:
    model = mlp()
    calls = {"forward": 0, "backward": 0}
    original = model[0].forward

    def patched(x: torch.Tensor) -> torch.Tensor:
        calls["forward"] += 1
        return original(x)

    model[0].forward = patched  # type: ignore[method-assign]
    model[2].register_full_backward_hook(lambda *_: calls.update(backward=calls["backward"] + 1))
    optimizer = torch.optim.Adam(model.parameters())
    sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    for _ in range(STEPS):
        model(torch.randn(16, 70)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert calls == {"forward": STEPS + 1, "backward": STEPS}, "and once, in tracing, the patch alone"


@pytest.mark.parametrize("storage", ["masked", "compact"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_another_type_of_number(storage: Storage, dtype: torch.dtype, by_synapses: bool) -> None:
    run = Run(storage).go_to(STEPS)
    run.model.to(dtype)
    with pytest.raises(RuntimeError, match=r"same dtype|expected"):
        run.model(torch.randn(16, 70))
    run.model(torch.randn(16, 70, dtype=dtype)).sum().backward()
    assert run.perforator.modules["0"].parameter.grad.any()


def test_copies_unwrapping_switching_and_deploying() -> None:
    run = Run("compact").go_to(STEPS)
    x = torch.randn(4, 70)
    with torch.no_grad():
        right = run.model(x)
    twin = copy.deepcopy(run.model)
    assert_same(twin.state_dict(), run.model.state_dict())
    close({"y": twin(x)}, {"y": right})
    if native.built:
        runtime = sparbor.deploy(run.model, x, weights="exact")
        close({"y": torch.from_numpy(runtime(x.numpy()))}, {"y": right})
    plain = sparbor.unwrap(twin)
    assert [type(part) for part in plain] == [type(part) for part in mlp()]
    close({"y": plain(x)}, {"y": right})
    run.perforator.set_mode("n")
    assert [tuple(p.shape) for p in run.model.parameters()] == [tuple(p.shape) for p in mlp().parameters()]
    close({"y": run.model(x)}, {"y": right})
    run.perforator.set_mode("d")
    close({"y": run.model(x)}, {"y": right})


def test_unwrapping_in_training_gives_the_optimizer_the_dense_weights() -> None:
    run = Run("compact").go_to(STEPS)
    sparbor.unwrap(run.model)
    held = [p for group in run.optimizer.param_groups for p in group["params"]]
    assert [id(p) for p in held] == [id(p) for p in run.model.parameters()]
    run.model(torch.randn(4, 70)).sum().backward()
    run.optimizer.step()


def test_the_report_counts_all_weights() -> None:
    from bench.job.measure import parameter_counts

    counts = [parameter_counts(Run(storage).go_to(STEPS).model) for storage in ("masked", "compact")]
    assert counts[0] == counts[1]


def test_layers_that_read_their_weight_themselves_stay_masked() -> None:
    model = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True)
    optimizer = torch.optim.Adam(model.parameters())
    recipe = Recipe(sparsity=0.5, schedule=Schedule(interval=2))
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=10, storage="compact")
    attention = "each of self_attn.in_proj_weight and self_attn.out_proj"
    assert f"the weights of {attention} stay masked: it computes with its weight itself" in str(perforator)
    for _ in range(10):
        model(torch.randn(3, 5, 32)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert perforator.density() == pytest.approx(0.5, abs=0.01)
    compact = {name: module.compact for name, module in perforator.modules.items()}
    assert compact == {"self_attn.in_proj_weight": False, "self_attn.out_proj": False, "linear1": True, "linear2": True}


def refused_on_ranks(rank: int) -> list[str]:
    """What is said of a DistributedDataParallel, and of a plain model among several ranks."""
    errors = []
    for model in (nn.parallel.DistributedDataParallel(mlp()), mlp()):
        optimizer = torch.optim.Adam(model.parameters())
        try:
            sparbor.perforate(model, optimizer, total_steps=10, storage="compact")
        except ArgumentError as error:
            errors.append(str(error).removeprefix("rank 0: "))
    return errors


class TestRefusals:
    def perforate(
        self, optimizer: Optimizer | None = None, model: nn.Module | None = None, **kwargs: Any
    ) -> Perforator:
        model = mlp() if model is None else model
        optimizer = torch.optim.Adam(model.parameters()) if optimizer is None else optimizer
        return sparbor.perforate(model, optimizer, total_steps=10, **{"storage": "compact", **kwargs})

    def test_no_such_storage(self) -> None:
        with pytest.raises(ArgumentError, match=r"storage='sparse': must be one of 'masked', 'compact'"):
            self.perforate(storage="sparse")

    @pytest.mark.parametrize("optimizer", [torch.optim.LBFGS, torch.optim.Adafactor])
    def test_optimizers_that_do_not_treat_each_weight_by_itself(self, optimizer: Any) -> None:
        model = mlp()
        with pytest.raises(ArgumentError, match=f"{optimizer.__name__} does not treat each weight by itself"):
            self.perforate(optimizer(model.parameters()), model)
        assert not any(isinstance(part, PAINeuronModule) for part in model)

    def test_grown_dendrites(self) -> None:
        recipe = Recipe(sparsity=0.5, growth=sparbor.Growth(at=(0.5,)))
        with pytest.raises(ArgumentError, match="the recipe lets dendrites grow"):
            self.perforate(recipe=recipe)

    def test_compiled_models(self) -> None:
        with pytest.raises(ArgumentError, match=r"torch\.compile has compiled the model"):
            self.perforate(model=torch.compile(mlp()))

    def test_models_compiled_later(self) -> None:
        run = Run("compact").go_to(STEPS)
        compiled = torch.compile(run.model, backend="eager")
        with pytest.raises(Exception, match="storage='compact'"):
            compiled(torch.randn(4, 70))

    def test_models_that_other_ranks_have_too(self, tmp_path: Path) -> None:
        for outcome in on_ranks(2, refused_on_ranks, tmp_path):
            assert outcome.result == [
                "storage='compact' exchanges parameters while the model trains, and DistributedDataParallel holds on to"
                " them; use 'masked'",
                "storage='compact' exchanges parameters while the model trains, and other ranks have them too; use"
                " 'masked'",
            ], outcome

    def test_a_state_that_is_no_number_for_each_weight(self) -> None:
        class Odd(torch.optim.SGD):
            def step(self, closure: Any = None) -> Any:
                for group in self.param_groups:
                    for parameter in group["params"]:
                        self.state[parameter]["sums"] = torch.zeros(3)
                return super().step(closure)

        model = mlp()
        optimizer = Odd(model.parameters(), 0.1)
        self.perforate(optimizer, model, recipe=RECIPE)

        def train() -> None:
            for _ in range(10):
                model(torch.randn(4, 70)).sum().backward()
                optimizer.step()

        with pytest.raises(ArgumentError, match=r"the optimizer's 'sums' is no number for each weight"):
            train()
        assert [p.shape for p in model.parameters()] == [p.shape for p in mlp().parameters()]
        assert model.state_dict()


@pytest.mark.parametrize("storage", ["masked", "compact"])
def test_what_the_kernels_do_not_take_runs_dense(storage: Storage, by_synapses: bool) -> None:
    """Gradient penalties, per-sample gradients, forward-mode derivatives and nested tensors."""
    run = Run(storage).go_to(STEPS)
    x = torch.randn(16, 70, requires_grad=True)
    plain = sparbor.unwrap(copy.deepcopy(run.model))
    for model in (run.model, plain):
        (slope,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
        slope.square().sum().backward()
    ours = run.perforator.modules["0"].parameter.grad
    theirs, mask = plain[0].weight.grad, run.perforator.modules["0"].mask
    close({"penalty": ours if ours.dim() == 1 else ours[mask]}, {"penalty": theirs[mask]})

    def loss(one: torch.Tensor, model: nn.Module) -> torch.Tensor:
        return model(one.expand(16, -1)).square().sum()

    for derivative in (
        torch.func.grad(loss),
        lambda one, model: torch.func.jvp(lambda v: loss(v, model), (one,), (one,))[1],
    ):
        mine, right = (
            torch.func.vmap(lambda one, model=model, f=derivative: f(one, model))(x.detach())
            for model in (run.model, plain)
        )
        close({"": mine}, {"": right})
