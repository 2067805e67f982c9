"""PerforatedAI 3.2.9 as an arm of the study: the dense network, to whose layers it adds dendrites while they train.

``pip install --constraint constraints.txt --requirement bench/peers/requirements-perforatedai.txt`` installs it.
It is the published package, which trains dendrites by gradient. Its default rule waits ten epochs for a plateau, which
six epochs cannot have, so it adds its dendrites after every second epoch: as soon as the dense warm-up of the others
ends, and once more. Like every arm it gets no epoch more, and its last weights are tested.
"""

from __future__ import annotations

import os
import tempfile

import torch
from torch import nn

from bench.job.arms import Arm
from bench.job.job import Job

EPOCHS_BETWEEN_DENDRITES = 2
NEVER_COMPUTED = ("parent_module", "dendrites_to_candidates")  # copies that the library keeps to start dendrites from


def perforated_every_second_epoch(arm: Arm, job: Job) -> None:
    """Wrap the layers. The library keeps global settings and asks questions, all answered here."""
    from perforatedai import globals_perforatedai, utils_perforatedai

    settings = globals_perforatedai.pc
    settings.set_silent(True)
    settings.set_use_cuda(False)
    settings.set_device(torch.device("cpu"))
    settings.set_configuration_confirmed(True)
    settings.set_unwrapped_modules_confirmed(True)
    settings.set_weight_decay_accepted(True)
    settings.set_testing_dendrite_capacity(False)
    settings.set_modules_to_perforate([nn.Linear, nn.Conv2d])
    settings.set_switch_mode(settings.DOING_FIXED_SWITCH)
    settings.set_fixed_switch_num(EPOCHS_BETWEEN_DENDRITES)
    settings.set_first_fixed_switch_num(EPOCHS_BETWEEN_DENDRITES)
    os.chdir(tempfile.mkdtemp(prefix="perforatedai-"))  # it keeps its best weights below the working directory
    arm.model = utils_perforatedai.perforate_model(arm.model, save_name="PAI", maximizing_score=True)
    _give_optimizer(arm, job)


def validate(arm: Arm, job: Job) -> None:
    """Tell the library how the epoch went; it may give another model back. After the last one nothing would train."""
    from perforatedai import globals_perforatedai

    if len(arm.epochs) == job.epochs:
        return
    score = arm.epochs[-1].validation_accuracy_percent
    arm.model, changed, _ = globals_perforatedai.pai_tracker.add_validation_score(score, arm.model)
    if changed:
        _give_optimizer(arm, job)


def computing_parameters(model: nn.Module) -> int:
    """All parameters but those that no output depends on."""
    return sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if not any(part in name for part in NEVER_COMPUTED)
    )


def _give_optimizer(arm: Arm, job: Job) -> None:
    from perforatedai import globals_perforatedai

    arm.optimizer = torch.optim.Adam(arm.model.parameters(), lr=job.learning_rate, fused=True)
    globals_perforatedai.pai_tracker.set_optimizer_instance(arm.optimizer)
