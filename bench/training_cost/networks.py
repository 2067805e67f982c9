"""Large networks whose rewiring is timed, as ordinary PyTorch code with the shapes of torchvision's and timm's."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from bench.inference.convnets import WideResNet50


class MixerBlock(nn.Module):
    """A perceptron across the tokens, then one across the channels (Tolstikhin et al. 2021)."""

    def __init__(self, tokens: int, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.mlp_tokens = _mlp(tokens, channels // 2)
        self.mlp_channels = _mlp(channels, 4 * channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mlp_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.mlp_channels(self.norm2(x))


class Mixer(nn.Module):
    """MLP-Mixer; by default B/16 at 224 x 224."""

    def __init__(self, classes: int, size: int = 224, patch: int = 16, channels: int = 768, depth: int = 12) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, patch, patch)
        self.blocks = nn.Sequential(*(MixerBlock((size // patch) ** 2, channels) for _ in range(depth)))
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.blocks(x)).mean(dim=1))


class ConvNeXtBlock(nn.Module):
    """A depthwise 7x7 convolution and a perceptron on each pixel, scaled (Liu et al. 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = _mlp(channels, 4 * channels)
        self.scale = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.scale * self.mlp(y)).permute(0, 3, 1, 2)


class PixelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """ConvNeXt; by default Tiny."""

    def __init__(
        self, classes: int, depths: tuple[int, ...] = (3, 3, 9, 3), widths: tuple[int, ...] = (96, 192, 384, 768)
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 4), PixelNorm(widths[0], eps=1e-6)]
        for before, width, depth in zip((None, *widths), widths, depths, strict=False):
            if before is not None:
                layers += [PixelNorm(before, eps=1e-6), nn.Conv2d(before, width, 2, 2)]
            layers += [ConvNeXtBlock(width) for _ in range(depth)]
        self.features = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.features(x).mean(dim=(2, 3))))


def _mlp(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {  # and the size of their square images
    "wide_resnet50_2": (partial(WideResNet50, 1000, small_images=False), 224),
    "mixer_b16": (partial(Mixer, 1000), 224),
    "convnext_tiny": (partial(ConvNeXt, 1000), 224),
    # For the tests of these scripts.
    "tiny": (partial(ConvNeXt, 10, (1, 1), (16, 32)), 32),
}
