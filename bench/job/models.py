"""The networks of the benchmark, the reference job's and a small transformer, and how their images are normalised."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from sparbor.program.byte_input import ByteInput
from sparbor.recipe.recipe import Recipe


@dataclass(frozen=True)
class Task:
    """A network of the benchmark with its data set.

    ``mean`` and ``deviation`` are of each channel of the training images in [0, 1]. ``recipe`` makes the
    network's own of a job's sparsity and schedule.
    """

    build: Callable[[], nn.Module]
    dataset: str
    image_shape: tuple[int, ...]
    classes: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    recipe: Callable[..., Recipe] = Recipe

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


class PatchTransformer(nn.Module):
    """A small vision transformer (Dosovitskiy et al. 2021) for images ``(batch, 28, 28)``; gives ``(batch, 10)``.

    Sixteen patches of 7x7 pixels, 64 numbers each with a learnt position; two pre-norm encoder layers of four heads
    and 128 hidden neurons; the mean of the patches is classified.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, 64, kernel_size=7, stride=7)
        self.position = nn.Parameter(torch.randn(16, 64) * 0.02)
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(64, 4, 128, 0.0, activation="gelu", batch_first=True, norm_first=True)
                for _ in range(2)
            )
        )
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of the ten classes."""
        patches = self.embed(images.unsqueeze(1)).flatten(2).transpose(1, 2) + self.position
        scores: Tensor = self.head(self.norm(self.layers(patches)).mean(dim=1))
        return scores


MNIST = Task(
    mnist_mlp,
    "mnist",
    image_shape=(28, 28),
    classes=10,
    mean=(0.1307,),
    deviation=(0.3081,),
    recipe=partial(Recipe, method="magnitude", distribution="global"),  # chosen on validation images
)
TASKS = {
    "mnist": MNIST,
    "cifar10": Task(
        cifar10_cnn,
        "cifar10",
        image_shape=(3, 32, 32),
        classes=10,
        mean=(0.4914, 0.4822, 0.4465),
        deviation=(0.2470, 0.2435, 0.2616),
        # Chosen on validation images: at a constant rate the dense model overfits within the six epochs, and longer
        # steps would bring that on sooner.
        recipe=partial(Recipe, lr_density_exponent=(0.0, 1.0)),
    ),
    "mnist-vit": replace(MNIST, build=PatchTransformer, recipe=Recipe),
}
