"""Ranks that differ, die or stop, and states of other runs: an error on every rank, in time, and nothing is lost."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel

import sparbor
from bench.job.checkpoint import Checkpoint
from sparbor import Budget, Growth, Recipe
from sparbor.errors import SparborError
from sparbor.train.perforator import Perforator
from tests.rank_processes import on_ranks, results, stop_for_good
from tests.scaled_training import RECIPE, STEPS, Residual, adamw, convolutional, network, sgd, shard, train, whole_state
from tests.states import assert_same

LATENCY = Recipe(budget=Budget(multiply_adds=2000), schedule=RECIPE.schedule)


def message(work: Callable[[], Any]) -> str:
    """The error that a rank's own code sees, after which it goes on to the next."""
    try:
        work()
    except SparborError as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def perforated(model: nn.Module, recipe: Any = RECIPE, total_steps: int = STEPS) -> Perforator:
    return sparbor.perforate(model, sgd(model), recipe, total_steps=total_steps)


def assert_refused(on_each_rank: list[dict[str, str]], patterns: dict[str, str]) -> None:
    """Every rank says the same, but for saying of others that it was they."""
    for messages in on_each_rank:
        assert list(messages) == list(patterns)
        for case, pattern in patterns.items():
            assert re.fullmatch(pattern, messages[case]), f"{case}: {messages[case]}"


# Ranks that are given different things.


def given_different_things(rank: int) -> dict[str, str]:
    others = Recipe(sparsity=0.8, schedule=RECIPE.schedule, seed=rank)
    wider = nn.Sequential(nn.Linear(24, 32 + rank), nn.Linear(32 + rank, 10))
    return {
        "seed": message(lambda: perforated(network(Residual), others)),
        "model": message(lambda: perforated(wider)),
        "length": message(lambda: perforated(network(Residual), total_steps=STEPS + rank)),
        "nothing to do": message(lambda: perforated(nn.Sequential(nn.LayerNorm(8)) if rank else network(Residual))),
        "no recipe": message(lambda: perforated(network(Residual), "rigl" if rank else RECIPE)),
        "the same": message(lambda: perforated(network(Residual))),
    }


def test_ranks_that_differ_are_refused_before_they_train(tmp_path: Path) -> None:
    same = "let every rank train the same model with the same recipe"
    assert_refused(
        results(on_ranks(2, given_different_things, tmp_path)),
        {
            "seed": f"ArgumentError: the recipe's seed differs, it is 1 on rank 1 and 0 on rank 0: {same}",
            "model": "ArgumentError: layer '0' differs, it is 'Linear of 825 parameters, dendritic' on rank 1 and"
            f" 'Linear of 800 parameters, dendritic' on rank 0: {same}",
            "length": f"ArgumentError: total_steps differs, it is 17 on rank 1 and 16 on rank 0: {same}",
            "nothing to do": r"ArgumentError: (rank 1: )?Sequential has no layer that can become dendritic.*",
            "no recipe": r"ArgumentError: (rank 1: )?recipe is a str: must be a sparbor\.Recipe.*",
            "the same": "no error",
        },
    )


def with_other_weights(rank: int) -> str:
    model = network(Residual, seed=rank)
    optimizer = sgd(model)
    sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    return message(lambda: train(model, optimizer))


def test_ranks_whose_masks_differ_stop_at_once(tmp_path: Path) -> None:
    remedy = "start every rank from the same weights and give it the same optimizer"
    pattern = rf"TrainingError: the masks' fingerprint after step \d+ differs, .* on rank 1 and .* on rank 0: {remedy}"
    said = results(on_ranks(2, with_other_weights, tmp_path))
    assert said[0] == said[1]
    assert re.fullmatch(pattern, said[0])


# What ranks cannot do together.


def asked_too_much(rank: int) -> dict[str, str]:
    growth = Growth(at=(0.5,))
    late = network(Residual)
    perforator = perforated(late)
    fully_shard(late)
    cases: dict[str, Callable[[], Any]] = {
        "sharded growth": lambda: perforated(shard(network(Residual)), Recipe(growth=growth)),
        "sharded budget": lambda: perforated(shard(network(Residual)), LATENCY),
        "growth in ddp": lambda: perforated(DistributedDataParallel(network(Residual)), Recipe(growth=growth)),
        "sharded after": lambda: train(late, perforator.optimizer),
        "flattened": lambda: perforated(FullyShardedDataParallel(network(Residual), device_id=torch.device("cpu"))),
    }
    return {name: message(case) for name, case in cases.items()}


def test_what_ranks_cannot_do_is_refused_with_a_way_out(tmp_path: Path) -> None:
    assert_refused(
        results(on_ranks(2, asked_too_much, tmp_path)),
        {
            "sharded growth": r"ArgumentError: growth: .*leave out growth, or train with DistributedDataParallel",
            "sharded budget": r"ArgumentError: Budget\(multiply_adds=2000\): .*give a sparsity in its place.*",
            "growth in ddp": r"ArgumentError: growth: .*first, then .*find_unused_parameters=True\)",
            "sharded after": r"StateError: layer 'fc1' has been sharded since sparbor\.perforate\(\): .*",
            "flattened": r"ArgumentError: the model is wrapped in FullyShardedDataParallel.*fully_shard",
        },
    )


# States.


def offered_states(rank: int) -> dict[str, str]:
    model = network(convolutional)
    optimizer = sgd(model)
    perforator = sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    own = perforator.state_dict()
    damaged = {**own, "steps": "many"} if rank else own
    cases = {
        "world size": {**own, "world_size": 4},
        "version": {**own, "version": 1},
        "recipe": {**own, "recipe": Recipe(sparsity=0.7, schedule=RECIPE.schedule).to_dict()},
        "model": {**own, "layers": {"fc1": [10, 20]}},
        "damaged": damaged,
        "another step": {**own, "steps": rank},
        "own": own,
    }
    return {name: message(lambda state=state: perforator.load_state_dict(state)) for name, state in cases.items()}  # type: ignore[misc]


def test_states_of_other_runs_are_refused_by_all_ranks(tmp_path: Path) -> None:
    own = r"StateError: (rank \d: )?"
    assert_refused(
        results(on_ranks(2, offered_states, tmp_path)),
        {
            "world size": rf"{own}the state has other world_size \(4 where this run has 2\): start as many processes.*",
            "version": rf"{own}perforator state of version 1: this release reads version 2;.*",
            "recipe": rf"{own}the state has other recipe \(sparsity: 0\.7 where this run has 0\.8; .*\): .*",
            "model": rf"{own}the state has other layers .*",
            "damaged": r"StateError: (rank 1: )?the state is damaged: steps='many'.*",
            "another step": r"StateError: steps differs, it is 1 on rank 1 and 0 on rank 0: load the same checkpoint.*",
            "own": "no error",
        },
    )


def test_one_process_refuses_a_state_of_two() -> None:
    perforator = perforated(network(Residual))
    with pytest.raises(sparbor.errors.StateError, match=r"world_size \(2 where this run has 1\)"):
        perforator.load_state_dict({**perforator.state_dict(), "world_size": 2})


# Checkpoints, and ranks that are lost.

WHOLE = StateDictOptions(full_state_dict=True)


def checkpoint_in(folder: Path) -> Checkpoint:
    return Checkpoint(folder / "checkpoint.pt", {"run": "scaling"}, "start anew")


def saved(model: nn.Module, perforator: Perforator) -> dict[str, Any]:
    weights, moments = get_state_dict(model, perforator.optimizer, options=WHOLE)
    return {"model": weights, "optimizer": moments, "perforator": perforator.state_dict()}


def trained(rank: int, folder: Path, kind: str, steps: int = STEPS, lose: Callable[[], Any] | None = None) -> Any:
    """Train up to ``steps``, from the checkpoint if there is one; rank 0 writes it after every third step."""
    model = network(Residual)
    parallel = shard(model) if kind == "sharded" else DistributedDataParallel(model)
    optimizer = adamw(model)
    perforator = sparbor.perforate(parallel, optimizer, RECIPE, total_steps=STEPS)
    checkpoint = checkpoint_in(folder)
    if checkpoint.path.exists():
        state = checkpoint.load()
        set_state_dict(
            model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"], options=WHOLE
        )
        perforator.load_state_dict(state["perforator"])
    for step in range(perforator.steps, steps):
        if step == 8 and rank == 1 and lose is not None:
            lose()
        train(parallel, optimizer, rank, 2, first=step, last=step + 1)
        if perforator.steps % 3 == 0:
            state = saved(model, perforator)
            if rank == 0:
                checkpoint.save(state)
    return whole_state(model)


def die() -> None:
    """As if the machine lost its power."""
    os._exit(1)


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
@pytest.mark.parametrize("lose", [die, stop_for_good])
def test_a_rank_is_lost_and_training_goes_on_from_the_last_checkpoint(
    kind: str, lose: Callable[[], Any], tmp_path: Path
) -> None:
    stopping = (1,) if lose is stop_for_good else ()
    began = time.monotonic()
    other, lost = on_ranks(2, trained, tmp_path / "1", tmp_path, kind, STEPS, lose, timeout=2, stopping=stopping)
    assert time.monotonic() - began < 30
    assert lost.result is None
    assert other.result is None
    assert other.error, "the other rank has noticed nothing"
    assert checkpoint_in(tmp_path).load()["perforator"]["steps"] == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "checkpoint.pt"]

    resumed = results(on_ranks(2, trained, tmp_path / "2", tmp_path, kind))
    (tmp_path / "whole").mkdir()
    uninterrupted = results(on_ranks(2, trained, tmp_path / "3", tmp_path / "whole", kind))
    assert_same(resumed, uninterrupted)


def left_alone(rank: int, where: str) -> str:
    model = network(Residual)
    if where == "perforate":
        return message(lambda: perforated(model) if rank == 0 else stop_for_good())
    optimizer = sgd(model)
    sparbor.perforate(model, optimizer, RECIPE, total_steps=STEPS)
    return message(lambda: train(model, optimizer) if rank == 0 else stop_for_good())


@pytest.mark.parametrize("where", ["perforate", "rewiring"])
def test_what_the_perforator_says_of_a_rank_that_does_not_answer(where: str, tmp_path: Path) -> None:
    began = time.monotonic()
    said = on_ranks(2, left_alone, tmp_path, where, timeout=2, stopping=(1,))[0].result
    assert time.monotonic() - began < 30
    text = r"TrainingError: rank 0 got no answer from another rank within the process group's timeout \(.+\): .*"
    assert re.fullmatch(text, said), said
