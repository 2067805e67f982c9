"""By which plans residual networks are trained on CIFAR-10.

``RESNET18`` is SRigL's published recipe (Lasby et al. 2024, "Dynamic Sparse Training with Structured Sparsity",
arXiv:2305.02299; details from its authors' code, github.com/calgaryml/condensed-sparsity), after RigL's (Evci et al.
2020, arXiv:1911.11134):

- SGD with Nesterov momentum 0.9, weight decay 5e-4, batches of 128, 250 epochs;
- learning rate 0.1, divided by 5 after every 77 epochs (the same share of shorter runs);
- images mirrored by 4 pixels at each border, a 32 x 32 window at random, half of the windows flipped;
- sparse from the first step, densities by ERK, every convolution and the linear layer included; every 100 steps RigL
  exchanges 30 % of the weights, falling to none along a half cosine at 75 % of the steps.

What differs: the last tenth of the training images is held out for validation, where SRigL trains on all of them.
Images are normalised by channel, not each by itself, so that the deployed model takes raw bytes. The first mask keeps
the largest of the initial weights, which are PyTorch's default; RigL draws it at random, and SRigL scales the initial
weights by their number.

``RESNET20`` (He et al. 2016, 0.27 million weights) is for machines without a GPU: an hour of a core trains it for 20
epochs, with the same batches, windows and momentum, weight decay 1e-4, a rate that falls from 0.1 to zero along a half
cosine, and the product's own recipe.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from bench.inference.convnets import ResNet18, ResNet20
from sparbor import Recipe, Slots, Unstructured
from sparbor.recipe.schedule import Schedule

PATTERNS: dict[str, Slots | Unstructured] = {"slots": Slots(), "unstructured": Unstructured()}
MOMENTUM = 0.9
PADDING = 4


@dataclass(frozen=True)
class Plan:
    """How one network is trained; ``rate`` is the learning rate's factor when so many of all epochs are done.

    ``published`` are test accuracies in percent by sparsity, of the ``sparsities`` that are trained by default.
    """

    model: str
    title: str
    build: Callable[[], nn.Module]
    recipe: Callable[[str, float], Recipe]
    rate: Callable[[float, int], float]
    epochs: int
    weight_decay: float
    sparsities: tuple[float, ...]
    learning_rate: float = 0.1
    published: Mapping[float, float] = field(default_factory=dict)


def falling_in_steps(done: float, epochs: int) -> float:
    """``0.2^floor(done / d)``, where ``d`` is 77 of 250 epochs, and the same share of another number."""
    return float(0.2 ** (int(done) // max(1, round(77 / 250 * epochs))))


def falling_along_a_cosine(done: float, epochs: int) -> float:
    """``(1 + cos(pi * done / epochs)) / 2``."""
    return (1 + math.cos(math.pi * done / epochs)) / 2


def published_rigl(pattern: str, sparsity: float) -> Recipe:
    """RigL's own settings, with ``pattern``."""
    schedule = Schedule(warmup=0.0, ramp_end=0.0, rewire_end=0.75, interval=100, drop_fraction=0.3)
    return Recipe(sparsity, pattern=PATTERNS[pattern], distribution="erk", schedule=schedule, lr_density_exponent=0.0)


def default_recipe(pattern: str, sparsity: float) -> Recipe:
    """What users get who choose nothing but the sparsity, with ``pattern``."""
    return Recipe(sparsity, pattern=PATTERNS[pattern])


RESNET18 = Plan(
    "resnet18-cifar",
    "ResNet-18",
    lambda: ResNet18(10, small_images=True),
    published_rigl,
    falling_in_steps,
    epochs=250,
    weight_decay=5e-4,
    sparsities=(0.8, 0.9, 0.95, 0.99),
    published={0.0: 95.45, 0.8: 95.22, 0.9: 95.11, 0.95: 94.70, 0.99: 92.88},
)
RESNET20 = Plan(
    "resnet20-cifar",
    "ResNet-20",
    lambda: ResNet20(10),
    default_recipe,
    falling_along_a_cosine,
    epochs=20,
    weight_decay=1e-4,
    sparsities=(0.8, 0.9),
)
