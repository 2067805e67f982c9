"""Networks of Hugging Face Transformers, built from small configurations: two layers, 64 numbers a token."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Generator, nn

from bench.network_zoo.network import LENGTHS, Inputs, MakeInputs, Network, ids, images, rows, several, tokens

TEXT, SPEECH, TRANSFORMERS, VISION, PIXELS, OTHER = (
    "text",
    "speech and sound",
    "vision transformers and mixers",
    "convolutional vision",
    "detection, segmentation and images",
    "other",
)
VOCABULARY = 200
POSITIONS = 520  # more than the longest length, as some models begin to count at 2

_LAYERS: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
_ENCODER: dict[str, Any] = {"vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, **_LAYERS}
_DECODER: dict[str, Any] = {**_ENCODER, "use_cache": False}
_GROUPED: dict[str, Any] = {**_DECODER, "num_key_value_heads": 2}  # two heads share keys and values
_WORDS: dict[str, Any] = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_SMALL_IMAGES: dict[str, Any] = {"image_size": 32, "patch_size": 8, **_LAYERS}
_GPT2: dict[str, Any] = {
    **{"vocab_size": VOCABULARY, "n_positions": POSITIONS, "n_embd": 64, "n_layer": 2, "n_head": 4},
    "use_cache": False,
}
_BART: dict[str, Any] = {
    **{"vocab_size": VOCABULARY, "d_model": 64, "max_position_embeddings": POSITIONS, "use_cache": False},
    **{"encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 128},
    **{"decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 128},
}
_T5: dict[str, Any] = {
    **{"vocab_size": VOCABULARY, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
    "use_cache": False,
}
_CLIP_TEXT: dict[str, Any] = {"vocab_size": VOCABULARY, "max_position_embeddings": 77, **_LAYERS}
_WAV2VEC2: dict[str, Any] = {
    **{"vocab_size": 32, **_LAYERS, "conv_dim": (32, 32, 32), "conv_kernel": (10, 3, 3), "conv_stride": (5, 2, 2)},
    **{"num_feat_extract_layers": 3, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
    "apply_spec_augment": False,  # which in training hides stretches of time, longer than what is trained on here
}

# A network's short name: class, configuration's class, and what it is built from.
_TEXT: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("BertModel", "BertConfig", _ENCODER),
    "bert-classification": ("BertForSequenceClassification", "BertConfig", _ENCODER),
    "bert-tokens": ("BertForTokenClassification", "BertConfig", _ENCODER),
    "bert-answers": ("BertForQuestionAnswering", "BertConfig", _ENCODER),
    "bert-masked-words": ("BertForMaskedLM", "BertConfig", _ENCODER),
    "distilbert": (
        "DistilBertModel",
        "DistilBertConfig",
        {
            **{"vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS},
            **{"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128},
        },
    ),
    "roberta": ("RobertaModel", "RobertaConfig", _ENCODER),
    "xlm-roberta": ("XLMRobertaModel", "XLMRobertaConfig", _ENCODER),
    "albert": ("AlbertModel", "AlbertConfig", {**_ENCODER, "embedding_size": 32}),
    "mpnet": ("MPNetModel", "MPNetConfig", _ENCODER),
    "electra": ("ElectraModel", "ElectraConfig", {**_ENCODER, "embedding_size": 32}),
    "deberta": (
        "DebertaModel",
        "DebertaConfig",
        {**_ENCODER, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    ),
    "deberta-v2": (
        "DebertaV2Model",
        "DebertaV2Config",
        {
            **{**_ENCODER, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 32},
            **{"share_att_key": True, "norm_rel_ebd": "layer_norm"},
        },
    ),
    "modernbert": (
        "ModernBertModel",
        "ModernBertConfig",
        {**_ENCODER, "global_attn_every_n_layers": 2, "local_attention": 32, **_WORDS, "cls_token_id": 0},
    ),
    "squeezebert": ("SqueezeBertModel", "SqueezeBertConfig", {**_ENCODER, "embedding_size": 64}),
    "mobilebert": (
        "MobileBertModel",
        "MobileBertConfig",
        {**_ENCODER, "embedding_size": 32, "intra_bottleneck_size": 32, "true_hidden_size": 32},
    ),
    "roformer": ("RoFormerModel", "RoFormerConfig", {**_ENCODER, "embedding_size": 64}),
    "ernie": ("ErnieModel", "ErnieConfig", _ENCODER),
    "convbert": ("ConvBertModel", "ConvBertConfig", {**_ENCODER, "embedding_size": 64, "head_ratio": 2}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", _GPT2),
    "gpt-neo": (
        "GPTNeoModel",
        "GPTNeoConfig",
        {
            **{"vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "hidden_size": 64, "num_layers": 2},
            **{"num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 32, "use_cache": False},
        },
    ),
    "gpt-neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", _DECODER),
    "llama": ("LlamaForCausalLM", "LlamaConfig", _GROUPED),
    "mistral": ("MistralForCausalLM", "MistralConfig", {**_GROUPED, "sliding_window": 64}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", _GROUPED),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {**_GROUPED, "head_dim": 16}),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", {**_GROUPED, "head_dim": 16}),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", {**_GROUPED, "head_dim": 16, "sliding_window": 64}),
    "phi": ("PhiForCausalLM", "PhiConfig", _DECODER),
    "opt": (
        "OPTForCausalLM",
        "OPTConfig",
        {
            **{"vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, "hidden_size": 64, "ffn_dim": 128},
            **{"num_hidden_layers": 2, "num_attention_heads": 4, "word_embed_proj_dim": 64, "use_cache": False},
        },
    ),
    "bloom": (
        "BloomForCausalLM",
        "BloomConfig",
        {"vocab_size": VOCABULARY, "hidden_size": 64, "n_layer": 2, "n_head": 4, "use_cache": False},
    ),
    "falcon": ("FalconForCausalLM", "FalconConfig", _DECODER),
    "t5-encoder": ("T5EncoderModel", "T5Config", _T5),
    "t5-v1.1-encoder": ("T5EncoderModel", "T5Config", {**_T5, "feed_forward_proj": "gated-gelu"}),
    "longformer": ("LongformerModel", "LongformerConfig", {**_ENCODER, "attention_window": 16}),
    "funnel": (
        "FunnelModel",
        "FunnelConfig",
        {
            **{"vocab_size": VOCABULARY, "block_sizes": [1, 1], "num_decoder_layers": 1, "d_model": 64},
            **{"n_head": 4, "d_head": 16, "d_inner": 128},
        },
    ),
}
_SENTENCES: dict[str, dict[str, Any]] = {
    "minilm-sentences": {**_ENCODER, "hidden_size": 96, "num_attention_heads": 12, "intermediate_size": 384},
}
_DECODING: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bart": ("BartModel", "BartConfig", _BART),
    "marian": ("MarianMTModel", "MarianConfig", {**_BART, **_WORDS, "decoder_start_token_id": 0}),
    "t5": ("T5Model", "T5Config", _T5),
}
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
            **{"depths": [1, 1, 1, 1], "hidden_sizes": [16, 32, 64, 64], "num_attention_heads": [1, 2, 2, 4]},
            "decoder_hidden_size": 64,
        },
    ),
    "dpt": (
        *(PIXELS, "DPTForDepthEstimation", "DPTConfig", 32),
        {
            **{**_SMALL_IMAGES, "num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3], "fusion_hidden_size": 32},
            **{"neck_hidden_sizes": [16, 32, 48, 64]},
        },
    ),
    "yolos": (
        *(PIXELS, "YolosForObjectDetection", "YolosConfig", 32),
        {**_SMALL_IMAGES, "image_size": [32, 32], "num_detection_tokens": 10},
    ),
}
_BACKBONE: dict[str, Any] = {
    **{"embedding_size": 32, "hidden_sizes": [32, 64], "depths": [1, 1], "layer_type": "basic"},
    "out_features": ["stage1", "stage2"],
}


def _model(name: str, config: str, options: Mapping[str, Any]) -> nn.Module:
    import transformers

    model: nn.Module = getattr(transformers, name)(getattr(transformers, config)(**options))
    return model


def _backbone() -> Any:
    import transformers

    return transformers.ResNetConfig(**_BACKBONE)


def _detr() -> nn.Module:
    """Detection by a set of queries that look at what a ResNet finds."""
    options = {**_BART, "num_queries": 10, "use_timm_backbone": False, "use_pretrained_backbone": False}
    backbone = _backbone()
    backbone.out_features = ["stage2"]
    return _model("DetrForObjectDetection", "DetrConfig", {**options, "backbone_config": backbone, "backbone": None})


def _upernet() -> nn.Module:
    """Segmentation from planes of several sizes, pooled and brought to one."""
    options = {"hidden_size": 32, "use_auxiliary_head": False, "auxiliary_in_channels": 32, "num_labels": 5}
    return _model("UperNetForSemanticSegmentation", "UperNetConfig", {**options, "backbone_config": _backbone()})


def _clip() -> nn.Module:
    """Images and texts, compared."""
    parts = {"text_config": _CLIP_TEXT, "vision_config": _SMALL_IMAGES, "projection_dim": 32}
    return _model("CLIPModel", "CLIPConfig", parts)


class Sentences(nn.Module):
    """A sentence's vector: the mean of its tokens', at length 1, as sentence-transformers make it."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(batch, features)."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).expand(states.size()).float()
        mean = torch.sum(states * mask, 1) / torch.clamp(mask.sum(1), min=1e-9)
        return nn.functional.normalize(mean, p=2, dim=1)


class Encoder(nn.Module):
    """One half of a model with an encoder and a decoder."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.get_encoder()

    def forward(self, **inputs: torch.Tensor) -> Any:
        """What the encoder gives."""
        return self.encoder(**inputs)


def _sentences(options: Mapping[str, Any]) -> nn.Module:
    return Sentences(_model("BertModel", "BertConfig", options))


def _encoder(name: str, config: str, options: Mapping[str, Any]) -> nn.Module:
    model: Any = _model(name, config, options)
    encoder: nn.Module = model.get_encoder()
    return encoder


def _texts_to_continue(batch: int, length: int, random: Generator) -> Inputs:
    """Texts of the length, and 5 tokens of their translations."""
    read, written = tokens(VOCABULARY)(batch, length, random), ids(VOCABULARY)(batch, 5, random)
    assert isinstance(read, dict)
    assert isinstance(written, torch.Tensor)
    return {**read, "decoder_input_ids": written}


def _named(name: str, make: MakeInputs) -> MakeInputs:
    return several(**{name: make})


def _sound(shortest: int, step: int) -> MakeInputs:
    """Samples of sound for so many frames: the first takes more than each further one."""

    def make(batch: int, length: int, random: Generator) -> Inputs:
        return {"input_values": torch.randn(batch, shortest + step * (length - 1), generator=random)}

    return make


def _hugging_face(name: str, family: str, build: Any, inputs: MakeInputs, lengths: tuple[int, ...] = ()) -> Network:
    return Network(f"transformers/{name}", family, "transformers", build, inputs, lengths)


_TEXTS = tokens(VOCABULARY)
_WHISPER: dict[str, Any] = {**_BART, "num_mel_bins": 40, "max_source_positions": 50, **_WORDS}
_HEARING: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    ("wav2vec2", "Wav2Vec2Model", "Wav2Vec2Config", _WAV2VEC2),
    ("wav2vec2-large", "Wav2Vec2ForCTC", "Wav2Vec2Config",
     {**_WAV2VEC2, "do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}),
    ("hubert", "HubertModel", "HubertConfig", _WAV2VEC2),
    ("wavlm", "WavLMModel", "WavLMConfig", _WAV2VEC2),
    ("wav2vec2-conformer", "Wav2Vec2ConformerModel", "Wav2Vec2ConformerConfig", _WAV2VEC2),
)  # fmt: skip
_PATCHES: dict[str, Any] = {
    **{"num_input_channels": 3, "context_length": 64, "patch_length": 8, "patch_stride": 8, "d_model": 32},
    "prediction_length": 8,
}

NETWORKS = (
    *(_hugging_face(name, TEXT, partial(_model, *how), _TEXTS, LENGTHS) for name, how in _TEXT.items()),
    *(_hugging_face(name, TEXT, partial(_sentences, how), _TEXTS, LENGTHS) for name, how in _SENTENCES.items()),
    *(_hugging_face(name, TEXT, partial(_model, *how), _texts_to_continue, LENGTHS) for name, how in _DECODING.items()),
    _hugging_face("bart-encoder", TEXT, partial(_encoder, "BartModel", "BartConfig", _BART), _TEXTS, LENGTHS),
    _hugging_face(
        *("clip-text", TEXT, partial(_model, "CLIPTextModel", "CLIPTextConfig", _CLIP_TEXT), _TEXTS, (1, 7, 77)),
    ),
    *(
        _hugging_face(name, family, partial(_model, *how), _named("pixel_values", images(size)))
        for name, (family, *how, size, options) in _IMAGES.items()
        for how in [(*how, options)]
    ),
    _hugging_face("detr", PIXELS, _detr, _named("pixel_values", images(64))),
    _hugging_face("upernet", PIXELS, _upernet, _named("pixel_values", images(64))),
    *(
        _hugging_face(name, SPEECH, partial(_model, *how), _sound(10 + 2 * 5 + 2 * 10, 20), LENGTHS)
        for name, *how in _HEARING
    ),
    _hugging_face(
        *("whisper-encoder", SPEECH, partial(_encoder, "WhisperModel", "WhisperConfig", _WHISPER)),
        _named("input_features", rows(40, 100)),
    ),
    _hugging_face(
        "audio-spectrogram",
        SPEECH,
        partial(
            *(_model, "ASTForAudioClassification", "ASTConfig"),
            {**_LAYERS, "num_mel_bins": 32, "max_length": 64, "frequency_stride": 16, "time_stride": 16},
        ),
        _named("input_values", rows(64, 32)),
    ),
    _hugging_face(
        *("clip", OTHER, _clip),
        several(input_ids=ids(VOCABULARY), pixel_values=images(32)),
        (7, 77),
    ),
    _hugging_face(
        *("patchtst", "sequences"),
        partial(_model, "PatchTSTForPrediction", "PatchTSTConfig", {**_PATCHES, "num_attention_heads": 4}),
        _named("past_values", rows(64, 3)),
    ),
    _hugging_face(
        *("patchtsmixer", "sequences"),
        partial(_model, "PatchTSMixerForPrediction", "PatchTSMixerConfig", _PATCHES),
        _named("past_values", rows(64, 3)),
    ),
)
