"""A step that changes the topology must not stall training: what it may compute, and how long choosing may take."""

import time
from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sparbor import Quads, Recipe, Schedule, Slots, perforate
from sparbor.nn.masked_layer import Storage
from sparbor.synapses import dispatch
from sparbor.topology.rewire import RewireInput, rewire
from sparbor.train import permute_neurons

torch.set_num_threads(1)

ROWS, WIDTH = 1024, 512  # as many multiply-adds as make a layer a large one
ONE_PRODUCT = 2 * ROWS * WIDTH * WIDTH


class Training:
    """A large linear layer that is sparse from the start and rewired after every third step."""

    def __init__(self, storage: Storage = "masked") -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.x = torch.randn(ROWS, WIDTH)
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        recipe = Recipe(sparsity=0.8, schedule=Schedule(warmup=0, ramp_end=0, rewire_end=1, interval=3))
        self.perforator = perforate(self.model, self.optimizer, recipe, total_steps=100, storage=storage)

    def step(self) -> None:
        self.model(self.x).square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def dense_products(self) -> float:
        """Of a step, each as large as one of a layer's three."""
        with FlopCounterMode(display=False) as counter:
            self.step()
        return counter.get_total_flops() / ONE_PRODUCT


@pytest.mark.parametrize("storage", ["masked", "compact"])
def test_a_step_in_which_synapses_grow_takes_one_dense_product_of_a_large_layer(storage: Storage) -> None:
    training = Training(storage)
    assert [training.dense_products() for _ in range(6)] == [0, 0, 2, 0, 0, 2]  # of two layers


@pytest.mark.parametrize("storage", ["masked", "compact"])
def test_it_grows_what_dense_layers_would(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = {}
    for dense in (False, True):
        if dense:
            monkeypatch.setattr(dispatch, "STALLING_MULTIPLY_ADDS", 1 << 60)
        training = Training(storage)
        for _ in range(7):
            training.step()
        trained[dense] = training.model.state_dict()
    for name, value in trained[False].items():
        if name.endswith("mask"):
            assert (value != trained[True][name]).float().mean() < 0.002, name  # but where scores are as good as equal
    assert not torch.equal(trained[False]["0.mask"], Training(storage).model.state_dict()["0.mask"])


def test_the_model_is_traced_a_step_before_its_neurons_are_put_in_order() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    perforator = perforate(model, optimizer, Recipe(sparsity=0.8), total_steps=30)
    (at,) = {each for each in [perforator.recipe.timeline(30).reorders] if each is not None}
    traced, chosen = [], []

    def noting(steps: list[int], call: Callable[..., object]) -> Callable[..., object]:
        return lambda *args: (steps.append(step), call(*args))[1]

    with (
        patch.object(permute_neurons, "chains", noting(traced, permute_neurons.chains)),
        patch.object(permute_neurons, "best_order", noting(chosen, permute_neurons.best_order)),
    ):
        for step in range(1, 31):  # noqa: B007
            model(torch.randn(4, 64)).sum().backward()
            optimizer.step()
    assert traced == [at - 1]
    assert chosen == [at]


@pytest.mark.parametrize("pattern", [Slots(), Quads()])
def test_rewiring_takes_half_the_time_that_sorting_all_weights_does(pattern: Slots | Quads) -> None:
    weight = torch.randn(1024, 1024)
    (mask,) = rewire([RewireInput(weight, torch.ones_like(weight, dtype=torch.bool))], pattern, weight.numel() // 5)
    layer = RewireInput(weight, mask, growth=torch.randn(1024, 1024))

    def seconds(call: Callable[[], object]) -> float:
        start = time.process_time()
        call()
        return time.process_time() - start

    rewired = min(seconds(lambda: rewire([layer], pattern, weight.numel() // 5, 0.1)) for _ in range(5))
    sorted_once = min(seconds(lambda: weight.flatten().sort()) for _ in range(5))
    assert 2 * rewired < sorted_once
