"""Networks of Hugging Face Transformers that read text, built from small configurations: two layers, 64 wide."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Generator, nn

from bench.network_zoo.network import LENGTHS, Inputs, MakeInputs, Network, ids, tokens

PACKAGE = "transformers"
VOCABULARY = 200
POSITIONS = 520  # more than the longest length, as some models begin to count at 2

LAYERS: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
ENCODER: dict[str, Any] = {"vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS, **LAYERS}
_DECODER: dict[str, Any] = {**ENCODER, "use_cache": False}
_GROUPED: dict[str, Any] = {**_DECODER, "num_key_value_heads": 2}  # two heads share keys and values
WORDS: dict[str, Any] = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
_GPT2: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "n_positions": POSITIONS,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "use_cache": False,
}
BART: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 64,
    "max_position_embeddings": POSITIONS,
    "use_cache": False,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 128,
}
_T5: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 128,
    "num_layers": 2,
    "num_heads": 4,
    "use_cache": False,
}
CLIP_TEXT: dict[str, Any] = {"vocab_size": VOCABULARY, "max_position_embeddings": 77, **LAYERS}
# A network's short name: class, configuration's class, and what it is built from.
_TEXT: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("BertModel", "BertConfig", ENCODER),
    "bert-classification": ("BertForSequenceClassification", "BertConfig", ENCODER),
    "bert-tokens": ("BertForTokenClassification", "BertConfig", ENCODER),
    "bert-answers": ("BertForQuestionAnswering", "BertConfig", ENCODER),
    "bert-masked-words": ("BertForMaskedLM", "BertConfig", ENCODER),
    "distilbert": (
        "DistilBertModel",
        "DistilBertConfig",
        {
            "vocab_size": VOCABULARY,
            "max_position_embeddings": POSITIONS,
            "dim": 64,
            "n_layers": 2,
            "n_heads": 4,
            "hidden_dim": 128,
        },
    ),
    "roberta": ("RobertaModel", "RobertaConfig", ENCODER),
    "xlm-roberta": ("XLMRobertaModel", "XLMRobertaConfig", ENCODER),
    "albert": ("AlbertModel", "AlbertConfig", {**ENCODER, "embedding_size": 32}),
    "mpnet": ("MPNetModel", "MPNetConfig", ENCODER),
    "electra": ("ElectraModel", "ElectraConfig", {**ENCODER, "embedding_size": 32}),
    "deberta": (
        "DebertaModel",
        "DebertaConfig",
        {**ENCODER, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    ),
    "deberta-v2": (
        "DebertaV2Model",
        "DebertaV2Config",
        {
            **ENCODER,
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
            "position_buckets": 32,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
        },
    ),
    "modernbert": (
        "ModernBertModel",
        "ModernBertConfig",
        {**ENCODER, "global_attn_every_n_layers": 2, "local_attention": 32, **WORDS, "cls_token_id": 0},
    ),
    "squeezebert": ("SqueezeBertModel", "SqueezeBertConfig", {**ENCODER, "embedding_size": 64}),
    "mobilebert": (
        "MobileBertModel",
        "MobileBertConfig",
        {**ENCODER, "embedding_size": 32, "intra_bottleneck_size": 32, "true_hidden_size": 32},
    ),
    "roformer": ("RoFormerModel", "RoFormerConfig", {**ENCODER, "embedding_size": 64}),
    "ernie": ("ErnieModel", "ErnieConfig", ENCODER),
    "convbert": ("ConvBertModel", "ConvBertConfig", {**ENCODER, "embedding_size": 64, "head_ratio": 2}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", _GPT2),
    "gpt-neo": (
        "GPTNeoModel",
        "GPTNeoConfig",
        {
            "vocab_size": VOCABULARY,
            "max_position_embeddings": POSITIONS,
            "hidden_size": 64,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 32,
            "use_cache": False,
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
            "vocab_size": VOCABULARY,
            "max_position_embeddings": POSITIONS,
            "hidden_size": 64,
            "ffn_dim": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "word_embed_proj_dim": 64,
            "use_cache": False,
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
    "funnel": (
        "FunnelModel",
        "FunnelConfig",
        {
            "vocab_size": VOCABULARY,
            "block_sizes": [1, 1],
            "num_decoder_layers": 1,
            "d_model": 64,
            "n_head": 4,
            "d_head": 16,
            "d_inner": 128,
        },
    ),
}
_OTHER_LENGTHS = {"funnel": LENGTHS[1:]}  # which fails in PyTorch, too, on a single token
_SENTENCES: dict[str, dict[str, Any]] = {
    "minilm-sentences": {**ENCODER, "hidden_size": 96, "num_attention_heads": 12, "intermediate_size": 384},
}
_DECODING: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bart": ("BartModel", "BartConfig", BART),
    "marian": ("MarianMTModel", "MarianConfig", {**BART, **WORDS, "decoder_start_token_id": 0}),
    "t5": ("T5Model", "T5Config", _T5),
}


def configured(name: str, config: str, options: Mapping[str, Any]) -> nn.Module:
    import transformers

    model: nn.Module = getattr(transformers, name)(getattr(transformers, config)(**options))
    return model


def encoder_of(name: str, config: str, options: Mapping[str, Any]) -> nn.Module:
    model: Any = configured(name, config, options)
    encoder: nn.Module = model.get_encoder()
    return encoder


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


def _sentences(options: Mapping[str, Any]) -> nn.Module:
    return Sentences(configured("BertModel", "BertConfig", options))


def _texts_to_continue(batch: int, length: int, random: Generator) -> Inputs:
    """Texts of the length, and 5 tokens of their translations."""
    read, written = tokens(VOCABULARY)(batch, length, random), ids(VOCABULARY)(batch, 5, random)
    assert isinstance(read, dict)
    assert isinstance(written, torch.Tensor)
    return {**read, "decoder_input_ids": written}


def _text(name: str, build: Any, inputs: MakeInputs, lengths: tuple[int, ...] = LENGTHS) -> Network:
    return Network(f"{PACKAGE}/{name}", "text", PACKAGE, build, inputs, lengths)


_TEXTS = tokens(VOCABULARY)

NETWORKS = (
    *(_text(name, partial(configured, *how), _TEXTS, _OTHER_LENGTHS.get(name, LENGTHS)) for name, how in _TEXT.items()),
    *(_text(name, partial(_sentences, how), _TEXTS) for name, how in _SENTENCES.items()),
    *(_text(name, partial(configured, *how), _texts_to_continue) for name, how in _DECODING.items()),
    _text("bart-encoder", partial(encoder_of, "BartModel", "BartConfig", BART), _TEXTS),
    _text("clip-text", partial(configured, "CLIPTextModel", "CLIPTextConfig", CLIP_TEXT), _TEXTS, (1, 7, 77)),
)
