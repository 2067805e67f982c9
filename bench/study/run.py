"""Trains one cell of the accuracy study, on a trunk that the arms of its seed share."""

from __future__ import annotations

import hashlib
import inspect
import io
from functools import lru_cache
from pathlib import Path

import torch

from bench.job import arms, models
from bench.job.arms import Arm, Split, accuracy_percent, branch, load_split, new_arm, steps_an_epoch, train
from bench.job.experiment import calibration_images, check_deployed
from bench.job.job import Job
from bench.job.measure import parameter_counts
from bench.results_file import digest
from bench.study.arms import ARMS
from bench.study.rows import Cell, Row, model_file
from sparbor.files import write_file
from sparbor.lower.deploy import deploy


def train_cell(cell: Cell, data_dir: Path | None, scratch: Path) -> Row:
    """Train, validate after every epoch, test once, deploy; the row of the cell."""
    torch.set_num_threads(1)
    job = cell.job(data_dir)
    split = _split(job.dataset, data_dir)
    arm = start(cell, job, split, scratch)
    after_epoch = ARMS[cell.arm].after_epoch
    for _ in train([arm], split, job):
        if after_epoch:
            after_epoch(arm, job)
    return measured(cell, arm, job, split, scratch)


def start(cell: Cell, job: Job, split: Split, scratch: Path) -> Arm:
    """The arm at its first step, or where it leaves the trunk."""
    definition = ARMS[cell.arm]
    total_steps = job.epochs * steps_an_epoch(split)
    recipe = definition.recipe(job) if definition.recipe else None
    if definition.starts_as_dense:
        switch = (recipe or job.recipe()).timeline(total_steps).switch
        origin = trunk(job, split, max(0, switch - 1), scratch)
    else:
        network = definition.network
        origin = new_arm(cell.arm, (lambda: network(job)) if network else job.task.build, job)
    arm = branch(origin, cell.arm, recipe, total_steps)
    if definition.prepare:
        definition.prepare(arm, job)
    return arm


def trunk(job: Job, split: Split, steps: int, scratch: Path) -> Arm:
    """The dense arm after ``steps``: as it was kept, or trained now and kept."""
    code = hashlib.sha256((inspect.getsource(arms) + inspect.getsource(models)).encode()).hexdigest()
    run = (job.task_name, job.seed, job.epochs, job.learning_rate, job.learning_rate_schedule, steps)
    file = (
        scratch / "trunks" / f"{digest(run, str(split.source), len(split.training.labels), torch.__version__, code)}.pt"
    )
    if file.exists():
        return torch.load(file, weights_only=False)  # our own file: it holds an Arm
    arm = new_arm("trunk", job.task.build, job)
    for _ in train([arm], split, job, until=steps):
        pass
    content = io.BytesIO()
    torch.save(arm, content)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, content.getvalue())
    return arm


def measured(cell: Cell, arm: Arm, job: Job, split: Split, scratch: Path) -> Row:
    """One row; ``sparsity`` is what was asked for, the parameter counts are what was reached.

    ``engine_test_accuracy`` is the deployed model's, of arms that deploy, with 16-bit weights, and
    ``int8_test_accuracy`` with 8-bit ones.
    """
    counts = parameter_counts(arm.model)
    count_active = ARMS[cell.arm].active_parameters
    row = {
        "dataset": cell.dataset,
        "data": split.description,
        "arm": cell.arm,
        "sparsity": cell.sparsity,
        "distribution": arm.perforator.recipe.distribution if arm.perforator else None,
        "schedule": cell.schedule,
        "seed": cell.seed,
        "epochs": cell.epochs,
        "validation_accuracy": arm.epochs[-1].validation_accuracy_percent,
        "validation_by_epoch": [epoch.validation_accuracy_percent for epoch in arm.epochs],
        "test_accuracy": accuracy_percent(arm.model, split.test),
        "active_parameters": count_active(arm.model) if count_active else counts["active_parameters"],
        "total_parameters": counts["total_parameters"],
        "test_images": len(split.test.labels),
        "training_seconds": arm.total_effort().seconds,
        "engine_test_accuracy": None,
        "int8_test_accuracy": None,
        **cell.settings(),
    }
    if not ARMS[cell.arm].deploys:
        return row
    runtime = deploy(arm.model, split.test.images[:1], byte_input=job.task.byte_input)
    calibration = [calibration_images(split)]
    int8 = deploy(
        arm.model, split.test.images[:1], weights="int8", calibration=calibration, byte_input=job.task.byte_input
    )
    row["int8_test_accuracy"] = check_deployed(arm, int8, split, "int8")["test_accuracy_percent"]
    row["engine_test_accuracy"] = check_deployed(arm, runtime, split, "word16")["test_accuracy_percent"]
    file = model_file(scratch, row)
    file.parent.mkdir(parents=True, exist_ok=True)
    runtime.save(file)
    return row


@lru_cache(maxsize=1)
def _split(dataset: str, data_dir: Path | None) -> Split:
    return load_split(Job(dataset=dataset, data_dir=data_dir))
