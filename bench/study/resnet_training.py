"""A residual network on CIFAR-10 by a plan, in steps that can stop anywhere and go on to the same result.

Images lie channels last, and are augmented where they are trained on. A GPU computes convolutions in bfloat16; a
processor has to use one thread (several crash PyTorch 2.13).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.job.arms import BATCH, Arm, Split, steps_an_epoch
from bench.job.checkpoint import Checkpoint
from bench.job.job import Job
from bench.study.resnet_plans import MOMENTUM, PADDING, Plan
from sparbor import Recipe, perforate
from sparbor.errors import TrainingError


@dataclass(frozen=True)
class Run:
    """One arm, ``dense`` or a pattern's name, at one sparsity (0 for ``dense``), and the job it belongs to."""

    plan: Plan
    arm: str
    job: Job

    @property
    def name(self) -> str:
        """What the run's files are called."""
        sparsity = "" if self.arm == "dense" else f"-{self.job.sparsity:g}"
        return f"{self.arm}{sparsity}-seed{self.job.seed}"

    def recipe(self) -> Recipe | None:
        """How the arm becomes sparse, if it does."""
        if self.arm == "dense":
            return None
        assert self.job.sparsity is not None
        return self.plan.recipe(self.arm, self.job.sparsity)

    def identity(self) -> dict[str, Any]:
        """All that the result depends on, but for the data and the machine."""
        recipe = self.recipe()
        return {
            "model": self.plan.model,
            "arm": self.arm,
            "sparsity": self.job.sparsity,
            "seed": self.job.seed,
            "epochs": self.job.epochs,
            "batch": BATCH,
            "learning_rate": [self.plan.learning_rate, self.plan.rate.__name__],
            "momentum": MOMENTUM,
            "weight_decay": self.plan.weight_decay,
            "padding": PADDING,
            "recipe": recipe and recipe.to_dict(),
        }


def draw_batches(seed: int, epoch: int, images: int) -> tuple[Tensor, ...]:
    """An epoch's batches ``(images, 4)``: which image, how far down and right its window lies, whether it is flipped.

    They depend on seed and epoch alone, and are drawn on the CPU: the same after resuming and on every device.
    """
    generator = torch.Generator().manual_seed(
        int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])
    )
    order = torch.randperm(images, generator=generator)
    window = torch.randint(2 * PADDING + 1, (images, 2), generator=generator)
    flip = torch.randint(2, (images, 1), generator=generator)
    return torch.cat([order[:, None], window, flip], dim=1).split(BATCH)


def augment(images: Tensor, down: Tensor, right: Tensor, flip: Tensor) -> Tensor:
    """Of each image, mirrored at its borders, the window that begins at ``(down, right)``; flipped where ``flip``."""
    count, channels, size, _ = images.shape
    padded = F.pad(images, (PADDING,) * 4, mode="reflect")
    across = torch.arange(size, device=images.device)
    rows = down[:, None] + across
    columns = right[:, None] + torch.where(flip[:, None] == 1, across.flip(0), across)
    image = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[:, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


class Training:
    """A run that is going on, and its arm: model, optimizer and history."""

    def __init__(self, run: Run, split: Split) -> None:
        self.run, self.split = run, split
        self.steps_an_epoch = steps_an_epoch(split)
        self.total_steps = run.job.epochs * self.steps_an_epoch
        torch.manual_seed(run.job.seed)
        model = run.plan.build().to(run.job.device)
        if next(model.parameters()).is_cuda:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(
            model.parameters(),
            run.plan.learning_rate,
            momentum=MOMENTUM,
            weight_decay=run.plan.weight_decay,
            nesterov=True,
        )
        recipe = run.recipe()
        perforator = perforate(model, optimizer, recipe, total_steps=self.total_steps) if recipe else None
        self.arm = Arm(run.arm, model, optimizer, perforator, loss_sum=torch.zeros((), device=run.job.device))

    def checkpoint(self, path: Path) -> Checkpoint:
        """A file that lets the run go on; one of another run or other data is refused."""
        identity = {**self.run.identity(), **self.split.identity()}
        return Checkpoint(path, identity, "move it away to start anew, or choose another --out")

    @property
    def steps(self) -> int:
        """How many are done."""
        return self.arm.steps

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.steps == self.total_steps

    def learning_rate(self) -> float:
        """Of the step that comes next."""
        plan = self.run.plan
        return plan.learning_rate * plan.rate(self.steps / self.steps_an_epoch, self.run.job.epochs)

    def advance(self, until: int) -> Iterator[None]:
        """Train until so many steps are done; yields where a checkpoint is due: after each epoch and at the end."""
        while self.steps < min(until, self.total_steps):
            epoch, done = divmod(self.steps, self.steps_an_epoch)
            batches = draw_batches(self.run.job.seed, epoch, len(self.split.training.labels))
            self._train(epoch, batches[done : done + until - self.steps])
            if self.steps % self.steps_an_epoch == 0:
                self.arm.end_epoch(self.steps_an_epoch, self.split.validation)
            yield

    def _train(self, epoch: int, batches: tuple[Tensor, ...]) -> None:
        arm, training = self.arm, self.split.training
        arm.count(training.images)
        arm.model.train()
        meter = arm.meter()
        for batch in batches:
            for group in arm.optimizer.param_groups:
                group["lr"] = self.learning_rate()
            index, *draws = batch.to(self.run.job.device).unbind(dim=1)
            images = augment(training.images[index], *draws).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cuda", torch.bfloat16, enabled=images.is_cuda):
                scores = arm.model(images)
            loss = F.cross_entropy(scores.float(), training.labels[index])
            loss.backward()
            arm.step(images)
            arm.loss_sum += loss.detach()
            if meter.is_due:
                arm.effort += meter.lap()
        if not math.isfinite(arm.loss_sum.item()):
            raise TrainingError(f"{self.run.name}: the training loss is {arm.loss_sum.item()} in epoch {epoch}")
        arm.effort += meter.lap()


def save_checkpoint(training: Training, path: Path) -> None:
    """Replace the checkpoint at once: an interruption leaves the old one or the new one."""
    training.checkpoint(path).save(training.arm.state_dict())


def load_checkpoint(training: Training, path: Path) -> None:
    """Let ``training`` go on where the checkpoint was taken.

    Raises:
        StateError: it cannot be read, is damaged, or is of another run or other data. The file stays as it is.
    """
    checkpoint = training.checkpoint(path)
    state = checkpoint.load()
    with checkpoint.restoring():
        training.arm.load_state_dict(state)
