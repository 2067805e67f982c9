"""Models trained side by side: from the same initial weights, on the same batches, with the same optimizer."""

import copy
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench import data
from bench.data.errors import DataError
from bench.job import freed_memory, multiply_adds, rapl
from bench.job.effort import NOTHING, Effort, Meter
from bench.job.job import Job
from bench.job.models import Task
from sparbor.calibration.calibration import calibrated
from sparbor.errors import ArgumentError, TrainingError
from sparbor.nn.dendrites import dendritic_layers
from sparbor.recipe.recipe import Recipe
from sparbor.train.perforator import Perforator, perforate

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
    title: str
    source: str
    description: str
    official: bool

    def identity(self) -> dict[str, Any]:
        """What tells this data from other, as plain data."""
        labels = self.training.labels.cpu().numpy()
        return {
            "data": self.description,
            "training_images": len(labels),
            "training_labels_crc32": zlib.crc32(labels.tobytes()),
        }


@dataclass(frozen=True)
class Epoch:
    """What one epoch of one arm came to, and what training and validation cost."""

    epoch: int
    training_loss: float
    validation_accuracy_percent: float
    density: float
    layer_densities: dict[str, float]
    seconds: float
    cpu_seconds: float
    multiply_adds: int | None
    energy_joules: float | None

    def effort(self) -> Effort:
        """What it cost."""
        return Effort(self.seconds, self.cpu_seconds, self.multiply_adds, self.energy_joules)


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
    steps: int = 0
    """Optimizer steps done."""
    epochs: list[Epoch] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    loss_sum: Tensor = field(default_factory=lambda: torch.zeros(()))
    effort: Effort = NOTHING
    """The loss of the steps since the last finished epoch, and what they cost."""
    uses: multiply_adds.Uses | None = None
    """Of the network's weights for one image, as :meth:`count` saw them."""
    multiply_adds_an_image: int | None = None
    """With the masks that there are."""

    def density(self) -> float:
        """Active over all weights; 1 for a dense arm."""
        return self.perforator.density() if self.perforator else 1.0

    def layer_densities(self) -> dict[str, float]:
        """Active over all weights of each dendritic layer, by name; dendrites count once they have grown."""
        return {module.name: 1 - module.get_sparsity() for module in dendritic_layers(self.model)}

    def meter(self) -> Meter:
        """A meter for what this arm does; what the processors take is not what a GPU takes."""
        return Meter(rapl.packages() if self.loss_sum.device.type == "cpu" else ())

    def count(self, images: Tensor) -> None:
        """Find out how much arithmetic a step takes on an image like these."""
        self.uses = multiply_adds.uses_of_weights(self.model, images[:1])
        self._count_by_masks()

    def _count_by_masks(self) -> None:
        self.multiply_adds_an_image = None if self.uses is None else multiply_adds.by_masks(self.model, self.uses)

    def step(self, images: Tensor) -> None:
        """Let the optimizer step after a backward pass for ``images``; note that, and what it did to the topology."""
        an_image = self.multiply_adds_an_image
        self.effort += Effort(multiply_adds=None if an_image is None else an_image * len(images))
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        if self.perforator is None:
            return
        step, growths = self.perforator.steps, self.perforator.growth_events
        grown = bool(growths) and growths[-1].step == step
        if grown or self.perforator.timeline.rewires(step):
            self.changes.append(Change(step, self.density()))
            if grown:
                self.count(images)
            else:
                self._count_by_masks()

    def end_epoch(self, steps: int, validation: Part) -> None:
        """Validate, and note what the epoch, which had so many steps, came to."""
        meter, epoch = self.meter(), len(self.epochs)
        training_loss = self.loss_sum.item() / steps
        if not math.isfinite(training_loss):
            raise TrainingError(
                f"the {self.name} model's training loss is {training_loss} in epoch {epoch}: lower the learning rate"
            )
        accuracy = accuracy_percent(self.model, validation)
        if self.perforator:
            self.perforator.validate(accuracy)
        effort = self.effort + meter.lap()
        densities = self.layer_densities()
        self.epochs.append(Epoch(epoch, training_loss, accuracy, self.density(), densities, **asdict(effort)))
        self.loss_sum, self.effort = torch.zeros_like(self.loss_sum), NOTHING

    def total_effort(self) -> Effort:
        """What everything cost so far."""
        return sum((epoch.effort() for epoch in self.epochs), start=self.effort)

    def state_dict(self) -> dict[str, Any]:
        """All that going on needs, as plain data and tensors."""
        return {
            "steps": self.steps,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "changes": [asdict(change) for change in self.changes],
            "loss_sum": self.loss_sum,
            "effort": asdict(self.effort),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "perforator": self.perforator and self.perforator.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.perforator:
            self.perforator.load_state_dict(state["perforator"])
        self.steps = int(state["steps"])
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self.changes = [Change(**change) for change in state["changes"]]
        self.loss_sum.copy_(state["loss_sum"])
        self.effort = Effort(**state["effort"])


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
        training=part(_channels_last(images[:training]), labels[:training]),
        validation=part(images[training:], labels[training:]),
        test=part(test_images, torch.from_numpy(dataset.test_labels)),
        test_bytes=test_images,
        title=dataset.title,
        source=dataset.source,
        description=dataset.description,
        official=dataset.official,
    )


def _channels_last(images: Tensor) -> Tensor:
    """The same images in the memory order in which convolutions and pools train faster."""
    return images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images


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


def new_arm(name: str, build: Callable[[], nn.Module], job: Job) -> Arm:
    """A dense arm before its first step; the job's seed decides its initial weights."""
    torch.manual_seed(job.seed)
    model = build().to(job.device)
    # Fused: the default implementation takes square roots, of which torch's are five times slower for zeros.
    optimizer = torch.optim.Adam(model.parameters(), lr=job.learning_rate, fused=True)
    return Arm(name, model, optimizer, loss_sum=torch.zeros((), device=job.device))


def branch(trunk: Arm, name: str, recipe: Recipe | None, total_steps: int) -> Arm:
    """An arm that goes on from a copy of a dense one, bit for bit as if it had been perforated at its first step.

    Up to the switch to dendrite mode a recipe changes nothing, so arms of one seed can share these steps. A trunk that
    is at its first step will do for any recipe, another one has to be before the recipe's switch.
    """
    arm = copy.deepcopy(trunk)
    arm.name = name
    if recipe is None:
        return arm
    # A GPU has no use for synapses alone, and dendrites that grow keep their parameters.
    compact = recipe.growth is None and arm.loss_sum.device.type == "cpu"
    arm.perforator = perforate(
        arm.model, arm.optimizer, recipe, total_steps=total_steps, storage="compact" if compact else "masked"
    )
    if arm.steps:
        if arm.steps >= arm.perforator.timeline.switch:
            raise ArgumentError(
                f"trunk.steps={arm.steps}: must be before step {arm.perforator.timeline.switch}, at which the recipe of"
                f" {name!r} switches to dendrite mode; branch off earlier"
            )
        # The largest that there were: those of the first step.
        rates = [float(arm.optimizer.defaults["lr"])] * len(arm.optimizer.param_groups)
        arm.perforator.load_state_dict({**arm.perforator.state_dict(), "steps": arm.steps, "peak_rates": rates})
    return arm


def make_arms(job: Job, split: Split, recipes: Mapping[str, Recipe | None]) -> list[Arm]:
    """Arms with the same initial weights; those with a recipe are perforated, their budgets calibrated if need be."""
    initial = new_arm("initial", job.task.build, job)
    total_steps = job.epochs * steps_an_epoch(split)
    arms = []
    for name, recipe in recipes.items():
        if recipe and recipe.budget and recipe.budget.costs is None:
            image = split.training.images[:1].cpu().contiguous()
            recipe = calibrated(recipe, copy.deepcopy(initial.model).cpu(), image)
        arms.append(branch(initial, name, recipe, total_steps))
    return arms


def train(
    arms: Sequence[Arm],
    split: Split,
    job: Job,
    on_step: Callable[[Arm], None] = lambda arm: None,
    until: int | None = None,
) -> Iterator[int]:
    """Train all arms on the same batches, an epoch of each in turn; yields each epoch when all have finished it.

    Each arm goes on from the step it is at, up to ``until`` steps (by default, to the end of the job).
    """
    freed_memory.keep()
    order = torch.Generator().manual_seed(job.seed)
    until = job.epochs * steps_an_epoch(split) if until is None else until
    finished = min(len(arm.epochs) for arm in arms)  # by all, before this call
    for epoch in range(job.epochs):
        shuffled = torch.randperm(len(split.training.labels), generator=order).to(job.device)
        batches = torch.split(shuffled, BATCH)
        if epoch < finished:
            continue
        for arm in arms:
            _train_epoch(arm, epoch, split, batches, job, on_step, until)
        if all(len(arm.epochs) > epoch for arm in arms):
            yield epoch


def _train_epoch(
    arm: Arm,
    epoch: int,
    split: Split,
    batches: Sequence[Tensor],
    job: Job,
    on_step: Callable[[Arm], None],
    until: int,
) -> None:
    """What ``arm`` has not done yet of an epoch, but no step beyond ``until``."""
    first, total_steps = epoch * len(batches), job.epochs * len(batches)
    todo = batches[max(0, arm.steps - first) : max(0, until - first)]
    if not todo:
        return
    arm.count(split.training.images)
    arm.model.train()
    meter = arm.meter()
    for batch in todo:
        for group in arm.optimizer.param_groups:
            group["lr"] = job.learning_rate_at(arm.steps / total_steps)
        images = split.training.images[batch]
        loss = F.cross_entropy(arm.model(images), split.training.labels[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        arm.step(images)
        arm.loss_sum += loss.detach()
        on_step(arm)
        if meter.is_due:
            arm.effort += meter.lap()
    arm.effort += meter.lap()
    if arm.steps == first + len(batches):
        arm.end_epoch(len(batches), split.validation)


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
