"""The networks of the mission's benchmark, and how their images are normalised."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sparbor.byte_input import ByteInput
from sparbor.recipe import Recipe


@dataclass(frozen=True)
class Task:
    """A data set of the benchmark with its network.

    ``mean`` and ``deviation`` are of each channel of its training images in [0, 1]. ``recipe`` holds what the network
    is trained with beside the job's sparsity and warm-up.
    """

    build: Callable[[], nn.Module]
    image_shape: tuple[int, ...]
    classes: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def byte_input(self) -> ByteInput:
        """What a deployed network does with bytes: the same as :meth:`normalise`."""
        return ByteInput(self.mean, self.deviation)

    def normalise(self, images: Tensor) -> Tensor:
        """Bytes ``(n, height, width)`` or ``(n, channels, height, width)`` to what the network takes."""
        mean, deviation = (torch.tensor(each).view(-1, 1, 1) for each in (self.mean, self.deviation))
        return images.float().div_(255).sub_(mean).div_(deviation)  # in place: CIFAR-10 is 0.7 GB


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


def cifar10_cnn() -> nn.Sequential:
    """Two 3x3 convolutions, each with ReLU and pooling, 4096-512-10; takes images ``(batch, 3, 32, 32)``."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 32, kernel_size=3, padding=1),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(32, 64, kernel_size=3, padding=1),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(4096, 512),
            relu3=nn.ReLU(),
            fc2=nn.Linear(512, 10),
        )
    )


TASKS = {
    "mnist": Task(mnist_mlp, image_shape=(28, 28), classes=10, mean=(0.1307,), deviation=(0.3081,)),
    "cifar10": Task(
        cifar10_cnn,
        image_shape=(3, 32, 32),
        classes=10,
        mean=(0.4914, 0.4822, 0.4465),
        deviation=(0.2470, 0.2435, 0.2616),
        # Chosen on validation images: the first convolution has 27 weights a neuron, and cannot spare nine of ten.
        recipe=Recipe(distribution="erk"),
    ),
}
