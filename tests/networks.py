"""Networks as people write them, small ones; the blocks are torchvision's."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """ResNet's, with in-place ReLUs and a projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet18(nn.Module):
    """ImageNet's stem or CIFAR's, four stages of two blocks."""

    def __init__(self, width: int = 64, classes: int = 1000, imagenet_stem: bool = True) -> None:
        super().__init__()
        if imagenet_stem:
            self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
            self.maxpool: nn.Module = nn.MaxPool2d(3, 2, 1)
        else:
            self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1, self.relu = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        inputs = width
        for stage in range(4):
            outputs = width << stage
            blocks = nn.Sequential(BasicBlock(inputs, outputs, 1 if stage == 0 else 2), BasicBlock(outputs, outputs))
            setattr(self, f"layer{stage + 1}", blocks)
            inputs = outputs
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class InvertedResidual(nn.Module):
    """MobileNetV2's: wide, depthwise, narrow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers = [conv_bn_relu6(inputs, hidden, 1)] if expansion != 1 else []
        layers += [conv_bn_relu6(hidden, hidden, 3, stride, hidden)]
        layers += [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*layers)
        self.use_res_connect = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


def conv_bn_relu6(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


class MobileNetV2(nn.Module):
    def __init__(
        self, rows: list[tuple[int, int, int, int]], first: int = 16, last: int = 64, classes: int = 10
    ) -> None:
        super().__init__()
        features, inputs = [conv_bn_relu6(3, first, 3, 2)], first
        for expansion, outputs, blocks, stride in rows:
            for block in range(blocks):
                features.append(InvertedResidual(inputs, outputs, stride if block == 0 else 1, expansion))
                inputs = outputs
        features.append(conv_bn_relu6(inputs, last, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = F.adaptive_avg_pool2d(x, (1, 1))
        return self.classifier(torch.flatten(x, 1))


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


def mission_cnn() -> nn.Sequential:
    """The CNN of the mission's benchmark for CIFAR-10."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4096, 512),
        nn.ReLU(),
        nn.Linear(512, 10),
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


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mission-cnn": (mission_cnn, (3, 32, 32)),
    "resnet18": (lambda: ResNet18(16, 10), (3, 64, 64)),
    "resnet18-cifar": (lambda: ResNet18(16, 10, imagenet_stem=False), (3, 32, 32)),
    "mobilenetv2": (lambda: MobileNetV2([(1, 8, 1, 1), (6, 16, 2, 2), (6, 24, 2, 2)]), (3, 33, 33)),
    "vgg": (lambda: VGG([16, "M", 32, 32, "M"], batch_norm=False), (3, 36, 36)),
    "vgg-bn": (lambda: VGG([16, "M", 32, "M"], batch_norm=True), (3, 28, 28)),
    "densenet": (DenseNet, (3, 16, 16)),
    "autoencoder": (autoencoder, (1, 28, 28)),
    "sequences": (sequences, (6, 50)),
    "normalising": (Normalising, (3, 17, 19)),
}


def settled(model: nn.Module) -> nn.Module:
    """The model with batch norms as after a training: statistics and factors that are not 0 and 1."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return model.eval()
