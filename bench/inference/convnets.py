"""The convolutional networks whose latency is measured, as ordinary PyTorch code in torchvision's style."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and what bypasses them (He et al. 2016)."""

    expansion = 1

    def __init__(self, channels: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _downsample(channels, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    """1x1 to fewer channels, 3x3, 1x1 to four times as many, and what bypasses them (He et al. 2016).

    The stride is that of the 3x3 convolution, as in torchvision.
    """

    expansion = 4
    widening = 1  # of the 3x3 convolution

    def __init__(self, channels: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        outputs, inner = self.expansion * planes, self.widening * planes
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _downsample(channels, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += identity
        return self.relu(out)


class WideBottleneck(Bottleneck):
    """With twice as many channels within (Zagoruyko & Komodakis 2016)."""

    widening = 2


def _downsample(channels: int, outputs: int, stride: int) -> nn.Sequential | None:
    """What brings a block's input to the shape of its output, where they differ."""
    if stride == 1 and channels == outputs:
        return None
    return nn.Sequential(nn.Conv2d(channels, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """A residual network of a few stages; with a small stem (3x3, no max-pool) for images of CIFAR's size."""

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        depths: Sequence[int],
        classes: int,
        small_images: bool,
        width: int = 64,
    ) -> None:
        super().__init__()
        kernel, stride = (3, 1) if small_images else (7, 2)
        self.conv1 = nn.Conv2d(3, width, kernel, stride, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small_images else nn.MaxPool2d(3, stride=2, padding=1)
        channels = width
        for stage, depth in enumerate(depths):
            planes = width * 2**stage
            blocks = []
            for number in range(depth):
                blocks.append(block(channels, planes, 2 if stage and not number else 1))
                channels = planes * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.stages = len(depths)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


ResNet18 = partial(ResNet, BasicBlock, (2, 2, 2, 2))
ResNet20 = partial(ResNet, BasicBlock, (3, 3, 3), small_images=True, width=16)  # 0.27 million weights
ResNet50 = partial(ResNet, Bottleneck, (3, 4, 6, 3))
WideResNet50 = partial(ResNet, WideBottleneck, (3, 4, 6, 3))


class InvertedResidual(nn.Module):
    """1x1 to more channels, 3x3 on each channel, 1x1 to fewer (Sandler et al. 2018)."""

    def __init__(self, channels: int, planes: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        layers: list[nn.Module] = [_conv_bn_relu6(channels, hidden, 1)] if expansion != 1 else []
        layers += [
            _conv_bn_relu6(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, planes, 1, bias=False),
            nn.BatchNorm2d(planes),
        ]
        self.conv = nn.Sequential(*layers)
        self.use_res_connect = stride == 1 and channels == planes

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2; of width 1 unless other stages are given: expansion, channels, blocks, stride of the first block."""

    STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

    def __init__(
        self, classes: int, stages: Sequence[tuple[int, int, int, int]] = STAGES, first: int = 32, last: int = 1280
    ) -> None:
        super().__init__()
        channels = first
        features: list[nn.Module] = [_conv_bn_relu6(3, channels, 3, stride=2)]
        for expansion, planes, blocks, stride in stages:
            for block in range(blocks):
                features.append(InvertedResidual(channels, planes, stride if block == 0 else 1, expansion))
                channels = planes
        features.append(_conv_bn_relu6(channels, last, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


class GatedResidual(nn.Module):
    """An inverted residual whose channels are weighed by their averages: EfficientNet's (Tan and Le, 2019)."""

    def __init__(self, channels: int, planes: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden, squeezed = channels * expansion, max(1, channels // 4)
        self.expand = _conv_bn(channels, hidden, 1, nn.SiLU()) if expansion != 1 else nn.Identity()
        self.depthwise = _conv_bn(hidden, hidden, kernel, nn.SiLU(), stride, groups=hidden)
        self.squeeze = nn.Conv2d(hidden, squeezed, 1)
        self.excite = nn.Conv2d(squeezed, hidden, 1)
        self.project = _conv_bn(hidden, planes, 1, nn.Identity())
        self.use_res_connect = stride == 1 and channels == planes

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x))
        gate = nn.functional.silu(self.squeeze(nn.functional.adaptive_avg_pool2d(y, (1, 1))))
        y = self.project(y * torch.sigmoid(self.excite(gate)))
        return x + y if self.use_res_connect else y


class EfficientNetB0(nn.Module):
    """Its stages: expansion, channels, blocks, stride of the first block, kernel."""

    STAGES = (
        *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)),
        *((6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
    )

    def __init__(self, classes: int) -> None:
        super().__init__()
        channels = 32
        features: list[nn.Module] = [_conv_bn(3, channels, 3, nn.SiLU(), stride=2)]
        for expansion, planes, blocks, stride, kernel in self.STAGES:
            for block in range(blocks):
                features.append(GatedResidual(channels, planes, kernel, stride if block == 0 else 1, expansion))
                channels = planes
        features.append(_conv_bn(channels, 1280, 1, nn.SiLU()))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


def vgg11_cifar() -> nn.Sequential:
    """VGG-11 with batch norm and, as usual for images of CIFAR's size, one linear layer."""
    plan = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
    return nn.Sequential(*_vgg_features(plan), nn.Flatten(), nn.Linear(512, 10))


def tiny() -> nn.Sequential:
    """What the others are made of, at a size for tests: odd planes, padding, stride, a depthwise layer, pooling."""
    return nn.Sequential(
        *_conv_bn_relu6(3, 20, 3, stride=2),
        *_conv_bn_relu6(20, 20, 3, groups=20),
        BasicBlock(20, 36, stride=2),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 10)),
    )


def _vgg_features(plan: Sequence[int | str]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 3
    for planes in plan:
        if isinstance(planes, str):
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(channels, planes, 3, padding=1), nn.BatchNorm2d(planes), nn.ReLU(inplace=True)]
            channels = planes
    return layers


def _conv_bn_relu6(channels: int, planes: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return _conv_bn(channels, planes, kernel, nn.ReLU6(inplace=True), stride, groups)


def _conv_bn(
    channels: int, planes: int, kernel: int, activation: nn.Module, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    conv = nn.Conv2d(channels, planes, kernel, stride, padding=(kernel - 1) // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(planes), activation)
