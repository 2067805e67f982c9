"""When the order of neurons is found in a run, from what, and what becomes of models that show nothing."""

import copy
import gc
import pickle
import weakref
from typing import Any

import torch
from torch import Tensor, nn

import sparbor
from sparbor import NM, Recipe, Schedule
from sparbor.train.permute_neurons import NOT_YET, FirstBatch

torch.set_num_threads(1)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 16))


def started(model: nn.Module, **recipe: Any) -> tuple[torch.optim.Optimizer, sparbor.Perforator]:
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return optimizer, sparbor.perforate(model, optimizer, Recipe(sparsity=0.8, **recipe), total_steps=12)


def train(call: Any, optimizer: torch.optim.Optimizer, steps: int = 12) -> None:
    for _ in range(steps):
        call(torch.randn(8, 96)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def moved(perforator: sparbor.Perforator) -> list[str]:
    return [name for name, module in perforator.modules.items() if module.is_permuted()]


def test_no_batch_is_kept_and_the_hook_is_gone_after_a_step() -> None:
    model = network()
    optimizer, perforator = started(model)
    x = torch.randn(8, 96)
    seen = weakref.ref(x)
    model(x).sum().backward()
    del x
    gc.collect()
    assert seen() is None
    assert model._forward_pre_hooks
    optimizer.step()
    assert not model._forward_pre_hooks
    assert not model._forward_pre_hooks_with_kwargs
    assert [chain.layer.name for chain in perforator.orders.found] == ["0"]


def test_a_call_that_no_backward_pass_can_follow_is_not_the_first_batch() -> None:
    model = network()
    _, perforator = started(model)
    with torch.no_grad():
        model(torch.randn(8, 96))
    assert str(perforator).splitlines()[-1] == NOT_YET
    model(torch.randn(8, 96))
    assert str(perforator).splitlines()[-1] == "the neurons of 2 stay in order: it is the model's output"


def test_detaching_before_the_first_batch_takes_the_hook_away() -> None:
    model = network()
    _, perforator = started(model)
    perforator.detach()
    assert not model._forward_pre_hooks


def test_tracing_changes_neither_the_model_nor_the_random_numbers() -> None:
    model = nn.Sequential(*network(), nn.Dropout(), nn.BatchNorm1d(16))
    model[3].eval()
    _, perforator = started(model)
    model(torch.randn(8, 96))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    parts = [id(part) for part in (*model.modules(), *model.parameters(), *model.buffers())]
    random = torch.get_rng_state()
    assert perforator.orders.found
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in model.modules()] == modes
    assert [id(part) for part in (*model.modules(), *model.parameters(), *model.buffers())] == parts
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_hooks_are_not_shown_what_stands_for_numbers_in_tracing() -> None:
    model = network()
    optimizer, perforator = started(model)
    seen: list[float] = []
    handle = model[1].register_forward_hook(lambda module, inputs, output: seen.append(output.sum().item()))
    train(model, optimizer)
    assert moved(perforator) == ["0", "2"]
    assert len(seen) == 12
    handle.remove()
    train(model, optimizer, 1)
    assert len(seen) == 12


def test_a_model_whose_parts_are_called_one_by_one_keeps_its_order() -> None:
    model = network()
    optimizer, perforator = started(model)
    train(lambda x: model[2](model[1](model[0](x))), optimizer)
    assert moved(perforator) == []
    assert perforator.density() < 0.3
    assert str(perforator).splitlines()[-1] == (
        "the neurons of each of 0 and 2 stay in order: the model had not been called before an order was to be chosen"
    )


class Batch:
    """What a loader of one's own may give."""

    def __init__(self, x: Tensor) -> None:
        self.x = x


class TakesBatches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, batch: Batch) -> Tensor:
        return self.net(batch.x)


def test_a_model_that_takes_objects_keeps_its_order() -> None:
    model = TakesBatches()
    optimizer, perforator = started(model)
    train(lambda x: model(Batch(x)), optimizer)
    assert moved(perforator) == []
    assert str(perforator).splitlines()[-1] == (
        "the neurons of each of net.0 and net.2 stay in order: the model cannot be called again to trace it: it is"
        " called with a Batch"
    )


class TakesMuch(nn.Module):
    """Collections, things that are no tensors, and named arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, parts: dict[str, Any], scale: float, *, last: tuple[Tensor, None], kind: str) -> dict[str, Any]:
        assert kind == "sum"
        return {"y": self.net(parts["x"][0] * scale), "last": last}


def test_arguments_of_any_kind_are_noted() -> None:
    model = TakesMuch()
    optimizer, perforator = started(model)
    last = torch.zeros(3, dtype=torch.long), None
    train(lambda x: model({"x": [x]}, 0.5, last=last, kind="sum")["y"], optimizer)
    assert moved(perforator) == ["net.0", "net.2"]


def test_where_the_switch_comes_before_the_first_batch_the_next_change_of_topology_reorders() -> None:
    model = network()
    optimizer, perforator = started(model, schedule=Schedule(warmup=0, interval=3))
    assert perforator.timeline.reorders == perforator.timeline.interval
    train(model, optimizer, perforator.timeline.interval - 1)
    assert moved(perforator) == []
    train(model, optimizer, 1)
    assert moved(perforator) == ["0", "2"]


def test_where_all_is_chosen_before_the_first_batch_neurons_stay() -> None:
    model = network()
    optimizer, perforator = started(model, schedule=Schedule(warmup=0, ramp_end=0))
    train(model, optimizer)
    assert moved(perforator) == []
    assert "before the first batch" in str(perforator).splitlines()[-1]


def test_a_pattern_without_groups_has_no_order_to_choose() -> None:
    model = network()
    _, perforator = started(model, pattern=NM(2, 4))
    assert "order" not in str(perforator)
    assert not model._forward_pre_hooks


def test_copies_and_pickles_listen_for_nobody() -> None:
    model = network()
    batch = FirstBatch(model)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        twin(torch.randn(8, 96))
    assert not batch.seen
    model(torch.randn(8, 96))
    assert batch.seen


def test_a_compiled_model_shows_its_first_batch() -> None:
    model = network()
    optimizer, perforator = started(model)
    train(torch.compile(model, backend="eager", fullgraph=True), optimizer)
    assert moved(perforator) == ["0", "2"]
    torch.compiler.reset()
