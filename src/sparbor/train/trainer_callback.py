"""What perforates the model of a Hugging Face ``Trainer`` as its training begins, and resumes with its checkpoints."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer

from sparbor.errors import StateError
from sparbor.extras import brought_by
from sparbor.nn.masked_layer import Storage
from sparbor.recipe.recipe import Recipe
from sparbor.train.perforator import Perforator, perforate

with brought_by("hugging-face", "sparbor.PerforatingCallback"):
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

STATE_FILE = "perforator.pt"


class PerforatingCallback(TrainerCallback):
    """Perforates a Hugging Face ``Trainer``'s model: with its optimizer, over as many steps as it will take.

    ``Trainer(..., callbacks=[PerforatingCallback(recipe)])`` is all: the Trainer makes the optimizer and the schedule
    of the learning rate as it always does. Each checkpoint gets a file ``perforator.pt``;
    ``trainer.train(resume_from_checkpoint=True)`` goes on from there. (The Trainer then warns that the dense model does
    not have the checkpoint's names: it looks before the layers are dendritic, and they are loaded after that.) A recipe
    that grows dendrites on plateaus hears of each evaluation's loss.

    Args:
        recipe: how sparse, and how it gets there, as for :func:`sparbor.perforate`.
        storage: as for :func:`sparbor.perforate`.

    Attributes:
        perforator: the handle on the run, from the beginning of the training on.

    >>> callback = PerforatingCallback(Recipe.fine_tuning(sparsity=0.8))
    >>> callback.perforator is None  # until trainer.train()
    True
    """

    def __init__(self, recipe: Recipe | None = None, *, storage: Storage = "masked") -> None:
        self.recipe = recipe
        self.storage = storage
        self.perforator: Perforator | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        """Perforate, and go on where a checkpoint was saved if one is resumed from."""
        model: nn.Module = given["model"]
        optimizer: Optimizer = given["optimizer"]
        folder = _resumed_from(args, state) if state.global_step else None
        steps = state.max_steps
        self.perforator = perforate(model, optimizer, self.recipe, total_steps=steps, storage=self.storage)
        if folder is not None:
            model.load_state_dict(_weights(folder), strict=False)  # of tied weights the files have one
            self.perforator.load_state_dict(torch.load(folder / STATE_FILE))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Put the run's state beside the model's and the optimizer's."""
        if self.perforator is not None and state.is_world_process_zero:
            torch.save(self.perforator.state_dict(), _checkpoint(args, state) / STATE_FILE)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        """Tell of the loss, the lower the better, if dendrites grow by it."""
        if self.perforator is not None and self.perforator.recipe.growth is not None:
            self.perforator.validate(-given["metrics"]["eval_loss"])


def _weights(folder: Path) -> dict[str, Tensor]:
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise StateError(f"{folder} has no model*.safetensors: train with checkpoints that the Trainer saves whole")
    return {name: weight for file in files for name, weight in load_file(file).items()}


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"


def _resumed_from(args: TrainingArguments, state: TrainerState) -> Path:
    """The checkpoint's folder: callbacks hear only of its step."""
    folder = _checkpoint(args, state)
    if not (folder / STATE_FILE).is_file():
        raise StateError(
            f"{folder / STATE_FILE} is not there: training can be resumed from checkpoints in the output_dir that a"
            " Trainer with a PerforatingCallback has written"
        )
    return folder
