"""Vision in plain PyTorch, as people write it: segmentation, detection, generation, enlarging, three dimensions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.inference.convnets import vgg11_cifar
from bench.network_zoo.network import Network, images, in_order, rows

VISION, PIXELS, OTHER = "convolutional vision", "detection, segmentation and images", "other"


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the size of planes but for its stride, a batch norm, a ReLU."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class UNet(nn.Module):
    """Down by max-pools, up by transposed convolutions or by interpolation, and side by side what was (2015)."""

    def __init__(self, width: int = 16, classes: int = 2, interpolate: bool = False) -> None:
        super().__init__()
        self.inc = self.convolutions(3, width)
        self.down1, self.down2 = self.convolutions(width, 2 * width), self.convolutions(2 * width, 4 * width)
        self.up1, self.up2 = (
            nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), nn.Conv2d(2 * n, n, 1))
            if interpolate
            else nn.ConvTranspose2d(2 * n, n, 2, stride=2)
            for n in (2 * width, width)
        )
        self.conv1, self.conv2 = self.convolutions(4 * width, 2 * width), self.convolutions(2 * width, width)
        self.outc = nn.Conv2d(width, classes, 1)

    @staticmethod
    def convolutions(inputs: int, outputs: int) -> nn.Sequential:
        """Two convolutions."""
        return nn.Sequential(conv_bn_relu(inputs, outputs), conv_bn_relu(outputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """A score for each class and pixel."""
        x1 = self.inc(x)
        x2 = self.down1(F.max_pool2d(x1, 2))
        x3 = self.down2(F.max_pool2d(x2, 2))
        x = self.conv1(torch.cat([x2, self.up1(x3)], dim=1))
        x = self.conv2(torch.cat([x1, self.up2(x)], dim=1))
        return self.outc(x)


class Bottleneck(nn.Module):
    """A residual block of a YOLO."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = Conv(channels, channels, 3), Conv(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x + self.cv2(self.cv1(x))


class Conv(nn.Module):
    """Convolution, batch norm and SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn, self.act = nn.BatchNorm2d(outputs, eps=0.001, momentum=0.03), nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Planes, smaller by the stride."""
        return self.act(self.bn(self.conv(x)))


class C2f(nn.Module):
    """Half of the channels go through blocks, and all that they gave is put side by side."""

    def __init__(self, inputs: int, outputs: int, blocks: int = 1) -> None:
        super().__init__()
        self.width = outputs // 2
        self.cv1, self.cv2 = Conv(inputs, 2 * self.width), Conv((2 + blocks) * self.width, outputs)
        self.m = nn.ModuleList(Bottleneck(self.width) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """As many channels as were asked for."""
        y = list(self.cv1(x).chunk(2, 1))
        y.extend(m(y[-1]) for m in self.m)
        return self.cv2(torch.cat(y, 1))


class SPPF(nn.Module):
    """Three max-pools in a row: what is seen of the surroundings grows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = Conv(channels, channels // 2), Conv(channels * 2, channels)
        self.m = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        y = [self.cv1(x)]
        y.extend(self.m(y[-1]) for _ in range(3))
        return self.cv2(torch.cat(y, 1))


class YOLO(nn.Module):
    """A detector without anchors whose head decodes boxes: distributions over distances, added to points of a grid."""

    BINS = 16
    bins: Tensor

    def __init__(self, classes: int = 8, width: int = 16) -> None:
        super().__init__()
        w = width
        self.stem = nn.Sequential(Conv(3, w, 3, 2), Conv(w, 2 * w, 3, 2), C2f(2 * w, 2 * w))
        self.p4 = nn.Sequential(Conv(2 * w, 4 * w, 3, 2), C2f(4 * w, 4 * w))
        self.p5 = nn.Sequential(Conv(4 * w, 8 * w, 3, 2), C2f(8 * w, 8 * w), SPPF(8 * w))
        self.up, self.lateral, self.down = nn.Upsample(scale_factor=2), C2f(12 * w, 4 * w), Conv(4 * w, 4 * w, 3, 2)
        self.top = C2f(12 * w, 8 * w)
        self.boxes = nn.ModuleList(
            nn.Sequential(Conv(c, 32, 3), nn.Conv2d(32, 4 * self.BINS, 1)) for c in (4 * w, 8 * w)
        )
        self.classes = nn.ModuleList(nn.Sequential(Conv(c, 32, 3), nn.Conv2d(32, classes, 1)) for c in (4 * w, 8 * w))
        self.register_buffer("bins", torch.arange(self.BINS, dtype=torch.float))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 4 + classes, places): boxes in pixels, and the probability of each class."""
        p4 = self.p4(self.stem(x))
        p5 = self.p5(p4)
        n4 = self.lateral(torch.cat([self.up(p5), p4], 1))
        n5 = self.top(torch.cat([self.down(n4), p5], 1))
        boxes, scores = [], []
        for planes, stride, box, kind in zip((n4, n5), (8, 16), self.boxes, self.classes, strict=True):
            height, width = planes.shape[2:]
            distances = box(planes).view(-1, 4, self.BINS, height * width).softmax(2)
            left, top, right, bottom = (distances * self.bins.view(1, 1, -1, 1)).sum(2).chunk(4, 1)
            y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
            x, y = x.reshape(1, 1, -1), y.reshape(1, 1, -1)
            centre = torch.cat([x + (right - left) / 2, y + (bottom - top) / 2, left + right, top + bottom], 1)
            boxes.append(centre * stride)
            scores.append(kind(planes).flatten(2).sigmoid())
        return torch.cat([torch.cat(boxes, 2), torch.cat(scores, 2)], 1)


class SSD(nn.Module):
    """A detector with boxes and scores from planes of two sizes, given as a tuple."""

    def __init__(self, classes: int = 5, boxes: int = 4) -> None:
        super().__init__()
        self.classes = classes
        self.first = nn.Sequential(conv_bn_relu(3, 32, stride=2), conv_bn_relu(32, 64, stride=2))
        self.second = conv_bn_relu(64, 64, stride=2)
        self.loc = nn.ModuleList(nn.Conv2d(64, boxes * 4, 3, padding=1) for _ in range(2))
        self.conf = nn.ModuleList(nn.Conv2d(64, boxes * classes, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (batch, boxes, 4) and probabilities (batch, boxes, classes)."""
        first = self.first(x)
        sources = [first, self.second(first)]
        loc = [head(each).permute(0, 2, 3, 1).contiguous() for head, each in zip(self.loc, sources, strict=True)]
        conf = [head(each).permute(0, 2, 3, 1).contiguous() for head, each in zip(self.conf, sources, strict=True)]
        boxes = torch.cat([each.view(each.size(0), -1) for each in loc], 1)
        scores = torch.cat([each.view(each.size(0), -1) for each in conf], 1)
        return boxes.view(boxes.size(0), -1, 4), F.softmax(scores.view(scores.size(0), -1, self.classes), dim=-1)


class PSPNet(nn.Module):
    """What is seen of the whole picture at four sizes, enlarged and put beside the planes."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(conv_bn_relu(3, 32, stride=2), conv_bn_relu(32, 64, stride=2))
        self.pools = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), conv_bn_relu(64, 16, 1)) for size in (1, 2, 4, 8)
        )
        self.head = nn.Sequential(conv_bn_relu(128, 64), nn.Dropout2d(0.1), nn.Conv2d(64, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Scores for each pixel."""
        planes = self.features(x)
        size = planes.shape[2:]
        pooled = [F.interpolate(pool(planes), size=size, mode="bilinear", align_corners=False) for pool in self.pools]
        scores = self.head(torch.cat([planes, *pooled], 1))
        return F.interpolate(scores, size=x.shape[2:], mode="bilinear", align_corners=False)


class FPN(nn.Module):
    """A feature pyramid, given as a dictionary of planes."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([conv_bn_relu(3, 32, stride=2), conv_bn_relu(32, 64, stride=2)])
        self.lateral = nn.ModuleList([nn.Conv2d(32, 32, 1), nn.Conv2d(64, 32, 1)])
        self.smooth = nn.ModuleList(nn.Conv2d(32, 32, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The finer planes and the coarser ones."""
        fine = self.stages[0](x)
        coarse = self.lateral[1](self.stages[1](fine))
        fine = self.lateral[0](fine) + F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        return {"fine": self.smooth[0](fine), "coarse": self.smooth[1](coarse)}


class SuperResolution(nn.Module):
    """ESPCN: channels become pixels; the residual of a bicubic or bilinear enlargement."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.conv1, self.conv2 = nn.Conv2d(1, 64, 5, padding=2), nn.Conv2d(64, 32, 3, padding=1)
        self.conv3, self.shuffle = nn.Conv2d(32, scale**2, 3, padding=1), nn.PixelShuffle(scale)

    def forward(self, x: Tensor) -> Tensor:
        """A picture `scale` times as large."""
        x1 = torch.tanh(self.conv2(torch.tanh(self.conv1(x))))
        enlarged = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return enlarged + self.shuffle(self.conv3(x1))


class ResidualGenerator(nn.Module):
    """Pictures to pictures, with reflected borders and instance norms (CycleGAN's)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()

        def block(channels: int) -> nn.Sequential:
            return nn.Sequential(
                *(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels), nn.ReLU(True)),
                *(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)),
            )

        self.start = nn.Sequential(
            *(nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU(True)),
            *(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.InstanceNorm2d(2 * width), nn.ReLU(True)),
        )
        self.blocks = nn.ModuleList(block(2 * width) for _ in range(2))
        self.end = nn.Sequential(
            *(nn.ConvTranspose2d(2 * width, width, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(width)),
            *(nn.ReLU(True), nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()),
        )

    def forward(self, x: Tensor) -> Tensor:
        """A picture of the same size."""
        x = self.start(x)
        for block in self.blocks:
            x = x + block(x)
        return self.end(x)


class Generator(nn.Module):
    """DCGAN's: noise to pictures by transposed convolutions."""

    def __init__(self, noise: int = 32, width: int = 16) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *(nn.ConvTranspose2d(noise, 4 * width, 4, 1, 0, bias=False), nn.BatchNorm2d(4 * width), nn.ReLU(True)),
            *(nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width)),
            *(nn.ReLU(True), nn.ConvTranspose2d(2 * width, 3, 4, 2, 1, bias=False), nn.Tanh()),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Pictures."""
        return self.main(z)


class Discriminator(nn.Module):
    """DCGAN's other half, with leaky ReLUs and a spectral look."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *(nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)),
            *(nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2, True)),
            *(nn.Conv2d(2 * width, 1, 4, 1, 0, bias=False), nn.Sigmoid()),
        )

    def forward(self, x: Tensor) -> Tensor:
        """A probability for each picture and place."""
        return self.main(x).view(-1, 1)


class VAE(nn.Module):
    """A variational autoencoder, which when it evaluates takes the mean; three outputs."""

    def __init__(self, latent: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten()
        )
        self.mu, self.logvar, self.up = nn.Linear(3136, latent), nn.Linear(3136, latent), nn.Linear(latent, 3136)
        self.decoder = nn.Sequential(
            *(nn.Unflatten(1, (64, 7, 7)), nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), nn.ReLU()),
            *(nn.ConvTranspose2d(32, 1, 3, 2, 1, 1), nn.Sigmoid()),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The picture again, and the distribution that it was drawn from."""
        hidden = self.encoder(x)
        mu, logvar = self.mu(hidden), self.logvar(hidden)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar) if self.training else mu
        return self.decoder(self.up(z)), mu, logvar


class Residual3d(nn.Module):
    """Two 3-D convolutions with group norm, for volumes and short films."""

    def __init__(self, channels: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv3d(1, channels, 3, padding=1)
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1, bias=False)
        self.bn1, self.pool = nn.BatchNorm3d(channels), nn.MaxPool3d(2)
        self.conv2, self.norm2 = nn.Conv3d(channels, 2 * channels, 3, padding=1), nn.GroupNorm(4, 2 * channels)
        self.fc = nn.Linear(2 * channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        x = F.relu(self.stem(x))
        x = self.pool(F.relu(x + self.bn1(self.conv1(x))))
        x = F.relu(self.norm2(self.conv2(x)))
        return self.fc(F.adaptive_avg_pool3d(x, 1).flatten(1))


class Diffusion(nn.Module):
    """A denoiser: group norms, SiLU, an embedding of the time in sines, attention between pixels."""

    rates: Tensor

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.start, self.down = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, width, 3, 2, 1)
        self.norm1, self.conv1 = nn.GroupNorm(8, width), nn.Conv2d(width, width, 3, padding=1)
        self.norm2, self.qkv, self.proj = (
            nn.GroupNorm(8, width),
            nn.Conv1d(width, 3 * width, 1),
            nn.Conv1d(width, width, 1),
        )
        self.end = nn.Sequential(nn.GroupNorm(8, 2 * width), nn.SiLU(), nn.Conv2d(2 * width, 3, 3, padding=1))
        self.register_buffer("rates", torch.exp(-torch.arange(width // 2) * 9.2 / (width // 2)))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise in x at the times t (batch,)."""
        angles = t[:, None] * self.rates[None]
        time = self.time(torch.cat([angles.sin(), angles.cos()], dim=-1))
        skip = self.start(x)
        h = self.down(skip)
        h = h + self.conv1(F.silu(self.norm1(h))) + time[:, :, None, None]
        b, c, height, width = h.shape
        q, k, v = self.qkv(self.norm2(h).reshape(b, c, height * width)).chunk(3, dim=1)
        weight = torch.einsum("bct,bcs->bts", q, k) * c**-0.5
        h = h + self.proj(torch.einsum("bts,bcs->bct", weight.softmax(-1), v)).reshape(b, c, height, width)
        h = F.interpolate(h, scale_factor=2, mode="nearest")
        return self.end(torch.cat([h, skip], dim=1))


def autoencoder() -> nn.Module:
    """Convolutions down, transposed ones up."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.ConvTranspose2d(16, 1, 2, stride=2), nn.Sigmoid()),
    )


NETWORKS = (
    Network("vgg11", VISION, "torch", vgg11_cifar, images(32)),
    Network("unet", PIXELS, "torch", UNet, images(32)),
    Network("unet-bilinear", PIXELS, "torch", lambda: UNet(interpolate=True), images(32)),
    Network("yolo", PIXELS, "torch", YOLO, images(64)),
    Network("ssd", PIXELS, "torch", SSD, images(32)),
    Network("pspnet", PIXELS, "torch", PSPNet, images(32)),
    Network("fpn", PIXELS, "torch", FPN, images(32)),
    Network("super-resolution", PIXELS, "torch", SuperResolution, images(16, 1)),
    Network("cyclegan-generator", PIXELS, "torch", ResidualGenerator, images(32)),
    Network("dcgan-generator", OTHER, "torch", Generator, rows(32, 1, 1)),
    Network("dcgan-discriminator", OTHER, "torch", Discriminator, images(16)),
    Network("autoencoder", OTHER, "torch", autoencoder, images(28, 1)),
    Network("vae", OTHER, "torch", VAE, images(28, 1)),
    Network("diffusion-unet", OTHER, "torch", Diffusion, in_order(images(16), rows())),
    Network("conv3d", OTHER, "torch", Residual3d, rows(1, 8, 16, 16)),
)
