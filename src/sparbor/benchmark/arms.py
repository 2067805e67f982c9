"""Models trained side by side: from the same initial weights, on the same batches, with the same optimizer."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparbor import data
from sparbor.benchmark.job import Job
from sparbor.benchmark.models import Task
from sparbor.calibration import calibrated
from sparbor.errors import DataError, TrainingError
from sparbor.perforator import Perforator, perforate
from sparbor.recipe import Recipe

BATCH = 128
EVALUATION_BATCH = 1000
SMALLEST_TRAINING_SET = 10  # a tenth of it is for validation


@dataclass(frozen=True)
class Part:
    """Normalised images ``(n, ...)`` and their labels ``(n,)``."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Split:
    """Nine tenths of the official training set to learn from, its last tenth to validate on, and the test set."""

    training: Part
    validation: Part
    test: Part
    test_bytes: Tensor
    """The test images as they were stored: what a deployed model takes."""
    source: str
    description: str
    official: bool


@dataclass(frozen=True)
class Epoch:
    """What one epoch of one arm came to."""

    epoch: int
    training_loss: float
    validation_accuracy_percent: float
    density: float
    seconds: float


@dataclass(frozen=True)
class Change:
    """A change of topology: the density it led to and the step after which it happened."""

    step: int
    density: float


@dataclass
class Arm:
    """One model in training. ``perforator`` is ``None`` for a dense arm."""

    name: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    perforator: Perforator | None = None
    epochs: list[Epoch] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def density(self) -> float:
        """Active over all weights; 1 for a dense arm."""
        return self.perforator.density() if self.perforator else 1.0

    def step(self) -> None:
        """Let the optimizer step, and note what that did to the topology."""
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.perforator is None:
            return
        step, growths = self.perforator.steps, self.perforator.growth_events
        if self.perforator.timeline.rewires(step) or (growths and growths[-1].step == step):
            self.changes.append(Change(step, self.density()))


def load_split(job: Job) -> Split:
    """Read the data set and bring it to the device."""
    dataset = data.load(job.dataset, job.data_dir)
    _check_fit(dataset, job.task)
    images, test_images = torch.from_numpy(dataset.train_images), torch.from_numpy(dataset.test_images)
    labels = torch.from_numpy(dataset.train_labels)
    training = len(images) - len(images) // 10

    def part(images: Tensor, labels: Tensor) -> Part:
        return Part(job.task.normalise(images).to(job.device), labels.to(job.device))

    return Split(
        training=part(images[:training], labels[:training]),
        validation=part(images[training:], labels[training:]),
        test=part(test_images, torch.from_numpy(dataset.test_labels)),
        test_bytes=test_images,
        source=dataset.source,
        description=dataset.description,
        official=dataset.official,
    )


def _check_fit(dataset: data.Dataset, task: Task) -> None:
    """A directory that the user names may hold other images than the network takes."""
    fault = None
    if dataset.train_images.shape[1:] != task.image_shape:
        fault = f"images of {dataset.train_images.shape[1:]}, the network takes {task.image_shape}"
    elif dataset.classes > task.classes:
        fault = f"labels up to {dataset.classes - 1}, the network tells {task.classes} classes apart"
    elif len(dataset.train_images) < SMALLEST_TRAINING_SET:
        fault = f"{len(dataset.train_images)} training images, at least {SMALLEST_TRAINING_SET} are needed"
    if fault:
        raise DataError(f"{dataset.source}: holds {fault}; name another --data-dir")


def steps_an_epoch(split: Split) -> int:
    """Optimizer steps in one epoch."""
    return math.ceil(len(split.training.labels) / BATCH)


def make_arms(job: Job, split: Split, recipes: Mapping[str, Recipe | None]) -> list[Arm]:
    """Arms with the same initial weights; those with a recipe are perforated, their budgets calibrated if need be."""
    torch.manual_seed(job.seed)
    initial = job.task.build().to(job.device)
    arms = []
    for name, recipe in recipes.items():
        model = copy.deepcopy(initial)
        # Fused: the default implementation takes square roots, of which torch's are five times slower for zeros.
        optimizer = torch.optim.Adam(model.parameters(), lr=job.learning_rate, fused=True)
        total_steps = job.epochs * steps_an_epoch(split)
        if recipe and recipe.budget and recipe.budget.costs is None:
            recipe = calibrated(recipe, copy.deepcopy(initial).cpu(), split.training.images[:1].cpu())
        perforator = perforate(model, optimizer, recipe, total_steps=total_steps) if recipe else None
        arms.append(Arm(name, model, optimizer, perforator))
    return arms


def train(
    arms: Sequence[Arm], split: Split, job: Job, on_step: Callable[[Arm], None] = lambda arm: None
) -> Iterator[int]:
    """Train all arms on the same batches, an epoch of each in turn; yields each epoch that all have finished."""
    order = torch.Generator().manual_seed(job.seed)
    for epoch in range(job.epochs):
        shuffled = torch.randperm(len(split.training.labels), generator=order).to(job.device)
        batches = torch.split(shuffled, BATCH)
        for arm in arms:
            arm.epochs.append(_train_epoch(arm, epoch, split, batches, on_step))
        yield epoch


def _train_epoch(
    arm: Arm, epoch: int, split: Split, batches: Sequence[Tensor], on_step: Callable[[Arm], None]
) -> Epoch:
    start = time.perf_counter()
    loss_sum = torch.zeros((), device=split.training.images.device)
    arm.model.train()
    for batch in batches:
        loss = F.cross_entropy(arm.model(split.training.images[batch]), split.training.labels[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        arm.step()
        loss_sum += loss.detach()
        on_step(arm)
    training_loss = loss_sum.item() / len(batches)
    if not math.isfinite(training_loss):
        raise TrainingError(
            f"the {arm.name} model's training loss is {training_loss} in epoch {epoch}: lower the learning rate"
        )
    accuracy = accuracy_percent(arm.model, split.validation)
    if arm.perforator:
        arm.perforator.validate(accuracy)
    return Epoch(epoch, training_loss, accuracy, arm.density(), time.perf_counter() - start)


def accuracy_percent(model: nn.Module, part: Part) -> float:
    """The share of images whose label has the highest score, in percent."""
    return percent_right(scores(model, part.images), part.labels)


def scores(model: nn.Module, images: Tensor) -> Tensor:
    """What the model gives in evaluation mode, ``(n, classes)``."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(batch) for batch in torch.split(images, EVALUATION_BATCH)])


def percent_right(scores: Tensor, labels: Tensor) -> float:
    """The share of rows of ``scores`` that are highest at their label, in percent."""
    return 100 * int((scores.argmax(dim=1) == labels).sum()) / len(labels)
