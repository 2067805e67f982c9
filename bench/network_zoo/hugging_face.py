"""Networks of Hugging Face Transformers that see and hear, built from small configurations: mostly of two layers."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Generator, nn

from bench.network_zoo.hugging_face_text import (
    BART,
    CLIP_TEXT,
    LAYERS,
    PACKAGE,
    VOCABULARY,
    WORDS,
    configured,
    encoder_of,
)
from bench.network_zoo.network import LENGTHS, Inputs, MakeInputs, Network, ids, images, rows, several

SPEECH, SEQUENCES, OTHER = "speech and sound", "sequences", "other"
TRANSFORMERS, VISION, PIXELS = (
    "vision transformers and mixers",
    "convolutional vision",
    "detection, segmentation and images",
)

_SMALL_IMAGES: dict[str, Any] = {"image_size": 32, "patch_size": 8, **LAYERS}
_WAV2VEC2: dict[str, Any] = {
    "vocab_size": 32,
    **LAYERS,
    "conv_dim": (32, 32, 32),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (5, 2, 2),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "apply_spec_augment": False,  # which in training hides stretches of time, longer than what is trained on here
}

# A network's short name: family, class, configuration's class, size of images, and what it is built from.
_IMAGES: dict[str, tuple[str, str, str, int, dict[str, Any]]] = {
    "vit": (TRANSFORMERS, "ViTForImageClassification", "ViTConfig", 32, _SMALL_IMAGES),
    "deit": (TRANSFORMERS, "DeiTModel", "DeiTConfig", 32, _SMALL_IMAGES),
    "beit": (
        *(TRANSFORMERS, "BeitModel", "BeitConfig", 32),
        {**_SMALL_IMAGES, "use_relative_position_bias": True},
    ),
    "clip-vision": (TRANSFORMERS, "CLIPVisionModel", "CLIPVisionConfig", 32, _SMALL_IMAGES),
    "siglip-vision": (TRANSFORMERS, "SiglipVisionModel", "SiglipVisionConfig", 32, _SMALL_IMAGES),
    "dinov2": (TRANSFORMERS, "Dinov2Model", "Dinov2Config", 32, {**_SMALL_IMAGES, "mlp_ratio": 2}),
    "swin": (
        *(TRANSFORMERS, "SwinModel", "SwinConfig", 32),
        {"image_size": 32, "patch_size": 2, "embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
    ),
    "pvt": (TRANSFORMERS, "PvtForImageClassification", "PvtConfig", 64, {"image_size": 64, "depths": [1, 1, 1, 1]}),
    "mobilevit": (
        *(TRANSFORMERS, "MobileViTModel", "MobileViTConfig", 64),
        {"image_size": 64, "hidden_sizes": [48, 64, 80], "neck_hidden_sizes": [16, 32, 64, 96, 128, 160, 320]},
    ),
    "resnet": (
        *(VISION, "ResNetForImageClassification", "ResNetConfig", 64),
        {"embedding_size": 32, "hidden_sizes": [32, 64], "depths": [2, 2], "layer_type": "basic"},
    ),
    "convnext": (
        *(VISION, "ConvNextModel", "ConvNextConfig", 64),
        {"hidden_sizes": [32, 64], "depths": [2, 2], "num_stages": 2},
    ),
    "mobilenet-v1": (VISION, "MobileNetV1Model", "MobileNetV1Config", 64, {"depth_multiplier": 0.5}),
    "segformer": (
        *(PIXELS, "SegformerForSemanticSegmentation", "SegformerConfig", 64),
        {
            "depths": [1, 1, 1, 1],
            "hidden_sizes": [16, 32, 64, 64],
            "num_attention_heads": [1, 2, 2, 4],
            "decoder_hidden_size": 64,
        },
    ),
    "dpt": (
        *(PIXELS, "DPTForSemanticSegmentation", "DPTConfig", 32),
        {
            **_SMALL_IMAGES,
            "num_hidden_layers": 4,
            "backbone_out_indices": [0, 1, 2, 3],
            "fusion_hidden_size": 32,
            "neck_hidden_sizes": [16, 32, 48, 64],
        },
    ),
    "yolos": (
        *(PIXELS, "YolosForObjectDetection", "YolosConfig", 32),
        {**_SMALL_IMAGES, "image_size": [32, 32], "num_detection_tokens": 10},
    ),
}
_BACKBONE: dict[str, Any] = {
    "embedding_size": 32,
    "hidden_sizes": [32, 64],
    "depths": [1, 1],
    "layer_type": "basic",
    "out_features": ["stage1", "stage2"],
}


def _backbone() -> Any:
    import transformers

    return transformers.ResNetConfig(**_BACKBONE)


def _detr() -> nn.Module:
    """Detection by a set of queries that look at what a ResNet finds."""
    options = {**BART, "num_queries": 10, "use_timm_backbone": False, "use_pretrained_backbone": False}
    backbone = _backbone()
    backbone.out_features = ["stage2"]
    return configured(
        "DetrForObjectDetection", "DetrConfig", {**options, "backbone_config": backbone, "backbone": None}
    )


def _upernet() -> nn.Module:
    """Segmentation from planes of several sizes, pooled and brought to one."""
    options = {"hidden_size": 32, "use_auxiliary_head": False, "auxiliary_in_channels": 32, "num_labels": 5}
    return configured("UperNetForSemanticSegmentation", "UperNetConfig", {**options, "backbone_config": _backbone()})


def _clip() -> nn.Module:
    """Images and texts, compared."""
    parts = {"text_config": CLIP_TEXT, "vision_config": _SMALL_IMAGES, "projection_dim": 32}
    return configured("CLIPModel", "CLIPConfig", parts)


def _named(name: str, make: MakeInputs) -> MakeInputs:
    return several(**{name: make})


def _sound(shortest: int, step: int) -> MakeInputs:
    """Samples of sound for so many frames: the first takes more than each further one."""

    def make(batch: int, length: int, random: Generator) -> Inputs:
        return {"input_values": torch.randn(batch, shortest + step * (length - 1), generator=random)}

    return make


def _network(name: str, family: str, build: Any, inputs: MakeInputs, lengths: tuple[int, ...] = ()) -> Network:
    return Network(f"{PACKAGE}/{name}", family, PACKAGE, build, inputs, lengths)


_WHISPER: dict[str, Any] = {**BART, "num_mel_bins": 40, "max_source_positions": 50, **WORDS}
_HEARING: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("wav2vec2", "Wav2Vec2Model", "Wav2Vec2Config", _WAV2VEC2),
    ("wav2vec2-large", "Wav2Vec2ForCTC", "Wav2Vec2Config",
     {**_WAV2VEC2, "do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}),
    ("hubert", "HubertModel", "HubertConfig", _WAV2VEC2),
    ("wavlm", "WavLMModel", "WavLMConfig", _WAV2VEC2),
    ("wav2vec2-conformer", "Wav2Vec2ConformerModel", "Wav2Vec2ConformerConfig", _WAV2VEC2),
)  # fmt: skip
_PATCHES: dict[str, Any] = {
    "num_input_channels": 3,
    "context_length": 64,
    "patch_length": 8,
    "patch_stride": 8,
    "d_model": 32,
    "prediction_length": 8,
}

_PIXELS, _VALUES = partial(_named, "pixel_values"), partial(_named, "past_values")
_SPECTROGRAM: dict[str, Any] = {
    **LAYERS,
    "num_mel_bins": 32,
    "max_length": 64,
    "frequency_stride": 16,
    "time_stride": 16,
}

NETWORKS = (
    *(
        _network(name, family, partial(configured, model, config, options), _PIXELS(images(size)))
        for name, (family, model, config, size, options) in _IMAGES.items()
    ),
    _network("detr", PIXELS, _detr, _PIXELS(images(64))),
    _network("upernet", PIXELS, _upernet, _PIXELS(images(64))),
    *(
        _network(name, SPEECH, partial(configured, model, config, options), _sound(10 + 2 * 5 + 2 * 10, 20), LENGTHS)
        for name, model, config, options in _HEARING
    ),
    _network(
        "whisper-encoder",
        SPEECH,
        partial(encoder_of, "WhisperModel", "WhisperConfig", _WHISPER),
        _named("input_features", rows(40, 100)),
    ),
    _network(
        "audio-spectrogram",
        SPEECH,
        partial(configured, "ASTForAudioClassification", "ASTConfig", _SPECTROGRAM),
        _named("input_values", rows(64, 32)),
    ),
    _network("clip", OTHER, _clip, several(input_ids=ids(VOCABULARY), pixel_values=images(32)), (7, 77)),
    _network(
        "patchtst",
        SEQUENCES,
        partial(configured, "PatchTSTForPrediction", "PatchTSTConfig", {**_PATCHES, "num_attention_heads": 4}),
        _VALUES(rows(64, 3)),
    ),
    _network(
        "patchtsmixer",
        SEQUENCES,
        partial(configured, "PatchTSMixerForPrediction", "PatchTSMixerConfig", _PATCHES),
        _VALUES(rows(64, 3)),
    ),
)
