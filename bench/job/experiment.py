"""The reference job: a dense baseline and the dendritic model, trained side by side, then both measured."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from bench.job import contest, environment, measure
from bench.job.arms import (
    BATCH,
    Arm,
    Split,
    accuracy_percent,
    load_split,
    make_arms,
    percent_right,
    scores,
    steps_an_epoch,
    train,
)
from bench.job.checkpoint import Checkpoint
from bench.job.job import Job
from sparbor.engine.runtime import Runtime
from sparbor.errors import SparborError
from sparbor.recipe.recipe import Recipe
from sparbor.report.metrics_file import METRICS_VERSION

ERROR_A_LAYER = {"word16": 0.008, "int8": 0.02}
CALIBRATION_IMAGES = 256


def remaining_error_reduction(baseline_percent: float, dendritic_percent: float) -> float | None:
    """``(e_baseline - e_dendritic) / e_baseline`` of test errors; ``None`` if the baseline makes none."""
    baseline_error, dendritic_error = 100 - baseline_percent, 100 - dendritic_percent
    return (baseline_error - dendritic_error) / baseline_error if baseline_error else None


class Watcher(Protocol):
    """Is told how training goes."""

    def start(self, arms: Sequence[Arm], steps: int) -> None:
        """Training begins or goes on; each arm takes ``steps`` steps, some of which may be done."""

    def advance(self, arm: Arm) -> None:
        """``arm`` took a step."""

    def epoch_done(self, arms: Sequence[Arm]) -> None:
        """All arms have finished an epoch."""


def run(
    job: Job, watcher: Watcher, keep: Callable[[dict[str, Any]], None], file: Path, *, resume: bool = False
) -> tuple[dict[str, Any], Runtime]:
    """The whole job: train, test once, measure. Returns the metrics and the deployed dendritic model.

    After every epoch, and when a run goes on, ``keep`` gets the metrics of what is finished. The ``file`` is a
    checkpoint that is replaced after every epoch; ``resume`` goes on from it, to the same result as if the run had not
    stopped.
    """
    split = load_split(job)
    checkpoint = Checkpoint(file, identity(job, split), "leave out --resume to start anew, or choose another --out")
    arms = resumed_arms(job, split, checkpoint) if resume else start_arms(job, split, job.recipe())
    if resume:
        keep(progress_metrics(job, split, arms))
    watcher.start(arms, job.epochs * steps_an_epoch(split))
    for _ in train(arms, split, job, watcher.advance):
        watcher.epoch_done(arms)
        checkpoint.save({arm.name: arm.state_dict() for arm in arms})
        keep(progress_metrics(job, split, arms))
    metrics = progress_metrics(job, split, arms)
    for arm in arms:
        metrics[arm.name]["test_accuracy_percent"] = accuracy_percent(arm.model, split.test)
        metrics[arm.name].update(measure.parameter_counts(arm.model))
    metrics["dendritic"]["cost"] = _cost(arms[1])
    image = split.test.images[:1].cpu()
    models = {arm.name: arm.model.cpu() for arm in arms}
    results = contest.hold(job.task_name, models, image, calibration_images(split))
    for arm in arms:
        metrics[arm.name]["runtimes"] = results.figures[arm.name]
    metrics["not_measured"] = results.not_measured
    metrics["remaining_error_reduction"] = remaining_error_reduction(
        metrics["baseline"]["test_accuracy_percent"], metrics["dendritic"]["test_accuracy_percent"]
    )
    runtimes = results.deployed["dendritic"]
    metrics["deployed_as"] = {
        weights: check_deployed(arms[1], runtime, split, weights) for weights, runtime in runtimes.items()
    }
    metrics["deployed"] = metrics["deployed_as"][job.weights]
    return metrics, runtimes[job.weights]


def identity(job: Job, split: Split) -> dict[str, Any]:
    """All that the trained models depend on, but for the machine and the software."""
    return {
        "network": job.task_name,
        "epochs": job.epochs,
        "seed": job.seed,
        "batch": BATCH,
        "learning_rate": job.learning_rate,
        "learning_rate_schedule": job.learning_rate_schedule,
        "recipe": job.recipe().to_dict(),
        **split.identity(),
    }


def start_arms(job: Job, split: Split, recipe: Recipe) -> list[Arm]:
    """The baseline and the dendritic model before their first step."""
    return make_arms(job, split, {"baseline": None, "dendritic": recipe})


def resumed_arms(job: Job, split: Split, checkpoint: Checkpoint) -> list[Arm]:
    """Both arms where the checkpoint was taken, the recipe with the costs that were measured then."""
    state = checkpoint.load()
    with checkpoint.restoring():
        arms = start_arms(job, split, Recipe.from_dict(state["dendritic"]["perforator"]["recipe"]))
        for arm in arms:
            arm.load_state_dict(state[arm.name])
    return arms


def progress_metrics(job: Job, split: Split, arms: Sequence[Arm]) -> dict[str, Any]:
    """What is known of a run from its finished epochs."""
    recipes = [arm.perforator.recipe for arm in arms if arm.perforator]
    timelines = [arm.perforator.timeline for arm in arms if arm.perforator]
    return {
        "version": METRICS_VERSION,
        "dataset": job.dataset,
        "data": {
            "title": split.title,
            "source": split.source,
            "description": split.description,
            "official": split.official,
            "training_images": len(split.training.labels),
            "validation_images": len(split.validation.labels),
            "test_images": len(split.test.labels),
        },
        "environment": environment.describe(job.device),
        "training": {
            "epochs": job.epochs,
            "seed": job.seed,
            "batch": BATCH,
            "optimizer": "Adam",
            "learning_rate": job.learning_rate,
            "learning_rate_schedule": job.learning_rate_schedule,
            "steps_an_epoch": steps_an_epoch(split),
            "switch_step": timelines[0].switch,
        },
        "recipe": recipes[0].to_dict(),
        **{arm.name: _history(arm) for arm in arms},
    }


def _cost(arm: Arm) -> float | None:
    """What the model costs by the recipe's budget, in its unit, if it has one."""
    return arm.perforator.cost() if arm.perforator and arm.perforator.recipe.budget else None


def _history(arm: Arm) -> dict[str, Any]:
    return {
        "epochs": [asdict(epoch) for epoch in arm.epochs],
        "densities": [asdict(change) for change in arm.changes],
        "growth": [asdict(event) for event in arm.perforator.growth_events] if arm.perforator else [],
        "validation_accuracy_percent": arm.epochs[-1].validation_accuracy_percent if arm.epochs else None,
        **{f"training_{name}": figure for name, figure in asdict(arm.total_effort()).items()},
    }


def calibration_images(split: Split) -> Tensor:
    """Images of the training set that tell how large the numbers within a model become."""
    return split.training.images[:CALIBRATION_IMAGES].cpu().contiguous()


def check_deployed(arm: Arm, runtime: Runtime, split: Split, weights: str) -> dict[str, Any]:
    """Compare the deployed model, on the bytes of the whole test set, with the trained one on its normalised images.

    ``relative_error = ||y_engine - y|| / ||y||`` over all scores; more than 0.8 % a layer of 16 bits, or 2 % a layer of
    8, is a fault of the engine.
    """
    expected = scores(arm.model.cpu(), split.test.images.cpu())
    computed = runtime(split.test_bytes)
    error = ((computed - expected).norm() / expected.norm()).item()
    allowed = ERROR_A_LAYER[weights] * len(runtime.describe())
    if not error <= allowed:
        raise SparborError(
            f"the deployed model's scores are off by {error:.2%}, more than {allowed:.1%}: report this bug"
        )
    return {
        "weights": weights,
        "kernels": runtime.isa,
        "relative_error": error,
        "test_accuracy_percent": percent_right(computed, split.test.labels.cpu()),
        "layers": [asdict(layer) for layer in runtime.describe()],
    }
