"""Networks of timm, as it builds them."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from bench.network_zoo.network import Network, images

VISION, TRANSFORMERS = "convolutional vision", "vision transformers and mixers"

# By timm's name: the images' size, and options other than random weights. Where a network is built for one size of
# images, that is given to it too; large ones have fewer blocks than their name says.
_CONVOLUTIONAL: dict[str, tuple[int, dict[str, Any]]] = {
    "resnet50": (64, {}),
    "seresnet50": (64, {"layers": (1, 2, 2, 1)}),
    "skresnet18": (64, {}),
    "ecaresnet50t": (64, {}),
    "res2net50_26w_4s": (64, {}),
    "resnest14d": (64, {}),
    "mobilenetv3_large_100": (64, {}),
    "mobilenetv4_conv_small": (64, {}),
    "efficientnet_b0": (64, {}),
    "efficientnetv2_rw_t": (64, {}),
    "efficientnet_lite0": (64, {}),
    "regnety_008": (64, {}),
    "convnext_atto": (64, {}),
    "convnextv2_atto": (64, {}),
    "hrnet_w18_small": (64, {}),
    "repvgg_a0": (64, {}),
    "mobileone_s1": (64, {}),
    "ghostnet_100": (64, {}),
    "rexnet_100": (64, {}),
    "nfnet_l0": (64, {}),
    "cspresnet50": (64, {}),
    "dpn68": (64, {}),
    "dla34": (64, {}),
    "xception41": (64, {}),
    "inception_next_tiny": (64, {"depths": (1, 1, 2, 1)}),
    "fastvit_t8": (64, {}),
    "starnet_s1": (64, {}),
    "repghostnet_050": (64, {}),
}
_TRANSFORMERS: dict[str, tuple[int, dict[str, Any]]] = {
    "vit_tiny_patch16_224": (64, {"img_size": 64}),
    "deit_tiny_distilled_patch16_224": (64, {"img_size": 64}),
    "swin_tiny_patch4_window7_224": (64, {"img_size": 64, "window_size": 2, "depths": (2, 2, 2, 2)}),
    "swinv2_tiny_window8_256": (64, {"img_size": 64, "window_size": 2, "depths": (2, 2, 2, 2)}),
    "mixer_s16_224": (64, {"img_size": 64}),
    "gmlp_s16_224": (64, {"img_size": 64}),
    "resmlp_12_224": (64, {"img_size": 64}),
    "mobilevit_xs": (64, {}),
    "mobilevitv2_050": (64, {}),
    "edgenext_x_small": (64, {}),
    "levit_128s": (224, {}),
    "poolformer_s12": (64, {}),
    "coatnet_nano_rw_224": (64, {"img_size": 64}),
    "maxvit_rmlp_pico_rw_256": (64, {"img_size": 64}),
    "beit_base_patch16_224": (64, {"img_size": 64, "depth": 2}),
    "cait_xxs24_224": (64, {"img_size": 64, "depth": 4}),
    "xcit_nano_12_p16_224": (64, {"img_size": 64, "depth": 3}),
    "pvt_v2_b0": (64, {}),
    "twins_pcpvt_small": (64, {"img_size": 64, "depths": (1, 1, 1, 1)}),
    "twins_svt_small": (64, {"img_size": 64, "depths": (1, 1, 2, 1)}),
    "focalnet_tiny_srf": (64, {}),
    "eva02_tiny_patch14_224": (56, {"img_size": 56}),
    "vit_small_patch14_dinov2": (56, {"img_size": 56, "depth": 4}),
    "visformer_tiny": (64, {"img_size": 64}),
    "crossvit_tiny_240": (240, {}),
    "convmixer_768_32": (64, {}),
    "efficientformer_l1": (224, {}),
    "efficientvit_b0": (64, {}),
    "efficientvit_m0": (224, {}),
    "tiny_vit_5m_224": (224, {}),
    "repvit_m0_9": (64, {}),
    "davit_tiny": (64, {"depths": (1, 1, 1, 1)}),
    "pit_ti_224": (224, {}),
    "tnt_s_patch16_224": (224, {"depth": 2}),
    "sequencer2d_s": (64, {"layers": (1, 1, 1, 1), "img_size": 64}),
    "hiera_tiny_224": (224, {"stages": (1, 1, 2, 1)}),
    "volo_d1_224": (64, {"img_size": 64}),
    "convit_tiny": (224, {"depth": 4}),
}


def _model(name: str, **options: Any) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model(name, pretrained=False, **options)
    return model


NETWORKS = tuple(
    Network(f"timm/{name}", family, "timm", partial(_model, name, **options), images(size))
    for family, models in ((VISION, _CONVOLUTIONAL), (TRANSFORMERS, _TRANSFORMERS))
    for name, (size, options) in models.items()
)
