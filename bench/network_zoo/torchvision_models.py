"""Networks of torchvision, as it builds them."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from bench.network_zoo.network import Network, images, rows

VISION, TRANSFORMERS, PIXELS, OTHER = (
    "convolutional vision",
    "vision transformers and mixers",
    "detection, segmentation and images",
    "other",
)

# By torchvision's name: the family, the images' size, and options other than random weights.
_MODELS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "resnet18": (VISION, 64, {}),
    "resnet50": (VISION, 64, {}),
    "resnext50_32x4d": (VISION, 64, {}),
    "wide_resnet50_2": (VISION, 64, {}),
    "densenet121": (VISION, 64, {}),
    "googlenet": (VISION, 64, {"aux_logits": False, "init_weights": False}),
    "inception_v3": (VISION, 96, {"aux_logits": False, "init_weights": False}),
    "squeezenet1_1": (VISION, 64, {}),
    "shufflenet_v2_x1_0": (VISION, 64, {}),
    "mnasnet1_0": (VISION, 64, {}),
    "mobilenet_v2": (VISION, 64, {}),
    "mobilenet_v3_small": (VISION, 64, {}),
    "mobilenet_v3_large": (VISION, 64, {}),
    "efficientnet_b0": (VISION, 64, {}),
    "efficientnet_v2_s": (VISION, 64, {}),
    "regnet_y_400mf": (VISION, 64, {}),
    "regnet_x_400mf": (VISION, 64, {}),
    "convnext_tiny": (VISION, 64, {}),
    "swin_t": (TRANSFORMERS, 64, {}),
}
_SEGMENTATION = ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")


def _model(name: str, **options: Any) -> nn.Module:
    import torchvision

    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return model


def _vit() -> nn.Module:
    """Its ViT, smaller than those that have names."""
    from torchvision.models import VisionTransformer

    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 128}
    model: nn.Module = VisionTransformer(**sizes)
    return model


NETWORKS = (
    Network("torchvision/vit", TRANSFORMERS, "torchvision", _vit, images(32)),
    *(
        Network(f"torchvision/{name}", family, "torchvision", partial(_model, name, **options), images(size))
        for name, (family, size, options) in _MODELS.items()
    ),
    *(
        Network(
            f"torchvision/{name}",
            PIXELS,
            "torchvision",
            partial(_model, name, weights_backbone=None, num_classes=5),
            images(64),
        )
        for name in _SEGMENTATION
    ),
    Network("torchvision/r3d_18", OTHER, "torchvision", partial(_model, "r3d_18"), rows(3, 4, 32, 32)),
)
