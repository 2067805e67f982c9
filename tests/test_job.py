"""The benchmark's tasks and what a job makes of them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import sparbor
from bench.job.job import Job
from bench.job.measure import parameter_counts
from bench.job.models import TASKS
from sparbor import Budget, Recipe
from sparbor.errors import ArgumentError
from sparbor.recipe.schedule import Schedule


@pytest.mark.parametrize(("name", "parameters"), [("mnist", 269_322), ("cifar10", 2_122_186), ("mnist-vit", 71_946)])
def test_networks_are_what_they_are_said_to_be(name: str, parameters: int) -> None:
    task = TASKS[name]
    network = task.build()
    assert network(torch.zeros(3, *task.image_shape)).shape == (3, task.classes)
    assert parameter_counts(network)["total_parameters"] == parameters


@pytest.mark.parametrize("name", TASKS)
def test_bytes_are_normalised_as_the_deployed_network_does(name: str) -> None:
    task = TASKS[name]
    images = torch.randint(256, (2, *task.image_shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    normalised = task.normalise(images).numpy()
    scale, shift = (np.reshape(each, (-1, 1, 1)) for each in task.byte_input.scale_and_shift())
    assert np.allclose(images.numpy() * scale + shift, normalised, atol=1e-5)
    channel = (images.numpy()[:, -1] if len(task.mean) > 1 else images.numpy()) / 255
    expected = (channel - task.mean[-1]) / task.deviation[-1]
    assert np.allclose(normalised[:, -1] if len(task.mean) > 1 else normalised, expected, atol=1e-5)


def test_a_task_may_have_its_own_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "cifar10", replace(TASKS["cifar10"], recipe=partial(Recipe, method="set")))
    made = Job(dataset="cifar10", sparsity=0.8, epochs=10).recipe()
    assert made == Recipe(sparsity=0.8, method="set")
    mnist = Recipe(sparsity=0.8, method="magnitude", distribution="global")
    assert Job(sparsity=0.8, epochs=10).recipe() == mnist


def test_a_budget_takes_the_place_of_sparsity_and_distribution() -> None:
    budget = Budget(multiply_adds=1e6)
    made = Job(dataset="cifar10", budget=budget).recipe()
    assert (made.sparsity, made.distribution, made.budget) == (None, None, budget)
    assert made.schedule == Job(dataset="cifar10").recipe().schedule
    assert Job(dataset="cifar10").recipe().sparsity == 0.9
    with pytest.raises(ArgumentError, match=r"sparsity=0.9 and Budget\(multiply_adds=1e\+06\): give one of them"):
        Job(sparsity=0.9, budget=budget)


def test_dendrites_are_grown_from_the_switch_to_the_final_sparsity() -> None:
    recipe = Job(dendrites=2, epochs=10).recipe()
    assert recipe.growth is not None
    assert recipe.growth.generations == 2
    assert recipe.growth.at == pytest.approx((0.1, 0.425))
    assert Job(epochs=10).recipe().growth is None


def test_jobs_have_the_usual_schedule() -> None:
    assert all(Job(dataset=dataset).recipe().schedule == Schedule() for dataset in ("mnist", "cifar10"))


def test_a_job_may_ask_for_another_network_on_its_data_set() -> None:
    assert Job().task is TASKS["mnist"]
    job = Job(network="mnist-vit")
    assert (job.dataset, job.task_name, job.task) == ("mnist", "mnist-vit", TASKS["mnist-vit"])
    with pytest.raises(ArgumentError, match=r"^dataset='mnist-vit': must be one of 'mnist', 'cifar10'$"):
        Job(dataset="mnist-vit")
    with pytest.raises(ArgumentError, match=r"^network='mnist-vit': must be one of 'cifar10', which take cifar10$"):
        Job(dataset="cifar10", network="mnist-vit")


@pytest.mark.parametrize("name", TASKS)
def test_the_engine_runs_every_task(name: str) -> None:
    task = TASKS[name]
    example = torch.zeros(1, *task.image_shape)
    assert sparbor.deploy(task.build(), example).outputs[0].shape == ("batch", task.classes)
