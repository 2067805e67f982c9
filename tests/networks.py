"""Networks as people write them, small ones."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.inference.convnets import MobileNetV2, ResNet18, ResNet50
from bench.job.models import cifar10_cnn


class VGG(nn.Module):
    def __init__(self, widths: list[int | str], batch_norm: bool, classes: int = 10, hidden: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in widths:
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers.append(nn.Conv2d(inputs, width, 3, padding=1))
            layers += [nn.BatchNorm2d(width)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
            inputs = width
        self.features, self.avgpool = nn.Sequential(*layers), nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(inputs * 49, hidden), nn.ReLU(True), nn.Dropout(), nn.Linear(hidden, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 2 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(2 * growth), nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.conv1(F.relu(self.norm1(torch.cat(features, 1))))
        return self.conv2(F.relu(self.norm2(x)))


class DenseNet(nn.Module):
    """One block, one transition, one block."""

    def __init__(self, growth: int = 8, layers: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 2 * growth, 3, padding=1, bias=False)
        width, blocks = 2 * growth, []
        for block in range(2):
            blocks.append(nn.ModuleList(DenseLayer(width + index * growth, growth) for index in range(layers)))
            width += layers * growth
            if block == 0:
                self.transition = nn.Sequential(
                    nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Conv2d(width, width // 2, 1), nn.AvgPool2d(2, 2)
                )
                width //= 2
        self.blocks, self.norm, self.classifier = (
            nn.ModuleList(blocks),
            nn.BatchNorm2d(width),
            nn.Linear(width, classes),
        )

    def block(self, layers: nn.ModuleList, x: Tensor) -> Tensor:
        features = [x]
        for layer in layers:
            features.append(layer(features))
        return torch.cat(features, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.transition(self.block(self.blocks[0], self.stem(x)))
        x = F.relu(self.norm(self.block(self.blocks[1], x)))
        return self.classifier(x.mean((2, 3)))


def autoencoder() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 2, stride=2),
        nn.Sigmoid(),
    )


def sequences() -> nn.Sequential:
    """A 1-D network for sound or sensors."""
    return nn.Sequential(
        nn.Conv1d(6, 32, 5, padding="same"),
        nn.BatchNorm1d(32),
        nn.GELU(),
        nn.MaxPool1d(2),
        nn.Conv1d(32, 32, 3, padding=2, dilation=2, groups=2),
        nn.ReLU(),
        nn.AvgPool1d(3, 2, 1),
        nn.ConvTranspose1d(32, 16, 4, 2, 1),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(16, 5),
    )


class Normalising(nn.Module):
    """Takes images in [0, 1] and normalises them itself."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.49, 0.48, 0.45]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.25, 0.24, 0.26]).view(1, 3, 1, 1))
        self.conv, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv((x - self.mean) / self.std))
        return self.head(x.mean(dim=[2, 3]))


class Broadcasting(nn.Module):
    """Sums in which one of two values is repeated: a number a channel, a pixel, a feature."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.channels, self.pixels = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 8), nn.Conv2d(8, 1, 1)
        self.out, self.one = nn.Linear(8, 10), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        x = self.conv(x).relu()
        x = x + self.channels(x.mean((2, 3)))[..., None, None]
        x = torch.relu(x + self.pixels(x))
        x = x.mean((2, 3))
        return self.out(x) + self.one(x)


class SqueezeExcitation(nn.Module):
    """A block whose channels are weighed by a gate each, and a gated head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.squeeze, self.excite = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 8), nn.Linear(8, 16)
        self.out, self.gate = nn.Linear(16, 10), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        x = self.conv(x).relu()
        gate = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
        x = (x * gate[..., None, None] + x).mean((2, 3))
        return self.out(x) * self.gate(x).sigmoid()


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "cifar10-cnn": (cifar10_cnn, (3, 32, 32)),
    "resnet18": (lambda: ResNet18(10, small_images=False, width=16), (3, 64, 64)),
    "resnet50": (lambda: ResNet50(10, small_images=False, width=16), (3, 64, 64)),
    "resnet18-cifar": (lambda: ResNet18(10, small_images=True, width=16), (3, 32, 32)),
    "mobilenetv2": (lambda: MobileNetV2(10, ((1, 8, 1, 1), (6, 16, 2, 2), (6, 24, 2, 2)), 16, 64), (3, 33, 33)),
    "vgg": (lambda: VGG([16, "M", 32, 32, "M"], batch_norm=False), (3, 36, 36)),
    "vgg-bn": (lambda: VGG([16, "M", 32, "M"], batch_norm=True), (3, 28, 28)),
    "densenet": (DenseNet, (3, 16, 16)),
    "autoencoder": (autoencoder, (1, 28, 28)),
    "sequences": (sequences, (6, 50)),
    "normalising": (Normalising, (3, 17, 19)),
    "broadcasting": (Broadcasting, (3, 9, 11)),
    "squeeze-excitation": (SqueezeExcitation, (3, 12, 12)),
}
EXPORTED = [name for name in NETWORKS if name != "resnet50"]  # which has the operators of the others, and takes long


def settled(model: nn.Module) -> nn.Module:
    """The model with batch norms as after a training: statistics and factors that are not 0 and 1."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return model.eval()
