"""The networks of the mission's benchmark, and how their images are normalised."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Task:
    """A data set of the benchmark with its network; ``mean`` and ``deviation`` are of its training images in [0, 1]."""

    build: Callable[[], nn.Module]
    image_shape: tuple[int, ...]
    classes: int
    mean: float
    deviation: float


def mnist_mlp() -> nn.Sequential:
    """784-256-256-10 with ReLU; takes images ``(batch, 28, 28)``, gives scores ``(batch, 10)``."""
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(784, 256),
            relu1=nn.ReLU(),
            fc2=nn.Linear(256, 256),
            relu2=nn.ReLU(),
            fc3=nn.Linear(256, 10),
        )
    )


TASKS = {"mnist": Task(mnist_mlp, image_shape=(28, 28), classes=10, mean=0.1307, deviation=0.3081)}
