"""Several ranks train as one process does at the same global batch, with the same masks on every rank."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

import sparbor
from sparbor import NM, Growth, Recipe, Unstructured
from tests.rank_processes import on_ranks, results
from tests.scaled_training import (
    BATCH,
    RECIPE,
    STEPS,
    Residual,
    adamw,
    alone,
    assert_equal_training,
    batch,
    convolutional,
    network,
    sgd,
    shard,
    train,
    whole_state,
)

Optimizing = Callable[[nn.Module], Optimizer]
GROWING = Recipe(sparsity=0.8, schedule=RECIPE.schedule, growth=Growth(at=(0.3,)))


# DistributedDataParallel.


def replicated(rank: int, ranks: int, recipe: Recipe, optimizing: Optimizing, perforate_first: bool) -> Any:
    model = network(convolutional, seed=rank)  # DistributedDataParallel sends rank 0's
    wrapped = None if perforate_first else DistributedDataParallel(model)
    optimizer = optimizing(model)
    perforator = sparbor.perforate(wrapped or model, optimizer, recipe, total_steps=STEPS)
    assert perforator.model is model
    train(
        wrapped or DistributedDataParallel(model, find_unused_parameters=recipe.growth is not None),
        optimizer,
        rank,
        ranks,
    )
    return dict(model.state_dict())


@pytest.mark.parametrize(
    ("ranks", "recipe", "optimizing", "perforate_first"),
    [
        (2, RECIPE, sgd, True),
        (2, RECIPE, adamw, False),
        (2, Recipe(sparsity=0.8, method="set", pattern=Unstructured(), schedule=RECIPE.schedule), sgd, False),
        (2, GROWING, sgd, True),
        (4, RECIPE, adamw, False),
    ],
    ids=["perforated-first", "wrapped-first", "set", "growing", "four-ranks"],
)
def test_ddp_trains_as_one_process_does(
    ranks: int, recipe: Recipe, optimizing: Optimizing, perforate_first: bool, tmp_path: Path
) -> None:
    states = results(on_ranks(ranks, replicated, tmp_path, ranks, recipe, optimizing, perforate_first))
    assert_equal_training(states, alone(convolutional, optimizing, recipe))


# fully_shard.


def sharded(rank: int, ranks: int, recipe: Recipe, optimizing: Optimizing, mesh: tuple[int, ...] | None) -> Any:
    model = network(Residual)
    if mesh:
        fully_shard(model, mesh=init_device_mesh("cpu", mesh, mesh_dim_names=("replicas", "shards")))
    else:
        shard(model)
    optimizer = optimizing(model)
    with torch.no_grad():
        model(batch(0)[0])  # leaves weights gathered, which is not where the masks belong
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=STEPS)
    train(model, optimizer, rank, ranks)
    assert perforator.steps == STEPS
    return whole_state(model)


@pytest.mark.parametrize(
    ("ranks", "recipe", "optimizing", "mesh"),
    [
        (2, RECIPE, sgd, None),
        (2, Recipe(sparsity=0.5, pattern=NM(2, 4), schedule=RECIPE.schedule), adamw, None),
        (4, RECIPE, adamw, None),
        (4, RECIPE, sgd, (2, 2)),
    ],
    ids=["sgd", "n-of-m", "four-ranks", "replicated-shards"],
)
def test_fully_sharded_trains_as_one_process_does(
    ranks: int, recipe: Recipe, optimizing: Optimizing, mesh: tuple[int, ...] | None, tmp_path: Path
) -> None:
    states = results(on_ranks(ranks, sharded, tmp_path, ranks, recipe, optimizing, mesh))
    assert_equal_training(states, alone(Residual, optimizing, recipe))


def masked() -> nn.Module:
    """A network whose layers have masks before a run begins."""
    model = Residual()
    for name in ("fc1", "fc2", "fc3"):
        layer = sparbor.PAINeuronModule(getattr(model, name), name, sparsity=0.5)
        layer.set_mode("d")
        setattr(model, name, layer)
    return model


def sharded_with_masks(rank: int, recipe: Recipe) -> Any:
    model = shard(network(masked))
    optimizer = adamw(model)
    sparbor.perforate(model, optimizer, recipe, total_steps=STEPS)
    train(model, optimizer, rank, 2)
    return whole_state(model)


@pytest.mark.parametrize("recipe", [Recipe(method="fixed"), RECIPE], ids=["fixed", "rigl"])
def test_fully_sharded_goes_on_from_masks_as_one_process_does(recipe: Recipe, tmp_path: Path) -> None:
    states = results(on_ranks(2, sharded_with_masks, tmp_path, recipe))
    assert_equal_training(states, alone(masked, adamw, recipe))


def choosing_for_itself(rank: int) -> Any:
    model = shard(network(Residual))
    optimizer = sgd(model)
    sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    if rank:  # as on a machine that breaks ties otherwise
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sparbor.train.rewiring.rewire", lambda layers, *_: [~layer.mask for layer in layers])
            train(model, optimizer, rank, 2)
    else:
        train(model, optimizer, rank, 2)
    return whole_state(model)


def test_rank_zeros_masks_are_sent(tmp_path: Path) -> None:
    states = results(on_ranks(2, choosing_for_itself, tmp_path))
    assert_equal_training(states, alone(Residual, sgd, RECIPE))


# Gradient accumulation.


def accumulating(rank: int, kind: str) -> Any:
    """Each rank takes its half of a batch in two backward passes."""
    model = network(Residual)
    parallel = DistributedDataParallel(model) if kind == "ddp" else shard(model)
    optimizer = adamw(model)
    sparbor.perforate(parallel, optimizer, RECIPE, total_steps=STEPS)
    for number in range(STEPS):
        x, y = (values[rank::2] for values in batch(number))
        for half in (0, 1):
            if isinstance(parallel, FSDPModule) and kind == "synchronized late":
                parallel.set_requires_gradient_sync(half == 1)
            elif isinstance(parallel, DistributedDataParallel):
                parallel.require_backward_grad_sync = half == 1  # what no_sync() sets
            (F.cross_entropy(parallel(x[half::2]), y[half::2]) / 2).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return whole_state(model)


@pytest.mark.parametrize("kind", ["ddp", "synchronized late", "synchronized twice"])
def test_gradients_that_accumulate(kind: str, tmp_path: Path) -> None:
    assert BATCH == 2 * 4
    states = results(on_ranks(2, accumulating, tmp_path, kind))
    assert_equal_training(states, alone(Residual, adamw, RECIPE))


# Validation scores.


def validating(rank: int, scores: list[float]) -> Any:
    growth = Growth(generations=1, patience=2, trial=2)
    model = network(convolutional)
    optimizer = sgd(model)
    recipe = Recipe(sparsity=0.5, schedule=RECIPE.schedule, growth=growth)
    perforator = sparbor.perforate(model, optimizer, recipe, total_steps=STEPS)
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    for number in range(STEPS):
        x, y = (values[rank::2] for values in batch(number))
        F.cross_entropy(wrapped(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        perforator.validate(scores[rank])
    return [event.what for event in perforator.growth_events], [event.score for event in perforator.growth_events]


def test_the_mean_of_the_ranks_validation_scores_counts(tmp_path: Path) -> None:
    one, other = results(on_ranks(2, validating, tmp_path, [0.5, 0.75]))
    assert one == other == (["grown", "rolled back"], [0.625, 0.625])
